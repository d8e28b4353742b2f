"""Exceptions of signal handlers reach the caller as they are, and are not called errors of the store."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator

import pytest
from pydantic_core import PydanticSerializationError

from session_continuity import Session, StorageError, UnavailableError, portable, run_now
from session_continuity.runtime.interrupts import interrupt_in
from session_continuity_memory import MemoryStorage


class TimeLimitError(Exception):
    """What an application's handler of SIGALRM raises."""


def raise_time_limit(*_: object) -> None:
    raise TimeLimitError


@pytest.fixture
def handler() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, raise_time_limit)
    yield
    signal.signal(signal.SIGTERM, before)


class Interrupted(MemoryStorage):
    """A store in which something happens during `get_session`."""

    def __init__(self, happen: Callable[[], object]) -> None:
        super().__init__()
        self._happen = happen

    async def get_session(self, session_id: str) -> Session | None:
        self._happen()
        return await super().get_session(session_id)


def read(happen: Callable[[], object]) -> None:
    run_now(portable(Interrupted(happen)).get_session("s"))


@pytest.mark.usefixtures("handler")
def test_an_ordinary_exception_of_a_signal_handler_is_raised_as_it_is() -> None:
    with pytest.raises(TimeLimitError):
        read(lambda: os.kill(os.getpid(), signal.SIGTERM))


@pytest.mark.usefixtures("handler")
def test_an_exception_of_a_handler_that_a_client_wrapped_is_unwrapped() -> None:
    def wrap() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except TimeLimitError as error:
            raise RuntimeError("the client failed") from error

    with pytest.raises(TimeLimitError):
        read(wrap)


def test_the_same_exception_of_the_client_is_an_error_of_the_store() -> None:
    with pytest.raises(StorageError, match="unexpected TimeLimitError"):
        read(raise_time_limit)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Error calling function `format_timestamp`: KeyboardInterrupt: ", KeyboardInterrupt),
        ("Error serializing to JSON: KeyboardInterrupt: ", KeyboardInterrupt),
        ("Error calling function `format_timestamp`: SystemExit: 3", SystemExit),
    ],
)
def test_an_interrupt_that_pydantic_dropped_is_made_anew(text: str, expected: type[BaseException]) -> None:
    found = interrupt_in(PydanticSerializationError(text))
    assert isinstance(found, expected)
    assert str(found) in ("", "3")


def test_another_exception_that_pydantic_dropped_has_an_unknown_outcome() -> None:
    def fail() -> None:
        raise PydanticSerializationError("Error calling function `format_timestamp`: TimeLimitError: ")

    with pytest.raises(UnavailableError, match="its outcome is unknown"):
        read(fail)
