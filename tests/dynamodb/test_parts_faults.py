"""Messages in parts where requests fail and others come between: each is seen whole, as one writer left it, or not."""

from __future__ import annotations

from collections.abc import Iterator
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
    StorageError,
    UnavailableError,
    run_now,
)
from session_continuity_dynamodb import DynamoDBStorage

from .bench import Bench
from .proxy import Call, Proxy, between, lose, refuse
from .test_parts import MB, OTHER, SMALL, append, cold, parts, sorts, totals
from .test_removal import Stop


@pytest.fixture
def proxy(quick: Bench) -> Iterator[Proxy]:
    with between(quick.engine.url) as held:
        yield held


def test_large_append_that_the_service_refuses_leaves_nothing(quick: Bench, proxy: Proxy) -> None:
    store = quick.open(endpoint_url=proxy.url)
    session = quick.create(store)
    proxy.rules["TransactWriteItems"] = [refuse("ValidationException")]
    with pytest.raises(StorageError):
        append(quick, store, session)
    assert sorted(sorts(quick, session)) == ["META", "MSG$ACTIVITY"]


def test_lost_replies_of_a_large_append_and_its_edits_count_once(quick: Bench, proxy: Proxy) -> None:
    store = quick.open(endpoint_url=proxy.url)
    session = quick.create(store)
    proxy.rules["TransactWriteItems"] = [lose]
    sent = append(quick, store, session, tokens=10)
    assert (parts(quick, session), totals(quick, store, session)) == (3, (1, 10))
    for content, count in ((OTHER, 2), ("x" * MB, 3), (SMALL, 0)):
        proxy.rules["TransactWriteItems"] = [lose]
        run_now(store.update_message(session.id, sent.id, Patch({"content": content, "token_count": 4})))
        assert (parts(quick, session), totals(quick, store, session)) == (count, (1, 4))
        held = run_now(cold(quick).get_message(session.id, sent.id))
        assert held is not None
        assert held.content == content


@pytest.mark.parametrize("content", [SMALL, OTHER])
@pytest.mark.parametrize("lost", ["UpdateItem", "PutItem"])
def test_lost_reply_of_a_serial_append_and_its_edit_loses_nothing(
    quick: Bench, proxy: Proxy, content: str, lost: str
) -> None:
    store = quick.open(endpoint_url=proxy.url, append="serial")
    session = quick.create(store)
    proxy.rules[lost] = [lose]
    sent = append(quick, store, session, content, tokens=10)
    assert run_now(cold(quick).get_message(session.id, sent.id)) == sent
    assert totals(quick, store, session) == (1, 10)
    for changed in ("x" * MB, "small again"):
        proxy.rules[lost] = [lose]
        after = run_now(store.update_message(session.id, sent.id, Patch({"content": changed, "token_count": 4})))
        assert run_now(cold(quick).get_message(session.id, sent.id)) == after
        assert totals(quick, store, session) == (1, 4)


@pytest.mark.parametrize("content", [OTHER, SMALL])
def test_reader_between_a_head_and_its_parts_sees_the_edit_whole(quick: Bench, proxy: Proxy, content: str) -> None:
    store = quick.open()
    session = quick.create(store)
    sent = append(quick, store, session)
    slow = quick.open(endpoint_url=proxy.url, read_timeout=60)
    stop = Stop()
    with ThreadPoolExecutor(1) as thread:
        proxy.rules["Query"] = [stop.after]
        read = thread.submit(run_now, slow.get_messages(session.id, MessageQuery()))
        try:
            stop.until_reached()
            after = run_now(store.update_message(session.id, sent.id, Patch({"content": content})))
        finally:
            stop.release()
        assert read.result().items == (after,)


def test_reader_between_a_head_and_its_parts_does_not_see_what_was_removed(quick: Bench, proxy: Proxy) -> None:
    store = quick.open()
    session = quick.create(store)
    first, second, third = (append(quick, store, session, content) for content in (OTHER, OTHER, SMALL))
    slow = quick.open(endpoint_url=proxy.url, read_timeout=60)
    stop = Stop()
    with ThreadPoolExecutor(1) as thread:
        proxy.rules["Query"] = [stop.after]
        query = MessageQuery(roles=frozenset({"user"}))
        read = thread.submit(run_now, slow.get_messages(session.id, query))
        try:
            stop.until_reached()
            run_now(store.delete_message(session.id, first.id))
            run_now(store.update_message(session.id, second.id, Patch({"content": "z" * MB, "role": "tool"})))
        finally:
            stop.release()
        assert read.result().items == (third,)


def test_missing_part_is_an_error_and_its_message_can_be_removed(quick: Bench) -> None:
    store = quick.open()
    session = quick.create(store)
    sent = append(quick, store, session)
    part = next(row for row in quick.rows(session.id) if row["SK"]["S"].startswith("PART#"))
    quick.raw("delete_item", Key={name: part[name] for name in ("PK", "SK")})
    with pytest.raises(StorageError, match="parts of a message are missing"):
        run_now(store.get_message(session.id, sent.id))
    assert run_now(cold(quick).delete_message(session.id, sent.id))
    assert sorted(sorts(quick, session)) == ["META", "MSG$ACTIVITY"]


def test_readers_beside_edits_see_one_body_or_another(bench: Bench) -> None:
    store = bench.open()
    session = bench.create(store)
    contents = [letter * (MB // 2) for letter in "abcdef"]
    sent = append(bench, store, session, contents[0])

    async def edit(writer: DynamoDBStorage, content: str) -> Message:
        return await writer.update_message(session.id, sent.id, Patch({"content": content}))

    async def read() -> set[str]:
        return {str((await store.get_messages(session.id, MessageQuery()))[0].content) for _ in range(8)}

    writers = [bench.open() for _ in contents[1:]]
    edits = [lambda w=writer, c=content: edit(w, c) for writer, content in zip(writers, contents[1:], strict=True)]
    outcomes = bench.together(*edits, read, read)
    assert [outcome for outcome in outcomes if isinstance(outcome, BaseException)] == []
    for seen in outcomes[-2:]:
        assert seen <= set(contents)  # type: ignore[operator]
    last = bench.run(cold(bench).get_message(session.id, sent.id))
    assert last is not None
    assert last.content in contents[1:]
    assert parts(bench, session) == 2


def test_edits_of_different_fields_at_once_both_hold(bench: Bench) -> None:
    store = bench.open()
    session = bench.create(store)
    sent = append(bench, store, session, id="mine")
    data = MessageMetadata(annotations={"n": 1})
    stores = bench.open(), bench.open(), bench.open()
    outcomes = bench.together(
        lambda: stores[0].update_message(session.id, "mine", Patch({"content": OTHER})),
        lambda: stores[1].update_message(session.id, "mine", Patch({"metadata": data})),
        lambda: stores[2].update_message(session.id, "mine", Patch({"token_count": 8})),
    )
    assert [outcome for outcome in outcomes if isinstance(outcome, BaseException)] == []
    expected = sent.model_copy(update={"content": OTHER, "metadata": data, "token_count": 8})
    assert bench.run(cold(bench).get_message(session.id, "mine")) == expected
    assert parts(bench, session) == 2
    assert totals(bench, store, session) == (1, 8)


def test_removal_beside_an_edit_leaves_no_part(bench: Bench) -> None:
    store, other = bench.open(), bench.open()
    session = bench.create(store)
    for _ in range(4):
        sent = append(bench, store, session)
        removed, edited = bench.together(
            partial(store.delete_message, session.id, sent.id),
            partial(other.update_message, session.id, sent.id, Patch({"content": OTHER})),
        )
        assert removed is True
        assert isinstance(edited, (Message, MessageNotFoundError))
        assert sorted(sorts(bench, session)) == ["META", "MSG$ACTIVITY"]


def test_delete_of_a_session_beside_edits_leaves_no_row(bench: Bench) -> None:
    store, other = bench.open(), bench.open()
    session = bench.create(store)
    sent = [append(bench, store, session, OTHER, id=f"m{n}") for n in range(3)]
    deleted, *edits = bench.together(
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
    quick: Bench, proxy: Proxy, api: str, forwarded: int
) -> None:
    dying = quick.open(endpoint_url=proxy.url, append="serial", max_attempts=1)
    session = quick.create(dying)
    proxy.rules[api] = [*[Call.forward] * forwarded, refuse("InternalServerError", 500)]
    message = quick.message(session, "x" * MB, id="mine")
    with pytest.raises(UnavailableError):
        run_now(dying.append_messages(session.id, [message], chosen_ids={"mine"}))
    store = quick.open(append="serial")
    assert run_now(store.get_messages(session.id, MessageQuery())).items == ()
    assert run_now(store.get_message(session.id, "mine")) is None
    assert "MSG" not in sorts(quick, session)
    again = run_now(store.append_messages(session.id, [message], chosen_ids={"mine"})).messages
    assert [each.content for each in again] == [message.content]
    assert run_now(cold(quick).get_messages(session.id, MessageQuery())).items == again
    assert run_now(store.delete_session(session.id))
    assert quick.rows(session.id) == []


def test_edit_that_ends_before_its_old_parts_are_removed_is_whole(quick: Bench, proxy: Proxy) -> None:
    store = quick.open(endpoint_url=proxy.url)
    session = quick.create(store)
    sent = append(quick, store, session, "x" * (2 * MB))
    proxy.rules["BatchWriteItem"] = [refuse("ValidationException")]
    with pytest.raises(StorageError):
        run_now(store.update_message(session.id, sent.id, Patch({"content": "y" * (2 * MB)})))
    held = run_now(cold(quick).get_messages(session.id, MessageQuery()))
    assert [message.content for message in held] == ["y" * (2 * MB)]
    assert parts(quick, session) == 12
    assert run_now(store.delete_session(session.id))
    assert quick.rows(session.id) == []
