"""Summarizers: functions of an application that put messages into words."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from functools import partial
from typing import Protocol

from session_continuity.errors import CompressionError, WouldSuspendError
from session_continuity.models import Message
from session_continuity.runtime.callbacks import CallLimited, OutOfTimeError
from session_continuity.values import check_text

__all__ = ["Summarizer", "summarize"]


class Summarizer(Protocol):
    """Returns a summary of `messages` that continues the summary `previous`, if there is one.

    `prompt` is the session's `summarization_prompt`. It may be a coroutine function where the manager is async.
    """

    def __call__(
        self, messages: Sequence[Message], *, previous: str | None, prompt: str | None
    ) -> str | Awaitable[str]: ...


async def summarize(
    messages: Sequence[Message],
    *,
    summarizer: Summarizer | None,
    call_limited: CallLimited,
    seconds: float,
    previous: str | None,
    prompt: str | None,
) -> str:
    """The summary of these messages, continuing `previous`.

    The summarizer gets a list of its own. Raises CompressionError when there is no summarizer, when it fails, when it
    takes longer than `seconds`, and when it returns something other than text.
    """
    if summarizer is None:
        raise CompressionError("this strategy summarizes messages; give the manager a summarizer")
    try:
        text = await call_limited(partial(summarizer, list(messages), previous=previous, prompt=prompt), seconds)
    except OutOfTimeError:
        raise CompressionError(
            f"the summarizer took longer than {seconds:g} seconds; raise summarizer_timeout, or make it faster"
        ) from None
    except WouldSuspendError as error:
        raise CompressionError(
            "the summarizer awaits I/O, which blocking mode cannot; give it a function that blocks, "
            "or use AsyncSessionManager"
        ) from error
    except Exception as error:
        raise CompressionError(f"the summarizer failed: {type(error).__name__}") from error
    if not isinstance(text, str) or not text.strip():
        raise CompressionError("the summarizer must return a text that is not empty")
    try:
        return check_text(text)
    except ValueError as error:
        raise CompressionError(f"the summarizer's answer cannot be stored: {error}") from None
