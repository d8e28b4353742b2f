"""`OwnedAdapter`, the sessions of one user."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, ParamSpec, TypeVar, Unpack, cast

from session_continuity.backends.forwarding import ForwardingAdapter
from session_continuity.backends.options import MAX_NAMESPACE
from session_continuity.contract.adapter import StorageAdapter
from session_continuity.contract.paging import Page
from session_continuity.contract.patch import Patch
from session_continuity.contract.queries import MessageQuery, SessionFilter
from session_continuity.contract.results import Appended, ConversationPage, Fork
from session_continuity.contract.terms import AppendTerms
from session_continuity.errors import NotSupportedError, SessionNotFoundError, ValidationError
from session_continuity.models import Message, Session

__all__ = ["OwnedAdapter", "in_namespace", "owned"]

P = ParamSpec("P")
R = TypeVar("R")

_READ_FIRST: Final = frozenset(
    {
        "update_session",
        "append_messages",
        "get_message",
        "get_messages",
        "update_message",
        "delete_message",
        "delete_all_messages",
        "replace_tail",
        "fork_session",
        "list_forks",
    }
)
"""The operations before which the session is read, where the store does not check its owner."""


class OwnedAdapter(ForwardingAdapter):
    """An adapter in which the sessions of other users do not exist. Sessions that it creates are the owner's.

    Where the store declares `owner_guard`, it checks the owner in the request itself. Elsewhere the session is read
    before each call: a session that changes hands between the two is still reached.
    """

    def __init__(self, inner: StorageAdapter, owner: str) -> None:
        self.is_guarded = inner.capabilities.owner_guard
        super().__init__(inner.view(owner=owner) if self.is_guarded else inner)
        self.owner = owner

    async def forward(self, method: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
        if not self.is_guarded and method.__name__ in _READ_FIRST:
            session_id = cast("str", args[0])
            if await self.get_session(session_id) is None:
                raise SessionNotFoundError(session_id)
        return await super().forward(method, *args, **kwargs)

    async def create_session(self, session: Session) -> Session:
        return await super().create_session(self._own(session))

    async def get_session(self, session_id: str) -> Session | None:
        session = await super().get_session(session_id)
        return None if session is None or session.user_id != self.owner else session

    async def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        self._check(patch)
        return await super().update_session(session_id, patch, expected_version=expected_version)

    async def delete_session(
        self, session_id: str, *, expired_before: datetime | None = None, expected_version: int | None = None
    ) -> bool:
        if not self.is_guarded and await self.get_session(session_id) is None:
            return False
        return await super().delete_session(
            session_id, expired_before=expired_before, expected_version=expected_version
        )

    async def list_sessions(self, filter: SessionFilter, *, limit: int, cursor: str | None = None) -> Page[Session]:
        if filter.user_id not in (None, self.owner):
            return Page(())
        return await super().list_sessions(replace(filter, user_id=self.owner), limit=limit, cursor=cursor)

    async def append_messages(
        self,
        session_id: str,
        messages: Sequence[Message],
        *,
        client_ids: Collection[str] = (),
        **terms: Unpack[AppendTerms],
    ) -> Appended:
        if (patch := terms.get("patch")) is not None:
            self._check(patch)
        create = terms.get("create")
        if create is None:
            return await super().append_messages(session_id, messages, client_ids=client_ids, **terms)
        terms["create"] = self._own(create)
        if self.is_guarded:
            return await super().append_messages(session_id, messages, client_ids=client_ids, **terms)
        return await self._append_in_two(session_id, messages, client_ids, terms)

    async def get_conversation(self, session_id: str, query: MessageQuery) -> ConversationPage:
        page = await super().get_conversation(session_id, query)
        if page.session.user_id != self.owner:
            raise SessionNotFoundError(session_id)
        return page

    async def fork_session(self, source_id: str, session: Session, *, through_id: str | None = None) -> Session:
        return await super().fork_session(source_id, self._own(session), through_id=through_id)

    async def list_forks(self, source_id: str, *, limit: int, cursor: str | None = None) -> Page[Fork]:
        page = await super().list_forks(source_id, limit=limit, cursor=cursor)
        if self.is_guarded:
            return page
        own = [fork for fork in page if await self.get_session(fork.session_id) is not None]
        return Page(tuple(own), page.next_cursor)

    async def search_messages(
        self,
        text: str,
        *,
        user_id: str | None = None,
        session_id: str | None = None,
        limit: int,
        cursor: str | None = None,
    ) -> Page[Message]:
        if session_id is not None and not self.is_guarded and await self.get_session(session_id) is None:
            raise SessionNotFoundError(session_id)
        if user_id not in (None, self.owner):
            return Page(())
        return await super().search_messages(
            text, user_id=self.owner, session_id=session_id, limit=limit, cursor=cursor
        )

    async def get_expired_sessions(self, before: datetime, *, limit: int, cursor: str | None = None) -> Page[str]:
        if not self.is_guarded:
            return Page(())  # whose they are cannot be read any more
        return await super().get_expired_sessions(before, limit=limit, cursor=cursor)

    async def _append_in_two(
        self, session_id: str, messages: Sequence[Message], client_ids: Collection[str], terms: AppendTerms
    ) -> Appended:
        """Create the session first, so that no message comes into a session that somebody else creates meanwhile."""
        create = terms.pop("create", None)
        is_new = create is not None and await self.get_session(session_id) is None
        if create is not None and is_new:
            await self.create_session(create)
        appended = await self.append_messages(session_id, messages, client_ids=client_ids, **terms)
        return replace(appended, created=is_new)

    def _own(self, session: Session) -> Session:
        """The session as the owner's. Raises ValidationError if it is another user's."""
        if session.user_id not in (None, self.owner):
            raise ValidationError("user_id must be the user that the manager is for; leave it out")
        return session.model_copy(update={"user_id": self.owner})

    def _check(self, patch: Patch) -> None:
        """Raise ValidationError for a patch that gives the session to another user."""
        if "user_id" in patch.fields and patch.set.get("user_id") != self.owner:
            raise ValidationError("a session is not given to another user by a manager that is for one user")


def owned(adapter: StorageAdapter, owner: str) -> StorageAdapter:
    """The adapter for one user's sessions. Raises ValidationError for a view that is for another user already."""
    if isinstance(adapter, OwnedAdapter) and adapter.owner != owner:
        raise ValidationError("this manager is for another user; call for_user of the manager of all users")
    return adapter if isinstance(adapter, OwnedAdapter) else OwnedAdapter(adapter, owner)


def in_namespace(adapter: StorageAdapter, name: str) -> StorageAdapter:
    """The adapter in another namespace.

    Raises ValidationError for a name that cannot be one, and NotSupportedError where the store does not declare
    `namespace_views`.
    """
    if not isinstance(name, str) or len(name) > MAX_NAMESPACE:
        raise ValidationError(f"a namespace is a text of up to {MAX_NAMESPACE} characters")
    if not adapter.capabilities.namespace_views:
        raise NotSupportedError("another namespace", adapter.backend, "open it by its own URL, with ?namespace=…")
    return adapter.view(namespace=name)
