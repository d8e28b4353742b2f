"""Documents in the TypeScript kit's form, read, edited and deleted here, and ours in the kit's form.

The forms are those that the kit's Firestore adapter writes: camelCase, native values, times as timestamps.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from session_continuity import MessageQuery, Patch, SessionFilter, StorageAdapter, run_now
from session_continuity_firestore.documents import names

from ..kit.clocks import FUTURE
from ..kit.conversations import stored_contents
from .bench import Bench

MOMENT = datetime(2026, 5, 1, 12, 0, 0, 123000, tzinfo=UTC)


def kit_session(**fields: Any) -> dict[str, Any]:
    return {
        "id": "kit",
        "userId": "ada",
        "status": "active",
        "metadata": {"title": "t", "tags": ["x"], "custom": {"a": 1, "when": MOMENT}},
        "participants": [{"id": "ada", "role": "user", "joinedAt": MOMENT, "leftAt": None}],
        "tokenBudget": {"maxTokens": 1000, "reserveTokens": 10, "overflowStrategy": "error"},
        "schemaVersion": 1,
        "version": 3,
        "tokenCount": 12,
        "messageCount": 2,
        "createdAt": MOMENT,
        "lastActivityAt": MOMENT,
        "expiresAt": None,
        **fields,
    }


def kit_message(message_id: str, content: Any, **fields: Any) -> dict[str, Any]:
    return {
        "id": message_id,
        "sessionId": "kit",
        "role": "user",
        "content": content,
        "metadata": {},
        "tokenCount": 6,
        "createdAt": MOMENT,
        **fields,
    }


@pytest.fixture
def store(bench: Bench) -> StorageAdapter:
    where = bench.direct.context.names
    bench.write(where.session("kit"), kit_session())
    blocks = [{"type": "text", "text": "two"}]
    calls = {"toolCalls": [{"id": "c", "name": "f", "arguments": {"q": 1}}]}
    bench.write(where.message("kit", "000-1"), kit_message("000-1", "one"))
    bench.write(where.message("kit", "000-2"), kit_message("000-2", blocks, role="assistant", metadata=calls))
    return bench.open()


def test_a_session_of_the_kit_is_read(bench: Bench, store: StorageAdapter) -> None:
    found = bench.run(store.get_session("kit"))
    assert found is not None
    assert (found.user_id, found.version, found.message_count, found.token_count) == ("ada", 3, 2, 12)
    assert found.metadata.custom == {"a": 1, "when": "2026-05-01T12:00:00.123Z"}
    assert found.participants[0].joined_at == MOMENT
    assert found.token_budget is not None
    assert found.token_budget.hard_limit == 990
    by_tag = bench.run(store.list_sessions(SessionFilter(user_id="ada", tags=frozenset("x")), limit=10))
    assert [session.id for session in by_tag] == ["kit"]


def test_its_messages_are_read_in_the_kits_order(bench: Bench, store: StorageAdapter) -> None:
    one, two = bench.run(store.get_messages("kit", MessageQuery()))
    assert (one.content, two.content) == ("one", [{"type": "text", "text": "two"}])
    assert two.metadata.tool_calls[0].arguments == {"q": 1}
    assert one.created_at == two.created_at == MOMENT


def test_a_session_of_the_kit_is_written_on(bench: Bench, store: StorageAdapter) -> None:
    session = bench.run(store.get_session("kit"))
    assert session is not None
    bench.run(store.append_messages("kit", [bench.says(session, "three")], expected_last_id="000-2"))
    bench.run(store.update_message("kit", "000-1", Patch({"content": "uno"})))
    assert bench.run(store.delete_message("kit", "000-2"))
    assert stored_contents(store, "kit") == ["uno", "three"]
    found = bench.run(store.get_session("kit"))
    assert found is not None
    assert (found.message_count, found.token_count, found.version) == (2, 7, 3)
    assert bench.run(store.delete_session("kit"))
    assert bench.left_of("kit") == 0


@pytest.mark.parametrize("expires_at", [None, FUTURE + timedelta(seconds=1)])
def test_both_forms_of_an_expiry_are_read(bench: Bench, store: StorageAdapter, expires_at: datetime | None) -> None:
    bench.write(bench.direct.context.names.session("kit"), kit_session(expiresAt=expires_at))
    found = bench.run(store.get_session("kit"))
    assert found is not None
    assert found.expires_at == expires_at
    bench.clock.advance(seconds=2)
    assert (bench.run(store.get_session("kit")) is None) == (expires_at is not None)


def test_what_the_kit_appends_comes_before_what_is_appended_then(bench: Bench, store: StorageAdapter) -> None:
    session = bench.run(store.get_session("kit"))
    assert session is not None
    bench.run(store.append_messages("kit", [bench.says(session, "three")]))
    where = bench.direct.context.names
    later = FUTURE + timedelta(hours=1)
    bench.write(where.message("kit", "000-4"), kit_message("000-4", "four", createdAt=later))
    meta = bench.document(where.session("kit"))
    assert meta is not None
    ours = {name: value for name, value in meta.items() if name not in kit_session()}
    bench.write(where.session("kit"), {**ours, **kit_session(messageCount=4, lastActivityAt=later)})
    bench.run(store.append_messages("kit", [bench.says(session, "five")]))
    assert stored_contents(store, "kit")[2:] == ["three", "four", "five"]


def test_ours_have_the_kits_forms(bench: Bench) -> None:
    store = bench.open()
    session = bench.create(store, user_id="ada")
    [message] = bench.append(store, session, 1)
    where = bench.direct.context.names
    meta = run_now(bench.client.get(where.session(session.id)))
    kinds = {name: value.WhichOneof("kind") for name, value in meta.fields.items()}
    assert kinds["createdAt"] == kinds["lastActivityAt"] == "timestamp_value"
    assert kinds["participants"] == "array_value"
    assert kinds["metadata"] == "map_value"
    assert kinds["expiresAt"] == "null_value"
    assert kinds["version"] == kinds["messageCount"] == kinds["tokenCount"] == "integer_value"
    row = bench.document(where.message(session.id, message.id))
    assert row is not None
    assert row.keys() == {"id", "sessionId", "role", "content", "metadata", "tokenCount", names.CREATED_AT}


def test_messages_of_one_millisecond_have_places_in_their_order(bench: Bench) -> None:
    store = bench.open()
    session = bench.create(store)
    batch = [bench.says(session, str(number), id=f"z{9 - number}", created_at=MOMENT) for number in range(5)]
    bench.run(store.append_messages(session.id, batch, client_ids=[message.id for message in batch]))
    assert stored_contents(store, session.id) == ["0", "1", "2", "3", "4"]
    assert {message.created_at for message in bench.run(store.get_messages(session.id, MessageQuery()))} == {MOMENT}


def test_a_thousand_messages_of_one_millisecond_are_followed_by_the_next(bench: Bench) -> None:
    store = bench.open()
    session = bench.create(store)
    for start in range(0, 1000, 500):
        batch = [bench.says(session, str(start + number), created_at=MOMENT) for number in range(500)]
        bench.run(store.append_messages(session.id, batch))
    [last] = bench.run(store.append_messages(session.id, [bench.says(session, "last", created_at=MOMENT)])).messages
    assert last.created_at == MOMENT + timedelta(milliseconds=1)
    assert stored_contents(store, session.id)[-2:] == ["999", "last"]
