"""Messages in parts where requests fail and others come between: each is seen whole, as one writer left it, or not."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from session_continuity import (
    Message,
    MessageMetadata,
    MessageNotFoundError,
    MessageQuery,
    Patch,
    SessionNotFoundError,
    StorageAdapter,
    StorageError,
    UnavailableError,
    UnreadableError,
    run_now,
)

from ..kit.dynamodb_engines import TRUSTED
from ..kit.dynamodb_proxy import Call, DynamoDBProxy, Pause, lose_reply, refuse
from ..kit.modes import MODES
from .bench import Bench
from .large_messages import MB, OTHER, SMALL, append, cold, parts, sorts, totals

pytestmark = pytest.mark.on(engine=TRUSTED, mode=["blocking"])


def test_large_append_that_the_service_refuses_leaves_nothing(bench: Bench, proxy: DynamoDBProxy) -> None:
    store = bench.open(endpoint_url=proxy.url)
    session = bench.create(store)
    proxy.rules["TransactWriteItems"] = [refuse("ValidationException")]
    with pytest.raises(StorageError):
        append(bench, store, session)
    assert sorted(sorts(bench, session)) == ["META", "MSG$ACTIVITY"]


def test_lost_replies_of_a_large_append_and_its_edits_count_once(bench: Bench, proxy: DynamoDBProxy) -> None:
    store = bench.open(endpoint_url=proxy.url)
    session = bench.create(store)
    proxy.rules["TransactWriteItems"] = [lose_reply]
    sent = append(bench, store, session, tokens=10)
    assert (parts(bench, session), totals(bench, store, session)) == (3, (1, 10))
    for content, count in ((OTHER, 2), ("x" * MB, 3), (SMALL, 0)):
        proxy.rules["TransactWriteItems"] = [lose_reply]
        run_now(store.update_message(session.id, sent.id, Patch({"content": content, "token_count": 4})))
        assert (parts(bench, session), totals(bench, store, session)) == (count, (1, 4))
        held = run_now(cold(bench).get_message(session.id, sent.id))
        assert held is not None
        assert held.content == content


@pytest.mark.parametrize("content", [SMALL, OTHER])
@pytest.mark.parametrize("lost", ["UpdateItem", "PutItem"])
def test_lost_reply_of_a_serial_append_and_its_edit_loses_nothing(
    bench: Bench, proxy: DynamoDBProxy, content: str, lost: str
) -> None:
    store = bench.open(endpoint_url=proxy.url, append="serial")
    session = bench.create(store)
    proxy.rules[lost] = [lose_reply]
    sent = append(bench, store, session, content, tokens=10)
    assert run_now(cold(bench).get_message(session.id, sent.id)) == sent
    assert totals(bench, store, session) == (1, 10)
    for changed in ("x" * MB, "small again"):
        proxy.rules[lost] = [lose_reply]
        after = run_now(store.update_message(session.id, sent.id, Patch({"content": changed, "token_count": 4})))
        assert run_now(cold(bench).get_message(session.id, sent.id)) == after
        assert totals(bench, store, session) == (1, 4)


@pytest.mark.parametrize("content", [OTHER, SMALL])
def test_reader_between_a_head_and_its_parts_sees_the_edit_whole(
    bench: Bench, proxy: DynamoDBProxy, content: str
) -> None:
    store = bench.open()
    session = bench.create(store)
    sent = append(bench, store, session)
    slow = bench.open(endpoint_url=proxy.url, read_timeout=60)
    pause = Pause()
    with ThreadPoolExecutor(1) as thread:
        proxy.rules["Query"] = [pause.after]
        read = thread.submit(run_now, slow.get_messages(session.id, MessageQuery()))
        try:
            pause.wait()
            after = run_now(store.update_message(session.id, sent.id, Patch({"content": content})))
        finally:
            pause.release()
        assert read.result().items == (after,)


def test_reader_between_a_head_and_its_parts_does_not_see_what_was_removed(bench: Bench, proxy: DynamoDBProxy) -> None:
    store = bench.open()
    session = bench.create(store)
    first, second, third = (append(bench, store, session, content) for content in (OTHER, OTHER, SMALL))
    slow = bench.open(endpoint_url=proxy.url, read_timeout=60)
    pause = Pause()
    with ThreadPoolExecutor(1) as thread:
        proxy.rules["Query"] = [pause.after]
        query = MessageQuery(roles=frozenset({"user"}))
        read = thread.submit(run_now, slow.get_messages(session.id, query))
        try:
            pause.wait()
            run_now(store.delete_message(session.id, first.id))
            run_now(store.update_message(session.id, second.id, Patch({"content": "z" * MB, "role": "tool"})))
        finally:
            pause.release()
        assert read.result().items == (third,)


def test_missing_part_is_an_error_and_its_message_can_be_removed(bench: Bench) -> None:
    store = bench.open()
    session = bench.create(store)
    sent = append(bench, store, session)
    part = next(row for row in bench.rows(session.id) if row["SK"]["S"].startswith("PART#"))
    bench.raw("delete_item", Key={name: part[name] for name in ("PK", "SK")})
    with pytest.raises(UnreadableError, match=f"message '{sent.id}' of session '{session.id}' cannot be read"):
        run_now(store.get_message(session.id, sent.id))
    assert run_now(store.get_messages(session.id, MessageQuery())).unreadable == (sent.id,)
    assert run_now(cold(bench).delete_message(session.id, sent.id))
    assert sorted(sorts(bench, session)) == ["META", "MSG$ACTIVITY"]


@pytest.mark.on(mode=MODES)
def test_readers_beside_edits_see_one_body_or_another(bench: Bench) -> None:
    store = bench.open()
    session = bench.create(store)
    contents = [letter * (MB // 2) for letter in "abcdef"]
    sent = append(bench, store, session, contents[0])

    async def edit(writer: StorageAdapter, content: str) -> Message:
        return await writer.update_message(session.id, sent.id, Patch({"content": content}))

    async def read() -> set[str]:
        return {str((await store.get_messages(session.id, MessageQuery()))[0].content) for _ in range(8)}

    writers = [bench.open() for _ in contents[1:]]
    edits = [lambda w=writer, c=content: edit(w, c) for writer, content in zip(writers, contents[1:], strict=True)]
    outcomes = bench.run_together(*edits, read, read)
    assert [outcome for outcome in outcomes if isinstance(outcome, BaseException)] == []
    for seen in outcomes[-2:]:
        assert seen <= set(contents)  # type: ignore[operator]
    last = bench.run(cold(bench).get_message(session.id, sent.id))
    assert last is not None
    assert last.content in contents[1:]
    assert parts(bench, session) == 2


@pytest.mark.on(mode=MODES)
def test_edits_of_different_fields_at_once_both_hold(bench: Bench) -> None:
    store = bench.open()
    session = bench.create(store)
    sent = append(bench, store, session, id="mine")
    data = MessageMetadata(annotations={"n": 1})
    stores = bench.open(), bench.open(), bench.open()
    outcomes = bench.run_together(
        lambda: stores[0].update_message(session.id, "mine", Patch({"content": OTHER})),
        lambda: stores[1].update_message(session.id, "mine", Patch({"metadata": data})),
        lambda: stores[2].update_message(session.id, "mine", Patch({"token_count": 8})),
    )
    assert [outcome for outcome in outcomes if isinstance(outcome, BaseException)] == []
    expected = sent.model_copy(update={"content": OTHER, "metadata": data, "token_count": 8})
    assert bench.run(cold(bench).get_message(session.id, "mine")) == expected
    assert parts(bench, session) == 2
    assert totals(bench, store, session) == (1, 8)


@pytest.mark.on(mode=MODES)
def test_removal_beside_an_edit_leaves_no_part(bench: Bench) -> None:
    store, other = bench.open(), bench.open()
    session = bench.create(store)
    for _ in range(4):
        sent = append(bench, store, session)
        removed, edited = bench.run_together(
            partial(store.delete_message, session.id, sent.id),
            partial(other.update_message, session.id, sent.id, Patch({"content": OTHER})),
        )
        assert removed is True
        assert isinstance(edited, (Message, MessageNotFoundError))
        assert sorted(sorts(bench, session)) == ["META", "MSG$ACTIVITY"]


@pytest.mark.on(mode=MODES)
def test_delete_of_a_session_beside_edits_leaves_no_row(bench: Bench) -> None:
    store, other = bench.open(), bench.open()
    session = bench.create(store)
    sent = [append(bench, store, session, OTHER, id=f"m{n}") for n in range(3)]
    deleted, *edits = bench.run_together(
        lambda: store.delete_session(session.id),
        *[
            lambda message=message: other.update_message(session.id, message.id, Patch({"content": "x" * MB}))
            for message in sent
        ],
    )
    assert deleted is True
    assert all(isinstance(edit, (Message, SessionNotFoundError, MessageNotFoundError)) for edit in edits)
    assert bench.rows(session.id) == []


@pytest.mark.parametrize(
    ("api", "forwarded"),
    [("PutItem", 0), ("PutItem", 1), ("PutItem", 2), ("PutItem", 3), ("UpdateItem", 0), ("PutItem", 4)],
    ids=["first part", "second part", "third part", "pointer", "totals", "head"],
)
def test_serial_append_that_ends_before_its_head_shows_nothing_and_may_be_repeated(
    bench: Bench, proxy: DynamoDBProxy, api: str, forwarded: int
) -> None:
    dying = bench.open(endpoint_url=proxy.url, append="serial", max_attempts=1)
    session = bench.create(dying)
    proxy.rules[api] = [*[Call.forward] * forwarded, refuse("InternalServerError", 500)]
    message = bench.message(session, "x" * MB, id="mine")
    with pytest.raises(UnavailableError):
        run_now(dying.append_messages(session.id, [message], client_ids={"mine"}))
    store = bench.open(append="serial")
    assert run_now(store.get_messages(session.id, MessageQuery())).items == ()
    assert run_now(store.get_message(session.id, "mine")) is None
    assert "MSG" not in sorts(bench, session)
    again = run_now(store.append_messages(session.id, [message], client_ids={"mine"})).messages
    assert [each.content for each in again] == [message.content]
    assert run_now(cold(bench).get_messages(session.id, MessageQuery())).items == again
    assert run_now(store.delete_session(session.id))
    assert bench.rows(session.id) == []


def test_edit_that_ends_before_its_old_parts_are_removed_is_whole(bench: Bench, proxy: DynamoDBProxy) -> None:
    store = bench.open(endpoint_url=proxy.url)
    session = bench.create(store)
    sent = append(bench, store, session, "x" * (2 * MB))
    proxy.rules["BatchWriteItem"] = [refuse("ValidationException")]
    with pytest.raises(StorageError):
        run_now(store.update_message(session.id, sent.id, Patch({"content": "y" * (2 * MB)})))
    held = run_now(cold(bench).get_messages(session.id, MessageQuery()))
    assert [message.content for message in held] == ["y" * (2 * MB)]
    assert parts(bench, session) == 12
    assert run_now(store.delete_session(session.id))
    assert bench.rows(session.id) == []
