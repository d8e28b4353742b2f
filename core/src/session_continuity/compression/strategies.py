"""Compression strategies: how many of the oldest messages to compress, and whether into a summary. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from session_continuity.blocks.reader import results_of
from session_continuity.context.shortening import SHORTEST
from session_continuity.errors import PluginError
from session_continuity.models import CompressionConfig, Message

__all__ = ["STRATEGIES", "SUMMARIZING", "CompressionPlan", "CompressionStrategy", "strategies_with"]

_HYBRID_KEEPS = 20  # messages
_SHORTENED = SHORTEST + 8  # tokens of a message with one shortened result


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressionPlan:
    """What a strategy decided: compress the `count` oldest messages, and with `summarize` put them into a summary.

    Without `summarize` they are only left out. The cut is moved to the beginning of a turn, and never into the last
    one. Of the messages that stay, the results of tools in the `shorten` oldest are shown shortened.
    """

    count: int
    summarize: bool
    shorten: int = 0


class CompressionStrategy(Protocol):
    """A pure function that decides what to compress.

    `messages` are those after the last compression, oldest first, without system messages. `tokens` are their counts.
    `room` is how many tokens may stay beside the system messages and the summary so far.
    """

    def __call__(
        self, messages: Sequence[Message], tokens: Sequence[int], room: int, config: CompressionConfig, /
    ) -> CompressionPlan: ...


def sliding_window(
    messages: Sequence[Message], tokens: Sequence[int], room: int, config: CompressionConfig, /
) -> CompressionPlan:
    """Keep the newest that fit `target_tokens`, at least `min_messages` (1), at most `max_messages`. Drop the rest.

    Without a target, all stay while they fit the room. Then only as many stay as fit three quarters of it. Compressing
    rarely keeps the beginning of the context stable, so prompt caches of providers stay valid.
    """
    target = min(config.target_tokens or _rare_target(tokens, room), room)
    kept = _count_fitting(tokens, target)
    kept = max(kept, min(config.min_messages or 1, _count_fitting(tokens, room)))
    if config.max_messages is not None:
        kept = min(kept, config.max_messages)
    return CompressionPlan(count=len(messages) - kept, summarize=False)


def summarization(
    messages: Sequence[Message], tokens: Sequence[int], room: int, config: CompressionConfig, /
) -> CompressionPlan:
    """Keep the newest that fit half of `target_tokens`. Summarize the rest."""
    target = min(config.target_tokens or room, room) // 2
    return CompressionPlan(count=len(messages) - _count_fitting(tokens, target), summarize=True)


def hybrid(
    messages: Sequence[Message], tokens: Sequence[int], room: int, config: CompressionConfig, /
) -> CompressionPlan:
    """Keep the newest `max_messages` (20), as many of them as fit half of `target_tokens`. Summarize the rest."""
    target = min(config.target_tokens or room, room) // 2
    kept = min(config.max_messages or _HYBRID_KEEPS, _count_fitting(tokens, target))
    return CompressionPlan(count=len(messages) - kept, summarize=True)


def micro(
    messages: Sequence[Message], tokens: Sequence[int], room: int, config: CompressionConfig, /
) -> CompressionPlan:
    """Shorten old results of tools first, and drop messages only if that is not enough. No summarizer is called.

    The results in the newest messages that fit a third of `target_tokens` stay whole. Messages are dropped as by
    `sliding_window`.
    """
    target = min(config.target_tokens or room, room)
    if sum(tokens) <= target:
        return CompressionPlan(count=0, summarize=False)
    older = len(messages) - max(_count_fitting(tokens, target // 3), 1)
    shorter = [
        min(count, _SHORTENED * len(results)) if place < older and (results := results_of(message)) else count
        for place, (message, count) in enumerate(zip(messages, tokens, strict=True))
    ]
    goal = target * 3 // 4
    dropped = 0 if sum(shorter) <= goal else len(messages) - _count_fitting(shorter, goal)
    return CompressionPlan(count=dropped, summarize=False, shorten=max(older - dropped, 0))


STRATEGIES: Mapping[str, CompressionStrategy] = {
    "sliding_window": sliding_window,
    "summarization": summarization,
    "hybrid": hybrid,
    "micro": micro,
}
"""The strategies of core by name."""

SUMMARIZING = frozenset(["summarization", "hybrid"])
"""The strategies of core that need a summarizer. Those of extensions show it only in their plans."""


def strategies_with(
    offered: Iterable[tuple[str, Mapping[str, CompressionStrategy]]],
) -> dict[str, CompressionStrategy]:
    """The strategies of core and those that extensions offer, by name.

    `offered` pairs the name of an extension with its strategies. Raises PluginError when a name is taken already.
    """
    known = dict(STRATEGIES)
    for extension, strategies in offered:
        if taken := sorted(strategies.keys() & known.keys()):
            raise PluginError(f"extension {extension} offers strategies that exist: {taken}")
        known.update(strategies)
    return known


def _rare_target(tokens: Sequence[int], room: int) -> int:
    return room if sum(tokens) <= room else room * 3 // 4


def _count_fitting(tokens: Sequence[int], limit: int) -> int:
    """How many of the last messages fit the limit together."""
    total = 0
    for kept, count in enumerate(reversed(tokens)):
        total += count
        if total > limit:
            return kept
    return len(tokens)
