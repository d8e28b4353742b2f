"""The cost meter counts transactions, and the steps that SQLite takes in them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from session_continuity import ConfigError, MessageQuery, Registry, run_now
from session_continuity_memory import MemoryStorage
from session_continuity_sqlite import SqliteStorage
from session_continuity_sqlite.cost_meter import cost_meter

from ..kit.conversations import new_message, new_session

if TYPE_CHECKING:
    from session_continuity import Cost


def test_probe_counts_transactions_and_steps(tmp_path: Path) -> None:
    storage = SqliteStorage(tmp_path / "db")
    run_now(storage.setup())
    run_now(storage.create_session(new_session()))
    costs: list[Cost] = []
    with cost_meter(storage) as meter:
        for text in ("a", "b", "a"):
            run_now(storage.append_messages("s", [new_message(text, token_count=1)], client_ids=[text]))
            costs.append(meter())
        run_now(storage.get_messages("s", MessageQuery(limit=1)))
        costs.append(meter())
        run_now(storage.get_messages("s", MessageQuery(limit=2)))
        costs.append(meter())
    assert [cost.requests for cost in costs] == [1, 2, 4, 5, 6]
    reads = [cost.reads or 0 for cost in costs]
    assert 0 < reads[3] - reads[2] < reads[4] - reads[3]
    run_now(storage.get_session("s"))
    assert meter() == costs[-1]
    run_now(storage.close())


def test_probe_is_found_by_the_scheme_and_refuses_other_stores() -> None:
    assert Registry().cost_meter("sqlite") is cost_meter
    with pytest.raises(ConfigError, match="SqliteStorage"), cost_meter(MemoryStorage()):
        pass
