"""TTL: an expired session is gone, and can still be found and removed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from session_continuity import MessageQuery, Patch, Session, SessionNotFoundError, StorageAdapter
from session_continuity_conformance.cases import clause
from session_continuity_conformance.checks import refused, same
from session_continuity_conformance.samples import FIRST_MOMENT, LAST_MOMENT
from session_continuity_conformance.store_fixture import LONG_LIFE, MILLISECOND, StoreFixture


@clause("SC-TTL-001")
async def test_expired_session_is_gone_for_reads(store: StoreFixture) -> None:
    session = await store.expiring_session(user_id="u")
    (message,) = await store.append(session.id, "x")
    await store.expire(session)
    same("get_session", await store.adapter.get_session(session.id), None)
    by_id = MessageQuery(ids=frozenset({message.id}))
    reads: dict[str, Any] = {
        "get_message": lambda: store.adapter.get_message(session.id, message.id),
        "get_messages": lambda: store.adapter.get_messages(session.id, MessageQuery()),
        "get_messages by ids": lambda: store.adapter.get_messages(session.id, by_id),
        "get_conversation": lambda: store.adapter.get_conversation(session.id, MessageQuery()),
    }
    for name, read in reads.items():
        await refused(f"{name} of an expired session", read(), SessionNotFoundError)


@clause("SC-TTL-002")
async def test_expired_session_is_gone_for_writes(store: StoreFixture) -> None:
    session = await store.expiring_session()
    (message,) = await store.append(session.id, "x")
    late = store.message(session.id, "late", id="late")
    later = store.now() + timedelta(days=9)
    await store.expire(session)
    writes: dict[str, Any] = {
        "update_session": lambda: store.adapter.update_session(session.id, Patch({"status": "paused"})),
        "an extension": lambda: store.adapter.update_session(session.id, Patch({"expires_at": later})),
        "a versioned update": lambda: store.adapter.update_session(
            session.id, Patch({"user_id": "u"}), expected_version=session.version
        ),
        "append_messages": lambda: store.adapter.append_messages(session.id, [late]),
        "an append with a chosen id": lambda: store.append_with_ids(late),
        "update_message": lambda: store.adapter.update_message(session.id, message.id, Patch({"content": "y"})),
        "delete_message": lambda: store.adapter.delete_message(session.id, message.id),
        "delete_all_messages": lambda: store.adapter.delete_all_messages(session.id),
    }
    for name, write in writes.items():
        await refused(f"{name} on an expired session", write(), SessionNotFoundError)
    same("get_session afterwards", await store.adapter.get_session(session.id), None)


@clause("SC-TTL-003")
async def test_session_is_there_until_it_expires(store: StoreFixture) -> None:
    session = await store.expiring_session(user_id="u", expires_at=store.now() + LONG_LIFE)
    if not store.capabilities.server_clock and session.expires_at is not None:
        store.set_clock(session.expires_at - MILLISECOND)
    await store.append(session.id, "x")
    updated = await store.adapter.update_session(session.id, Patch({"status": "paused"}))
    same("expires_at", updated.expires_at, session.expires_at)
    same("conversation", await store.texts(session.id), ["x"])
    await store.check_listing("the user's listing", [session.id], user_id="u")


@clause("SC-TTL-004")
async def test_expired_session_is_found_and_deleted(store: StoreFixture) -> None:
    session = await store.expiring_session()
    await store.append(session.id, "x")
    await store.expire(session)
    await store.settle(lambda: store.expired_ids(store.now()), [session.id])
    same("expired sessions", await store.expired_ids(store.now()), [session.id])
    same("delete_session's answer", await store.adapter.delete_session(session.id), True)
    same("expired sessions after the delete", await store.expired_ids(), [])
    same("a second delete", await store.adapter.delete_session(session.id), False)


@clause("SC-TTL-004")
async def test_cleanup_deletes_what_expired(store: StoreFixture) -> None:
    session = await store.expiring_session()
    await store.expire(session)
    moment = session.expires_at
    same("delete_session at its expiry", await store.adapter.delete_session(session.id, expired_before=moment), True)
    same("expired sessions after the delete", await store.expired_ids(), [])


@clause("SC-TTL-005")
async def test_expired_session_is_in_no_listing(store: StoreFixture) -> None:
    session = await store.expiring_session(user_id="u", active_agent_id="a")
    kept = await store.create_session(user_id="u", active_agent_id="a")
    await store.check_listing("the user's listing before", [kept.id, session.id], user_id="u")
    await store.expire(session)
    same("the user's listing", await store.listing(user_id="u"), [kept.id])
    same("the agent's listing", await store.listing(active_agent_id="a"), [kept.id])
    if store.capabilities.unscoped_listing:
        same("the listing of all", await store.listing(), [kept.id])


@clause("SC-TTL-006")
async def test_create_over_an_expired_session_starts_anew(store: StoreFixture) -> None:
    old = await store.expiring_session(user_id="old")
    await store.append(old.id, "old", role="system", tokens=9)
    await store.append_with_ids(store.message(old.id, "old", id="chosen"))
    await store.expire(old)
    original = store.new_session(id=old.id)
    same("create_session's answer", await store.adapter.create_session(original), original)
    same("the session read back", await store.current(old.id), original)
    same("its messages", await store.texts(old.id), [])
    same("the old chosen id", await store.adapter.get_message(old.id, "chosen"), None)
    appended = await store.append_with_ids(store.message(old.id, "new", id="chosen"))
    same("an append under the old chosen id repeated", appended.repeated, False)
    same("expired sessions", await store.expired_ids(), [])
    await store.check_listing("the old user's listing", [], user_id="old")


@clause("SC-TTL-006")
async def test_repeated_create_of_an_expired_session_starts_anew(store: StoreFixture) -> None:
    original = store.new_session(expires_at=store.now() + store.lifetime())
    await store.adapter.create_session(original)
    await store.append(original.id, "old")
    await store.expire(original)
    again = original.model_copy(update={"expires_at": store.now() + LONG_LIFE})
    same("create_session's answer", await store.adapter.create_session(again), again)
    same("its messages", await store.texts(original.id), [])


@clause("SC-TTL-007")
async def test_extended_session_lives_on_with_its_messages(store: StoreFixture) -> None:
    session = await store.expiring_session()
    reference = await store.expiring_session(expires_at=session.expires_at)
    await store.append(session.id, "old")
    await store.append_with_ids(store.message(session.id, "mine", id="chosen"))
    later = store.now() + timedelta(days=9)
    await store.adapter.update_session(session.id, Patch({"expires_at": later}))
    await store.expire(reference)
    await store.append(session.id, "new")
    same("conversation", await store.texts(session.id), ["old", "mine", "new"])
    same("expires_at", (await store.current(session.id)).expires_at, later)
    same("sessions expired by now", await store.expired_ids(store.now()), [reference.id])


@clause("SC-TTL-007")
async def test_session_without_expiry_is_never_found_expired(store: StoreFixture) -> None:
    session = await store.expiring_session()
    reference = await store.expiring_session(expires_at=session.expires_at)
    await store.append(session.id, "old")
    await store.adapter.update_session(session.id, Patch(clear=frozenset({"expires_at"})))
    await store.expire(reference)
    same("conversation", await store.texts(session.id), ["old"])
    same("expires_at", (await store.current(session.id)).expires_at, None)
    same("sessions expired ever", await store.expired_ids(), [reference.id])


@clause("SC-TTL-008")
async def test_expiry_set_by_an_update_takes_effect(store: StoreFixture) -> None:
    moment = store.now() + store.lifetime()
    fresh, moved = await store.create_session(user_id="u"), await store.create_session(expires_at=moment + LONG_LIFE)
    await store.append(fresh.id, "x")
    for session in (fresh, moved):
        updated = await store.adapter.update_session(session.id, Patch({"expires_at": moment}))
        same("expires_at in the answer", updated.expires_at, moment)
        await store.expire(updated)
        same("get_session", await store.adapter.get_session(session.id), None)
    same("the user's listing", await store.listing(user_id="u"), [])
    await refused("an append", store.append(fresh.id, "late"), SessionNotFoundError)
    same("expired sessions", sorted(await store.expired_ids(store.now())), sorted([fresh.id, moved.id]))


@clause("SC-TTL-009")
async def test_expired_sessions_are_those_not_later_than_the_moment(store: StoreFixture) -> None:
    start = store.now() + LONG_LIFE
    await store.create_session()
    created = [await store.create_session(expires_at=start + number * timedelta(hours=7)) for number in range(4)]
    for number in range(4):
        moment = start + number * timedelta(hours=7)
        found = await store.expired_ids(moment)
        same("expired by that moment", sorted(found), sorted(session.id for session in created[: number + 1]))
        found = await store.expired_ids(moment - MILLISECOND)
        same("expired a millisecond earlier", sorted(found), sorted(session.id for session in created[:number]))
    same("expired by the first moment", list(await store.expired_ids(FIRST_MOMENT)), [])
    same(
        "expired by the last moment",
        sorted(await store.expired_ids(LAST_MOMENT)),
        sorted(session.id for session in created),
    )


@clause("SC-TTL-010")
async def test_longest_expired_comes_first(store: StoreFixture) -> None:
    start = store.now() + LONG_LIFE
    hours = (3, 1, 4, 0, 2)
    created = {hour: await store.create_session(expires_at=start + timedelta(hours=hour)) for hour in hours}
    same("expired sessions", await store.expired_ids(), [created[hour].id for hour in range(5)])


@clause("SC-TTL-011")
async def test_appends_do_not_move_the_expiry(store: StoreFixture) -> None:
    session = await store.expiring_session()
    await store.append(session.id, "a", "b")
    same("expires_at", (await store.current(session.id)).expires_at, session.expires_at)


@clause("SC-TTL-012")
async def test_session_whose_end_is_past_is_gone_at_once(store: StoreFixture) -> None:
    past = store.now() - timedelta(minutes=1)
    created = await store.expiring_session(expires_at=past)
    updated = await store.create_session(user_id="u")
    await store.append(updated.id, "x")
    await store.adapter.update_session(updated.id, Patch({"expires_at": past}))
    for session in (created, updated):
        same("get_session", await store.adapter.get_session(session.id), None)
        late = store.message(session.id, "late")
        await refused("a late append", store.adapter.append_messages(session.id, [late]), SessionNotFoundError)
    page = await store.adapter.get_expired_sessions(store.now(), limit=10)
    same("the expired", sorted(page), sorted([created.id, updated.id]))
    for session in (created, updated):
        same("delete_session", await store.adapter.delete_session(session.id), True)


@clause("SC-TTL-013")
async def test_append_says_whether_the_session_slides(store: StoreFixture) -> None:
    other, expires_at = await store.open_second_or_first(), store.now() + LONG_LIFE
    sliding = await store.create_session(expires_at=expires_at, sliding_ttl=3600.0)
    fixed, plain = await store.create_session(expires_at=expires_at), await store.create_session()
    for writer in (store.adapter, other):
        for session, slides in ((sliding, True), (fixed, False), (plain, False)):
            await _appends(store, writer, session, slides=slides)
    await other.update_session(fixed.id, Patch({"sliding_ttl": 60.0}))
    await other.update_session(sliding.id, Patch(clear=frozenset({"sliding_ttl"})))
    for writer in (store.adapter, other):
        await _appends(store, writer, fixed, slides=True)
        await _appends(store, writer, sliding, slides=False)


async def _appends(store: StoreFixture, writer: StorageAdapter, session: Session, *, slides: bool) -> None:
    appended = await writer.append_messages(session.id, [store.message(session.id, "x")])
    told = slides if appended.slides is None else appended.slides
    same("slides of the append", told, slides)
