"""gRPC's errors: what they say about a request, and this project's errors for them, each with what to do."""

from __future__ import annotations

import re
from typing import Any

import grpc
import grpc.aio

from session_continuity import (
    ConfigError,
    MessageTooLargeError,
    SessionContinuityError,
    StorageError,
    ThrottledError,
    UnavailableError,
)
from session_continuity_firestore.config import BACKEND, MAX_MESSAGE_BYTES

Code = grpc.StatusCode

CONFLICTS = frozenset({Code.ABORTED, Code.ALREADY_EXISTS, Code.FAILED_PRECONDITION, Code.NOT_FOUND})
"""The codes of a write that was refused because a document is not as the write expects. Nothing was written."""

UNANSWERED = frozenset({Code.CANCELLED, Code.DEADLINE_EXCEEDED, Code.INTERNAL, Code.UNAVAILABLE, Code.UNKNOWN})
"""The codes of a request whose outcome is unknown."""

CLOSED_DURING_CALL = "the store was closed during this call, whose outcome is unknown"

_LINK = re.compile(r"https://\S+")
_DATASTORE_MODE = "datastore mode"
_NO_DATABASE = "does not exist for project"


class GaveUpError(Exception):
    """Other writers were faster until the deadline. Nothing was written."""


class CredentialsError(Exception):
    """There are no credentials, or they were refused. The cause says why."""


def code_of(error: grpc.RpcError) -> Any:
    """The status code. gRPC's errors are calls too, and have one."""
    return error.code() if hasattr(error, "code") else None


def details_of(error: grpc.RpcError) -> str:
    """What the server says."""
    return (error.details() or "") if hasattr(error, "details") else ""


def is_conflict(error: grpc.RpcError) -> bool:
    """Whether a write was refused because of another writer."""
    details = details_of(error).lower()
    return code_of(error) in CONFLICTS and _DATASTORE_MODE not in details and _NO_DATABASE not in details


def is_unanswered(error: grpc.RpcError) -> bool:
    """Whether a request was not answered."""
    return code_of(error) in UNANSWERED


def was_not_sent(error: grpc.RpcError) -> bool:
    """Whether there was no connection that a request could be sent on."""
    return "failed to connect to all addresses" in details_of(error)


def is_throttled(error: grpc.RpcError) -> bool:
    """Whether the service refused a request for the rate of requests. The size of one has the same code."""
    return code_of(error) is Code.RESOURCE_EXHAUSTED and not _is_too_large(details_of(error))


def is_missing(error: grpc.RpcError) -> bool:
    """Whether a document does not exist. A project or database that does not exist has the same code."""
    return code_of(error) is Code.NOT_FOUND and _NO_DATABASE not in details_of(error).lower()


def _is_too_large(details: str) -> bool:
    lower = details.lower()
    return "larger than max" in lower or "message size" in lower or "exceeds maximum" in lower or "too big" in lower


def index_link(error: grpc.RpcError) -> str | None:
    """The link that creates the index that a query has missed."""
    found = _LINK.search(details_of(error))
    return found[0] if found else None


def translate(error: Exception, target: str) -> SessionContinuityError | None:
    """This project's error for one of gRPC's, None for any other. `target` says which database."""
    if isinstance(error, GaveUpError):
        return ThrottledError(f"{error}; repeat the call, or raise retry_deadline")
    if isinstance(error, CredentialsError):
        return StorageError(
            f"Google refused the credentials, or there are none ({error}): set GOOGLE_APPLICATION_CREDENTIALS, run "
            "`gcloud auth application-default login`, or name an emulator by emulator_host"
        )
    if _is_of_a_closed_channel(error):
        return UnavailableError(CLOSED_DURING_CALL)
    if not isinstance(error, grpc.RpcError):
        return None
    return _translate_status(code_of(error), details_of(error), target)


def _is_of_a_closed_channel(error: Exception) -> bool:
    # gRPC has several sentences for it, such as "closed channel", "Channel closed!" and "Channel is closed".
    words = str(error).lower()
    return isinstance(error, ValueError | grpc.aio.UsageError) and "channel" in words and "closed" in words


def _translate_status(code: Any, details: str, target: str) -> SessionContinuityError:
    name = getattr(code, "name", "UNKNOWN")
    if code in UNANSWERED:
        return UnavailableError(
            f"{target} did not answer ({name}); the outcome of the call is unknown: repeat it with the same ids",
            status=name,
        )
    if code is Code.RESOURCE_EXHAUSTED and _is_too_large(details):
        return MessageTooLargeError(size=_size_in(details), limit=MAX_MESSAGE_BYTES)
    if code is Code.RESOURCE_EXHAUSTED:
        return ThrottledError(f"{target} limits the rate of requests, or its quota is used up", status=name)
    if code is Code.ABORTED:
        return ThrottledError(f"{target}: other writers were faster; repeat the call", status=name)
    return StorageError(f"{target}: {_sentence(code, details)}", status=name)


def _sentence(code: Any, details: str) -> str:
    if _DATASTORE_MODE in details.lower():
        return "this database is in Datastore mode, which does not have this API; create one in Native mode"
    if code is Code.FAILED_PRECONDITION and (link := _LINK.search(details)):
        return (
            f"an index is missing; create it at {link[0]}, or create all of them from "
            f"`session-continuity {BACKEND} indexes`"
        )
    if code is Code.PERMISSION_DENIED:
        return (
            "permission denied; give this account the role roles/datastore.user, and check that the project is right "
            "and the Firestore API enabled"
        )
    if code is Code.UNAUTHENTICATED:
        return "the credentials were refused; renew them: `gcloud auth application-default login`"
    if code is Code.NOT_FOUND:
        return "there is no such project or database; create it, or name another one in the URL"
    if code is Code.INVALID_ARGUMENT:
        return f"the request was refused as invalid: {_without_values(details)}"
    return f"the request was refused ({getattr(code, 'name', 'unknown')})"


def _without_values(details: str) -> str:
    """The first sentence of what the server says, without quoted values."""
    return re.sub(r"[\"'`].*[\"'`]", "…", details.splitlines()[0][:200]) if details else "without a reason"


def _size_in(details: str) -> int:
    sizes = [int(number) for number in re.findall(r"\d{4,}", details)]
    return max(sizes, default=MAX_MESSAGE_BYTES + 1)


def config_error(problem: str) -> ConfigError:
    """A ConfigError of this store."""
    return ConfigError(f"{BACKEND}: {problem}")
