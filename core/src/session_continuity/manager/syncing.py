"""`Syncing` stores what is new in a chat that a client sends whole each time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from session_continuity.contract.adapter import StorageAdapter
from session_continuity.contract.paging import MAX_PAGE, Page, collect
from session_continuity.contract.queries import MessageQuery
from session_continuity.errors import ValidationError
from session_continuity.manager.appender import Appender
from session_continuity.models import Message, NewMessage, Role
from session_continuity.values import Content

__all__ = ["Syncing", "new_tail"]


class _Said(Protocol):
    @property
    def id(self) -> str | None: ...
    @property
    def role(self) -> str: ...
    @property
    def content(self) -> Content: ...


@dataclass(frozen=True, slots=True)
class Syncing:
    """Compares chats with what a store has, and appends what is new."""

    storage: StorageAdapter
    appender: Appender

    async def sync(self, session_id: str, chat: Sequence[NewMessage]) -> tuple[Message, ...]:
        """Append the messages of the chat that are not stored, in one batch, and return them as stored.

        Raises ValidationError with the place at which the chat differs from what is stored.
        """
        if not chat:
            return ()
        stored = await self._read(session_id, chat, order="desc")
        stored.reverse()
        tail = new_tail(stored, chat)
        if tail is None:
            _check_beginning(await self._read(session_id, chat, order="asc"), stored, chat)
        if not tail:
            return ()
        batch = _with_ids(session_id if not stored else stored[-1].id, tail)
        return (await self.appender.append(session_id, batch, {})).messages

    async def _read(
        self, session_id: str, chat: Sequence[NewMessage], *, order: Literal["asc", "desc"]
    ) -> list[Message]:
        """As many messages as the chat has, of the roles that it has.

        A prompt or results of tools that the server alone stores are not part of the client's chat.
        """
        roles: frozenset[Role] = frozenset(message.role for message in chat)

        async def fetch(limit: int, cursor: str | None) -> Page[Message]:
            query = MessageQuery(order=order, limit=min(limit, MAX_PAGE), roles=roles)
            return await self.storage.get_messages(session_id, query, cursor=cursor)

        return list(await collect(fetch, len(chat), None))


def new_tail(stored: Sequence[Message], chat: Sequence[NewMessage]) -> list[NewMessage] | None:
    """The messages of the chat after those that are stored; None if it does not go on from the last one.

    `stored` are the last messages, at most as many as the chat has. Two messages are the same if they have the same id,
    or the chat's has none, and the same role and content.
    """
    if not stored:
        return list(chat)
    for start in range(len(stored)):
        if _differs_at(stored[start:], chat) is None:
            return list(chat[len(stored) - start :])
    return None


def _check_beginning(first: Sequence[Message], last: Sequence[Message], chat: Sequence[NewMessage]) -> None:
    """Raise ValidationError with the place at which the chat differs from what is stored.

    A chat that is what was stored first is not wrong. It is what an older view of the conversation sends.
    """
    if len(first) == len(chat) and _differs_at(first, chat) is None:
        return
    start = next((place for place, message in enumerate(last) if _is_same(message, chat[0])), 0)
    stored = first if first and _is_same(first[0], chat[0]) else last[start:]
    place = _differs_at(stored, chat) or 0
    raise ValidationError(
        f"messages.{place}: the chat differs here from what is stored; a chat may only grow. To change its past, use "
        "rewind or replace_messages_after"
    )


def _differs_at(stored: Sequence[_Said], chat: Sequence[_Said]) -> int | None:
    """The place of the first message of the chat that is not the stored one; None if all that are stored are there."""
    for place, (old, new) in enumerate(zip(stored, chat, strict=False)):
        if not _is_same(old, new):
            return place
    return None


def _is_same(stored: _Said, sent: _Said) -> bool:
    if sent.id is not None and sent.id != stored.id:
        return False
    return (sent.role, sent.content) == (stored.role, stored.content)


def _with_ids(last_id: str, tail: Sequence[NewMessage]) -> list[NewMessage]:
    """The messages with ids. One that has none gets one by its place and content, so that two processes that sync the
    same chat at once store it once."""
    batch: list[NewMessage] = []
    for place, message in enumerate(tail):
        said = json.dumps([last_id, place, message.role, message.content], sort_keys=True)
        minted = f"sync-{hashlib.sha256(said.encode()).hexdigest()[:32]}"
        batch.append(message if message.id is not None else message.model_copy(update={"id": minted}))
    return batch
