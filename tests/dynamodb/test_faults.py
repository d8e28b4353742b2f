"""Replies that are lost after the engine applied the request, throttling, conflicts, and engines that do not answer."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from datetime import timedelta

import pytest

from session_continuity import (
    MessageQuery,
    Patch,
    Session,
    SessionFilter,
    SessionNotFoundError,
    StorageAdapter,
    StorageError,
    ThrottledError,
    UnavailableError,
    portable,
)
from session_continuity_dynamodb import DynamoDBStorage

from ..kit.dynamodb_engines import TRUSTED
from ..kit.dynamodb_proxy import Call, DynamoDBProxy, hold_back, leave_unread, lose_reply, refuse
from ..kit.modes import MODES
from .bench import Bench

pytestmark = pytest.mark.on(engine=TRUSTED, mode=MODES)


@pytest.fixture
def faulty(bench: Bench, proxy: DynamoDBProxy) -> StorageAdapter:
    """A store behind the proxy."""
    return bench.open(endpoint_url=proxy.url, read_timeout=2, retry_deadline=2)


def test_lost_reply_of_a_create_is_no_error(bench: Bench, proxy: DynamoDBProxy, faulty: StorageAdapter) -> None:
    proxy.rules["TransactWriteItems"] = [lose_reply]
    session = bench.session(user_id="u", expires_at=bench.clock() + timedelta(hours=1))
    assert bench.run(faulty.create_session(session)) == session
    assert bench.run(bench.open().get_session(session.id)) == session


def test_lost_reply_of_an_update_counts_one_version(bench: Bench, proxy: DynamoDBProxy, faulty: StorageAdapter) -> None:
    session = bench.create(faulty)
    for expected in (1, None):
        proxy.rules["TransactWriteItems"] = [lose_reply]
        before = bench.run(faulty.get_session(session.id))
        after = bench.run(faulty.update_session(session.id, Patch({"user_id": "u"}), expected_version=expected))
        assert before is not None
        assert (after.version, after.user_id) == (before.version + 1, "u")
        assert bench.run(faulty.get_session(session.id)) == after
    assert proxy.seen.count("TransactWriteItems") == 5


def test_lost_reply_of_a_change_of_status_counts_one_version(
    bench: Bench, proxy: DynamoDBProxy, faulty: StorageAdapter
) -> None:
    session = bench.create(faulty)
    proxy.rules["TransactWriteItems"] = [lose_reply]
    after = bench.run(faulty.update_session(session.id, Patch({"status": "paused"}), expected_version=1))
    assert (after.version, after.status) == (2, "paused")
    assert bench.run(faulty.get_session(session.id)) == after


def test_lost_reply_of_an_append_stores_it_once(bench: Bench, proxy: DynamoDBProxy, faulty: StorageAdapter) -> None:
    session = bench.create(faulty)
    turn = [bench.message(session, text, tokens=7) for text in ("question", "answer")]
    proxy.rules["TransactWriteItems"] = [lose_reply]
    assert bench.run(faulty.append_messages(session.id, turn)).messages == tuple(turn)
    assert bench.run(faulty.get_messages(session.id, MessageQuery())).items == tuple(turn)
    held = bench.run(faulty.get_session(session.id))
    assert held is not None
    assert (held.message_count, held.token_count) == (2, 14)


def test_lost_reply_of_an_edit_and_a_removal_counts_once(
    bench: Bench, proxy: DynamoDBProxy, faulty: StorageAdapter
) -> None:
    session = bench.create(faulty)
    first, second = bench.append(faulty, session, 2, tokens=10)
    proxy.rules["TransactWriteItems"] = [lose_reply]
    bench.run(faulty.update_message(session.id, first.id, Patch({"token_count": 4})))
    proxy.rules["TransactWriteItems"] = [lose_reply]
    assert bench.run(faulty.delete_message(session.id, second.id))
    held = bench.run(faulty.get_session(session.id))
    assert held is not None
    assert (held.message_count, held.token_count) == (1, 4)


@pytest.mark.parametrize("losses", [1, 4])
def test_append_that_is_repeated_by_its_caller_is_stored_once(
    bench: Bench, proxy: DynamoDBProxy, faulty: StorageAdapter, losses: int
) -> None:
    session = bench.create(faulty)
    turn = [bench.message(session, "question", id="mine")]
    proxy.rules["TransactWriteItems"] = [lose_reply] * losses
    try:
        bench.run(faulty.append_messages(session.id, turn, client_ids={"mine"}))
    except UnavailableError:
        assert losses == 4
    bench.append(bench.open(), session, 1)
    again = [turn[0].model_copy(update={"created_at": bench.clock() + timedelta(seconds=5)})]
    assert bench.run(faulty.append_messages(session.id, again, client_ids={"mine"})).repeated
    found = bench.run(faulty.get_messages(session.id, MessageQuery()))
    assert [message.content for message in found] == ["question", "message 0"]


def test_serial_create_and_update_survive_a_lost_reply(bench: Bench, proxy: DynamoDBProxy) -> None:
    store = bench.open(endpoint_url=proxy.url, append="serial")
    proxy.rules["PutItem"] = [lose_reply, lose_reply]
    session = bench.create(store)
    proxy.rules["UpdateItem"] = [lose_reply]
    bench.run(store.update_session(session.id, Patch({"user_id": "u"}), expected_version=1))
    held = bench.run(store.get_session(session.id))
    assert held is not None
    assert (held.version, held.user_id) == (2, "u")


@pytest.mark.parametrize("passed", [0, 1])
def test_serial_change_of_status_survives_a_lost_reply(bench: Bench, proxy: DynamoDBProxy, passed: int) -> None:
    store = bench.open(endpoint_url=proxy.url, append="serial")
    session = bench.create(store)
    proxy.rules["UpdateItem"] = [*[Call.forward] * passed, lose_reply]
    after = bench.run(store.update_session(session.id, Patch({"status": "paused"}), expected_version=1))
    assert (after.version, after.status) == (2, "paused")
    assert bench.run(store.get_session(session.id)) == after


@pytest.mark.parametrize("chosen", [False, True])
def test_serial_removal_survives_a_lost_reply(bench: Bench, proxy: DynamoDBProxy, chosen: bool) -> None:
    store = bench.open(endpoint_url=proxy.url, append="serial")
    session = bench.create(store)
    sent = bench.message(session, "gone", "system", **({"id": "mine"} if chosen else {}))
    bench.run(store.append_messages(session.id, [sent], client_ids=["mine"]))
    bench.append(store, session)
    proxy.rules["DeleteItem"] = [lose_reply]
    assert bench.run(store.delete_message(session.id, sent.id))
    proxy.rules["DeleteItem"] = [lose_reply]
    assert bench.run(store.delete_all_messages(session.id)) == 1
    assert not bench.run(store.delete_message(session.id, sent.id))
    held = bench.run(store.get_session(session.id))
    assert held is not None
    assert (held.message_count, held.token_count, held.system_message_ids) == (0, 0, [])


def test_batch_that_is_left_unprocessed_is_sent_again(
    bench: Bench, proxy: DynamoDBProxy, faulty: StorageAdapter
) -> None:
    session = bench.create(faulty)
    for _ in range(4):
        bench.run(faulty.append_messages(session.id, [bench.message(session) for _ in range(9)]))
    proxy.rules["BatchWriteItem"] = [hold_back(25), hold_back(5)]
    assert bench.run(faulty.delete_session(session.id))
    assert bench.rows(session.id) == []


def test_batch_that_stays_unprocessed_raises(bench: Bench, proxy: DynamoDBProxy) -> None:
    store = bench.open(endpoint_url=proxy.url, retry_deadline=0.2)
    session = bench.create(store)
    bench.append(store, session, 2)
    proxy.rules["BatchWriteItem"] = [hold_back(1)] * 50
    with pytest.raises(ThrottledError, match="unprocessed"):
        bench.run(store.delete_session(session.id))
    proxy.rules.clear()
    with pytest.raises(SessionNotFoundError):
        bench.run(store.append_messages(session.id, [bench.message(session)]))
    assert bench.run(store.delete_session(session.id))
    assert bench.rows(session.id) == []


@pytest.mark.parametrize("code", ["TransactionConflict", "ThrottlingError"])
def test_transaction_that_conflicts_is_tried_again(
    bench: Bench, proxy: DynamoDBProxy, faulty: StorageAdapter, code: str
) -> None:
    session = bench.create(faulty)
    reasons = [{"Code": code, "Message": "busy"}, {"Code": "None"}]
    busy = refuse("TransactionCanceledException", CancellationReasons=reasons)
    proxy.rules["TransactWriteItems"] = [busy] * 3
    assert len(bench.append(faulty, session)) == 1
    held = bench.run(faulty.get_session(session.id))
    assert held is not None
    assert held.message_count == 1


def test_throttling_is_waited_out_and_ends_at_the_deadline(bench: Bench, proxy: DynamoDBProxy) -> None:
    store = bench.open(endpoint_url=proxy.url, max_attempts=1, retry_deadline=1)
    session = bench.create(store)
    slow = refuse("ProvisionedThroughputExceededException")
    proxy.rules["TransactWriteItems"] = [slow] * 3
    bench.append(store, session)
    proxy.rules["TransactWriteItems"] = [slow] * 1000
    started = time.monotonic()
    with pytest.raises(ThrottledError) as raised:
        bench.append(store, session)
    assert time.monotonic() - started < 10
    assert raised.value.retryable
    assert raised.value.__cause__ is not None


def test_engine_that_does_not_answer_is_unavailable_in_time(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        store = portable(
            DynamoDBStorage(
                table=bench.table,
                endpoint_url=url,
                region="us-east-1",
                mode=bench.mode,
                read_timeout=0.2,
                max_attempts=2,
            )
        )
        started = time.monotonic()
        with pytest.raises(UnavailableError) as raised:
            bench.run(store.get_session("any"))
        assert time.monotonic() - started < 10
        assert raised.value.operation == "get_session"
        health = bench.run(store.health())
        assert health.status == "unhealthy"
        assert health.remedy
        bench.run(store.close())


def test_engine_that_is_not_there_is_unavailable(bench: Bench) -> None:
    store = portable(
        DynamoDBStorage(
            table=bench.table, endpoint_url="http://127.0.0.1:1", region="us-east-1", mode=bench.mode, max_attempts=1
        )
    )
    with pytest.raises(UnavailableError) as raised:
        bench.run(store.get_session("any"))
    assert raised.value.retryable
    bench.run(store.close())


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("AccessDeniedException", "template --format iam"),
        ("UnrecognizedClientException", "credentials"),
        ("ResourceNotFoundException", "create-table"),
        ("ValidationException", "ValidationException"),
    ],
)
def test_service_error_says_what_to_do(
    bench: Bench, proxy: DynamoDBProxy, faulty: StorageAdapter, code: str, words: str
) -> None:
    proxy.rules["BatchGetItem"] = [refuse(code)]
    with pytest.raises(StorageError, match=words) as raised:
        bench.run(faulty.get_session("any"))
    assert not raised.value.retryable
    assert raised.value.details["aws_code"] == code
    assert raised.value.__cause__ is not None


def test_read_goes_on_after_keys_that_were_left_unprocessed(
    bench: Bench, proxy: DynamoDBProxy, faulty: StorageAdapter
) -> None:
    session = bench.create(faulty)
    proxy.rules["BatchGetItem"] = [leave_unread, leave_unread]
    assert bench.run(faulty.get_session(session.id)) == session


def test_writes_do_not_take_a_read_that_lags_at_its_word(
    bench: Bench, proxy: DynamoDBProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = bench.open()
    session = bench.create(store)
    turn = [bench.message(session, text, id=text) for text in ("question", "answer")]
    bench.run(store.append_messages(session.id, turn, client_ids={"question", "answer"}))

    def lag(call: Call) -> tuple[int, dict[str, str], bytes]:
        status, headers, answer = call.forward()
        [(table, asked)] = call.params["RequestItems"].items()
        if asked["ConsistentRead"]:
            return status, headers, answer
        seen = [row for row in json.loads(answer)["Responses"][table] if not row["SK"]["S"].endswith("#answer")]
        return status, {}, json.dumps({"Responses": {table: seen}}).encode()

    monkeypatch.setattr(proxy, "handle", lambda call: lag(call) if call.api == "BatchGetItem" else call.forward())
    behind = bench.open(endpoint_url=proxy.url, consistent_read=False)
    later = [sent.model_copy(update={"created_at": bench.clock() + timedelta(seconds=5)}) for sent in turn]
    assert bench.run(behind.append_messages(session.id, later, client_ids={"question", "answer"})).repeated
    cold = bench.open(endpoint_url=proxy.url, consistent_read=False)
    assert bench.run(cold.update_message(session.id, "answer", Patch({"content": "edited"}))).content == "edited"
    cold = bench.open(endpoint_url=proxy.url, consistent_read=False)
    assert bench.run(cold.delete_message(session.id, "answer"))


@pytest.mark.on(mode=["async"])
def test_cancelled_append_is_whole_or_absent(bench: Bench, proxy: DynamoDBProxy) -> None:
    store = bench.open(endpoint_url=proxy.url)
    session = bench.create(store)
    arrived = asyncio.Event()

    async def cancel_one_on_its_way() -> None:
        loop = asyncio.get_running_loop()

        def seen(call: Call) -> tuple[int, dict[str, str], bytes]:
            answer = call.forward()
            loop.call_soon_threadsafe(arrived.set)
            return answer

        proxy.rules["TransactWriteItems"] = [seen]
        turn = [bench.message(session) for _ in range(3)]
        task = asyncio.create_task(store.append_messages(session.id, turn))
        await arrived.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    bench.run(cancel_one_on_its_way())
    assert len(bench.append(store, session)) == 1
    held = bench.run(store.get_session(session.id))
    found = bench.run(store.get_messages(session.id, MessageQuery()))
    assert held is not None
    assert held.message_count == len(found) in (1, 4)


@pytest.mark.on(mode=["async"])
def test_cancelled_delete_is_finished_by_repeating_it(bench: Bench, proxy: DynamoDBProxy) -> None:
    store = bench.open(endpoint_url=proxy.url)
    session = bench.create(store, user_id="u")
    for _ in range(6):
        bench.run(store.append_messages(session.id, [bench.message(session) for _ in range(9)]))

    async def cancel_in_the_middle() -> None:
        task = asyncio.create_task(store.delete_session(session.id))

        def stop(call: Call) -> tuple[int, dict[str, str], bytes]:
            loop.call_soon_threadsafe(task.cancel)
            return call.forward()

        loop = asyncio.get_running_loop()
        proxy.rules["BatchWriteItem"] = [stop]
        with pytest.raises(asyncio.CancelledError):
            await task

    bench.run(cancel_in_the_middle())
    assert bench.run(store.get_session(session.id)) is None
    assert len(bench.run(store.list_sessions(SessionFilter(user_id="u"), limit=10))) == 0
    assert bench.rows(session.id) != []
    assert bench.run(store.delete_session(session.id))
    assert bench.rows(session.id) == []


def test_session_is_created_anew_over_a_delete_that_was_interrupted(
    bench: Bench, proxy: DynamoDBProxy, faulty: StorageAdapter
) -> None:
    session = bench.create(faulty)
    bench.append(faulty, session, 3)
    proxy.rules["BatchWriteItem"] = [refuse("ValidationException")]
    with pytest.raises(StorageError):
        bench.run(faulty.delete_session(session.id))
    anew: Session = session.model_copy(update={"user_id": "other"})
    assert bench.run(faulty.create_session(anew)) == anew
    assert len(bench.run(faulty.get_messages(session.id, MessageQuery()))) == 0


def untold(call: Call) -> tuple[int, dict[str, str], bytes]:
    """The engine's answer without the items that failed conditions met."""
    status, headers, answer = call.forward()
    told = json.loads(answer)
    for reason in told.get("CancellationReasons", []):
        reason.pop("Item", None)
    told.pop("Item", None)
    kept = {name: value for name, value in headers.items() if "crc32" not in name}
    return status, kept, json.dumps(told).encode()


def test_engine_that_does_not_tell_what_a_condition_met_is_asked(
    bench: Bench, proxy: DynamoDBProxy, faulty: StorageAdapter
) -> None:
    session = bench.create(faulty)
    sent = bench.append(faulty, session, 12)
    proxy.rules["TransactWriteItems"] = [untold] * 100
    for message in sent:
        bench.run(faulty.update_message(session.id, message.id, Patch({"role": "system"})))
        bench.run(bench.open().update_message(session.id, message.id, Patch({"token_count": 5})))
    for message in sent[:6]:
        assert bench.run(faulty.delete_message(session.id, message.id))
    held = bench.run(bench.open().get_session(session.id))
    assert held is not None
    assert held.system_message_ids == [message.id for message in sent[6:]]
    assert held.token_count == 30


@pytest.mark.parametrize("append", ["atomic", "serial"])
def test_wrong_assumptions_are_corrected_however_long_that_takes(
    bench: Bench, proxy: DynamoDBProxy, append: str
) -> None:
    """The retry deadline is about competing writers: where nobody competes, no write fails because of it."""
    stale = bench.open(endpoint_url=proxy.url, append=append, retry_deadline=0)
    other = bench.open(append=append)
    for api in ("TransactWriteItems", "UpdateItem", "PutItem", "DeleteItem"):
        proxy.rules[api] = [untold] * 100
    session = bench.create(stale)
    sent = bench.append(stale, session, 9, role="system")
    others = bench.append(other, session, 2)
    mine = bench.message(session, id="mine")
    assert bench.run(stale.append_messages(session.id, [mine], client_ids={"mine"})).messages == (mine,)
    for message in (*sent, mine):
        bench.run(other.update_message(session.id, message.id, Patch({"token_count": 5})))
    for message in (*sent[1:], mine):
        bench.run(stale.update_message(session.id, message.id, Patch({"content": "edited"})))
        bench.run(other.update_message(session.id, message.id, Patch({"token_count": 6})))
        assert bench.run(stale.delete_message(session.id, message.id))
    assert bench.run(stale.delete_all_messages(session.id)) == 1 + len(others)
    held = bench.run(other.get_session(session.id))
    assert held is not None
    assert (held.message_count, held.token_count, held.system_message_ids) == (0, 0, [])


@pytest.mark.parametrize("answer", [b"<html>Please sign in</html>", b"", b"[]", b"null"])
def test_answer_that_is_not_of_the_service_is_no_answer(
    bench: Bench, proxy: DynamoDBProxy, faulty: StorageAdapter, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    session = bench.create(faulty)
    [sent] = bench.append(faulty, session)
    monkeypatch.setattr(proxy, "handle", lambda _: (200, {"Content-Type": "text/html"}, answer))
    for call in (
        lambda: faulty.get_session(session.id),
        lambda: faulty.get_messages(session.id, MessageQuery()),
        lambda: faulty.append_messages(session.id, [bench.message(session)]),
        lambda: faulty.update_session(session.id, Patch({"user_id": "u"})),
        lambda: faulty.delete_message(session.id, sent.id),
    ):
        with pytest.raises(UnavailableError, match="endpoint_url"):
            bench.run(call())
    health = bench.run(faulty.health())
    assert (health.status, health.details["cause"]) == ("unhealthy", "NotDynamoDBError")
