"""The turns of a conversation: where one may be cut. Pure, and linear."""

from __future__ import annotations

from collections.abc import Sequence

from session_continuity.blocks.reader import calls_of, results_of
from session_continuity.context.entries import Entry
from session_continuity.models import Message

__all__ = ["safe_cut"]


def safe_cut(messages: Sequence[Message], cut: int, *, later: bool = False) -> int:
    """The index nearest to `cut`, but not above it, at which messages, oldest first, may be cut.

    That is the beginning of a turn, where no call before it has its result behind it. The last turn is not cut off.
    With `later` it is the nearest that is not below `cut`, or the last one if there is none.
    """
    allowed = [0, *_boundaries(messages)]
    if later:
        return next((place for place in allowed if place >= cut), allowed[-1])
    return max(place for place in allowed if place <= cut)


def _boundaries(messages: Sequence[Message]) -> list[int]:
    """The beginnings of turns that no pair of a call and its result crosses."""
    crossed = _crossed(messages)
    questions = [place for place, message in enumerate(messages) if Entry(message, 0).is_question]
    starts = questions or [place for place, message in enumerate(messages) if not results_of(message)]
    return [place for place in starts if not crossed[place]]


def _crossed(messages: Sequence[Message]) -> list[bool]:
    """Of each index, whether a cut there separates a result from the latest call of its id before it."""
    changes = [0] * (len(messages) + 1)
    asked: dict[str, int] = {}
    for place, message in enumerate(messages):
        for result in results_of(message):
            start = asked.pop(result.call_id or result.name, place)
            if start < place:
                changes[start + 1] += 1
                changes[place + 1] -= 1
        asked.update((call.id or call.name, place) for call in calls_of(message))
    open_pairs, crossed = 0, list[bool]()
    for change in changes[: len(messages)]:
        open_pairs += change
        crossed.append(open_pairs > 0)
    return crossed
