"""A bounded cache."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

__all__ = ["BoundedCache"]

T = TypeVar("T")


class BoundedCache(Generic[T]):
    """The last value set for each key. Beyond `max_size` keys, the one set longest ago is dropped. Thread-safe."""

    max_size = 10_000

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: OrderedDict[str, T] = OrderedDict()

    def get(self, key: str) -> T | None:
        """The value of a key, or None."""
        with self._lock:
            return self._values.get(key)

    def set(self, key: str, value: T) -> None:
        """Keep the value of a key."""
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            if len(self._values) > self.max_size:
                self._values.popitem(last=False)

    def discard(self, key: str) -> None:
        """Drop the value of a key, if there is one."""
        with self._lock:
            self._values.pop(key, None)
