"""Folding old messages into a summary, so that a context stays small however long the conversation is.

A strategy is a pure plan: of the messages not folded yet, how many of the oldest to fold, and whether a summary of
them is wanted. At most one awaited summariser call follows. The result, `CompressionState`, is plain data in the
session: a later context reads the summary and the messages after it, and the next fold adds to the old summary
instead of reading the folded messages again.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from session_continuity.errors import CompressionError, WouldSuspendError
from session_continuity.models import CompressionConfig, CompressionState, Message, check_text
from session_continuity.window import safe_cut

__all__ = [
    "STRATEGIES",
    "CompressionPlan",
    "CompressionResult",
    "CompressionStrategy",
    "Summarizer",
    "Wait",
    "impossible",
    "next_state",
    "planned",
    "summarize",
    "unknown",
]

HYBRID_KEEPS = 20

Wait = Callable[[Awaitable[Any]], Awaitable[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressionPlan:
    """Fold the `fold` oldest messages; with `summary`, into words, otherwise they are left out.

    Where that would part a tool call from its results, as many are folded as keep them together.
    """

    fold: int
    summary: bool


class CompressionStrategy(Protocol):
    """Decides what to fold. `messages` are those after the last fold, oldest first, without system messages;
    `tokens` are their counts; `room` is how many tokens may stay, beside system messages and the summary so far. Pure.
    """

    def __call__(
        self, messages: Sequence[Message], tokens: Sequence[int], room: int, config: CompressionConfig, /
    ) -> CompressionPlan: ...


class Summarizer(Protocol):
    """Puts messages into words: the summary of `messages`, going on from `previous` where there is one.

    `prompt` is the session's `summarization_prompt`. May be a coroutine function where the manager is async.
    """

    def __call__(
        self, messages: Sequence[Message], *, previous: str | None, prompt: str | None
    ) -> str | Awaitable[str]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressionResult:
    """What a compression did: `folded_messages` were folded now, `state` is what later contexts start from; it is
    None when there was nothing to fold."""

    strategy: str
    folded_messages: int
    tokens_before: int
    tokens_after: int
    state: CompressionState | None

    @property
    def summary(self) -> str | None:
        """The summary, where the strategy makes one."""
        return None if self.state is None else self.state.summary


def sliding_window(
    messages: Sequence[Message], tokens: Sequence[int], room: int, config: CompressionConfig, /
) -> CompressionPlan:
    """Keep the newest that fit `target_tokens`, at least `min_messages` (1), at most `max_messages`; drop the rest.

    Without a target all stay while they fit the room, and then three quarters of it: so folds are rare, and between
    them a context begins with the same messages, which is what the prompt caches of models live on.
    """
    target = min(config.target_tokens or _rarely(tokens, room), room)
    kept = _fitting(tokens, target)
    kept = max(kept, min(config.min_messages or 1, _fitting(tokens, room)))
    if config.max_messages is not None:
        kept = min(kept, config.max_messages)
    return CompressionPlan(fold=len(messages) - kept, summary=False)


def summarization(
    messages: Sequence[Message], tokens: Sequence[int], room: int, config: CompressionConfig, /
) -> CompressionPlan:
    """Keep the newest that fit half of `target_tokens`; put the rest into words."""
    target = min(config.target_tokens or room, room) // 2
    return CompressionPlan(fold=len(messages) - _fitting(tokens, target), summary=True)


def hybrid(
    messages: Sequence[Message], tokens: Sequence[int], room: int, config: CompressionConfig, /
) -> CompressionPlan:
    """Keep the newest `max_messages` (20), as many of them as fit half of `target_tokens`; put the rest into words."""
    target = min(config.target_tokens or room, room) // 2
    kept = min(config.max_messages or HYBRID_KEEPS, _fitting(tokens, target))
    return CompressionPlan(fold=len(messages) - kept, summary=True)


STRATEGIES: Mapping[str, CompressionStrategy] = {
    "sliding_window": sliding_window,
    "summarization": summarization,
    "hybrid": hybrid,
}
"""The strategies of core by name."""

_IN_WORDS = frozenset(["summarization", "hybrid"])


def unknown(config: CompressionConfig, strategies: Mapping[str, CompressionStrategy]) -> str | None:
    """What to say of a strategy that is none of these; None where it is one."""
    if config.strategy in strategies:
        return None
    return f"no compression strategy has this name; there are {', '.join(sorted(strategies))}"


def impossible(
    config: CompressionConfig, strategies: Mapping[str, CompressionStrategy], summarizer: Summarizer | None
) -> str | None:
    """Why these strategies and this summarizer cannot carry a configuration out, as far as can be told before there is
    something to fold; None where nothing is in the way. Whether a plugin's strategy wants words, its plans tell."""
    if summarizer is None and config.strategy in _IN_WORDS:
        return f"{config.strategy!r} puts messages into words; give the manager a summarizer"
    return unknown(config, strategies)


def planned(
    strategy: CompressionStrategy,
    messages: Sequence[Message],
    tokens: Sequence[int],
    room: int,
    config: CompressionConfig,
) -> CompressionPlan:
    """The strategy's plan, moved so that no tool call is parted from its results: they stay if they fit the room
    together, otherwise they are folded together.

    Raises CompressionError for a strategy that fails or plans what cannot be.
    """
    try:
        plan = strategy(messages, tokens, room, config)
        possible = isinstance(plan.fold, int) and 0 <= plan.fold <= len(messages)
    except Exception as error:
        raise CompressionError(f"the strategy {config.strategy!r} failed: {type(error).__name__}") from error
    if not possible:
        raise CompressionError(f"the strategy {config.strategy!r} folds {plan.fold} of {len(messages)} messages")
    fold = safe_cut(messages, plan.fold)
    if sum(tokens[fold:]) > room:
        fold = safe_cut(messages, plan.fold, later=True)
    return CompressionPlan(fold=fold, summary=plan.summary)


async def summarize(
    folded: Sequence[Message], *, summarizer: Summarizer | None, wait: Wait, previous: str | None, prompt: str | None
) -> str:
    """The summary of `folded`, going on from `previous`. `wait` runs an awaitable answer to its end.

    Raises CompressionError when there is no summarizer, when it fails, or when it answers anything but text.
    """
    if summarizer is None:
        raise CompressionError("this strategy puts messages into words; give the manager a summarizer")
    try:
        answer = summarizer(folded, previous=previous, prompt=prompt)
        text = await wait(answer) if inspect.isawaitable(answer) else answer
    except WouldSuspendError as error:
        raise CompressionError(
            "the summarizer awaits I/O, which blocking mode cannot; give it a function that blocks, "
            "or use AsyncSessionManager"
        ) from error
    except Exception as error:
        raise CompressionError(f"the summarizer failed: {type(error).__name__}") from error
    if not isinstance(text, str) or not text:
        raise CompressionError("the summarizer must return a text that is not empty")
    try:
        return check_text(text)
    except ValueError as error:
        raise CompressionError(f"the summarizer's answer cannot be stored: {error}") from None


def next_state(
    previous: CompressionState | None,
    folded: Sequence[Message],
    tokens: int,
    *,
    strategy: str,
    summary: str | None,
    now: datetime,
) -> CompressionState:
    """The state after these messages, of so many tokens, were folded on top of the previous state; the tokens of the
    summary are not counted yet."""
    return CompressionState(
        strategy=strategy,
        summary=summary,
        covered_until=folded[-1].id,
        covered_through=folded[-1].created_at,
        covered_messages=len(folded) + (previous.covered_messages if previous else 0),
        covered_tokens=tokens + (previous.covered_tokens if previous else 0),
        updated_at=now,
    )


def _rarely(tokens: Sequence[int], room: int) -> int:
    return room if sum(tokens) <= room else room * 3 // 4


def _fitting(tokens: Sequence[int], limit: int) -> int:
    """How many of the last ones fit the limit together."""
    total = 0
    for kept, count in enumerate(reversed(tokens)):
        total += count
        if total > limit:
            return kept
    return len(tokens)
