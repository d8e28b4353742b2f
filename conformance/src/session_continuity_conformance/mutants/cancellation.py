"""Mutants that keep the contract until a task is cancelled in the middle of a call."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, ClassVar

from session_continuity import (
    Appended,
    Clock,
    Message,
    Patch,
    Session,
    ThrottledError,
    move_to,
)
from session_continuity_conformance.mutants.registry import breaks
from session_continuity_conformance.reference.model import Model
from session_continuity_conformance.reference.storage import ReferenceStorage


class _CountedLater(Model):
    """Messages that are not yet counted are not in the totals."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.uncounted: set[str] = set()

    def get_session(self, session_id: str) -> Session | None:
        found = super().get_session(session_id)
        if found is None:
            return None
        hidden = [message for message in self.require(session_id).messages if message.id in self.uncounted]
        tokens = sum(message.token_count or 0 for message in hidden)
        totals = {"message_count": found.message_count - len(hidden), "token_count": found.token_count - tokens}
        return found.model_copy(update=totals)


@breaks("SC-FLT-001", "U8")
class CountsInASecondStep(ReferenceStorage):
    """Messages and totals are written in two steps, with an await between them."""

    model_class: ClassVar[type[Model]] = _CountedLater

    async def append_messages(
        self, session_id: str, messages: Sequence[Message], *, client_ids: Collection[str] = (), **terms: Any
    ) -> Appended:
        ids = {message.id for message in messages}
        self.work("append_messages", lambda model: vars(model)["uncounted"].update(ids))
        appended = await super().append_messages(session_id, messages, client_ids=client_ids, **terms)
        await self.pause()
        self.work("append_messages", lambda model: vars(model)["uncounted"].difference_update(ids))
        return appended


@breaks("SC-FLT-002")
class StoresChosenIdsAfterwards(ReferenceStorage):
    """A batch is stored with ids of the store, and the caller's ids are added in a second step."""

    async def append_messages(
        self, session_id: str, messages: Sequence[Message], *, client_ids: Collection[str] = (), **terms: Any
    ) -> Appended:
        if await self.get_message(session_id, messages[0].id) is not None:
            return await super().append_messages(session_id, messages, client_ids=client_ids, **terms)
        own = move_to(messages[0].created_at, messages, client_ids=())
        appended = await super().append_messages(session_id, own)
        await self.pause()
        names = {stored.id: sent.id for stored, sent in zip(appended.messages, messages, strict=True)}
        self.work("append_messages", lambda model: _rename(model, session_id, names))
        return replace(appended, messages=tuple(_renamed(message, names) for message in appended.messages))


def _rename(model: Model, session_id: str, names: dict[str, str]) -> None:
    record = model.require(session_id)
    record.messages = [_renamed(message, names) for message in record.messages]
    record.places = {names.get(known, known): place for known, place in record.places.items()}


def _renamed(message: Message, names: dict[str, str]) -> Message:
    return message.model_copy(update={"id": names.get(message.id, message.id)})


@breaks("SC-FLT-003")
class AnswersWhenCancelled(ReferenceStorage):
    """update_message ignores a cancellation and returns."""

    async def update_message(self, session_id: str, message_id: str, patch: Patch) -> Message:
        with suppress(asyncio.CancelledError):
            await self.pause()
        return await super().update_message(session_id, message_id, patch)


@breaks("SC-FLT-003")
class ReadThatIsCancelledFails(ReferenceStorage):
    """A cancelled get_session raises an error of the store in place of the cancellation."""

    async def get_session(self, session_id: str) -> Session | None:
        try:
            await self.pause()
        except asyncio.CancelledError as error:
            raise ThrottledError("interrupted", backend=self.backend, operation="get_session") from error
        return await super().get_session(session_id)


@breaks("SC-FLT-004")
class LosesAConnectionWhenCancelled(ReferenceStorage):
    """A connection whose call is cancelled does not return to the pool of ten."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.free = 10

    async def get_session(self, session_id: str) -> Session | None:
        if not self.free:
            raise ThrottledError("all connections are in use", backend=self.backend, operation="get_session")
        self.free -= 1
        await self.pause()
        self.free += 1
        return await super().get_session(session_id)


@breaks("SC-FLT-004")
class LeavesATaskBehind(ReferenceStorage):
    """get_session starts a task, and does not end it when the call is cancelled."""

    async def get_session(self, session_id: str) -> Session | None:
        if self.mode == "async":
            watch = asyncio.get_running_loop().create_task(asyncio.sleep(60))
            await self.pause()
            watch.cancel()
        return await super().get_session(session_id)


@breaks("SC-FLT-005")
class AnswersTheNextCaller(ReferenceStorage):
    """The response to a cancelled get_session stays in the connection, and the next call returns it."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.answers: list[Session | None] = []

    async def get_session(self, session_id: str) -> Session | None:
        self.answers.append(await super().get_session(session_id))
        await self.pause()
        return self.answers.pop(0)
