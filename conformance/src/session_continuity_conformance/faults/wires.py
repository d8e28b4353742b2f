"""A store behind a proxy that breaks its connections, and every write sent through such faults."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from session_continuity import StorageAdapter, StorageError
from session_continuity_conformance.checks import ViolationError, holds, same
from session_continuity_conformance.faults.proxy import Fault, Proxy
from session_continuity_conformance.faults.writes import WRITES, Write
from session_continuity_conformance.recording import Recorder, short
from session_continuity_conformance.store import NotApplicableError, Store
from session_continuity_conformance.target import Target, native_mode

T = TypeVar("T")

MOST_REQUESTS = 100
TOLERATED = "an answer, or a StorageError that is retryable"


@dataclass(frozen=True, slots=True)
class Wired:
    """An adapter whose requests go through a proxy. What it writes, the example's own adapters read past the proxy."""

    store: Store
    proxy: Proxy
    adapter: StorageAdapter
    patience: float

    async def struck_writes(
        self, fault: Fault, names: Collection[str] = WRITES.keys(), *, away: bool = False
    ) -> AsyncIterator[tuple[Write, str, StorageError | None]]:
        """Each of these kinds of write with this fault at its first request, at its second, until none is left to meet
        it; what was done, and the error that the write raised, if it did. Each time on a session of its own. With
        `away`, the server cannot be reached from the fault to the end of the write."""
        for name in names:
            for number in range(MOST_REQUESTS):
                write, what = await WRITES[name](self.store), f"{name}, whose request {number + 1} met {fault!r}"
                what += ", the server away from then on" if away else ""
                await self.serves_again("a read before the fault")
                send = partial(write.send, self.adapter)
                met, error = await self.struck(fault, send, what, after=number, away=away)
                if not met:
                    break
                yield write, what, error
            else:
                raise ViolationError(name, expected=f"fewer than {MOST_REQUESTS} requests", observed="more")

    async def struck(
        self,
        fault: Fault,
        call: Callable[[], Coroutine[Any, Any, object]],
        what: str,
        *,
        after: int = 0,
        away: bool = False,
    ) -> tuple[bool, StorageError | None]:
        """Make a call of which one request meets a fault; whether it did, and what the call raised, which must be typed
        and retryable."""
        self.proxy.plan(fault, after=after, away=away, patience=self.patience)
        error: StorageError | None = None
        try:
            await call()
        except StorageError as raised:
            error = raised
        except Exception as raised:
            raise ViolationError(what, expected=TOLERATED, observed=short(raised)) from raised
        met = self.proxy.unplan()
        if away:
            self.proxy.accept()
        holds(what, not self.proxy.overrun, expected="an end by the store's own timeouts", observed="it waits on")
        if error is not None:
            holds(what, error.retryable, expected=TOLERATED, observed=error)
        return met, error

    async def serves_again(self, what: str) -> None:
        """The adapter answers, now that nothing is in its way."""
        await self.insist(lambda: self.adapter.get_session("nobody"), what)

    async def insist(self, call: Callable[[], Coroutine[Any, Any, T]], what: str) -> T:
        """The answer to a call that is repeated while its errors are retryable, but not for long."""
        deadline = time.monotonic() + self.patience / 4
        while True:
            try:
                return await call()
            except StorageError as error:
                if not error.retryable or time.monotonic() > deadline:
                    raise ViolationError(
                        what, expected=f"an answer within {self.patience / 4:g} s", observed=f"{error!r}"
                    ) from error
            await self.store.driver.sleep(0.02)


@asynccontextmanager
async def wired(store: Store) -> AsyncGenerator[Wired]:
    """The store behind a proxy. Raises NotApplicableError where none can be put before it."""
    endpoint = store.target.endpoint()
    if endpoint is None:
        raise NotApplicableError("the store has no server on loopback to put a proxy before")
    with Proxy(endpoint.host, endpoint.port) as proxy:
        adapter = await _opened(store, endpoint.through(proxy.host, proxy.port))
        try:
            proxied = Wired(store, proxy, adapter, endpoint.patience)
            await _passes_through(proxied)
            yield proxied
        finally:
            await adapter.close()


async def _opened(store: Store, target: Target) -> StorageAdapter:
    raw = target.open(native_mode(target, store.driver.mode), store.namespace)
    if not raw.capabilities.server_clock:
        raw.clock = store.now
    adapter = Recorder(store.driver.reach(raw), store.log, store.driver.give_way)
    await adapter.setup()
    return adapter


async def _passes_through(wire: Wired) -> None:
    session = await wire.store.session()
    before = wire.proxy.requests
    what = "the session through a proxy"
    same(what, await wire.insist(lambda: wire.adapter.get_session(session.id), what), session)
    if wire.proxy.encrypted:
        raise NotApplicableError("the connection is encrypted, so that a proxy cannot tell requests from replies")
    if wire.proxy.requests == before:
        raise NotApplicableError("the client goes past the proxy, to an address that the server told it")
