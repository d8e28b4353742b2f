"""A store under test, driven in its mode by plain calls, and what tests put into it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from types import FrameType, FunctionType
from typing import Any, TypeVar

from session_continuity import Appended, Message, MessageQuery, Mode, Registry, Role, Session, run_now, utc_now
from session_continuity.ids import MessageIds
from session_continuity_redis import RedisStorage

T = TypeVar("T")


class Bench:
    """`bench(coroutine)` runs one call of the store, in blocking mode in the caller's stack, else in one loop."""

    def __init__(self, url: str, mode: Mode, *, store: RedisStorage | None = None) -> None:
        self._runner = asyncio.Runner() if mode == "async" else None
        created = store or Registry().create(url, mode)
        assert isinstance(created, RedisStorage)
        self.store: RedisStorage = created
        self.mode: Mode = mode
        self._ids = MessageIds(utc_now)

    def __call__(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return run_now(coroutine) if self._runner is None else self._runner.run(coroutine)

    def close(self) -> None:
        self(self.store.close())
        if self._runner is not None:
            self._runner.close()

    def create(self, session_id: str = "s", **fields: Any) -> Session:
        return self(self.store.create_session(session(session_id, **fields)))

    def message(self, content: Any = "hello", *, session_id: str = "s", role: Role = "user", **fields: Any) -> Message:
        minted, created_at = self._ids.mint()
        given: dict[str, Any] = {"id": minted, "created_at": created_at, "token_count": 1, **fields}
        return Message(session_id=session_id, role=role, content=content, **given)

    def append(self, *contents: str, session_id: str = "s", **fields: Any) -> Appended:
        turn = [self.message(content, session_id=session_id, **fields) for content in contents]
        return self(self.store.append_messages(session_id, turn))

    def contents(self, session_id: str = "s", **query: Any) -> list[Any]:
        """The contents of every message that meets the query, page by page."""
        found: list[Any] = []
        cursor: str | None = None
        while True:
            page = self(self.store.get_messages(session_id, MessageQuery(**query), cursor=cursor))
            found += [message.content for message in page]
            cursor = page.next_cursor
            if cursor is None:
                return found


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = utc_now()

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **step: float) -> None:
        self.now += timedelta(**step)


def session(session_id: str = "s", **fields: Any) -> Session:
    now = utc_now()
    return Session(id=session_id, **{"created_at": now, "last_activity_at": now, **fields})


@contextmanager
def struck_before(function: FunctionType, by: type[BaseException]) -> Iterator[None]:
    """An exception, as Ctrl-C or a signal raises it, when the function is entered for the first time."""
    before = sys.gettrace()

    def strike(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code is function.__code__:
            sys.settrace(before)
            raise by("now")

    sys.settrace(strike)
    try:
        yield
    finally:
        sys.settrace(before)
