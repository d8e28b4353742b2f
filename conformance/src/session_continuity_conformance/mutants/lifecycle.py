"""Mutants that open, report or close wrongly."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, Unpack

from session_continuity import (
    CONTRACT,
    Appended,
    AppendTerms,
    HealthStatus,
    Message,
    MessageQuery,
    Page,
    SessionNotFoundError,
    StorageAdapter,
    StorageError,
    sleeper,
    utc_now,
)
from session_continuity_conformance.mutants.registry import breaks
from session_continuity_conformance.reference.storage import ReferenceStorage, World


@breaks("SC-CFG-001")
class AlwaysClaimsBlocking(ReferenceStorage):
    """mode is not the one that the adapter was opened in."""

    def __init__(self, world: World, namespace: str, mode: Any) -> None:
        super().__init__(world, namespace, "blocking" if mode == "async" else "async")


@breaks("SC-CFG-002")
class CapabilitiesChange(ReferenceStorage):
    """Every adapter declares other capabilities."""

    count = 0

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        type(self).count += 1
        self.capabilities = replace(self.declared, max_message_bytes=100_000 + self.count)


@breaks("SC-CFG-003")
class NaiveClock(ReferenceStorage):
    """The clock reads local time without a zone."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.clock = lambda: utc_now().replace(tzinfo=None)


@breaks("SC-CFG-004")
class HasNoBackendName(ReferenceStorage):
    """backend is empty."""

    backend = ""


@breaks("SC-CFG-007")
class StatesAnotherContract(ReferenceStorage):
    """contract is an older version than the plugin's."""

    contract = (CONTRACT[0] - 1, 9)


@breaks("SC-CFG-008")
class DeclaresWhatItDoesNotHave(ReferenceStorage):
    """list_forks is declared, and is the method of the contract that refuses."""

    list_forks = StorageAdapter.list_forks


@breaks("SC-LIF-001")
class ServesAfterClose(ReferenceStorage):
    """health still answers after close."""

    async def health(self) -> HealthStatus:
        return HealthStatus(status="healthy")


@breaks("SC-LIF-001")
class ClosedIsNotFound(ReferenceStorage):
    """After close, messages are not found."""

    async def get_message(self, session_id: str, message_id: str) -> Message | None:
        if self.closed:
            raise SessionNotFoundError(session_id)
        return await super().get_message(session_id, message_id)


@breaks("SC-LIF-002")
class SecondCloseFails(ReferenceStorage):
    """close fails when called again."""

    async def close(self) -> None:
        self.work("close", lambda _: None)
        await super().close()


@breaks("SC-LIF-003")
class CloseClosesAll(ReferenceStorage):
    """close removes what all adapters share."""

    async def close(self) -> None:
        if not self.closed:
            with self.world.lock:
                self.world.models.clear()
        await super().close()


@breaks("SC-LIF-004")
class SetupStartsOver(ReferenceStorage):
    """setup removes what is stored."""

    async def setup(self) -> None:
        await super().setup()
        with self.world.lock:
            self.world.models.pop(self.namespace, None)


@breaks("SC-LIF-005", "U23")
class HealthIsDegradedUnderLoad(ReferenceStorage):
    """health is degraded as soon as the store has data."""

    async def health(self) -> HealthStatus:
        return self.work("health", lambda model: HealthStatus(status="degraded" if model.records else "healthy"))


@breaks("SC-LIF-006")
class SuspendsInBlockingMode(ReferenceStorage):
    """get_messages suspends in blocking mode."""

    async def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        await _Suspension()
        return await super().get_messages(session_id, query, cursor=cursor)


class _Suspension:
    def __await__(self) -> Any:
        yield None


@breaks("SC-LIF-007")
class LeavesAThread(ReferenceStorage):
    """health starts a thread that close does not end."""

    async def health(self) -> HealthStatus:
        status = await super().health()
        threading.Thread(target=threading.Event().wait, args=(2.0,), name="left-behind").start()
        return status


@breaks("SC-LIF-008")
class ForgetsAtClose(ReferenceStorage):
    """close removes the sessions, although durable is declared."""

    async def close(self) -> None:
        if not self.closed:
            with self.world.lock:
                self.world.models.pop(self.namespace, None)
        await super().close()


@breaks("SC-LIF-009")
class AppendsAlthoughItWasClosed(ReferenceStorage):
    """An append that is under way at close is stored, and raises StorageClosedError."""

    async def append_messages(
        self,
        session_id: str,
        messages: Sequence[Message],
        *,
        client_ids: Collection[str] = (),
        **terms: Unpack[AppendTerms],
    ) -> Appended:
        appended = await super().append_messages(session_id, messages, client_ids=client_ids, **terms)
        await sleeper(self.mode)(0.003)
        self.check_open("append_messages")
        return appended


@breaks("SC-LIF-009")
class RaisesRawErrorsAtClose(ReferenceStorage):
    """A call that is under way at close raises an error of the client."""

    async def append_messages(
        self,
        session_id: str,
        messages: Sequence[Message],
        *,
        client_ids: Collection[str] = (),
        **terms: Unpack[AppendTerms],
    ) -> Appended:
        self.check_open("append_messages")
        await sleeper(self.mode)(0.003)
        if self.closed:
            raise ValueError("I/O operation on a closed file")
        return await super().append_messages(session_id, messages, client_ids=client_ids, **terms)


@breaks("SC-LIF-010")
class BelongsToItsFirstLoop(ReferenceStorage):
    """The client works in the event loop of its first call only."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.loop: asyncio.AbstractEventLoop | None = None

    async def append_messages(
        self,
        session_id: str,
        messages: Sequence[Message],
        *,
        client_ids: Collection[str] = (),
        **terms: Unpack[AppendTerms],
    ) -> Appended:
        if self.mode == "async":
            running = asyncio.get_running_loop()
            self.loop = self.loop or running
            if self.loop is not running:
                raise StorageError("attached to a different loop", backend=self.backend, operation="append_messages")
        return await super().append_messages(session_id, messages, client_ids=client_ids, **terms)
