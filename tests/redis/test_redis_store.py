"""What the Redis backend promises beyond the contract, on real servers of every engine found."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
import redis.asyncio

from session_continuity import (
    ConcurrencyError,
    MessageNotFoundError,
    MessageQuery,
    MessageTooLargeError,
    Patch,
    SessionClosedError,
    SessionFilter,
    SessionNotFoundError,
    StorageClosedError,
    StorageError,
    TokenBudgetExceededError,
    UnreadableError,
    ValidationError,
    minted_at,
    run_now,
    utc_now,
)
from session_continuity_redis import RedisStorage
from session_continuity_redis.damager import damage
from session_continuity_redis.index import Index

from ..kit.clocks import Clock
from ..kit.conversations import new_session
from ..kit.modes import MODES
from ..kit.redis_servers import EVERY_ENGINE, Server
from .stores import Bench, is_trace

pytestmark = pytest.mark.on(engine=EVERY_ENGINE, mode=MODES)

ODD_IDS = [
    "a:b",
    "{curly}",
    "}{",
    "{}",
    "two words",
    "emoji 😀🧑‍🚀",
    "line\nbreak\ttab",
    "nul\x00inside",
    "per%cent%41",
    "pipe|bar",
    '"quoted"',
    "back\\slash",
    "é" * 128,
]


def keys_of(server: Server, namespace: str) -> list[bytes]:
    """The keys of a namespace but those that hold only the traces of a deleted session."""
    with server.client() as client:
        found = sorted(each for each in client.execute_command("KEYS", "*") if f"{{{namespace}:".encode() in each)
        return [key for key in found if not is_trace(client, key)]


@pytest.mark.parametrize("odd", ODD_IDS)
def test_any_id_names_a_session_a_user_an_agent_a_tag_and_a_message(bench: Bench, odd: str) -> None:
    created = bench.create(odd, user_id=odd, active_agent_id=odd, metadata={"tags": [odd]})
    message = bench.message(session_id=odd, id=odd, role="system")
    bench(bench.store.append_messages(odd, [message], client_ids=[odd]))
    assert bench(bench.store.get_message(odd, odd)) == message
    stored = bench(bench.store.get_session(odd))
    assert stored is not None
    assert stored.system_message_ids == [odd]
    for wanted in ({"user_id": odd}, {"active_agent_id": odd}, {"tags": frozenset({odd})}, {}):
        listed = bench(bench.store.list_sessions(SessionFilter(**wanted), limit=10))
        assert [each.id for each in listed] == [created.id]
    assert bench(bench.store.delete_session(odd))
    assert list(bench(bench.store.list_sessions(SessionFilter(), limit=10))) == []


def test_ids_that_escape_into_each_other_stay_apart(bench: Bench) -> None:
    pairs = ["a:b", "a%3Ab", "a%3ab", "{a}", "%7Ba%7D"]
    for name in pairs:
        bench.create(name, user_id=name)
        bench.append(f"in {name}", session_id=name)
    assert [bench.contents(name) for name in pairs] == [[f"in {name}"] for name in pairs]
    assert [
        [each.id for each in bench(bench.store.list_sessions(SessionFilter(user_id=name), limit=10))] for name in pairs
    ] == [[name] for name in pairs]


@pytest.mark.parametrize(("one", "other"), [("t", "t:s"), ("a", "a:0"), ("x", "x}:{x"), ("", "n"), ("n", "n%3A")])
def test_namespaces_that_share_a_prefix_never_meet(server: Server, namespace: str, one: str, other: str) -> None:
    first, second = (RedisStorage(server.client(), namespace=name, prefix=f"p{namespace}") for name in (one, other))
    for store, user in ((first, "first"), (second, "second")):
        for name in ("s", "s:s", "0"):
            run_now(store.create_session(new_session(name, now=utc_now(), user_id=user)))
    for store, user in ((first, "first"), (second, "second")):
        listed = run_now(store.list_sessions(SessionFilter(), limit=10))
        assert {(each.id, each.user_id) for each in listed} == {(name, user) for name in ("s", "s:s", "0")}
        assert run_now(store.delete_session("s"))
    assert run_now(first.get_session("s:s")) is not None


def test_a_session_is_one_key_beside_the_indexes_and_leaves_none(bench: Bench, server: Server, namespace: str) -> None:
    bench.create(
        user_id="ada", active_agent_id="bot", metadata={"tags": ["x", "y"]}, expires_at=utc_now() + timedelta(1)
    )
    bench.append("one", "two")
    assert [key for key in keys_of(server, namespace) if b"sc:i:" not in key] == [f"sc:s:{{{namespace}:s}}".encode()]
    bench(bench.store.update_session("s", Patch(set={"user_id": "bob", "status": "paused"})))
    bench(bench.store.delete_session("s"))
    assert keys_of(server, namespace) == []


def test_a_key_lives_through_the_grace_and_no_longer(bench: Bench, server: Server, namespace: str) -> None:
    bench.create(expires_at=utc_now() + timedelta(hours=1))
    bench.append("one")
    (key,) = (each for each in keys_of(server, namespace) if b":s:" in each)
    with server.client() as client:
        assert timedelta(hours=24.9) < timedelta(milliseconds=client.pttl(key)) <= timedelta(hours=25)
        bench(bench.store.update_session("s", Patch(set={"expires_at": utc_now() + timedelta(hours=2)})))
        assert timedelta(hours=25.9) < timedelta(milliseconds=client.pttl(key)) <= timedelta(hours=26)
        bench(bench.store.update_session("s", Patch(clear=frozenset({"expires_at"}))))
        assert client.pttl(key) == -1


def test_a_frozen_clock_far_from_the_servers_does_not_shorten_a_life(bench: Bench) -> None:
    clock = Clock(utc_now())
    clock.now = datetime(2001, 1, 1, tzinfo=UTC)
    bench.store.clock = clock
    bench.create(created_at=clock.now, expires_at=clock.now + timedelta(hours=1))
    assert bench(bench.store.get_session("s")) is not None
    clock.advance(hours=1)
    assert bench(bench.store.get_session("s")) is None
    with pytest.raises(SessionNotFoundError):
        bench.append("late")


def test_an_expired_session_is_found_until_it_is_deleted(bench: Bench, server: Server, namespace: str) -> None:
    clock = Clock(utc_now())
    bench.store.clock = clock
    for number in range(3):
        bench.create(f"s{number}", expires_at=clock.now + timedelta(minutes=3 - number))
    bench.create("for ever")
    bench.append("kept until then", session_id="s0")
    clock.advance(minutes=2)
    found = bench(bench.store.get_expired_sessions(clock.now, limit=10))
    assert list(found) == ["s2", "s1"]
    assert [each.id for each in bench(bench.store.list_sessions(SessionFilter(), limit=10))] == ["for ever", "s0"]
    for name in found:
        assert bench(bench.store.delete_session(name, expired_before=clock.now))
    assert not bench(bench.store.delete_session("s0", expired_before=clock.now))
    assert list(bench(bench.store.get_expired_sessions(clock.now, limit=10))) == []
    assert len([key for key in keys_of(server, namespace) if b"sc:s:" in key]) == 2


def test_expired_sessions_come_in_pages_longest_expired_first(bench: Bench) -> None:
    clock = Clock(utc_now())
    bench.store.clock = clock
    for number in range(7):
        bench.create(f"s{number}", expires_at=clock.now + timedelta(seconds=number + 1))
    clock.advance(minutes=1)
    seen: list[str] = []
    cursor = None
    while True:
        page = bench(bench.store.get_expired_sessions(clock.now, limit=3, cursor=cursor))
        seen += page
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == [f"s{number}" for number in range(7)]


def test_nothing_of_an_expired_session_reappears_under_its_id(bench: Bench) -> None:
    clock = Clock(utc_now())
    bench.store.clock = clock
    bench.create(user_id="ada", expires_at=clock.now + timedelta(minutes=1))
    bench.append("of the first", role="system")
    clock.advance(minutes=1)
    created = bench.create(user_id="bob", created_at=clock.now)
    assert bench.contents() == []
    assert bench(bench.store.get_session("s")) == created
    assert list(bench(bench.store.list_sessions(SessionFilter(user_id="ada"), limit=5))) == []
    assert list(bench(bench.store.list_sessions(SessionFilter(user_id="bob"), limit=5))) == [created]
    assert list(bench(bench.store.get_expired_sessions(clock.now, limit=5))) == []


def test_a_batch_behind_the_last_message_moves_up_and_keeps_client_ids(bench: Bench) -> None:
    bench.create()
    ahead = utc_now() + timedelta(hours=1)
    bench(bench.store.append_messages("s", [bench.message("ahead", created_at=ahead)]))
    minted, chosen = bench.message("minted"), bench.message("chosen", id="mine")
    stored = bench(bench.store.append_messages("s", [minted, chosen], client_ids=["mine"]))
    assert [message.created_at for message in stored.messages] == [ahead, ahead]
    assert minted_at(stored.messages[0].id) == ahead
    assert stored.messages[1].id == "mine"
    assert list(bench(bench.store.get_messages("s", MessageQuery())))[1:] == list(stored.messages)
    assert bench.contents() == ["ahead", "minted", "chosen"]


def test_after_the_last_message_is_deleted_an_earlier_time_is_kept(bench: Bench) -> None:
    bench.create()
    first, last = bench.message("first"), bench.message("last", created_at=utc_now() + timedelta(hours=1))
    bench(bench.store.append_messages("s", [first]))
    bench(bench.store.append_messages("s", [last]))
    bench(bench.store.delete_message("s", last.id))
    between = bench.message("between")
    assert bench(bench.store.append_messages("s", [between])).messages == (between,)


def test_a_repeated_batch_is_answered_and_not_stored_again(bench: Bench) -> None:
    bench.create()
    batch = [bench.message("one", id="1"), bench.message("two", id="2")]
    first = bench(bench.store.append_messages("s", batch, client_ids=["1", "2"]))
    bench(bench.store.update_session("s", Patch(set={"status": "completed"})))
    again = bench(bench.store.append_messages("s", batch, client_ids=["1", "2"]))
    assert (first.repeated, again.repeated) == (False, True)
    assert again.messages == first.messages
    assert bench.totals() == (2, 2)
    with pytest.raises(ValidationError, match="part of this batch"):
        bench(bench.store.append_messages("s", [*batch, bench.message(id="3")], client_ids=["1", "2", "3"]))
    with pytest.raises(ValidationError, match="belongs to another"):
        bench(bench.store.append_messages("s", [bench.message("other", id="1")], client_ids=["1"]))
    with pytest.raises(ValidationError, match="same id"):
        bench(bench.store.append_messages("s", [bench.message(id="4"), bench.message(id="4")], client_ids=["4"]))
    with pytest.raises(SessionClosedError):
        bench.append("closed")


def test_the_hard_limit_follows_the_budget(bench: Bench) -> None:
    budget: dict[str, Any] = {"max_tokens": 10, "overflow_strategy": "error"}
    created = bench.create(token_budget=budget)
    bench.append("five", token_count=5)
    with pytest.raises(TokenBudgetExceededError) as refused:
        bench.append("six", token_count=6)
    assert (refused.value.used, refused.value.limit) == (5, 10)
    assert created.token_budget is not None
    wider = created.token_budget.model_copy(update={"max_tokens": 11})
    bench(bench.store.update_session("s", Patch(set={"token_budget": wider})))
    bench.append("six", token_count=6)
    assert bench.totals() == (2, 11)
    bench(bench.store.update_session("s", Patch(clear=frozenset({"token_budget"}))))
    bench.append("more", token_count=100)
    assert bench.totals() == (3, 111)


def test_totals_follow_edits_and_removals(bench: Bench) -> None:
    bench.create()
    stored = bench.append("a", "b", "c", token_count=10).messages
    bench(bench.store.update_message("s", stored[0].id, Patch(set={"token_count": 1, "role": "system"})))
    bench(
        bench.store.update_message("s", stored[1].id, Patch(set={"role": "system"}, clear=frozenset({"token_count"})))
    )
    bench(bench.store.delete_message("s", stored[2].id))
    found = bench(bench.store.get_session("s"))
    assert found is not None
    assert (found.message_count, found.token_count) == (2, 1)
    assert found.system_message_ids == [stored[0].id, stored[1].id]
    assert bench.contents(roles=frozenset({"system"})) == ["a", "b"]
    assert bench.contents(roles=frozenset({"user"})) == []
    assert bench(bench.store.delete_all_messages("s")) == 2
    found = bench(bench.store.get_session("s"))
    assert found is not None
    assert (found.message_count, found.token_count, found.system_message_ids) == (0, 0, [])


def test_concurrent_edits_of_other_fields_both_stay(bench: Bench, server: Server, namespace: str) -> None:
    bench.create()
    (stored,) = bench.append("text").messages
    first = RedisStorage(server.client(), namespace=namespace)

    second = RedisStorage(server.client(), namespace=namespace)
    read = second._messages._body

    async def read_and_be_overtaken(session_id: str, message_id: str) -> str | None:
        body = await read(session_id, message_id)
        await first.update_message("s", stored.id, Patch(set={"content": "edited", "token_count": 7}))
        return body

    second._messages._body = read_and_be_overtaken  # type: ignore[method-assign]
    changed = run_now(second.update_message("s", stored.id, Patch(set={"role": "system"})))
    assert (changed.content, changed.role) == ("edited", "system")
    assert bench(bench.store.get_message("s", stored.id)) == changed
    found = bench(bench.store.get_session("s"))
    assert found is not None
    assert found.token_count == 7


def test_a_page_is_the_same_however_it_is_asked_for(bench: Bench) -> None:
    bench.create()
    roles = ["user", "assistant", "tool", "system"]
    start = utc_now() - timedelta(minutes=1)
    batch = [
        bench.message(str(number), role=roles[number % 4], created_at=start + timedelta(seconds=number // 3))
        for number in range(40)
    ]
    bench(bench.store.append_messages("s", batch))
    for number in (0, 7, 8, 20, 39):
        bench(bench.store.delete_message("s", batch[number].id))
    left = [message for number, message in enumerate(batch) if number not in (0, 7, 8, 20, 39)]
    texts = [message.content for message in left]
    assert bench.contents(limit=6) == texts
    assert bench.contents(limit=6, order="desc") == texts[::-1]
    for wanted in (frozenset({"tool"}), frozenset({"user", "system"})):
        matching = [message.content for message in left if message.role in wanted]
        assert bench.contents(roles=wanted, limit=3) == matching
        assert bench.contents(roles=wanted, limit=3, order="desc") == matching[::-1]
    assert bench.contents(roles=frozenset()) == []
    for second in (0, 2, 5, 13, 14):
        moment = start + timedelta(seconds=second)
        assert bench.contents(after=moment) == [m.content for m in left if m.created_at > moment]
        assert bench.contents(before=moment) == [m.content for m in left if m.created_at < moment]
        finer = moment + timedelta(microseconds=300)
        assert bench.contents(after=finer) == [m.content for m in left if m.created_at > finer]
        assert (
            bench.contents(before=finer, limit=4, order="desc")
            == [m.content for m in left if m.created_at < finer][::-1]
        )
    assert bench.contents(after_id=left[3].id, before_id=left[9].id) == texts[4:9]
    assert bench.contents(ids=frozenset({left[5].id, left[2].id, "no such", batch[0].id})) == [texts[2], texts[5]]
    assert bench.contents(ids=frozenset()) == []
    with pytest.raises(MessageNotFoundError):
        bench.contents(after_id=batch[0].id)


def test_a_cursor_in_a_conversation_stands_deletes_and_appends(bench: Bench) -> None:
    bench.create()
    stored = bench.append(*map(str, range(10))).messages
    page = bench(bench.store.get_messages("s", MessageQuery(limit=4, order="desc")))
    for number in (6, 5, 4):
        bench(bench.store.delete_message("s", stored[number].id))
    bench.append("newer")
    rest = bench(bench.store.get_messages("s", MessageQuery(limit=9, order="desc"), cursor=page.next_cursor))
    assert [message.content for message in rest] == ["3", "2", "1", "0"]


def test_a_second_update_of_one_version_gets_the_session_as_it_is(bench: Bench) -> None:
    bench.create()
    bench(bench.store.update_session("s", Patch(set={"user_id": "ada"}), expected_version=1))
    with pytest.raises(ConcurrencyError) as refused:
        bench(bench.store.update_session("s", Patch(set={"user_id": "bob"}), expected_version=1))
    assert refused.value.actual == 2
    assert refused.value.current is not None
    assert refused.value.current.user_id == "ada"


def test_a_message_over_the_limit_is_refused_before_it_is_sent(server: Server, namespace: str) -> None:
    bench = Bench(f"{server.url}?namespace={namespace}&max_message_bytes=2000", "blocking")
    bench.create()
    (stored,) = bench.append("é" * 800).messages
    with pytest.raises(MessageTooLargeError) as refused:
        bench.append("é" * 1000)
    assert refused.value.limit == 2000
    assert refused.value.size > 2000
    with pytest.raises(MessageTooLargeError, match="update_message"):
        bench(bench.store.update_message("s", stored.id, Patch(set={"content": "é" * 1000})))
    bench.close()


def test_a_clients_settings_do_not_change_what_is_read(server: Server, namespace: str) -> None:
    client = redis.Redis(port=server.port, decode_responses=True, protocol=3)
    bench = Bench("", "blocking", driver=RedisStorage(client, namespace=namespace, index_parts=3))
    bench.create("é:1", user_id="ada")
    batch = bench.append("text", session_id="é:1").messages
    assert list(bench(bench.store.get_messages("é:1", MessageQuery()))) == list(batch)
    bench(bench.store.update_message("é:1", batch[0].id, Patch(set={"content": "é"})))
    assert [each.id for each in bench(bench.store.list_sessions(SessionFilter(user_id="ada"), limit=5))] == ["é:1"]
    client.close()


def test_a_client_that_was_handed_in_stays_open(server: Server, namespace: str) -> None:
    client = server.client()
    store = RedisStorage(client, namespace=namespace)
    run_now(store.create_session(new_session(now=utc_now())))
    run_now(store.close())
    run_now(store.close())
    with pytest.raises(StorageClosedError):
        run_now(store.get_session("s"))
    assert client.ping()
    client.close()


def test_a_call_that_goes_on_after_close_opens_nothing_anew(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.driver._sessions._together = False
    announce = Index.announce

    async def closing(self: Index, session_id: str, facts: str) -> tuple[int, bool]:
        answer = await announce(self, session_id, facts)
        await bench.store.close()
        return answer

    monkeypatch.setattr(Index, "announce", closing)
    with pytest.raises(StorageClosedError):
        bench.create()
    with pytest.raises(StorageClosedError):
        bench(bench.driver.get_session("s"))


def test_a_key_of_another_application_is_named_as_the_cause(bench: Bench, server: Server, namespace: str) -> None:
    with server.client() as client:
        client.set(f"sc:s:{{{namespace}:s}}", "theirs")
    with pytest.raises(StorageError, match="another application"):
        bench.append("one")
    with pytest.raises(UnreadableError, match=r"session 's' cannot be read: .* another program"):
        bench(bench.store.get_session("s"))


def respell(server: Server, namespace: str, old: bytes, new: bytes) -> None:
    """Write the one message of the session in another way."""
    key = f"sc:s:{{{namespace}:s}}"
    with server.client() as client:
        (body,) = client.zrangebyscore(key, 1, 1)
        client.zrem(key, body)
        client.zadd(key, {body.replace(old, new): 1})


def test_what_cannot_be_read_is_named_by_its_id_or_else_by_its_place(
    bench: Bench, server: Server, namespace: str
) -> None:
    bench.create()
    (message,) = bench.append("one").messages
    respell(server, namespace, b'"role":"user"', b'"role":"oracle"')
    with server.client() as client:
        client.zadd(f"sc:s:{{{namespace}:s}}", {'{"created_at":"2026-01-01T00:00:00.000Z","shape":2}': 2})
    page = bench(bench.store.get_messages("s", MessageQuery()))
    assert (page.items, page.unreadable) == ((), (message.id, "place 2"))


def test_damaged_messages_do_not_hide_others_of_their_time(bench: Bench) -> None:
    bench.create()
    times = [utc_now() + timedelta(milliseconds=step) for step in range(8)]
    batch = [bench.message(str(at), created_at=time) for at, time in enumerate(times)]
    stored = bench(bench.store.append_messages("s", batch)).messages
    for message in stored[2:6]:
        damage(bench.driver, "s", message.id)
    readable = [*stored[:2], *stored[6:]]
    for time in times:
        page = bench(bench.store.get_messages("s", MessageQuery(after=time)))
        assert list(page) == [message for message in readable if message.created_at > time]
        page = bench(bench.store.get_messages("s", MessageQuery(before=time)))
        assert list(page) == [message for message in readable if message.created_at < time]
    for message in stored[6:]:
        assert bench(bench.store.delete_message("s", message.id))
    (added,) = bench.append("after damaged ones").messages
    replaced = bench(bench.store.replace_tail("s", stored[1].id, return_removed=True))
    assert (replaced.removed, replaced.removed_count) == ((added,), 5)
    assert bench.contents() == ["0", "1"]


def test_an_update_of_a_session_that_cannot_be_read_changes_nothing(
    bench: Bench, server: Server, namespace: str
) -> None:
    bench.create()
    damage(bench.driver, "s", None)
    with server.client() as client:
        before = client.zrange(f"sc:s:{{{namespace}:s}}", 0, -1, withscores=True)
        with pytest.raises(UnreadableError):
            bench(bench.store.update_session("s", Patch(set={"status": "paused"})))
        assert client.zrange(f"sc:s:{{{namespace}:s}}", 0, -1, withscores=True) == before


def test_listings_and_clean_up_name_what_they_cannot_read(bench: Bench, server: Server, namespace: str) -> None:
    clock = Clock(utc_now())
    bench.store.clock = clock
    end = clock.now + timedelta(seconds=1)
    for name in "abcdef":
        bench.create(name, user_id="ada", created_at=clock.now, expires_at=end)
    damage(bench.driver, "b", None)
    with server.client() as client:
        client.delete(f"sc:s:{{{namespace}:c}}")
        client.set(f"sc:s:{{{namespace}:c}}", "theirs")
        client.zrem(f"sc:s:{{{namespace}:d}}", "#tokens")
        client.zadd(f"sc:s:{{{namespace}:e}}", {b'"metadata":\xe9': -5})
    page = bench(bench.store.list_sessions(SessionFilter(user_id="ada"), limit=9))
    assert ([session.id for session in page], page.unreadable) == (["f", "a"], ("e", "d", "c", "b"))
    clock.advance(seconds=1)
    found = bench(bench.store.get_expired_sessions(end, limit=9))
    assert (sorted(found), found.unreadable) == (["a", "b", "d", "e", "f"], ("c",))
    for name in found:
        assert bench(bench.store.delete_session(name, expired_before=end))


def test_a_message_of_a_newer_version_is_refused_by_its_id(bench: Bench, server: Server, namespace: str) -> None:
    bench.create()
    (message,) = bench.append("one").messages
    respell(server, namespace, b'"role":"user"', b'"role":"oracle"')
    with pytest.raises(UnreadableError, match="newer version"):
        bench(bench.store.get_message("s", message.id))
    with pytest.raises(UnreadableError, match="newer version"):
        bench(bench.store.update_message("s", message.id, Patch(set={"content": "two"})))


def test_bytes_that_are_no_text_cannot_be_read(server: Server, namespace: str) -> None:
    client = redis.Redis(port=server.port, decode_responses=True)
    bench = Bench("", "blocking", driver=RedisStorage(client, namespace=namespace))
    bench.create()
    (message,) = bench.append("one").messages
    respell(server, namespace, b'"one"', b'"\xe9"')
    with pytest.raises(UnreadableError) as refused:
        bench(bench.store.get_message("s", message.id))
    assert refused.value.__cause__ is None
    assert refused.value.__context__ is None
    client.close()
