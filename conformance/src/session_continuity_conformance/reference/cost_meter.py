"""The cost meter of the reference. A request is a call of the model, a read is an item that it returns."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from session_continuity import ConfigError, Cost, Page, StorageAdapter

if TYPE_CHECKING:
    from session_continuity_conformance.reference.model import Model


@contextmanager
def cost_meter(adapter: StorageAdapter) -> Generator[Callable[[], Cost]]:
    """Count the calls of the model and the items."""
    work: Any = getattr(adapter, "work", None)
    if work is None:
        raise ConfigError(f"this cost meter counts what the reference does, not {type(adapter).__name__}")
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
