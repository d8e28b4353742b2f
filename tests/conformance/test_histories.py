"""The checks accept histories that are possible and refuse those that are not."""

from __future__ import annotations

from typing import Any

import pytest

from session_continuity_conformance.checks import ViolationError
from session_continuity_conformance.concurrency.histories import Event, check_conversation, check_register


def read(began: int, ended: int, version: int, value: str) -> Event:
    return Event(kind="read", worker="r", began=began, ended=ended, version=version, value=value)


def update(began: int, ended: int | None, version: int, value: str | None) -> Event:
    return Event(kind="update", worker="u", began=began, ended=ended, version=version, value=value)


def append(began: int, ended: int | None, text: str) -> Event:
    return Event(kind="append", worker="a", began=began, ended=ended, texts=(text,))


def listed(began: int, ended: int, *texts: str) -> Event:
    return Event(kind="list", worker="l", began=began, ended=ended, texts=texts)


FIRST = "first"


@pytest.mark.parametrize(
    ("events", "last"),
    [
        ([read(0, 1, 1, FIRST), update(2, 3, 2, "a"), read(4, 5, 2, "a")], 2),
        ([update(0, 9, 2, "a"), read(1, 2, 1, FIRST), read(3, 4, 2, "a")], 2),
        ([update(0, 3, 2, "a"), update(1, 4, 2, None)], 2),
        ([update(0, None, 0, "a"), read(5, 6, 2, "a")], 2),
        ([update(0, None, 0, "a"), read(5, 6, 1, FIRST)], 1),
    ],
    ids=["in turn", "overlapping", "one refused", "unknown and done", "unknown and not done"],
)
def test_possible_register_history_is_accepted(events: list[Event], last: int) -> None:
    check_register(events, 1, FIRST, last)


@pytest.mark.parametrize(
    ("events", "last", "what"),
    [
        ([update(0, 3, 2, "a"), update(1, 4, 2, "b")], 2, "version 2"),
        ([update(0, 1, 2, "a"), read(2, 3, 1, FIRST)], 2, "acknowledged"),
        ([update(0, 1, 2, "a"), read(2, 3, 2, "b")], 2, "value of version 2"),
        ([read(0, 1, 2, "ghost")], 1, "a value read"),
        ([update(5, 6, 2, "a"), read(0, 1, 2, "a")], 2, "acknowledged"),
        ([update(0, 1, 2, "a")], 3, "versions made"),
        ([update(0, 1, 3, "a"), update(2, 3, 2, "b")], 3, "acknowledged"),
        ([update(0, 1, 2, "a"), update(2, 3, 1, None)], 2, "acknowledged"),
    ],
    ids=["two winners", "stale", "wrong value", "nobody's", "future", "lost count", "backwards", "refused by the past"],
)
def test_impossible_register_history_is_refused(events: list[Event], last: int, what: str) -> None:
    with pytest.raises(ViolationError, match=what):
        check_register(events, 1, FIRST, last)


@pytest.mark.parametrize(
    ("events", "final"),
    [
        ([append(0, 1, "a"), append(2, 3, "b"), listed(4, 5, "a", "b")], ["a", "b"]),
        ([append(0, 5, "a"), append(1, 4, "b"), listed(2, 3, "b")], ["b", "a"]),
        ([append(0, None, "a"), listed(1, 2)], []),
        ([append(0, None, "a"), append(1, 2, "b"), listed(3, 4, "b")], ["b", "a"]),
    ],
    ids=["in turn", "overlapping", "unknown and lost", "unknown and late"],
)
def test_possible_conversation_is_accepted(events: list[Event], final: list[str]) -> None:
    check_conversation(events, final)


@pytest.mark.parametrize(
    ("events", "final", "what"),
    [
        ([append(0, 1, "a")], [], "missing"),
        ([append(0, 1, "a")], ["a", "a"], "more than once"),
        ([append(0, 1, "a")], ["a", "b"], "nobody sent"),
        ([append(0, 1, "a"), append(2, 3, "b")], ["b", "a"], "order of appends"),
        ([append(0, 9, "x"), append(0, 1, "a"), append(2, 3, "b")], ["b", "x", "a"], "order of appends"),
        ([append(0, 9, "a"), append(0, 9, "b"), listed(2, 3, "b")], ["a", "b"], "against the final one"),
        ([append(0, 1, "a"), listed(2, 3)], ["a"], "missing in it"),
        ([append(5, 6, "a"), listed(0, 1, "a")], ["a"], "before they were sent"),
    ],
    ids=["lost", "doubled", "ghost", "swapped", "swapped over one", "no prefix", "stale", "future"],
)
def test_impossible_conversation_is_refused(events: list[Event], final: list[str], what: str) -> None:
    with pytest.raises(ViolationError, match=what):
        check_conversation(events, final)


def test_event_survives_the_way_between_processes() -> None:
    told: dict[str, Any] = {"kind": "list", "worker": "w", "began": 1, "ended": 2, "texts": ["a", "b"]}
    assert Event.of(told) == Event(kind="list", worker="w", began=1, ended=2, texts=("a", "b"))
