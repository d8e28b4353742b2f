"""Shortening the results of tools in a view: the beginning and the end stay, with a mark between them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from session_continuity.blocks.parts import Media, Reasoning, Result, Text
from session_continuity.blocks.reader import parts_of_value, results_of
from session_continuity.context.counting import MessageCounter
from session_continuity.context.entries import Entry
from session_continuity.context.rewriting import with_result
from session_continuity.models import Message

__all__ = ["CUT", "SHORTEST", "cut_results", "make_room", "shorten"]

SHORTEST = 40
"""The fewest tokens to which a result is cut: the mark, and a few words on either side of it."""

_SHRINK = 7 / 8

CUT = "a tool's result was cut"
"""The reason in the report."""


def cut_results(message: Message, limit: int, counter: MessageCounter) -> Message:
    """The message with each of its results cut to `limit` tokens, but not below `SHORTEST`.

    It is the same object if none is longer. An image or a file in a result that is cut becomes a note.
    """
    limit = max(limit, SHORTEST)
    for result in results_of(message):
        if counter.count_parts([result]) > limit:
            message = with_result(message, result.place, text=shorten(_words(result), limit, counter.count_text))
    return message


def make_room(entries: Sequence[Entry], room: int, counter: MessageCounter) -> None:
    """Cut results until the entries have at most `room` tokens together, or none can be cut further.

    The oldest results are cut first and to the shortest. The newest keep as much as there is room for.
    """
    excess = sum(entry.tokens for entry in entries) - room
    answers = [entry for entry in entries if entry.results]
    for entry in answers:
        if excess <= 0:
            return
        share = 0 if entry is not answers[-1] else entry.tokens - excess
        excess -= _cut(entry, share // len(entry.results), counter)
    if answers and excess > 0:
        _cut(answers[-1], 0, counter)


def _cut(entry: Entry, limit: int, counter: MessageCounter) -> int:
    """Cut the results of an entry to `limit` tokens each, and return how many tokens that saves."""
    before = entry.tokens
    message = cut_results(entry.message, limit, counter)
    if message is not entry.message:
        entry.change(message, counter.tokens_after(before, entry.message, message), "cut", CUT)
    return before - entry.tokens


def shorten(text: str, limit: int, count: Callable[[str], int]) -> str:
    """The text, or its beginning and end with a mark between them, in at most `limit` tokens.

    The mark alone may have more tokens than a very small limit.
    """
    tokens = count(text)
    if tokens <= limit:
        return text
    kept = len(text) * limit // tokens
    while kept > 0:
        shorter = _beginning_and_end(text, kept)
        if len(shorter) < len(text) and count(shorter) <= limit:
            return shorter
        kept = int(kept * _SHRINK)
    return _beginning_and_end(text, 0)


def _beginning_and_end(text: str, kept: int) -> str:
    """The text with `kept` characters, two thirds of them from its beginning."""
    tail = kept // 3
    end = text[len(text) - tail :] if tail else ""
    return f"{text[: kept - tail]}\n[… {len(text) - kept} characters were left out …]\n{end}"


def _words(result: Result) -> str:
    """What a result says, with a note for each image or file."""
    found: list[str] = []
    for part in parts_of_value(result.value, result.place):
        if isinstance(part, (Text, Reasoning)):
            found.append(part.text)
        elif isinstance(part, Media):
            found.append(f"[{part.kind} left out]")
    return "\n".join(found)
