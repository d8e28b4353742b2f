"""`pair_up` puts the results of tools behind their calls, so that every call has exactly one. Pure, and linear.

A result belongs to the latest call of its id before it, and if a message has several of that id, to that of its name. A
result without a call, and one that was delivered before, are left out. A call without a result is answered by a message
that says so where something follows it. The last message is left out if it makes calls that nothing has answered yet.

Calls and results may be typed in a message's metadata or lie in its content as blocks of a provider.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from session_continuity.blocks.parts import Call, Place, Result
from session_continuity.blocks.reader import calls_of, results_of
from session_continuity.context.calls import take_named
from session_continuity.context.counting import MessageCounter
from session_continuity.context.entries import Entry, MessageReport
from session_continuity.context.rewriting import answer_to, without
from session_continuity.context.rules import MissingResultRule
from session_continuity.model_base import copied
from session_continuity.models import Message

__all__ = ["INTERRUPTED", "pair_up"]

INTERRUPTED = "The tool was interrupted before it returned a result. It may have had effects."
"""The text of a result that is filled in."""

_DOUBLED = "the result of its call was delivered before"
_NO_CALL = "a result without its call"
_PENDING = "its calls are not answered yet"
_DROPPED = "calls without a result were left out"
_MOVED = "results were moved behind their call"
_PARTLY = "results that belong to no call were left out"
_FILLED = "stands for the missing result of a call"


def pair_up(
    entries: Iterable[Entry], counter: MessageCounter, missing: MissingResultRule
) -> tuple[list[Entry], list[MessageReport]]:
    """The entries, oldest first, with every result behind its call, and the reports of messages that were left out."""
    pairing = _Pairing(counter)
    for entry in entries:
        pairing.add(entry)
    return list(pairing.finish(missing)), pairing.left_out


@dataclass(slots=True)
class _Slot:
    """A message and the results that are shown behind it. `open` are its calls without a result, by key."""

    entry: Entry
    open: dict[str, list[Call]] = field(default_factory=dict[str, "list[Call]"])
    behind: list[Entry] = field(default_factory=list[Entry])

    def open_calls(self) -> list[Call]:
        """The calls without a result, in order."""
        return [call for calls in self.open.values() for call in calls]


class _Pairing:
    """One pass over messages, oldest first."""

    def __init__(self, counter: MessageCounter) -> None:
        self.left_out: list[MessageReport] = []
        self._counter = counter
        self._slots: list[_Slot] = []
        self._callers: dict[str, _Slot] = {}
        self._answered: set[str] = set()
        self._filled_tokens: int | None = None

    def add(self, entry: Entry) -> None:
        """Place the next message."""
        calls, results = entry.calls, entry.results
        if not results:
            slot = self._append(entry)
            if calls:
                self._open(slot, calls)
        elif calls:
            self._add_both(entry, calls, results)
        else:
            self._place(entry, results)

    def _add_both(self, entry: Entry, calls: Sequence[Call], results: Sequence[Result]) -> None:
        """Place a message that makes calls and has results, perhaps of its own calls."""
        own = self._own_results(calls, results)
        answered = own.copy()
        foreign = [result for result in results if not _take(answered, _key(result))]
        slot = self._place(entry, foreign) if foreign else self._append(entry)
        if slot is not None:
            self._open(slot, [call for call in calls if not _take(own, _key(call))])

    def _own_results(self, calls: Sequence[Call], results: Sequence[Result]) -> Counter[str]:
        """How many results of each key answer a call of the same message: those that no earlier call waits for."""
        own = Counter(map(_key, calls)) & Counter(map(_key, results))
        return Counter({key: number for key, number in own.items() if not self._waits(key)})

    def _waits(self, key: str) -> bool:
        slot = self._callers.get(key)
        return slot is not None and key in slot.open

    def finish(self, missing: MissingResultRule) -> Iterable[Entry]:
        """The messages in their order, with the calls without a result answered or left out."""
        places = reversed(range(len(self._slots)))
        last = next((place for place in places if self._slots[place].entry.message.role != "system"), -1)
        for place, slot in enumerate(self._slots):
            if not slot.open:
                yield slot.entry
            elif place == last and not slot.behind and not slot.entry.results:
                self._leave_out(slot.entry, _PENDING)
                continue
            elif missing == "drop" or (place == last and not slot.behind):
                yield from self._without_open_calls(slot)
            else:
                yield slot.entry
                slot.behind.extend(self._answers(slot))
            yield from slot.behind

    def _append(self, entry: Entry) -> _Slot:
        self._slots.append(_Slot(entry))
        return self._slots[-1]

    def _open(self, slot: _Slot, calls: Iterable[Call]) -> None:
        for call in calls:
            slot.open.setdefault(_key(call), []).append(call)
            self._callers[_key(call)] = slot

    def _place(self, entry: Entry, results: Sequence[Result]) -> _Slot | None:
        """Put the results behind their calls, and return the slot of what else the message says, if it says more."""
        message = entry.message
        by_caller: dict[int, tuple[_Slot, set[Place]]] = {}
        lost: list[Result] = []
        for result in results:
            slot = self._answer(result)
            if slot is None:
                lost.append(result)
            else:
                by_caller.setdefault(id(slot), (slot, set()))[1].add(result.place)
        says_more = _says_more(message, results)
        callers = list(by_caller.values())
        if len(callers) == 1 and not lost:
            slot = callers[0][0]
            if says_more and slot is self._slots[-1]:
                return self._append(entry)
            if not says_more:
                if slot is not self._slots[-1]:
                    entry.change(message, entry.tokens, "changed", _MOVED)
                slot.behind.append(entry)
                return None
        rest = self._rest(entry, results) if says_more else None
        self._show_parts(message, callers, says_more=says_more, is_partial=bool(lost))
        if not callers and not says_more:
            self._leave_out(entry, _DOUBLED if _key(lost[0]) in self._answered else _NO_CALL)
        return rest

    def _rest(self, entry: Entry, results: Sequence[Result]) -> _Slot:
        message = without(entry.message, [result.place for result in results])
        self._change(entry, message, _MOVED)
        return self._append(entry)

    def _show_parts(
        self,
        message: Message,
        callers: Sequence[tuple[_Slot, Collection[Place]]],
        *,
        says_more: bool,
        is_partial: bool,
    ) -> None:
        """Show some of a message's results behind each of its callers, in messages of their own."""
        all_places = [result.place for result in results_of(message)]
        for number, (slot, places) in enumerate(callers):
            part = without(message, [place for place in all_places if place not in places])
            is_extra = says_more or number > 0
            if says_more:
                part = _only_results(part)
            if is_extra:
                part = copied(part, id=f"{message.id}/{number + 1}")
            reason = _PARTLY if is_partial else _MOVED
            entry = Entry(part, self._counter.count(part), message.token_count or 0, is_extra, "changed", reason)
            slot.behind.append(entry)

    def _answer(self, result: Result) -> _Slot | None:
        """The message with the open call that the result belongs to, which is now answered."""
        key = _key(result)
        slot = self._callers.get(key)
        calls = None if slot is None else slot.open.get(key)
        if slot is None or not calls:
            return None
        take_named(calls, result.name)
        if not calls:
            del slot.open[key]
        self._answered.add(key)
        return slot

    def _answers(self, slot: _Slot) -> Iterable[Entry]:
        message = slot.entry.message
        for number, call in enumerate(slot.open_calls()):
            answer = answer_to(message, call, INTERRUPTED, f"{message.id}/interrupted-{number + 1}")
            if self._filled_tokens is None:  # the words are the same in every form
                self._filled_tokens = self._counter.count(answer)
            yield Entry(answer, self._filled_tokens, is_extra=True, action="filled", reason=_FILLED)

    def _without_open_calls(self, slot: _Slot) -> Iterable[Entry]:
        message = without(slot.entry.message, [call.place for call in slot.open_calls()])
        if not message.content and not calls_of(message):
            self._leave_out(slot.entry, _DROPPED)
            return
        self._change(slot.entry, message, _DROPPED)
        yield slot.entry

    def _change(self, entry: Entry, message: Message, reason: str) -> None:
        tokens = self._counter.tokens_after(entry.tokens, entry.message, message)
        entry.change(message, tokens, "changed", reason)

    def _leave_out(self, entry: Entry, reason: str) -> None:
        self.left_out.append(entry.left_out(reason))


def _take(counts: Counter[str], key: str) -> bool:
    """Whether there is one of this key left, which is taken."""
    if counts[key] <= 0:
        return False
    counts[key] -= 1
    return True


def _key(part: Call | Result) -> str:
    """What a call and its result have in common: the id, or the name of a tool of Gemini's without an id."""
    return part.id or part.name if isinstance(part, Call) else part.call_id or part.name


def _says_more(message: Message, results: Sequence[Result]) -> bool:
    """Whether a message with these results says anything else. A tool's words repeat its results."""
    metadata = message.metadata
    if metadata.tool_calls or len(results) < len(metadata.tool_results):
        return True
    if isinstance(message.content, str):
        return bool(message.content) and message.role != "tool"
    in_blocks = {result.place for result in results if result.place[0] == "content"}
    return message.role != "tool" and len(in_blocks) < len(message.content)


def _only_results(message: Message) -> Message:
    """The message with nothing but its results."""
    kept = {result.place for result in results_of(message)}
    content = message.content
    blocks = "" if isinstance(content, str) else [b for n, b in enumerate(content) if ("content", n) in kept]
    metadata = copied(message.metadata, tool_calls=[])
    role = "tool" if message.metadata.tool_results else message.role
    return copied(message, content=blocks or "", metadata=metadata, role=role)
