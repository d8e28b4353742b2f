"""Forks on a real cluster, where source and copy lie on different nodes: their costs, and writers that stop early."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from session_continuity import Mode, SessionFilter, UnavailableError
from session_continuity_redis.index import Index

from ..kit.redis_cluster import Cluster, slot_of
from .stores import Bench, fork_of

pytestmark = pytest.mark.on(engine=["redis"], mode=["async", "blocking"])


@pytest.fixture(scope="module")
def shared(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    running = Cluster(engine, tmp_path_factory.mktemp("cluster")).start()
    yield running
    running.stop()


@pytest.fixture
def bench(shared: Cluster, mode: Mode, namespace: str) -> Iterator[Bench]:
    opened = Bench(f"{shared.url}&namespace={namespace}", mode)
    yield opened
    opened.close()


def listed(bench: Bench) -> list[str]:
    return [fork.session_id for fork in bench(bench.store.list_forks("s", limit=20))]


async def stop(*_: object, **__: object) -> None:
    raise ConnectionResetError("the writer dies here")


def test_forks_on_every_node_hold_the_messages_up_to_one(bench: Bench, shared: Cluster) -> None:
    bench.create()
    stored = [message for first in (0, 750) for message in bench.append(*map(str, range(first, first + 750))).messages]
    for number in range(1, 9):
        bench(bench.store.fork_session("s", fork_of("s", f"fork{number}", stored[2].id), through_id=stored[2].id))
    before = bench.driver.round_trips
    bench(bench.store.fork_session("s", fork_of("s", "fork0", stored[1099].id), through_id=stored[1099].id))
    assert bench.driver.round_trips - before == 3
    assert len({shared.owner(slot_of(bench.driver.native.keys.session(f"fork{each}"))).port for each in range(9)}) == 3
    assert bench.contents("fork0") == [str(number) for number in range(1100)]
    assert bench(bench.store.get_message("fork0", stored[7].id)).session_id == "fork0"
    assert bench.totals("fork8") == (3, sum(message.token_count or 0 for message in stored[:3]))
    assert sorted(listed(bench)) == [f"fork{number}" for number in range(9)]
    before = bench.driver.round_trips
    assert len(listed(bench)) == 9
    assert bench.driver.round_trips - before == 3


def test_a_fork_whose_writer_stopped_before_the_copy_is_not_there(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.create()
    bench.append("one")
    run = type(bench.driver.native).run

    async def run_all_but_the_copy(self: object, script: object, session_id: str, *words: object, **more: object):  # type: ignore[no-untyped-def]
        if session_id == "fork":
            raise ConnectionResetError("the writer dies here")
        return await run(self, script, session_id, *words, **more)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(type(bench.driver.native), "run", run_all_but_the_copy)
        with pytest.raises(UnavailableError):
            bench(bench.store.fork_session("s", fork_of("s", "fork")))
    assert listed(bench) == []
    assert bench(bench.store.get_session("fork")) is None
    assert bench(bench.store.fork_session("s", fork_of("s", "fork"))).message_count == 1
    assert listed(bench) == ["fork"]
    bench(bench.store.delete_session("fork"))
    assert listed(bench) == []


def test_a_fork_with_the_id_of_an_earlier_fork_is_listed_under_its_own_source(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for source in ("s", "other"):
        bench.create(source)
        bench.append(source, session_id=source)
    bench(bench.store.fork_session("other", fork_of("other", "fork")))
    with monkeypatch.context() as patched:  # the entries of the deleted fork stay
        patched.setattr(Index, "forget", stop)
        with pytest.raises(UnavailableError):
            bench(bench.store.delete_session("fork"))
    with monkeypatch.context() as patched:
        patched.setattr(Index, "put", stop)
        with pytest.raises(UnavailableError):
            bench(bench.store.fork_session("s", fork_of("s", "fork")))
    assert bench.contents("fork") == ["s"]
    found = bench(bench.store.list_sessions(SessionFilter(user_id="ada"), limit=9))
    assert [session.id for session in found] == ["fork"]
    assert bench(bench.store.fork_session("s", fork_of("s", "fork"))).message_count == 1
    assert listed(bench) == ["fork"]
    assert list(bench(bench.store.list_forks("other", limit=5))) == []
