"""Errors of DynamoDB and botocore, and what they mean. The only module that knows the service's error codes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    HTTPClientError,
)

from session_continuity import SessionContinuityError, StorageError, ThrottledError, UnavailableError
from session_continuity_dynamodb.items.values import Item
from session_continuity_dynamodb.requests.setup_errors import identity_problem, setup_problem

BACKEND = "dynamodb"

_THROTTLED = frozenset(
    {
        "ProvisionedThroughputExceeded",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "Throttling",
        "ThrottlingError",
        "ThrottlingException",
    }
)
_CONFLICT = frozenset(
    {
        "ReplicatedWriteConflictException",
        "TransactionConflict",
        "TransactionConflictException",
        "TransactionInProgressException",
    }
)
_UNAVAILABLE = frozenset(
    {"InternalFailure", "InternalServerError", "ServiceUnavailable", "ServiceUnavailableException"}
)
_DENIED = frozenset({"AccessDenied", "AccessDeniedException"})

_FAILED = "ConditionalCheckFailed"

_ITEM_TOO_LARGE = "exceeded the maximum allowed size"
"""Part of the message for a write that makes an item too large. The code is that of any wrong request."""

_NO_ZSTD = "reading or writing zstd bodies needs its library: pip install session-continuity-dynamodb[zstd]"
_CONTENTION = "gave up: too many concurrent writes to this session"


class ConditionFailedError(Exception):
    """The condition of a single write did not hold.

    `item` is what the table has, None if the engine does not return it. `repeated` says that the SDK had sent the
    request before and got no reply, so this very write may be why the condition does not hold.
    """

    def __init__(self, item: Item | None, *, repeated: bool) -> None:
        super().__init__("condition failed")
        self.item = item
        self.repeated = repeated


@dataclass(frozen=True, slots=True)
class Reason:
    """Why one action cancelled its transaction: `failed` says that its condition did not hold. `item` is what the
    condition met, None if there is none or the engine does not return it."""

    failed: bool = False
    item: Item | None = None


class CancelledTransactionError(Exception):
    """Conditions of a transaction did not hold, and nothing was written. There is one reason for each action."""

    def __init__(self, reasons: list[Reason]) -> None:
        super().__init__("transaction cancelled")
        self.reasons = reasons


class NotDynamoDBError(Exception):
    """A response claims success and is not one that DynamoDB gives."""


def contention() -> ThrottledError:
    """The error of a write whose conditions failed until the retry deadline."""
    return ThrottledError(_CONTENTION)


def outcome_unknown() -> UnavailableError:
    """The error of a write that was sent again after a lost reply, and then met what others wrote meanwhile."""
    return UnavailableError(
        "the reply to a write was lost, and others have written since: it is unknown whether it was made; read the "
        "session, and repeat the call if it was not"
    )


def unprocessed(table: str) -> ThrottledError:
    """The error of a batch of which DynamoDB left something undone until the retry deadline."""
    return ThrottledError(f"table {table!r} left items of a batch unprocessed; raise its capacity, or slow down")


def code_of(error: BaseException) -> str | None:
    """The service's error code, or None for an error that is not the service's."""
    return str(error.response.get("Error", {}).get("Code")) if isinstance(error, ClientError) else None


def _cancellation_reasons(error: ClientError) -> list[dict[str, Any]]:
    return cast("list[dict[str, Any]]", error.response.get("CancellationReasons") or [])


def _codes_of(error: ClientError) -> set[str]:
    """The error code, and those of the actions of a cancelled transaction. An action without one has `None`."""
    reasons = {str(reason.get("Code", "None")) for reason in _cancellation_reasons(error)}
    return {code_of(error) or "Unknown", *reasons}


def failed_condition(error: ClientError) -> ConditionFailedError | CancelledTransactionError | None:
    """The failed condition that an error stands for, or None for another error."""
    code = code_of(error)
    if code == "ConditionalCheckFailedException":
        response = cast("dict[str, Any]", error.response)
        retries = response.get("ResponseMetadata", {}).get("RetryAttempts", 0)
        return ConditionFailedError(response.get("Item") or None, repeated=retries > 0)
    reasons = [
        Reason(reason.get("Code") == _FAILED, reason.get("Item") or None) for reason in _cancellation_reasons(error)
    ]
    # A transaction that also conflicts or is throttled is not decided by its conditions; it is sent again.
    if code == "TransactionCanceledException" and reasons and _codes_of(error) <= {code, "None", _FAILED}:
        return CancelledTransactionError(reasons)
    return None


def may_pass(error: ClientError) -> bool:
    """Whether the same request may succeed a moment later and certainly was not carried out."""
    return bool(_codes_of(error) & (_THROTTLED | _CONFLICT))


def translate(error: Exception, table: str) -> SessionContinuityError | None:
    """The project's error for one of DynamoDB or its client, or None for any other."""
    if isinstance(error, ClientError):
        return _translate_service_error(error, table)
    if isinstance(error, ImportError):
        return StorageError(_NO_ZSTD)
    if isinstance(error, NotDynamoDBError):
        return UnavailableError(
            "the server that answered is not DynamoDB; check endpoint_url, and for a proxy or a sign-in page between"
        )
    return _translate_client_error(error)


def _translate_client_error(error: Exception) -> SessionContinuityError | None:
    if (problem := setup_problem(error)) is not None:
        return StorageError(problem)
    if isinstance(error, (HTTPClientError, ConnectionClosedError, EndpointConnectionError, OSError)):
        return UnavailableError(f"DynamoDB does not answer ({type(error).__name__})")
    if isinstance(error, BotoCoreError):
        return StorageError(f"{type(error).__name__}: the request could not be made; see the chained exception")
    return None


def _translate_service_error(error: ClientError, table: str) -> SessionContinuityError:
    code, codes = code_of(error) or "Unknown", _codes_of(error)
    details: dict[str, Any] = {"aws_code": code, "table": table}
    if codes & _THROTTLED:
        details["reasons"] = cast("dict[str, Any]", error.response).get("ThrottlingReasons")
        return ThrottledError(f"table {table!r} is being throttled; raise its capacity, or slow down", **details)
    if codes & _CONFLICT:
        return ThrottledError(_CONTENTION, **details)
    if code in _UNAVAILABLE or error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400) >= 500:
        return UnavailableError(f"DynamoDB failed ({code})", **details)
    return StorageError(_remedy(error, code, table), **details)


def _remedy(error: ClientError, code: str, table: str) -> str:
    if (problem := identity_problem(error, code)) is not None:
        return problem
    if code == "ResourceNotFoundException":
        return f"table {table!r} or one of its indexes does not exist; run `session-continuity dynamodb create-table`"
    if _is_item_too_large(error):
        return (
            "an item would be over 400 KB: the session with its metadata, participants and handoffs, or the list of "
            "its system messages, which holds about 6,000; shorten the session, or delete system messages"
        )
    if code in _DENIED:
        return (
            f"the AWS identity has no permission for this on table {table!r}; grant what "
            "`session-continuity dynamodb template --format iam` prints"
        )
    if code == "ValidationException":
        return (
            f"DynamoDB rejected the request as invalid ({code}); see the chained exception for its message, and check "
            f"table {table!r} with `session-continuity dynamodb describe`"
        )
    return f"DynamoDB refused the request ({code}); see the chained exception for its message"


def _is_item_too_large(error: ClientError) -> bool:
    reasons = _cancellation_reasons(error)
    messages = [error.response.get("Error", {}).get("Message"), *(reason.get("Message") for reason in reasons)]
    return any(_ITEM_TOO_LARGE in str(message) for message in messages)
