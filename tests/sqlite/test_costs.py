"""The table of costs in the README is what SQLite is asked for, however long the conversation."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from session_continuity import ForkedFrom, Patch, SessionFilter, StorageAdapter, run_now

from ..kit.clocks import START, TickingClock
from ..kit.conversations import Speaker, new_session, store_session
from .pools import traced, verbs

README = Path(__file__).parents[2] / "plugins/sqlite/README.md"

Operation = Callable[[StorageAdapter, Speaker, str], Any]
"""A call of the store. The arguments are the store, a speaker, and the id of the message before the last 20."""


def fork(store: StorageAdapter, *_: object) -> Any:
    session = new_session("fork", forked_from=ForkedFrom(session_id="s"), creation_token="t")
    return store.fork_session("s", session)


OPERATIONS: dict[str, Operation] = {
    "append a turn with a patch": lambda store, speaker, _: store.append_messages(
        "s", [speaker.says("a"), speaker.says("b")], patch=Patch({"user_id": "u"})
    ),
    "append a message, creating the session": lambda store, speaker, _: store.append_messages(
        "new", [speaker.says("a").model_copy(update={"session_id": "new"})], create=new_session("new")
    ),
    "replace 20 messages by 20": lambda store, speaker, after_id: store.replace_tail(
        "s", after_id, [speaker.says("a") for _ in range(20)]
    ),
    "fork a session": fork,
    "list the forks of a session": lambda store, *_: store.list_forks("s", limit=20),
    "list a user's sessions by activity": lambda store, *_: store.list_sessions(
        SessionFilter(user_id="u", order="recent"), limit=20
    ),
    "list by title": lambda store, *_: store.list_sessions(SessionFilter(title="title"), limit=20),
    "delete a session at a version": lambda store, *_: store.delete_session("s", expected_version=1),
}


def table() -> dict[str, tuple[int, int]]:
    """Transactions and statements of each operation in the README."""
    rows = re.findall(r"^\| ([a-z][^|]*?) \| (\d+) \| (\d+) \|$", README.read_text(), re.MULTILINE)
    return {name: (int(transactions), int(statements)) for name, transactions, statements in rows}


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_table_in_the_readme_is_what_is_asked_of_sqlite(store: StorageAdapter, name: str) -> None:
    messages = store_session(store, 40)
    speaker = Speaker(clock=TickingClock(START + timedelta(hours=1)))
    with traced(store) as statements:
        run_now(OPERATIONS[name](store, speaker, messages[19].id))
    found = verbs(statements)
    transactions = found.count("BEGIN") or 1
    assert (transactions, len([verb for verb in found if verb not in ("BEGIN", "COMMIT")])) == table().get(name), found


def test_the_table_has_every_operation() -> None:
    assert table().keys() == OPERATIONS.keys()
