"""Replies that are lost, with another client in between: the SDK sends the write again, and others have written since.

What was acknowledged to the other client stays. Nothing is written twice, and nothing reappears.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from session_continuity import (
    ConcurrencyError,
    ConversationChangedError,
    MessageQuery,
    Participant,
    Patch,
    Session,
    SessionMetadata,
    SessionNotFoundError,
    StorageAdapter,
    UnavailableError,
    run_now,
)

from ..kit.clocks import FUTURE
from ..kit.dynamodb_engines import TRUSTED
from ..kit.dynamodb_proxy import Answer, Call, DynamoDBProxy, LoseReplyError, Rule
from .bench import Bench

pytestmark = pytest.mark.on(engine=TRUSTED, mode=["blocking"])

Act = Callable[[], object]


@pytest.fixture
def faulty(bench: Bench, proxy: DynamoDBProxy) -> StorageAdapter:
    """A store whose replies may be lost."""
    return bench.open(endpoint_url=proxy.url, read_timeout=30)


@pytest.fixture
def other(bench: Bench) -> StorageAdapter:
    """The store of another client."""
    return bench.open()


def lose_reply_while(act: Act) -> Rule:
    """A rule: the engine applies the request, another client acts, and the reply is lost."""

    def rule(call: Call) -> Answer:
        call.forward()
        act()
        raise LoseReplyError

    return rule


def named(title: str) -> Patch:
    return Patch({"metadata": SessionMetadata(title=title)})


def found(store: StorageAdapter, session: Session) -> Session:
    held = run_now(store.get_session(session.id))
    assert held is not None
    return held


def joined(*ids: str) -> Patch:
    return Patch({"participants": [Participant(id=id_, joined_at=FUTURE) for id_ in ids]})


@pytest.mark.parametrize("expected", [1, None])
@pytest.mark.parametrize("others", [1, 9])
def test_update_is_acknowledged_once_and_what_others_wrote_since_stays(
    bench: Bench,
    proxy: DynamoDBProxy,
    faulty: StorageAdapter,
    other: StorageAdapter,
    expected: int | None,
    others: int,
) -> None:
    session = bench.create(faulty)

    def leave() -> None:
        for _ in range(others):
            run_now(other.update_session(session.id, joined()))

    proxy.rules["TransactWriteItems"] = [lose_reply_while(leave)]
    mine = run_now(faulty.update_session(session.id, joined("ada"), expected_version=expected))
    assert (mine.version, [each.id for each in mine.participants]) == (2, ["ada"])
    held = found(other, session)
    assert (held.version, held.participants) == (2 + others, [])


@pytest.mark.parametrize("change", [named("mine"), Patch({"status": "paused"})], ids=["title", "status"])
def test_update_of_a_session_that_is_made_anew_meanwhile_leaves_the_new_one_alone(
    bench: Bench, proxy: DynamoDBProxy, faulty: StorageAdapter, other: StorageAdapter, change: Patch
) -> None:
    session = bench.create(faulty)

    def remake() -> None:
        run_now(other.delete_session(session.id))
        run_now(other.create_session(session))

    proxy.rules["TransactWriteItems"] = [lose_reply_while(remake)]
    assert run_now(faulty.update_session(session.id, change)).version == 2
    assert found(other, session) == session


def test_conflict_is_raised_only_for_an_expected_version(
    bench: Bench, proxy: DynamoDBProxy, faulty: StorageAdapter, other: StorageAdapter
) -> None:
    """Deleted and made anew between an update's read and its write."""
    session = bench.create(faulty)

    def remake_first(call: Call) -> Answer:
        run_now(other.delete_session(session.id))
        run_now(other.create_session(session))
        return call.forward()

    proxy.rules["TransactWriteItems"] = [remake_first]
    assert run_now(faulty.update_session(session.id, named("new"))).version == 2
    proxy.rules["TransactWriteItems"] = [remake_first]
    with pytest.raises(ConcurrencyError, match="at version 1, not 2"):
        run_now(faulty.update_session(session.id, named("newer"), expected_version=2))


def test_version_beyond_all_numbers_is_a_conflict(bench: Bench, other: StorageAdapter) -> None:
    session = bench.create(other)
    with pytest.raises(ConcurrencyError, match="at version 1, not"):
        run_now(other.update_session(session.id, named("new"), expected_version=10**40))


def test_append_is_stored_once_and_what_others_removed_does_not_reappear(
    bench: Bench, proxy: DynamoDBProxy, faulty: StorageAdapter, other: StorageAdapter
) -> None:
    session = bench.create(faulty)
    for ids in ({"mine"}, set[str]()):
        sent = bench.message(session, "mine", **dict.fromkeys(["id"] if ids else [], "mine"))
        proxy.rules["TransactWriteItems"] = [lose_reply_while(lambda: run_now(other.delete_all_messages(session.id)))]
        run_now(faulty.append_messages(session.id, [sent], client_ids=ids))
        held = found(other, session)
        assert (held.message_count, held.token_count) == (0, 0)
        assert len(run_now(other.get_messages(session.id, MessageQuery()))) == 0


def test_append_with_a_patch_is_made_once_and_what_others_wrote_since_stays(
    bench: Bench, proxy: DynamoDBProxy, faulty: StorageAdapter, other: StorageAdapter
) -> None:
    session = bench.create(faulty)

    def rename() -> None:
        bench.append(other, session)
        run_now(other.update_session(session.id, named("other")))

    proxy.rules["TransactWriteItems"] = [lose_reply_while(rename)]
    run_now(
        faulty.append_messages(
            session.id, [bench.message(session)], patch=named("mine"), expected_version=1, expected_last_id=""
        )
    )
    held = found(other, session)
    assert (held.version, held.metadata.title, held.message_count) == (3, "other", 2)


def test_expected_last_message_is_the_last_one_that_is_there(bench: Bench, other: StorageAdapter) -> None:
    session = bench.create(other)
    first, second = bench.append(other, session, 2)
    run_now(other.delete_message(session.id, second.id))
    for expected in (second.id, ""):
        with pytest.raises(ConversationChangedError):
            run_now(other.append_messages(session.id, [bench.message(session)], expected_last_id=expected))
    run_now(other.append_messages(session.id, [bench.message(session, "third")], expected_last_id=first.id))
    run_now(other.delete_all_messages(session.id))
    run_now(other.append_messages(session.id, [bench.message(session)], expected_last_id=""))


def test_edit_and_removal_leave_what_others_wrote_since(
    bench: Bench, proxy: DynamoDBProxy, faulty: StorageAdapter, other: StorageAdapter
) -> None:
    session = bench.create(faulty)
    edited, removed = bench.append(faulty, session, 2, tokens=10)
    final = Patch({"content": "final", "token_count": 2})
    proxy.rules["TransactWriteItems"] = [
        lose_reply_while(lambda: run_now(other.update_message(session.id, edited.id, final)))
    ]
    run_now(faulty.update_message(session.id, edited.id, Patch({"content": "draft", "token_count": 5})))
    proxy.rules["TransactWriteItems"] = [lose_reply_while(lambda: bench.append(other, session, tokens=1))]
    assert run_now(faulty.delete_message(session.id, removed.id))
    held = found(other, session)
    assert (held.message_count, held.token_count) == (2, 3)
    assert [each.content for each in run_now(other.get_messages(session.id, MessageQuery()))] == ["final", "message 0"]


def test_create_does_not_bring_back_a_session_that_another_deleted(
    bench: Bench, proxy: DynamoDBProxy, faulty: StorageAdapter, other: StorageAdapter
) -> None:
    session = bench.session()
    proxy.rules["TransactWriteItems"] = [lose_reply_while(lambda: run_now(other.delete_session(session.id)))]
    assert run_now(faulty.create_session(session)) == session
    assert run_now(other.get_session(session.id)) is None
    assert bench.rows(session.id) == []


@pytest.mark.parametrize("lost", [0, 1], ids=["the tombstone", "the heads"])
def test_delete_leaves_a_session_that_another_made_anew(
    bench: Bench, proxy: DynamoDBProxy, faulty: StorageAdapter, other: StorageAdapter, lost: int
) -> None:
    session = bench.create(faulty)

    def remake() -> None:
        run_now(other.delete_session(session.id))
        run_now(other.create_session(session))
        bench.append(other, session)

    proxy.rules["TransactWriteItems"] = [*[Call.forward] * lost, lose_reply_while(remake)]
    run_now(faulty.delete_session(session.id))
    assert found(other, session).message_count == 1


def test_serial_update_that_cannot_be_recognised_has_an_unknown_outcome(
    bench: Bench, proxy: DynamoDBProxy, other: StorageAdapter
) -> None:
    """Without transactions the service does not recognise a write."""
    serial = bench.open(endpoint_url=proxy.url, append="serial", read_timeout=30)
    session = bench.create(serial)
    for expected in (1, None):
        proxy.rules["UpdateItem"] = [
            lose_reply_while(lambda: run_now(other.update_session(session.id, named("other"))))
        ]
        with pytest.raises(UnavailableError, match="unknown whether"):
            run_now(serial.update_session(session.id, named("mine"), expected_version=expected))
        assert found(other, session).metadata.title == "other"


def test_of_two_deletes_at_once_one_is_told_that_it_did(
    bench: Bench, proxy: DynamoDBProxy, faulty: StorageAdapter, other: StorageAdapter
) -> None:
    session = bench.create(faulty)
    told: list[bool] = []

    def delete_first(call: Call) -> Answer:
        told.append(run_now(other.delete_session(session.id)))
        return call.forward()

    proxy.rules["Query"] = [delete_first]
    told.append(run_now(faulty.delete_session(session.id)))
    assert told == [False, True]


def test_delete_that_a_create_finishes_is_told_that_it_did(
    bench: Bench, proxy: DynamoDBProxy, faulty: StorageAdapter, other: StorageAdapter
) -> None:
    session = bench.create(faulty)

    def create_first(call: Call) -> Answer:
        run_now(other.create_session(session.model_copy(update={"creation_token": "another"})))
        return call.forward()

    proxy.rules["Query"] = [create_first]
    assert run_now(faulty.delete_session(session.id))
    assert found(other, session).creation_token == "another"


@pytest.mark.parametrize("step", range(4))
def test_interrupted_delete_is_found_and_finished_by_the_cleanup(
    bench: Bench, proxy: DynamoDBProxy, other: StorageAdapter, step: int
) -> None:
    dying = bench.open(endpoint_url=proxy.url, max_attempts=1, retry_deadline=0)
    session = bench.create(other)
    bench.append(other, session, 2)
    steps = [("Query", 0), ("GetItem", 0), ("BatchWriteItem", 0), ("TransactWriteItems", 1)]

    def die(_: Call) -> Answer:
        raise LoseReplyError

    api, passed = steps[step]
    proxy.rules[api] = [*[Call.forward] * passed, die]
    with pytest.raises(UnavailableError):
        run_now(dying.delete_session(session.id))
    with pytest.raises(SessionNotFoundError):
        run_now(other.get_messages(session.id, MessageQuery()))
    assert run_now(other.get_expired_sessions(bench.clock(), limit=10)).items == (session.id,)
    assert run_now(other.delete_session(session.id, expired_before=bench.clock() - timedelta(days=1)))
    assert bench.rows(session.id) == []
