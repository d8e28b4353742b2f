"""Forks on a real cluster, where source and copy lie on different nodes: their costs, and writers that stop early."""

from __future__ import annotations

import pytest

from session_continuity import SessionFilter, UnavailableError
from session_continuity_redis.index import Index

from ..kit.redis_cluster import Cluster, slot_of
from .stores import Bench, fork_of

pytestmark = pytest.mark.on(engine=["redis"], mode=["async", "blocking"])


def listed(clustered: Bench) -> list[str]:
    return [fork.session_id for fork in clustered(clustered.store.list_forks("s", limit=20))]


def entries_of_forks(cluster: Cluster, namespace: str) -> list[bytes]:
    """Everything in the index of a namespace that says of which session another is a fork."""
    found: list[bytes] = []
    for node in cluster.primaries:
        with node.client() as client:
            for key in client.execute_command("KEYS", f"*:i:{{{namespace}:*"):
                found += client.execute_command("ZRANGEBYLEX", key, "[k|", "(k}")
    return found


async def stop(*_: object, **__: object) -> None:
    raise ConnectionResetError("the writer dies here")


def test_forks_on_every_node_hold_the_messages_up_to_one(clustered: Bench, shared: Cluster) -> None:
    clustered.create()
    batches = [clustered.append(*map(str, range(first, first + 750))) for first in (0, 750)]
    stored = [message for batch in batches for message in batch.messages]
    for number in range(1, 9):
        fork = fork_of("s", f"fork{number}", stored[2].id)
        clustered(clustered.store.fork_session("s", fork, through_id=stored[2].id))
    before = clustered.driver.round_trips
    clustered(clustered.store.fork_session("s", fork_of("s", "fork0", stored[1099].id), through_id=stored[1099].id))
    assert clustered.driver.round_trips - before == 3
    keys = [clustered.driver.native.keys.session(f"fork{number}") for number in range(9)]
    assert len({shared.owner(slot_of(key)).port for key in keys}) == 3
    assert clustered.contents("fork0") == [str(number) for number in range(1100)]
    assert clustered(clustered.store.get_message("fork0", stored[7].id)).session_id == "fork0"
    assert clustered.totals("fork8") == (3, sum(message.token_count or 0 for message in stored[:3]))
    assert sorted(listed(clustered)) == [f"fork{number}" for number in range(9)]
    before = clustered.driver.round_trips
    assert len(listed(clustered)) == 9
    assert clustered.driver.round_trips - before == 3


def test_a_fork_whose_writer_stopped_before_the_copy_is_not_there(
    clustered: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    clustered.create()
    clustered.append("one")
    run = type(clustered.driver.native).run

    async def run_all_but_the_copy(self: object, script: object, session_id: str, *words: object, **more: object):  # type: ignore[no-untyped-def]
        if session_id == "fork":
            raise ConnectionResetError("the writer dies here")
        return await run(self, script, session_id, *words, **more)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(type(clustered.driver.native), "run", run_all_but_the_copy)
        with pytest.raises(UnavailableError):
            clustered(clustered.store.fork_session("s", fork_of("s", "fork")))
    assert listed(clustered) == []
    assert clustered(clustered.store.get_session("fork")) is None
    assert clustered(clustered.store.fork_session("s", fork_of("s", "fork"))).message_count == 1
    assert listed(clustered) == ["fork"]
    clustered(clustered.store.delete_session("fork"))
    assert listed(clustered) == []


def test_a_fork_with_the_id_of_an_earlier_fork_is_listed_under_its_own_source(
    clustered: Bench, shared: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for source in ("s", "other"):
        clustered.create(source)
        clustered.append(source, session_id=source)
    clustered(clustered.store.fork_session("other", fork_of("other", "fork")))
    with monkeypatch.context() as patched:  # the entries of the deleted fork stay
        patched.setattr(Index, "forget", stop)
        with pytest.raises(UnavailableError):
            clustered(clustered.store.delete_session("fork"))
    with monkeypatch.context() as patched:
        patched.setattr(Index, "put", stop)
        with pytest.raises(UnavailableError):
            clustered(clustered.store.fork_session("s", fork_of("s", "fork")))
    assert clustered.contents("fork") == ["s"]
    found = clustered(clustered.store.list_sessions(SessionFilter(user_id="ada"), limit=9))
    assert [session.id for session in found] == ["fork"]
    assert clustered(clustered.store.fork_session("s", fork_of("s", "fork"))).message_count == 1
    assert listed(clustered) == ["fork"]
    assert list(clustered(clustered.store.list_forks("other", limit=5))) == []
    assert len(entries_of_forks(shared, namespace)) == 1, "nothing is left of the earlier fork"
