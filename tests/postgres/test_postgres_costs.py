"""The table of costs in the README is what goes over the wire, and what is read grows with the answer alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from session_continuity import ForkedFrom, MessageQuery, Patch, Session, SessionFilter, utc_now
from session_continuity_conformance.faults.proxy import Proxy
from session_continuity_postgres.cost_meter import cost_meter

from ..kit.conversations import new_session
from ..kit.modes import ModeRunner
from ..kit.postgres_servers import PostgresServer
from .conftest import Bench

README = Path(__file__).parents[2] / "plugins/postgres/README.md"
LARGE = 3000
OTHERS, WANTED = 1200, 5
"""Numbers of sessions: those that a query is about, and the others."""

LAST_20 = MessageQuery(order="desc", limit=20)


def fork_of(session_id: str) -> Session:
    name = f"fork of {session_id}"
    return new_session(name, forked_from=ForkedFrom(session_id=session_id), creation_token="t", now=utc_now())


def turn(bench: Bench, session_id: str, count: int = 1) -> list[Any]:
    said = [bench.speaker.says(f"message {number}") for number in range(count)]
    return [message.model_copy(update={"session_id": session_id}) for message in said]


WORK: dict[str, Callable[[Bench, str, list[str]], Any]] = {
    "create a session": lambda b, s, _: b.store.create_session(new_session(f"new {s}", now=utc_now())),
    "get a session": lambda b, s, _: b.store.get_session(s),
    "update a session": lambda b, s, _: b.store.update_session(s, Patch({"user_id": "u"}), expected_version=1),
    "append a message": lambda b, s, _: b.store.append_messages(s, turn(b, s)),
    "append a batch of 20": lambda b, s, _: b.store.append_messages(s, turn(b, s, 20)),
    "append a batch with a patch and conditions": lambda b, s, _: b.store.append_messages(
        s, turn(b, s, 2), patch=Patch({"status": "paused"}), expected_version=2
    ),
    "append a message, creating the session": lambda b, s, _: b.store.append_messages(
        f"other {s}", turn(b, f"other {s}"), create=new_session(f"other {s}", now=utc_now())
    ),
    "last 20 messages": lambda b, s, _: b.store.get_messages(s, LAST_20),
    "a conversation with its session and system messages": lambda b, s, _: b.store.get_conversation(s, LAST_20),
    "a message by id": lambda b, s, ids: b.store.get_message(s, ids[5]),
    "edit a message": lambda b, s, ids: b.store.update_message(s, ids[5], Patch({"content": "edited"})),
    "delete a message": lambda b, s, ids: b.store.delete_message(s, ids[4]),
    "replace 20 messages by 20": lambda b, s, _: b.store.replace_tail(s, b.tail_after, turn(b, s, 20)),
    "fork a session": lambda b, s, _: b.store.fork_session(s, fork_of(s)),
    "list the forks of a session": lambda b, s, _: b.store.list_forks(s, limit=20),
    "list 100 sessions": lambda b, *_: b.store.list_sessions(SessionFilter(user_id="many"), limit=100),
    "list 100 sessions by activity": lambda b, *_: b.store.list_sessions(
        SessionFilter(user_id="many", order="recent"), limit=100
    ),
    "find expired sessions": lambda b, *_: b.store.get_expired_sessions(utc_now(), limit=100),
    "delete all messages": lambda b, s, _: b.store.delete_all_messages(s),
    "delete a session": lambda b, s, _: b.store.delete_session(s, expected_version=3),
}
"""In the order in which they are done, to each session."""


def table() -> dict[str, int]:
    """The round trips of each operation in the README."""
    rows = re.findall(r"^\| ([a-z][^|]*?) \| (\d+) \|$", README.read_text(), re.MULTILINE)
    return {name: int(number) for name, number in rows}


@pytest.fixture
def proxy(server: PostgresServer) -> Iterator[Proxy]:
    with Proxy("127.0.0.1", server.port) as proxy:
        yield proxy


def filled(bench: Bench, session_id: str, count: int) -> list[str]:
    """Create a session with so many messages, and return their ids."""
    bench(bench.store.create_session(new_session(session_id, now=utc_now())))
    ids: list[str] = []
    for start in range(0, count, 1000):
        messages = turn(bench, session_id, min(1000, count - start))
        ids += [message.id for message in bench(bench.store.append_messages(session_id, messages)).messages]
    return ids


@pytest.mark.parametrize("size", [40, LARGE])
def test_the_table_in_the_readme_is_what_goes_over_the_wire(
    opened: Callable[[str], Bench], proxy: Proxy, namespace: str, size: int
) -> None:
    # To prepare a statement takes a round trip, once for each connection. It would come somewhere in the middle.
    options = f"namespace={namespace}&sslmode=disable&prepare=false"
    bench = opened(f"postgresql://postgres@{proxy.host}:{proxy.port}/postgres?{options}")
    ids = filled(bench, "s", size)
    found: dict[str, int] = {}
    for name, work in WORK.items():
        if name == "replace 20 messages by 20":
            last = [*bench(bench.store.get_messages("s", MessageQuery(order="desc", limit=21)))]
            bench.tail_after = last[-1].id  # type: ignore[attr-defined]
        before = proxy.requests
        bench(work(bench, "s", ids))
        found[name] = proxy.requests - before
    assert found == table()


def test_an_append_tells_whether_the_session_slides(bench: Bench) -> None:
    for name, sliding_ttl in (("sliding", 60.0), ("fixed", None)):
        expires_at = utc_now() + timedelta(hours=1)
        session = new_session(name, now=utc_now(), expires_at=expires_at, sliding_ttl=sliding_ttl)
        bench(bench.store.create_session(session))
        appended = bench(bench.store.append_messages(name, turn(bench, name)))
        assert appended.slides is (sliding_ttl is not None)


@pytest.fixture(scope="module")
def crowd(server: PostgresServer) -> Iterator[Bench]:
    """A blocking store with many sessions, a few of which are the wanted ones."""
    bench, now = Bench(f"{server.url}?namespace=crowd", ModeRunner("blocking")), utc_now()
    for number in range(OTHERS + WANTED):
        kind = "rare" if number % (OTHERS // WANTED) == 0 else "common"
        session = new_session(
            f"{kind}{number}",
            now=now + timedelta(milliseconds=number),
            user_id=kind,
            active_agent_id=kind,
            status="paused" if kind == "rare" else "active",
            metadata={"tags": [kind, f"t{number}"]},
            expires_at=now + timedelta(hours=1 if kind == "rare" else 2),
        )
        bench(bench.store.create_session(session))
    yield bench
    bench.close()


@pytest.mark.parametrize(
    "filter",
    [
        SessionFilter(user_id="rare"),
        SessionFilter(active_agent_id="rare"),
        SessionFilter(status="paused"),
        SessionFilter(tags=frozenset({"rare"})),
        SessionFilter(tags=frozenset({"rare", "t1199"})),
        SessionFilter(user_id="rare", tags=frozenset({"rare"})),
        SessionFilter(user_id="rare", order="recent"),
        SessionFilter(active_agent_id="rare", order="idle"),
    ],
    ids=["user", "agent", "status", "tag", "tags", "user and tag", "user by activity", "agent by activity"],
)
def test_a_listing_reads_what_it_returns(crowd: Bench, filter: SessionFilter) -> None:
    for _ in range(8):  # a plan for any value takes over after five
        with cost_meter(crowd.driver) as spent:
            page = crowd(crowd.store.list_sessions(filter, limit=20))
        assert WANTED <= len(page) <= WANTED + 2
        assert spent().requests == 1
        assert spent().reads is not None
        assert spent().reads <= 40, spent()


def test_expired_sessions_are_found_without_the_others(crowd: Bench) -> None:
    before = utc_now() + timedelta(hours=1, minutes=30)
    with cost_meter(crowd.driver) as spent:
        found = crowd(crowd.store.get_expired_sessions(before, limit=100))
    assert WANTED <= len(found) <= WANTED + 1
    assert all(session_id.startswith("rare") for session_id in found)
    assert spent().reads is not None
    assert spent().reads <= 20, spent()


QUERIES = {
    "last 20": LAST_20,
    "first 20": MessageQuery(limit=20),
    "last 20 of a rare role": MessageQuery(order="desc", limit=20, roles=frozenset({"tool"})),
    "last 20 of two roles": MessageQuery(order="desc", limit=20, roles=frozenset({"tool", "user"})),
    "by id": MessageQuery(ids=frozenset(["placeholder"])),
    "20 after one": MessageQuery(after_id="placeholder", limit=20),
}


def test_a_page_of_a_long_conversation_reads_what_it_returns(bench: Bench) -> None:
    ids = filled(bench, "s", LARGE)
    bench(bench.store.append_messages("s", [bench.speaker.says("result", role="tool")]))
    for name, query in QUERIES.items():
        stated = MessageQuery(
            order=query.order,
            limit=query.limit,
            roles=query.roles,
            ids=query.ids and frozenset(ids[100:110]),
            after_id=query.after_id and ids[200],
        )
        with cost_meter(bench.driver) as spent:
            page = bench(bench.store.get_messages("s", stated))
        assert page, name
        assert spent().requests == 1
        assert spent().reads is not None
        assert spent().reads <= 3 * 21, (name, spent())
