"""Which messages of a conversation a model gets to see under a token limit. Pure: messages in, messages out.

The newest messages are kept, without gaps, as many as fit; system messages are kept always. A tool call and its
results are one unit, kept or left out together; a call that lacks a result, and a result that lacks its call, is left
out: models refuse both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from session_continuity.models import Message

__all__ = ["Window", "safe_cut"]


@dataclass(frozen=True, slots=True)
class _Offered:
    """A message with its tokens and its place, counted from the newest."""

    place: int
    message: Message
    tokens: int


@dataclass(frozen=True, slots=True)
class _Unit:
    """Messages that belong together, and the calls that their results answer and that were not met yet."""

    parts: tuple[_Offered, ...]
    awaits: frozenset[str]


class Window:
    """Fills up as messages are offered, newest first. `room` is how many tokens still fit; None for no limit.

    System messages are not offered but kept; the caller takes their tokens off the room before.
    """

    def __init__(self, room: int | None) -> None:
        self.room = room
        self.is_full = False
        self._offered = 0
        self._kept: list[_Offered] = []
        self._waiting: list[_Unit] = []

    def offer(self, message: Message, tokens: int) -> None:
        """Take the next older message, as long as none before it was refused for lack of room."""
        if self.is_full:
            return
        calls, results = _calls(message), _results(message)
        answers = [unit for unit in self._waiting if not unit.awaits.isdisjoint(calls)]
        self._waiting = [unit for unit in self._waiting if unit.awaits.isdisjoint(calls)]
        answered = results.union(*(unit.awaits for unit in answers))
        if calls <= answered:
            parts = (self._next(message, tokens), *(part for unit in answers for part in unit.parts))
            self._settle(_Unit(parts, answered - calls))

    def keep(self, message: Message) -> None:
        """Keep the next older message whatever the room: a system message, whose tokens were taken before."""
        self._kept.append(self._next(message, 0))

    def messages(self) -> list[Message]:
        """What was kept, oldest first."""
        return [kept.message for kept in sorted(self._kept, key=lambda kept: kept.place, reverse=True)]

    def _next(self, message: Message, tokens: int) -> _Offered:
        self._offered += 1
        return _Offered(self._offered, message, tokens)

    def _settle(self, unit: _Unit) -> None:
        """Keep the unit if it is whole and fits."""
        tokens = sum(part.tokens for part in unit.parts)
        if unit.awaits:
            self._waiting.append(unit)
        elif self.room is None:
            self._kept.extend(unit.parts)
        elif tokens <= self.room:
            self.room -= tokens
            self._kept.extend(unit.parts)
        else:
            self.is_full = True


def safe_cut(messages: Sequence[Message], cut: int, *, later: bool = False) -> int:
    """The index nearest to `cut`, and not above it, or not below it where `later`, at which the messages, oldest
    first, can be parted without separating a tool call from its results."""
    for start, end in sorted(_spans(messages), reverse=not later):
        if start < cut <= end:
            cut = end + 1 if later else start
    return min(cut, len(messages))


def _spans(messages: Sequence[Message]) -> Iterator[tuple[int, int]]:
    """The places of a call and of a result of it. A call that nothing but results follow may still be answered, by a
    message to come."""
    asked: dict[str, int] = {}
    last_word = -1
    for place, message in enumerate(messages):
        calls, results = _calls(message), _results(message)
        yield from ((asked[call_id], place) for call_id in results & asked.keys())
        asked.update(dict.fromkeys(calls, place))
        last_word = place if calls or not results else last_word
    if last_word >= 0 and not _calls(messages[last_word]) <= _answered_from(messages, last_word):
        yield last_word, len(messages)


def _answered_from(messages: Sequence[Message], place: int) -> frozenset[str]:
    return frozenset[str]().union(*map(_results, messages[place:]))


def _calls(message: Message) -> frozenset[str]:
    return frozenset(call.id for call in message.metadata.tool_calls)


def _results(message: Message) -> frozenset[str]:
    return frozenset(result.tool_call_id for result in message.metadata.tool_results)
