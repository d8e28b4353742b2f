"""Mutants that mix up the order of messages."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from session_continuity import (
    Appended,
    Clock,
    Message,
    MessageQuery,
    Page,
    move_to,
)
from session_continuity_conformance.mutants.registry import breaks
from session_continuity_conformance.reference.model import Kept, Model
from session_continuity_conformance.reference.storage import ReferenceStorage

Chosen = Collection[str]


@breaks("SC-ORD-001")
class DescIsOnlySortedPages(Model):
    """desc gives the newest page in ascending order."""

    def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        page = super().get_messages(session_id, query, cursor=cursor)
        return Page(page.items[::-1], page.next_cursor) if query.order == "desc" else page


class _Sorted(Model):
    """Keeps the conversation sorted by something else than the order of appends."""

    def sorting(self, message: Message) -> Any:
        raise NotImplementedError

    def add(self, kept: Kept, turn: Sequence[Message]) -> None:
        super().add(kept, turn)
        kept.messages.sort(key=self.sorting)
        kept.places = {message.id: place for place, message in enumerate(kept.messages)}


@breaks("SC-ORD-002", "U20")
class OrdersByWritersClocks(_Sorted):
    """The conversation is sorted by the times that writers state."""

    def in_time(self, kept: Kept, turn: Sequence[Message], chosen_ids: Chosen) -> Sequence[Message]:
        del kept, chosen_ids
        return turn

    def sorting(self, message: Message) -> Any:
        return message.created_at


@breaks("SC-ORD-005", "U20")
class OrdersByIdsWithinAMillisecond(_Sorted):
    """Messages of the same millisecond are sorted by id."""

    def sorting(self, message: Message) -> Any:
        return message.created_at, message.id


@breaks("SC-ORD-003")
class KeepsLateTimes(Model):
    """A turn older than the last message keeps its time."""

    def in_time(self, kept: Kept, turn: Sequence[Message], chosen_ids: Chosen) -> Sequence[Message]:
        del kept, chosen_ids
        return turn


@breaks("SC-ORD-003")
class ForgetsTheTimeWithTheNewest(Model):
    """After the removal of the newest message the store takes any time."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.forgotten: set[str] = set()

    def delete_message(self, session_id: str, message_id: str) -> bool:
        messages = self.needed(session_id).messages
        if messages and messages[-1].id == message_id:
            self.forgotten.add(session_id)
        return super().delete_message(session_id, message_id)

    def in_time(self, kept: Kept, turn: Sequence[Message], chosen_ids: Chosen) -> Sequence[Message]:
        return turn if kept.head.id in self.forgotten else super().in_time(kept, turn, chosen_ids)


@breaks("SC-ORD-004")
class MovedTurnKeepsMintedIds(Model):
    """A turn moved up keeps ids that carry the old time."""

    def in_time(self, kept: Kept, turn: Sequence[Message], chosen_ids: Chosen) -> Sequence[Message]:
        del chosen_ids
        return super().in_time(kept, turn, [message.id for message in turn])


@breaks("SC-ORD-004")
class MovedTurnLosesChosenIds(Model):
    """A turn moved up gets new ids in place of chosen ones."""

    def in_time(self, kept: Kept, turn: Sequence[Message], chosen_ids: Chosen) -> Sequence[Message]:
        del chosen_ids
        return super().in_time(kept, turn, ())


@breaks("SC-ORD-008")
class AlwaysStampsAnew(Model):
    """Every turn gets the time of the store, also when it is in time."""

    def in_time(self, kept: Kept, turn: Sequence[Message], chosen_ids: Chosen) -> Sequence[Message]:
        moment = max([self.clock(), *(message.created_at for message in kept.messages[-1:])])
        return move_to(moment, turn, chosen_ids=chosen_ids)


@breaks("SC-ORD-006")
class StoresTurnsMessageByMessage(ReferenceStorage):
    """A turn is stored one message at a time."""

    async def append_messages(self, session_id: str, messages: Sequence[Message], **options: Any) -> Appended:
        stored: list[Message] = []
        for message in messages:
            stored += (await super().append_messages(session_id, [message], **options)).messages
            await self.pause()
        return Appended(messages=tuple(stored))


@breaks("SC-ORD-007")
class LosesConcurrentAppends(ReferenceStorage):
    """append_messages reads the conversation and writes it back whole."""

    async def append_messages(self, session_id: str, messages: Sequence[Message], **options: Any) -> Appended:
        before = self.work("append_messages", lambda model: list(model.needed(session_id).messages))
        await self.pause()

        def write(model: Model) -> Appended:
            model.needed(session_id).messages = before
            return model.append_messages(session_id, list(messages), **options)

        return self.work("append_messages", write)
