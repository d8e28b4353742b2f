"""Every kind of write, with what a reader sees of its session before and after it: for whoever interrupts writes."""

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
from session_continuity_conformance.store import Store

SETTLING = 10.0
"""Seconds that a write may go on after its caller gave up."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A session as a reader sees it: version, user, and text and tokens of each message."""

    version: int
    user_id: str | None
    messages: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Write:
    """One write, ready to be made on any adapter of the namespace, with the same ids each time. One that is not
    `repeatable` has nothing by which a store could know it again."""

    name: str
    session_id: str
    send: Callable[[StorageAdapter], Coroutine[Any, Any, object]]
    before: Seen | None
    after: Seen | None
    repeatable: bool = True

    async def repeat(self, adapter: StorageAdapter) -> None:
        """Make it again after an attempt whose outcome nobody knows. An update that was made before is now refused,
        because the version that it expects is no longer there."""
        try:
            await self.send(adapter)
        except ConcurrencyError as refused:
            holds(
                f"{self.name} repeated",
                self.after is not None and refused.actual == self.after.version,
                expected="success, or a conflict with its own first attempt",
                observed=refused,
            )

    async def is_whole_or_absent(self, store: Store, adapter: StorageAdapter, what: str) -> None:
        """Totals and messages agree, and show the write or do not."""
        seen = await look(store, adapter, self.session_id)
        holds(
            f"the session after {what}",
            seen in (self.before, self.after),
            expected=f"{self.before} or {self.after}",
            observed=seen,
        )

    async def is_done(self, store: Store, adapter: StorageAdapter, what: str) -> None:
        """The write is there, once."""
        same(f"the session after {what}", await look(store, adapter, self.session_id), self.after)


Maker = Callable[[Store], Awaitable[Write]]


async def look(store: Store, adapter: StorageAdapter, session_id: str) -> Seen | None:
    """The session as this adapter shows it, read again while it changes; its totals must be those of its messages."""
    deadline = time.monotonic() + SETTLING
    while True:
        session = await adapter.get_session(session_id)
        messages = await _messages(adapter, session_id)
        if await adapter.get_session(session_id) == session and (session is None) == (messages is None):
            break
        if time.monotonic() > deadline:
            raise ViolationError(
                f"session {session_id}, read again and again for {SETTLING:.0f} s",
                expected="get_session and get_messages agree on whether and how it exists",
                observed=f"{session!r} beside {messages!r}",
            )
        await store.driver.sleep(0.01)
    return None if session is None or messages is None else _seen(session, messages)


async def _messages(adapter: StorageAdapter, session_id: str) -> list[Message] | None:
    try:
        return list(await adapter.get_messages(session_id, MessageQuery()))
    except SessionNotFoundError:
        return None


def _seen(session: Session, messages: list[Message]) -> Seen:
    tokens = sum(message.token_count or 0 for message in messages)
    same(
        "message_count and token_count beside the messages",
        (session.message_count, session.token_count),
        (len(messages), tokens),
    )
    told = tuple((str(message.content), message.token_count or 0) for message in messages)
    return Seen(session.version, session.user_id, told)


def _turn_of(store: Store, session_id: str) -> list[Message]:
    size = min(3, store.capabilities.max_turn or 3)
    return [
        store.message(session_id, f"text {number}", tokens=number, id=store.new_id("m"))
        for number in range(1, size + 1)
    ]


def _told(turn: list[Message]) -> tuple[tuple[str, int], ...]:
    return tuple((str(message.content), message.token_count or 0) for message in turn)


async def _talk(store: Store) -> tuple[Session, list[Message]]:
    """A session with a few messages."""
    session = await store.session(user_id="user")
    turn = _turn_of(store, session.id)
    await store.append_chosen(*turn)
    return session, turn


async def _create(store: Store) -> Write:
    session = store.new_session(user_id="user")
    return Write("create_session", session.id, lambda on: on.create_session(session), None, Seen(1, "user"))


async def _append(store: Store) -> Write:
    session = await store.session(user_id="user")
    turn = _turn_of(store, session.id)
    ids = [message.id for message in turn]
    return Write(
        "append_messages",
        session.id,
        lambda on: on.append_messages(session.id, turn, chosen_ids=ids),
        Seen(1, "user"),
        Seen(1, "user", _told(turn)),
    )


async def _compare_and_update(store: Store) -> Write:
    session = await store.session(user_id="user")
    patch = Patch({"user_id": "other", "status": "paused"})
    return Write(
        "update_session with expected_version",
        session.id,
        lambda on: on.update_session(session.id, patch, expected_version=1),
        Seen(1, "user"),
        Seen(2, "other"),
    )


async def _update(store: Store) -> Write:
    session = await store.session(user_id="user")
    patch = Patch({"user_id": "other"})
    return Write(
        "update_session",
        session.id,
        lambda on: on.update_session(session.id, patch),
        Seen(1, "user"),
        Seen(2, "other"),
        repeatable=False,
    )


async def _edit(store: Store) -> Write:
    session, turn = await _talk(store)
    patch = Patch({"content": "edited", "token_count": 10, "updated_at": store.tick()})
    return Write(
        "update_message",
        session.id,
        lambda on: on.update_message(session.id, turn[0].id, patch),
        Seen(1, "user", _told(turn)),
        Seen(1, "user", (("edited", 10), *_told(turn[1:]))),
    )


async def _remove(store: Store) -> Write:
    session, turn = await _talk(store)
    return Write(
        "delete_message",
        session.id,
        lambda on: on.delete_message(session.id, turn[0].id),
        Seen(1, "user", _told(turn)),
        Seen(1, "user", _told(turn[1:])),
    )


async def _clear(store: Store) -> Write:
    session, turn = await _talk(store)
    return Write(
        "delete_all_messages",
        session.id,
        lambda on: on.delete_all_messages(session.id),
        Seen(1, "user", _told(turn)),
        Seen(1, "user"),
    )


async def _delete(store: Store) -> Write:
    session, turn = await _talk(store)
    return Write(
        "delete_session",
        session.id,
        lambda on: on.delete_session(session.id),
        Seen(1, "user", _told(turn)),
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
"""Each makes a session of its own for its write."""
