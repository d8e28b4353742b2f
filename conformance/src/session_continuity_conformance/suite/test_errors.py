"""ERR and SEC: refusals are typed, plain, and repeat nothing that is private."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import unquote

from session_continuity import (
    ConcurrencyError,
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
    ValidationError,
)
from session_continuity_conformance.cases import clause
from session_continuity_conformance.checks import holds, refused, same
from session_continuity_conformance.store import Store

CANARY = "canary-7f3a"

Refusals = dict[str, tuple[type[SessionContinuityError], Callable[[], Coroutine[Any, Any, Any]]]]


async def refusals(store: Store) -> Refusals:
    """One call for every error that the contract names, each with private content in it."""
    adapter = store.adapter
    closed = await store.session(status="completed")
    full = await store.session(token_budget=TokenBudget(max_tokens=1, overflow_strategy="error"))
    await store.append_chosen(store.message(full.id, "small", id="taken"))
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
            lambda: store.append_chosen(store.message(full.id, CANARY, id="taken")),
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
async def test_refusals_are_typed(store: Store) -> None:
    for name, (error, call) in (await refusals(store)).items():
        raised = await refused(name, call(), error)
        same(f"code of {name}", raised.code, error.code)
        same(f"retryable of {name}", raised.retryable, error.retryable)


@clause("SC-ERR-002")
async def test_errors_are_not_wrapped_twice(store: Store) -> None:
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
async def test_refusals_repeat_no_content(store: Store) -> None:
    for name, (error, call) in (await refusals(store)).items():
        raised = await refused(name, call(), error)
        text = f"{raised} {raised!r} {raised.args}"
        holds(f"text of {name}", CANARY not in text, expected="no content", observed=text)


@clause("SC-SEC-002")
async def test_password_is_not_shown(store: Store) -> None:
    status = await store.adapter.health()
    shown = f"{status!r} {store.raw!r} {store.raw}"
    for secret in store.target.secrets:
        holds("health and repr", unquote(secret) not in shown, expected="no password", observed="one")
