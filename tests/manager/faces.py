"""One test body for every face of the manager: blocking, async, and each over the bridge to a store of the other mode.

A body is written in plain calls. `Face.manager` gives an object with the methods of `SessionManager`; where the face is
async, each call runs in one loop of the test's own.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Literal, TypeVar, cast

from session_continuity import (
    Appended,
    AsyncSessionManager,
    ConversationPage,
    HealthStatus,
    Message,
    MessageQuery,
    Mode,
    Page,
    Patch,
    Registry,
    Session,
    SessionFilter,
    SessionManager,
    Storage,
    StorageAdapter,
)
from session_continuity.bridge import InThreads

R = TypeVar("R")

FaceName = Literal["blocking", "async", "portal", "threads"]
FACES: tuple[FaceName, ...] = ("blocking", "async", "portal", "threads")
START = datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **by: float) -> datetime:
        self.now += timedelta(**by)
        return self.now


class Watched(StorageAdapter):
    """The store under test, with every call written down; `before` and `after` run beside the calls they name."""

    def __init__(self, inner: StorageAdapter) -> None:
        self.backend = inner.backend
        self.mode: Mode = inner.mode
        self.capabilities = inner.capabilities
        self.inner = inner
        self.calls: list[str] = []
        self.messages_read = 0
        self.before: dict[str, Callable[..., Awaitable[None]]] = {}
        self.after: dict[str, Callable[..., Awaitable[None]]] = {}

    @property
    def clock(self) -> Callable[[], datetime]:
        return self.inner.clock

    @clock.setter
    def clock(self, clock: Callable[[], datetime]) -> None:
        self.inner.clock = clock

    def during(self, work: Callable[[], object]) -> list[str]:
        """The calls that this work made."""
        start = len(self.calls)
        work()
        return self.calls[start:]

    async def _call(self, name: str, *args: Any, **options: Any) -> Any:
        self.calls.append(name)
        if name in self.before:
            await self.before[name](*args, **options)
        answer = await getattr(self.inner, name)(*args, **options)
        if name in self.after:
            await self.after[name](*args, **options)
        return answer

    async def setup(self) -> None:
        await self._call("setup")

    async def close(self) -> None:
        await self._call("close")

    async def health(self) -> HealthStatus:
        return cast("HealthStatus", await self._call("health"))

    async def create_session(self, session: Session) -> Session:
        return cast("Session", await self._call("create_session", session))

    async def get_session(self, session_id: str) -> Session | None:
        return cast("Session | None", await self._call("get_session", session_id))

    async def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        return cast("Session", await self._call("update_session", session_id, patch, expected_version=expected_version))

    async def delete_session(self, session_id: str, *, expired_before: datetime | None = None) -> bool:
        return cast("bool", await self._call("delete_session", session_id, expired_before=expired_before))

    async def list_sessions(self, filter: SessionFilter, *, limit: int, cursor: str | None = None) -> Page[Session]:
        return cast("Page[Session]", await self._call("list_sessions", filter, limit=limit, cursor=cursor))

    async def append_messages(
        self, session_id: str, messages: Sequence[Message], *, chosen_ids: Collection[str] = ()
    ) -> Appended:
        return cast("Appended", await self._call("append_messages", session_id, messages, chosen_ids=chosen_ids))

    async def get_message(self, session_id: str, message_id: str) -> Message | None:
        return cast("Message | None", await self._call("get_message", session_id, message_id))

    async def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        page = cast("Page[Message]", await self._call("get_messages", session_id, query, cursor=cursor))
        self.messages_read += len(page)
        return page

    async def get_conversation(self, session_id: str, query: MessageQuery) -> ConversationPage:
        read = cast("ConversationPage", await self._call("get_conversation", session_id, query))
        self.messages_read += len(read.messages) + len(read.system_messages)
        return read

    async def update_message(self, session_id: str, message_id: str, patch: Patch) -> Message:
        return cast("Message", await self._call("update_message", session_id, message_id, patch))

    async def delete_message(self, session_id: str, message_id: str) -> bool:
        return cast("bool", await self._call("delete_message", session_id, message_id))

    async def delete_all_messages(self, session_id: str) -> int:
        return cast("int", await self._call("delete_all_messages", session_id))

    async def get_expired_sessions(self, before: datetime, *, limit: int, cursor: str | None = None) -> Page[str]:
        return cast("Page[str]", await self._call("get_expired_sessions", before, limit=limit, cursor=cursor))


class InSteps:
    """An `AsyncSessionManager` whose methods run in a loop, one call at a time; iterators are read through it too."""

    def __init__(self, inner: AsyncSessionManager, runner: asyncio.Runner) -> None:
        self.inner = inner
        self._runner = runner

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.inner, name)
        return lambda *args, **options: self._in_step(method(*args, **options))

    def _in_step(self, answer: Any) -> Any:
        if inspect.iscoroutine(answer):
            return self._runner.run(answer)
        return self._iterate(answer) if inspect.isasyncgen(answer) else answer

    def _iterate(self, items: Any) -> Iterator[Any]:
        async def following() -> Any:
            return await anext(items, items)

        try:
            while (item := self._runner.run(following())) is not items:
                yield item
        finally:
            self._runner.run(items.aclose())

    def __enter__(self) -> InSteps:
        self._runner.run(self.inner.__aenter__())
        return self

    def __exit__(self, *error: Any) -> None:
        self._runner.run(self.inner.__aexit__(*error))


class Face:
    """How one face opens stores and managers. `mode` is the mode of the store below it."""

    def __init__(self, name: FaceName, url: str) -> None:
        self.name = name
        self.is_async = name in ("async", "threads")
        self.mode: Mode = "async" if name in ("async", "portal") else "blocking"
        self._url = url
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._closers: list[Callable[[], None]] = []
        self._storage: Storage

    def store(self, url: str | None = None, *, clock: Callable[[], datetime] | None = None) -> Watched:
        """A fresh store, or another adapter on the one that `url` names."""
        watched = Watched(Registry().create(url or self._url, self.mode))
        if clock is not None:
            watched.clock = clock
        return watched

    def manager(self, store: StorageAdapter | None = None, **options: Any) -> SessionManager:
        """A manager on the store, closed with its store when the test ends; typed as the blocking one."""
        store = self.store() if store is None else store
        if self.is_async:
            reached = InThreads(store) if self.name == "threads" else store
            driven = InSteps(AsyncSessionManager(reached, **options), self._runner)
            self._closers += [lambda: self._runner.run(reached.close()), driven.close]
            return cast("SessionManager", driven)
        storage = Storage.through_portal(store) if self.name == "portal" else Storage(store)
        manager = SessionManager(storage, **options)
        self._closers += [storage.close, manager.close]
        self._storage = storage
        return manager

    def background_work(self) -> int:
        """How many tasks or threads run beside the calls to the last manager."""

        async def other_tasks() -> int:
            return len(asyncio.all_tasks()) - 1

        if self.is_async:
            return self._runner.run(other_tasks())
        if self.name == "portal":
            return self._storage.run(other_tasks())
        return len([thread for thread in threading.enumerate() if thread.name == "session-continuity-cleanup"])

    def open(self, url: str | None = None, **options: Any) -> SessionManager:
        """A manager opened by a URL; the test closes it."""
        if self.is_async:
            return cast("SessionManager", InSteps(AsyncSessionManager.open(url or self._url, **options), self._runner))
        return SessionManager.open(url or self._url, **options)

    def together(self, manager: SessionManager, works: Sequence[Callable[[Any], Any]]) -> list[Any]:
        """What the works return or raise when they run at once: as tasks, or in a thread each."""
        if isinstance(manager, InSteps):
            inner = manager.inner

            async def tasks() -> list[Any]:
                return await asyncio.gather(*(work(inner) for work in works), return_exceptions=True)

            return self._runner.run(tasks())
        return in_threads([partial(work, manager) for work in works])

    def run(self, work: Callable[[], Awaitable[R]]) -> R:
        """Run a coroutine function in the loop of an async face."""

        async def awaited() -> R:
            return await work()

        return self._runner.run(awaited())

    def close(self) -> None:
        while self._closers:
            self._closers.pop()()
        self._runner.close()


def in_threads(works: Sequence[Callable[[], Any]]) -> list[Any]:
    """What each work returns or raises, all started at once."""
    outcomes: list[Any] = [None] * len(works)
    start = threading.Barrier(len(works))

    def run(place: int) -> None:
        start.wait()
        try:
            outcomes[place] = works[place]()
        except Exception as error:
            outcomes[place] = error

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes
