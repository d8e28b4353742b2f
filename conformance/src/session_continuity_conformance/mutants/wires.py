"""Mutants that keep the contract until their connection breaks."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import ClassVar

from session_continuity import Appended, HealthStatus, Message, StorageError
from session_continuity_conformance.mutants.registry import breaks
from session_continuity_conformance.reference.served import ServedStorage
from session_continuity_conformance.reference.storage import ReferenceStorage


@breaks("SC-FLT-006")
class SendsTwice(ServedStorage):
    """A request whose reply is lost is sent again, and the server does it again."""

    def exchange(self, number: int) -> None:
        try:
            super().exchange(number)
        except OSError:
            self.hang_up()
            super().exchange(number)


@breaks("SC-FLT-007")
class SendsATurnInPieces(ServedStorage):
    """Each message of a turn is a request of its own."""

    async def append_messages(
        self, session_id: str, messages: Sequence[Message], *, chosen_ids: Collection[str] = ()
    ) -> Appended:
        if await self.get_message(session_id, messages[0].id) is not None:
            return await super().append_messages(session_id, messages, chosen_ids=chosen_ids)
        *earlier, last = messages
        for message in earlier:
            await super().append_messages(session_id, [message], chosen_ids=chosen_ids)
        return await super().append_messages(session_id, [last], chosen_ids=chosen_ids)


@breaks("SC-FLT-008")
class WaitsForEver(ServedStorage):
    """Its connection has no timeout."""

    timeout: ClassVar[float | None] = None


@breaks("SC-FLT-009")
class LetsRawErrorsOut(ServedStorage):
    """Whoever catches the errors of this project meets OSError."""

    def ask(self, operation: str, number: int) -> None:
        del operation
        try:
            self.exchange(number)
        except OSError:
            self.hang_up()
            raise


@breaks("SC-FLT-009")
class TakesItForFinal(ServedStorage):
    """A connection that broke is an error that no repetition helps against."""

    def ask(self, operation: str, number: int) -> None:
        try:
            self.exchange(number)
        except OSError as error:
            self.hang_up()
            raise StorageError("it broke", backend=self.backend, operation=operation) from error


@breaks("SC-FLT-010")
class KeepsTheBrokenConnection(ServedStorage):
    """A connection that broke is used for ever."""

    def hang_up(self) -> None:
        if self.closed:
            super().hang_up()


@breaks("SC-FLT-011")
class RaisesInHealth(ServedStorage):
    """health raises where the store does not answer."""

    async def health(self) -> HealthStatus:
        return await ReferenceStorage.health(self)
