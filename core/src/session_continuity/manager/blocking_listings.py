"""The methods of `SessionManager` that find sessions and messages. One line a method."""

from __future__ import annotations

from typing import Unpack

from session_continuity.backends.storage import Storage
from session_continuity.contract.paging import Page
from session_continuity.manager.arguments import SessionQuery
from session_continuity.manager.async_manager import AsyncSessionManager
from session_continuity.models import Message, Session

__all__ = ["BlockingListingMethods"]


class BlockingListingMethods:
    """One group of a manager's methods."""

    _manager: AsyncSessionManager
    _storage: Storage

    def list_sessions(
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
        return self._storage.run(self._manager.list_sessions(limit=limit, cursor=cursor, after_id=after_id, **query))

    def recent_sessions(self, user_id: str, *, limit: int = 20) -> Page[Session]:
        """The sessions of a user with their totals, the most recently active first. The page has no cursor.

        One request where the store declares `activity_listing`. Elsewhere every session of the user is read: a request
        for a page of them, and, where listings have stale totals, one more for each session, eight at a time.
        """
        return self._storage.run(self._manager.recent_sessions(user_id, limit=limit))

    def search_messages(
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
        return self._storage.run(
            self._manager.search_messages(text, user_id=user_id, session_id=session_id, limit=limit, cursor=cursor)
        )
