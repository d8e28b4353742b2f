"""Every kind of write, with its session as a reader sees it before and after, for examples that interrupt writes."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from session_continuity import (
    ConcurrencyError,
    Message,
    MessageQuery,
    Patch,
    Session,
    SessionNotFoundError,
    StorageAdapter,
)
from session_continuity_conformance.checks import ViolationError, holds, same
from session_continuity_conformance.store_fixture import StoreFixture

SETTLING = 10.0
"""The seconds that a write may continue after its caller stopped waiting."""


@dataclass(frozen=True, slots=True)
class SessionView:
    """A session as a reader sees it: version, user, and the text and tokens of each message."""

    version: int
    user_id: str | None
    messages: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Write:
    """A write that can be made on any adapter of the namespace, with the same ids each time.

    A write that is not `repeatable` has no id by which a store could recognise it.
    """

    name: str
    session_id: str
    send: Callable[[StorageAdapter], Coroutine[Any, Any, object]]
    before: SessionView | None
    after: SessionView | None
    repeatable: bool = True

    async def repeat(self, adapter: StorageAdapter) -> None:
        """Repeat the write after an attempt with an unknown outcome.

        If the first attempt updated the session, the version has changed, and the repeated update is refused.
        """
        try:
            await self.send(adapter)
        except ConcurrencyError as refused:
            holds(
                f"{self.name} repeated",
                self.after is not None and refused.actual == self.after.version,
                expected="success, or a conflict with its own first attempt",
                observed=refused,
            )

    async def check_whole_or_absent(self, store: StoreFixture, adapter: StorageAdapter, what: str) -> None:
        """Check that totals and messages agree, and that the write is there completely or not at all."""
        seen = await read_view(store, adapter, self.session_id)
        holds(
            f"the session after {what}",
            seen in (self.before, self.after),
            expected=f"{self.before} or {self.after}",
            observed=seen,
        )

    async def check_done(self, store: StoreFixture, adapter: StorageAdapter, what: str) -> None:
        """Check that the write is there, once."""
        same(f"the session after {what}", await read_view(store, adapter, self.session_id), self.after)


Maker = Callable[[StoreFixture], Awaitable[Write]]


async def read_view(store: StoreFixture, adapter: StorageAdapter, session_id: str) -> SessionView | None:
    """The session as this adapter shows it, read again while it changes. Its totals must be those of its messages."""
    deadline = time.monotonic() + SETTLING
    while True:
        session = await adapter.get_session(session_id)
        messages = await _messages(adapter, session_id)
        if await adapter.get_session(session_id) == session and (session is None) == (messages is None):
            break
        if time.monotonic() > deadline:
            raise ViolationError(
                f"session {session_id}, read repeatedly for {SETTLING:.0f} s",
                expected="get_session and get_messages agree on whether and how it exists",
                observed=f"{session!r} beside {messages!r}",
            )
        await store.driver.sleep(0.01)
    return None if session is None or messages is None else _view(session, messages)


async def _messages(adapter: StorageAdapter, session_id: str) -> list[Message] | None:
    try:
        return list(await adapter.get_messages(session_id, MessageQuery()))
    except SessionNotFoundError:
        return None


def _view(session: Session, messages: list[Message]) -> SessionView:
    tokens = sum(message.token_count or 0 for message in messages)
    same(
        "message_count and token_count beside the messages",
        (session.message_count, session.token_count),
        (len(messages), tokens),
    )
    texts = tuple((str(message.content), message.token_count or 0) for message in messages)
    return SessionView(session.version, session.user_id, texts)


def _batch_of(store: StoreFixture, session_id: str) -> list[Message]:
    size = min(3, store.capabilities.max_batch or 3)
    return [
        store.message(session_id, f"text {number}", tokens=number, id=store.new_id("m"))
        for number in range(1, size + 1)
    ]


def _texts(batch: list[Message]) -> tuple[tuple[str, int], ...]:
    return tuple((str(message.content), message.token_count or 0) for message in batch)


async def _create_conversation(store: StoreFixture) -> tuple[Session, list[Message]]:
    """A session with a few messages."""
    session = await store.create_session(user_id="user")
    batch = _batch_of(store, session.id)
    await store.append_with_ids(*batch)
    return session, batch


async def _create(store: StoreFixture) -> Write:
    session = store.new_session(user_id="user")
    return Write("create_session", session.id, lambda on: on.create_session(session), None, SessionView(1, "user"))


async def _append(store: StoreFixture) -> Write:
    session = await store.create_session(user_id="user")
    batch = _batch_of(store, session.id)
    ids = [message.id for message in batch]
    return Write(
        "append_messages",
        session.id,
        lambda on: on.append_messages(session.id, batch, client_ids=ids),
        SessionView(1, "user"),
        SessionView(1, "user", _texts(batch)),
    )


async def _compare_and_update(store: StoreFixture) -> Write:
    session = await store.create_session(user_id="user")
    patch = Patch({"user_id": "other", "status": "paused"})
    return Write(
        "update_session with expected_version",
        session.id,
        lambda on: on.update_session(session.id, patch, expected_version=1),
        SessionView(1, "user"),
        SessionView(2, "other"),
    )


async def _update(store: StoreFixture) -> Write:
    session = await store.create_session(user_id="user")
    patch = Patch({"user_id": "other"})
    return Write(
        "update_session",
        session.id,
        lambda on: on.update_session(session.id, patch),
        SessionView(1, "user"),
        SessionView(2, "other"),
        repeatable=False,
    )


async def _edit(store: StoreFixture) -> Write:
    session, batch = await _create_conversation(store)
    patch = Patch({"content": "edited", "token_count": 10, "updated_at": store.tick()})
    return Write(
        "update_message",
        session.id,
        lambda on: on.update_message(session.id, batch[0].id, patch),
        SessionView(1, "user", _texts(batch)),
        SessionView(1, "user", (("edited", 10), *_texts(batch[1:]))),
    )


async def _remove(store: StoreFixture) -> Write:
    session, batch = await _create_conversation(store)
    return Write(
        "delete_message",
        session.id,
        lambda on: on.delete_message(session.id, batch[0].id),
        SessionView(1, "user", _texts(batch)),
        SessionView(1, "user", _texts(batch[1:])),
    )


async def _clear(store: StoreFixture) -> Write:
    session, batch = await _create_conversation(store)
    return Write(
        "delete_all_messages",
        session.id,
        lambda on: on.delete_all_messages(session.id),
        SessionView(1, "user", _texts(batch)),
        SessionView(1, "user"),
    )


async def _delete(store: StoreFixture) -> Write:
    session, batch = await _create_conversation(store)
    return Write(
        "delete_session",
        session.id,
        lambda on: on.delete_session(session.id),
        SessionView(1, "user", _texts(batch)),
        None,
    )


WRITES: Mapping[str, Maker] = {
    "create_session": _create,
    "append_messages": _append,
    "update_session with expected_version": _compare_and_update,
    "update_session": _update,
    "update_message": _edit,
    "delete_message": _remove,
    "delete_all_messages": _clear,
    "delete_session": _delete,
}
"""Each creates a session for its write."""
