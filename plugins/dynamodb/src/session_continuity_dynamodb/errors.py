"""What DynamoDB and botocore raise, in the project's terms. The only file that knows service error codes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
)

from session_continuity import SessionContinuityError, StorageError, ThrottledError, UnavailableError
from session_continuity_dynamodb.values import Item

BACKEND = "dynamodb"

THROTTLED = frozenset(
    {
        "ProvisionedThroughputExceeded",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "Throttling",
        "ThrottlingError",
        "ThrottlingException",
    }
)
CONFLICT = frozenset(
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
_IDENTITY = frozenset(
    {
        "ExpiredTokenException",
        "IncompleteSignatureException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationTokenException",
        "UnrecognizedClientException",
    }
)


_OVER_THE_LIMIT = "exceeded the maximum allowed size"
"""What the service says, in no code of its own, of a write that would make an item larger than it may be."""


class ConditionFailedError(Exception):
    """A condition did not hold. `item` is what the table has, None where the engine does not tell. `repeated` says that
    the SDK had sent the request before, and heard no answer."""

    def __init__(self, item: Item | None, *, repeated: bool) -> None:
        super().__init__("condition failed")
        self.item = item
        self.repeated = repeated


class NotTheServiceError(Exception):
    """An answer that claims success and is not one that DynamoDB gives."""


class UnreadableItemError(Exception):
    """An item cannot be read as what its key says that it is; the cause says why."""

    def __init__(self, item: Item) -> None:
        super().__init__(f"item {item['SK']['S']!r} of {item['PK']['S']!r}")


@dataclass(frozen=True, slots=True)
class Reason:
    """Why one action of a transaction did not go through; `failed` when its condition did not hold."""

    failed: bool = False
    item: Item | None = None


class CancelledTransactionError(Exception):
    """Conditions of a transaction did not hold; nothing was written. One reason for each action, in order."""

    def __init__(self, reasons: list[Reason]) -> None:
        super().__init__("transaction cancelled")
        self.reasons = reasons


def code_of(error: BaseException) -> str | None:
    return str(error.response.get("Error", {}).get("Code")) if isinstance(error, ClientError) else None


def cancellation_codes(error: ClientError) -> list[str]:
    """The codes of a cancelled transaction's reasons; `None` for an action that had none."""
    return [str(reason.get("Code", "None")) for reason in _raw_reasons(error)]


def _raw_reasons(error: ClientError) -> list[dict[str, Any]]:
    return cast("list[dict[str, Any]]", error.response.get("CancellationReasons") or [])


def reasons_of(error: ClientError) -> list[Reason]:
    return [
        Reason(reason.get("Code") == "ConditionalCheckFailed", reason.get("Item") or None)
        for reason in _raw_reasons(error)
    ]


def condition_of(error: BaseException) -> ConditionFailedError | CancelledTransactionError | None:
    """The failed condition that an error stands for, or None for any other error."""
    if not isinstance(error, ClientError):
        return None
    code = code_of(error)
    if code == "ConditionalCheckFailedException":
        answer = cast("dict[str, Any]", error.response)
        tries = answer.get("ResponseMetadata", {}).get("RetryAttempts", 0)
        return ConditionFailedError(answer.get("Item") or None, repeated=tries > 0)
    codes = set(cancellation_codes(error))
    if code == "TransactionCanceledException" and codes and codes <= {"None", "ConditionalCheckFailed"}:
        return CancelledTransactionError(reasons_of(error))
    return None


def may_pass(error: BaseException) -> bool:
    """Whether the same request may go through a moment later, certain that it was not applied."""
    if not isinstance(error, ClientError):
        return False
    return bool({code_of(error), *cancellation_codes(error)} & (THROTTLED | CONFLICT))


def translate(error: Exception, operation: str, table: str) -> SessionContinuityError:
    """The project's error for a raw one; the caller chains the raw one to it."""
    if isinstance(error, SessionContinuityError):
        return error
    if isinstance(error, ClientError):
        return _service_error(error, operation, table)
    where: dict[str, Any] = {"backend": BACKEND, "operation": operation}
    if isinstance(error, ImportError):
        return StorageError(_NO_ZSTD, **where)
    if isinstance(error, UnreadableItemError):
        return StorageError(f"{error} cannot be read; {_mend(error.__cause__)}", **where)
    if isinstance(error, NotTheServiceError):
        return UnavailableError(
            "what answered is not DynamoDB; check endpoint_url, and what lies between (a proxy, a sign-in page)",
            **where,
        )
    if isinstance(error, (NoCredentialsError, PartialCredentialsError)):
        return StorageError(
            "found no AWS credentials; set a profile, the AWS_* variables or a role that the AWS chain finds", **where
        )
    if isinstance(error, NoRegionError):
        return StorageError("no region; add ?region=… to the URL, or set AWS_REGION", **where)
    if isinstance(error, (HTTPClientError, ConnectionClosedError, EndpointConnectionError, OSError)):
        return UnavailableError(f"no answer from the service ({type(error).__name__})", **where)
    if isinstance(error, BotoCoreError):
        return StorageError(f"{type(error).__name__}: the request could not be made", **where)
    return StorageError(f"unexpected {type(error).__name__}", **where)


_NO_ZSTD = "bodies packed by zstd need its library: pip install session-continuity-dynamodb[zstd]"


def _mend(cause: BaseException | None) -> str:
    if isinstance(cause, ImportError):
        return _NO_ZSTD
    return (
        "it was damaged, or written by a newer version: upgrade session-continuity, "
        "restore the item from a backup, or delete it"
    )


def _service_error(error: ClientError, operation: str, table: str) -> SessionContinuityError:
    code = code_of(error) or "Unknown"
    codes = {code, *cancellation_codes(error)}
    where: dict[str, Any] = {"backend": BACKEND, "operation": operation, "aws_code": code, "table": table}
    if codes & THROTTLED:
        reasons = cast("dict[str, Any]", error.response).get("ThrottlingReasons")
        return ThrottledError(
            f"table {table!r} is being throttled; raise its capacity, or slow down", reasons=reasons, **where
        )
    if codes & CONFLICT:
        return ThrottledError("other writes to the same session kept getting in first", **where)
    if code == "ResourceNotFoundException":
        return StorageError(
            f"table {table!r} or one of its indexes does not exist; run `session-continuity dynamodb create-table`",
            **where,
        )
    if _is_over_the_limit(error):
        return StorageError(
            "an item would be over 400 KB: the session with its metadata, participants and handoffs, or the list of "
            "its system messages, which holds about 6,000; make the one smaller, or delete some of the other",
            **where,
        )
    if code in _UNAVAILABLE or error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400) >= 500:
        return UnavailableError(f"the service failed ({code})", **where)
    if code in _DENIED:
        return StorageError(
            f"the AWS identity may not do this on table {table!r}; grant what "
            "`session-continuity dynamodb template --format iam` lists",
            **where,
        )
    if code in _IDENTITY:
        return StorageError(f"AWS does not accept the credentials ({code}); renew them", **where)
    if code == "ValidationException":
        return StorageError(
            f"the service takes the request for a mistake ({code}); its own words are in the cause, and "
            f"`session-continuity dynamodb describe` says whether table {table!r} fits",
            **where,
        )
    return StorageError(f"the service refused the request ({code}); its own words are in the cause", **where)


def _is_over_the_limit(error: ClientError) -> bool:
    words = [error.response.get("Error", {}).get("Message"), *(each.get("Message") for each in _raw_reasons(error))]
    return any(_OVER_THE_LIMIT in str(each) for each in words)
