"""Mutants that only concurrent work, or another process, brings to light."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

from session_continuity import Appended, Message, Session, sleeper
from session_continuity_conformance.mutants.registry import breaks
from session_continuity_conformance.reference.model import Kept, Model
from session_continuity_conformance.reference.storage import FileWorld, ReferenceStorage, SharedStorage


@breaks("SC-OCC-009", "U29")
class ReadsLagBehindOtherAdapters(ReferenceStorage):
    """Each adapter answers every other get_session with what it saw the time before."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.seen: dict[str, Session | None] = {}

    async def get_session(self, session_id: str) -> Session | None:
        if session_id in self.seen:
            return self.seen.pop(session_id)
        self.seen[session_id] = await super().get_session(session_id)
        return self.seen[session_id]


@breaks("SC-ORD-009", "U20")
class SortsWhatComesTogether(Model):
    """Messages that come within a moment are sorted by their text, also after they were read."""

    def add(self, kept: Kept, turn: Sequence[Message]) -> None:
        super().add(kept, turn)
        newest = kept.messages[-1].created_at
        together = [each for each in kept.messages if (newest - each.created_at).total_seconds() < 0.5]
        kept.messages[-len(together) :] = sorted(together, key=lambda message: str(message.content))
        kept.places = {message.id: place for place, message in enumerate(kept.messages)}


class UnlockedWorld(FileWorld):
    """A file that every process reads, changes and writes back for itself."""

    @contextmanager
    def locked(self) -> Generator[None]:
        yield

    def save(self, models: bytes) -> None:
        time.sleep(0.002)
        super().save(models)


class _Unlocked(SharedStorage):
    world_class: ClassVar[type[FileWorld]] = UnlockedWorld


@breaks("SC-OCC-010", "U36")
class LocksInsideTheProcess(_Unlocked):
    """Compare and set are kept together by a lock that another process does not have."""


@breaks("SC-ORD-010")
class LosesAppendsOfOtherProcesses(_Unlocked):
    """Two processes write the conversation back over each other."""


@breaks("SC-APP-022", "U8")
class CountsAfterItStores(SharedStorage):
    """The message is stored first and counted afterwards, so that a killed process leaves it uncounted."""

    async def append_messages(self, session_id: str, messages: Sequence[Message], **options: Any) -> Appended:
        appended = await super().append_messages(session_id, messages, **options)
        await sleeper(self.mode)(0.01)
        self.work("append_messages", lambda model: _count(model.needed(session_id)))
        return appended

    async def get_session(self, session_id: str) -> Session | None:
        found = await super().get_session(session_id)
        if found is None:
            return None
        counted = self.work("get_session", lambda model: len(_counted(model.needed(session_id))))
        return found.model_copy(update={"message_count": counted, "token_count": 2 * counted})


def _count(kept: Kept) -> None:
    """Note that the newest message is counted."""
    vars(kept)["counted"] = [*_counted(kept), kept.messages[-1].id]


def _counted(kept: Kept) -> list[str]:
    counted: list[str] = vars(kept).get("counted", [])
    return counted
