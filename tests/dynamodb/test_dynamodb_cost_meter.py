"""The cost meter counts what the client sends, and what the engine says that it costs."""

from __future__ import annotations

import pytest

from session_continuity import ConfigError, MessageQuery, Registry
from session_continuity_dynamodb import DynamoDBStorage
from session_continuity_dynamodb.cost_meter import cost_meter

from ..kit.dynamodb_engines import TRUSTED
from ..kit.modes import MODES
from .bench import Bench

pytestmark = pytest.mark.on(engine=TRUSTED, mode=MODES)


def test_probe_counts_requests_items_and_units(bench: Bench) -> None:
    store = bench.open()
    session = bench.create(store)
    bench.append(store, session, 12)
    with cost_meter(store) as meter:
        bench.append(store, session)
        appended = meter()
        assert (appended.requests, appended.reads) == (1, 0)
        page = bench.run(store.get_messages(session.id, MessageQuery(order="desc", limit=5)))
        read = meter()
    assert len(page) == 5
    assert read.requests == 2
    assert 5 <= (read.reads or 0) <= 9
    assert (appended.units, read.units) == (4, 5)
    bench.append(store, session)
    assert meter() == read


def test_probe_is_found_by_the_scheme_and_wants_a_store_in_use() -> None:
    assert Registry().cost_meter("dynamodb") is cost_meter
    unused = DynamoDBStorage(table="conv", region="us-east-1")
    with pytest.raises(ConfigError, match="has served a call"), cost_meter(unused):
        pass
