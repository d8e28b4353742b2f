"""The error tree: stable codes, what may be retried, and messages that say what to do."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime

import pytest

from session_continuity import (
    CompressionError,
    ConcurrencyError,
    ConfigError,
    HandoffError,
    MessageNotFoundError,
    MessageTooLargeError,
    NotSupportedError,
    PluginError,
    Session,
    SessionClosedError,
    SessionContinuityError,
    SessionExistsError,
    SessionNotFoundError,
    StorageClosedError,
    StorageError,
    ThrottledError,
    TokenBudgetExceededError,
    UnavailableError,
    ValidationError,
    WouldSuspendError,
    errors,
)

SESSION = Session(
    id="s", created_at=datetime(2026, 1, 1, tzinfo=UTC), last_activity_at=datetime(2026, 1, 1, tzinfo=UTC)
)

EACH = [
    (ValidationError("m"), "validation_error", False, "m"),
    (ConfigError("m"), "config_error", False, "m"),
    (PluginError("m"), "plugin_error", False, "m"),
    (WouldSuspendError("m"), "would_suspend", False, "m"),
    (CompressionError("m"), "compression_error", False, "m"),
    (HandoffError("m"), "handoff_error", False, "m"),
    (
        NotSupportedError("a change feed", "memory", "poll instead"),
        "not_supported",
        False,
        "a change feed is not supported by memory: poll instead",
    ),
    (SessionNotFoundError("s"), "session_not_found", False, "session 's' does not exist, or it has expired"),
    (
        SessionExistsError("s"),
        "session_exists",
        False,
        "session 's' exists already; choose another id, or get it",
    ),
    (
        SessionClosedError("s", "completed"),
        "session_closed",
        False,
        "session 's' is completed and takes no messages; set its status to active first",
    ),
    (MessageNotFoundError("s", "m"), "message_not_found", False, "session 's' has no message 'm'"),
    (
        ConcurrencyError("s", expected=1, actual=2, current=SESSION),
        "concurrency_conflict",
        True,
        "session 's' is at version 2, not 1; read it again and repeat the change",
    ),
    (
        TokenBudgetExceededError("s", requested=5, limit=10, used=8),
        "token_budget_exceeded",
        False,
        "5 more tokens do not fit the limit of 10 of session 's', which already holds 8; "
        "shorten the message, raise the budget, or choose another overflow strategy",
    ),
    (StorageError("broke", backend="b", operation="o", table="t"), "storage_error", False, "b: o: broke"),
    (ThrottledError("slow down", backend="b", operation="o"), "throttled", True, "b: o: slow down"),
    (UnavailableError("gone", backend="b", operation="o"), "unavailable", True, "b: o: gone"),
    (
        StorageClosedError(backend="b", operation="o"),
        "storage_closed",
        False,
        "b: o: the store is closed; open it again",
    ),
    (
        MessageTooLargeError(backend="b", operation="o", size=9, limit=8),
        "message_too_large",
        False,
        "b: o: a message of 9 bytes is over the limit of 8; split it, or keep the body elsewhere",
    ),
]
CLASSES: list[type[SessionContinuityError]] = [
    found for found in vars(errors).values() if isinstance(found, type) and found.__module__ == errors.__name__
]

each_error = pytest.mark.parametrize(
    ("error", "code", "retryable", "text"), EACH, ids=[type(row[0]).__name__ for row in EACH]
)


@each_error
def test_an_error_has_its_code_its_retryability_and_its_words(
    error: SessionContinuityError, code: str, retryable: bool, text: str
) -> None:
    assert isinstance(error, SessionContinuityError)
    assert (error.code, error.retryable, error.message, str(error)) == (code, retryable, text, text)


def test_every_class_of_the_tree_is_looked_at_here() -> None:
    assert {type(row[0]) for row in EACH} | {SessionContinuityError} == set(CLASSES)


def test_codes_are_all_different() -> None:
    assert len({error.code for error in CLASSES}) == len(CLASSES)


def test_errors_of_the_store_are_caught_as_one() -> None:
    below = {error for error in CLASSES if issubclass(error, StorageError)}
    assert below == {StorageError, ThrottledError, UnavailableError, StorageClosedError, MessageTooLargeError}


def test_an_error_carries_its_facts() -> None:
    conflict = ConcurrencyError("s", expected=1, actual=2, current=SESSION)
    assert (conflict.session_id, conflict.expected, conflict.actual, conflict.current) == ("s", 1, 2, SESSION)
    storage = StorageError("broke", backend="b", operation="o", table="t")
    assert (storage.backend, storage.operation, storage.details) == ("b", "o", {"table": "t"})
    refused = TokenBudgetExceededError("s", requested=5, limit=10)
    assert (refused.requested, refused.limit, refused.used) == (5, 10, None)
    assert "which already holds" not in str(refused)
    missing = MessageNotFoundError("s", "m")
    assert (missing.session_id, missing.message_id) == ("s", "m")
    large = MessageTooLargeError(backend="b", operation="o", size=9, limit=8)
    assert (large.size, large.limit) == (9, 8)
    unsupported = NotSupportedError("f", "b", "h")
    assert (unsupported.feature, unsupported.backend) == ("f", "b")
    closed = SessionClosedError("s", "expired")
    assert (closed.session_id, closed.status) == ("s", "expired")


@each_error
def test_an_error_crosses_a_process_boundary_whole(
    error: SessionContinuityError, code: str, retryable: bool, text: str
) -> None:
    for twin in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error), copy.copy(error)):
        assert type(twin) is type(error)
        assert (twin.code, twin.retryable, twin.message, str(twin)) == (code, retryable, text, text)
        assert vars(twin) == vars(error)
