"""From a configuration to a plan that can be carried out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from session_continuity.compression.strategies import SUMMARIZING, CompressionPlan, CompressionStrategy
from session_continuity.compression.summarizer import Summarizer
from session_continuity.context.turns import safe_cut
from session_continuity.errors import CompressionError
from session_continuity.models import CompressionConfig, Message

__all__ = ["find_problem", "make_plan"]


def find_problem(
    config: CompressionConfig, strategies: Mapping[str, CompressionStrategy], summarizer: Summarizer | None
) -> str | None:
    """Why this configuration cannot be carried out, as far as it shows before there is something to compress; None if
    nothing is wrong. A plugin's strategy shows only in its plans whether it needs a summarizer."""
    if config.strategy not in strategies:
        return _unknown_strategy(strategies)
    if summarizer is None and config.strategy in SUMMARIZING:
        return f"{config.strategy!r} summarizes messages; give the manager a summarizer"
    return None


def make_plan(
    strategies: Mapping[str, CompressionStrategy],
    messages: Sequence[Message],
    tokens: Sequence[int],
    room: int,
    config: CompressionConfig,
) -> CompressionPlan:
    """The strategy's plan, moved to the beginning of a turn.

    A turn that the plan cuts stays if there is room for it. Otherwise it is compressed. The last turn always stays.
    Raises CompressionError for an unknown strategy, for one that fails, and for a plan that is impossible.
    """
    strategy = strategies.get(config.strategy)
    if strategy is None:
        raise CompressionError(_unknown_strategy(strategies))
    try:
        plan = strategy(messages, tokens, room, config)
        possible = isinstance(plan.count, int) and 0 <= plan.count <= len(messages)
    except Exception as error:
        raise CompressionError(f"the strategy {config.strategy!r} failed: {type(error).__name__}") from error
    if not possible:
        raise CompressionError(
            f"the strategy {config.strategy!r} wants to compress {plan.count} of {len(messages)} messages"
        )
    count = safe_cut(messages, plan.count)
    if sum(tokens[count:]) > room:
        count = safe_cut(messages, plan.count, later=True)
    shorten = max(min(plan.count + plan.shorten, len(messages)) - count, 0) if plan.shorten else 0
    return CompressionPlan(count=count, summarize=plan.summarize, shorten=shorten)


def _unknown_strategy(strategies: Mapping[str, CompressionStrategy]) -> str:
    return f"no compression strategy has this name; there are {', '.join(sorted(strategies))}"
