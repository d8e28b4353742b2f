"""PAG: the pages of a long answer miss and repeat nothing."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import replace
from itertools import count
from typing import Any, TypeVar

from session_continuity import (
    Content,
    Message,
    MessageQuery,
    Page,
    Session,
    SessionFilter,
    SessionMetadata,
    ValidationError,
    encode_cursor,
)
from session_continuity_conformance.cases import clause
from session_continuity_conformance.checks import holds, refused, same
from session_continuity_conformance.store_fixture import FAR, LONG_LIFE, MILLISECOND, StoreFixture

T = TypeVar("T")

MALFORMED = ("", "x", "!!!", "bnVsbA==", "é", "W10=", "a" * 500)
NO_STORES: tuple[Any, ...] = (None, {}, [[], {}])
"""Positions of a form that no store has; a cursor may come from another store."""


def malformed_cursors(bound_to: str) -> list[str]:
    return [*MALFORMED, *(encode_cursor(position, bound_to=bound_to) for position in NO_STORES)]


Read = Callable[[str | None], Coroutine[Any, Any, Page[T]]]
Action = Callable[[], Coroutine[Any, Any, None]]


async def pages(read: Read[T], limit: int, between: Action | None = None) -> list[T]:
    """Every item of all pages, none of which has more than `limit` items. `between` is called between two pages."""
    found: list[T] = []
    cursor: str | None = None
    for number in count(1):
        page = await read(cursor)
        holds(f"items on page {number}", len(page) <= limit, expected=f"at most {limit}", observed=len(page))
        found.extend(page)
        cursor = page.next_cursor
        if cursor is None:
            break
        if between is not None:
            await between()
    return found


async def listed(store: StoreFixture, wanted: SessionFilter, limit: int, between: Action | None = None) -> list[str]:
    """The ids of every session of a listing, from all pages."""

    async def read(cursor: str | None) -> Page[Session]:
        return await store.adapter.list_sessions(wanted, limit=limit, cursor=cursor)

    return [session.id for session in await pages(read, limit, between)]


async def contents(
    store: StoreFixture,
    session_id: str,
    query: MessageQuery,
    between: Action | None = None,
    *,
    start: str | None = None,
) -> list[Content]:
    """The contents of every message of a query, from all pages after a cursor."""

    async def read(cursor: str | None) -> Page[Message]:
        return await store.adapter.get_messages(session_id, query, cursor=cursor or start)

    return [message.content for message in await pages(read, query.limit, between)]


@clause("SC-PAG-001")
async def test_pages_of_a_listing_are_complete(store: StoreFixture) -> None:
    created = [(await store.create_session(user_id="u", active_agent_id="a")).id for _ in range(11)]
    await store.check_listing("the user's whole listing", created[::-1], user_id="u")
    await store.check_listing("the agent's whole listing", created[::-1], active_agent_id="a")
    for wanted in (SessionFilter(user_id="u"), SessionFilter(active_agent_id="a")):
        for limit in (1, 3, 11, 12):
            same(f"sessions by pages of {limit}", await listed(store, wanted, limit), created[::-1])


@clause("SC-PAG-001")
async def test_limit_counts_matching_sessions(store: StoreFixture) -> None:
    rare: list[str] = []
    for number in range(24):
        matches = number % 8 == 0
        session = await store.create_session(
            user_id="u",
            active_agent_id="a",
            status="completed" if matches else "active",
            metadata=SessionMetadata(tags=["rare"] if matches else []),
        )
        if matches:
            rare.insert(0, session.id)
    for scope in ({"user_id": "u"}, {"active_agent_id": "a"}):
        for condition in ({"status": "completed"}, {"tags": frozenset({"rare"})}):
            await store.check_listing("rare matches", rare, limit=2, **scope, **condition)


@clause("SC-PAG-002")
async def test_listing_is_complete_while_others_come_and_go(store: StoreFixture) -> None:
    doomed: list[str] = []
    kept: list[str] = []
    for number in range(20):
        session_id = (await store.create_session(user_id="u")).id
        (doomed if number % 4 == 3 else kept).append(session_id)
    await store.settle(lambda: store.listing(user_id="u"), sorted([*doomed, *kept], key=_number, reverse=True))

    async def meanwhile() -> None:
        await store.create_session(user_id="u")
        if doomed:
            await store.adapter.delete_session(doomed.pop())

    ids = await listed(store, SessionFilter(user_id="u"), 3, meanwhile)
    same("sessions listed more than once", sorted({each for each in ids if ids.count(each) > 1}), [])
    same("sessions there throughout", [each for each in ids if each in kept], kept[::-1])


def _number(session_id: str) -> int:
    return int(session_id[1:])


@clause("SC-PAG-003")
async def test_limits_out_of_range_are_refused(store: StoreFixture) -> None:
    await store.create_session(user_id="u")
    for limit in (0, -1, 1001):
        call = store.adapter.list_sessions(SessionFilter(user_id="u"), limit=limit)
        await refused(f"list_sessions with limit {limit}", call, ValidationError)
        expired = store.adapter.get_expired_sessions(FAR, limit=limit)
        await refused(f"get_expired_sessions with limit {limit}", expired, ValidationError)
    for limit in (1, 1000):
        await store.adapter.list_sessions(SessionFilter(user_id="u"), limit=limit)
        await store.adapter.get_expired_sessions(FAR, limit=limit)


@clause("SC-PAG-004")
async def test_cursor_of_another_filter_is_refused(store: StoreFixture) -> None:
    for _ in range(4):
        await store.create_session(user_id="u", active_agent_id="a")
    wanted = SessionFilter(user_id="u")
    await store.settle(lambda: _size(store, wanted), 4)
    cursor = (await store.adapter.list_sessions(wanted, limit=1)).next_cursor
    for other in (
        SessionFilter(user_id="v"),
        SessionFilter(active_agent_id="a"),
        SessionFilter(user_id="u", status="active"),
        SessionFilter(user_id="u", tags=frozenset({"t"})),
        SessionFilter(user_id="u", created_before=FAR),
    ):
        call = store.adapter.list_sessions(other, limit=1, cursor=cursor)
        await refused("list_sessions with a cursor of another filter", call, ValidationError)
    for malformed in malformed_cursors(wanted.key()):
        call = store.adapter.list_sessions(wanted, limit=1, cursor=malformed)
        await refused(f"list_sessions with the cursor {malformed[:9]!r}", call, ValidationError)


async def _size(store: StoreFixture, wanted: SessionFilter) -> int:
    return len(await store.read_pages(lambda cursor: store.adapter.list_sessions(wanted, limit=100, cursor=cursor)))


@clause("SC-PAG-005")
async def test_pages_of_messages_are_complete(store: StoreFixture) -> None:
    session = await store.create_session()
    expected = [message.content for message in await store.append(session.id, *(f"m{number}" for number in range(13)))]
    for limit in (1, 4, 13, 14):
        found = await contents(store, session.id, MessageQuery(limit=limit))
        same(f"messages by pages of {limit}", found, expected)
        found = await contents(store, session.id, MessageQuery(limit=limit, order="desc"))
        same(f"messages by pages of {limit}, newest first", found, expected[::-1])


@clause("SC-PAG-005")
async def test_messages_of_one_millisecond_are_paged_completely(store: StoreFixture) -> None:
    session = await store.create_session()
    moment = store.tick()
    for name in "zyxabc":
        await store.append_with_ids(store.message(session.id, name, at=moment, id=name))
    same("page by page", await store.texts(session.id, limit=1), list("zyxabc"))
    same("page by page, newest first", await store.texts(session.id, limit=2, order="desc"), list("cbaxyz"))


@clause("SC-PAG-006")
async def test_messages_are_complete_while_others_come_and_go(store: StoreFixture) -> None:
    for query in (MessageQuery(limit=2), MessageQuery(limit=2, order="desc")):
        session = await store.create_session()
        stored = await store.append(session.id, *(f"m{number}" for number in range(16)))
        doomed = [message.id for message in stored[1::4]]
        kept = [message.content for message in stored if message.id not in doomed]
        if query.order == "desc":
            doomed, kept = doomed[::-1], kept[::-1]
        found = await contents(store, session.id, query, _changes(store, session.id, doomed))
        same("messages there throughout", [each for each in found if each in kept], kept)


def _changes(store: StoreFixture, session_id: str, doomed: list[str]) -> Action:
    """Appends a message and deletes one, eight times and no more: a read that gains as it goes would never end."""
    left = list(range(8))

    async def change() -> None:
        if left:
            left.pop()
            await store.append(session_id, "meanwhile")
        if doomed:
            await store.adapter.delete_message(session_id, doomed.pop(0))

    return change


@clause("SC-PAG-006")
async def test_reading_goes_on_after_the_message_under_the_cursor_is_deleted(store: StoreFixture) -> None:
    for query in (MessageQuery(limit=2), MessageQuery(limit=2, order="desc")):
        session = await store.create_session()
        await store.append(session.id, *(f"m{number}" for number in range(6)))
        first = await store.adapter.get_messages(session.id, query)
        expected = await store.texts(session.id, order=query.order)
        await store.adapter.delete_message(session.id, first[-1].id)
        rest = await contents(store, session.id, query, start=first.next_cursor)
        same("messages after the deleted one", rest, expected[2:])


@clause("SC-PAG-007")
async def test_cursor_of_another_query_is_refused(store: StoreFixture) -> None:
    session, other = await store.create_session(), await store.create_session()
    stored = await store.append(session.id, "a", "b", "c")
    await store.append(other.id, "a", "b", "c")
    query = MessageQuery(limit=1)
    cursor = (await store.adapter.get_messages(session.id, query)).next_cursor
    for another in (
        MessageQuery(limit=1, order="desc"),
        MessageQuery(limit=1, roles=frozenset({"user"})),
        MessageQuery(limit=1, after=stored[0].created_at),
        MessageQuery(limit=1, after_id=stored[0].id),
    ):
        call = store.adapter.get_messages(session.id, another, cursor=cursor)
        await refused("get_messages with a cursor of another query", call, ValidationError)
    call = store.adapter.get_messages(other.id, query, cursor=cursor)
    await refused("get_messages with a cursor of another session", call, ValidationError)
    for malformed in malformed_cursors(query.key(session.id)):
        call = store.adapter.get_messages(session.id, query, cursor=malformed)
        await refused(f"get_messages with the cursor {malformed[:9]!r}", call, ValidationError)


@clause("SC-PAG-007")
async def test_cursor_serves_another_limit(store: StoreFixture) -> None:
    session = await store.create_session()
    await store.append(session.id, "a", "b", "c", "d")
    first = await store.adapter.get_messages(session.id, MessageQuery(limit=1))
    rest = await store.adapter.get_messages(session.id, MessageQuery(limit=3), cursor=first.next_cursor)
    same("the rest on one page", [message.content for message in rest], ["b", "c", "d"])


@clause("SC-PAG-008")
async def test_expired_sessions_come_in_pages(store: StoreFixture) -> None:
    start = store.now() + LONG_LIFE
    created = [(await store.create_session(expires_at=start + number // 2 * MILLISECOND)).id for number in range(9)]
    for limit in (1, 4, 9, 10):

        async def read(cursor: str | None, limit: int = limit) -> Page[str]:
            return await store.adapter.get_expired_sessions(FAR, limit=limit, cursor=cursor)

        same(f"expired sessions by pages of {limit}", sorted(await pages(read, limit)), sorted(created))
    for malformed in malformed_cursors("expired"):
        call = store.adapter.get_expired_sessions(FAR, limit=1, cursor=malformed)
        await refused(f"get_expired_sessions with the cursor {malformed[:9]!r}", call, ValidationError)


@clause("SC-PAG-008")
async def test_cleanup_that_deletes_page_by_page_ends(store: StoreFixture) -> None:
    start = store.now() + LONG_LIFE
    created = {(await store.create_session(expires_at=start + number * MILLISECOND)).id for number in range(7)}

    async def clean(cursor: str | None) -> Page[str]:
        page = await store.adapter.get_expired_sessions(FAR, limit=2, cursor=cursor)
        for session_id in page:
            same("delete_session's answer", await store.adapter.delete_session(session_id, expired_before=FAR), True)
        return page

    same("sessions cleaned up", set(await pages(clean, 2)), created)


@clause("SC-PAG-009")
async def test_megabytes_of_messages_are_complete(store: StoreFixture) -> None:
    session = await store.create_session()
    size = min(store.capabilities.max_message_bytes or 60_000, 60_000) * 3 // 4
    number = 1_500_000 // size + 1
    await store.append(session.id, *(f"{place}:".ljust(size, "x") for place in range(number)))
    for order, places in (("asc", range(number)), ("desc", range(number - 1, -1, -1))):
        texts = await store.texts(session.id, order=order, limit=1000)
        same(f"messages, {order}", [str(text).partition(":")[0] for text in texts], [str(place) for place in places])


@clause("SC-PAG-009")
async def test_megabytes_of_sessions_are_complete(store: StoreFixture) -> None:
    metadata = SessionMetadata(custom={"text": "x" * 40_000})
    created = [(await store.create_session(user_id="u", active_agent_id="a", metadata=metadata)).id for _ in range(30)]
    await store.check_listing("the user's listing", created[::-1], limit=1000, user_id="u")
    await store.check_listing("the agent's listing", created[::-1], limit=1000, active_agent_id="a")


@clause("SC-PAG-010")
async def test_conversation_goes_on_in_pages(store: StoreFixture) -> None:
    session = await store.create_session()
    await store.append(session.id, *(f"m{number}" for number in range(9)))
    for query in (MessageQuery(limit=4), MessageQuery(order="desc", limit=4)):
        page = (await store.adapter.get_conversation(session.id, query)).messages
        found = list(page)
        while page.next_cursor is not None:
            page = await store.adapter.get_messages(session.id, replace(query, limit=3), cursor=page.next_cursor)
            found += page
        expected = [f"m{number}" for number in range(9)]
        texts = [message.content for message in found]
        same(f"the whole conversation, {query.order}", texts, expected if query.order == "asc" else expected[::-1])
