"""What was lately known of many things, in bounded memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

__all__ = ["Recent"]

T = TypeVar("T")


class Recent(Generic[T]):
    """The last thing noted of each name; beyond `most` names, the one noted longest ago is forgotten. For any number
    of threads."""

    most = 10_000

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._noted: OrderedDict[str, T] = OrderedDict()

    def get(self, name: str) -> T | None:
        with self._lock:
            return self._noted.get(name)

    def note(self, name: str, known: T) -> None:
        with self._lock:
            self._noted[name] = known
            self._noted.move_to_end(name)
            if len(self._noted) > self.most:
                self._noted.popitem(last=False)

    def forget(self, name: str) -> None:
        with self._lock:
            self._noted.pop(name, None)
