"""What the service refuses, in this project's words. Only its refusals are made up here: the emulator has none."""

from __future__ import annotations

from typing import Any

import grpc
import grpc.aio
import pytest

from session_continuity import MessageTooLargeError, SessionContinuityError, ThrottledError, UnavailableError
from session_continuity_firestore.requests.errors import is_conflict, is_missing, is_throttled, translate

LINK = "https://console.firebase.google.com/v1/r/project/p/firestore/indexes?create_composite=abc"

Code = grpc.StatusCode


class Refusal(grpc.RpcError):
    """An error as gRPC raises it."""

    def __init__(self, code: Any, details: str) -> None:
        super().__init__()
        self._code, self._details = code, details

    def code(self) -> Any:
        return self._code

    def details(self) -> str:
        return self._details


def said(code: Any, details: str) -> SessionContinuityError:
    found = translate(Refusal(code, details), "projects/p/databases/(default)")
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("code", "details", "words"),
    [
        (Code.FAILED_PRECONDITION, f"The query requires an index. You can create it here: {LINK}", LINK),
        (
            Code.FAILED_PRECONDITION,
            "The Cloud Firestore API is not available for Firestore in Datastore Mode database projects/p.",
            "create one in Native mode",
        ),
        (Code.PERMISSION_DENIED, "Missing or insufficient permissions.", "roles/datastore.user"),
        (Code.UNAUTHENTICATED, "Request had invalid authentication credentials.", "application-default login"),
        (Code.NOT_FOUND, "The database (default) does not exist for project p", "no such project or database"),
        (Code.INVALID_ARGUMENT, 'Property content is "a secret text"', "refused as invalid"),
    ],
)
def test_a_refusal_says_what_to_do_and_is_not_repeated(code: Any, details: str, words: str) -> None:
    error = said(code, details)
    assert words in str(error)
    assert "secret" not in str(error)
    assert not error.retryable
    assert not is_conflict(Refusal(code, details)) or code is Code.FAILED_PRECONDITION
    assert not is_missing(Refusal(code, details))


def test_too_large_and_too_many_are_told_apart() -> None:
    size = "Received message larger than max (5000000 vs. 4194304)"
    too_large = said(Code.RESOURCE_EXHAUSTED, size)
    assert isinstance(too_large, MessageTooLargeError)
    assert too_large.size == 5_000_000
    assert not is_throttled(Refusal(Code.RESOURCE_EXHAUSTED, size))
    assert isinstance(said(Code.RESOURCE_EXHAUSTED, "Quota exceeded."), ThrottledError)
    assert is_throttled(Refusal(Code.RESOURCE_EXHAUSTED, "Quota exceeded."))


@pytest.mark.parametrize("code", [Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.INTERNAL, Code.CANCELLED])
def test_a_request_without_an_answer_has_an_unknown_outcome(code: Any) -> None:
    error = said(code, "")
    assert isinstance(error, UnavailableError)
    assert error.retryable


def test_an_error_of_another_library_is_none_of_ours() -> None:
    assert translate(ValueError("x"), "p") is None


@pytest.mark.parametrize(
    "error",
    [
        ValueError("Cannot invoke RPC on closed channel!"),
        ValueError("Cannot invoke RPC: Channel closed!"),
        grpc.aio.UsageError("Channel is closed."),
    ],
    ids=str,
)
def test_a_channel_that_is_closed_meanwhile_leaves_the_outcome_unknown(error: Exception) -> None:
    assert isinstance(translate(error, "p"), UnavailableError)
