"""Which messages of a conversation a model gets to see under a token limit. Pure: messages in, messages out.

The newest messages are kept, without gaps, as many as fit; system messages are kept always. A tool call and its
results are one unit, kept or left out together; a call that lacks a result, and a result that lacks its call, is left
out: models refuse both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from session_continuity.models import Message

__all__ = ["Window", "safe_cut"]


@dataclass(frozen=True, slots=True)
class _Offered:
    """A message with its tokens and its place, counted from the newest."""

    place: int
    message: Message
    tokens: int


class Window:
    """Fills up as messages are offered, newest first. `room` is how many tokens still fit; None for no limit.

    System messages are not offered but kept; the caller takes their tokens off the room before.
    """

    def __init__(self, room: int | None) -> None:
        self.room = room
        self.is_full = False
        self._offered = 0
        self._kept: list[_Offered] = []
        self._answers: list[_Offered] = []

    def offer(self, message: Message, tokens: int) -> None:
        """Take the next older message, as long as none before it was refused for lack of room."""
        if self.is_full:
            return
        offered = _Offered(self._offered, message, tokens)
        self._offered += 1
        if message.metadata.tool_calls:
            self._offer_call(offered)
        elif message.metadata.tool_results:
            self._answers.append(offered)
        else:
            self._keep([offered])

    def keep(self, message: Message) -> None:
        """Keep the next older message whatever the room: a system message, whose tokens were taken before."""
        self._kept.append(_Offered(self._offered, message, 0))
        self._offered += 1

    def messages(self) -> list[Message]:
        """What was kept, oldest first."""
        return [kept.message for kept in sorted(self._kept, key=lambda kept: kept.place, reverse=True)]

    def _offer_call(self, call: _Offered) -> None:
        asked = _called(call.message)
        answers = [answer for answer in self._answers if not asked.isdisjoint(_answered([answer.message]))]
        self._answers = [answer for answer in self._answers if answer not in answers]
        if asked <= _answered(answer.message for answer in answers):
            self._keep([call, *answers])

    def _keep(self, unit: list[_Offered]) -> None:
        tokens = sum(part.tokens for part in unit)
        if self.room is not None:
            if tokens > self.room:
                self.is_full = True
                return
            self.room -= tokens
        self._kept.extend(unit)


def safe_cut(messages: Sequence[Message], cut: int) -> int:
    """The largest index up to `cut` at which the messages, oldest first, can be parted without separating a tool
    call from its results."""
    asked = {call_id: place for place, message in enumerate(messages) for call_id in _called(message)}
    answered = {call_id: place for place, message in enumerate(messages) for call_id in _answered([message])}
    spans = sorted(((asked[key], answered[key]) for key in asked.keys() & answered.keys()), reverse=True)
    for start, end in spans:
        if start < cut <= end:
            cut = start
    return cut


def _called(message: Message) -> set[str]:
    return {call.id for call in message.metadata.tool_calls}


def _answered(messages: Iterable[Message]) -> set[str]:
    return {result.tool_call_id for message in messages for result in message.metadata.tool_results}
