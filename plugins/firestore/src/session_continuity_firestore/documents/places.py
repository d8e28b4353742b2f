"""Places: the order of a session's messages. Pure.

A message's place is its `createdAt` in microseconds. Models have milliseconds, so the last three digits count the
messages of one millisecond. A place is used once in a session.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from session_continuity import Message, move_to
from session_continuity_firestore.wire.values import FIRST_MOMENT, LAST_MOMENT, Moment, moment_of, time_of

_IN_MILLISECOND = 1000
_MILLISECOND = timedelta(milliseconds=1)


def placed(
    messages: Sequence[Message], last: Moment, client_ids: Collection[str]
) -> tuple[Sequence[Message], Sequence[Moment]]:
    """The messages behind the place `last`, with their places. They are moved in time where they have to be."""
    last_time = time_of(max(last, FIRST_MOMENT))
    if messages[0].created_at < last_time:
        messages = move_to(last_time, messages, client_ids=client_ids)
    places = _places(messages, last)
    if not _agree(messages, places):  # the millisecond is full
        messages = move_to(last_time + _MILLISECOND, messages, client_ids=client_ids)
        places = _places(messages, last)
    return messages, places


def _places(messages: Sequence[Message], last: Moment) -> list[Moment]:
    places: list[Moment] = []
    for message in messages:
        last = Moment(max(moment_of(message.created_at), last + 1))
        places.append(last)
    return places


def _agree(messages: Sequence[Message], places: Sequence[Moment]) -> bool:
    return all(
        place // _IN_MILLISECOND == moment_of(message.created_at) // _IN_MILLISECOND
        for message, place in zip(messages, places, strict=True)
    )


def first_place_after(time: datetime) -> Moment | None:
    """The first place that is later than a time, which may lie between two milliseconds. None if there is none."""
    return _valid((moment_of(time) // _IN_MILLISECOND + 1) * _IN_MILLISECOND)


def first_place_at_or_after(time: datetime) -> Moment | None:
    """The first place that is not earlier than a time. None if every place is earlier."""
    return _valid(-(-moment_of(time) // _IN_MILLISECOND) * _IN_MILLISECOND)


def _valid(place: int) -> Moment | None:
    return Moment(place) if place <= LAST_MOMENT else None
