"""`StoreFixture`, what an example works with: adapters in a namespace for this example alone, builders, a clock."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Literal, TypeVar

from session_continuity import (
    Appended,
    Capabilities,
    Content,
    ForwardingAdapter,
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
from session_continuity_conformance.target import Target, native_mode, set_up

T = TypeVar("T")

MILLISECOND = timedelta(milliseconds=1)
SHORT_LIFE = timedelta(seconds=2)
LONG_LIFE = timedelta(hours=1)
LAG = 20.0
"""Seconds by which a listing, and an expiry that a server judges, may be late."""

FAR = datetime(2100, 1, 1, tzinfo=UTC)


class UndecidedError(Exception):
    """An example decides nothing about its clause. `outcome` is what reports say, the text is the reason."""

    outcome: ClassVar[Literal["not applicable", "under-declared"]]


class NotApplicableError(UndecidedError):
    """The clause does not apply to this store."""

    outcome = "not applicable"


class UnderDeclaredError(UndecidedError):
    """The clause holds, although the store does not declare its capability."""

    outcome = "under-declared"


@dataclass(frozen=True, slots=True)
class Reservation:
    """What an example could not check although it passed: in few words for the verdict, and in a sentence."""

    short: str
    sentence: str


def _as_declared(capabilities: Capabilities) -> Capabilities:
    return capabilities


@dataclass
class StoreFixture:
    """A store for one example. Everything is created in a namespace for this example alone, and removed at its end.

    `adapters` are the store's own, as its target opened them. An example calls the recorded ones, which `adapter` and
    `open` return. `declared` are the capabilities of the first adapter as it was opened. Examples add `reservations`.
    """

    target: Target
    driver: Driver
    log: Log = field(default_factory=Log)
    namespace: str = field(default_factory=lambda: f"sc-{secrets.token_hex(5)}")
    adapters: list[StorageAdapter] = field(default_factory=list[StorageAdapter])
    declared: Capabilities = field(default_factory=Capabilities)
    reservations: list[Reservation] = field(default_factory=list[Reservation])
    _opened: list[tuple[str, Recorder]] = field(default_factory=list[tuple[str, Recorder]])
    _counts: dict[str, int] = field(default_factory=dict[str, int])
    _declare: Callable[[Capabilities], Capabilities] = _as_declared
    _now: datetime | None = None
    _last_tick: datetime = field(default_factory=utc_now)

    async def start(self) -> None:
        """Open the first adapter."""
        await self.open()

    @property
    def opened(self) -> bool:
        """Whether an adapter was opened and set up."""
        return bool(self._opened)

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
        """The first adapter as its target opened it, without the wrappers of the suite."""
        return self.adapters[0]

    @property
    def raw_bridged(self) -> StorageAdapter:
        """The first adapter without the recorder of the suite, in a form that the driver can call."""
        return self.driver.bridge(self.adapters[0])

    @property
    def capabilities(self) -> Capabilities:
        """The capabilities that the store declares, and those that `declare` added."""
        return self.raw.capabilities

    async def open(self, part: str = "", *, setup: bool = True) -> Recorder:
        """Open another adapter of the store. `part` is added to the namespace."""
        raw = self.target.open(self.mode, self.namespace + part)
        if not raw.capabilities.server_clock:
            raw.clock = self.now
        if not self.adapters:
            self.declared = raw.capabilities
        self._widen(raw)
        self.adapters.append(raw)
        adapter = Recorder(self.driver.bridge(raw), self.log, self.driver.yield_control)
        if setup:
            await set_up(adapter)
        self._opened.append((part, adapter))
        return adapter

    def declare(self, more: Callable[[Capabilities], Capabilities]) -> None:
        """Let core's layer pass on what the store does not declare, also in adapters that are opened later."""
        self._declare = more
        for adapter in self.adapters:
            self._widen(adapter)

    def _widen(self, adapter: StorageAdapter) -> None:
        while isinstance(adapter, ForwardingAdapter):
            adapter.capabilities = self._declare(adapter.capabilities)
            adapter = adapter.inner

    async def open_second_or_first(self) -> StorageAdapter:
        """Another adapter with the same sessions; the first one where the store cannot have two."""
        try:
            return await self.open_second()
        except NotApplicableError:
            return self.adapter

    async def open_second(self) -> StorageAdapter:
        """Another adapter with the same sessions. Raises NotApplicableError where the store cannot have two."""
        other = await self.open()
        session = await self.create_session()
        found = await other.get_session(session.id)
        if found is None and (self.capabilities.shared or self.capabilities.durable):
            raise ViolationError("a session read by a second adapter", expected=session.id, observed="None")
        if found is None:
            raise NotApplicableError("each adapter of this URL has a store to itself, neither durable nor shared")
        await self.adapter.delete_session(session.id)
        return other

    def new_id(self, kind: str = "s") -> str:
        """An id that this example has not used."""
        self._counts[kind] = self._counts.get(kind, 0) + 1
        return f"{kind}{self._counts[kind]}"

    def now(self) -> datetime:
        """The time of the clock that adapters read, unless a server judges expiry."""
        return self._now or utc_now()

    def tick(self) -> datetime:
        """A time about now, later than any that this returned before."""
        self._last_tick = max(self._last_tick + MILLISECOND, self.now())
        return self._last_tick

    def new_session(self, **fields: Any) -> Session:
        """A session as a manager builds it, not yet created."""
        moment = fields.pop("created_at", None) or self.tick()
        defaults: dict[str, Any] = {
            "id": self.new_id(),
            "created_at": moment,
            "last_activity_at": moment,
            "creation_token": self.new_id("call"),
        }
        return Session(**{**defaults, **fields})

    async def create_session(self, **fields: Any) -> Session:
        """Create a session, and return it as the store does."""
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
        """A message as a manager builds it. Its id is minted unless one is passed."""
        moment = at or self.tick()
        message = Message(
            id=id or "unminted",
            session_id=session_id,
            role=role,
            content=content,
            token_count=tokens,
            created_at=moment,
            **fields,
        )
        return message if id is not None else move_to(moment, [message], client_ids=())[0]

    async def append(self, session_id: str, *contents: Content, **fields: Any) -> tuple[Message, ...]:
        """Append a message for each content, in a batch for each, and return the messages as stored."""
        stored: list[Message] = []
        for content in contents:
            appended = await self.adapter.append_messages(session_id, [self.message(session_id, content, **fields)])
            stored.extend(appended.messages)
        return tuple(stored)

    async def append_with_ids(self, message: Message, *more: Message) -> Appended:
        """Append one batch of messages whose ids the caller chose."""
        batch = [message, *more]
        return await self.adapter.append_messages(message.session_id, batch, client_ids=[each.id for each in batch])

    async def current(self, session_id: str) -> Session:
        """The session as it is now. It must exist."""
        found = await self.adapter.get_session(session_id)
        if found is None:
            raise ViolationError("get_session", expected=f"session {session_id}", observed="None")
        return found

    async def history(self, session_id: str, **query: Any) -> list[Message]:
        """Every message that a query selects, from all pages."""
        return await self.read_pages(
            lambda cursor: self.adapter.get_messages(session_id, MessageQuery(**query), cursor=cursor)
        )

    async def texts(self, session_id: str, **query: Any) -> list[Content]:
        """The contents of `history`."""
        return [message.content for message in await self.history(session_id, **query)]

    async def listing(self, limit: int = 100, *, adapter: StorageAdapter | None = None, **conditions: Any) -> list[str]:
        """The ids of every session that a filter selects, from all pages."""
        on, wanted = adapter or self.adapter, SessionFilter(**conditions)
        found = await self.read_pages(lambda cursor: on.list_sessions(wanted, limit=limit, cursor=cursor))
        return [session.id for session in found]

    async def check_listing(self, what: str, expected: Sequence[str], **filter: Any) -> None:
        """Check that the listing has these ids in this order: at once, or soon where the store declares a lag."""
        await self.settle(lambda: self.listing(**filter), list(expected))
        same(what, await self.listing(**filter), list(expected))

    async def settle(self, read: Callable[[], Coroutine[Any, Any, T]], expected: T) -> None:
        """Where listings may lag, wait until this read returns what is expected, but not for ever."""
        if not self.capabilities.strong_listing:
            deadline = time.monotonic() + LAG
            while await read() != expected and time.monotonic() < deadline:
                await self.driver.sleep(0.1)

    async def expired_ids(self, before: datetime = FAR, *, limit: int = 100) -> list[str]:
        """Every id that `get_expired_sessions` finds, from all pages."""
        return await self.read_pages(
            lambda cursor: self.adapter.get_expired_sessions(before, limit=limit, cursor=cursor)
        )

    async def read_pages(self, read: Callable[[str | None], Coroutine[Any, Any, Page[T]]]) -> list[T]:
        """Every item of an answer that comes in pages. A cursor that comes twice is a violation."""
        found: list[T] = []
        cursors: set[str] = set()
        cursor: str | None = None
        while True:
            page = await read(cursor)
            found.extend(page)
            cursor = page.next_cursor
            if cursor is None:
                return found
            holds("a page's next_cursor", cursor not in cursors, expected="a new cursor", observed="an earlier one")
            cursors.add(cursor)

    def lifetime(self) -> timedelta:
        """The life of a session that expires in this example: short where the example must wait for the server."""
        return SHORT_LIFE if self.capabilities.server_clock else LONG_LIFE

    async def expiring_session(self, **fields: Any) -> Session:
        """Create a session for `expire`."""
        return await self.create_session(**{"expires_at": self.now() + self.lifetime(), **fields})

    async def expire(self, session: Session) -> None:
        """Set the clock to the moment at which a session expires. Where a server judges expiry, wait for it."""
        if session.expires_at is None:
            raise ValueError("this session never expires")
        if not self.capabilities.server_clock:
            self.set_clock(session.expires_at)
            return
        deadline = time.monotonic() + self.lifetime().total_seconds() + LAG
        while await self.adapter.get_session(session.id) is not None:
            if time.monotonic() > deadline:
                raise ViolationError("get_session after expires_at", expected="None", observed="the session")
            await self.driver.sleep(0.05)

    def set_clock(self, moment: datetime) -> None:
        """Stop the clock of every adapter at this moment. Not for stores whose server judges expiry."""
        self._now = moment
        self.log.begin(Call("clock", (moment,), {}, "moved"))

    async def finish(self) -> None:
        """Remove every session of the example, check that nothing is left, and close the adapters."""
        created = set(self.log.session_ids)
        try:
            for part in {part for part, _ in self._opened if created}:
                await self._remove(part, await self._open_adapter(part), created)
        finally:
            async with AsyncExitStack() as stack:
                for _, adapter in self._opened:
                    stack.push_async_callback(adapter.close)

    async def _open_adapter(self, part: str) -> Recorder:
        """An adapter of this part of the namespace that is not closed."""
        for name, adapter in self._opened:
            if name == part and not adapter.closed:
                return adapter
        return await self.open(part)

    @staticmethod
    async def _remove(part: str, adapter: StorageAdapter, created: set[str]) -> None:
        for session_id in sorted(created):
            await adapter.delete_session(session_id)
            same("get_session after the example's own clean-up", await adapter.get_session(session_id), None)
        left = await adapter.get_expired_sessions(FAR, limit=100)
        same(f"expired sessions left in namespace {part or 'of the example'}", list(left), [])
