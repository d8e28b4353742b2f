"""One table with the TypeScript kit: what it wrote is read, listed, edited and deleted here, and vice versa."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from session_continuity import (
    CompressionConfig,
    MessageMetadata,
    MessageNotFoundError,
    MessageQuery,
    Participant,
    Patch,
    SessionClosedError,
    SessionFilter,
    SessionMetadata,
    SessionNotFoundError,
    StorageAdapter,
    TokenBudget,
    TokenBudgetExceededError,
    ToolCall,
    ToolResult,
    UnreadableError,
)
from session_continuity_dynamodb.items.values import decode

from ..kit.dynamodb_engines import TRUSTED
from ..kit.modes import MODES
from .bench import Bench
from .kit_rows import (
    CREATED,
    EXPIRES,
    PLAIN_ID,
    ROWS,
    SESSION,
    Row,
    message,
    message_id,
    meta,
)

pytestmark = pytest.mark.on(engine=TRUSTED, mode=MODES)


@pytest.fixture
def store(shared: Bench) -> StorageAdapter:
    opened = shared.open()
    shared.write_rows(ROWS)
    return opened


def test_session_of_the_kit_reads_right(shared: Bench, store: StorageAdapter) -> None:
    held = shared.run(store.get_session(SESSION))
    assert held is not None
    assert (held.user_id, held.active_agent_id, held.status, held.version) == ("u-ts", "a-ts", "active", 3)
    assert held.metadata == SessionMetadata(title="From there", tags=["vip"], custom={"plan": "pro"})
    assert held.participants == [Participant(id="p1", role="user", joined_at=datetime.fromisoformat(CREATED))]
    assert held.token_budget == TokenBudget(max_tokens=100, overflow_strategy="error")
    assert held.compression == CompressionConfig(strategy="sliding_window", target_tokens=50)
    assert held.expires_at == EXPIRES
    assert (held.message_count, held.token_count, held.system_message_ids) == (3, 30, [message_id(1)])
    assert held.last_activity_at == datetime.fromisoformat("2036-03-01T11:00:03Z")


def test_messages_of_the_kit_read_right_without_ghosts(shared: Bench, store: StorageAdapter) -> None:
    for order in ("asc", "desc"):
        page = shared.run(store.get_messages(SESSION, MessageQuery(order=order)))
        found = list(page) if order == "asc" else list(reversed(page))
        assert [message.id for message in found] == [message_id(1), message_id(2), PLAIN_ID]
    assert found[1].content == [{"type": "text", "text": "hi"}]
    assert found[1].metadata == MessageMetadata(
        tool_calls=[ToolCall(id="c1", name="find", arguments='{"q":1}')],
        tool_results=[ToolResult(tool_call_id="c0", result="none", is_error=True)],
        annotations={"k": ["v", 1.5]},
    )
    assert found[2].updated_at == datetime.fromisoformat(CREATED)


@pytest.mark.parametrize("wanted", [message_id(2), PLAIN_ID])
def test_message_of_the_kit_is_found_by_id(shared: Bench, store: StorageAdapter, wanted: str) -> None:
    found = shared.run(store.get_message(SESSION, wanted))
    assert found is not None
    assert found.id == wanted


def test_many_messages_of_the_kit_are_found_by_id(shared: Bench, store: StorageAdapter) -> None:
    wanted = [f"plain-{number}" for number in range(150)]
    shared.write_rows([message(number % 10, as_id=plain) for number, plain in enumerate(wanted)])
    page = shared.run(store.get_messages(SESSION, MessageQuery(ids=frozenset(wanted), limit=200)))
    assert sorted(found.id for found in page) == sorted(wanted)


def test_expiry_as_text_is_understood(shared: Bench, store: StorageAdapter) -> None:
    soon = {"S": "2036-03-01T13:00:00.000Z"}
    shared.write_rows([meta("text-expiry", expiresAt=soon)])
    held = shared.run(store.get_session("text-expiry"))
    assert held is not None
    assert held.expires_at == datetime(2036, 3, 1, 13, tzinfo=UTC)
    changed = shared.run(store.update_session("text-expiry", Patch({"user_id": "other"}), expected_version=3))
    assert (changed.user_id, changed.version) == ("other", 4)
    shared.clock.advance(hours=2)
    assert shared.run(store.get_session("text-expiry")) is None
    with pytest.raises(SessionNotFoundError):
        shared.run(store.update_session("text-expiry", Patch({"user_id": "again"})))
    with pytest.raises(SessionNotFoundError):
        shared.run(store.append_messages("text-expiry", [shared.message("text-expiry")]))


def test_missing_counts_and_version_are_understood(shared: Bench, store: StorageAdapter) -> None:
    shared.write_rows(
        [
            meta("bare", tokenCount=None, messageCount=None, version=None, tokenBudget=None, expiresAt=None, ttl=None),
            message(1, "bare", tokenCount=None),
            message(2, "bare"),
        ]
    )
    held = shared.run(store.get_session("bare"))
    assert held is not None
    assert (held.message_count, held.token_count, held.version) == (2, 10, 1)
    assert shared.run(store.update_session("bare", Patch({"user_id": "u2"}), expected_version=1)).version == 2


@pytest.mark.parametrize(
    "wanted",
    [
        SessionFilter(user_id="u-ts"),
        SessionFilter(active_agent_id="a-ts"),
        SessionFilter(active_agent_id="a-ts", status="active"),
        SessionFilter(active_agent_id="a-ts", tags=frozenset({"vip", "x"})),
        SessionFilter(),
    ],
)
def test_sessions_of_the_kit_are_listed(shared: Bench, store: StorageAdapter, wanted: SessionFilter) -> None:
    shared.write_rows([{"PK": {"S": "SESSION#ghost"}, "SK": {"S": "META"}, "status": {"S": "active"}}])
    [listed] = shared.run(store.list_sessions(wanted, limit=10))
    assert (listed.id, listed.message_count, listed.token_count) == (SESSION, 3, 30)


def test_sessions_of_the_kit_are_listed_among_ours(shared: Bench, store: StorageAdapter) -> None:
    newer = shared.create(store, user_id="u-ts")
    shared.clock.advance(hours=-3)
    older = shared.create(store, user_id="u-ts")
    shared.clock.advance(hours=3)
    page = shared.run(store.list_sessions(SessionFilter(user_id="u-ts"), limit=10))
    assert [session.id for session in page] == [newer.id, SESSION, older.id]


def test_append_gives_a_session_of_the_kit_its_totals(shared: Bench, store: StorageAdapter) -> None:
    [appended] = shared.append(store, shared.session(id=SESSION), tokens=5)
    held = shared.run(store.get_session(SESSION))
    assert held is not None
    assert (held.message_count, held.token_count, held.system_message_ids) == (4, 35, [message_id(1)])
    assert held.last_activity_at == appended.created_at
    with pytest.raises(TokenBudgetExceededError):
        shared.append(store, held, tokens=66)
    with shared.meter.counting() as made:
        shared.append(store, held, tokens=65)
    assert [request.api for request in made] == ["TransactWriteItems"]
    shared.clock.now = EXPIRES + timedelta(hours=1)
    assert shared.run(store.get_expired_sessions(shared.clock(), limit=10)).items == (SESSION,)


def test_messages_of_the_kit_are_edited_and_deleted_by_id(shared: Bench, store: StorageAdapter) -> None:
    changed = shared.run(store.update_message(SESSION, message_id(1), Patch({"role": "user", "token_count": 4})))
    assert (changed.role, changed.token_count, changed.content) == ("user", 4, "text 1")
    assert shared.run(store.delete_message(SESSION, PLAIN_ID))
    held = shared.run(store.get_session(SESSION))
    assert held is not None
    assert (held.message_count, held.token_count, held.system_message_ids) == (2, 14, [])
    row = next(row for row in shared.rows(SESSION) if row.get("id", {}).get("S") == message_id(1))
    assert row["SK"] == {"S": f"MSG#{row['createdAt']['S']}#{message_id(1)}"}
    assert shared.run(store.delete_all_messages(SESSION)) == 2
    held = shared.run(store.get_session(SESSION))
    assert held is not None
    assert (held.message_count, held.token_count) == (0, 0)


def test_closed_session_of_the_kit_takes_no_messages(shared: Bench, store: StorageAdapter) -> None:
    shared.run(store.update_session(SESSION, Patch({"status": "completed"}), expected_version=3))
    with pytest.raises(SessionClosedError):
        shared.append(store, shared.session(id=SESSION))


def test_delete_leaves_nothing_of_a_session_of_the_kit(shared: Bench, store: StorageAdapter) -> None:
    shared.write_rows([{"PK": {"S": f"SESSION#{SESSION}"}, "SK": {"S": "NOTE#of somebody"}}])
    assert shared.run(store.delete_session(SESSION))
    assert shared.rows(SESSION) == []


def test_delete_removes_a_ghost_and_what_lies_under_it(shared: Bench, store: StorageAdapter) -> None:
    ghost = {"PK": {"S": "SESSION#ghost"}, "SK": {"S": "META"}, "status": {"S": "active"}}
    shared.write_rows([ghost, message(1, "ghost")])
    assert shared.run(store.get_session("ghost")) is None
    with pytest.raises(SessionNotFoundError):
        shared.run(store.update_session("ghost", Patch({"user_id": "u"})))
    assert not shared.run(store.delete_session("ghost"))
    assert shared.rows("ghost") == []


def test_message_that_an_edit_of_the_kit_leaves_as_a_ghost_is_gone(shared: Bench, store: StorageAdapter) -> None:
    session = shared.create(store)
    sent = shared.append(store, session, 2)
    ghosts = [row for row in shared.rows(session.id) if row["SK"]["S"].startswith("MSG#")]
    shared.write_rows([{name: row[name] for name in ("PK", "SK")} | {"updatedAt": {"S": CREATED}} for row in ghosts])
    with pytest.raises(MessageNotFoundError):
        shared.run(store.update_message(session.id, sent[0].id, Patch({"role": "system"})))
    assert not shared.run(store.delete_message(session.id, sent[1].id))


@pytest.mark.parametrize("left", ["nothing", "a ghost"])
def test_chosen_id_of_a_message_that_the_kit_deletes_is_free(shared: Bench, store: StorageAdapter, left: str) -> None:
    session = shared.create(store)
    sent = [shared.message(session, "hello", id=f"mine-{number}") for number in range(4)]
    shared.run(store.append_messages(session.id, sent, client_ids=[message.id for message in sent]))
    for row in shared.rows(session.id):
        if row["SK"]["S"].startswith("MSG#"):
            shared.raw("delete_item", Key={name: row[name] for name in ("PK", "SK")})
            if left == "a ghost":
                shared.write_rows([{name: row[name] for name in ("PK", "SK")} | {"updatedAt": {"S": CREATED}}])
    other = shared.open(retry_deadline=2)
    again = shared.run(other.append_messages(session.id, sent, client_ids=[message.id for message in sent]))
    assert not again.repeated
    assert shared.run(store.get_messages(session.id, MessageQuery())).items == again.messages
    assert shared.run(store.get_message(session.id, "mine-3")) == again.messages[3]


def test_what_we_write_has_the_names_and_formats_of_the_kit(shared: Bench, store: StorageAdapter) -> None:
    session = shared.create(
        store,
        user_id="u",
        active_agent_id="a",
        metadata=SessionMetadata(title="t", tags=["x"]),
        participants=[Participant(id="p", joined_at=shared.clock())],
        token_budget=TokenBudget(max_tokens=10),
        expires_at=shared.clock() + timedelta(seconds=1.25),
    )
    sent = shared.message(session, "hi", metadata=MessageMetadata(tool_calls=[ToolCall(id="c", name="n")]))
    shared.run(store.append_messages(session.id, [sent]))
    rows = {row["SK"]["S"]: row for row in shared.rows(session.id)}
    held = rows["META"]
    assert held["metadata"] == {"S": '{"title":"t","tags":["x"]}'}
    assert json.loads(held["participants"]["S"]) == [
        {"id": "p", "role": "user", "joinedAt": "2036-03-01T12:00:00.000Z"}
    ]
    assert decode(held["tokenBudget"])["maxTokens"] == 10
    assert held["createdAt"] == held["lastActivityAt"] == {"S": "2036-03-01T12:00:00.000Z"}
    assert held["expiresAt"] == {"N": str(shared.clock().timestamp() + 1.25)}
    assert held["ttl"] == {"N": str(int(shared.clock().timestamp()) + 2)}
    assert held["GSI1PK"] == {"S": "USER#u"}
    assert held["GSI2PK"] == {"S": "AGENT#a"}
    assert held["GSI1SK"]["S"].startswith("CREATED_AT#2036-03-01T12:00:00.000Z")
    assert held["GSI2SK"]["S"].startswith("STATUS#active")
    row = rows[f"MSG#2036-03-01T12:00:00.000Z#{sent.id}"]
    assert (row["content"], row["tokenCount"], row["sessionId"]) == ({"S": "hi"}, {"N": "3"}, {"S": session.id})
    assert json.loads(row["metadata"]["S"]) == {"toolCalls": [{"id": "c", "name": "n", "arguments": ""}]}


def test_counts_that_the_kit_adds_to_our_session_are_added(shared: Bench, store: StorageAdapter) -> None:
    session = shared.create(store)
    shared.append(store, session, 2)
    shared.write_rows([message(5, session.id)])
    shared.raw(
        "update_item",
        Key={"PK": {"S": f"SESSION#{session.id}"}, "SK": {"S": "META"}},
        UpdateExpression="SET messageCount = :one, tokenCount = :ten",
        ExpressionAttributeValues={":one": {"N": "1"}, ":ten": {"N": "10"}},
    )
    held = shared.run(store.get_session(session.id))
    assert held is not None
    assert (held.message_count, held.token_count) == (3, 16)
    assert len(shared.run(store.get_messages(session.id, MessageQuery()))) == 3


@pytest.mark.parametrize(
    ("attributes", "content", "tokens"),
    [
        ({"tokenCount": {"NULL": True}}, "text 2", None),
        ({"tokenCount": {"N": "12.5"}}, "text 2", 12),
        ({"updatedAt": {"NULL": True}, "metadata": {"NULL": True}}, "text 2", 10),
        ({"content": {"NULL": True}}, "", 10),
        ({"fromTheFuture": {"M": {}}, "schemaVersion": {"N": "2"}}, "text 2", 10),
    ],
)
def test_odd_attributes_of_a_message_are_read_for_what_they_mean(
    shared: Bench, store: StorageAdapter, attributes: Row, content: str, tokens: int | None
) -> None:
    other = "odd-one"
    shared.write_rows([meta(other, tokenCount=None, messageCount=None), message(2, other, **attributes)])
    [found] = shared.run(store.get_messages(other, MessageQuery()))
    assert (found.content, found.token_count, found.updated_at) == (content, tokens, None)
    edited = shared.run(store.update_message(other, found.id, Patch({"token_count": 7})))
    assert edited.content == content
    held = shared.run(store.get_session(other))
    assert held is not None
    assert (held.message_count, held.token_count) == (1, 7)
    assert shared.run(store.delete_session(other))


@pytest.mark.parametrize(
    "attributes",
    [
        {"role": {"S": "function"}},
        {"metadata": {"S": "{torn"}},
        {"body": {"B": b"?"}, "codec": {"S": "zlib"}},
        {"content": {"N": "1"}},
    ],
)
def test_message_that_cannot_be_read_is_named_and_can_be_removed(
    shared: Bench, store: StorageAdapter, attributes: Row
) -> None:
    other = "damaged-one"
    damaged = [message(second, other, **attributes) for second in (2, 3)]
    shared.write_rows([meta(other, tokenCount=None, messageCount=None), message(1, other), *damaged])
    page = shared.run(store.get_messages(other, MessageQuery()))
    assert ([m.id for m in page], page.unreadable) == ([message_id(1)], (message_id(2), message_id(3)))
    with pytest.raises(
        UnreadableError, match=f"message '{message_id(2)}' of session '{other}' cannot be read"
    ) as caught:
        shared.run(store.get_message(other, message_id(2)))
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    assert shared.run(store.delete_message(other, message_id(2)))
    assert shared.run(store.delete_all_messages(other)) == 2
    held = shared.run(store.get_session(other))
    assert held is not None
    assert held.message_count == 0
    assert shared.run(store.delete_session(other))


def test_session_that_cannot_be_read_is_named(shared: Bench, store: StorageAdapter) -> None:
    user = {"userId": {"S": "dan"}, "GSI1PK": {"S": "USER#dan"}, "GSI1SK": {"S": "CREATED_AT#2025"}}
    shared.write_rows(
        [meta("damaged", status={"S": "archived"}, **user), meta("late", expiresAt={"S": "soon"}, **user)]
    )
    for damaged in ("damaged", "late"):
        with pytest.raises(UnreadableError, match=f"session '{damaged}' cannot be read") as caught:
            shared.run(store.get_session(damaged))
        assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    for wanted in (SessionFilter(user_id="dan"), SessionFilter(tags=frozenset({"none"}))):
        page = shared.run(store.list_sessions(wanted, limit=5))
        assert (page.items, set(page.unreadable)) == ((), {"damaged", "late"})
    assert shared.run(store.delete_session("late"))
    assert shared.run(store.delete_session("damaged"))


def test_reserve_of_no_tokens_is_written(shared: Bench, store: StorageAdapter) -> None:
    """The kit subtracts it without looking whether it is there."""
    session = shared.create(store, token_budget=TokenBudget(max_tokens=10))
    [held] = [row for row in shared.rows(session.id) if row["SK"]["S"] == "META"]
    assert decode(held["tokenBudget"])["reserveTokens"] == 0


BLOCKS = [{"type": "text", "text": ""}, {"type": "text", "text": "card 4111"}]


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("content", ["", BLOCKS, "word " * 1000])
@pytest.mark.parametrize(
    "edit", [{"S": "redacted"}, {"L": [{"M": {"type": {"S": "text"}, "text": {"S": "redacted"}}}]}]
)
def test_content_that_the_kit_edits_counts(shared: Bench, compression: str | None, content: Any, edit: Row) -> None:
    writer = shared.open(compression=compression)
    session = shared.create(writer)
    sent = shared.message(session, content, metadata=MessageMetadata(annotations={"k": 1}))
    shared.run(writer.append_messages(session.id, [sent]))
    [row] = [row for row in shared.rows(session.id) if row["SK"]["S"].startswith("MSG#")]
    shared.write_rows([{**row, "content": edit, "updatedAt": {"S": CREATED}}])
    found = shared.run(shared.open().get_message(session.id, sent.id))
    assert found is not None
    assert found.content == decode(edit)
    changed = shared.run(writer.update_message(session.id, sent.id, Patch({"metadata": MessageMetadata()})))
    assert changed.content == decode(edit)
    assert shared.run(shared.open().get_message(session.id, sent.id)) == changed


def test_text_that_javascript_cut_inside_a_character_is_read(shared: Bench, store: StorageAdapter) -> None:
    cut = {"metadata": {"S": '{"title":"cut \\ud83d","tags":["\\ud83d\\ude00"]}'}}
    shared.write_rows([meta("cut", **cut), message(2, "cut", metadata={"S": '{"annotations":{"a":"\\ud83d"}}'})])
    for held in shared.run(store.list_sessions(SessionFilter(user_id="u-ts"), limit=10)):
        if held.id == "cut":
            assert held.metadata == SessionMetadata(title="cut \ufffd", tags=["\U0001f600"])
    [found] = shared.run(store.get_messages("cut", MessageQuery()))
    assert found.metadata.annotations == {"a": "\ufffd"}


def test_session_at_version_zero_can_be_updated(shared: Bench, store: StorageAdapter) -> None:
    shared.write_rows([meta("zero", version={"N": "0"})])
    changed = shared.run(store.update_session("zero", Patch({"user_id": "u"}), expected_version=1))
    assert (changed.version, changed.user_id) == (2, "u")
