"""Iterators read page by page, as they are asked, and leave nothing behind when they are left."""

from __future__ import annotations

import gc
import itertools
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from session_continuity import (
    ForwardingAdapter,
    Message,
    MessageNotFoundError,
    Page,
    Session,
    SessionManager,
    StorageClosedError,
)
from session_continuity_memory import MemoryStorage

from ..kit.clocks import Clock
from ..kit.conversations import said
from ..kit.recording import RecordingAdapter
from .variants import ON_MEMORY, ON_SQLITE, Variant

pytestmark = pytest.mark.on(variant=ON_MEMORY + ON_SQLITE)


@pytest.fixture
def long(manager: SessionManager, clock: Clock) -> tuple[SessionManager, str]:
    """250 messages in one session, 60 sessions of one user."""
    session = manager.create_session()
    manager.add_messages(session.id, [said(str(number)) for number in range(250)])
    for number in range(60):
        clock.advance(seconds=1)
        manager.create_session(id=f"s{number:03}", user_id="u", metadata={"tags": ["odd" if number % 2 else "even"]})
    return manager, session.id


def numbers(messages: Any) -> list[int]:
    return [int(message.content) for message in messages]


def test_nothing_is_read_before_the_first_is_asked_for_and_no_page_before_it_is_needed(
    long: tuple[SessionManager, str], store: RecordingAdapter
) -> None:
    manager, session_id = long
    start = len(store.calls)
    items = manager.iter_messages(session_id)
    assert len(store.calls) == start
    assert numbers(itertools.islice(items, 100)) == list(range(100))
    assert store.calls[start:] == ["get_messages"]
    assert next(items).content == "100"
    assert store.calls[start:] == ["get_messages"] * 2
    assert numbers(items) == list(range(101, 250))
    assert store.calls[start:] == ["get_messages"] * 3
    assert list(items) == []


def test_sessions_are_read_in_the_same_way(long: tuple[SessionManager, str], store: RecordingAdapter) -> None:
    manager, _ = long
    start = len(store.calls)
    found = [session.id for session in manager.iter_sessions(user_id="u")]
    assert found == [f"s{number:03}" for number in range(59, -1, -1)]
    assert store.calls[start:] == ["list_sessions"] * 2


def test_conditions_limits_and_cursors_are_those_of_the_pages(
    long: tuple[SessionManager, str], store: RecordingAdapter
) -> None:
    manager, session_id = long
    ids = {message.content: message.id for message in manager.iter_messages(session_id)}
    assert numbers(manager.iter_messages(session_id, order="desc", limit=3)) == [249, 248, 247]
    assert numbers(manager.iter_messages(session_id, limit=150)) == list(range(150))
    assert numbers(manager.iter_messages(session_id, after=ids["9"], before=ids["140"])) == list(range(10, 140))
    assert numbers(manager.iter_messages(session_id, roles=iter(["user"]), after=ids["99"])) == list(range(100, 250))  # type: ignore[arg-type]
    page = manager.get_messages(session_id, limit=7)
    assert numbers(manager.iter_messages(session_id, cursor=page.next_cursor)) == list(range(7, 250))
    assert [s.id for s in manager.iter_sessions(tags=iter(["odd"]), limit=28)] == [
        f"s{number:03}" for number in range(59, 3, -2)
    ]
    listed = manager.list_sessions(user_id="u", limit=45)
    assert len(list(manager.iter_sessions(user_id="u", cursor=listed.next_cursor))) == 15
    start = len(store.calls)
    assert numbers(manager.iter_messages(session_id, limit=100)) == list(range(100))
    assert store.calls[start:] == ["get_messages"]


def test_the_iterator_is_an_iterator_with_the_right_end(manager: SessionManager) -> None:
    session = manager.create_session()
    items = manager.iter_messages(session.id)
    assert iter(items) is items
    assert list(items) == []
    with pytest.raises(StopIteration):
        next(items)


def test_an_error_comes_where_its_page_is_read(long: tuple[SessionManager, str]) -> None:
    manager, session_id = long
    with pytest.raises(MessageNotFoundError):
        next(manager.iter_messages(session_id, after="ghost"))


def test_what_is_added_meanwhile_comes_at_the_end(long: tuple[SessionManager, str]) -> None:
    manager, session_id = long
    items = manager.iter_messages(session_id)
    first = next(items)
    manager.add_message(session_id, **said("250"))
    manager.delete_message(session_id, first.id)
    assert numbers(items) == list(range(1, 251))


def test_leaving_early_leaks_nothing(long: tuple[SessionManager, str]) -> None:
    """Warnings are errors: a generator that is not closed, or a coroutine that is not awaited, fails this test."""
    manager, session_id = long
    for message in manager.iter_messages(session_id):
        assert message.content == "0"
        break
    unused = manager.iter_messages(session_id)
    del unused
    closed = manager.iter_sessions(user_id="u")
    next(closed)
    closed.close()  # type: ignore[attr-defined]
    with suppress(KeyError):
        for _ in manager.iter_messages(session_id):
            raise KeyError
    gc.collect()


def test_an_iterator_that_outlives_its_manager_says_that_it_is_closed(variant: Variant, clock: Clock) -> None:
    del clock
    manager = variant.open()
    with manager:
        session = manager.create_session()
        manager.add_messages(session.id, [said(str(number)) for number in range(150)])
        items, left = manager.iter_messages(session.id), manager.iter_messages(session.id)
        next(items)
        next(left)
    if variant.name not in ("async", "threads"):
        with pytest.raises(StorageClosedError):
            list(items)
    del left
    gc.collect()


class Damaged(ForwardingAdapter):
    """A store that cannot read one session and one message."""

    async def list_sessions(self, *args: Any, **options: Any) -> Page[Session]:
        page = await super().list_sessions(*args, **options)
        return replace(page, unreadable=("lost session",))

    async def get_messages(self, *args: Any, **options: Any) -> Page[Message]:
        page = await super().get_messages(*args, **options)
        return replace(page, unreadable=("lost message",))


def test_what_cannot_be_read_is_named() -> None:
    named: list[str] = []
    with SessionManager(Damaged(MemoryStorage())) as manager:
        session = manager.create_session(user_id="ada")
        manager.add_message(session.id, "user", "hello")
        assert [each.id for each in manager.iter_sessions(user_id="ada", on_unreadable=named.append)] == [session.id]
        assert [m.content for m in manager.iter_messages(session.id, on_unreadable=named.append)] == ["hello"]
        assert len(list(manager.iter_messages(session.id))) == 1
    assert named == ["lost session", "lost message"]
