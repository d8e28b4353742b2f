"""One test body for every way to use a manager: blocking, async, and each over a bridge to a store of the other mode.

A body is written in plain calls on an object with the methods of `SessionManager`. Where the variant is async, each
call runs in the test's event loop until it returns.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from session_continuity import (
    AsyncSessionManager,
    CountingRule,
    Mode,
    Registry,
    SessionManager,
    Storage,
    StorageAdapter,
    innermost,
)
from session_continuity.backends.modes import ThreadedAdapter

from ..kit.recording import RecordingAdapter
from ..kit.threads import run_in_threads

R = TypeVar("R")

VariantName = Literal[
    "blocking-memory", "async-memory", "portal-memory", "threads-memory", "blocking-sqlite", "async-sqlite"
]
"""The manager and its store. `portal` is a blocking manager on an async store, `threads` the other way round."""

ON_MEMORY: tuple[VariantName, ...] = ("blocking-memory", "async-memory", "portal-memory", "threads-memory")
ON_SQLITE: tuple[VariantName, ...] = ("blocking-sqlite", "async-sqlite")
"""The bridges are left out: they pass calls on without regard to the store, which `ON_MEMORY` covers."""


QUARTER = CountingRule(text=lambda text: (len(text) + 3) // 4, per_message=0, per_call=0)
"""Counts a token for four characters of a text, and nothing for frames but that of the reply."""


class SteppedManager:
    """An `AsyncSessionManager` with blocking methods: each call runs in the event loop until it returns."""

    def __init__(self, inner: AsyncSessionManager, runner: asyncio.Runner) -> None:
        self.inner = inner
        self._runner = runner

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.inner, name)
        if not callable(method):
            return method
        return lambda *args, **options: self._finish(method(*args, **options))

    def _finish(self, answer: Any) -> Any:
        if isinstance(answer, AsyncSessionManager):
            return SteppedManager(answer, self._runner)
        if inspect.iscoroutine(answer):
            return self._runner.run(answer)
        return self._iterate(answer) if inspect.isasyncgen(answer) else answer

    def _iterate(self, items: Any) -> Iterator[Any]:
        async def next_item() -> Any:
            return await anext(items, items)  # the generator itself stands for its end: no item is the generator

        try:
            while (item := self._runner.run(next_item())) is not items:
                yield item
        finally:
            self._runner.run(items.aclose())

    def __enter__(self) -> SteppedManager:
        self._runner.run(self.inner.__aenter__())
        return self

    def __exit__(self, *error: Any) -> None:
        self._runner.run(self.inner.__aexit__(*error))


class Variant:
    """Opens the stores and managers of one variant. `mode` is the mode of its stores."""

    def __init__(self, name: VariantName, folder: Path) -> None:
        self.name, _, store = name.partition("-")
        self.is_async = self.name in ("async", "threads")
        self.mode: Mode = "async" if self.name in ("async", "portal") else "blocking"
        self._url = "memory://" if store == "memory" else f"sqlite:///{folder}/test.db"
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._closers: list[Callable[[], None]] = []
        self._storage: Storage

    def store(self, *, clock: Callable[[], datetime] | None = None) -> RecordingAdapter:
        """An adapter on the variant's store, which is empty at first, below core's own layer."""
        store = RecordingAdapter(innermost(Registry().create(self._url, self.mode)))
        if clock is not None:
            store.clock = clock
        return store

    def manager(self, store: StorageAdapter | None = None, **options: Any) -> SessionManager:
        """A manager on a store, by default on an empty one. Both are closed when the test ends.

        It counts tokens by `QUARTER` unless the options say otherwise.

        It is typed as the blocking manager, so that a test body reads the same for every variant.
        """
        store = self.store() if store is None else store
        options.setdefault("token_counter", QUARTER)
        if self.is_async:
            adapter = ThreadedAdapter(store) if self.name == "threads" else store
            stepped = SteppedManager(AsyncSessionManager(adapter, **options), self._runner)
            self._closers += [lambda: self._runner.run(adapter.close()), stepped.close]
            return cast("SessionManager", stepped)
        storage = Storage.through_portal(store) if self.name == "portal" else Storage(store)
        manager = SessionManager(storage, **options)
        self._closers += [storage.close, manager.close]
        self._storage = storage
        return manager

    def open(self, url: str | None = None, **options: Any) -> SessionManager:
        """A manager opened by a URL, by default the variant's own. The test closes it."""
        if self.is_async:
            opened = AsyncSessionManager.open(url or self._url, **options)
            return cast("SessionManager", SteppedManager(opened, self._runner))
        return SessionManager.open(url or self._url, **options)

    def background_work(self) -> int:
        """How many tasks or threads of the last manager run beside its calls."""

        async def other_tasks() -> int:
            return len(asyncio.all_tasks()) - 1

        if self.is_async:
            return self._runner.run(other_tasks())
        if self.name == "portal":
            return self._storage.run(other_tasks())
        return len([thread for thread in threading.enumerate() if thread.name == "session-continuity-cleanup"])

    def run_together(self, manager: SessionManager, calls: Sequence[Callable[[Any], Any]]) -> list[Any]:
        """What the calls return or raise when they run at once: as tasks, or in a thread each."""
        if isinstance(manager, SteppedManager):
            inner = manager.inner

            async def gather() -> list[Any]:
                return await asyncio.gather(*(call(inner) for call in calls), return_exceptions=True)

            return self._runner.run(gather())
        return run_in_threads([partial(call, manager) for call in calls])

    def run(self, function: Callable[[], Awaitable[R]]) -> R:
        """The result of a coroutine function, run in the event loop of an async variant."""

        async def await_result() -> R:
            return await function()

        return self._runner.run(await_result())

    def close(self) -> None:
        """Close the managers and stores, the newest first, and then the event loop."""
        while self._closers:
            self._closers.pop()()
        self._runner.close()
