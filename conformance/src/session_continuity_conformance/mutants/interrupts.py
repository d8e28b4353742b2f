"""Mutants that an exception of a signal handler breaks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar, Unpack

from session_continuity import (
    Appended,
    AppendTerms,
    Message,
    SessionContinuityError,
    StorageError,
    UnavailableError,
)
from session_continuity_conformance.mutants.registry import breaks
from session_continuity_conformance.reference.model import Model
from session_continuity_conformance.reference.storage import ReferenceStorage

T = TypeVar("T")


@breaks("SC-FLT-013")
class TearsWhenInterrupted(ReferenceStorage):
    """An append stores one message after the other, and what it has stored stays when it is interrupted."""

    async def append_messages(
        self,
        session_id: str,
        messages: Sequence[Message],
        *,
        client_ids: Collection[str] = (),
        **terms: Unpack[AppendTerms],
    ) -> Appended:
        if terms or len(messages) == 1:
            return await super().append_messages(session_id, messages, client_ids=client_ids, **terms)
        parts: list[Appended] = []
        with self.world.lock:
            for message in messages:
                parts.append(await super().append_messages(session_id, [message], client_ids=client_ids))
        stored = tuple(message for part in parts for message in part.messages)
        return Appended(messages=stored, repeated=all(part.repeated for part in parts))


@breaks("SC-FLT-013")
class SwallowsInterrupts(ReferenceStorage):
    """A call that is interrupted is made again instead of raising the interrupt."""

    def work(self, operation: str, action: Callable[[Model], T]) -> T:
        try:
            return super().work(operation, action)
        except KeyboardInterrupt:
            return super().work(operation, action)


@breaks("SC-FLT-014")
class KeepsItsLockWhenInterrupted(ReferenceStorage):
    """A read takes a lock before the `try` that releases it begins, and later reads of the adapter wait for it."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.turn = threading.Lock()

    def work(self, operation: str, action: Callable[[Model], T]) -> T:
        if operation != "get_messages":
            return super().work(operation, action)
        if not self.turn.acquire(timeout=0.1):
            raise UnavailableError("other threads are reading", backend=self.backend, operation=operation)
        self.check_open(operation)
        try:
            return super().work(operation, action)
        finally:
            self.turn.release()


@breaks("SC-FLT-015")
class WrapsExceptionsOfHandlers(ReferenceStorage):
    """Every exception is reported as an error of the store that cannot be repeated."""

    def work(self, operation: str, action: Callable[[Model], T]) -> T:
        try:
            return super().work(operation, action)
        except SessionContinuityError:
            raise
        except Exception as error:
            raise StorageError("broken", backend=self.backend, operation=operation) from error
