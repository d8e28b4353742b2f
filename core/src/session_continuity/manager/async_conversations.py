"""The methods of `AsyncSessionManager` on whole conversations: reading, rewinding, forking, erasing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Literal, Self, Unpack

from session_continuity.backends.owned import in_namespace, owned
from session_continuity.contract.capabilities import Capabilities
from session_continuity.contract.paging import Page, collect
from session_continuity.contract.results import ConversationPage, Fork
from session_continuity.events import MessageUpdated, SessionDeleted, SessionUpdated
from session_continuity.manager import arguments
from session_continuity.manager.cleanup import Cleanup
from session_continuity.manager.creation import SessionFields
from session_continuity.manager.erasure import Erased, Erasure, ErasureReceipt
from session_continuity.manager.forking import Forking
from session_continuity.manager.merging import Merging
from session_continuity.manager.parts import ManagerParts
from session_continuity.manager.streaming import AsyncMessageStream, StreamParts
from session_continuity.manager.syncing import Syncing
from session_continuity.manager.tails import Tails
from session_continuity.models import Message, NewMessage, Role, Session

__all__ = ["ConversationMethods"]


class ConversationMethods(ManagerParts):
    """One group of a manager's methods."""

    _tails: Tails
    _forking: Forking
    _merging: Merging
    _erasure: Erasure
    _cleanup: Cleanup
    _syncing: Syncing
    _streams: StreamParts

    @property
    def capabilities(self) -> Capabilities:
        """What the store can do beyond the contract, and its limits."""
        return self._storage.capabilities

    def for_user(self, user_id: str) -> Self:
        """A manager of this user's sessions only, on the same connections, with the same options and event handlers.

        For it, the sessions of other users do not exist. What it creates belongs to the user. Where the store declares
        `owner_guard`, that costs nothing. Elsewhere most calls read the session first. It ends with this manager, and
        closing it closes nothing.
        """
        arguments.check_ids(user_id=user_id)
        return self._view(owned(self._storage, user_id))

    def in_namespace(self, name: str) -> Self:
        """A manager of another namespace, on the same connections, with the same options and event handlers.

        It ends with this manager, and closing it closes nothing. Raises NotSupportedError where the store does not
        declare `namespace_views`.
        """
        return self._view(in_namespace(self._storage, name))

    async def get_conversation(
        self,
        session_id: str,
        *,
        order: Literal["asc", "desc"] = "asc",
        limit: int = 100,
        roles: Role | Iterable[Role] | None = None,
        after: datetime | str | None = None,
        before: datetime | str | None = None,
    ) -> ConversationPage:
        """The session, a page of its messages, and its other system messages, in one call of the store.

        The conditions are those of `get_messages`, and the page's cursor continues there. `limit` is 1 to 1000.
        """
        storage = await self._lifecycle.ready(session_id=session_id)
        query = arguments.message_query(order, roles, after, before)
        found = await storage.get_conversation(session_id, query(limit))
        self._remember(found.session)
        return found

    async def sync_messages(self, session_id: str, chat: Iterable[NewMessage | Mapping[str, Any]]) -> list[Message]:
        """Store what is new in a chat that a client sends whole each time, and return the new messages as stored.

        The chat may begin anywhere, and must go on from what is stored. Messages are recognised by id, role and
        content, or by role and content where they have no id. The new ones are one atomic batch. Messages of roles that
        the chat does not have, such as a prompt that only the server knows, are not compared.

        Raises ValidationError with the place at which the chat differs from what is stored.
        """
        await self._lifecycle.ready(session_id=session_id)
        return list(await self._syncing.sync(session_id, arguments.new_messages(chat, self._settings.accepted)))

    def stream_message(
        self, session_id: str, role: Role = "assistant", *, id: str | None = None, save_every: float = 2.0
    ) -> AsyncMessageStream:
        """A message that is stored while it arrives, for use in a `with`.

        It is stored with the first text, again every `save_every` seconds, and whole at the end. Until then it is
        marked as unfinished. A process that dies leaves what was stored last.
        """
        arguments.check_ids(session_id=session_id, **({} if id is None else {"id": id}))
        seconds = arguments.to_seconds(save_every, "save_every") or 0.0
        return AsyncMessageStream(self._streams, session_id, role, id, seconds)

    async def rewind(self, session_id: str, to: str | None, *, expected_last_id: str | None = None) -> list[Message]:
        """Remove every message after the one with the id `to`, and return those removed, oldest first.

        With `to=None`, every message is removed. With `expected_last_id`, raises ConversationChangedError when the
        conversation ends with another message. Raises MessageNotFoundError.
        """
        await self._check_tail(session_id, to)
        return list((await self._tails.replace(session_id, to, (), expected_last_id)).removed)

    async def pop_messages(self, session_id: str, n: int = 1) -> list[Message]:
        """Remove the last `n` messages, or all if there are fewer, and return them, oldest first."""
        await self._lifecycle.ready(session_id=session_id)
        return list(await self._tails.pop(session_id, n))

    async def replace_messages_after(
        self,
        session_id: str,
        message_id: str | None,
        messages: Iterable[NewMessage | Mapping[str, Any]],
        *,
        expected_last_id: str | None = None,
    ) -> list[Message]:
        """Replace every message after this one by a batch, in one step, and return the batch as stored.

        With `message_id=None`, the whole conversation is replaced. With `expected_last_id`, raises
        ConversationChangedError when the conversation ends with another message. Raises MessageNotFoundError, and what
        `add_messages` raises; then the old messages stay.
        """
        await self._check_tail(session_id, message_id)
        batch = arguments.new_messages(messages, self._settings.accepted)
        return list((await self._tails.replace(session_id, message_id, batch, expected_last_id)).messages)

    async def fork_session(
        self, session_id: str, *, at: str | None = None, id: str | None = None, **fields: Unpack[SessionFields]
    ) -> Session:
        """Create a session with copies of another's messages up to the one with the id `at`, and return it.

        Without `at`, all messages are copied. `fields` are those of the new session (`SessionFields`). Fields that are
        not given are the source's: user, agent, metadata, participants, budget and compression. `forked_from` of the
        new session names source and message. Later changes of either session do not change the other. Raises
        MessageNotFoundError, and SessionExistsError when `id` is taken.
        """
        await self._check_tail(session_id, at)
        session = await self._forking.fork(session_id, at, id, fields)
        await self._report_created(session)
        return session

    async def list_forks(self, session_id: str, *, limit: int | None = None, cursor: str | None = None) -> Page[Fork]:
        """The sessions that were forked from this one, oldest first.

        `limit=None` reads to the end. `cursor` continues after a page. Forks of forks are not in it.
        """
        storage = await self._lifecycle.ready(session_id=session_id)
        return await collect(
            lambda size, start: storage.list_forks(session_id, limit=size, cursor=start), limit, cursor
        )

    async def update_metadata(self, session_id: str, **changes: Any) -> Session:
        """Change keys of a session's metadata and return the session. None removes a key. The other keys stay.

        A mapping, such as `custom`, is merged key by key in the same way. Every other value is replaced. Concurrent
        changes of other keys are not lost.
        """
        await self._lifecycle.ready(session_id=session_id)
        session = await self._merging.merge(session_id, changes)
        self._remember(session)
        await self._events.emit(
            SessionUpdated(
                session_id=session_id, at=self._storage.clock(), fields=frozenset({"metadata"}), version=session.version
            )
        )
        return session

    async def update_message_metadata(self, session_id: str, message_id: str, **changes: Any) -> Message:
        """Change keys of a message's metadata and return the message. None removes a key. The other keys stay.

        A mapping, such as `annotations`, is merged key by key in the same way. Concurrent changes of other keys are not
        lost. Calls and results of tools are changed with `update_message`. Raises MessageNotFoundError.
        """
        storage = await self._lifecycle.ready(session_id=session_id, message_id=message_id)
        message = await self._editor.merge_metadata(session_id, message_id, changes)
        await self._events.emit(
            MessageUpdated(
                session_id=session_id, at=storage.clock(), message_id=message_id, fields=frozenset({"metadata"})
            )
        )
        return message

    async def erase_user(self, user_id: str, *, progress: Callable[[Erased], object] | None = None) -> ErasureReceipt:
        """Delete every session of a user, and return a receipt that was verified by reading back.

        Expired sessions of all users are removed first, because an expired one is not listed by its user. `progress`
        is called after each session. An erasure that was interrupted, or that left something, is run again: it goes on
        with what is there.
        """
        await self._lifecycle.ready(user_id=user_id)
        started = self._storage.clock()
        await self._cleanup.run()
        erased: list[Erased] = []
        async for each in self._erasure.remove(user_id):
            erased.append(each)
            self._forget(each.session_id)
            await self._events.emit(SessionDeleted(session_id=each.session_id, at=each.at))
            if progress is not None:
                progress(each)
        left = await self._erasure.left(user_id)
        finished = self._storage.clock()
        return ErasureReceipt(
            user_id=user_id, started_at=started, finished_at=finished, sessions=tuple(erased), left=left
        )

    async def _check_tail(self, session_id: str, message_id: str | None) -> None:
        ids = {} if message_id is None else {"message_id": message_id}
        await self._lifecycle.ready(session_id=session_id, **ids)
