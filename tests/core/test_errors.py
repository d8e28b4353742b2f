"""Errors: stable codes, whether they may be retried, and messages that say what to do."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime

import pytest

from session_continuity import (
    CompressionError,
    ConcurrencyError,
    ConfigError,
    ConversationChangedError,
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
    UnreadableError,
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
        ConversationChangedError("s", expected_last_id="a", last_id=""),
        "conversation_changed",
        False,
        "session 's' ends with no message, not with message 'a'; read its newest messages and decide again",
    ),
    (
        SessionExistsError("s"),
        "session_exists",
        False,
        "session 's' already exists; choose another id, or get the session",
    ),
    (
        SessionClosedError("s", "completed"),
        "session_closed",
        False,
        "session 's' is completed and accepts no messages; set its status to active first",
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
        "5 more tokens exceed the limit of 10 of session 's', which already has 8; "
        "shorten the message, raise the budget, or choose another overflow strategy",
    ),
    (StorageError("broke", backend="b", operation="o", table="t"), "storage_error", False, "b: o: broke"),
    (ThrottledError("slow down", backend="b", operation="o"), "throttled", True, "b: o: slow down"),
    (UnavailableError("gone", backend="b", operation="o"), "unavailable", True, "b: o: gone"),
    (
        UnreadableError("session 's'"),
        "unreadable",
        False,
        "session 's' cannot be read: it was damaged, or written by another program or a newer version; restore it from "
        "a backup, or upgrade session-continuity",
    ),
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
        "b: o: a message of 9 bytes exceeds the limit of 8; split it, or store its content elsewhere",
    ),
]
CLASSES: list[type[SessionContinuityError]] = [
    found for found in vars(errors).values() if isinstance(found, type) and found.__module__ == errors.__name__
]

each_error = pytest.mark.parametrize(
    ("error", "code", "retryable", "text"), EACH, ids=[type(row[0]).__name__ for row in EACH]
)


@each_error
def test_an_error_has_a_code_a_retryability_and_a_message(
    error: SessionContinuityError, code: str, retryable: bool, text: str
) -> None:
    assert isinstance(error, SessionContinuityError)
    assert (error.code, error.retryable, error.message, str(error)) == (code, retryable, text, text)


def test_every_class_is_tested_here() -> None:
    assert {type(row[0]) for row in EACH} | {SessionContinuityError} == set(CLASSES)


def test_codes_are_all_different() -> None:
    assert len({error.code for error in CLASSES}) == len(CLASSES)


def test_errors_of_the_store_are_caught_as_one() -> None:
    below = {error for error in CLASSES if issubclass(error, StorageError)}
    assert below == {
        StorageError,
        ThrottledError,
        UnavailableError,
        UnreadableError,
        StorageClosedError,
        MessageTooLargeError,
    }


def test_an_error_has_its_facts_as_attributes() -> None:
    conflict = ConcurrencyError("s", expected=1, actual=2, current=SESSION)
    assert (conflict.session_id, conflict.expected, conflict.actual, conflict.current) == ("s", 1, 2, SESSION)
    storage = StorageError("broke", backend="b", operation="o", table="t")
    assert (storage.backend, storage.operation, storage.details) == ("b", "o", {"table": "t"})
    refused = TokenBudgetExceededError("s", requested=5, limit=10)
    assert (refused.requested, refused.limit, refused.used) == (5, 10, None)
    assert "which already has" not in str(refused)
    missing = MessageNotFoundError("s", "m")
    assert (missing.session_id, missing.message_id) == ("s", "m")
    large = MessageTooLargeError(backend="b", operation="o", size=9, limit=8)
    assert (large.size, large.limit) == (9, 8)
    unsupported = NotSupportedError("f", "b", "h")
    assert (unsupported.feature, unsupported.backend) == ("f", "b")
    closed = SessionClosedError("s", "expired")
    assert (closed.session_id, closed.status) == ("s", "expired")


@each_error
def test_an_error_survives_pickling_and_copying(
    error: SessionContinuityError, code: str, retryable: bool, text: str
) -> None:
    for twin in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error), copy.copy(error)):
        assert type(twin) is type(error)
        assert (twin.code, twin.retryable, twin.message, str(twin)) == (code, retryable, text, text)
        assert vars(twin) == vars(error)
