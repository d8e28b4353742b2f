"""Reading what a context is made of: the session, its system messages and its newest messages."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from session_continuity.contract.adapter import StorageAdapter
from session_continuity.contract.paging import MAX_PAGE, Page
from session_continuity.contract.queries import MessageQuery
from session_continuity.errors import MessageNotFoundError
from session_continuity.models import CompressionState, Message, Session, TokenBudget
from session_continuity.runtime.cache import BoundedCache

__all__ = ["ContextSource", "SourceReader"]

_SMALLEST_PAGE = 4
_MESSAGES_PER_TURN = 8
_FIRST_QUERY = MessageQuery(order="desc", limit=16)


@dataclass(frozen=True, slots=True)
class ContextSource:
    """What a context is chosen from.

    `page` holds the newest messages after those that `state` summarizes, newest first, and `query` reads on from there.
    `system` holds the system messages by id, oldest first.
    """

    session: Session
    state: CompressionState | None
    budget: TokenBudget | None
    system: Mapping[str, Message]
    query: MessageQuery
    page: Page[Message]

    def earlier_system_messages(self) -> list[Message]:
        """The system messages that are not in the page, oldest first."""
        in_page = {message.id for message in self.page}
        return [message for message in self.system.values() if message.id not in in_page]


class SourceReader:
    """Reads sources with as few requests as possible: one, when the query that served last time serves again."""

    def __init__(self, storage: StorageAdapter, on_session_read: Callable[[Session], None]) -> None:
        """`on_session_read` is called with every session that is read."""
        self._storage = storage
        self._on_session_read = on_session_read
        self._queries: BoundedCache[MessageQuery] = BoundedCache()

    async def read(
        self, session_id: str, default_budget: TokenBudget | None, max_turns: int | None = None
    ) -> ContextSource:
        """The source of a session's context. A budget of the session's own comes before the default.

        `max_turns` is how many turns it will have at most.
        """
        query = self._queries.get(session_id) or _FIRST_QUERY
        try:
            found = await self._storage.get_conversation(session_id, query)
        except MessageNotFoundError:  # the last summarized message, from which the query starts, was deleted
            query = replace(query, after_id=None)
            found = await self._storage.get_conversation(session_id, query)
        session, page = found.session, found.messages
        self._on_session_read(session)
        budget, state = session.token_budget or default_budget, session.compression_state
        in_page = [message for message in reversed(page) if message.role == "system"]
        system = {message.id: message for message in (*found.system_messages, *in_page)}
        if query.after_id != (None if state is None else state.covered_until):
            return await self.reread(ContextSource(session, state, budget, system, query, page), state)
        limit = _page_size(session, budget)
        query = replace(query, limit=limit if max_turns is None else min(limit, max_turns * _MESSAGES_PER_TURN))
        return await self._with_whole_page(self._remember(ContextSource(session, state, budget, system, query, page)))

    async def reread(self, source: ContextSource, state: CompressionState | None) -> ContextSource:
        """The source with the first page after what `state` summarizes.

        If the last summarized message was deleted, the extent of the summary is unknown and the summary is left out.
        """
        session = source.session
        query = MessageQuery(
            order="desc",
            limit=_page_size(session, source.budget),
            after_id=None if state is None else state.covered_until,
        )
        try:
            page = await self._storage.get_messages(session.id, query)
        except MessageNotFoundError:
            return await self.reread(source, None)
        return self._remember(replace(source, state=state, query=query, page=page))

    async def next_page(self, source: ContextSource, page: Page[Message]) -> Page[Message]:
        """The page of older messages after this one."""
        return await self._storage.get_messages(source.session.id, source.query, cursor=page.next_cursor)

    async def has_question(self, source: ContextSource) -> bool:
        """Whether the user has said anything."""
        query = MessageQuery(order="desc", limit=1, roles=frozenset({"user"}), after_id=source.query.after_id)
        return bool(await self._storage.get_messages(source.session.id, query))

    def _remember(self, source: ContextSource) -> ContextSource:
        """The source. Its query, with a little more room because the mean size of messages moves, is used next time."""
        limit = source.query.limit
        self._queries.set(source.session.id, replace(source.query, limit=min(limit + limit // 8, MAX_PAGE)))
        return source

    async def _with_whole_page(self, source: ContextSource) -> ContextSource:
        """The source with a page as long as its query asks for: one large page costs less than several small ones."""
        page, missing = source.page, source.query.limit - len(source.page)
        if missing <= 0 or page.next_cursor is None:
            return source
        rest = await self._storage.get_messages(
            source.session.id, replace(source.query, limit=missing), cursor=page.next_cursor
        )
        return replace(source, page=Page((*page, *rest), rest.next_cursor))


def _page_size(session: Session, budget: TokenBudget | None) -> int:
    """About as many messages as fit the budget, by their mean size. An empty session says nothing about that."""
    if budget is not None and not session.message_count:
        return _FIRST_QUERY.limit
    if budget is None or not session.token_count:
        return MAX_PAGE
    mean = session.token_count / session.message_count
    return min(max(math.ceil(budget.available / mean) + 1, _SMALLEST_PAGE), MAX_PAGE)
