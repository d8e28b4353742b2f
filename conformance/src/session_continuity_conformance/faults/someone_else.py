"""Another client of a store, which acts from any thread, in every mode of the example."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing, contextmanager

from session_continuity import StorageAdapter, run_now
from session_continuity_conformance.drivers import BlockingDriver
from session_continuity_conformance.store_fixture import StoreFixture
from session_continuity_conformance.target import native_mode, set_up


@contextmanager
def someone_else(store: StoreFixture) -> Generator[StorageAdapter]:
    """An adapter of the example's namespace whose calls never suspend."""
    with closing(BlockingDriver()) as driver:
        raw = store.target.open(native_mode(store.target, driver.mode), store.namespace)
        if not raw.capabilities.server_clock:
            raw.clock = store.now
        adapter = driver.bridge(raw)
        run_now(set_up(adapter))
        try:
            yield adapter
        finally:
            run_now(adapter.close())
