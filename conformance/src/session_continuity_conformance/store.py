"""The store as an example sees it: an adapter in a namespace of its own, makers of sessions and messages, and time."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from session_continuity import (
    Appended,
    Capabilities,
    Content,
    Message,
    MessageQuery,
    Mode,
    Page,
    Role,
    Session,
    SessionFilter,
    StorageAdapter,
    move_to,
    utc_now,
)
from session_continuity_conformance.checks import ViolationError, holds, same
from session_continuity_conformance.drivers import Driver
from session_continuity_conformance.recording import Call, Log, Recorder
from session_continuity_conformance.target import Target, native_mode

T = TypeVar("T")

MILLISECOND = timedelta(milliseconds=1)
SHORT_LIFE = timedelta(seconds=2)
LONG_LIFE = timedelta(hours=1)
LAG = 20.0
"""Seconds that a listing may lag, and an expiry judged by a server."""

FAR = datetime(2100, 1, 1, tzinfo=UTC)


class NotApplicableError(Exception):
    """The clause says nothing about this store."""


class UnderDeclaredError(Exception):
    """The store does what it does not declare."""


@dataclass
class Store:
    """What an example works with. Everything is made in a namespace of its own and removed at the end."""

    target: Target
    driver: Driver
    log: Log = field(default_factory=Log)
    namespace: str = field(default_factory=lambda: f"sc-{secrets.token_hex(5)}")
    adapters: list[StorageAdapter] = field(default_factory=list[StorageAdapter])
    _opened: list[tuple[str, Recorder]] = field(default_factory=list[tuple[str, Recorder]])
    _counts: dict[str, int] = field(default_factory=dict[str, int])
    _frozen: datetime | None = None
    _ticked: datetime = field(default_factory=utc_now)

    async def start(self) -> None:
        """Open the first adapter."""
        await self.open()

    @property
    def adapter(self) -> StorageAdapter:
        """The first adapter, in this example's namespace."""
        return self._opened[0][1]

    @property
    def mode(self) -> Mode:
        """The mode in which adapters are opened: the driver's, where the store has it."""
        return native_mode(self.target, self.driver.mode)

    @property
    def raw(self) -> StorageAdapter:
        """The first adapter itself, without what the suite wraps around it."""
        return self.adapters[0]

    @property
    def capabilities(self) -> Capabilities:
        """What the store declares."""
        return self.raw.capabilities

    async def open(self, part: str = "", *, setup: bool = True) -> Recorder:
        """One more adapter of the store; `part` names another namespace."""
        raw = self.target.open(self.mode, self.namespace + part)
        if not raw.capabilities.server_clock:
            raw.clock = self.now
        self.adapters.append(raw)
        adapter = Recorder(self.driver.reach(raw), self.log, self.driver.give_way)
        self._opened.append((part, adapter))
        if setup:
            await adapter.setup()
        return adapter

    async def second_or_first(self) -> StorageAdapter:
        """Another adapter that sees the same sessions; the first where the store has no two of them."""
        try:
            return await self.second()
        except NotApplicableError:
            return self.adapter

    async def second(self) -> StorageAdapter:
        """Another adapter that sees the same sessions."""
        other = await self.open()
        probe = await self.session()
        seen = await other.get_session(probe.id)
        if seen is None and (self.capabilities.shared or self.capabilities.durable):
            raise ViolationError("a session seen by a second adapter", expected=probe.id, observed="None")
        if seen is None:
            raise NotApplicableError("every open of this URL is a store of its own, neither durable nor shared")
        await self.adapter.delete_session(probe.id)
        return other

    def new_id(self, kind: str = "s") -> str:
        """An id that this example has not used."""
        self._counts[kind] = self._counts.get(kind, 0) + 1
        return f"{kind}{self._counts[kind]}"

    def now(self) -> datetime:
        """The time as the adapters see it, where they see the suite's."""
        return self._frozen or utc_now()

    def tick(self) -> datetime:
        """A moment about now, later than every one before."""
        self._ticked = max(self._ticked + MILLISECOND, self.now())
        return self._ticked

    def new_session(self, **fields: Any) -> Session:
        """A session as a manager would make it, not yet created."""
        moment = fields.pop("created_at", None) or self.tick()
        defaults: dict[str, Any] = {"id": self.new_id(), "created_at": moment, "last_activity_at": moment}
        return Session(**{**defaults, **fields})

    async def session(self, **fields: Any) -> Session:
        """A new session, created."""
        return await self.adapter.create_session(self.new_session(**fields))

    def message(
        self,
        session_id: str,
        content: Content = "text",
        *,
        role: Role = "user",
        tokens: int | None = 1,
        at: datetime | None = None,
        id: str | None = None,
        **fields: Any,
    ) -> Message:
        """A message as a manager would make it; its id is minted unless given."""
        moment = at or self.tick()
        made = Message(
            id=id or "unminted",
            session_id=session_id,
            role=role,
            content=content,
            token_count=tokens,
            created_at=moment,
            **fields,
        )
        return made if id is not None else move_to(moment, [made], chosen_ids=())[0]

    async def append(self, session_id: str, *contents: Content, **fields: Any) -> tuple[Message, ...]:
        """Append each content as a turn of its own and return the messages as stored."""
        stored: list[Message] = []
        for content in contents:
            appended = await self.adapter.append_messages(session_id, [self.message(session_id, content, **fields)])
            stored.extend(appended.messages)
        return tuple(stored)

    async def append_chosen(self, message: Message, *more: Message) -> Appended:
        """Append one turn whose ids the caller chose."""
        turn = [message, *more]
        return await self.adapter.append_messages(message.session_id, turn, chosen_ids=[each.id for each in turn])

    async def current(self, session_id: str) -> Session:
        """The session as it is now; it must exist."""
        found = await self.adapter.get_session(session_id)
        if found is None:
            raise ViolationError("get_session", expected=f"session {session_id}", observed="None")
        return found

    async def history(self, session_id: str, **query: Any) -> list[Message]:
        """Every message that a query selects, by following the cursors."""
        return await self.follow(
            lambda cursor: self.adapter.get_messages(session_id, MessageQuery(**query), cursor=cursor)
        )

    async def texts(self, session_id: str, **query: Any) -> list[Content]:
        """The contents of `history`."""
        return [message.content for message in await self.history(session_id, **query)]

    async def listing(self, limit: int = 100, *, adapter: StorageAdapter | None = None, **conditions: Any) -> list[str]:
        """The ids of every session that a filter selects, by following the cursors."""
        asked, wanted = adapter or self.adapter, SessionFilter(**conditions)
        found = await self.follow(lambda cursor: asked.list_sessions(wanted, limit=limit, cursor=cursor))
        return [session.id for session in found]

    async def lists(self, what: str, expected: Sequence[str], **asked: Any) -> None:
        """The listing has these ids in this order: at once, or where the store declares a lag, soon."""
        await self.settles(lambda: self.listing(**asked), list(expected))
        same(what, await self.listing(**asked), list(expected))

    async def settles(self, look: Callable[[], Coroutine[Any, Any, T]], expected: T) -> None:
        """Where listings may lag, wait until they have caught up; elsewhere do nothing."""
        if not self.capabilities.strong_listing:
            deadline = time.monotonic() + LAG
            while await look() != expected and time.monotonic() < deadline:
                await self.driver.sleep(0.1)

    async def expired(self, before: datetime = FAR, *, limit: int = 100) -> list[str]:
        """Every id that `get_expired_sessions` finds, by following the cursors."""
        return await self.follow(lambda cursor: self.adapter.get_expired_sessions(before, limit=limit, cursor=cursor))

    async def follow(self, read: Callable[[str | None], Coroutine[Any, Any, Page[T]]]) -> list[T]:
        """Every item of an answer that comes in pages."""
        found: list[T] = []
        seen: set[str] = set()
        cursor: str | None = None
        while True:
            page = await read(cursor)
            found.extend(page)
            cursor = page.next_cursor
            if cursor is None:
                return found
            holds("a page's next_cursor", cursor not in seen, expected="a new cursor", observed="one given before")
            seen.add(cursor)

    def lifetime(self) -> timedelta:
        """How long a session lives that shall expire in this example: long where the clock can be moved."""
        return SHORT_LIFE if self.capabilities.server_clock else LONG_LIFE

    async def mortal(self, **fields: Any) -> Session:
        """A new session that `outlive` lets expire."""
        return await self.session(**{"expires_at": self.now() + self.lifetime(), **fields})

    async def outlive(self, session: Session) -> None:
        """Bring the time to the very moment of expiry, or where a server judges it, wait for that."""
        if session.expires_at is None:
            raise ValueError("a session that never expires cannot be outlived")
        if not self.capabilities.server_clock:
            self.stop_clock(session.expires_at)
            return
        deadline = time.monotonic() + self.lifetime().total_seconds() + LAG
        while await self.adapter.get_session(session.id) is not None:
            if time.monotonic() > deadline:
                raise ViolationError("get_session after expires_at", expected="None", observed="the session")
            await self.driver.sleep(0.05)

    def stop_clock(self, moment: datetime) -> None:
        """Let every adapter see this moment from now on. Not for stores whose server judges expiry."""
        self._frozen = moment
        self.log.add(Call("clock", (moment,), {}, "moved"))

    async def finish(self) -> None:
        """Remove every session that the example made, see that nothing is left, and close."""
        made = {call.args[0].id for call in self.log.calls if call.method == "create_session"}
        try:
            for part in {part for part, _ in self._opened if made}:
                await self._sweep(part, await self._open_one(part), made)
        finally:
            async with AsyncExitStack() as stack:
                for _, adapter in self._opened:
                    stack.push_async_callback(adapter.close)

    async def _open_one(self, part: str) -> Recorder:
        for name, adapter in self._opened:
            if name == part and not adapter.closed:
                return adapter
        return await self.open(part)

    @staticmethod
    async def _sweep(part: str, adapter: StorageAdapter, made: set[str]) -> None:
        for session_id in sorted(made):
            await adapter.delete_session(session_id)
            same("get_session after the example's own clean-up", await adapter.get_session(session_id), None)
        left = await adapter.get_expired_sessions(FAR, limit=100)
        same(f"expired sessions left in namespace {part or 'of the example'}", list(left), [])
