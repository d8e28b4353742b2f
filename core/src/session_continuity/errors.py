"""Every error this project raises on purpose, in one tree with one root.

A caller catches `SessionContinuityError` for anything from here, or a class for one case. `code` is a stable
word for logs and wire formats; `retryable` says whether the same call may succeed later without a change.
Messages say what to do and never hold a secret: no URL, credential or message content goes into one. The raw
cause is chained (`__cause__`) unless it holds such a thing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from session_continuity.models import Session

__all__ = [
    "CompressionError",
    "ConcurrencyError",
    "ConfigError",
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
    "ValidationError",
    "WouldSuspendError",
]


class SessionContinuityError(Exception):
    """The root of the tree."""

    code: ClassVar[str] = "error"
    retryable: bool = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __reduce__(self) -> tuple[Any, ...]:
        """Errors cross process boundaries whole, whatever their constructors take."""
        return _rebuilt, (type(self), self.args, self.__dict__)


class ValidationError(SessionContinuityError):
    """An argument or a value is not what the contract accepts; nothing was written."""

    code = "validation_error"


class ConfigError(SessionContinuityError):
    """A config string, an option or a constructor argument is wrong; nothing was opened."""

    code = "config_error"


class PluginError(SessionContinuityError):
    """A backend or extension cannot be loaded: missing, conflicting, broken or made for another contract."""

    code = "plugin_error"


class NotSupportedError(SessionContinuityError):
    """The store does not offer this feature; refused before the store was asked."""

    code = "not_supported"

    def __init__(self, feature: str, backend: str, hint: str) -> None:
        super().__init__(f"{feature} is not supported by {backend}: {hint}")
        self.feature = feature
        self.backend = backend


class WouldSuspendError(SessionContinuityError):
    """Something awaited real I/O in blocking mode, where nothing may suspend."""

    code = "would_suspend"


class SessionNotFoundError(SessionContinuityError):
    """There is no such session, or it has expired or is being deleted."""

    code = "session_not_found"

    def __init__(self, session_id: str) -> None:
        super().__init__(f"session {session_id!r} does not exist, or it has expired")
        self.session_id = session_id


class SessionExistsError(SessionContinuityError):
    """Another create took this session id first."""

    code = "session_exists"

    def __init__(self, session_id: str) -> None:
        super().__init__(f"session {session_id!r} exists already; choose another id, or get it")
        self.session_id = session_id


class SessionClosedError(SessionContinuityError):
    """The session's status does not accept messages."""

    code = "session_closed"

    def __init__(self, session_id: str, status: str) -> None:
        super().__init__(f"session {session_id!r} is {status} and takes no messages; set its status to active first")
        self.session_id = session_id
        self.status = status


class MessageNotFoundError(SessionContinuityError):
    """The session exists, the message does not."""

    code = "message_not_found"

    def __init__(self, session_id: str, message_id: str) -> None:
        super().__init__(f"session {session_id!r} has no message {message_id!r}")
        self.session_id = session_id
        self.message_id = message_id


class ConcurrencyError(SessionContinuityError):
    """Somebody else updated the session first. `current` is the session as it stands now, where known."""

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


class TokenBudgetExceededError(SessionContinuityError):
    """The tokens do not fit the budget; nothing was stored."""

    code = "token_budget_exceeded"

    def __init__(self, session_id: str, *, requested: int, limit: int, used: int | None = None) -> None:
        held = "" if used is None else f", which already holds {used}"
        super().__init__(
            f"{requested} more tokens do not fit the limit of {limit} of session {session_id!r}{held}; "
            "shorten the message, raise the budget, or choose another overflow strategy"
        )
        self.session_id = session_id
        self.requested = requested
        self.limit = limit
        self.used = used


class CompressionError(SessionContinuityError):
    """A conversation could not be compressed; it is unchanged."""

    code = "compression_error"


class HandoffError(SessionContinuityError):
    """A session could not be handed to that agent; it is unchanged."""

    code = "handoff_error"


class StorageError(SessionContinuityError):
    """The store failed. `backend` is its scheme, `operation` the contract method that failed."""

    code = "storage_error"

    def __init__(self, message: str, *, backend: str, operation: str, **details: Any) -> None:
        super().__init__(f"{backend}: {operation}: {message}")
        self.backend = backend
        self.operation = operation
        self.details = details


class ThrottledError(StorageError):
    """The store asks to slow down; retries inside the deadline did not help."""

    code = "throttled"
    retryable = True


class UnavailableError(StorageError):
    """The store cannot be reached, is locked or is not writable at the moment. A write's outcome may be unknown:
    repeat it with the same id."""

    code = "unavailable"
    retryable = True


class StorageClosedError(StorageError):
    """The store was closed before this call."""

    code = "storage_closed"

    def __init__(self, *, backend: str, operation: str) -> None:
        super().__init__("the store is closed; open it again", backend=backend, operation=operation)


class MessageTooLargeError(StorageError):
    """A message is over the store's item limit; nothing was sent. Sizes are in bytes."""

    code = "message_too_large"

    def __init__(self, *, backend: str, operation: str, size: int, limit: int) -> None:
        super().__init__(
            f"a message of {size} bytes is over the limit of {limit}; split it, or keep the body elsewhere",
            backend=backend,
            operation=operation,
        )
        self.size = size
        self.limit = limit


def _rebuilt(
    kind: type[SessionContinuityError], args: tuple[Any, ...], state: dict[str, Any]
) -> SessionContinuityError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error
