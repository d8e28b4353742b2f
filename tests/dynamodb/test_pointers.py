"""Messages whose ids their callers chose: what their pointers say is a guess, and the message decides."""

from __future__ import annotations

from typing import Any

import pytest

from session_continuity import Message, MessageMetadata, MessageNotFoundError, Patch, Session, StorageAdapter
from session_continuity_dynamodb.items.keys import Keys
from session_continuity_dynamodb.items.pointers import message_in_pointer, pointer_item
from session_continuity_dynamodb.items.values import item_size

from ..kit.dynamodb_engines import EVERY_ENGINE, TRUSTED
from ..kit.modes import MODES
from .bench import Bench, item_of

pytestmark = pytest.mark.on(engine=EVERY_ENGINE, mode=MODES)

LONG = "x" * 3000


@pytest.fixture
def session(bench: Bench, store: StorageAdapter) -> Session:
    return bench.create(store)


def chosen(bench: Bench, store: StorageAdapter, session: Session, **fields: Any) -> Message:
    message = bench.message(session, id="mine", tokens=5, **fields)
    bench.run(store.append_messages(session.id, [message], client_ids={"mine"}))
    return message


def row_key(bench: Bench, session: Session) -> dict[str, Any]:
    [row] = [row for row in bench.rows(session.id) if row["SK"]["S"].startswith("MSG#")]
    return {name: row[name] for name in ("PK", "SK")}


def test_edit_keeps_what_another_writer_changed_past_the_pointer(
    bench: Bench, store: StorageAdapter, session: Session
) -> None:
    chosen(bench, store, session, metadata=MessageMetadata(annotations={"by": "us"}))
    bench.raw(
        "update_item",
        Key=row_key(bench, session),
        UpdateExpression="SET metadata = :m, tokenCount = :t, updatedAt = :u",
        ExpressionAttributeValues={
            ":m": {"S": '{"annotations":{"by":"them"}}'},
            ":t": {"N": "5"},
            ":u": {"S": "2036-03-01T12:00:01.000Z"},
        },
    )
    after = bench.run(bench.open().update_message(session.id, "mine", Patch({"content": "new"})))
    assert (after.content, after.metadata.annotations) == ("new", {"by": "them"})
    assert bench.run(bench.open().get_message(session.id, "mine")) == after


def test_pointer_to_nothing_finds_nothing(bench: Bench, store: StorageAdapter, session: Session) -> None:
    chosen(bench, store, session)
    bench.raw("delete_item", Key=row_key(bench, session))
    cold = bench.open()
    with pytest.raises(MessageNotFoundError):
        bench.run(cold.update_message(session.id, "mine", Patch({"content": "new"})))
    assert not bench.run(cold.delete_message(session.id, "mine"))
    assert bench.run(cold.get_message(session.id, "mine")) is None


@pytest.mark.on(engine=TRUSTED)
def test_two_edits_of_different_fields_both_hold(bench: Bench) -> None:
    store = bench.open()
    session = bench.create(store)
    message = chosen(bench, store, session, content=[{"type": "text", "text": ""}])
    data = MessageMetadata(annotations={"n": 1})
    stores = bench.open(), bench.open()
    bench.run_together(
        lambda: stores[0].update_message(session.id, "mine", Patch({"content": LONG})),
        lambda: stores[1].update_message(session.id, "mine", Patch({"metadata": data, "token_count": 8})),
    )
    held = bench.run(bench.open().get_message(session.id, "mine"))
    assert held == message.model_copy(update={"content": LONG, "metadata": data, "token_count": 8})


@pytest.mark.on(engine=TRUSTED, mode=["blocking"])
@pytest.mark.parametrize(
    ("fields", "lacks"),
    [
        ({"content": "short"}, set[str]()),
        ({"content": ""}, set[str]()),
        ({"content": LONG}, {"content"}),
        ({"content": LONG, "metadata": {"annotations": {"a": "b"}}}, {"content"}),
        ({"content": "short", "metadata": {"annotations": {"a": LONG}}}, {"content", "metadata"}),
    ],
)
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_pointer_costs_one_unit_and_knows_what_it_lacks(
    bench: Bench, fields: dict[str, Any], lacks: set[str], compression: Any
) -> None:
    stated = {**fields, "metadata": MessageMetadata.model_validate(fields.get("metadata", {}))}
    message = bench.message("s", id="mine", **stated)
    item = item_of(Keys(), message, own_id=True, compression=compression)
    pointer = pointer_item(item)
    assert item_size(pointer) <= 1024
    found, missing = message_in_pointer(pointer)
    assert found.items() <= item.items()
    assert missing <= {"content", "metadata"}
    if compression is None:
        assert missing == lacks
    if not missing:
        assert {*item} - {*found} == {"sessionId"}
