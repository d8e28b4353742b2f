"""Messages that do not fit into one item: what they hold, what they cost, and that no part of one is seen alone."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from session_continuity import (
    AsyncSessionManager,
    Message,
    MessageMetadata,
    MessageQuery,
    MessageTooLargeError,
    Patch,
    Session,
    SessionClosedError,
    SessionManager,
    SessionNotFoundError,
    TokenBudget,
    run_now,
)
from session_continuity_dynamodb import DynamoDBStorage
from session_continuity_dynamodb.config import MAX_ITEM_BYTES, PART_BYTES
from session_continuity_dynamodb.items.keys import Keys
from session_continuity_dynamodb.items.values import item_size
from session_continuity_dynamodb.operations.hints import Hints
from session_continuity_dynamodb.operations.system_messages import MOST

from ..kit.dynamodb_engines import TRUSTED
from ..kit.dynamodb_meter import apis
from ..kit.modes import MODES
from .bench import Bench, item_of
from .conftest import StartEngine
from .large_messages import MB, OTHER, SMALL, append, cold, parts, sorts, totals

pytestmark = pytest.mark.on(engine=TRUSTED, mode=["blocking"])

IMAGE = base64.b64encode(random.Random(1).randbytes(MB * 3 // 2)).decode()

SHAPES: dict[str, dict[str, Any]] = {
    "ASCII": {"content": "x" * MB},
    "several bytes a character": {"content": "é€🙂" * 120_000},
    "what JSON escapes": {"content": '"\\\n\0' * 120_000},
    "an image": {
        "content": [
            {"type": "text", "text": "what is it?"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{IMAGE}"}},
            {"type": "text", "text": ""},
        ]
    },
    "metadata": {"content": "short", "metadata": MessageMetadata(annotations={"log": "y" * MB, "n": 1.5})},
}


@pytest.fixture(params=[("local", "async"), ("dynalite", "blocking")], ids="-".join)
def large(request: pytest.FixtureRequest, start_engine: StartEngine) -> Iterator[Bench]:
    """Stores on the engines that measure items as the service does, each mode on one of them."""
    engine, mode = request.param
    held = Bench(start_engine(engine), mode)
    yield held
    held.close()


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("shape", SHAPES)
def test_large_message_comes_back_as_it_went(large: Bench, shape: str, compression: Any) -> None:
    store = large.open(compression=compression)
    session = large.create(store)
    sent = append(large, store, session, **SHAPES[shape])
    assert (parts(large, session) > 0) == (compression is None or shape == "an image")
    unaware = cold(large)
    assert large.run(unaware.get_message(session.id, sent.id)) == sent
    assert large.run(unaware.get_messages(session.id, MessageQuery())).items == (sent,)
    assert large.run(unaware.get_messages(session.id, MessageQuery(ids=frozenset({sent.id})))).items == (sent,)
    assert large.run(store.delete_session(session.id))
    assert large.rows(session.id) == []


def test_body_that_compression_does_not_make_small_enough_is_stored_packed(bench: Bench) -> None:
    store = bench.open(compression="zlib")
    session = bench.create(store)
    sent = append(bench, store, session, base64.b64encode(random.Random(2).randbytes(MB)).decode())
    rows = [row for row in bench.rows(session.id) if row["SK"]["S"].startswith("PART#")]
    assert sum(len(row["data"]["B"]) for row in rows) < 1.1 * MB
    assert run_now(cold(bench).get_message(session.id, sent.id)) == sent


def test_pages_roles_and_cursors_count_large_messages_as_one(large: Bench) -> None:
    store = large.open()
    session = large.create(store)
    sent = [
        append(large, store, session, f"{n} " + "x" * (MB // 2 if n % 2 else 10), role="user" if n % 3 else "system")
        for n in range(6)
    ]
    for order, expected in (("asc", sent), ("desc", sent[::-1])):
        found: list[Message] = []
        cursor = None
        while True:
            page = large.run(store.get_messages(session.id, MessageQuery(order=order, limit=2), cursor=cursor))  # type: ignore[arg-type]
            found += page
            cursor = page.next_cursor
            if cursor is None:
                break
            assert len(page) == 2
        assert found == expected
    system = large.run(store.get_messages(session.id, MessageQuery(roles=frozenset({"system"}))))
    assert list(system) == sent[::3]
    between_ = large.run(store.get_messages(session.id, MessageQuery(after_id=sent[1].id, before_id=sent[5].id)))
    assert list(between_) == sent[2:5]


@pytest.mark.on(mode=MODES)
def test_context_holds_large_messages_whole(bench: Bench) -> None:
    store = bench.open()
    session = bench.create(store, token_budget=TokenBudget(max_tokens=1000))
    sent = [append(bench, store, session, f"{n} " + "x" * MB, role=role) for n, role in enumerate(("system", "user"))]
    if bench.mode == "async":
        found = bench.run(AsyncSessionManager(store).get_conversation_context(session.id))
    else:
        found = SessionManager(store).get_conversation_context(session.id)
    assert found == sent


def sized(bench: Bench, session: Session, size: int, **fields: Any) -> Message:
    """A message whose item takes just so many bytes."""
    message = bench.message(session, "x", **fields)
    item = item_of(Keys(bench.namespace), message, own_id="id" in fields, compression=None)
    return message.model_copy(update={"content": "x" * (size - item_size(item) + 1)})


def test_conversation_holds_large_system_messages_outside_of_its_page(large: Bench) -> None:
    store = large.open()
    session = large.create(store)
    rules = append(large, store, session, role="system")
    append(large, store, session, "hello")
    read = large.run(cold(large).get_conversation(session.id, MessageQuery(order="desc", limit=1)))
    assert [message.content for message in read.messages] == ["hello"]
    assert read.system_messages == (rules,)


def test_item_of_the_limit_is_one_item_and_one_byte_more_is_parts(large: Bench) -> None:
    store = large.open()
    session = large.create(store)
    for size, expected in ((MAX_ITEM_BYTES, 0), (MAX_ITEM_BYTES + 1, 2)):
        message = sized(large, session, size)
        large.run(store.append_messages(session.id, [message]))
        assert parts(large, session) == expected
        assert large.run(cold(large).get_message(session.id, message.id)) == message


def test_largest_message_is_stored_and_one_byte_more_is_refused_before_sending(large: Bench) -> None:
    store = large.open()
    session = large.create(store)
    limit = 10 * PART_BYTES
    assert store.capabilities.max_message_bytes == limit
    sent = append(large, store, session, "x" * (limit - len('["",{}]')), id="mine")
    before = large.rows(session.id)
    for call in (
        lambda: store.append_messages(session.id, [large.message(session, f"{sent.content}x")]),
        lambda: store.update_message(session.id, sent.id, Patch({"content": f"{sent.content}x"})),
    ):
        with large.meter.counting() as made, pytest.raises(MessageTooLargeError) as raised:
            large.run(call())
        assert (raised.value.size, raised.value.limit) == (limit + 1, limit)
        assert set(apis(made)) <= {"BatchGetItem"}
    assert large.rows(session.id) == before
    edited = large.run(store.update_message(session.id, "mine", Patch({"content": f"y{sent.content[1:]}"})))
    assert large.run(cold(large).get_message(session.id, "mine")) == edited
    assert parts(large, session) * PART_BYTES == limit


@pytest.mark.parametrize(
    ("options", "limit"),
    [
        ({}, 10 * PART_BYTES),
        ({"append": "serial", "transaction_items": 4}, 10 * PART_BYTES),
        ({"transaction_items": 10}, 6 * PART_BYTES),
        ({"transaction_items": 6}, 2 * PART_BYTES),
        ({"transaction_items": 5}, MAX_ITEM_BYTES),
        ({"transaction_items": 4}, MAX_ITEM_BYTES),
    ],
)
def test_limit_follows_from_what_one_transaction_takes(options: dict[str, Any], limit: int) -> None:
    assert DynamoDBStorage(table="any", **options).capabilities.max_message_bytes == limit


@pytest.mark.parametrize("items", [4, 10, 100])
def test_largest_message_may_be_a_system_message_before_and_after(bench: Bench, items: int) -> None:
    store = bench.open(transaction_items=items, read_timeout=60)
    session = bench.create(store)
    bench.append(store, session, MOST, role="system")
    run_now(store.append_messages(session.id, [bench.message(session, "rule", id="mine")], client_ids=["mine"]))
    text = "x" * (store.capabilities.max_message_bytes - 1000)
    with bench.meter.counting() as made:
        for role in ("system", "user", "system"):
            run_now(store.update_message(session.id, "mine", Patch({"role": role, "content": text + role})))
            held = run_now(bench.open().get_session(session.id))
            assert held is not None
            assert ("mine" in held.system_message_ids) == (role == "system")
        assert run_now(store.delete_message(session.id, "mine"))
    assert max(len(request.params.get("TransactItems", ())) for request in made) <= items
    assert len(bench.rows(session.id)) == 2 + MOST


def test_message_is_one_item_where_a_transaction_has_no_room_for_parts(bench: Bench) -> None:
    store = bench.open(transaction_items=4)
    session = bench.create(store)
    run_now(store.append_messages(session.id, [sized(bench, session, MAX_ITEM_BYTES, id="mine")], client_ids={"mine"}))
    with bench.meter.counting() as made, pytest.raises(MessageTooLargeError) as raised:
        run_now(store.append_messages(session.id, [sized(bench, session, MAX_ITEM_BYTES + 1)]))
    assert (raised.value.size, raised.value.limit) == (MAX_ITEM_BYTES + 1, MAX_ITEM_BYTES)
    assert made == []


def test_turn_that_has_more_parts_than_a_transaction_takes_is_refused_before_sending(bench: Bench) -> None:
    store = bench.open(transaction_items=10)
    session = bench.create(store)
    turn = [bench.message(session, "x" * MB) for _ in range(2)]
    run_now(store.append_messages(session.id, turn))
    assert run_now(cold(bench).get_messages(session.id, MessageQuery())).items == tuple(turn)
    more = [bench.message(session, "x" * MB) for _ in range(3)]
    with bench.meter.counting() as made, pytest.raises(MessageTooLargeError) as raised:
        run_now(store.append_messages(session.id, more))
    assert (raised.value.size, raised.value.limit) == (9 * PART_BYTES, 6 * PART_BYTES)
    assert made == []


def test_append_of_a_large_message_is_one_request_of_its_bytes(bench: Bench) -> None:
    store = bench.open()
    session = bench.create(store)
    with bench.meter.counting() as made:
        append(bench, store, session)
    assert apis(made) == ["TransactWriteItems"]
    assert bench.transaction_units(made[0]) == 2 * (1 + 1 + 397 + 397 + 233)


@pytest.mark.on(mode=MODES)
def test_page_with_large_messages_is_one_request_more_and_one_without_none(bench: Bench) -> None:
    store = bench.open(consistent_read=False)
    session = bench.create(store)
    for n in range(3):
        append(bench, store, session, "x" * MB, id=f"large {n}")
    bench.append(store, session, 20)
    unaware = cold(bench, consistent_read=False)
    with bench.meter.counting() as made:
        assert len(bench.run(unaware.get_messages(session.id, MessageQuery(order="desc", limit=20)))) == 20
    assert apis(made) == ["Query"]
    assert made[0].units <= 1.5
    with bench.meter.counting() as made:
        assert len(bench.run(unaware.get_messages(session.id, MessageQuery(order="desc", limit=23)))) == 23
    assert apis(made) == ["Query", "BatchGetItem"]
    assert made[1].units == 3 * (50 + 50 + 29.5)
    with bench.meter.counting() as made:
        assert bench.run(unaware.get_message(session.id, "large 1")) is not None
    assert apis(made) == ["BatchGetItem"] * 2


def test_appends_and_edits_of_small_messages_cost_what_they_did(bench: Bench) -> None:
    store = bench.open()
    session = bench.create(store)
    append(bench, store, session)
    with bench.meter.counting() as made:
        [small] = bench.append(store, session)
        bench.run(store.update_message(session.id, small.id, Patch({"content": "other"})))
    assert apis(made) == ["TransactWriteItems"] * 2
    assert [bench.transaction_units(request) for request in made] == [4, 4]


@pytest.mark.parametrize(
    "fields",
    [
        {"content": IMAGE[:100_000]},
        {"content": [{"type": "text", "text": "word " * 10_000}]},
        {"content": [{"type": "text", "text": ""}, {"type": "text", "text": "word " * 10_000}]},
        {"content": "short", "metadata": MessageMetadata(annotations={"log": IMAGE[:100_000]})},
    ],
    ids=["text", "blocks", "blocks as JSON", "metadata"],
)
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_long_bodies_are_not_kept_in_memory(bench: Bench, fields: dict[str, Any], compression: Any) -> None:
    long, short = bench.message("s", **fields), bench.message("s", "short")
    rows = [item_of(Keys(), message, own_id=False, compression=compression) for message in (long, short)]
    known = Hints()
    known.remember_rows("s", rows)
    assert known.row("s", short.id) == rows[1]
    kept = known.row("s", long.id)
    assert kept is None or item_size(kept) < 9000


@pytest.mark.parametrize("id", ["mine", None])
@pytest.mark.parametrize("warm", [True, False])
def test_edits_between_small_and_large_leave_just_what_is_named(large: Bench, id: str | None, warm: bool) -> None:
    store = large.open()
    session = large.create(store)
    expected = append(large, store, session, SMALL, **({} if id is None else {"id": id}))
    edits: list[tuple[dict[str, Any], int]] = [
        ({"content": "x" * MB}, 3),
        ({"content": OTHER, "token_count": 9}, 2),
        ({"role": "system", "token_count": 8}, 2),
        ({"metadata": MessageMetadata(annotations={"a": 1})}, 2),
        ({"content": "x" * MB, "metadata": MessageMetadata(annotations={"b": 2})}, 3),
        ({"content": SMALL}, 0),
        ({"content": OTHER}, 2),
    ]
    for changes, count in edits:
        expected = expected.model_copy(update=changes)
        writer = store if warm else cold(large)
        assert large.run(writer.update_message(session.id, expected.id, Patch(changes))) == expected
        assert large.run(cold(large).get_message(session.id, expected.id)) == expected
        assert parts(large, session) == count
        assert totals(large, store, session) == (1, expected.token_count)
    assert large.run((store if warm else cold(large)).delete_message(session.id, expected.id))
    assert sorted(sorts(large, session)) == ["META", "MSG$ACTIVITY"]


def test_edit_of_role_and_tokens_reads_a_large_body_and_writes_none(bench: Bench) -> None:
    store = bench.open()
    session = bench.create(store)
    sent = append(bench, store, session)
    with bench.meter.counting() as made:
        bench.run(store.update_message(session.id, sent.id, Patch({"role": "system", "token_count": 7})))
    assert apis(made) == ["BatchGetItem", "TransactWriteItems"]
    assert bench.transaction_units(made[1]) == 4


def test_edit_that_replaces_a_large_body_does_not_read_it(bench: Bench) -> None:
    store = bench.open()
    session = bench.create(store)
    sent = append(bench, store, session, id="mine")
    patch = Patch({"content": "short"}, clear=frozenset({"metadata"}))
    with bench.meter.counting() as made:
        bench.run(cold(bench).update_message(session.id, sent.id, patch))
    assert apis(made) == ["BatchGetItem", "TransactWriteItems"]
    assert made[0].units == 2
    assert parts(bench, session) == 0


def test_parts_that_do_not_fit_into_the_transaction_are_removed_after_it(bench: Bench) -> None:
    store = bench.open()
    session = bench.create(store)
    sent = append(bench, store, session, "x" * (2 * MB))
    with bench.meter.counting() as made:
        bench.run(store.update_message(session.id, sent.id, Patch({"content": "y" * (2 * MB)})))
    assert apis(made) == ["BatchGetItem", "TransactWriteItems", "BatchWriteItem"]
    assert parts(bench, session) == 6
    with bench.meter.counting() as made:
        assert bench.run(store.delete_message(session.id, sent.id))
    assert apis(made) == ["TransactWriteItems"]
    assert parts(bench, session) == 0


def test_deleting_all_messages_leaves_no_part(large: Bench) -> None:
    store = large.open()
    session = large.create(store)
    for n in range(4):
        append(large, store, session, "x" * (MB // 2), id=f"large {n}")
        large.append(store, session, 3)
    append(large, store, session, "x" * (2 * MB))
    assert large.run(store.delete_all_messages(session.id)) == 17
    assert sorted(sorts(large, session)) == ["META", "MSG$ACTIVITY"]
    assert totals(large, store, session) == (0, 0)


@pytest.mark.parametrize("id", ["mine", None])
def test_large_append_that_is_repeated_is_stored_once(large: Bench, id: str | None) -> None:
    store = large.open()
    session = large.create(store)
    sent = append(large, store, session, **({} if id is None else {"id": id}))
    before = large.rows(session.id)
    for again in (store, cold(large)):
        chosen = set[str]() if id is None else {id}
        repeated = large.run(again.append_messages(session.id, [sent], client_ids=chosen))
        assert repeated.repeated
        assert repeated.messages == (sent,)
    assert large.rows(session.id) == before


def test_large_append_that_is_refused_leaves_nothing(large: Bench) -> None:
    store = large.open()
    session = large.create(store)
    append(large, store, session, SMALL, id="taken")
    before = len(large.rows(session.id))
    with pytest.raises(Exception, match="belongs to another message"):
        append(large, store, session, id="taken")
    assert len(large.rows(session.id)) == before
    large.run(store.update_session(session.id, Patch({"status": "completed"})))
    for fields in ({}, {"id": "mine"}):
        with pytest.raises(SessionClosedError):
            append(large, store, session, **fields)
    assert len(large.rows(session.id)) == before
    with pytest.raises(SessionNotFoundError):
        append(large, store, large.session(id="nobody"))
    assert large.rows("nobody") == []


def test_delete_of_a_session_does_not_list_the_parts_of_its_messages(bench: Bench) -> None:
    store = bench.open()
    session = bench.create(store)
    for number in range(12):
        append(bench, store, session, **({"id": f"own-{number}"} if number < 2 else {}))
    with bench.meter.counting() as requests:
        assert run_now(store.delete_session(session.id))
    assert bench.rows(session.id) == []
    assert sum(request.api == "Query" for request in requests) <= 3


def test_expired_session_goes_with_its_parts(bench: Bench) -> None:
    store = bench.open()
    session = bench.create(store, expires_at=bench.clock() + timedelta(hours=1))
    append(bench, store, session)
    bench.clock.advance(hours=3)
    assert run_now(store.get_expired_sessions(bench.clock(), limit=5)).items == (session.id,)
    assert run_now(store.delete_session(session.id, expired_before=bench.clock()))
    assert bench.rows(session.id) == []


def head(bench: Bench, session: Session) -> dict[str, Any]:
    [row] = [row for row in bench.rows(session.id) if row["SK"]["S"].startswith("MSG#")]
    return row


def test_writer_that_knows_no_parts_sees_the_beginning_of_the_text(bench: Bench) -> None:
    store = bench.open()
    session = bench.create(store)
    append(bench, store, session, "It was a dark and stormy night. " * 40_000)
    row = head(bench, session)
    assert row["content"]["S"].startswith("It was a dark and stormy night. ")
    assert "in parts" in row["content"]["S"]
    assert len(row["content"]["S"]) < 300
    assert row["role"] == {"S": "user"}
    assert row["tokenCount"] == {"N": "3"}
    assert "metadata" not in row


@pytest.mark.parametrize("content", [{"S": "theirs"}, {"L": [{"M": {"type": {"S": "text"}, "text": {"S": "t"}}}]}])
def test_edit_by_a_writer_that_knows_no_parts_holds(bench: Bench, content: dict[str, Any]) -> None:
    store = bench.open()
    session = bench.create(store)
    sent = append(bench, store, session, metadata=MessageMetadata(annotations={"a": 1}))
    row = head(bench, session)
    bench.raw(
        "update_item",
        Key={name: row[name] for name in ("PK", "SK")},
        UpdateExpression="SET content = :c, updatedAt = :u",
        ExpressionAttributeValues={":c": content, ":u": {"S": "2036-03-01T12:00:01.000Z"}},
    )
    expected = run_now(store.get_message(session.id, sent.id))
    assert expected is not None
    assert expected.content == ("theirs" if "S" in content else [{"type": "text", "text": "t"}])
    assert expected.metadata == sent.metadata
    for patch in (Patch({"token_count": 9}), Patch({"metadata": MessageMetadata(annotations={"b": 2})})):
        expected = patch.apply(expected)
        assert run_now(store.update_message(session.id, sent.id, patch)) == expected
        assert run_now(cold(bench).get_message(session.id, sent.id)) == expected
    assert parts(bench, session) == 0
