"""FORK: a session that begins with copies of another's messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from session_continuity import (
    Fork,
    ForkedFrom,
    Message,
    MessageNotFoundError,
    Patch,
    Session,
    SessionExistsError,
    SessionMetadata,
    SessionNotFoundError,
    TokenBudget,
    TokenBudgetExceededError,
    ValidationError,
)
from session_continuity_conformance.cases import clause
from session_continuity_conformance.checks import holds, refused, results, same, same_models
from session_continuity_conformance.samples import full_message
from session_continuity_conformance.store_fixture import StoreFixture

LONG = 60


def new_fork(store: StoreFixture, source_id: str, through_id: str | None = None, **fields: Any) -> Session:
    """A session for a fork, as a manager builds it."""
    return store.new_session(forked_from=ForkedFrom(session_id=source_id, message_id=through_id), **fields)


async def fork(store: StoreFixture, source_id: str, through_id: str | None = None, **fields: Any) -> Session:
    """Fork a session, and return the fork as the store does."""
    session = new_fork(store, source_id, through_id, **fields)
    return await store.adapter.fork_session(source_id, session, through_id=through_id)


async def source_of(store: StoreFixture, *contents: str) -> tuple[Session, list[Message]]:
    """A session with a message for each content."""
    session = await store.create_session()
    return session, list(await store.append(session.id, *contents))


def copies(messages: Sequence[Message], session_id: str) -> list[Message]:
    """These messages, as a fork has them."""
    return [message.model_copy(update={"session_id": session_id}) for message in messages]


async def fork_ids(store: StoreFixture, source_id: str, limit: int = 100) -> list[str]:
    """The ids of every fork, from all pages."""
    found = await store.read_pages(lambda cursor: store.adapter.list_forks(source_id, limit=limit, cursor=cursor))
    return [each.session_id for each in found]


@clause("SC-FORK-001")
async def test_fork_has_the_messages_up_to_one(store: StoreFixture) -> None:
    source = await store.create_session(user_id="u")
    rule = (await store.append(source.id, "rule", role="system", tokens=3))[0]
    full = full_message(store, source.id)
    await store.adapter.append_messages(source.id, [full])
    await store.append(source.id, "later", "latest")
    created = await fork(store, source.id, full.id)
    history = await store.history(source.id)
    same_models("messages of the fork", await store.history(created.id), copies(history[:2], created.id))
    totals = (created.message_count, created.token_count, created.system_message_ids)
    same("totals", totals, (2, 3 + (full.token_count or 0), [rule.id]))
    same("last_activity_at", created.last_activity_at, created.created_at)
    same("get_session", await store.current(created.id), created)


@clause("SC-FORK-001")
async def test_activity_of_a_fork_is_not_before_its_messages(store: StoreFixture) -> None:
    source, (_, last) = await source_of(store, "a", "b")
    moment = source.created_at
    session = new_fork(store, source.id, last.id, created_at=moment)
    created = await store.adapter.fork_session(source.id, session, through_id=last.id)
    same("created_at and last_activity_at", (created.created_at, created.last_activity_at), (moment, last.created_at))


@clause("SC-FORK-002")
async def test_fork_has_its_own_fields(store: StoreFixture) -> None:
    source, (first, *_) = await source_of(store, "a", "b")
    session = new_fork(
        store,
        source.id,
        first.id,
        user_id="v",
        active_agent_id="a",
        metadata=SessionMetadata(title="fork", tags=["t"]),
        version=2,
    )
    created = await store.adapter.fork_session(source.id, session, through_id=first.id)
    same("the fork", created, session.model_copy(update={"message_count": 1, "token_count": 1}))
    changed = await store.adapter.update_session(created.id, Patch({"user_id": "w"}))
    same("forked_from after an update", changed.forked_from, ForkedFrom(session_id=source.id, message_id=first.id))
    await store.check_listing("listing by the fork's user", [created.id], user_id="w")
    same("forked_from of the source", (await store.current(source.id)).forked_from, None)


@clause("SC-FORK-002")
async def test_forked_from_must_name_the_source(store: StoreFixture) -> None:
    source, (first, *_) = await source_of(store, "a", "b")
    for wrong in (None, ForkedFrom(session_id="other", message_id=first.id), ForkedFrom(session_id=source.id)):
        session = store.new_session(forked_from=wrong)
        call = store.adapter.fork_session(source.id, session, through_id=first.id)
        await refused("another forked_from", call, ValidationError)
        same("get_session afterwards", await store.adapter.get_session(session.id), None)


@clause("SC-FORK-003")
async def test_fork_of_a_long_conversation(store: StoreFixture) -> None:
    source = await store.create_session()
    size = min(store.capabilities.max_batch or LONG, LONG)
    for start in range(0, LONG, size):
        batch = [store.message(source.id, str(start + number)) for number in range(min(size, LONG - start))]
        await store.adapter.append_messages(source.id, batch)
    history = await store.history(source.id)
    created = await fork(store, source.id)
    same_models("messages of the fork", await store.history(created.id), copies(history, created.id))
    same("message_count and token_count", (created.message_count, created.token_count), (LONG, LONG))
    part = await fork(store, source.id, history[40].id)
    same_models("messages of a part", await store.history(part.id), copies(history[:41], part.id))


@clause("SC-FORK-003")
async def test_fork_of_an_empty_session(store: StoreFixture) -> None:
    source = await store.create_session()
    created = await fork(store, source.id)
    same("message_count", created.message_count, 0)
    same("messages", await store.texts(created.id), [])
    await store.append(created.id, "a")
    same("messages after an append", await store.texts(created.id), ["a"])


@clause("SC-FORK-004")
async def test_fork_and_source_are_apart(store: StoreFixture) -> None:
    source, (first, second, third) = await source_of(store, "a", "b", "c")
    created = await fork(store, source.id, third.id)
    await store.adapter.update_message(source.id, first.id, Patch({"content": "A", "token_count": 9}))
    await store.adapter.delete_message(source.id, second.id)
    await store.append(source.id, "of the source")
    await store.adapter.update_message(created.id, third.id, Patch({"content": "C"}))
    await store.append(created.id, "of the fork")
    same("the source", await store.texts(source.id), ["A", "c", "of the source"])
    same("the fork", await store.texts(created.id), ["a", "b", "C", "of the fork"])
    same("tokens of the fork", (await store.current(created.id)).token_count, 4)
    await store.adapter.delete_session(source.id)
    same("the fork without its source", await store.texts(created.id), ["a", "b", "C", "of the fork"])
    again = await fork(store, created.id)
    await store.adapter.delete_session(again.id)
    same("the fork without its own fork", await store.texts(created.id), ["a", "b", "C", "of the fork"])


@clause("SC-FORK-005")
async def test_fork_of_what_is_not_there(store: StoreFixture) -> None:
    source, _ = await source_of(store, "a")
    _, (foreign, *_) = await source_of(store, "x")
    for through_id in ("absent", foreign.id):
        session = new_fork(store, source.id, through_id)
        call = store.adapter.fork_session(source.id, session, through_id=through_id)
        await refused("a fork through an unknown message", call, MessageNotFoundError)
        same("get_session afterwards", await store.adapter.get_session(session.id), None)
    session = new_fork(store, "absent")
    await refused("a fork of no session", store.adapter.fork_session("absent", session), SessionNotFoundError)
    same("get_session afterwards", await store.adapter.get_session(session.id), None)
    same("forks of the source", await fork_ids(store, source.id), [])


@clause("SC-FORK-006")
async def test_repeated_fork_returns_the_session(store: StoreFixture) -> None:
    source, (first, *_) = await source_of(store, "a", "b")
    session = new_fork(store, source.id, first.id)
    await store.adapter.fork_session(source.id, session, through_id=first.id)
    await store.append(session.id, "more")
    await store.adapter.update_session(session.id, Patch({"user_id": "u"}))
    again = await store.adapter.fork_session(source.id, session, through_id=first.id)
    same("the repeated fork", again, await store.current(session.id))
    same("messages", await store.texts(session.id), ["a", "more"])
    same("forks of the source", await fork_ids(store, source.id), [session.id])


@clause("SC-FORK-006")
async def test_fork_to_an_id_that_is_taken(store: StoreFixture) -> None:
    source, (first, second) = await source_of(store, "a", "b")
    taken, _ = await source_of(store, "x")
    session = new_fork(store, source.id, id=taken.id)
    await refused("a fork", store.adapter.fork_session(source.id, session), SessionExistsError)
    same("the session with this id", await store.texts(taken.id), ["x"])
    created = await fork(store, source.id, first.id)
    other = new_fork(store, source.id, second.id, id=created.id, created_at=created.created_at)
    call = store.adapter.fork_session(source.id, other, through_id=second.id)
    await refused("another fork with the same id", call, SessionExistsError)
    same("the fork", await store.texts(created.id), ["a"])


@clause("SC-FORK-007")
async def test_forks_are_listed(store: StoreFixture) -> None:
    source, (first, second) = await source_of(store, "a", "b")
    forks = [await fork(store, source.id, through) for through in (first.id, second.id, first.id, None, second.id)]
    await fork(store, forks[0].id)
    page = await store.adapter.list_forks(source.id, limit=2)
    expected = [
        Fork(session_id=forks[0].id, message_id=first.id, created_at=forks[0].created_at),
        Fork(session_id=forks[1].id, message_id=second.id, created_at=forks[1].created_at),
    ]
    same("the first page", list(page), expected)
    everything = await store.read_pages(lambda cursor: store.adapter.list_forks(source.id, limit=9, cursor=cursor))
    same("message_id of a whole fork", everything[3].message_id, None)
    ids = [each.id for each in forks]
    for limit in (1, 2, 5, 100):
        same(f"forks by pages of {limit}", await fork_ids(store, source.id, limit), ids)
    await store.adapter.delete_session(ids[2])
    same("forks after a delete", await fork_ids(store, source.id), [*ids[:2], *ids[3:]])
    page = await store.adapter.list_forks(source.id, limit=1)
    other = await store.create_session()
    call = store.adapter.list_forks(other.id, limit=1, cursor=page.next_cursor)
    await refused("a cursor of another session", call, ValidationError)
    await refused("a limit out of range", store.adapter.list_forks(source.id, limit=0), ValidationError)


@clause("SC-FORK-008")
async def test_forks_end_with_their_source(store: StoreFixture) -> None:
    source, _ = await source_of(store, "a")
    created = await fork(store, source.id)
    await store.adapter.delete_session(source.id)
    await refused("forks of no session", store.adapter.list_forks(source.id, limit=9), SessionNotFoundError)
    await store.create_session(id=source.id)
    same("forks of a new session with the id", await fork_ids(store, source.id), [])
    same("the fork", await store.texts(created.id), ["a"])


@clause("SC-FORK-009")
async def test_reader_sees_the_whole_fork(store: StoreFixture) -> None:
    source = await store.create_session()
    size = min(store.capabilities.max_batch or LONG, LONG)
    for start in range(0, LONG, size):
        batch = [store.message(source.id, str(start + number)) for number in range(min(size, LONG - start))]
        await store.adapter.append_messages(source.id, batch)
    ids = [store.new_id() for _ in range(3)]

    async def write() -> None:
        for session_id in ids:
            await fork(store, source.id, id=session_id)

    async def read() -> None:
        for session_id in ids:
            for _ in range(6):
                await check_whole(store, session_id)

    results("readers beside forks", await store.driver.gather(write, read, read))


async def check_whole(store: StoreFixture, session_id: str) -> None:
    """Check that a fork is not there, or complete."""
    found = await store.adapter.get_session(session_id)
    if found is None:
        return
    same("message_count of a fork", found.message_count, LONG)
    number = len(await store.history(session_id))
    holds("messages of a fork", number == LONG, expected=f"all {LONG}", observed=number)


@clause("SC-FORK-010")
async def test_conversation_goes_on_in_the_fork(store: StoreFixture) -> None:
    source = await store.create_session()
    await store.append_with_ids(*[store.message(source.id, text, id=f"m{text}", tokens=4) for text in ("a", "b", "c")])
    budget = TokenBudget(max_tokens=10, overflow_strategy="error")
    created = await fork(store, source.id, "mc", token_budget=budget)
    same("message_count over the limit", created.message_count, 3)
    call = store.adapter.append_messages(created.id, [store.message(created.id, "d")])
    await refused("an append over the limit", call, TokenBudgetExceededError)
    same("delete_message", await store.adapter.delete_message(created.id, "mb"), True)
    await store.adapter.update_message(created.id, "mc", Patch({"content": "C", "token_count": 1}))
    await store.append(created.id, "d")
    repeated = await store.append_with_ids(store.message(created.id, "a", id="ma", tokens=4))
    same("an append of an id that was copied", repeated.repeated, True)
    same("the fork", await store.texts(created.id), ["a", "C", "d"])
    found = await store.current(created.id)
    same("message_count and token_count", (found.message_count, found.token_count), (3, 6))
    same("read back from the end", await store.texts(created.id, order="desc", limit=2), ["d", "C", "a"])
    same("after the copies", await store.texts(created.id, after_id="ma"), ["C", "d"])
