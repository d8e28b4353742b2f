"""A manager for one user behaves as if there were no other users, whether the store checks it or core does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from session_continuity import (
    MessageAdded,
    NotSupportedError,
    SessionExistsError,
    SessionManager,
    SessionNotFoundError,
    ValidationError,
)

from ..kit.recording import RecordingAdapter
from .variants import ON_MEMORY, ON_SQLITE, Variant

pytestmark = pytest.mark.on(variant=ON_MEMORY + ON_SQLITE)

MESSAGE = {"role": "user", "content": "new"}
CALLS: dict[str, Any] = {
    "get_session": lambda manager, name, _: manager.get_session(name),
    "update_session": lambda manager, name, _: manager.update_session(name, status="paused"),
    "update_metadata": lambda manager, name, _: manager.update_metadata(name, title="t"),
    "end_session": lambda manager, name, _: manager.end_session(name),
    "delete_session": lambda manager, name, _: manager.delete_session(name),
    "add_message": lambda manager, name, _: manager.add_message(name, "user", "new"),
    "add_messages": lambda manager, name, _: manager.add_messages(name, [MESSAGE], update={"status": "paused"}),
    "sync_messages": lambda manager, name, _: manager.sync_messages(name, [MESSAGE]),
    "get_message": lambda manager, name, message: manager.get_message(name, message),
    "get_messages": lambda manager, name, _: manager.get_messages(name),
    "iter_messages": lambda manager, name, _: list(manager.iter_messages(name)),
    "get_conversation": lambda manager, name, _: manager.get_conversation(name),
    "update_message": lambda manager, name, message: manager.update_message(name, message, content="new"),
    "update_message_metadata": lambda manager, name, message: manager.update_message_metadata(name, message, own=1),
    "delete_message": lambda manager, name, message: manager.delete_message(name, message),
    "delete_all_messages": lambda manager, name, _: manager.delete_all_messages(name),
    "rewind": lambda manager, name, _: manager.rewind(name, None),
    "pop_messages": lambda manager, name, _: manager.pop_messages(name),
    "replace_messages_after": lambda manager, name, _: manager.replace_messages_after(name, None, [MESSAGE]),
    "fork_session": lambda manager, name, _: manager.fork_session(name),
    "list_forks": lambda manager, name, _: manager.list_forks(name),
    "get_conversation_context": lambda manager, name, _: manager.get_conversation_context(name),
    "get_conversation_context_with_stats": lambda manager, name, _: manager.get_conversation_context_with_stats(name),
    "compress_context": lambda manager, name, _: manager.compress_context(name, "sliding_window"),
    "add_participant": lambda manager, name, _: manager.add_participant(name, "p"),
    "remove_participant": lambda manager, name, _: manager.remove_participant(name, "p"),
    "get_participants": lambda manager, name, _: manager.get_participants(name),
    "handoff_to_agent": lambda manager, name, _: manager.handoff_to_agent(name, "agent"),
}
"""A call of each method that names a session. The arguments are a manager, a session and a message of it."""


@pytest.fixture(params=["checked by the store", "checked by core"])
def manager(request: pytest.FixtureRequest, variant: Variant, store: RecordingAdapter) -> SessionManager:
    """A manager of all users."""
    if request.param == "checked by core":
        store.capabilities = replace(store.capabilities, owner_guard=False)
    return variant.manager(store)


def raises_not_found(call: Any, *arguments: object) -> bool:
    try:
        call(*arguments)
    except SessionNotFoundError:
        return True
    return False


def test_every_method_is_tried() -> None:
    elsewhere = {
        "stream_message",
        "create_session",
        "list_sessions",
        "iter_sessions",
        "recent_sessions",
        "search_messages",
        "erase_user",
        "cleanup_expired_sessions",
    }
    without_session = {"open", "for_user", "in_namespace", "on", "off", "health", "close", "capabilities"}
    public = {name for name in dir(SessionManager) if not name.startswith("_")}
    assert public - elsewhere - without_session == CALLS.keys()


@pytest.mark.parametrize("owner", ["other", None])
def test_sessions_of_others_do_not_exist(manager: SessionManager, owner: str | None) -> None:
    session = manager.create_session(user_id=owner)
    message = manager.add_message(session.id, "user", "secret")
    before = manager.get_session(session.id)
    view = manager.for_user("me")
    found = [name for name, call in CALLS.items() if not raises_not_found(call, view, session.id, message.id)]
    assert found == []
    with pytest.raises(SessionExistsError):
        view.create_session(id=session.id)
    with pytest.raises(SessionExistsError):
        view.add_messages(session.id, [MESSAGE], create={})
    assert len(view.list_sessions()) == len(list(view.iter_sessions(user_id="other"))) == 0
    assert len(view.recent_sessions("other")) == 0
    if manager.capabilities.text_search:
        assert len(manager.search_messages("secret")) == 1
        assert len(view.search_messages("secret")) == 0
        assert raises_not_found(lambda: view.search_messages("secret", session_id=session.id))
    assert view.erase_user("other").sessions == ()
    assert (manager.get_session(session.id), list(manager.get_messages(session.id))) == (before, [message])


def test_own_sessions_work_as_ever(manager: SessionManager) -> None:
    view = manager.for_user("me")
    session = view.create_session()
    assert session.user_id == manager.get_session(session.id).user_id == "me"
    message = view.add_message(session.id, "user", "hello")
    created = view.add_messages("s", [MESSAGE], create={})
    assert view.get_session("s").user_id == "me"
    assert list(view.get_messages("s")) == created
    assert view.get_message(session.id, message.id) == message
    fork = view.fork_session(session.id)
    assert [each.session_id for each in view.list_forks(session.id)] == [fork.id]
    assert {each.id for each in view.list_sessions()} == {session.id, "s", fork.id}
    assert view.for_user("me").get_session("s").id == "s"
    for wrong in ({"user_id": "other"}, {"user_id": None}):
        with pytest.raises(ValidationError, match="another user"):
            view.update_session(session.id, **wrong)
    with pytest.raises(ValidationError, match="user_id must be the user"):
        view.create_session(user_id="other")
    with pytest.raises(ValidationError, match="for another user"):
        view.for_user("other")
    view.delete_session(session.id)
    assert len(view.erase_user("me").sessions) == 2


def test_a_view_shares_handlers_and_ends_nothing(manager: SessionManager) -> None:
    added: list[Any] = []
    manager.on(MessageAdded, added.append)
    view = manager.for_user("me")
    session = view.create_session()
    view.add_message(session.id, "user", "hello")
    view.close()
    assert len(added) == 1
    assert manager.get_session(session.id).message_count == 1


def test_a_view_of_a_namespace_is_another_tenant(manager: SessionManager, store: RecordingAdapter) -> None:
    manager.create_session(id="s", user_id="first")
    tenant = manager.in_namespace("tenant")
    tenant.create_session(id="s", user_id="second")
    tenant.add_message("s", "user", "hello")
    assert (manager.get_session("s").user_id, tenant.get_session("s").user_id) == ("first", "second")
    assert len(manager.get_messages("s")) == 0
    with pytest.raises(SessionNotFoundError):
        tenant.for_user("first").get_session("s")
    assert tenant.for_user("second").get_session("s").message_count == 1
    with pytest.raises(ValidationError, match="up to 128 characters"):
        manager.in_namespace("x" * 129)
    store.capabilities = replace(store.capabilities, namespace_views=False)


def test_a_store_without_views_refuses_a_namespace(variant: Variant, store: RecordingAdapter) -> None:
    store.capabilities = replace(store.capabilities, namespace_views=False)
    with pytest.raises(NotSupportedError, match=r"\?namespace="):
        variant.manager(store).in_namespace("tenant")


def test_a_check_by_the_store_takes_no_call_more(variant: Variant, store: RecordingAdapter) -> None:
    view = variant.manager(store).for_user("me")
    view.create_session(id="s")
    assert store.calls_during(lambda: view.add_message("s", "user", "hello")) == ["append_messages"]
