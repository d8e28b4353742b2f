"""A limited number of slots, for pools and locks that signal handlers may interrupt."""

from __future__ import annotations

import threading

__all__ = ["Slots"]


class Slots:
    """At most `number` holders at once; with 1, it is a lock. Those that wait are served in their order. Thread-safe.

    A signal handler may raise between any two steps of a program, also between the acquisition of a lock and the `try`
    behind it, and inside of `threading.Condition`. The lock then stays taken. Here a holder is any object, and `leave`
    works after every step of `enter`, also after an interrupted `leave`:

        holder = object()
        try:
            entered = slots.enter(holder, timeout)
            ...
        finally:
            try:
                slots.leave(holder)
            except BaseException:  # a signal handler raised
                slots.leave(holder)
                raise
    """

    def __init__(self, number: int) -> None:
        self._number = number
        # Python enters and leaves a `with` on this lock without running a signal handler.
        self._lock = threading.Lock()
        self._holders: set[object] = set()
        self._waiting: dict[object, threading.Lock] = {}

    def enter(self, holder: object, timeout: float) -> bool:
        """Wait at most so many seconds for a slot, and return whether there was one."""
        bell = threading.Lock()
        with self._lock:
            if not self._waiting and len(self._holders) < self._number:
                self._holders.add(holder)
                return True
            bell.acquire()
            self._waiting[holder] = bell
        if bell.acquire(timeout=timeout):
            return True
        with self._lock:
            if holder in self._holders:
                return True
            self._waiting.pop(holder, None)
            return False

    def leave(self, holder: object) -> None:
        """Give the slot back, or stop waiting for one. May be called again."""
        with self._lock:
            self._waiting.pop(holder, None)
            self._holders.discard(holder)
            self._serve()

    def _serve(self) -> None:
        """Give free slots to those that wait. After an interruption it can be called again."""
        for holder, bell in list(self._waiting.items()):
            if holder not in self._holders:
                if len(self._holders) >= self._number:
                    return
                self._holders.add(holder)
            if bell.locked():
                bell.release()
            del self._waiting[holder]
