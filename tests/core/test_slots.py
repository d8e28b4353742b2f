"""`Slots`: a limited number of holders, in the order in which they came, also where a signal handler raises."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any

from session_continuity import Slots

from ..kit.waiting import wait_until


def test_no_more_holders_than_slots_enter() -> None:
    slots, holders = Slots(2), [object() for _ in range(3)]
    assert [slots.enter(holder, 0) for holder in holders] == [True, True, False]
    slots.leave(holders[0])
    assert slots.enter(holders[2], 0)


def test_those_that_wait_enter_in_their_order() -> None:
    slots, first, order = Slots(1), object(), list[int]()
    assert slots.enter(first, 0)

    def hold(number: int) -> None:
        holder = object()
        assert slots.enter(holder, 30)
        order.append(number)
        slots.leave(holder)

    with ThreadPoolExecutor(3) as threads:
        for number in range(3):
            threads.submit(hold, number)
            wait_until(lambda waiting=number + 1: len(slots._waiting) == waiting, "the thread to wait")
        slots.leave(first)
    assert order == [0, 1, 2]


def test_one_that_stopped_waiting_is_not_served() -> None:
    slots, first, gone, last = Slots(1), object(), object(), object()
    assert slots.enter(first, 0)
    assert not slots.enter(gone, 0.001)
    slots.leave(first)
    assert slots.enter(last, 0)


def test_leaving_twice_gives_back_one_slot() -> None:
    slots, first, second, third = Slots(1), object(), object(), object()
    slots.enter(first, 0)
    slots.leave(first)
    slots.enter(second, 0)
    slots.leave(first)
    assert not slots.enter(third, 0)


def interrupted(slots: Slots, point: int) -> bool:
    """Enter and leave, interrupted at a point. Returns whether there were so many."""
    passed, struck = 0, False

    def strike(_: FrameType, event: str, __: Any) -> None:
        nonlocal passed, struck
        passed += event in ("call", "c_return")
        if passed == point:
            struck = True
            sys.setprofile(None)
            raise KeyboardInterrupt

    holder = object()
    before = sys.getprofile()
    try:
        sys.setprofile(strike)
        try:
            slots.enter(holder, 0)
        finally:
            try:
                slots.leave(holder)
            except BaseException:
                slots.leave(holder)
                raise
    except KeyboardInterrupt:
        pass
    finally:
        sys.setprofile(before)
    return struck


def test_an_interrupt_at_any_point_leaves_the_slot_free_and_serves_who_waits() -> None:
    point = 1
    while True:
        slots, keeper = Slots(2), object()
        assert slots.enter(keeper, 0)
        struck = interrupted(slots, point)
        assert slots.enter(threading.current_thread(), 0), point
        if not struck:
            break
        point += 1
    assert point > 8
