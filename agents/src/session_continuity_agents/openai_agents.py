"""`OpenAISession`: a conversation as the session of openai-agents.

    session = OpenAISession("user-42", url="sqlite:///chat.db")
    await Runner.run(agent, "hi", session=session)

Tested with openai-agents 0.24.0, and made for 0.10 and later.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, cast

from agents.memory import SessionABC, SessionSettings

from session_continuity import (
    AsyncSessionManager,
    ConversationChangedError,
    MessageNotFoundError,
    NewMessage,
    NotSupportedError,
    SessionFields,
    SessionNotFoundError,
    ThrottledError,
    backoff,
    sleeper,
    stable_id,
)
from session_continuity_agents.handles import HasManager, ManagerHandle
from session_continuity_agents.openai_items import FRAMEWORK, Item, items_of, messages_of
from session_continuity_agents.settling import settled

if TYPE_CHECKING:
    from agents import RunContextWrapper, TResponseInputItem

__all__ = ["FRAMEWORK", "OpenAISession", "items_of", "messages_of"]

_POP_DEADLINE = 10.0  # seconds

UserId = str | Callable[["RunContextWrapper[Any] | None"], str | None] | None


class OpenAISession(HasManager, SessionABC):
    """A conversation that openai-agents reads and continues, kept in any store.

    `session_id` is also the id of the session for managers and the command line; one of more than 256 bytes is
    shortened by `stable_id`. `url` names the store, SESSION_CONTINUITY_URL if it is left out. `manager` is one that is
    open already. `session_settings` are those of openai-agents: `limit` is how many items a turn reads.

    `user_id` is the user of a new session, or a function from the run's context to the user.

    The session exists from its first item on. A batch of items is stored whole or not at all. What several writers
    add at once is all stored. A cancelled call raises its cancellation when its write has ended.
    """

    def __init__(
        self,
        session_id: str,
        *,
        url: str | None = None,
        manager: AsyncSessionManager | None = None,
        user_id: UserId = None,
        session_settings: SessionSettings | dict[str, Any] | None = None,
    ) -> None:
        self.session_id = session_id
        self.session_settings = _settings(session_settings)
        self._user_id = user_id
        self._key = stable_id(session_id)
        self._handle = ManagerHandle(url, manager)

    async def get_items(
        self, limit: int | None = None, *, wrapper: RunContextWrapper[Any] | None = None
    ) -> list[TResponseInputItem]:
        """The newest `limit` items, oldest first. Without a limit, that of the settings counts, else all are read.

        Messages that another framework wrote are read as items, with their calls and results.
        """
        wanted = self.session_settings.limit if limit is None and self.session_settings else limit
        if wanted is not None and wanted <= 0:
            return []
        entries, _ = await self._newest(wanted)
        items = [item for entry in entries for item in entry.items]
        return cast("list[TResponseInputItem]", items if wanted is None else items[-wanted:])

    async def add_items(
        self, items: list[TResponseInputItem], *, wrapper: RunContextWrapper[Any] | None = None
    ) -> None:
        """Add items at the end, all or none. Raises NotSupportedError for more than the store takes at once."""
        if batch := messages_of(items):
            fields: SessionFields = {"user_id": self._user(wrapper), "metadata": {"source": FRAMEWORK}}
            await settled(self.manager.add_messages(self._key, batch, create=fields))

    async def pop_item(self, *, wrapper: RunContextWrapper[Any] | None = None) -> TResponseInputItem | None:
        """Remove the newest item and return it; None if there is none.

        Of several callers at once, each gets another item. An item that is appended meanwhile is the newest.
        """
        return cast("TResponseInputItem | None", await settled(self._pop()))

    async def clear_session(self, *, wrapper: RunContextWrapper[Any] | None = None) -> None:
        """Remove all items. The session stays, with its user and metadata."""
        await settled(self._clear())

    # Compaction looks for these two by name. Without them it clears the history and then adds a new one.

    async def _atomic_replace_items(self, items: list[TResponseInputItem]) -> bool:
        """Replace all items in one step. False if that cannot be done in one step."""
        if not self._is_plain:
            return False
        try:
            return await settled(self._replace(None, messages_of(items), None))
        except NotSupportedError:
            return False

    async def _get_compaction_snapshot(
        self, limit: int, *, prune_prefix: Callable[[TResponseInputItem], bool] | None = None
    ) -> _Snapshot | None:
        """The newest items, and a function that replaces the end of them if nothing was added or removed since.

        `prune_prefix` tells which items at the beginning are removed after a replacement: those that have expired for
        EncryptedSession.
        """
        if not self._is_plain:
            return None
        entries, is_all = await self._newest(limit)
        places = [(number, place) for number, entry in enumerate(entries) for place in range(len(entry.items))][-limit:]

        async def replace_suffix(start: int, output: list[TResponseInputItem]) -> bool:
            if start >= len(places):
                return False
            number, place = places[start]
            if number == 0 and not is_all:
                return False
            before = entries[number - 1].id if number else None
            batch = messages_of([*entries[number].items[:place], *output])
            replaced = await settled(self._replace(before, batch, entries[-1].id))
            if replaced and prune_prefix is not None:
                await settled(self._prune(prune_prefix))
            return replaced

        items = [entries[number].items[place] for number, place in places]
        return _Snapshot(items, is_all and len(items) == sum(len(entry.items) for entry in entries), replace_suffix)

    @property
    def _is_plain(self) -> bool:
        """Whether items are stored as this class stores them. A subclass may, for example, encrypt them."""
        return all(
            getattr(type(self), name) is getattr(OpenAISession, name) for name in ("get_items", "add_items", "pop_item")
        )

    def _user(self, wrapper: RunContextWrapper[Any] | None) -> str | None:
        return self._user_id(wrapper) if callable(self._user_id) else self._user_id

    async def _newest(self, count: int | None) -> tuple[list[_Entry], bool]:
        """The newest messages with more than `count` items, oldest first, and whether these are all."""
        order: Literal["asc", "desc"] = "asc" if count is None else "desc"
        entries: list[_Entry] = []
        left, cursor = count, None
        try:
            while left is None or left >= 0:
                limit = None if left is None else left + 1
                page = await self.manager.get_messages(self._key, order=order, limit=limit, cursor=cursor)
                entries += [_Entry(message.id, items_of(message)) for message in page]
                if (cursor := page.next_cursor) is None:
                    break
                left = None if count is None else count - sum(len(entry.items) for entry in entries)
        except SessionNotFoundError:
            return [], True
        return entries if order == "asc" else entries[::-1], cursor is None

    async def _pop(self) -> Item | None:
        async for _ in backoff(sleeper("async"), deadline=_POP_DEADLINE):
            try:
                newest = list(await self.manager.get_messages(self._key, order="desc", limit=2))
            except SessionNotFoundError:
                return None
            if not newest:
                return None
            items = items_of(newest[0])
            before = newest[1].id if len(newest) > 1 else None
            if await self._shorten(before, newest[0].id, messages_of(items[:-1])) and items:
                return items[-1]
        raise ThrottledError(f"others changed the end of session {self._key!r} for {_POP_DEADLINE:g} seconds")

    async def _shorten(self, before: str | None, last: str, rest: Sequence[NewMessage]) -> bool:
        """Replace the last message by what is left of it. False if somebody else has removed it or added another."""
        if rest:
            return await self._replace(before, rest, last)
        try:  # a tail that is gone already would count as replaced by nothing; rewind tells what it removed
            return bool(await self.manager.rewind(self._key, before, expected_last_id=last))
        except (ConversationChangedError, MessageNotFoundError, SessionNotFoundError):
            return False

    async def _prune(self, is_expired: Callable[[TResponseInputItem], bool]) -> None:
        """Remove the messages at the beginning whose items have all expired."""
        async for message in self.manager.iter_messages(self._key):
            items = items_of(message)
            if not items or not all(is_expired(cast("TResponseInputItem", item)) for item in items):
                return
            with suppress(MessageNotFoundError):  # somebody else has removed it
                await self.manager.delete_message(self._key, message.id)

    async def _clear(self) -> None:
        try:
            await self.manager.delete_all_messages(self._key)
        except SessionNotFoundError:
            return

    async def _replace(self, after: str | None, batch: Sequence[NewMessage], last: str | None) -> bool:
        """Replace what is after a message by the batch. False if the session does not end with `last` any more."""
        try:
            await self.manager.replace_messages_after(self._key, after, batch, expected_last_id=last)
        except (ConversationChangedError, MessageNotFoundError, SessionNotFoundError):
            return False
        return True


@dataclass(frozen=True, slots=True)
class _Entry:
    """A stored message and its items."""

    id: str
    items: list[Item]


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """The newest items of a session. `complete` is True if there are no others.

    `replace_suffix` takes the place of the first item to replace, and the new items.
    """

    items: list[Item]
    complete: bool
    replace_suffix: Callable[[int, list[TResponseInputItem]], Awaitable[bool]]


def _settings(value: SessionSettings | dict[str, Any] | None) -> SessionSettings:
    if isinstance(value, SessionSettings):
        return value
    stated = value or {}
    if unknown := sorted(stated.keys() - {field.name for field in fields(SessionSettings)}):
        raise TypeError(f"Unknown session settings: {', '.join(unknown)}")
    return SessionSettings(**stated)
