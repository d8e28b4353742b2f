"""A Redis store under test, driven in its mode by plain calls."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, FunctionType
from typing import Any, TypeVar

import redis

import session_continuity_redis
from session_continuity import (
    Appended,
    ForkedFrom,
    Message,
    MessageQuery,
    Mode,
    Registry,
    Role,
    Session,
    innermost,
    portable,
    utc_now,
)
from session_continuity_redis import RedisStorage

from ..kit.conversations import Speaker, contents, new_session, read_messages
from ..kit.modes import ModeRunner

T = TypeVar("T")


def fork_of(source_id: str, session_id: str, message_id: str | None = None) -> Session:
    """A session that is to be forked from another, up to a message."""
    origin = ForkedFrom(session_id=source_id, message_id=message_id)
    return new_session(session_id, now=utc_now(), user_id="ada", forked_from=origin, creation_token=session_id)


class Bench:
    """One store and the shortest way to use it: `bench(coroutine)` runs a call of the store in its mode.

    `store` is what an application uses, `driver` the plugin's own adapter inside it.
    """

    def __init__(self, url: str, mode: Mode, *, driver: RedisStorage | None = None) -> None:
        self._runner = ModeRunner(mode)
        self.store = Registry().create(url, mode) if driver is None else portable(driver)
        found = innermost(self.store)
        assert isinstance(found, RedisStorage)
        self.driver: RedisStorage = found
        self.mode: Mode = mode
        self._speaker = Speaker(clock=utc_now)

    def __call__(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(coroutine)

    def run_together(self, *calls: Callable[[], Coroutine[Any, Any, T]]) -> list[T | BaseException]:
        """What each call returns or raises when all run at once: in threads, or as tasks."""
        return self._runner.run_together(*calls)

    def close(self) -> None:
        """Close the store."""
        self(self.store.close())
        self._runner.close()

    def create(self, session_id: str = "s", **fields: Any) -> Session:
        """A new session, as stored."""
        return self(self.store.create_session(new_session(session_id, now=utc_now(), **fields)))

    def message(self, content: Any = "hello", *, session_id: str = "s", role: Role = "user", **fields: Any) -> Message:
        """The next message, not stored."""
        return self._speaker.says(content, session_id=session_id, role=role, **fields)

    def append(self, *texts: str, session_id: str = "s", **fields: Any) -> Appended:
        """Append a message for each text, in one batch."""
        batch = [self.message(text, session_id=session_id, **fields) for text in texts]
        return self(self.store.append_messages(session_id, batch))

    def totals(self, session_id: str = "s") -> tuple[int, int]:
        """How many messages and tokens the session has."""
        session = self(self.store.get_session(session_id))
        assert session is not None
        return session.message_count, session.token_count

    def contents(self, session_id: str = "s", **query: Any) -> list[Any]:
        """The contents of every stored message that meets the query."""
        return contents(self(read_messages(self.store, session_id, MessageQuery(**query))))


@contextmanager
def raises_before(function: FunctionType, error: type[BaseException]) -> Iterator[None]:
    """Raises the exception, as Ctrl-C or a signal would, when the function is entered for the first time."""
    before = sys.gettrace()

    def trace(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code is function.__code__:
            sys.settrace(before)
            raise error("now")

    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


@contextmanager
def raises_at_step(step: int, error: type[BaseException]) -> Iterator[Callable[[], bool]]:
    """Raises the exception, as the handler of a signal would, when the so-many-th function is entered.

    Returns a function that says whether it was raised. Only functions of the plugin and of redis-py count. Python calls
    handlers at such places, and never between the end of a `with` block and its `__exit__`.
    """
    before, left = sys.gettrace(), step
    folders = tuple(str(Path(package.__file__ or "").parent) for package in (redis, session_continuity_redis))

    def trace(frame: FrameType, event: str, _: object) -> None:
        nonlocal left
        if not frame.f_code.co_filename.startswith(folders) or _is_in_finalizer(frame):
            return
        if event == "call":
            left -= 1
            if left == 0:
                sys.settrace(before)
                raise error("now")

    sys.settrace(trace)
    try:
        yield lambda: left <= 0
    finally:
        sys.settrace(before)


def _is_in_finalizer(frame: FrameType | None) -> bool:
    """Whether the garbage collector runs this code. Python swallows what is raised there."""
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False


def is_trace(client: redis.Redis, key: bytes) -> bool:
    """Whether a key holds the traces of a deleted session, for a minute at most, and nothing else."""
    members = [member for member, _ in client.zscan_iter(key)]
    is_named = all(member.startswith(b"~") or member in (b"#generation", b"#forgotten") for member in members)
    return is_named and 0 < client.pttl(key) <= 60_000
