"""Checks of histories: is there one order of all calls that explains what concurrent workers saw?

An event has the times at which a call began and ended, from a clock that all processes of the machine share. A call
whose outcome is unknown, because the store could not be reached, has no end. It may have taken effect at any time after
it began, or never.
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
    """One call of one worker.

    `read` and `update` are about the version and the user of the session. `version` and `value` are those that were
    read or written. A refused update has the version in the error, and no value. `append` has a text, `list` has texts.
    """

    kind: Literal["read", "update", "append", "list"]
    worker: str
    began: int
    ended: int | None
    version: int = 0
    value: str | None = None
    texts: tuple[str, ...] = ()

    @classmethod
    def of(cls, document: dict[str, Any]) -> Event:
        """The event in a JSON document."""
        fields: dict[str, Any] = {**document, "texts": tuple(document["texts"])}
        return cls(**fields)

    def __str__(self) -> str:
        what = f"{len(self.texts)} messages" if self.kind == "list" else " ".join(self.texts)
        detail = what or f"version {self.version} {'refused' if self.value is None else self.value}"
        return f"{self.worker} {self.kind} {detail} [{self.began}, {self.ended}]"

    @property
    def latest(self) -> int:
        """The last moment at which the call can have taken effect."""
        return NEVER if self.ended is None else self.ended


def check_register(events: Sequence[Event], first: int, value: str, last: int) -> None:
    """Check reads and updates of version and user, from the version `first` with this value to the version `last`.

    The versions state the order of the updates. Every event must fit into that order.
    """
    known = [event for event in events if event.ended is not None]
    values = _values(known, first, value)
    unknown = [event for event in events if event.ended is None]
    for event in known:
        if event.kind == "read":
            _check_written(event, values, unknown)
    _check_time(known, first)
    updates = sum(event.kind == "update" and event.value is not None for event in known)
    most = updates + len(unknown)
    holds(
        "versions made by updates",
        updates <= last - first <= most,
        expected=f"{updates}" if updates == most else f"{updates} to {most}",
        observed=last - first,
    )


def _values(events: Iterable[Event], first: int, value: str) -> dict[int, str | None]:
    """The value of each version. Two updates that made the same version are a violation."""
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


def _check_written(read: Event, values: dict[int, str | None], unknown: Iterable[Event]) -> None:
    """Check that an update wrote the value of a read. It may be one whose outcome is unknown."""
    if read.version in values:
        same(f"the value of version {read.version}", read.value, values[read.version])
        return
    maybe = [event.value for event in unknown if event.value == read.value and event.began < read.latest]
    holds("a value read", bool(maybe), expected="one that an update wrote", observed=str(read))


def _check_time(events: Sequence[Event], first: int) -> None:
    """Check that no event contradicts one that ended before it began.

    A read sees at least the version of every such event, and an update makes a higher one. So no event sees a version
    whose update begins later.
    """
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
    """Check appends and reads of a conversation without deletes, whose texts at the end are `final`."""
    same("messages stored more than once", sorted({text for text in final if final.count(text) > 1}), [])
    place = {text: number for number, text in enumerate(final)}
    appends = [event for event in events if event.kind == "append"]
    acknowledged = [event for event in appends if event.ended is not None]
    same("acknowledged messages that are missing", [e.texts[0] for e in acknowledged if e.texts[0] not in place], [])
    sent = {event.texts[0] for event in appends}
    same("messages that nobody sent", [text for text in final if text not in sent], [])
    _check_order(acknowledged, place)
    for event in events:
        if event.kind == "list":
            _check_prefix(event, final, appends, place)


def _check_order(appends: Sequence[Event], place: dict[str, int]) -> None:
    """Check that an append which was acknowledged before another began comes before it."""
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


def _check_prefix(read: Event, final: Sequence[str], appends: Sequence[Event], place: dict[str, int]) -> None:
    """Check that a read is the beginning of the final conversation, with everything acknowledged before it."""
    same("a conversation read meanwhile, against the final one", list(read.texts), list(final[: len(read.texts)]))
    due = [event.texts[0] for event in appends if event.latest < read.began]
    same("messages acknowledged before a read, missing in it", [t for t in due if place[t] >= len(read.texts)], [])
    began = {event.texts[0]: event.began for event in appends}
    early = [text for text in read.texts if began[text] > read.latest]
    same("messages read before they were sent", early, [])
