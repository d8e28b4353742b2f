"""The reference's own probe: a request is a visit to the model, a read is an item that it hands out."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from session_continuity import ConfigError, Cost, Page, StorageAdapter

if TYPE_CHECKING:
    from session_continuity_conformance.reference.model import Model


@contextmanager
def probe(adapter: StorageAdapter) -> Generator[Callable[[], Cost]]:
    """Count the visits and the items."""
    work: Any = getattr(adapter, "work", None)
    if work is None:
        raise ConfigError(f"this probe counts what the reference does, not {type(adapter).__name__}")
    requests = reads = 0

    def counted(operation: str, action: Callable[[Model], Any]) -> Any:
        nonlocal requests, reads
        requests += 1
        result = work(operation, action)
        reads += len(cast("Page[object]", result)) if isinstance(result, Page) else 1
        return cast("object", result)

    adapter.work = counted  # type: ignore[attr-defined]
    try:
        yield lambda: Cost(requests=requests, reads=reads)
    finally:
        del adapter.work  # type: ignore[attr-defined]
