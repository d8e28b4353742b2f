"""Calls that others overtake on the wire, and guesses that have become wrong: each call ends with one truth."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from session_continuity import Message, MessageQuery, Patch, Role, Session, SessionFilter, StorageAdapter, run_now
from session_continuity_dynamodb.operations.system_messages import MOST

from ..kit.dynamodb_engines import TRUSTED
from ..kit.dynamodb_proxy import Answer, Call, DynamoDBProxy, Rule
from .bench import Bench

pytestmark = pytest.mark.on(engine=TRUSTED, mode=["blocking"])


@pytest.fixture
def slow(bench: Bench, proxy: DynamoDBProxy) -> StorageAdapter:
    """A store that others overtake."""
    return bench.open(endpoint_url=proxy.url, read_timeout=60)


@pytest.fixture
def session(bench: Bench, store: StorageAdapter) -> Session:
    return bench.create(store, user_id="u")


def after(act: Callable[[], Any]) -> Rule:
    """Forward a request after something else has been done."""

    def rule(call: Call) -> tuple[int, dict[str, str], bytes]:
        act()
        return call.forward()

    return rule


def sorts(bench: Bench, session: Session) -> list[str]:
    return [row["SK"]["S"] for row in bench.rows(session.id)]


@pytest.mark.parametrize("change", [{"role": "system"}, {"content": "x" * 2_000_000}], ids=["a row more", "parts"])
def test_messages_that_an_edit_makes_larger_while_all_are_deleted_go_too(
    bench: Bench,
    store: StorageAdapter,
    slow: StorageAdapter,
    session: Session,
    proxy: DynamoDBProxy,
    change: dict[str, Any],
) -> None:
    sent = bench.append(store, session, 9)
    proxy.rules["TransactWriteItems"] = [
        after(lambda: run_now(store.update_message(session.id, sent[3].id, Patch(change))))
    ]
    assert run_now(slow.delete_all_messages(session.id)) == 9
    assert sorts(bench, session) == ["META", "MSG$ACTIVITY"]


def remade(bench: Bench, store: StorageAdapter, session: Session) -> None:
    """The session deleted and made anew, for another user with other system messages."""
    run_now(store.delete_session(session.id))
    bench.clock.advance(seconds=1)
    run_now(store.create_session(session.model_copy(update={"user_id": "other"})))
    bench.append(store, session, MOST + 1, role="system")


def edited(store: StorageAdapter, message: Message) -> None:
    """The message made a system message, with other tokens, in one step."""
    run_now(store.update_message(message.session_id, message.id, Patch({"role": "system", "token_count": 100})))


@pytest.mark.parametrize("exact", [False, True], ids=["get", "list"])
@pytest.mark.parametrize("what", ["append", "removal", "edit", "delete", "made anew"])
def test_session_is_read_as_it_was_at_one_moment(
    bench: Bench,
    store: StorageAdapter,
    slow: StorageAdapter,
    session: Session,
    proxy: DynamoDBProxy,
    what: str,
    exact: bool,
) -> None:
    """Its system messages are listed in rows, which are read after its totals."""
    rules = bench.append(store, session, 12, role="system", tokens=1)
    user, _ = bench.append(store, session, 2, tokens=1)
    meanwhile: dict[str, Callable[[], Any]] = {
        "append": lambda: bench.append(store, session, role="system"),
        "removal": lambda: run_now(store.delete_message(session.id, rules[-1].id)),
        "edit": lambda: edited(store, user),
        "delete": lambda: run_now(store.delete_session(session.id)),
        "made anew": lambda: remade(bench, store, session),
    }
    moments = [run_now(store.get_session(session.id))]
    proxy.rules["Query"] = [*[Call.forward] * exact, after(meanwhile[what])]
    if exact:
        listing = bench.open(endpoint_url=proxy.url, read_timeout=60, listing="exact")
        [*found] = run_now(listing.list_sessions(SessionFilter(user_id="u"), limit=10))
        held = found[0] if found else None
    else:
        held = run_now(slow.get_session(session.id))
    moments += [run_now(store.get_session(session.id)), *([None] if what == "made anew" else [])]
    assert held in moments


def test_page_of_a_session_that_is_created_meanwhile_has_its_first_messages(
    bench: Bench, store: StorageAdapter, slow: StorageAdapter, proxy: DynamoDBProxy
) -> None:
    """No reader ever saw it without them."""
    new = bench.session()
    first = bench.message(new, "first", id="mine")
    proxy.rules["GetItem"] = proxy.rules["BatchGetItem"] = [
        after(lambda: run_now(store.append_messages(new.id, [first], client_ids=["mine"], create=new)))
    ]
    page = run_now(slow.get_messages(new.id, MessageQuery()))
    assert [each.content for each in page] == ["first"]


@pytest.fixture
def message(bench: Bench, session: Session) -> Message:
    return bench.message(session, "hello", id="mine")


def append(store: StorageAdapter, message: Message) -> Message:
    [stored] = run_now(store.append_messages(message.session_id, [message], client_ids=[message.id])).messages
    return stored


def made_anew(store: StorageAdapter, session: Session) -> None:
    run_now(store.delete_session(session.id))
    run_now(store.create_session(session))


def test_session_that_another_makes_anew_takes_messages_at_their_own_times(
    bench: Bench, store: StorageAdapter, session: Session, message: Message
) -> None:
    bench.append(store, session)
    made_anew(bench.open(), session)
    times = [bench.clock() - timedelta(days=days) for days in (3, 2, 1)]
    sent = [message.model_copy(update={"id": f"m{at}", "created_at": at}) for at in times]
    with bench.meter.counting() as made:
        assert [append(store, each) for each in sent] == sent
    assert [request.api for request in made].count("TransactWriteItems") == len(sent) + 1


@pytest.mark.parametrize("content", ["another", "x" * 5000])
def test_edit_of_a_message_that_another_made_anew_keeps_what_it_says(
    bench: Bench, store: StorageAdapter, session: Session, message: Message, content: str
) -> None:
    other = bench.open()
    append(store, message)
    made_anew(other, session)
    append(other, message.model_copy(update={"content": content}))
    edited = run_now(store.update_message(session.id, "mine", Patch({"role": "assistant"})))
    assert (edited.role, edited.content) == ("assistant", content)
    assert run_now(other.get_message(session.id, "mine")) == edited


def test_tail_that_is_replaced_while_all_are_deleted_goes_too(
    bench: Bench, store: StorageAdapter, slow: StorageAdapter, session: Session, proxy: DynamoDBProxy
) -> None:
    sent = bench.append(store, session, 3)
    new = [bench.message(session, "new")]
    proxy.rules["TransactWriteItems"] = [after(lambda: run_now(store.replace_tail(session.id, sent[0].id, new)))]
    assert run_now(slow.delete_all_messages(session.id)) == 2
    assert sorts(bench, session) == ["META", "MSG$ACTIVITY"]


@pytest.mark.parametrize("count", [9, 250])
@pytest.mark.parametrize("role", ["user", "system"])
def test_deleting_all_makes_progress_although_appends_go_on(
    bench: Bench,
    store: StorageAdapter,
    slow: StorageAdapter,
    session: Session,
    proxy: DynamoDBProxy,
    count: int,
    role: Role,
) -> None:
    """A message is appended before each of its requests. It reads once, and removes what was there at the call."""
    for start in range(0, count, 40):
        bench.append(store, session, min(40, count - start), role=role)
    late: list[Message] = []

    def busy(call: Call) -> Answer:
        late.extend(bench.append(store, session, role=role))
        return call.forward()

    proxy.rules |= {"Query": [busy] * 2, "TransactWriteItems": [busy]}
    removed = run_now(slow.delete_all_messages(session.id))
    assert count <= removed <= count + 1  # the first append comes before the first look at the messages
    kept = run_now(store.get_messages(session.id, MessageQuery())).items
    assert list(kept) == late[removed - count :]
    held = run_now(bench.open().get_session(session.id))
    assert held is not None
    assert (held.message_count, held.token_count) == (len(kept), 3 * len(kept))
    assert held.system_message_ids == [message.id for message in kept if role == "system"]
    assert proxy.seen.count("Query") == (1 if count < 100 else 3)


@pytest.mark.parametrize("append", ["atomic", "serial"])
def test_session_that_is_made_while_all_are_deleted_loses_its_messages(
    bench: Bench, store: StorageAdapter, proxy: DynamoDBProxy, append: str
) -> None:
    slow = bench.open(endpoint_url=proxy.url, read_timeout=60, append=append)
    session = bench.session()
    first = [bench.message(session, "first")]
    proxy.rules["BatchGetItem"] = [after(lambda: run_now(store.append_messages(session.id, first, create=session)))]
    assert run_now(slow.delete_all_messages(session.id)) == 1
    assert sorts(bench, session) == ["META", "MSG$ACTIVITY"]


def test_serial_removals_that_an_edit_overtakes_are_counted(
    bench: Bench, store: StorageAdapter, session: Session, proxy: DynamoDBProxy
) -> None:
    sent = bench.append(store, session, 6)
    change = Patch({"token_count": 50})
    proxy.rules["DeleteItem"] = [
        *[Call.forward] * 4,
        after(lambda: [run_now(store.update_message(session.id, each.id, change)) for each in sent[4:]]),
    ]
    serial = bench.open(endpoint_url=proxy.url, append="serial")
    assert run_now(serial.delete_all_messages(session.id)) == 6
    held = run_now(store.get_session(session.id))
    assert held is not None
    assert (held.message_count, held.token_count) == (0, 0)
