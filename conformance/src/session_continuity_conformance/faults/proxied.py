"""A store behind a proxy that breaks its connections, and writes through these faults."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from session_continuity import StorageAdapter, StorageError
from session_continuity_conformance.checks import ViolationError, holds, same
from session_continuity_conformance.faults.endpoints import lacks_port
from session_continuity_conformance.faults.proxy import Fault, Proxy
from session_continuity_conformance.faults.writes import WRITES, Write
from session_continuity_conformance.recording import Recorder, short
from session_continuity_conformance.store_fixture import NotApplicableError, StoreFixture
from session_continuity_conformance.target import Target, native_mode, set_up

T = TypeVar("T")

MOST_REQUESTS = 100
TOLERATED = "a result, or a retryable StorageError"


@dataclass(frozen=True, slots=True)
class ProxiedStore:
    """An adapter whose requests go through a proxy. The adapters of `store` do not, so they read what it wrote."""

    store: StoreFixture
    proxy: Proxy
    adapter: StorageAdapter
    patience: float

    async def write_through_faults(
        self, fault: Fault, names: Collection[str] = WRITES.keys(), *, away: bool = False
    ) -> AsyncIterator[tuple[Write, str, StorageError | None]]:
        """Make each of these kinds of write with the fault at its first request, at its second and so on, until the
        write has no such request. Yields the write, what was done, and the error that it raised.

        Each write is on a new session. With `away`, the server stays out of reach until the write has ended.
        """
        for name in names:
            for number in range(MOST_REQUESTS):
                write, what = await WRITES[name](self.store), f"{name}, whose request {number + 1} met {fault!r}"
                what += ", the server away from then on" if away else ""
                await self.check_serves("a read before the fault")
                send = partial(write.send, self.adapter)
                met, error = await self.call_through_fault(fault, send, what, after=number, away=away)
                if not met:
                    break
                yield write, what, error
            else:
                raise ViolationError(name, expected=f"fewer than {MOST_REQUESTS} requests", observed="more")

    async def call_through_fault(
        self,
        fault: Fault,
        call: Callable[[], Coroutine[Any, Any, object]],
        what: str,
        *,
        after: int = 0,
        away: bool = False,
    ) -> tuple[bool, StorageError | None]:
        """Make a call, one of whose requests meets a fault.

        Returns whether a request met it, and the error of the call, which must be a retryable StorageError.
        """
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
        holds(what, not self.proxy.overrun, expected="an end by the store's own timeouts", observed="it still waits")
        if error is not None:
            holds(what, error.retryable, expected=TOLERATED, observed=error)
        return met, error

    async def check_serves(self, what: str) -> None:
        """Check that the adapter works, now that there is no fault."""
        await self.retry_until_answered(lambda: self.adapter.get_session("nobody"), what)

    async def retry_until_answered(self, call: Callable[[], Coroutine[Any, Any, T]], what: str) -> T:
        """The result of a call, repeated for a short time while its error is retryable."""
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
async def behind_proxy(store: StoreFixture) -> AsyncGenerator[ProxiedStore]:
    """The store behind a proxy. Raises NotApplicableError where the store cannot be put behind one."""
    endpoint = store.target.endpoint()
    if endpoint is None:
        raise NotApplicableError(_reason_without_endpoint(store.target))
    with Proxy(endpoint.host, endpoint.port) as proxy:
        adapter = await _opened(store, endpoint.through(proxy.host, proxy.port))
        try:
            proxied = ProxiedStore(store, proxy, adapter, endpoint.patience)
            await _passes_through(proxied)
            yield proxied
        finally:
            await adapter.close()


def _reason_without_endpoint(target: Target) -> str:
    if lacks_port((target.remote() or {}).get("url", "")):
        return (
            "the URL states no port, and option port has no default; write localhost:PORT, so that a proxy can be put "
            "in front of the server"
        )
    return "the store has no server on loopback that a proxy could be put in front of"


async def _opened(store: StoreFixture, target: Target) -> StorageAdapter:
    raw = target.open(native_mode(target, store.driver.mode), store.namespace)
    if not raw.capabilities.server_clock:
        raw.clock = store.now
    adapter = Recorder(store.driver.bridge(raw), store.log, store.driver.yield_control)
    await set_up(adapter)
    return adapter


async def _passes_through(proxied: ProxiedStore) -> None:
    session = await proxied.store.create_session()
    before = proxied.proxy.requests
    what = "the session through a proxy"
    found = await proxied.retry_until_answered(lambda: proxied.adapter.get_session(session.id), what)
    if proxied.proxy.encrypted:
        raise NotApplicableError("the connection is encrypted, so a proxy cannot separate requests from replies")
    if proxied.proxy.requests == before:
        raise NotApplicableError(
            "the client does not use the proxy, but an address that it got from elsewhere, or none"
        )
    same(what, found, session)
