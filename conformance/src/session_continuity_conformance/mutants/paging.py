"""Mutants whose pages miss or repeat something."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from session_continuity import (
    ConversationPage,
    Message,
    MessageNotFoundError,
    MessageQuery,
    Page,
    Session,
    SessionFilter,
    ValidationError,
)
from session_continuity_conformance.mutants.registry import breaks
from session_continuity_conformance.reference.model import Key, Model, SessionRecord
from session_continuity_conformance.reference.storage import ReferenceStorage


@breaks("SC-PAG-010")
class PageWithoutCursor(ReferenceStorage):
    """get_conversation returns no cursor."""

    async def get_conversation(self, session_id: str, query: MessageQuery) -> ConversationPage:
        read = await super().get_conversation(session_id, query)
        return replace(read, messages=Page(read.messages.items))


@breaks("SC-PAG-001", "U15")
class ListsLimitBeforeFilter(Model):
    """list_sessions applies the limit before tags and status, and treats a short page as the last."""

    def list_sessions(self, filter: SessionFilter, *, limit: int, cursor: str | None = None) -> Page[Session]:
        if filter.status is None and not filter.tags:
            return super().list_sessions(filter, limit=limit, cursor=cursor)
        page = super().list_sessions(replace(filter, status=None, tags=frozenset()), limit=limit)
        return Page(tuple(session for session in page if filter.matches(session)))


@breaks("SC-PAG-002")
class ListingCursorIsAnOffset(Model):
    """The cursor of list_sessions is a number of rows."""

    def list_sessions(self, filter: SessionFilter, *, limit: int, cursor: str | None = None) -> Page[Session]:
        whole = super().list_sessions(filter, limit=1000)
        places = {session.id: place for place, session in enumerate(whole)}
        return self.page(list(whole), lambda session: (places[session.id],), limit, cursor, bound_to=filter.key())


@breaks("SC-PAG-003")
class LimitZeroMeansAll(Model):
    """list_sessions with limit 0 returns everything."""

    def list_sessions(self, filter: SessionFilter, *, limit: int, cursor: str | None = None) -> Page[Session]:
        return super().list_sessions(filter, limit=limit or 1000, cursor=cursor)


@breaks("SC-PAG-003")
class SweepTakesAnyLimit(Model):
    """get_expired_sessions accepts limits over 1000."""

    def get_expired_sessions(self, before: datetime, *, limit: int, cursor: str | None = None) -> Page[str]:
        return super().get_expired_sessions(before, limit=min(limit, 1000), cursor=cursor)


@breaks("SC-PAG-004")
class ListingCursorFitsAnyFilter(Model):
    """list_sessions accepts cursors of other filters."""

    def page(self, *args: Any, bound_to: str, **options: Any) -> Page[Any]:
        del bound_to
        return super().page(*args, bound_to="any", **options)


@breaks("SC-PAG-008")
class SweepSeesTheFirstPageOnly(Model):
    """get_expired_sessions returns no cursor."""

    def get_expired_sessions(self, before: datetime, *, limit: int, cursor: str | None = None) -> Page[str]:
        return Page(super().get_expired_sessions(before, limit=limit, cursor=cursor).items)


@breaks("SC-PAG-009", "U14")
class ListingEndsAtAMegabyte(Model):
    """list_sessions treats the end of the store's own page as the end of the listing."""

    def list_sessions(self, filter: SessionFilter, *, limit: int, cursor: str | None = None) -> Page[Session]:
        page = super().list_sessions(filter, limit=limit, cursor=cursor)
        size, found = 0, list[Session]()
        for session in page:
            size += len(session.model_dump_json())
            if size > 1_000_000:
                return Page(tuple(found))
            found.append(session)
        return page


@breaks("SC-PAG-005")
class CursorIsOffByOne(Model):
    """The cursor of get_messages skips one message."""

    def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        page = super().get_messages(session_id, query, cursor=cursor)
        return Page(page.items[1:], page.next_cursor) if cursor is not None and len(page) > 1 else page


@breaks("SC-PAG-005")
class CursorComparesTimes(Model):
    """The cursor of get_messages is a time, so messages of one millisecond are lost."""

    def place_key(self, record: SessionRecord) -> Callable[[Message], Key]:
        del record
        return lambda message: (message.created_at.isoformat(),)


@breaks("SC-PAG-006")
class CursorIsAnOffset(Model):
    """The cursor of get_messages is a number of messages."""

    def place_key(self, record: SessionRecord) -> Callable[[Message], Key]:
        return lambda message: (record.messages.index(message),)


@breaks("SC-PAG-006")
class CursorNeedsItsMessage(Model):
    """get_messages fails when the message under the cursor was deleted."""

    def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        record = self.require(session_id)
        if cursor is not None and any(
            place not in {record.places[message.id] for message in record.messages} for place in record.places.values()
        ):
            raise MessageNotFoundError(session_id, "the message of the cursor")
        return super().get_messages(session_id, query, cursor=cursor)


@breaks("SC-PAG-007")
class CursorFitsAnyQuery(Model):
    """get_messages accepts cursors of other queries and sessions."""

    def page(self, *args: Any, bound_to: str, **options: Any) -> Page[Any]:
        return super().page(*args, bound_to="listing" if bound_to[:2] == "((" else "any", **options)


@breaks("SC-PAG-007")
class MalformedCursorStartsOver(Model):
    """get_messages ignores a malformed cursor."""

    def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        try:
            return super().get_messages(session_id, query, cursor=cursor)
        except ValidationError:
            return super().get_messages(session_id, query)


@breaks("SC-PAG-009")
class PagesEndAtAMegabyte(Model):
    """get_messages treats the end of the store's own page as the end of the answer."""

    def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        page = super().get_messages(session_id, query, cursor=cursor)
        size, found = 0, list[Message]()
        for message in page:
            size += len(str(message.content))
            if size > 1_000_000:
                return Page(tuple(found))
            found.append(message)
        return page
