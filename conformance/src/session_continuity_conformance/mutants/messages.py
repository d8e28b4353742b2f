"""Mutants that read, edit or delete single messages wrongly, or page through them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from session_continuity import (
    Message,
    MessageNotFoundError,
    MessageQuery,
    Page,
    Patch,
    Session,
    SessionNotFoundError,
    ValidationError,
)
from session_continuity_conformance.mutants.registry import breaks
from session_continuity_conformance.reference.model import Kept, Key, Model
from session_continuity_conformance.reference.storage import ReferenceStorage


@breaks("SC-MSG-001")
class MissingMessageIsAnError(Model):
    """get_message raises for an id that the session does not have."""

    def get_message(self, session_id: str, message_id: str) -> Message | None:
        found = super().get_message(session_id, message_id)
        if found is None:
            raise MessageNotFoundError(session_id, message_id)
        return found


@breaks("SC-MSG-002", "U45")
class DropsUpdatedAt(Model):
    """update_message does not store updated_at."""

    def update_message(self, session_id: str, message_id: str, patch: Patch) -> Message:
        kept = {name: value for name, value in patch.set.items() if name != "updated_at"}
        return super().update_message(session_id, message_id, Patch(kept, patch.clear))


@breaks("SC-MSG-003")
class EditMovesToTheEnd(Model):
    """An edited message goes to the end of the conversation."""

    def update_message(self, session_id: str, message_id: str, patch: Patch) -> Message:
        changed = super().update_message(session_id, message_id, patch)
        kept = self.needed(session_id)
        kept.messages.remove(changed)
        self.add(kept, [changed])
        return changed


class _FrozenTotals(Model):
    """Totals kept beside the messages, so that they can be wrong."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.wrong: dict[str, dict[str, Any]] = {}

    def freeze(self, session_id: str, *names: str) -> None:
        now = self.needed(session_id).session()
        self.wrong.setdefault(session_id, {name: getattr(now, name) for name in names})

    def get_session(self, session_id: str) -> Session | None:
        found = super().get_session(session_id)
        return None if found is None else found.model_copy(update=self.wrong.get(session_id, {}))


@breaks("SC-MSG-004")
class EditForgetsTokens(_FrozenTotals):
    """token_count does not follow an edit."""

    def update_message(self, session_id: str, message_id: str, patch: Patch) -> Message:
        self.freeze(session_id, "token_count")
        return super().update_message(session_id, message_id, patch)


@breaks("SC-MSG-004")
class EditForgetsSystemIds(_FrozenTotals):
    """system_message_ids do not follow an edit of the role."""

    def update_message(self, session_id: str, message_id: str, patch: Patch) -> Message:
        self.freeze(session_id, "system_message_ids")
        return super().update_message(session_id, message_id, patch)


@breaks("SC-MSG-005", "U6")
class EditCreatesGhost(Model):
    """update_message of a missing message creates a row."""

    def update_message(self, session_id: str, message_id: str, patch: Patch) -> Message:
        kept = self.needed(session_id)
        if kept.find(message_id) is None:
            moment = self.clock()
            self.add(
                kept,
                [Message(id=message_id, session_id=session_id, role="user", content="", created_at=moment)],
            )
        return super().update_message(session_id, message_id, patch)


@breaks("SC-MSG-006")
class DeleteForgetsTotals(_FrozenTotals):
    """delete_message leaves the totals as they were."""

    def delete_message(self, session_id: str, message_id: str) -> bool:
        self.freeze(session_id, "message_count", "token_count", "system_message_ids")
        return super().delete_message(session_id, message_id)


@breaks("SC-MSG-006", "U12")
class DeleteMissesChosenIds(Model):
    """delete_message says True and removes nothing when the id was chosen by the caller."""

    def delete_message(self, session_id: str, message_id: str) -> bool:
        if message_id == "chosen" and self.needed(session_id).find(message_id) is not None:
            return True
        return super().delete_message(session_id, message_id)


@breaks("SC-MSG-007")
class DeleteOfMissingMessageSucceeds(Model):
    """delete_message says True for a message that was not there."""

    def delete_message(self, session_id: str, message_id: str) -> bool:
        super().delete_message(session_id, message_id)
        return True


@breaks("SC-MSG-008", "U4")
class DeleteAllStopsAfterABatch(Model):
    """delete_all_messages removes the first 25 messages and reports all."""

    def delete_all_messages(self, session_id: str) -> int:
        kept = self.needed(session_id)
        removed, kept.messages = len(kept.messages), kept.messages[25:]
        return removed


@breaks("SC-MSG-009")
class DeleteAllSetsTotalsToZero(ReferenceStorage):
    """delete_all_messages removes in steps and then sets the totals to nothing, whatever came meanwhile."""

    async def delete_all_messages(self, session_id: str) -> int:
        removed = self.work("delete_all_messages", lambda model: model.delete_all_messages(session_id))
        for _ in range(3):
            await self.pause()

        def reset(model: Model) -> None:
            kept = model.needed(session_id)
            counted = kept.messages
            kept.messages = [message.model_copy(update={"token_count": None}) for message in counted]

        self.work("delete_all_messages", reset)
        return removed


@breaks("SC-MSG-010", "U16")
class LimitsBeforeRoles(Model):
    """get_messages applies the limit before the roles, and takes a short page for the last."""

    def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        if query.roles is None:
            return super().get_messages(session_id, query, cursor=cursor)
        page = super().get_messages(session_id, replace(query, roles=None))
        return Page(tuple(message for message in page if query.selects(message)))


@breaks("SC-MSG-010")
class PagesAreOneShort(Model):
    """get_messages, newest first, reads one row less than the limit and leaves the oldest of the page out."""

    def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        page = super().get_messages(session_id, query, cursor=cursor)
        if query.order == "desc" and len(page) == query.limit > 1:
            return Page(page.items[:-1], page.next_cursor)
        return page


class _ChangesQuery(Model):
    """Asks for something else than it was asked for."""

    def other(self, query: MessageQuery) -> MessageQuery:
        raise NotImplementedError

    def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        return super().get_messages(session_id, self.other(query), cursor=cursor)


@breaks("SC-MSG-011", "U16")
class IgnoresTimes(_ChangesQuery):
    """get_messages ignores after and before."""

    def other(self, query: MessageQuery) -> MessageQuery:
        return replace(query, after=None, before=None)


@breaks("SC-MSG-011")
class IncludesTheMoment(Model):
    """before includes the moment itself."""

    def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        if query.before is not None:
            query = replace(query, before=query.before.replace(microsecond=query.before.microsecond + 1))
        return super().get_messages(session_id, query, cursor=cursor)


@breaks("SC-MSG-011")
class LeavesTheCalendar(_ChangesQuery):
    """before is asked for as the moment before it, which the first moment does not have."""

    def other(self, query: MessageQuery) -> MessageQuery:
        return query if query.before is None else replace(query, before=query.before - timedelta(microseconds=1))


@breaks("SC-MSG-012")
class BoundsFollowTheOrder(_ChangesQuery):
    """after_id means further on in the answer: newest first, it gives the older messages."""

    def other(self, query: MessageQuery) -> MessageQuery:
        if query.order == "desc":
            return replace(query, after_id=query.before_id, before_id=query.after_id)
        return query


@breaks("SC-MSG-012")
class BoundsCompareIds(Model):
    """after_id and before_id compare ids as text instead of places."""

    def between(self, kept: Kept, query: MessageQuery) -> list[Message]:
        super().between(kept, query)
        return [
            message
            for message in kept.messages
            if (query.after_id is None or message.id > query.after_id)
            and (query.before_id is None or message.id < query.before_id)
        ]


@breaks("SC-MSG-013")
class MissingIdsAreAnError(Model):
    """get_messages by ids fails when one of them does not exist."""

    def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        for message_id in query.ids or ():
            if self.needed(session_id).find(message_id) is None:
                raise MessageNotFoundError(session_id, message_id)
        return super().get_messages(session_id, query, cursor=cursor)


@breaks("SC-MSG-014")
class BoundsReplaceOtherConditions(_ChangesQuery):
    """With after_id, get_messages forgets the roles."""

    def other(self, query: MessageQuery) -> MessageQuery:
        return replace(query, roles=None) if query.after_id is not None else query


@breaks("SC-MSG-015")
class UnknownBoundIsNoBound(Model):
    """An unknown after_id selects the whole conversation."""

    def between(self, kept: Kept, query: MessageQuery) -> list[Message]:
        try:
            return super().between(kept, query)
        except MessageNotFoundError:
            return kept.messages


@breaks("SC-MSG-016", "U17")
class CannotClearMessageFields(Model):
    """update_message skips the fields that the patch clears."""

    def update_message(self, session_id: str, message_id: str, patch: Patch) -> Message:
        return super().update_message(session_id, message_id, Patch(patch.set))


@breaks("SC-MSG-017")
class CounterStartsOver(Model):
    """After delete_all_messages places start over, but the newest known place stays."""

    def add(self, kept: Kept, turn: Any) -> None:
        if not kept.messages and kept.next_place:
            kept.next_place = 0
            kept.messages = [turn[0]]
        super().add(kept, turn)


@breaks("SC-PAG-005")
class CursorIsOffByOne(Model):
    """The cursor of get_messages skips one message."""

    def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        page = super().get_messages(session_id, query, cursor=cursor)
        return Page(page.items[1:], page.next_cursor) if cursor is not None and len(page) > 1 else page


@breaks("SC-PAG-005")
class CursorComparesTimes(Model):
    """The cursor of get_messages holds a time, so that messages of one millisecond are lost."""

    def place_key(self, kept: Kept) -> Callable[[Message], Key]:
        del kept
        return lambda message: (message.created_at.isoformat(),)


@breaks("SC-PAG-006")
class CursorIsAnOffset(Model):
    """The cursor of get_messages is a number of messages."""

    def place_key(self, kept: Kept) -> Callable[[Message], Key]:
        return lambda message: (kept.messages.index(message),)


@breaks("SC-PAG-006")
class CursorNeedsItsMessage(Model):
    """get_messages fails when the message under the cursor was deleted."""

    def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        kept = self.needed(session_id)
        if cursor is not None and any(
            place not in {kept.places[message.id] for message in kept.messages} for place in kept.places.values()
        ):
            raise MessageNotFoundError(session_id, "the message of the cursor")
        return super().get_messages(session_id, query, cursor=cursor)


@breaks("SC-PAG-007")
class CursorFitsAnyQuery(Model):
    """get_messages takes cursors of other queries and sessions."""

    def page(self, *args: Any, bound_to: str, **options: Any) -> Page[Any]:
        return super().page(*args, bound_to="listing" if bound_to[:2] == "((" else "any", **options)


@breaks("SC-PAG-007")
class MalformedCursorStartsOver(Model):
    """get_messages takes a malformed cursor for none."""

    def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        try:
            return super().get_messages(session_id, query, cursor=cursor)
        except ValidationError:
            return super().get_messages(session_id, query)


@breaks("SC-PAG-009")
class PagesEndAtAMegabyte(Model):
    """get_messages takes the end of the store's own page for the end of the answer."""

    def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        page = super().get_messages(session_id, query, cursor=cursor)
        size, found = 0, list[Message]()
        for message in page:
            size += len(str(message.content))
            if size > 1_000_000:
                return Page(tuple(found))
            found.append(message)
        return page


@breaks("SC-ISO-001")
class MessagesAreGlobal(Model):
    """get_message finds messages of every session."""

    def get_message(self, session_id: str, message_id: str) -> Message | None:
        self.needed(session_id)
        found = (kept.find(message_id) for kept in self.kept.values())
        return next((message for message in found if message is not None), None)


@breaks("SC-ISO-002", "U39")
class EditsAcrossSessions(Model):
    """update_message and delete_message find messages of every session."""

    def home(self, message_id: str, session_id: str) -> str:
        self.needed(session_id)
        homes = [kept.head.id for kept in self.kept.values() if kept.find(message_id) is not None]
        return session_id if session_id in homes or not homes else homes[0]

    def update_message(self, session_id: str, message_id: str, patch: Patch) -> Message:
        return super().update_message(self.home(message_id, session_id), message_id, patch)

    def delete_message(self, session_id: str, message_id: str) -> bool:
        return super().delete_message(self.home(message_id, session_id), message_id)


@breaks("SC-ISO-003")
class MessageIdsAreGlobal(Model):
    """A chosen message id can be used in one session only."""

    def append_messages(self, session_id: str, messages: Any, **options: Any) -> Any:
        for kept in self.kept.values():
            if kept.head.id != session_id and any(kept.find(message.id) is not None for message in messages):
                raise ValidationError("message id is taken")
        return super().append_messages(session_id, messages, **options)


@breaks("SC-ERR-001", "U30")
class BuriesNotFound(ReferenceStorage):
    """A missing session surfaces as an error that is not of this project."""

    async def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        try:
            return await super().get_messages(session_id, query, cursor=cursor)
        except SessionNotFoundError as error:
            raise RuntimeError("Failed to get messages") from error
