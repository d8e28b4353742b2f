"""The cost meter counts what really goes over the wire."""

from __future__ import annotations

import pytest

from session_continuity import ConfigError, MessageQuery, Patch, Registry, SessionFilter
from session_continuity_memory import MemoryStorage
from session_continuity_redis.cost_meter import cost_meter

from ..kit.redis_proxy import RedisProxy
from ..kit.redis_servers import EVERY_ENGINE, Server
from .stores import Bench

pytestmark = pytest.mark.on(engine=EVERY_ENGINE)


def test_probe_counts_as_many_requests_as_pass_a_proxy(proxy: RedisProxy, server: Server, namespace: str) -> None:
    for mode in ("blocking", "async"):
        bench = Bench(f"{proxy.url}?namespace={namespace}{mode}", mode)
        bench.create("warm", user_id="u")
        with cost_meter(bench.driver) as meter:
            before = proxy.requests
            bench.create(user_id="u")
            stored = bench.append("one", "two").messages
            bench(bench.store.update_message("s", stored[0].id, Patch({"content": "edited"})))
            bench(bench.store.update_session("s", Patch({"user_id": "other"})))
            bench(bench.store.list_sessions(SessionFilter(user_id="other"), limit=5))
            with server.client() as client:
                client.script_flush()
            bench(bench.store.get_messages("s", MessageQuery()))
            assert meter().requests == proxy.requests - before > 7
            assert (meter().reads, meter().units) == (None, None)
        counted = meter().requests
        bench.append("three")
        assert meter().requests == counted
        bench.close()


def test_probe_is_found_by_the_scheme_and_refuses_other_stores() -> None:
    assert Registry().cost_meter("redis") is cost_meter
    with pytest.raises(ConfigError, match="RedisStorage"), cost_meter(MemoryStorage()):
        pass
