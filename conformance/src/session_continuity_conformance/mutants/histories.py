"""Mutants that only concurrent work, or another process, reveals."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

from session_continuity import (
    Appended,
    Message,
    Session,
    sleeper,
)
from session_continuity_conformance.mutants.registry import breaks
from session_continuity_conformance.reference.model import Model, SessionRecord
from session_continuity_conformance.reference.storage import FileWorld, ReferenceStorage, SharedStorage


@breaks("SC-OCC-009", "U29")
class ReadsLagBehindOtherAdapters(ReferenceStorage):
    """Every second get_session of an adapter returns what the one before returned."""

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
    """Messages appended within half a second are sorted by their text, also after they were read."""

    def add(self, record: SessionRecord, batch: Sequence[Message]) -> None:
        super().add(record, batch)
        newest = record.messages[-1].created_at
        gather = [each for each in record.messages if (newest - each.created_at).total_seconds() < 0.5]
        record.messages[-len(gather) :] = sorted(gather, key=lambda message: str(message.content))
        record.places = {message.id: place for place, message in enumerate(record.messages)}


class UnlockedWorld(FileWorld):
    """A file that processes read, change and write back without a lock."""

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
    """Compare and write are protected by a lock of the process only."""


@breaks("SC-ORD-010")
class LosesAppendsOfOtherProcesses(_Unlocked):
    """Two processes write back the conversation over each other."""


@breaks("SC-APP-022", "U8")
class CountsAfterItStores(SharedStorage):
    """A message is counted after it was stored, so a killed process leaves it uncounted."""

    async def append_messages(self, session_id: str, messages: Sequence[Message], **options: Any) -> Appended:
        appended = await super().append_messages(session_id, messages, **options)
        await sleeper(self.mode)(0.01)
        self.work("append_messages", lambda model: _count(model.require(session_id)))
        return appended

    async def get_session(self, session_id: str) -> Session | None:
        found = await super().get_session(session_id)
        if found is None:
            return None
        counted = self.work("get_session", lambda model: len(_counted(model.require(session_id))))
        return found.model_copy(update={"message_count": counted, "token_count": 2 * counted})


def _count(record: SessionRecord) -> None:
    """Count the newest message."""
    vars(record)["counted"] = [*_counted(record), record.messages[-1].id]


def _counted(record: SessionRecord) -> list[str]:
    counted: list[str] = vars(record).get("counted", [])
    return counted
