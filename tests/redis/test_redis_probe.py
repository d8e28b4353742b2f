"""The probe counts what really goes over the wire."""

from __future__ import annotations

import pytest

from session_continuity import ConfigError, MessageQuery, Patch, Registry, SessionFilter
from session_continuity_memory import MemoryStorage
from session_continuity_redis.probe import probe

from .servers import Proxy, Server
from .stores import Bench


def test_probe_counts_as_many_requests_as_pass_a_proxy(proxy: Proxy, server: Server, namespace: str) -> None:
    for mode in ("blocking", "async"):
        bench = Bench(f"{proxy.url}?namespace={namespace}{mode}", mode)
        bench.create("warm", user_id="u")
        with probe(bench.store) as meter:
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
    assert Registry().probe("redis") is probe
    with pytest.raises(ConfigError, match="RedisStorage"), probe(MemoryStorage()):
        pass
