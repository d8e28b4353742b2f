"""What each operation costs: requests counted, capacity units summed as the engine states them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest

from session_continuity import (
    AsyncSessionManager,
    Message,
    MessageMetadata,
    MessageQuery,
    Patch,
    Session,
    SessionFilter,
    SessionManager,
    SessionMetadata,
    StorageAdapter,
    TokenBudget,
    TokenBudgetExceededError,
    run_now,
)
from session_continuity_dynamodb.items.keys import Keys

from ..kit.dynamodb_engines import TRUSTED, Engine
from ..kit.dynamodb_meter import Request, apis
from ..kit.modes import MODES
from .bench import Bench, item_of, native_client

pytestmark = pytest.mark.on(engine=TRUSTED, mode=MODES)

LONG = 10_000


def units(requests: list[Request]) -> float:
    return sum(request.units for request in requests)


@pytest.fixture(scope="module")
def long_bench(engine: Engine) -> Iterator[Bench]:
    held = Bench(engine, "blocking")
    yield held
    held.close()


@pytest.fixture(scope="module")
def long_store(long_bench: Bench) -> StorageAdapter:
    return long_bench.open(consistent_read=False)


@pytest.fixture(scope="module")
def long(long_bench: Bench, long_store: StorageAdapter) -> Session:
    """A conversation of 10,000 messages of about 0.5 KB, its rows written straight into the table."""
    session = long_bench.create(long_store, user_id="u")
    keys = Keys(long_bench.namespace)
    rows = [
        item_of(keys, long_bench.message(session, f"{n} " + "x" * 250), own_id=False, compression=None)
        for n in range(LONG)
    ]
    long_bench.write_rows(rows)
    long_bench.raw(
        "update_item",
        Key={"PK": rows[0]["PK"], "SK": {"S": "MSG$ACTIVITY"}},
        UpdateExpression="SET lastKey = :last, messageCount = :count",
        ExpressionAttributeValues={":last": {"S": rows[-1]["SK"]["S"][4:]}, ":count": {"N": str(LONG)}},
    )
    return session


def test_create_is_one_request(bench: Bench) -> None:
    store = bench.open()
    with bench.meter.counting() as made:
        bench.create(store, user_id="u", active_agent_id="a", expires_at=bench.clock() + timedelta(hours=1))
    assert apis(made) == ["TransactWriteItems"]


def test_get_is_one_request_of_one_eventual_unit(bench: Bench) -> None:
    store = bench.open(consistent_read=False)
    session = bench.create(store, user_id="u")
    with bench.meter.counting() as made:
        bench.run(store.get_session(session.id))
    assert (apis(made), units(made)) == (["BatchGetItem"], 1.0)


def test_append_is_one_request_of_four_units(bench: Bench) -> None:
    store = bench.open()
    session = bench.create(store, token_budget=TokenBudget(max_tokens=100, overflow_strategy="error"))
    with bench.meter.counting() as made:
        bench.append(store, session)
    assert apis(made) == ["TransactWriteItems"]
    assert bench.transaction_units(made[0]) == 4


def test_a_page_leaves_out_what_is_the_same_in_every_row(bench: Bench) -> None:
    store = bench.open()
    session = bench.create(store)
    bench.append(store, session)
    with bench.meter.counting() as made:
        bench.run(store.get_messages(session.id, MessageQuery()))
    asked = made[0].params
    aliases = asked["ProjectionExpression"].split(", ")
    assert {"PK", "sessionId"}.isdisjoint(asked["ExpressionAttributeNames"][alias] for alias in aliases)


@pytest.mark.on(mode=["blocking"])
def test_append_to_a_session_that_slides_is_one_request_once_this_process_knows_it(bench: Bench) -> None:
    """The condition that nobody knew fails once, and tells the answer. A session that does not slide costs nothing."""
    expires_at = bench.clock() + timedelta(hours=1)
    store = bench.open()
    sliding = bench.create(store, expires_at=expires_at, sliding_ttl=3600.0)
    fixed = bench.create(store, expires_at=expires_at)
    other = bench.open()
    for writer, session, requests, slides in (
        (store, sliding, 1, True),
        (other, fixed, 1, False),
        (other, sliding, 2, True),
        (other, sliding, 1, True),
    ):
        with bench.meter.counting() as made:
            appended = bench.run(writer.append_messages(session.id, [bench.message(session)]))
        assert (apis(made), appended.slides) == (["TransactWriteItems"] * requests, slides)


def test_append_does_not_pay_for_a_large_session(bench: Bench) -> None:
    store = bench.open()
    heavy = SessionMetadata(custom={"notes": "x" * 8000})
    session = bench.create(store, user_id="u", active_agent_id="a", metadata=heavy)
    with bench.meter.counting() as made:
        bench.append(store, session)
    touched = {
        params["Key"]["SK"]["S"] for action in made[0].params["TransactItems"] if (params := action.get("Update"))
    }
    assert touched == {"MSG$ACTIVITY"}
    assert bench.transaction_units(made[0]) == 4


def test_append_with_a_chosen_id_is_one_request(bench: Bench) -> None:
    store = bench.open()
    session = bench.create(store)
    message = bench.message(session, id="mine")
    with bench.meter.counting() as made:
        bench.run(store.append_messages(session.id, [message], client_ids={"mine"}))
    assert apis(made) == ["TransactWriteItems"]
    assert bench.transaction_units(made[0]) == 6


def test_turn_is_one_request_of_two_units_a_message(bench: Bench) -> None:
    store = bench.open()
    session = bench.create(store)
    turn = [bench.message(session) for _ in range(9)]
    with bench.meter.counting() as made:
        bench.run(store.append_messages(session.id, turn))
    assert apis(made) == ["TransactWriteItems"]
    assert bench.transaction_units(made[0]) == 2 * (1 + 9)


def test_serial_append_is_two_requests_of_two_units(bench: Bench) -> None:
    store = bench.open(append="serial")
    session = bench.create(store)
    with bench.meter.counting() as made:
        bench.append(store, session)
    assert (apis(made), units(made)) == (["UpdateItem", "PutItem"], 2)


def test_appends_of_a_writer_whose_clock_is_behind_stay_one_request(bench: Bench) -> None:
    store = bench.open()
    session = bench.create(store)
    bench.append(store, session)
    late = [bench.message(session, created_at=bench.clock() - timedelta(seconds=2)) for _ in range(3)]
    with bench.meter.counting() as made:
        for message in late:
            bench.run(store.append_messages(session.id, [message]))
    assert len(made) == 3


def test_last_20_of_10000_is_one_request_of_three_units(
    long_bench: Bench, long_store: StorageAdapter, long: Session
) -> None:
    with long_bench.meter.counting() as made:
        page = run_now(long_store.get_messages(long.id, MessageQuery(order="desc", limit=20)))
    assert len(page) == 20
    assert page[0].content == f"{LONG - 1} " + "x" * 250
    assert apis(made) == ["Query"]
    assert units(made) <= 3


def test_first_20_of_10000_is_one_request_of_three_units(
    long_bench: Bench, long_store: StorageAdapter, long: Session
) -> None:
    with long_bench.meter.counting() as made:
        page = run_now(long_store.get_messages(long.id, MessageQuery(limit=20)))
    assert [message.content.split()[0] for message in page] == [str(n) for n in range(20)]  # type: ignore[union-attr]
    assert apis(made) == ["Query"]
    assert units(made) <= 3


def test_1000_messages_cost_what_a_bare_query_costs(
    long_bench: Bench, long_store: StorageAdapter, long: Session
) -> None:
    with long_bench.meter.counting() as made:
        page = run_now(long_store.get_messages(long.id, MessageQuery(order="desc", limit=1000)))
    bare = long_bench.raw(
        "query",
        KeyConditionExpression="PK = :p AND begins_with(SK, :m)",
        ExpressionAttributeValues={":p": {"S": f"{long_bench.prefix}SESSION#{long.id}"}, ":m": {"S": "MSG#"}},
        ScanIndexForward=False,
        Limit=1000,
        ReturnConsumedCapacity="TOTAL",
    )
    assert len(page) == 1000
    assert apis(made) == ["Query"]
    assert units(made) <= 1.01 * bare["ConsumedCapacity"]["CapacityUnits"] + 1


@pytest.mark.on(mode=["blocking"])
def test_pages_over_a_megabyte_read_nothing_twice(bench: Bench) -> None:
    session = long_talk(bench, bench.open(), system=False)
    store = bench.open(consistent_read=False)
    bare, last = 0.0, None
    while bare == 0.0 or last:
        answer = bench.raw(
            "query",
            KeyConditionExpression="PK = :p",
            ExpressionAttributeValues={":p": {"S": f"{bench.prefix}SESSION#{session.id}"}},
            ReturnConsumedCapacity="TOTAL",
            **({"ExclusiveStartKey": last} if last else {}),
        )
        bare, last = bare + answer["ConsumedCapacity"]["CapacityUnits"], answer.get("LastEvaluatedKey")
    with bench.meter.counting() as made:
        first = run_now(store.get_messages(session.id, query := MessageQuery(limit=1000)))
        second = run_now(store.get_messages(session.id, query, cursor=first.next_cursor))
    assert (len(first), len(second), second.next_cursor) == (1000, 1000, None)
    assert units(made) <= 1.02 * bare


def test_append_to_10000_messages_is_one_request_of_four_units(
    long_bench: Bench, long_store: StorageAdapter, long: Session
) -> None:
    with long_bench.meter.counting() as made:
        long_bench.append(long_store, long)
    assert apis(made) == ["TransactWriteItems"]
    assert long_bench.transaction_units(made[0]) == 4


def test_message_by_id_is_one_request_among_10000(long_bench: Bench, long_store: StorageAdapter, long: Session) -> None:
    [wanted] = run_now(long_store.get_messages(long.id, MessageQuery(limit=1)))
    cold = long_bench.open(consistent_read=False)
    with long_bench.meter.counting() as made:
        assert run_now(cold.get_message(long.id, wanted.id)) == wanted
    assert (apis(made), units(made)) == (["BatchGetItem"], 1.0)


def test_edit_among_10000_is_one_request_after_a_read_and_two_without(
    long_bench: Bench, long_store: StorageAdapter, long: Session
) -> None:
    [wanted] = run_now(long_store.get_messages(long.id, MessageQuery(limit=1)))
    patch = Patch({"content": "short", "token_count": 1})
    with long_bench.meter.counting() as warm:
        run_now(long_store.update_message(long.id, wanted.id, patch))
    other = long_bench.open()
    with long_bench.meter.counting() as cold:
        run_now(other.update_message(long.id, wanted.id, patch))
    assert apis(warm) == ["TransactWriteItems"]
    assert long_bench.transaction_units(warm[0]) == 4
    assert apis(cold) == ["BatchGetItem", "TransactWriteItems"]


def test_deleting_one_among_10000_is_one_request_after_a_read_and_two_without(
    long_bench: Bench, long_store: StorageAdapter, long: Session
) -> None:
    first, second = run_now(long_store.get_messages(long.id, MessageQuery(limit=2)))
    with long_bench.meter.counting() as warm:
        assert run_now(long_store.delete_message(long.id, first.id))
    other = long_bench.open()
    with long_bench.meter.counting() as cold:
        assert run_now(other.delete_message(long.id, second.id))
    assert apis(warm) == ["TransactWriteItems"]
    assert apis(cold) == ["BatchGetItem", "TransactWriteItems"]


def test_edit_of_a_chosen_id_is_one_request_after_the_append(bench: Bench) -> None:
    store = bench.open()
    session = bench.create(store)
    bench.run(store.append_messages(session.id, [bench.message(session, id="mine")], client_ids={"mine"}))
    with bench.meter.counting() as made:
        bench.run(store.update_message(session.id, "mine", Patch({"content": "other"})))
    assert apis(made) == ["TransactWriteItems"]


def test_message_by_chosen_id_is_two_requests(bench: Bench) -> None:
    store = bench.open()
    session = bench.create(store)
    bench.run(store.append_messages(session.id, [bench.message(session, id="mine")], client_ids={"mine"}))
    cold = bench.open()
    with bench.meter.counting() as made:
        assert bench.run(cold.get_message(session.id, "mine"))
    assert apis(made) == ["BatchGetItem", "BatchGetItem"]


@pytest.mark.parametrize("size", [10, 2000])
def test_edit_of_a_chosen_id_is_two_requests_without_a_read(bench: Bench, size: int) -> None:
    session = bench.create(store := bench.open())
    message = bench.message(session, "x" * size, id="mine", metadata=MessageMetadata(annotations={"a": 1}))
    bench.run(store.append_messages(session.id, [message], client_ids={"mine"}))
    for number in range(3):
        cold, content = bench.open(), f"{number}" * size
        with bench.meter.counting() as made:
            after = bench.run(cold.update_message(session.id, "mine", Patch({"content": content})))
        assert apis(made) == ["BatchGetItem", "TransactWriteItems"]
        assert after == message.model_copy(update={"content": content})
        assert bench.run(store.get_message(session.id, "mine")) == after


def test_small_edit_of_a_chosen_id_is_two_requests_whatever_it_changes(bench: Bench) -> None:
    session = bench.create(store := bench.open())
    bench.run(store.append_messages(session.id, [bench.message(session, id="mine")], client_ids={"mine"}))
    cold = bench.open()
    with bench.meter.counting() as made:
        after = bench.run(cold.update_message(session.id, "mine", Patch({"role": "system", "token_count": 9})))
    assert apis(made) == ["BatchGetItem", "TransactWriteItems"]
    assert (after.content, after.role) == ("hello", "system")
    held = bench.run(store.get_session(session.id))
    assert held is not None
    assert (held.token_count, held.system_message_ids) == (9, ["mine"])


def test_removal_of_a_chosen_id_is_two_requests_without_a_read(bench: Bench) -> None:
    session = bench.create(store := bench.open())
    message = bench.message(session, "x" * 5000, id="mine", tokens=70)
    bench.run(store.append_messages(session.id, [message], client_ids={"mine"}))
    cold = bench.open()
    with bench.meter.counting() as made:
        assert bench.run(cold.delete_message(session.id, "mine"))
    assert apis(made) == ["BatchGetItem", "TransactWriteItems"]
    held = bench.run(store.get_session(session.id))
    assert held is not None
    assert (held.message_count, held.token_count) == (0, 0)


def test_system_messages_are_read_by_id_in_one_request(bench: Bench) -> None:
    store = bench.open()
    session = bench.create(store)
    bench.append(store, session, role="system")
    bench.append(store, session, 5)
    [wanted] = bench.run(store.get_session(session.id)).system_message_ids  # type: ignore[union-attr]
    other = bench.open()
    with bench.meter.counting() as made:
        page = bench.run(other.get_messages(session.id, MessageQuery(ids=frozenset({wanted}))))
    assert [message.role for message in page] == ["system"]
    assert apis(made) == ["BatchGetItem"]


def long_talk(bench: Bench, store: StorageAdapter, *, system: bool) -> Session:
    """A conversation of 2,000 messages of 1.3 KB a row and 250 tokens each, its rows written straight into the table;
    with a system message at its beginning, if wanted. Its budget takes 12 of them."""
    session = bench.create(store, user_id="u", token_budget=TokenBudget(max_tokens=12 * 250 + 100))
    keys = Keys(bench.namespace)
    messages = [bench.message(session, f"{n} ".ljust(1050, "x"), tokens=250) for n in range(2000)]
    if system:
        messages[0] = messages[0].model_copy(update={"role": "system", "content": "be kind", "token_count": 4})
    rows = [item_of(keys, message, own_id=False, compression=None) for message in messages]
    bench.write_rows(rows)
    places = [row["SK"]["S"][4:] for row in rows]
    update = "SET lastKey = :last, messageCount = :count, tokenCount = :tokens"
    values = {
        ":last": {"S": places[-1]},
        ":count": {"N": "2000"},
        ":tokens": {"N": str(sum(message.token_count or 0 for message in messages))},
    }
    if system:
        update, values = f"{update}, systemIds = :system", {**values, ":system": {"SS": [places[0]]}}
    bench.raw(
        "update_item",
        Key={"PK": rows[0]["PK"], "SK": {"S": "MSG$ACTIVITY"}},
        UpdateExpression=update,
        ExpressionAttributeValues=values,
    )
    return session


def context(bench: Bench, store: StorageAdapter, session: Session) -> list[Message]:
    """What a model gets to see, as applications ask for it."""
    if bench.mode == "async":
        return bench.run(AsyncSessionManager(store).get_conversation_context(session.id))
    return SessionManager(store).get_conversation_context(session.id)


@pytest.mark.parametrize("system", [False, True])
def test_context_of_12_among_2000_is_three_requests_of_less_than_five_units(bench: Bench, system: bool) -> None:
    session = long_talk(bench, bench.open(), system=system)
    store = bench.open(consistent_read=False, create_table=False)
    with bench.meter.counting() as made:
        found = context(bench, store, session)
    assert [message.role for message in found if message.role == "system"] == ["system"] * system
    spoken = [str(message.content).split()[0] for message in found if message.role == "user"]
    assert spoken == [str(n) for n in range(1988, 2000)]
    assert sorted(apis(made)) == [*["BatchGetItem"] * (1 + system), "Query"]
    assert units(made) < 5


def let_go_together(store: StorageAdapter, *apis: str) -> None:
    """Requests of these kinds leave only when one of each is on its way."""
    all_here = threading.Barrier(len(apis), timeout=10)

    def wait_for_the_others(**_: object) -> None:
        all_here.wait()

    for api in apis:
        native_client(store).meta.events.register(f"before-send.dynamodb.{api}", wait_for_the_others)


@pytest.mark.on(mode=["blocking"])
def test_context_asks_for_session_and_messages_at_once(bench: Bench) -> None:
    store = bench.open()
    session = bench.create(store)
    bench.append(store, session)
    let_go_together(store, "BatchGetItem", "Query")
    assert len(context(bench, store, session)) == 1


def test_append_with_a_patch_and_both_expectations_is_one_request(bench: Bench) -> None:
    store = bench.open()
    session = bench.create(store)
    [last] = bench.append(store, session)
    patch = Patch({"metadata": SessionMetadata(title="named"), "expires_at": bench.clock() + timedelta(hours=1)})
    message = bench.message(session)
    with bench.meter.counting() as made:
        bench.run(
            store.append_messages(session.id, [message], patch=patch, expected_version=1, expected_last_id=last.id)
        )
    assert apis(made) == ["TransactWriteItems"]
    assert bench.transaction_units(made[0]) == 2 * (2 + 1 + 1 + 1)  # both heads, the last message, marker, message
    held = bench.run(store.get_session(session.id))
    assert held is not None
    assert (held.version, held.metadata.title, held.message_count) == (2, "named", 2)


@pytest.mark.parametrize("status", ["paused", "active"])
def test_append_with_a_patch_of_status_or_budget_reads_the_session_first(bench: Bench, status: str) -> None:
    store = bench.open()
    session = bench.create(store, active_agent_id="a", token_budget=TokenBudget(max_tokens=10))
    budget = TokenBudget(max_tokens=9, overflow_strategy="error")
    with bench.meter.counting() as made:
        patch = Patch({"status": status, "token_budget": budget})
        bench.run(store.append_messages(session.id, [bench.message(session, tokens=4)], patch=patch))
    assert apis(made) == ["BatchGetItem", "TransactWriteItems"]
    with pytest.raises(TokenBudgetExceededError):
        bench.append(store, session, tokens=6)
    bench.append(store, session, tokens=5)
    [listed] = bench.run(store.list_sessions(SessionFilter(active_agent_id="a", status=status), limit=5))  # type: ignore[arg-type]
    assert listed.id == session.id


def test_first_turn_with_its_session_is_one_request_and_the_second_too(bench: Bench) -> None:
    store = bench.open()
    session = bench.session(user_id="u")
    for number in range(2):
        turn = [bench.message(session, str(number), "system" if number == 0 else "user") for _ in range(3)]
        with bench.meter.counting() as made:
            appended = bench.run(store.append_messages(session.id, turn, create=session))
        assert (apis(made), appended.created) == (["TransactWriteItems"], number == 0)
    with bench.meter.counting() as made:
        bench.run(bench.open().append_messages(session.id, [bench.message(session)], create=session))
    assert apis(made)[-2:] == ["TransactWriteItems", "TransactWriteItems"]
    held = bench.run(store.get_session(session.id))
    assert held is not None
    assert (held.message_count, len(held.system_message_ids)) == (7, 3)


def test_largest_batch_fits_into_one_transaction_with_all_terms(bench: Bench) -> None:
    store = bench.open()
    session = bench.create(store)
    [last] = bench.append(store, session)
    batch = [bench.message(session, id=f"m{n}") for n in range(store.capabilities.max_batch or 0)]
    patch = Patch({"expires_at": bench.clock() + timedelta(hours=1)})
    with bench.meter.counting() as made:
        bench.run(
            store.append_messages(
                session.id,
                batch,
                client_ids={each.id for each in batch},
                patch=patch,
                expected_version=1,
                expected_last_id=last.id,
            )
        )
    assert apis(made) == ["TransactWriteItems"]
    assert len(made[0].params["TransactItems"]) == 100


@pytest.mark.parametrize("change", [{"user_id": "u"}, {"status": "paused"}], ids=["user", "status"])
def test_update_is_one_read_and_one_transaction(bench: Bench, change: dict[str, str]) -> None:
    store = bench.open()
    session = bench.create(store)
    with bench.meter.counting() as made:
        bench.run(store.update_session(session.id, Patch(change), expected_version=1))
    assert apis(made) == ["BatchGetItem", "TransactWriteItems"]
    assert (made[0].units, bench.transaction_units(made[1])) == (2.0, 4)
