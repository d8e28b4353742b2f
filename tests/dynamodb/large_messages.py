"""Messages that take several items, and what the tests of them ask of a store and its table."""

from __future__ import annotations

from typing import Any

from session_continuity import Message, Session, StorageAdapter

from .bench import Bench

MB = 1024 * 1024
SMALL, OTHER = "short", "y" * (MB // 2)
"""A content that fits into one item, and one that does not."""


def cold(bench: Bench, **options: Any) -> StorageAdapter:
    """A store that has read nothing yet, so that it has no hints."""
    return bench.open(create_table=False, **options)


def append(bench: Bench, store: StorageAdapter, session: Session, content: Any = None, **fields: Any) -> Message:
    """Append one message, of one megabyte unless its content is stated, and return it as stored."""
    message = bench.message(session, "x" * MB if content is None else content, **fields)
    chosen = {message.id} if "id" in fields else set[str]()
    return bench.run(store.append_messages(session.id, [message], client_ids=chosen)).messages[0]


def totals(bench: Bench, store: StorageAdapter, session: Session) -> tuple[int, int]:
    """How many messages and tokens the session has."""
    found = bench.run(store.get_session(session.id))
    assert found is not None
    return found.message_count, found.token_count


def sorts(bench: Bench, session: Session) -> list[str]:
    """The kinds of the items in the session's partition."""
    return [row["SK"]["S"].partition("#")[0] for row in bench.rows(session.id)]


def parts(bench: Bench, session: Session) -> int:
    """How many parts of messages lie in the session's partition."""
    return sorts(bench, session).count("PART")
