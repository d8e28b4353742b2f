"""The methods of `AsyncSessionManager` that find sessions and messages."""

from __future__ import annotations

from dataclasses import replace
from typing import Unpack

from session_continuity.contract.paging import Fetch, Page, collect
from session_continuity.errors import ValidationError
from session_continuity.manager import arguments
from session_continuity.manager.arguments import SessionQuery
from session_continuity.manager.parts import ManagerParts
from session_continuity.manager.recent import recent_sessions
from session_continuity.models import Message, Session

__all__ = ["ListingMethods"]


class ListingMethods(ManagerParts):
    """One group of a manager's methods."""

    async def list_sessions(
        self,
        *,
        limit: int | None = 50,
        cursor: str | None = None,
        after_id: str | None = None,
        **query: Unpack[SessionQuery],
    ) -> Page[Session]:
        """Sessions that meet every condition, newest first, or in the order that `order` names.

        `query` are the conditions and the order of `SessionQuery`: user, agent, status, tags, time of creation, title.
        `limit` counts sessions that match; None reads to the end. `cursor` continues after a page of the same
        conditions. `after_id` starts behind a session, for one read more. `stale_totals` of the page is True where the
        store's listings do not have current totals. Raises NotSupportedError for an order that the store does not
        declare, and when it cannot list without a user or an agent.
        """
        return await collect(self._listing(cursor, after_id, query), limit, cursor)

    async def recent_sessions(self, user_id: str, *, limit: int = 20) -> Page[Session]:
        """The sessions of a user with their totals, the most recently active first. The page has no cursor.

        One request where the store declares `activity_listing`. Elsewhere every session of the user is read: a request
        for a page of them, and, where listings have stale totals, one more for each session, eight at a time.
        """
        arguments.check_ids(user_id=user_id)
        return await recent_sessions(await self._lifecycle.ready(), user_id, limit)

    async def search_messages(
        self,
        text: str,
        *,
        user_id: str | None = None,
        session_id: str | None = None,
        limit: int | None = 20,
        cursor: str | None = None,
    ) -> Page[Message]:
        """The messages of users and assistants that have every word of a text, session by session, the last one first.

        Case does not count. The last word may be the beginning of a longer one. Words without white space between them
        must follow each other. Quotes and operators are plain text. `user_id` and `session_id` say where to look;
        `limit=None` reads to the end. `cursor` continues after a page of the same search. Raises NotSupportedError
        where the store does not declare `text_search`, before it is asked.
        """
        wanted = arguments.search_text(text)
        scope = {"user_id": user_id, "session_id": session_id}
        arguments.check_ids(**{name: value for name, value in scope.items() if value is not None})
        storage = await self._lifecycle.ready()
        return await collect(
            lambda size, start: storage.search_messages(
                wanted, user_id=user_id, session_id=session_id, limit=size, cursor=start
            ),
            limit,
            cursor,
        )

    def _listing(self, cursor: str | None, after_id: str | None, query: SessionQuery) -> Fetch[Session]:
        """A function that reads a page. Before the first one it reads the session to start behind."""
        wanted = arguments.session_filter(**query)
        if after_id is not None:
            arguments.check_ids(after_id=after_id)
            if cursor is not None:
                raise ValidationError("give a cursor or after_id, not both: a cursor is a place already")

        async def fetch(limit: int, cursor: str | None) -> Page[Session]:
            nonlocal wanted
            storage = await self._lifecycle.ready()
            if after_id is not None and wanted.behind is None:
                wanted = replace(wanted, behind=wanted.place_of(await self._existing(after_id)))
            return await storage.list_sessions(wanted, limit=limit, cursor=cursor)

        return fetch
