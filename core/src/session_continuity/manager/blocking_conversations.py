"""The methods of `SessionManager` on whole conversations: reading, rewinding, forking, erasing. One line a method."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Literal, Unpack

from session_continuity.backends.storage import Storage
from session_continuity.contract.capabilities import Capabilities
from session_continuity.contract.paging import Page
from session_continuity.contract.results import ConversationPage, Fork
from session_continuity.manager.async_manager import AsyncSessionManager
from session_continuity.manager.creation import SessionFields
from session_continuity.manager.erasure import Erased, ErasureReceipt
from session_continuity.manager.streaming import MessageStream
from session_continuity.models import Message, NewMessage, Role, Session

__all__ = ["BlockingConversationMethods"]


class BlockingConversationMethods:
    """One group of a manager's methods."""

    _manager: AsyncSessionManager
    _storage: Storage

    @property
    def capabilities(self) -> Capabilities:
        """What the store can do beyond the contract, and its limits."""
        return self._manager.capabilities

    def get_conversation(
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
        return self._storage.run(
            self._manager.get_conversation(
                session_id, order=order, limit=limit, roles=roles, after=after, before=before
            )
        )

    def sync_messages(self, session_id: str, chat: Iterable[NewMessage | Mapping[str, Any]]) -> list[Message]:
        """Store what is new in a chat that a client sends whole each time, and return the new messages as stored.

        The chat may begin anywhere, and must go on from what is stored. Messages are recognised by id, role and
        content, or by role and content where they have no id. The new ones are one atomic batch. Messages of roles that
        the chat does not have, such as a prompt that only the server knows, are not compared.

        Raises ValidationError with the place at which the chat differs from what is stored.
        """
        return self._storage.run(self._manager.sync_messages(session_id, chat))

    def stream_message(
        self, session_id: str, role: Role = "assistant", *, id: str | None = None, save_every: float = 2.0
    ) -> MessageStream:
        """A message that is stored while it arrives, for use in a `with`.

        It is stored with the first text, again every `save_every` seconds, and whole at the end. Until then it is
        marked as unfinished. A process that dies leaves what was stored last.
        """
        stream = self._manager.stream_message(session_id, role, id=id, save_every=save_every)
        return MessageStream(stream, self._storage)

    def rewind(self, session_id: str, to: str | None, *, expected_last_id: str | None = None) -> list[Message]:
        """Remove every message after the one with the id `to`, and return those removed, oldest first.

        With `to=None`, every message is removed. With `expected_last_id`, raises ConversationChangedError when the
        conversation ends with another message. Raises MessageNotFoundError.
        """
        return self._storage.run(self._manager.rewind(session_id, to, expected_last_id=expected_last_id))

    def pop_messages(self, session_id: str, n: int = 1) -> list[Message]:
        """Remove the last `n` messages, or all if there are fewer, and return them, oldest first."""
        return self._storage.run(self._manager.pop_messages(session_id, n))

    def replace_messages_after(
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
        return self._storage.run(
            self._manager.replace_messages_after(session_id, message_id, messages, expected_last_id=expected_last_id)
        )

    def fork_session(
        self, session_id: str, *, at: str | None = None, id: str | None = None, **fields: Unpack[SessionFields]
    ) -> Session:
        """Create a session with copies of another's messages up to the one with the id `at`, and return it.

        Without `at`, all messages are copied. `fields` are those of the new session (`SessionFields`). Fields that are
        not given are the source's: user, agent, metadata, participants, budget and compression. `forked_from` of the
        new session names source and message. Later changes of either session do not change the other. Raises
        MessageNotFoundError, and SessionExistsError when `id` is taken.
        """
        return self._storage.run(self._manager.fork_session(session_id, at=at, id=id, **fields))

    def list_forks(self, session_id: str, *, limit: int | None = None, cursor: str | None = None) -> Page[Fork]:
        """The sessions that were forked from this one, oldest first.

        `limit=None` reads to the end. `cursor` continues after a page. Forks of forks are not in it.
        """
        return self._storage.run(self._manager.list_forks(session_id, limit=limit, cursor=cursor))

    def update_metadata(self, session_id: str, **changes: Any) -> Session:
        """Change keys of a session's metadata and return the session. None removes a key. The other keys stay.

        A mapping, such as `custom`, is merged key by key in the same way. Every other value is replaced. Concurrent
        changes of other keys are not lost.
        """
        return self._storage.run(self._manager.update_metadata(session_id, **changes))

    def update_message_metadata(self, session_id: str, message_id: str, **changes: Any) -> Message:
        """Change keys of a message's metadata and return the message. None removes a key. The other keys stay.

        A mapping, such as `annotations`, is merged key by key in the same way. Concurrent changes of other keys are not
        lost. Calls and results of tools are changed with `update_message`. Raises MessageNotFoundError.
        """
        return self._storage.run(self._manager.update_message_metadata(session_id, message_id, **changes))

    def erase_user(self, user_id: str, *, progress: Callable[[Erased], object] | None = None) -> ErasureReceipt:
        """Delete every session of a user, and return a receipt that was verified by reading back.

        Expired sessions of all users are removed first, because an expired one is not listed by its user. `progress`
        is called after each session. An erasure that was interrupted, or that left something, is run again: it goes on
        with what is there.
        """
        return self._storage.run(self._manager.erase_user(user_id, progress=progress))
