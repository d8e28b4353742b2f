"""Expiry beside the service's own: it removes rows whose `ttl` has passed, some time later, one by one, in any order.
No session that lives may lose anything to it, and nothing of one that has expired may stay behind for ever."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from session_continuity import (
    MessageQuery,
    Patch,
    Session,
    SessionFilter,
    SessionManager,
    SessionNotFoundError,
    StorageAdapter,
    run_now,
)

from ..kit.dynamodb_engines import TRUSTED
from ..kit.modes import MODES
from .bench import Bench

pytestmark = pytest.mark.on(engine=TRUSTED, mode=MODES)


def overdue(bench: Bench, session: Session) -> list[dict[str, Any]]:
    """The keys of the session's rows that the service may remove by now."""
    now = bench.clock().timestamp()
    rows = [row for row in bench.rows(session.id) if "ttl" in row and float(row["ttl"]["N"]) <= now]
    return [{name: row[name] for name in ("PK", "SK")} for row in rows]


def talk(bench: Bench, store: StorageAdapter, session: Session) -> None:
    """Messages of every kind: minted and chosen ids, a system message."""
    bench.append(store, session, 2)
    bench.append(store, session, role="system")
    chosen = bench.message(session, id="mine")
    bench.run(store.append_messages(session.id, [chosen], client_ids={"mine"}))


def expired(bench: Bench, store: StorageAdapter) -> Session:
    """A session that was extended while it lived, and has expired."""
    session = bench.create(store, user_id="u", active_agent_id="a", expires_at=bench.clock() + timedelta(hours=1))
    talk(bench, store, session)
    bench.run(store.update_session(session.id, Patch({"expires_at": bench.clock() + timedelta(hours=5)})))
    bench.clock.advance(hours=5, seconds=1)
    return session


def test_service_may_remove_the_session_but_not_what_leads_to_its_rows(bench: Bench) -> None:
    store = bench.open()
    session = expired(bench, store)
    assert [key["SK"]["S"] for key in overdue(bench, session)] == ["META"]


@pytest.mark.parametrize(
    "gone",
    [(), ("META",), ("META", "MSG#"), ("MSG$ACTIVITY",), ("META", "MSG$ACTIVITY"), ("META", "MSG$ACTIVITY", "MSG#")],
)
def test_nothing_of_an_expired_session_stays_whatever_was_removed_before(bench: Bench, gone: tuple[str, ...]) -> None:
    store = bench.open()
    session = expired(bench, store)
    for row in bench.rows(session.id):
        if row["SK"]["S"].startswith(gone):
            bench.raw("delete_item", Key={name: row[name] for name in ("PK", "SK")})
    assert bench.run(store.get_session(session.id)) is None
    assert len(bench.run(store.list_sessions(SessionFilter(user_id="u"), limit=10))) == 0
    with pytest.raises(SessionNotFoundError):
        bench.run(store.append_messages(session.id, [bench.message(session)]))
    with pytest.raises(SessionNotFoundError):
        bench.run(store.get_messages(session.id, MessageQuery()))
    assert list(bench.run(store.get_expired_sessions(bench.clock(), limit=10))) == [session.id]
    existed = bench.run(store.delete_session(session.id, expired_before=bench.clock()))
    assert existed == (not {"META", "MSG$ACTIVITY"} <= {*gone})
    assert bench.rows(session.id) == []
    assert list(bench.run(store.get_expired_sessions(bench.clock(), limit=10))) == []


def test_session_in_use_loses_nothing_to_the_service(bench: Bench) -> None:
    store = bench.open()
    session = bench.create(store, expires_at=bench.clock() + timedelta(hours=1))
    for hours in range(1, 4):
        talk(bench, store, session) if hours == 1 else bench.append(store, session, 2)
        bench.clock.advance(minutes=59)
        bench.run(store.update_session(session.id, Patch({"expires_at": bench.clock() + timedelta(hours=1)})))
        assert overdue(bench, session) == []
    bench.run(store.update_session(session.id, Patch(clear=frozenset({"expires_at"}))))
    bench.clock.advance(days=400)
    assert overdue(bench, session) == []
    held = bench.run(store.get_session(session.id))
    assert held is not None
    assert held.message_count == len(bench.run(store.get_messages(session.id, MessageQuery()))) == 8


def test_create_over_what_the_service_left_begins_with_nothing(bench: Bench) -> None:
    store = bench.open()
    session = expired(bench, store)
    for key in overdue(bench, session):
        bench.raw("delete_item", Key=key)
    anew = bench.create(store, id=session.id)
    assert len(bench.run(store.get_messages(anew.id, MessageQuery()))) == 0
    assert {row["SK"]["S"] for row in bench.rows(anew.id)} == {"META", "MSG$ACTIVITY"}


@pytest.mark.on(mode=["blocking"])
def test_cleanup_removes_every_row_although_the_service_came_first(bench: Bench) -> None:
    store = bench.open()
    sessions = [expired(bench, store) for _ in range(3)]
    for session in sessions[:2]:
        for key in overdue(bench, session):
            bench.raw("delete_item", Key=key)
    alive = bench.create(store, expires_at=bench.clock() + timedelta(hours=1))
    assert SessionManager(store).cleanup_expired_sessions() == 3
    assert [bench.rows(session.id) for session in sessions] == [[], [], []]
    assert run_now(store.get_session(alive.id)) == alive
