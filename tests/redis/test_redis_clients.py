"""The clients behind a store: one for each event loop, and what interrupts and `close` leave of them."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest
import redis
import redis.asyncio

from session_continuity import (
    ConfigError,
    Mode,
    Patch,
    Registry,
    SessionFilter,
    StorageAdapter,
    StorageClosedError,
    UnavailableError,
    sleeper,
    utc_now,
)
from session_continuity_redis import RedisStorage

from ..kit.conversations import new_session
from ..kit.modes import MODES
from ..kit.redis_servers import EVERY_ENGINE, Server
from ..kit.threads import run_in_threads
from ..kit.waiting import wait_until
from .stores import Bench, raises_at_step

pytestmark = pytest.mark.on(engine=EVERY_ENGINE, mode=MODES)


@pytest.mark.on(mode=["async"])
def test_one_async_store_serves_every_event_loop_and_leaves_no_connection_behind(
    server: Server, namespace: str
) -> None:
    store = Registry().create(f"{server.url}?namespace={namespace}", "async")
    asyncio.run(_use(store, "first"))
    with server.client() as client:
        before = len(client.client_list())
        for number in range(200):
            asyncio.run(_use(store, str(number)))
        wait_until(lambda: len(client.client_list()) <= before, "the server to see the end of the last one")
    results = run_in_threads([lambda name=name: asyncio.run(_use(store, name)) for name in ("a", "b", "c")])
    assert results == [None] * 3
    asyncio.run(store.close())


@pytest.mark.on(mode=["async"])
def test_a_new_connection_reads_nothing_from_the_disk(
    server: Server, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading would hold up the event loop. redis-py looks up its own version, unless it is told."""
    looked_up: list[str] = []
    store = Registry().create(f"{server.url}?namespace={namespace}", "async")
    monkeypatch.setattr("redis.utils.metadata.version", lambda name: looked_up.append(name) or "0")
    asyncio.run(_use(store, "s"))
    asyncio.run(store.close())
    assert looked_up == []


async def _use(store: StorageAdapter, session_id: str) -> None:
    await store.create_session(new_session(session_id, now=utc_now()))
    found = await asyncio.gather(*(store.get_session(session_id) for _ in range(3)))
    assert [each.id for each in found if each] == [session_id] * 3


@pytest.mark.on(mode=["async"])
def test_a_client_that_was_passed_in_is_refused_in_a_second_loop_before_anything_is_sent(
    server: Server, namespace: str
) -> None:
    client = redis.asyncio.Redis(port=server.port)
    bench = Bench("", "async", driver=RedisStorage(client, namespace=namespace))
    bench.create()
    with pytest.raises(ConfigError, match="different event loop"):
        asyncio.run(bench.store.append_messages("s", [bench.message("two")]))
    assert bench.contents() == []
    bench(client.aclose())
    bench.close()


class Interrupt(BaseException):
    """What the handler of a signal raises."""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.on(mode=["blocking"])
@pytest.mark.parametrize("is_owned", [True, False])
def test_interrupts_at_any_step_leak_no_connection_and_tear_no_batch(
    server: Server, namespace: str, is_owned: bool
) -> None:
    url = f"{server.url}?namespace={namespace}&max_connections=3&timeout=2"
    client = redis.Redis(port=server.port, max_connections=3)
    bench = (
        Bench(url, "blocking") if is_owned else Bench("", "blocking", driver=RedisStorage(client, namespace=namespace))
    )
    bench.create()
    step, is_raised = 0, True
    while is_raised:
        step += 1
        with raises_at_step(step, Interrupt) as raised, suppress(Interrupt):
            bench.append("one", "two")
        is_raised = raised()
        assert bench.append("after").messages
    contents = bench.contents()
    assert contents.count("one") == contents.count("two") >= 1
    assert step > 30
    bench.close()
    client.close()
    del bench, client
    gc.collect()  # a socket that was interrupted while it was opened is reported here, and in no later test


@pytest.mark.parametrize("name", ["append", "update", "list"])
def test_a_call_during_close_raises_a_typed_error_or_succeeds(
    server: Server, namespace: str, mode: Mode, name: str
) -> None:
    calls: dict[str, Callable[[Bench], Coroutine[Any, Any, Any]]] = {
        "append": lambda b: b.store.append_messages("s", [b.message("one")]),
        "update": lambda b: b.store.update_session("s", Patch(set={"user_id": "bob"})),
        "list": lambda b: b.store.list_sessions(SessionFilter(), limit=5),
    }

    reached: list[int] = []
    ended: list[Exception] = []
    pause = sleeper(mode)

    async def call_until_it_fails() -> None:
        while True:
            try:
                await calls[name](bench)
            except Exception as error:
                ended.append(error)
                return
            reached.append(1)

    async def close() -> None:
        while len(reached) < 20 and not ended:
            await pause(0.001)
        await bench.store.close()

    bench = Bench(f"{server.url}?namespace={namespace}", mode)
    bench.create()
    assert bench.run_together(*[call_until_it_fails] * 6, close) == [None] * 7
    assert {type(error) for error in ended} <= {StorageClosedError, UnavailableError}
    assert len(ended) == 6
    bench.close()
