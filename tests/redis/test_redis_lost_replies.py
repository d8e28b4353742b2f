"""Replies that are lost: the client sends the request again, while somebody else has been active in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import redis

from session_continuity import (
    Mode,
    Patch,
    SessionFilter,
    SessionNotFoundError,
    UnavailableError,
    utc_now,
)
from session_continuity_redis import RedisStorage, scripts
from session_continuity_redis.client import Age

from ..kit.clocks import Clock
from ..kit.modes import MODES
from ..kit.redis_proxy import RedisProxy
from ..kit.redis_servers import EVERY_ENGINE, Server
from .stores import Bench

pytestmark = pytest.mark.on(engine=EVERY_ENGINE, mode=MODES)


@pytest.fixture
def lossy(proxy: RedisProxy, mode: Mode, namespace: str) -> Iterator[Bench]:
    """A store behind the proxy, its connection open and its scripts known to the server."""
    opened = Bench(f"{proxy.url}?namespace={namespace}", mode)
    opened.create("warm")
    stored = opened.append("one", "two", session_id="warm").messages
    opened(opened.store.update_session("warm", Patch(set={"handoffs": []})))
    opened(opened.store.update_message("warm", stored[0].id, Patch(set={"content": "x"})))
    opened(opened.store.delete_message("warm", stored[0].id))
    opened(opened.store.delete_all_messages("warm"))
    opened(opened.store.delete_session("warm"))
    yield opened
    opened.close()


def test_an_append_whose_answer_was_lost_is_stored_once(lossy: Bench, proxy: RedisProxy) -> None:
    lossy.create()
    proxy.swallow_next_reply()
    assert lossy.append("one", "two").repeated
    assert lossy.totals() == (2, 2)
    assert lossy.contents() == ["one", "two"]


def test_a_script_that_the_server_has_to_be_sent_first_is_no_second_attempt(lossy: Bench, server: Server) -> None:
    clock = Clock(utc_now())
    lossy.store.clock = clock
    lossy.create(created_at=clock.now, expires_at=clock.now + timedelta(seconds=1))
    clock.advance(seconds=1)
    with server.client() as client:
        client.script_flush()
    with pytest.raises(SessionNotFoundError):
        lossy.append("one")


def test_a_creation_whose_answer_was_lost_succeeds(lossy: Bench, proxy: RedisProxy) -> None:
    proxy.swallow_next_reply()
    assert lossy.create(user_id="ada").user_id == "ada"


def test_an_update_whose_answer_was_lost_counts_once(lossy: Bench, proxy: RedisProxy) -> None:
    lossy.create()
    proxy.swallow_next_reply()
    changed = lossy(lossy.store.update_session("s", Patch(set={"sliding_ttl": None}), expected_version=1))
    assert changed.version == 2


def test_an_edit_whose_answer_was_lost_counts_its_tokens_once(lossy: Bench, proxy: RedisProxy) -> None:
    lossy.create()
    (stored,) = lossy.append("one").messages
    edit = lossy.driver.update_message

    async def losing() -> None:
        body = lossy.driver._messages._body

        async def read(*arguments: str) -> str | None:
            found = await body(*arguments)
            proxy.swallow_next_reply()
            return found

        lossy.driver._messages._body = read  # type: ignore[method-assign]
        await edit("s", stored.id, Patch(set={"content": "two", "token_count": 6}))
        lossy.driver._messages._body = body  # type: ignore[method-assign]

    lossy(losing())
    found = lossy(lossy.store.get_session("s"))
    assert found is not None
    assert found.token_count == 6
    assert lossy.contents() == ["two"]


def test_removals_whose_answer_was_lost_answer_the_same(lossy: Bench, proxy: RedisProxy) -> None:
    lossy.create()
    stored = lossy.append("one", "two", "three").messages
    proxy.swallow_next_reply()
    assert lossy(lossy.store.delete_message("s", stored[0].id))
    proxy.swallow_next_reply()
    assert lossy(lossy.store.delete_all_messages("s")) == 2
    assert lossy.contents() == []


@pytest.fixture
def other(server: Server, namespace: str) -> Iterator[Bench]:
    """Another client, which reaches the server without the proxy."""
    opened = Bench(f"{server.url}?namespace={namespace}", "blocking")
    yield opened
    opened.close()


def create_anew(other: Bench) -> None:
    other(other.store.delete_session("s"))
    other.create("s", user_id="theirs")
    other.append("theirs")


def test_a_delete_is_not_repeated_on_a_session_created_meanwhile(lossy: Bench, proxy: RedisProxy, other: Bench) -> None:
    lossy.create()

    def meanwhile() -> None:
        other.create("s", user_id="theirs")
        other.append("theirs")

    proxy.swallow_next_reply(meanwhile)
    assert lossy(lossy.store.delete_session("s"))
    assert other.contents() == ["theirs"]
    assert [each.id for each in other(other.store.list_sessions(SessionFilter(user_id="theirs"), limit=9))] == ["s"]


def test_a_delete_after_which_others_created_and_deleted_was_made_all_the_same(
    lossy: Bench, proxy: RedisProxy, other: Bench
) -> None:
    lossy.create()

    def meanwhile() -> None:
        other.create()
        other(other.store.delete_session("s"))

    proxy.swallow_next_reply(meanwhile)
    assert lossy(lossy.store.delete_session("s"))
    assert not lossy(lossy.store.delete_session("s"))


def test_a_creation_is_not_repeated_after_somebody_deleted_the_session(
    lossy: Bench, proxy: RedisProxy, other: Bench
) -> None:
    proxy.swallow_next_reply(lambda: other(other.store.delete_session("s")))
    assert lossy.create(user_id="ada").user_id == "ada"
    assert other(other.store.get_session("s")) is None
    assert list(other(other.store.list_sessions(SessionFilter(user_id="ada"), limit=9))) == []


def test_a_creation_leaves_alone_what_somebody_created_after_deleting_it(
    lossy: Bench, proxy: RedisProxy, other: Bench
) -> None:
    proxy.swallow_next_reply(lambda: create_anew(other))
    assert lossy.create(user_id="ada").user_id == "ada"
    found = other(other.store.get_session("s"))
    assert found is not None
    assert (found.user_id, other.contents()) == ("theirs", ["theirs"])


def test_messages_that_somebody_removed_do_not_come_back(lossy: Bench, proxy: RedisProxy, other: Bench) -> None:
    lossy.create()
    batch = [lossy.message("one"), lossy.message("two")]
    removals: list[Callable[[], Any]] = [
        lambda: other(other.store.delete_message("s", batch[0].id)),
        lambda: other(other.store.delete_message("s", batch[1].id)),
        lambda: other(other.store.delete_all_messages("s")),
        lambda: create_anew(other),
        lambda: other(other.store.delete_session("s")),
    ]
    lefts: list[list[str]] = []
    for remove in removals:
        proxy.swallow_next_reply(remove)
        assert lossy(lossy.store.append_messages("s", batch)).repeated
        gone = other(other.store.get_session("s")) is None
        lefts.append([] if gone else other.contents())
        if not gone:
            other(other.store.delete_all_messages("s"))
        batch[:] = [lossy.message("one"), lossy.message("two")]
    assert lefts == [["two"], ["one"], [], ["theirs"], []]


def test_an_append_of_which_no_trace_can_be_left_has_an_unknown_outcome(
    lossy: Bench, proxy: RedisProxy, other: Bench
) -> None:
    lossy.create()

    def meanwhile() -> None:
        other.append(*map(str, range(20)))
        other(other.store.delete_all_messages("s"))

    proxy.swallow_next_reply(meanwhile)
    with pytest.raises(UnavailableError, match="unknown") as unknown:
        lossy.append("one")
    assert unknown.value.retryable
    assert other.contents() == []


def test_an_edit_is_not_made_again_over_that_of_somebody_else(lossy: Bench, proxy: RedisProxy, other: Bench) -> None:
    lossy.create()
    stored = lossy.append("one", "two").messages
    for message, act in (
        (stored[0], lambda: other(other.store.update_message("s", stored[0].id, Patch(set={"content": "theirs"})))),
        (stored[1], lambda: other(other.store.delete_message("s", stored[1].id))),
    ):
        proxy.swallow_next_reply(act, after=1)
        changed = lossy(lossy.store.update_message("s", message.id, Patch(set={"content": "mine"})))
        assert changed.content == "mine"
    assert other.contents() == ["theirs"]


def test_removals_are_not_repeated_on_what_came_meanwhile(lossy: Bench, proxy: RedisProxy, other: Bench) -> None:
    lossy.create()
    (first, _) = lossy.append("one", "two").messages
    again = other.message("theirs", id=first.id)
    proxy.swallow_next_reply(lambda: other(other.store.append_messages("s", [again], client_ids=[first.id])))
    assert lossy(lossy.store.delete_message("s", first.id))
    assert other.contents() == ["two", "theirs"]
    proxy.swallow_next_reply(lambda: other.append("later"))
    assert lossy(lossy.store.delete_all_messages("s")) == 2
    assert other.contents() == ["later"]
    proxy.swallow_next_reply(lambda: create_anew(other))
    assert lossy(lossy.store.delete_all_messages("s")) == 1
    assert other.contents() == ["theirs"]


def test_an_update_is_not_made_again_after_that_of_somebody_else(lossy: Bench, proxy: RedisProxy, other: Bench) -> None:
    lossy.create(user_id="ada")
    proxy.swallow_next_reply(lambda: other(other.store.update_session("s", Patch(set={"user_id": "theirs"}))))
    changed = lossy(lossy.store.update_session("s", Patch(set={"user_id": "bob"}), expected_version=1))
    assert (changed.version, changed.user_id) == (3, "theirs")
    listed = other(other.store.list_sessions(SessionFilter(user_id="theirs"), limit=9))
    assert [each.id for each in listed] == ["s"]


@pytest.mark.parametrize("is_created_anew", [True, False])
def test_an_update_of_a_session_that_is_gone_meanwhile_has_an_unknown_outcome(
    lossy: Bench, proxy: RedisProxy, other: Bench, is_created_anew: bool
) -> None:
    lossy.create(user_id="ada")
    proxy.swallow_next_reply(lambda: create_anew(other) if is_created_anew else other(other.store.delete_session("s")))
    with pytest.raises(UnavailableError, match="unknown"):
        lossy(lossy.store.update_session("s", Patch(set={"user_id": "bob"})))
    found = other(other.store.get_session("s"))
    assert (found.user_id if found else None) == ("theirs" if is_created_anew else None)


def test_a_write_to_a_session_that_never_was_is_told_so_after_a_lost_reply_too(lossy: Bench, proxy: RedisProxy) -> None:
    for write in (
        lambda: lossy.append("one", session_id="nobody"),
        lambda: lossy(lossy.store.update_session("nobody", Patch(set={"user_id": "bob"}))),
        lambda: lossy(lossy.store.delete_all_messages("nobody")),
    ):
        proxy.swallow_next_reply()
        with pytest.raises(SessionNotFoundError):
            write()


def test_a_client_of_the_application_is_recognised_in_its_own_retries(
    proxy: RedisProxy, namespace: str, other: Bench
) -> None:
    with redis.Redis(port=proxy.port) as client:
        bench = Bench("", "blocking", driver=RedisStorage(client, namespace=namespace))
        bench.create()
        bench(bench.store.delete_all_messages("s"))
        bench.append("one")
        proxy.swallow_next_reply(lambda: other.append("theirs"))
        assert bench(bench.store.delete_all_messages("s")) == 1
    assert other.contents() == ["theirs"]


def test_the_traces_of_a_deleted_session_hold_no_content_and_last_a_minute(
    lossy: Bench, server: Server, namespace: str
) -> None:
    lossy.create(user_id="ada", metadata={"title": "secret"})
    lossy.append("secret")
    lossy(lossy.store.delete_session("s"))
    key = f"sc:s:{{{namespace}:s}}"
    with server.client() as client:
        assert 0 < client.pttl(key) <= 60_000
        assert all(member[:1] in b"~#" for member in client.zrange(key, 0, -1))
        lossy.create()
        assert client.pttl(key) == -1


class Resent(Age):
    """The age of a request that was sent before."""

    def __repr__(self) -> str:
        return "40000"


def test_a_write_that_is_sent_again_after_very_many_others_has_an_unknown_outcome(bench: Bench) -> None:
    def clear(age: Age) -> Any:
        # Of traces of one second, the one that sorts first is dropped first.
        return bench(bench.driver._runner.run_on_existing(scripts.CLEAR, "s", age, "0", 0))

    def others(count: int) -> None:
        for _ in range(count):
            bench(bench.store.update_session("s", Patch(set={"handoffs": []})))

    bench.create()
    bench.append("one")
    assert clear(Age()) == (scripts.Reply.OK, [1])
    others(20)
    bench.append("new")
    assert clear(Resent()) == (scripts.Reply.DONE, [1, 0])
    others(20)
    with pytest.raises(UnavailableError, match="unknown"):
        clear(Resent())
    assert bench.contents() == ["new"]
