"""`Window` takes a conversation's messages from the newest to the oldest, and selects the turns that fit. Pure.

A turn is a user's message and everything up to the next one. The last turn is always selected. Older turns are selected
while they fit, without gaps. In a conversation without a user's message, each message that is not a tool's result
begins a turn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from session_continuity.context.calls import make_ids_unique, wrap_arguments
from session_continuity.context.counting import MessageCounter
from session_continuity.context.entries import Entry, MessageReport
from session_continuity.context.pairs import pair_up
from session_continuity.context.rules import ContextRules
from session_continuity.context.shortening import CUT, SHORTEST, cut_results, make_room
from session_continuity.context.unfinished import is_unfinished, with_note
from session_continuity.models import Message

__all__ = ["Selection", "Window"]

_NO_QUESTION = "it is before the first message of the user"
_NO_ROOM = "the budget is full"
_TOO_OLD = "it is older than the last turns"
_EQUAL = "an equal system message is shown"
_BROKEN_OFF = "the answer was broken off"


@dataclass(frozen=True, slots=True)
class Selection:
    """What a window selected, oldest first, and the reports of the messages that it did not select.

    `earlier_system` are the system messages before the selected turns. `tokens` are those of the other messages.
    `is_full` says whether messages were left out because the budget is full.
    """

    entries: list[Entry]
    earlier_system: list[Entry]
    left_out: list[MessageReport]
    tokens: int
    is_full: bool


class Window:
    """A selection in the making. `least` is what the offered messages have at least.

    `room` is how many tokens fit beside the system messages; None: no limit.

    `is_shown` says of a system message whether it is shown, or equals one that is. The results in messages up to
    `shortened_through` are cut to the shortest.
    """

    def __init__(
        self,
        room: int | None,
        rules: ContextRules,
        counter: MessageCounter,
        is_shown: Callable[[Message], bool],
        shortened_through: datetime | None = None,
    ) -> None:
        self.room = room
        self.offered = 0
        self._rules = rules
        self._counter = counter
        self._is_shown = is_shown
        self._shortened_through = shortened_through
        self._entries: list[Entry] = []
        self._left_out: list[MessageReport] = []
        self._turns = 0
        self._tokens = 0
        self.least = 0

    @property
    def is_done(self) -> bool:
        """Whether older messages could not be selected."""
        if self._turns:
            return self._turns == self._rules.max_turns or (self.room is not None and self._tokens > self.room)
        return self.room is not None and self.least > self.room

    def offer(self, message: Message) -> None:
        """Consider the next older message."""
        self.offered += 1
        if message.role == "system":
            self._offer_system(message)
        elif (entry := self._entry(message)) is not None:
            self._entries.append(entry)
            self._tokens += entry.tokens
            self.least += min(entry.tokens, self._counter.per_message) if entry.results else entry.tokens
            self._turns += entry.is_question

    def shrink(self, tokens: int) -> None:
        """Take tokens off the room."""
        if self.room is not None:
            self.room -= tokens

    def select(self, *, is_whole: bool) -> Selection:
        """The selection. `is_whole` says whether every message of the conversation was offered."""
        entries, lost = pair_up(reversed(self._entries), self._counter, self._rules.missing_results)
        for entry in entries:
            if entry.calls:
                wrap_arguments(entry, self._counter)
        starts = self._starts(entries)
        first, is_full = self._first(entries, starts, is_whole=is_whole)
        selected = entries[first:]
        make_ids_unique(selected)
        before = entries[:first]
        reason = _NO_ROOM if is_full else _TOO_OLD if starts and starts[0] < first else _NO_QUESTION
        older = [e.left_out(reason) for e in before if e.message.role != "system" and not e.is_extra]
        return Selection(
            entries=selected,
            earlier_system=[entry for entry in before if entry.message.role == "system"],
            left_out=[*older, *lost, *reversed(self._left_out)],
            tokens=sum(entry.tokens for entry in selected),
            is_full=is_full,
        )

    @staticmethod
    def _starts(entries: Sequence[Entry]) -> list[int]:
        """The places at which turns begin, oldest first."""
        questions = [place for place, entry in enumerate(entries) if entry.is_question]
        if questions:
            return questions
        spoken = (place for place, entry in enumerate(entries) if entry.message.role != "system")
        return [place for place in spoken if not entries[place].results]

    def _first(self, entries: Sequence[Entry], starts: Sequence[int], *, is_whole: bool) -> tuple[int, bool]:
        """The place at which the selection begins, and whether the budget left turns out.

        The last turn is in it even if it has more tokens than there is room for.
        """
        if not starts:
            return len(entries), not is_whole
        first, turns = starts[-1], 1
        last_turn = entries[first:]
        if self.room is not None:
            make_room(last_turn, self.room, self._counter)
        tokens = sum(entry.tokens for entry in last_turn)
        for start in reversed(starts[:-1]):
            if turns == self._rules.max_turns:
                return first, False
            tokens += sum(entry.tokens for entry in entries[start:first])
            if self.room is not None and tokens > self.room:
                return first, True
            first, turns = start, turns + 1
        return first, not is_whole and turns != self._rules.max_turns

    def _entry(self, message: Message) -> Entry | None:
        """The message as it is shown; None if it is left out."""
        tokens = self._counter.tokens(message)
        entry = Entry(message, tokens, tokens)
        if is_unfinished(message):
            return self._unfinished(entry)
        limit = self._limit(message)
        if limit is not None and entry.tokens > limit and entry.results:
            shorter = cut_results(message, limit, self._counter)
            if shorter is not message:
                entry.change(shorter, self._counter.tokens_after(entry.tokens, message, shorter), "cut", CUT)
        return entry

    def _limit(self, message: Message) -> int | None:
        """The most tokens of one of the message's results."""
        if self._shortened_through is not None and message.created_at <= self._shortened_through:
            return SHORTEST
        return self._rules.max_tool_result_tokens

    def _unfinished(self, entry: Entry) -> Entry | None:
        message = entry.message
        if self._rules.unfinished == "drop" or not message.content:
            self._left_out.append(entry.left_out(_BROKEN_OFF))
            return None
        noted = with_note(message)
        entry.change(noted, self._counter.tokens_after(entry.tokens, message, noted), "changed", _BROKEN_OFF)
        return entry

    def _offer_system(self, message: Message) -> None:
        tokens = self._counter.tokens(message)
        if self._is_shown(message):
            self._entries.append(Entry(message, 0, tokens))
        else:
            self._left_out.append(MessageReport(message.id, "left_out", _EQUAL, tokens))
