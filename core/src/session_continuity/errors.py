"""The errors of this project, which are all subclasses of `SessionContinuityError`.

`code` is a stable name for logs and APIs. `retryable` says whether the same call may succeed later without a change.
Messages say what to do. They never contain a URL, a credential or a message's content. The cause is chained
(`__cause__`) unless it contains one of these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from session_continuity.models import Session

__all__ = [
    "CompressionError",
    "ConcurrencyError",
    "ConfigError",
    "ConversationChangedError",
    "HandoffError",
    "MessageNotFoundError",
    "MessageTooLargeError",
    "NotSupportedError",
    "PluginError",
    "SessionClosedError",
    "SessionContinuityError",
    "SessionExistsError",
    "SessionNotFoundError",
    "StorageClosedError",
    "StorageError",
    "ThrottledError",
    "TokenBudgetExceededError",
    "UnavailableError",
    "UnreadableError",
    "ValidationError",
    "WouldSuspendError",
]


class SessionContinuityError(Exception):
    """The base class of all errors of this project."""

    code: ClassVar[str] = "error"
    retryable: bool = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the attributes, because the constructors of subclasses take other arguments than `args`."""
        return _rebuild, (type(self), self.args, self.__dict__)


class ValidationError(SessionContinuityError):
    """An argument or a value is wrong. Nothing was written."""

    code = "validation_error"


class ConfigError(SessionContinuityError):
    """A URL, an option or a constructor argument is wrong. Nothing was opened."""

    code = "config_error"


class PluginError(SessionContinuityError):
    """A backend or an extension is missing, broken, in conflict with another, or written for another contract.

    `extension` is the entry point's name of an extension that failed to load, or None.
    """

    code = "plugin_error"

    def __init__(self, message: str, *, extension: str | None = None) -> None:
        super().__init__(message)
        self.extension = extension


class NotSupportedError(SessionContinuityError):
    """The store does not support a feature. It was not called."""

    code = "not_supported"

    def __init__(self, feature: str, backend: str, hint: str) -> None:
        super().__init__(f"{feature} is not supported by {backend}: {hint}")
        self.feature = feature
        self.backend = backend


class WouldSuspendError(SessionContinuityError):
    """Code awaited real I/O in blocking mode, where nothing may suspend."""

    code = "would_suspend"


class SessionNotFoundError(SessionContinuityError):
    """The session does not exist, has expired, or is being deleted."""

    code = "session_not_found"

    def __init__(self, session_id: str) -> None:
        super().__init__(f"session {session_id!r} does not exist, or it has expired")
        self.session_id = session_id


class SessionExistsError(SessionContinuityError):
    """The session id is taken."""

    code = "session_exists"

    def __init__(self, session_id: str) -> None:
        super().__init__(f"session {session_id!r} already exists; choose another id, or get the session")
        self.session_id = session_id


class SessionClosedError(SessionContinuityError):
    """The session's status does not allow new messages."""

    code = "session_closed"

    def __init__(self, session_id: str, status: str) -> None:
        super().__init__(f"session {session_id!r} is {status} and accepts no messages; set its status to active first")
        self.session_id = session_id
        self.status = status


class MessageNotFoundError(SessionContinuityError):
    """The session exists and the message does not."""

    code = "message_not_found"

    def __init__(self, session_id: str, message_id: str) -> None:
        super().__init__(f"session {session_id!r} has no message {message_id!r}")
        self.session_id = session_id
        self.message_id = message_id


class ConcurrencyError(SessionContinuityError):
    """Another writer updated the session first. `current` is the session as it is now, or None if it was not read."""

    code = "concurrency_conflict"
    retryable = True

    def __init__(
        self, session_id: str, *, expected: int | None, actual: int | None, current: Session | None = None
    ) -> None:
        super().__init__(
            f"session {session_id!r} is at version {actual}, not {expected}; read it again and repeat the change"
        )
        self.session_id = session_id
        self.expected = expected
        self.actual = actual
        self.current = current


class ConversationChangedError(SessionContinuityError):
    """The conversation does not end with the expected message. Nothing was changed.

    `expected_last_id` and `last_id` are ids of messages. An empty string stands for no message.
    """

    code = "conversation_changed"

    def __init__(self, session_id: str, *, expected_last_id: str, last_id: str) -> None:
        super().__init__(
            f"session {session_id!r} ends with {_named(last_id)}, not with {_named(expected_last_id)}; "
            "read its newest messages and decide again"
        )
        self.session_id = session_id
        self.expected_last_id = expected_last_id
        self.last_id = last_id


class TokenBudgetExceededError(SessionContinuityError):
    """The tokens exceed the budget. Nothing was stored, and no context was made.

    `requested` are the tokens that the append or the context needs, `limit` those that it may have. For a context,
    `message_id` is the largest of the messages that must be in it, and `message_tokens` its size.
    """

    code = "token_budget_exceeded"

    def __init__(
        self,
        session_id: str,
        *,
        requested: int,
        limit: int,
        used: int | None = None,
        message_id: str | None = None,
        message_tokens: int | None = None,
    ) -> None:
        total = "" if used is None else f", which already has {used}"
        largest = "" if message_id is None else f" (the largest message is {message_id!r} with {message_tokens})"
        super().__init__(
            f"{requested} more tokens exceed the limit of {limit} of session {session_id!r}{total}{largest}; "
            "shorten the message, raise the budget, or choose another overflow strategy"
        )
        self.session_id = session_id
        self.requested = requested
        self.limit = limit
        self.used = used
        self.message_id = message_id
        self.message_tokens = message_tokens


class CompressionError(SessionContinuityError):
    """A conversation could not be compressed. It is unchanged."""

    code = "compression_error"


class HandoffError(SessionContinuityError):
    """A session could not be handed over to the agent. It is unchanged."""

    code = "handoff_error"


class StorageError(SessionContinuityError):
    """The store failed. `backend` is its scheme, `operation` the method of the contract that failed.

    A backend raises the error without both. Core's portable layer adds them with `locate`.
    """

    code = "storage_error"

    def __init__(self, message: str, *, backend: str = "", operation: str = "", **details: Any) -> None:
        super().__init__(message)
        self.backend = ""
        self.operation = ""
        self.details = details
        self.locate(backend, operation)

    def locate(self, backend: str, operation: str) -> None:
        """Put backend and operation in front of the message. The first call with a backend counts."""
        if backend and not self.backend:
            self.backend, self.operation = backend, operation
            self.message = f"{backend}: {operation}: {self.message}"
            self.args = (self.message,)


class UnreadableError(StorageError):
    """What is stored is damaged, or was written by another program or a newer version. It is not shown."""

    code = "unreadable"

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} cannot be read: it was damaged, or written by another program or a newer version; restore it from "
            "a backup, or upgrade session-continuity"
        )


class ThrottledError(StorageError):
    """The store limits the rate of requests, and retries until the deadline did not help."""

    code = "throttled"
    retryable = True


class UnavailableError(StorageError):
    """The store cannot be reached, is locked, or cannot be written to at the moment.

    A write may or may not have happened. Repeat it with the same id.
    """

    code = "unavailable"
    retryable = True


class StorageClosedError(StorageError):
    """The store was closed before this call."""

    code = "storage_closed"

    def __init__(self, *, backend: str = "", operation: str = "") -> None:
        super().__init__("the store is closed; open it again", backend=backend, operation=operation)


class MessageTooLargeError(StorageError):
    """A message exceeds the store's limit. Nothing was sent. `size` and `limit` are in bytes."""

    code = "message_too_large"

    def __init__(self, *, size: int, limit: int, backend: str = "", operation: str = "") -> None:
        super().__init__(
            f"a message of {size} bytes exceeds the limit of {limit}; split it, or store its content elsewhere",
            backend=backend,
            operation=operation,
        )
        self.size = size
        self.limit = limit


def _named(message_id: str) -> str:
    return f"message {message_id!r}" if message_id else "no message"


def _rebuild(
    kind: type[SessionContinuityError], args: tuple[Any, ...], state: dict[str, Any]
) -> SessionContinuityError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error
