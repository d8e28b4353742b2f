"""ERR and SEC: refusals are errors of this project, and repeat nothing private."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import unquote

from session_continuity import (
    ConcurrencyError,
    Damager,
    MessageNotFoundError,
    MessageQuery,
    Patch,
    SessionClosedError,
    SessionContinuityError,
    SessionExistsError,
    SessionFilter,
    SessionNotFoundError,
    TokenBudget,
    TokenBudgetExceededError,
    UnreadableError,
    ValidationError,
    innermost,
)
from session_continuity_conformance.cases import clause
from session_continuity_conformance.checks import holds, refused, same
from session_continuity_conformance.store_fixture import NotApplicableError, StoreFixture

CANARY = "canary-7f3a"

Refusals = dict[str, tuple[type[SessionContinuityError], Callable[[], Coroutine[Any, Any, Any]]]]


async def refusals(store: StoreFixture) -> Refusals:
    """One call for every error that the contract names, each with private content in its arguments."""
    adapter = store.adapter
    closed = await store.create_session(status="completed")
    full = await store.create_session(token_budget=TokenBudget(max_tokens=1, overflow_strategy="error"))
    await store.append_with_ids(store.message(full.id, "small", id="taken"))
    return {
        "get_messages of a missing session": (SessionNotFoundError, lambda: adapter.get_messages("no", MessageQuery())),
        "update_session of a missing session": (
            SessionNotFoundError,
            lambda: adapter.update_session("no", Patch({"user_id": CANARY})),
        ),
        "append_messages to a missing session": (SessionNotFoundError, lambda: store.append("no", CANARY)),
        "append_messages to a closed session": (SessionClosedError, lambda: store.append(closed.id, CANARY)),
        "append_messages over the limit": (
            TokenBudgetExceededError,
            lambda: store.append(full.id, CANARY, tokens=5),
        ),
        "append_messages with a taken id": (
            ValidationError,
            lambda: store.append_with_ids(store.message(full.id, CANARY, id="taken")),
        ),
        "create_session of a taken id": (
            SessionExistsError,
            lambda: adapter.create_session(store.new_session(id=full.id, user_id=CANARY)),
        ),
        "update_session with a stale version": (
            ConcurrencyError,
            lambda: adapter.update_session(full.id, Patch({"user_id": CANARY}), expected_version=9),
        ),
        "update_message of a missing message": (
            MessageNotFoundError,
            lambda: adapter.update_message(full.id, "no", Patch({"content": CANARY})),
        ),
        "get_messages after a missing message": (
            MessageNotFoundError,
            lambda: adapter.get_messages(full.id, MessageQuery(after_id="no")),
        ),
        "list_sessions with limit 0": (
            ValidationError,
            lambda: adapter.list_sessions(SessionFilter(user_id="u"), limit=0),
        ),
    }


@clause("SC-ERR-001")
async def test_refusals_are_typed(store: StoreFixture) -> None:
    for name, (error, call) in (await refusals(store)).items():
        raised = await refused(name, call(), error)
        same(f"code of {name}", raised.code, error.code)
        same(f"retryable of {name}", raised.retryable, error.retryable)


@clause("SC-ERR-002")
async def test_errors_are_not_wrapped_twice(store: StoreFixture) -> None:
    for name, (error, call) in (await refusals(store)).items():
        raised = await refused(name, call(), error)
        cause: BaseException | None = raised.__cause__
        while cause is not None:
            holds(
                f"causes of {name}",
                not isinstance(cause, SessionContinuityError),
                expected="errors of the store's client",
                observed=cause,
            )
            cause = cause.__cause__


@clause("SC-SEC-001")
async def test_refusals_repeat_no_content(store: StoreFixture) -> None:
    for name, (error, call) in (await refusals(store)).items():
        raised = await refused(name, call(), error)
        text = f"{raised} {raised!r} {raised.args}"
        holds(f"text of {name}", CANARY not in text, expected="no content", observed=text)


@clause("SC-SEC-002")
async def test_password_is_not_shown(store: StoreFixture) -> None:
    status = await store.adapter.health()
    adapter = innermost(store.raw)
    shown = f"{status!r} {adapter!r} {adapter} {store.raw!r} {store.raw}"
    for secret in store.target.secrets:
        holds("health and repr", unquote(secret) not in shown, expected="no password", observed="one")


@clause("SC-ERR-003")
async def test_what_cannot_be_read_is_left_out_and_named(store: StoreFixture) -> None:
    damage = require_damager(store)
    sessions = [await store.create_session(user_id="user") for _ in range(3)]
    messages = await store.append(sessions[0].id, "first", "second", "third")
    damage(innermost(store.raw), sessions[1].id, None)
    damage(innermost(store.raw), sessions[0].id, messages[1].id)
    listed = await store.adapter.list_sessions(SessionFilter(user_id="user"), limit=10)
    same("sessions listed", [session.id for session in listed], [sessions[2].id, sessions[0].id])
    same("sessions named as unreadable", listed.unreadable, (sessions[1].id,))
    page = await store.adapter.get_messages(sessions[0].id, MessageQuery())
    same("messages on the page", [message.content for message in page], ["first", "third"])
    same("messages named as unreadable", page.unreadable, (messages[1].id,))
    same("delete_session of it", await store.adapter.delete_session(sessions[1].id), True)
    same("delete_message of it", await store.adapter.delete_message(sessions[0].id, messages[1].id), True)
    page = await store.adapter.get_messages(sessions[0].id, MessageQuery())
    same("messages named as unreadable after the delete", page.unreadable, ())


@clause("SC-ERR-004")
async def test_error_for_what_cannot_be_read_does_not_show_it(store: StoreFixture) -> None:
    damage = require_damager(store)
    session = await store.create_session(user_id=CANARY)
    (message,) = await store.append(session.id, CANARY)
    damage(innermost(store.raw), session.id, message.id)
    named = await refused("get_message", store.adapter.get_message(session.id, message.id), UnreadableError)
    damage(innermost(store.raw), session.id, None)
    for error in (named, await refused("get_session", store.adapter.get_session(session.id), UnreadableError)):
        shown: BaseException | None = error
        while shown is not None:
            holds("an error in the chain", CANARY not in repr(shown), expected="no content", observed="content")
            shown = shown.__cause__ or shown.__context__


def require_damager(store: StoreFixture) -> Damager:
    """The function that damages what the store has. Raises NotApplicableError where there is none."""
    damager = store.target.damager()
    if damager is None:
        raise NotApplicableError("its plugin names no function that damages what is stored")
    return damager
