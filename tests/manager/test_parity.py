"""The blocking and the async variant are one interface, and it is the one that was promised."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest

from session_continuity import AsyncSessionManager, SessionManager, Storage, StorageAdapter
from session_continuity.backends.modes import ThreadedAdapter
from session_continuity.manager import arguments
from session_continuity.manager.arguments import SessionQuery
from session_continuity.manager.options import ManagerOptions, resolve_options

PROMISED = """
open(url=None, **options)
for_user(user_id)
in_namespace(name)
create_session(*, id=None, user_id=None, active_agent_id=None, metadata=None, participants=(), token_budget=None,
               compression=None, ttl=None, created_at=None)
get_session(session_id)
list_sessions(*, limit=50, cursor=None, after_id=None, **query)
recent_sessions(user_id, *, limit=20)
search_messages(text, *, user_id=None, session_id=None, limit=20, cursor=None)
update_session(session_id, *, expected_version=None, **changes)
end_session(session_id)
delete_session(session_id, *, expected_version=None)
add_message(session_id, role, content, *, metadata=None, token_count=None, id=None, created_at=None)
add_messages(session_id, messages, *, update=None, expected_version=None, expected_last_id=None, existing='refuse',
             create=None)
get_message(session_id, message_id)
get_messages(session_id, *, order='asc', limit=None, roles=None, after=None, before=None, cursor=None)
update_message(session_id, message_id, **changes)
delete_message(session_id, message_id)
delete_all_messages(session_id)
get_conversation(session_id, *, order='asc', limit=100, roles=None, after=None, before=None)
sync_messages(session_id, chat)
stream_message(session_id, role='assistant', *, id=None, save_every=2.0)
rewind(session_id, to, *, expected_last_id=None)
pop_messages(session_id, n=1)
replace_messages_after(session_id, message_id, messages, *, expected_last_id=None)
fork_session(session_id, *, at=None, id=None, **fields)
list_forks(session_id, *, limit=None, cursor=None)
update_metadata(session_id, **changes)
update_message_metadata(session_id, message_id, **changes)
erase_user(user_id, *, progress=None)
get_conversation_context(session_id, **rules)
get_conversation_context_with_stats(session_id, **rules)
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
iter_sessions(*, limit=None, cursor=None, after_id=None, on_unreadable=None, **query)
iter_messages(session_id, *, order='asc', limit=None, roles=None, after=None, before=None, cursor=None, on_unreadable=None)
"""  # noqa: E501  # a signature is one line
OPTIONS = """token_counter token_budget compression summarizer ttl expiry image_token_cost file_token_cost context
summarizer_timeout summarizer_pause on_invalid_text cleanup_interval setup registry"""
CONDITIONS = """user_id active_agent_id status tags created_after created_before title order"""
METHODS = re.findall(r"^(\w+)(\((?:[^()]|\(\))*\))", PROMISED, re.MULTILINE)
NAMES = [name for name, _ in METHODS]
NOT_AWAITED = {"open", "stream_message", "for_user", "in_namespace", "on", "off", "iter_sessions", "iter_messages"}


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
    assert len(METHODS) == 43


@pytest.mark.parametrize("kind", [SessionManager, AsyncSessionManager])
def test_the_constructor_takes_a_storage_and_the_options_of_open(kind: Any) -> None:
    storage, *options = parameters(kind.__init__)
    assert (storage.name, storage.kind) == ("storage", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    assert options == parameters(kind.open)[1:]


def test_options_and_conditions_are_those_that_were_promised() -> None:
    assert str(inspect.signature(resolve_options)).startswith("(*, ")
    assert [*inspect.signature(resolve_options).parameters] == [*ManagerOptions.__annotations__] == OPTIONS.split()
    assert [*inspect.signature(arguments.session_filter).parameters] == [*SessionQuery.__annotations__]
    assert [*SessionQuery.__annotations__] == CONDITIONS.split()


def test_every_option_and_condition_is_documented() -> None:
    documented = inspect.getdoc(AsyncSessionManager) or ""
    assert [name for name in OPTIONS.split() if f"`{name}`" not in documented] == []
    conditions = inspect.getdoc(SessionQuery) or ""
    assert [name for name in CONDITIONS.split() if f"`{name}`" not in conditions] == []


def test_nothing_else_is_public() -> None:
    assert public(SessionManager).keys() == {*NAMES, "capabilities"}
    assert public(AsyncSessionManager).keys() == {*NAMES, "capabilities", "start", "modes"}


@pytest.mark.parametrize("name", NAMES)
def test_both_faces_take_return_and_say_the_same(name: str) -> None:
    blocking, awaited = getattr(SessionManager, name), getattr(AsyncSessionManager, name)
    assert parameters(blocking) == parameters(awaited)
    promised = str(inspect.signature(awaited).return_annotation).replace("AsyncMessageStream", "MessageStream")
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
@pytest.mark.parametrize("kind", [Storage, ThreadedAdapter])
def test_a_bridged_store_has_the_methods_of_the_contract(kind: type, name: str) -> None:
    bridged, contract = getattr(kind, name), getattr(StorageAdapter, name)
    assert inspect.signature(bridged) == inspect.signature(contract)
    assert inspect.iscoroutinefunction(bridged) == (kind is ThreadedAdapter)
