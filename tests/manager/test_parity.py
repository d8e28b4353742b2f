"""The blocking and the async face are one interface, and it is the one that was promised."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest

from session_continuity import AsyncSessionManager, SessionManager, Storage, StorageAdapter
from session_continuity.bridge import InThreads

PROMISED = """
open(url=None, *, token_counter=None, token_budget=None, compression=None, summarizer=None, ttl=None,
     expiry='fixed', image_token_cost=0, cleanup_interval=None, registry=None)
create_session(*, id=None, user_id=None, active_agent_id=None, metadata=None, participants=(), token_budget=None,
               compression=None, ttl=None)
get_session(session_id)
list_sessions(*, user_id=None, active_agent_id=None, status=None, tags=None, created_after=None, created_before=None,
              limit=50, cursor=None)
update_session(session_id, *, expected_version=None, **changes)
end_session(session_id)
delete_session(session_id)
add_message(session_id, *, role, content, metadata=None, token_count=None, id=None)
add_messages(session_id, messages)
get_message(session_id, message_id)
get_messages(session_id, *, order='asc', limit=None, roles=None, after=None, before=None, cursor=None)
update_message(session_id, message_id, **changes)
delete_message(session_id, message_id)
delete_all_messages(session_id)
get_conversation_context(session_id)
get_conversation_context_with_stats(session_id)
add_participant(session_id, participant, *, role='user', metadata=None)
remove_participant(session_id, participant_id)
get_participants(session_id)
handoff_to_agent(session_id, agent_id, *, reason=None, context=None)
compress_context(session_id, strategy=None)
cleanup_expired_sessions()
on(event_type, handler)
off(event_type, handler)
health()
close()
iter_sessions(*, user_id=None, active_agent_id=None, status=None, tags=None, created_after=None, created_before=None,
              limit=None, cursor=None)
iter_messages(session_id, *, order='asc', limit=None, roles=None, after=None, before=None, cursor=None)
"""
METHODS = re.findall(r"^(\w+)(\((?:[^()]|\(\))*\))", PROMISED, re.MULTILINE)
NAMES = [name for name, _ in METHODS]
NOT_AWAITED = {"open", "on", "off", "iter_sessions", "iter_messages"}


def public(kind: type) -> dict[str, Any]:
    return {name: inspect.getattr_static(kind, name) for name in dir(kind) if not name.startswith("_")}


def parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """The parameters but for the instance or the class."""
    return [p for p in inspect.signature(function).parameters.values() if p.name not in ("self", "cls")]


def bare(function: Callable[..., Any]) -> str:
    without_types = [p.replace(annotation=inspect.Parameter.empty) for p in parameters(function)]
    return str(inspect.Signature(without_types))


def first_sentence(text: str | None) -> str:
    assert text
    return re.split(r"(?<=[.;:])\s", " ".join(text.split()), maxsplit=1)[0]


@pytest.mark.parametrize("kind", [SessionManager, AsyncSessionManager])
def test_the_public_face_is_the_promised_one(kind: type) -> None:
    offered = {name: bare(getattr(kind, name)) for name in NAMES}
    assert offered == {name: " ".join(signature.split()) for name, signature in METHODS}
    assert len(METHODS) == 28


@pytest.mark.parametrize("kind", [SessionManager, AsyncSessionManager])
def test_the_constructor_takes_a_storage_and_the_options_of_open(kind: Any) -> None:
    storage, *options = parameters(kind.__init__)
    assert (storage.name, storage.kind) == ("storage", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    assert options == parameters(kind.open)[1:]


def test_nothing_else_is_public() -> None:
    assert public(SessionManager).keys() == set(NAMES)
    assert public(AsyncSessionManager).keys() == {*NAMES, "start", "modes"}


@pytest.mark.parametrize("name", NAMES)
def test_both_faces_take_return_and_say_the_same(name: str) -> None:
    blocking, awaited = getattr(SessionManager, name), getattr(AsyncSessionManager, name)
    assert parameters(blocking) == parameters(awaited)
    promised = str(inspect.signature(awaited).return_annotation)
    assert inspect.signature(blocking).return_annotation == re.sub(
        r"^AsyncGenerator\[(\w+), None\]$", r"Iterator[\1]", promised
    )
    assert first_sentence(blocking.__doc__).split(",")[0] == first_sentence(awaited.__doc__).split(",")[0]
    assert inspect.iscoroutinefunction(awaited) == (name not in NOT_AWAITED)
    assert not inspect.iscoroutinefunction(blocking)


def test_the_docstrings_are_equal_but_where_opening_differs() -> None:
    differing = [
        name
        for name in NAMES
        if inspect.getdoc(getattr(SessionManager, name)) != inspect.getdoc(getattr(AsyncSessionManager, name))
    ]
    assert differing == ["open"]


@pytest.mark.parametrize("name", sorted(StorageAdapter.__abstractmethods__))
@pytest.mark.parametrize("kind", [Storage, InThreads])
def test_a_bridged_store_has_the_methods_of_the_contract(kind: type, name: str) -> None:
    bridged, contract = getattr(kind, name), getattr(StorageAdapter, name)
    assert inspect.signature(bridged) == inspect.signature(contract)
    assert inspect.iscoroutinefunction(bridged) == (kind is InThreads)
