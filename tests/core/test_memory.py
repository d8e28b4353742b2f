"""The memory backend's own behaviour: its URLs, how long its data live, and the cost of its calls.

The conformance suite tests that it keeps the contract.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import FrameType
from typing import Any

import pytest

from session_continuity import (
    ConfigError,
    MessageQuery,
    Patch,
    SessionContinuityError,
    SessionFilter,
    Storage,
    StorageAdapter,
    StorageClosedError,
    ValidationError,
    default_registry,
    open_storage,
    portable,
    run_now,
)
from session_continuity_memory import MemoryStorage

from ..kit.clocks import START, Clock
from ..kit.conversations import Speaker, new_session

SPEAKER = Speaker(clock=Clock())


def filled(count: int) -> MemoryStorage:
    """A store with one conversation of so many messages, its first a system message."""
    store = MemoryStorage()
    run_now(store.create_session(new_session()))
    for number in range(count):
        run_now(store.append_messages("s", [SPEAKER.says(role="user" if number else "system")]))
    return store


def test_every_unnamed_url_opens_a_store_of_its_own() -> None:
    with open_storage("memory://") as one, open_storage("memory://") as other:
        one.create_session(new_session())
        assert other.get_session("s") is None


@pytest.mark.parametrize("other_url", ["memory://shared", "memory://?name=shared", "memory://shared/"])
def test_a_name_is_one_store_for_all_that_opened_it(other_url: str) -> None:
    with open_storage("memory://shared") as one, open_storage(other_url) as other:
        one.create_session(new_session())
        assert other.get_session("s") == new_session()


def test_names_and_namespaces_keep_apart() -> None:
    with (
        open_storage("memory://shared") as one,
        open_storage("memory://other") as other,
        open_storage("memory://shared?namespace=n") as within,
    ):
        one.create_session(new_session())
        assert other.get_session("s") is None
        assert within.get_session("s") is None


def test_a_named_store_ends_when_the_last_user_closes_it() -> None:
    first = open_storage("memory://shared")
    with open_storage("memory://shared") as second:
        second.create_session(new_session())
    assert first.get_session("s") == new_session()
    first.close()
    with open_storage("memory://shared") as third:
        assert third.get_session("s") is None


@pytest.mark.parametrize("url", ["memory://user@name", "memory://:word@name", "memory://name:80", "memory://name/path"])
def test_a_url_with_meaningless_parts_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"^a memory:// URL is memory:// or memory://NAME$"):
        open_storage(url)


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"memory: unknown option nam; did you mean name\? Known options: name, name"):
        open_storage("memory://?nam=x")


def test_its_plugin_and_its_adapter_declare_the_same_capabilities() -> None:
    plugin = default_registry().plugin("memory")
    options = plugin.options()
    for mode in ("async", "blocking"):
        adapter = plugin.create(options, mode)
        assert (adapter.mode, adapter.capabilities) == (mode, plugin.capabilities(options))


CALLS: list[Callable[[MemoryStorage], Coroutine[Any, Any, object]]] = [
    lambda store: store.setup(),
    lambda store: store.health(),
    lambda store: store.create_session(new_session()),
    lambda store: store.get_session("s"),
    lambda store: store.update_session("s", Patch()),
    lambda store: store.delete_session("s"),
    lambda store: store.list_sessions(SessionFilter(), limit=1),
    lambda store: store.append_messages("s", [SPEAKER.says()]),
    lambda store: store.get_message("s", "m"),
    lambda store: store.get_messages("s", MessageQuery()),
    lambda store: store.update_message("s", "m", Patch()),
    lambda store: store.delete_message("s", "m"),
    lambda store: store.delete_all_messages("s"),
    lambda store: store.get_expired_sessions(START, limit=1),
]


@pytest.mark.parametrize("call", CALLS)
def test_a_closed_store_refuses_every_call_by_its_name(call: Callable[[StorageAdapter], Any]) -> None:
    store = portable(MemoryStorage())
    run_now(store.close())
    run_now(store.close())
    with pytest.raises(StorageClosedError, match=r"memory: \w+: the store is closed; open it again") as caught:
        run_now(call(store))
    assert hasattr(MemoryStorage, caught.value.operation)


def lines_run(call: Callable[[], object]) -> int:
    """How many lines of the memory backend a call runs: its cost, whatever else the machine does."""
    count = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        if "session_continuity_memory" not in frame.f_code.co_filename:
            return None
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


def oldest(store: MemoryStorage) -> str:
    return run_now(store.get_messages("s", MessageQuery(limit=1)))[0].id


@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.get_session("s"),
        lambda store: store.update_session("s", Patch({"user_id": "u"})),
        lambda store: store.append_messages("s", [SPEAKER.says()]),
        lambda store: store.get_message("s", oldest(store)),
        lambda store: store.get_messages("s", MessageQuery(limit=3, order="desc")),
        lambda store: store.get_messages("s", MessageQuery(limit=3, after_id=oldest(store))),
        lambda store: store.get_messages("s", MessageQuery(ids=frozenset({oldest(store)}))),
        lambda store: store.update_message("s", oldest(store), Patch({"content": "changed"})),
        lambda store: store.delete_message("s", oldest(store)),
        lambda store: store.list_sessions(SessionFilter(), limit=1),
    ],
    ids=["get", "update", "append", "message", "last", "after", "ids", "edit", "delete", "list"],
)
def test_no_call_costs_more_in_a_long_conversation(call: Callable[[MemoryStorage], Any]) -> None:
    short, long = filled(10), filled(300)
    assert lines_run(lambda: run_now(call(long))) <= lines_run(lambda: run_now(call(short))) + 5


def test_system_messages_are_known_in_conversation_order_whatever_happens_to_them() -> None:
    store = Storage(MemoryStorage())
    store.create_session(new_session())
    first, second, third, fourth = (SPEAKER.says(role=role) for role in ("system", "user", "system", "user"))
    for each in (first, second, third, fourth):
        store.append_messages("s", [each])

    def known() -> list[str]:
        found = store.get_session("s")
        assert found is not None
        return found.system_message_ids

    assert known() == [first.id, third.id]
    store.update_message("s", second.id, Patch({"role": "system"}))
    assert known() == [first.id, second.id, third.id]
    store.update_message("s", first.id, Patch({"role": "user"}))
    assert known() == [second.id, third.id]
    store.update_message("s", third.id, Patch({"content": "still a system message"}))
    assert known() == [second.id, third.id]
    store.delete_message("s", second.id)
    assert known() == [third.id]
    store.delete_all_messages("s")
    assert known() == []


def test_threads_that_share_a_session_lose_nothing() -> None:
    store = filled(0)

    def appends(_: int) -> None:
        for _ in range(50):
            run_now(store.append_messages("s", [SPEAKER.says()]))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(appends, range(8)))
    found = run_now(store.get_session("s"))
    assert found is not None
    assert (found.message_count, found.token_count) == (400, 400)
    page = run_now(store.get_messages("s", MessageQuery(limit=1000)))
    assert len({each.id for each in page}) == 400
    assert [each.created_at for each in page] == sorted(each.created_at for each in page)


def test_expired_sessions_come_in_the_order_of_their_expiry_down_to_the_millisecond() -> None:
    store = MemoryStorage()
    moments = [START.replace(microsecond=1000 * number) for number in (500, 0, 7, 70, 700)]
    for number, moment in enumerate(moments):
        run_now(store.create_session(new_session(str(number)).model_copy(update={"expires_at": moment})))
    found = run_now(store.get_expired_sessions(START + timedelta(seconds=1), limit=10))
    assert [moments[int(id)].microsecond // 1000 for id in found] == [0, 7, 70, 500, 700]


def test_a_batch_with_one_id_twice_stores_nothing() -> None:
    store, twice = filled(0), SPEAKER.says()
    with pytest.raises(ValidationError, match="two messages of the batch have the same id"):
        run_now(portable(store).append_messages("s", [twice, twice]))
    assert run_now(store.get_session("s")) == new_session()


def test_a_failed_call_leaves_the_lock_free() -> None:
    store = filled(0)
    with pytest.raises(SessionContinuityError):
        run_now(store.update_session("missing", Patch()))
    assert run_now(store.get_session("s")) == new_session()
