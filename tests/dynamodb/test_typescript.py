"""One table with the TypeScript kit: what it wrote is read, listed, edited and deleted here, and the other way round.

The rows below have the names and formats that the kit was seen to write.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
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

pytestmark = pytest.mark.on(engine=TRUSTED, mode=MODES)

SESSION = "4f6d0f0e-9d6b-4a55-9a1e-5a3f2f1f0c11"
CREATED = "2036-03-01T11:00:00.000Z"
EXPIRES = datetime(2036, 3, 1, 18, 0, 0, tzinfo=UTC)

Row = dict[str, Any]

_numbers = itertools.count()


def meta(session: str = SESSION, **changes: Any) -> Row:
    row: Row = {
        "PK": {"S": f"SESSION#{session}"},
        "SK": {"S": "META"},
        "GSI1PK": {"S": "USER#u-ts"},
        "GSI1SK": {"S": f"CREATED_AT#{CREATED}"},
        "GSI2PK": {"S": "AGENT#a-ts"},
        "GSI2SK": {"S": "STATUS#active"},
        "id": {"S": session},
        "userId": {"S": "u-ts"},
        "activeAgentId": {"S": "a-ts"},
        "status": {"S": "active"},
        "metadata": {"S": json.dumps({"title": "From there", "tags": ["vip"], "custom": {"plan": "pro"}})},
        "participants": {"S": json.dumps([{"id": "p1", "role": "user", "joinedAt": CREATED, "unknown": 1}])},
        "tokenBudget": {
            "M": {
                "maxTokens": {"N": "100"},
                "reserveTokens": {"N": "0"},
                "overflowStrategy": {"S": "error"},
            }
        },
        "compression": {"M": {"strategy": {"S": "sliding_window"}, "targetTokens": {"N": "50"}}},
        "schemaVersion": {"N": "1"},
        "version": {"N": "3"},
        "tokenCount": {"N": "30"},
        "messageCount": {"N": "3"},
        "createdAt": {"S": CREATED},
        "lastActivityAt": {"S": "2036-03-01T11:00:03.000Z"},
        "expiresAt": {"N": str(int(EXPIRES.timestamp()))},
        "ttl": {"N": str(int(EXPIRES.timestamp()))},
    }
    return {name: value for name, value in {**row, **changes}.items() if value is not None}


def message_id(second: int) -> str:
    moment = datetime.fromisoformat(CREATED) + timedelta(seconds=second)
    return f"{int(moment.timestamp() * 1000):015d}-000000-0b0e7c2a-5d0f-4e53-8a5e-1f3c5a7b9d0{second}"


def message(second: int, session: str = SESSION, **changes: Any) -> Row:
    created = f"2036-03-01T11:00:0{second}.000Z"
    held = changes.pop("as_id", message_id(second))
    row: Row = {
        "PK": {"S": f"SESSION#{session}"},
        "SK": {"S": f"MSG#{created}#{held}"},
        "id": {"S": held},
        "sessionId": {"S": session},
        "role": {"S": "user"},
        "content": {"S": f"text {second}"},
        "tokenCount": {"N": "10"},
        "createdAt": {"S": created},
    }
    return {name: value for name, value in {**row, **changes}.items() if value is not None}


CALLS = {
    "toolCalls": [{"id": "c1", "name": "find", "arguments": '{"q":1}'}],
    "toolResults": [{"toolCallId": "c0", "result": "none", "isError": True}],
    "annotations": {"k": ["v", 1.5]},
}
PLAIN_ID = "2b1f6e4e-7c55-4f0d-9a69-5b8f7f1c2d3e"

ROWS = [
    meta(),
    message(1, role={"S": "system"}),
    message(2, content={"L": [{"M": {"type": {"S": "text"}, "text": {"S": "hi"}}}]}, metadata={"S": json.dumps(CALLS)}),
    message(3, as_id=PLAIN_ID, sequence={"N": "3"}, updatedAt={"S": CREATED}),
    {"PK": {"S": f"SESSION#{SESSION}"}, "SK": {"S": "MSG#2036-03-01T11:00:02.500Z#ghost"}, "content": {"S": "edit"}},
]


@pytest.fixture
def shared(bench: Bench) -> Iterator[Bench]:
    """A bench without a namespace, whose formats are the kit's, on a table of its own."""
    bench.namespace = ""
    bench.table = f"shared-{next(_numbers)}"
    yield bench
    bench.raw("delete_table")


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


@pytest.fixture
def beside(shared: Bench) -> StorageAdapter:
    """A store that knows that the kit writes too."""
    return shared.open(beside_kit=True)


def kit_deletes(shared: Bench, session_id: str) -> None:
    """What the kit's delete does: it removes META and the messages, and leaves what it does not know."""
    for row in shared.rows(session_id):
        if row["SK"]["S"] == "META" or row["SK"]["S"].startswith("MSG#"):
            shared.raw("delete_item", Key={name: row[name] for name in ("PK", "SK")})


def kit_sets(shared: Bench, session_id: str, **attributes: Any) -> None:
    """What an update of the kit's adapter does: it changes META alone."""
    key = {"PK": {"S": f"SESSION#{session_id}"}, "SK": {"S": "META"}}
    names = {f"#{name}": name for name in attributes}
    values = {f":{name}": value for name, value in attributes.items()}
    change = "SET " + ", ".join(f"#{name} = :{name}" for name in attributes)
    shared.raw(
        "update_item",
        Key=key,
        UpdateExpression=change,
        ExpressionAttributeNames=names,
        ExpressionAttributeValues=values,
    )


def seconds(moment: datetime) -> Row:
    return {"N": str(moment.timestamp())}


def test_append_after_a_delete_by_the_kit_is_refused(shared: Bench, beside: StorageAdapter) -> None:
    session = shared.create(beside)
    sent = shared.append(beside, session, 2)
    kit_deletes(shared, session.id)
    left = shared.rows(session.id)
    for store in (beside, shared.open(beside_kit=True)):
        with pytest.raises(SessionNotFoundError):
            shared.append(store, session)
        for order in ("asc", "desc"):
            with pytest.raises(SessionNotFoundError):
                shared.run(store.get_messages(session.id, MessageQuery(order=order)))
        with pytest.raises(SessionNotFoundError):
            shared.run(store.get_message(session.id, sent[0].id))
        with pytest.raises(SessionNotFoundError):
            shared.run(store.delete_all_messages(session.id))
    assert shared.rows(session.id) == left


def test_late_message_of_the_kit_is_not_in_the_next_session(shared: Bench, beside: StorageAdapter) -> None:
    session = shared.create(beside)
    shared.append(beside, session)
    assert shared.run(beside.delete_session(session.id))
    shared.write_rows([message(3, session.id)])
    shared.clock.advance(seconds=1)
    anew = session.model_copy(update={"created_at": shared.clock(), "last_activity_at": shared.clock()})
    assert shared.run(beside.create_session(anew)) == anew
    assert len(shared.run(beside.get_messages(session.id, MessageQuery()))) == 0


def test_append_obeys_a_status_that_the_kit_sets(shared: Bench, beside: StorageAdapter) -> None:
    session = shared.create(beside)
    shared.append(beside, session)
    kit_sets(shared, session.id, status={"S": "completed"})
    with pytest.raises(SessionClosedError):
        shared.append(beside, session)
    kit_sets(shared, session.id, status={"S": "active"})
    assert len(shared.append(beside, session)) == 1


@pytest.mark.parametrize("form", ["number", "text"])
def test_expiry_that_the_kit_moves_is_obeyed_everywhere(shared: Bench, beside: StorageAdapter, form: str) -> None:
    session = shared.create(beside, expires_at=shared.clock() + timedelta(minutes=1))
    [sent] = shared.append(beside, session)
    later = shared.clock() + timedelta(hours=5)
    text = {"S": later.strftime("%Y-%m-%dT%H:%M:%S.000Z")}
    kit_sets(shared, session.id, expiresAt=seconds(later) if form == "number" else text)
    shared.clock.advance(minutes=2)
    page = shared.run(beside.get_messages(session.id, MessageQuery(order="desc")))
    assert page.items == (sent,)
    assert shared.run(beside.get_message(session.id, sent.id)) == sent
    assert shared.run(beside.update_message(session.id, sent.id, Patch({"content": "new"}))).content == "new"
    shared.append(beside, session)
    shared.clock.advance(hours=6)
    with pytest.raises(SessionNotFoundError):
        shared.append(beside, session)
    assert session.id in shared.run(beside.get_expired_sessions(shared.clock(), limit=10)).items


def test_hard_limit_counts_what_the_kit_adds_and_sets(shared: Bench, beside: StorageAdapter) -> None:
    session = shared.create(beside, token_budget=TokenBudget(max_tokens=50, overflow_strategy="error"))
    shared.append(beside, session, tokens=10)
    kit_sets(shared, session.id, tokenCount={"N": "30"}, messageCount={"N": "1"})
    with pytest.raises(TokenBudgetExceededError):
        shared.append(beside, session, tokens=11)
    budget = {"maxTokens": {"N": "60"}, "reserveTokens": {"N": "0"}, "overflowStrategy": {"S": "error"}}
    kit_sets(shared, session.id, tokenBudget={"M": budget})
    shared.append(beside, session, tokens=11)


def test_update_brings_appends_in_line_with_what_the_kit_set(shared: Bench, store: StorageAdapter) -> None:
    session = shared.create(store)
    shared.append(store, session)
    kit_sets(shared, session.id, status={"S": "completed"})
    shared.append(store, session)  # without beside_kit an append does not look at META
    shared.run(store.update_session(session.id, Patch({"user_id": "u"})))
    with pytest.raises(SessionClosedError):
        shared.append(store, session)


def test_append_beside_the_kit_is_one_request_of_two_more_units(shared: Bench, beside: StorageAdapter) -> None:
    session = shared.create(beside)
    shared.append(beside, session)
    with shared.meter.counting() as made:
        shared.append(beside, session)
    assert [request.api for request in made] == ["TransactWriteItems"]
    assert shared.transaction_units(made[0]) == 6


def test_message_of_the_kit_with_an_id_without_a_time_is_found(shared: Bench, beside: StorageAdapter) -> None:
    session = shared.create(beside)
    shared.append(beside, session)
    shared.write_rows([message(3, session.id, as_id=PLAIN_ID)])
    assert shared.run(beside.get_message(session.id, PLAIN_ID)) is not None


def test_empty_text_beside_the_kit_is_a_text(shared: Bench, beside: StorageAdapter) -> None:
    session = shared.create(beside)
    [sent] = shared.run(beside.append_messages(session.id, [shared.message(session, "")])).messages
    [row] = [row for row in shared.rows(session.id) if row["SK"]["S"].startswith("MSG#")]
    assert row["content"] == {"S": ""}
    assert shared.run(beside.get_message(session.id, sent.id)) == sent


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
