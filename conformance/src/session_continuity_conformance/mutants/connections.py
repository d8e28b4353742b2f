"""Mutants that keep the contract until their connection breaks."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, ClassVar

from session_continuity import (
    Appended,
    HealthStatus,
    Message,
    StorageError,
)
from session_continuity_conformance.mutants.registry import breaks
from session_continuity_conformance.reference.networked import NetworkedStorage
from session_continuity_conformance.reference.storage import ReferenceStorage


@breaks("SC-FLT-006")
class SendsTwice(NetworkedStorage):
    """A request whose reply is lost is sent again, and the server runs it again."""

    def exchange(self, number: int) -> None:
        try:
            super().exchange(number)
        except OSError:
            self.hang_up()
            super().exchange(number)


@breaks("SC-FLT-007")
class SendsABatchInPieces(NetworkedStorage):
    """Each message of a batch is sent in a separate request."""

    async def append_messages(
        self, session_id: str, messages: Sequence[Message], *, client_ids: Collection[str] = (), **terms: Any
    ) -> Appended:
        if await self.get_message(session_id, messages[0].id) is not None:
            return await super().append_messages(session_id, messages, client_ids=client_ids, **terms)
        *earlier, last = messages
        for message in earlier:
            await super().append_messages(session_id, [message], client_ids=client_ids, **terms)
        return await super().append_messages(session_id, [last], client_ids=client_ids, **terms)


@breaks("SC-FLT-008")
class WaitsForEver(NetworkedStorage):
    """Its connection has no timeout."""

    timeout: ClassVar[float | None] = None


@breaks("SC-FLT-009")
class LetsRawErrorsOut(NetworkedStorage):
    """An OSError of the connection is not translated."""

    def ask(self, operation: str, number: int) -> None:
        del operation
        try:
            self.exchange(number)
        except OSError:
            self.hang_up()
            raise


@breaks("SC-FLT-009")
class BrokenConnectionIsFinal(NetworkedStorage):
    """A broken connection raises an error that is not retryable."""

    def ask(self, operation: str, number: int) -> None:
        try:
            self.exchange(number)
        except OSError as error:
            self.hang_up()
            raise StorageError("it broke", backend=self.backend, operation=operation) from error


@breaks("SC-FLT-010")
class KeepsTheBrokenConnection(NetworkedStorage):
    """A broken connection is used again for ever."""

    def hang_up(self) -> None:
        if self.closed:
            super().hang_up()


@breaks("SC-FLT-011")
class RaisesInHealth(NetworkedStorage):
    """health raises when the store does not answer."""

    async def health(self) -> HealthStatus:
        return await ReferenceStorage.health(self)
