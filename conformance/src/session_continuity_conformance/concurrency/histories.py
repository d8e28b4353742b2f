"""Histories of concurrent work on one session, and what must hold for each of them.

An event carries when it began and when it ended, on a clock that all processes of the machine share. An outcome that
nobody knows (the store could not be reached) has no end: it may have happened at any time after it began, or never.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from session_continuity_conformance.checks import ViolationError, holds, same

NEVER = 1 << 63


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One call by one worker.

    `read` and `update` concern the version and the user of the session: what was read, or written and expected; an
    update that was refused has the version that it was told, and no value. `append` has a text, `list` has texts.
    """

    kind: Literal["read", "update", "append", "list"]
    worker: str
    began: int
    ended: int | None
    version: int = 0
    value: str | None = None
    texts: tuple[str, ...] = ()

    @classmethod
    def of(cls, told: dict[str, Any]) -> Event:
        """An event from its JSON form."""
        fields: dict[str, Any] = {**told, "texts": tuple(told["texts"])}
        return cls(**fields)

    def __str__(self) -> str:
        what = f"{len(self.texts)} messages" if self.kind == "list" else " ".join(self.texts)
        told = what or f"version {self.version} {'refused' if self.value is None else self.value}"
        return f"{self.worker} {self.kind} {told} [{self.began}, {self.ended}]"

    @property
    def latest(self) -> int:
        return NEVER if self.ended is None else self.ended


def check_register(events: Sequence[Event], first: int, value: str, last: int) -> None:
    """Reads and updates of version and user, from the first version with this value to the last version.

    The versions themselves say in which order the updates were made; it remains to see that every event fits there.
    """
    known = [event for event in events if event.ended is not None]
    values = _values(known, first, value)
    unknown = [event for event in events if event.ended is None]
    for event in known:
        if event.kind == "read":
            _written_by_somebody(event, values, unknown)
    _in_time(known, first)
    made = sum(event.kind == "update" and event.value is not None for event in known)
    most = made + len(unknown)
    holds(
        "versions made by updates",
        made <= last - first <= most,
        expected=f"{made}" if made == most else f"{made} to {most}",
        observed=last - first,
    )


def _values(events: Iterable[Event], first: int, value: str) -> dict[int, str | None]:
    values: dict[int, str | None] = {first: value}
    for event in events:
        if event.kind == "update" and event.value is not None:
            if event.version in values:
                raise ViolationError(
                    f"version {event.version}",
                    expected="one update that made it",
                    observed=f"{values[event.version]!r} and {event.value!r}",
                )
            values[event.version] = event.value
    return values


def _written_by_somebody(read: Event, values: dict[int, str | None], unknown: Iterable[Event]) -> None:
    if read.version in values:
        same(f"the value of version {read.version}", read.value, values[read.version])
        return
    maybe = [event.value for event in unknown if event.value == read.value and event.began < read.latest]
    holds("a value read", bool(maybe), expected="one that an update wrote", observed=str(read))


def _in_time(events: Sequence[Event], first: int) -> None:
    """Nobody sees less than what was there before they began, and an update makes more than that; so nobody sees a
    version either before its update began."""
    for event in events:
        before = max((other.version for other in events if other.latest < event.began), default=first)
        wrote = event.kind == "update" and event.value is not None
        holds(
            "a version seen after another was acknowledged",
            event.version > before if wrote else event.version >= before,
            expected=f"{'over' if wrote else 'at least'} {before}",
            observed=str(event),
        )


def check_conversation(events: Sequence[Event], final: Sequence[str]) -> None:
    """Appends and reads of a conversation that nobody deletes from, which is `final` at the end."""
    same("messages stored more than once", sorted({text for text in final if final.count(text) > 1}), [])
    place = {text: number for number, text in enumerate(final)}
    appends = [event for event in events if event.kind == "append"]
    acknowledged = [event for event in appends if event.ended is not None]
    same("acknowledged messages that are missing", [e.texts[0] for e in acknowledged if e.texts[0] not in place], [])
    sent = {event.texts[0] for event in appends}
    same("messages that nobody sent", [text for text in final if text not in sent], [])
    _acknowledged_in_order(acknowledged, place)
    for event in events:
        if event.kind == "list":
            _is_prefix(event, final, appends, place)


def _acknowledged_in_order(appends: Sequence[Event], place: dict[str, int]) -> None:
    ordered = sorted(appends, key=lambda event: place[event.texts[0]])
    latest = [NEVER] * (len(ordered) + 1)
    for number in range(len(ordered) - 1, -1, -1):
        latest[number] = min(latest[number + 1], ordered[number].latest)
    for number, (event, _) in enumerate(pairwise(ordered)):
        holds(
            "order of appends of which one was acknowledged before the other began",
            latest[number + 1] >= event.began,
            expected=f"{event.texts[0]} after the one acknowledged before",
            observed=str(event),
        )


def _is_prefix(read: Event, final: Sequence[str], appends: Sequence[Event], place: dict[str, int]) -> None:
    same("a conversation read meanwhile, against the final one", list(read.texts), list(final[: len(read.texts)]))
    due = [event.texts[0] for event in appends if event.latest < read.began]
    same("messages acknowledged before a read, missing in it", [t for t in due if place[t] >= len(read.texts)], [])
    began = {event.texts[0]: event.began for event in appends}
    early = [text for text in read.texts if began[text] > read.latest]
    same("messages read before they were sent", early, [])
