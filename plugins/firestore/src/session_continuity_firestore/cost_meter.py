"""What calls cost: requests, documents read, and read-equivalents billed. Imported only for measuring."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace

from session_continuity import ConfigError, Cost, StorageAdapter, innermost
from session_continuity_firestore.adapter import FirestoreStorage

WRITE, DELETE = 3.0, 1 / 3
"""The price of a write and of a delete, in reads."""


@contextmanager
def cost_meter(adapter: StorageAdapter) -> Generator[Callable[[], Cost]]:
    """Count what the adapter sends inside the block. Raises ConfigError for another store's adapter."""
    store = innermost(adapter)
    if not isinstance(store, FirestoreStorage):
        raise ConfigError(f"this cost meter counts the requests of a FirestoreStorage, not of {type(store).__name__}")
    meter, begun = store.meter, replace(store.meter)

    def cost() -> Cost:
        reads = meter.reads - begun.reads
        billed = reads + WRITE * (meter.writes - begun.writes) + DELETE * (meter.deletes - begun.deletes)
        return Cost(requests=meter.requests - begun.requests, reads=reads, units=billed)

    yield cost
