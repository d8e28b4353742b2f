"""LST: listings have the sessions that match their filter, newest first."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from session_continuity import ListingPlace, Patch, Session, SessionFilter, SessionMetadata, format_timestamp
from session_continuity_conformance.cases import clause
from session_continuity_conformance.checks import same
from session_continuity_conformance.samples import FIRST_MOMENT, LAST_MOMENT, full_session
from session_continuity_conformance.store_fixture import MILLISECOND, StoreFixture

BY_USER_AND_AGENT: tuple[dict[str, Any], ...] = ({"user_id": "u"}, {"active_agent_id": "g"})
TOTALS = ("message_count", "token_count", "system_message_ids", "last_activity_at")


@clause("SC-LST-001")
async def test_newest_session_comes_first(store: StoreFixture) -> None:
    moment = store.tick()
    for name, offset in (("b", 1), ("e", 0), ("a", 1), ("d", 2), ("c", 1)):
        await store.create_session(id=name, user_id="u", active_agent_id="g", created_at=moment + offset * MILLISECOND)
    await store.check_listing("the user's listing", ["d", "c", "b", "a", "e"], user_id="u")
    await store.check_listing("the agent's listing", ["d", "c", "b", "a", "e"], active_agent_id="g")


@clause("SC-LST-002")
async def test_listing_by_user_is_that_users(store: StoreFixture) -> None:
    mine = [(await store.create_session(user_id="u")).id for _ in range(3)]
    for other in ("u2", "U", " u", "u#", None):
        await store.create_session(user_id=other, active_agent_id="u")
    await store.check_listing("the user's listing", mine[::-1], user_id="u")
    await store.check_listing("the listing of an unknown user", [], user_id="nobody")


@clause("SC-LST-003")
async def test_listing_by_agent_is_that_agents(store: StoreFixture) -> None:
    statuses = ("active", "completed", "paused", "expired", "active")
    mine = [(await store.create_session(active_agent_id="a", status=status)).id for status in statuses]
    for other in ("a2", "A", "a#", None):
        await store.create_session(active_agent_id=other, user_id="a")
    await store.check_listing("the agent's listing", mine[::-1], active_agent_id="a")
    await store.check_listing("the listing of an unknown agent", [], active_agent_id="nobody")


@clause("SC-LST-004")
async def test_listing_by_status(store: StoreFixture) -> None:
    created: dict[str, list[str]] = {"active": [], "paused": [], "completed": [], "expired": []}
    for _ in range(2):
        for status, ids in created.items():
            ids.insert(0, (await store.create_session(user_id="u", active_agent_id="a", status=status)).id)
    for status, ids in created.items():
        await store.check_listing(f"the user's {status} sessions", ids, user_id="u", status=status)
        await store.check_listing(f"the agent's {status} sessions", ids, active_agent_id="a", status=status)


@clause("SC-LST-005")
async def test_listing_by_tags_takes_any(store: StoreFixture) -> None:
    tags: list[list[str]] = [["red"], ["blue", "green"], [], ["red", "blue"], ["darkred"]]
    created = [(await store.create_session(user_id="u", metadata=SessionMetadata(tags=each))).id for each in tags]
    await store.check_listing("tagged red", [created[3], created[0]], user_id="u", tags=frozenset({"red"}))
    await store.check_listing(
        "tagged red or green", [created[3], created[1], created[0]], user_id="u", tags=frozenset({"red", "green"})
    )
    await store.check_listing("tagged otherwise", [], user_id="u", tags=frozenset({"re", "none"}))


@clause("SC-LST-006")
async def test_listing_by_time_excludes_the_moments(store: StoreFixture) -> None:
    start = store.tick()
    created = [
        (await store.create_session(user_id="u", active_agent_id="a", created_at=start + number * MILLISECOND)).id
        for number in range(5)
    ]
    first, third = start + MILLISECOND, start + 3 * MILLISECOND
    for scope in ({"user_id": "u"}, {"active_agent_id": "a"}):
        await store.check_listing("after the first", created[:1:-1], created_after=first, **scope)
        await store.check_listing("before the third", created[2::-1], created_before=third, **scope)
        await store.check_listing("between", [created[2]], created_after=first, created_before=third, **scope)


@clause("SC-LST-006")
async def test_listing_times_may_be_the_first_and_the_last(store: StoreFixture) -> None:
    session = await store.create_session(user_id="u", active_agent_id="a")
    for scope in ({"user_id": "u"}, {"active_agent_id": "a"}):
        await store.check_listing("after the first moment", [session.id], created_after=FIRST_MOMENT, **scope)
        await store.check_listing("before the first moment", [], created_before=FIRST_MOMENT, **scope)
        await store.check_listing("before the last moment", [session.id], created_before=LAST_MOMENT, **scope)
        await store.check_listing("after the last moment", [], created_after=LAST_MOMENT, **scope)


@clause("SC-LST-019")
async def test_long_tag_is_found(store: StoreFixture) -> None:
    beginning = "long tag " * 555
    tags = [f"{beginning}{end}" for end in ("one", "two")]
    created = [
        (await store.create_session(user_id="u", metadata=SessionMetadata(tags=each))).id
        for each in ([tags[0]], [tags[1]], tags, [beginning], [])
    ]
    found = await store.current(created[2])
    same("the tags", found.metadata.tags, tags)
    for tag, places in ((tags[0], (2, 0)), (tags[1], (2, 1)), (beginning, (3,))):
        wanted = [created[place] for place in places]
        await store.check_listing("sessions with a long tag", wanted, user_id="u", tags=frozenset({tag}))


@clause("SC-LST-007")
async def test_conditions_of_a_filter_hold_together(store: StoreFixture) -> None:
    start = store.tick()
    wanted: list[str] = []
    for number in range(16):
        fields = {
            "user_id": "u" if number & 1 else "v",
            "active_agent_id": "a" if number & 2 else "b",
            "status": "paused" if number & 4 else "active",
            "metadata": SessionMetadata(tags=["t"] if number & 8 else []),
        }
        session = await store.create_session(created_at=start + number * MILLISECOND, **fields)
        wanted += [session.id] if number in (13, 15) else []
    await store.check_listing("user, status and tag", wanted[::-1], user_id="u", status="paused", tags=frozenset({"t"}))
    await store.check_listing(
        "user and agent", [f"s{number + 1}" for number in (15, 11, 7, 3)], user_id="u", active_agent_id="a"
    )
    await store.check_listing(
        "all conditions",
        wanted[:1],
        user_id="u",
        active_agent_id="b",
        status="paused",
        tags=frozenset({"t"}),
        created_after=start,
        created_before=start + 14 * MILLISECOND,
    )


@clause("SC-LST-008")
async def test_unscoped_listing_holds_every_session(store: StoreFixture) -> None:
    created = [
        (await store.create_session(**fields)).id for fields in ({}, {"user_id": "u"}, {"active_agent_id": "a"}) * 3
    ]
    for session_id in created:
        await store.append(session_id, *("x" * 200 for _ in range(5)))
    await store.check_listing("the listing of all", created[::-1])
    page = await store.adapter.list_sessions(SessionFilter(), limit=1000)
    same("the listing of all on one page", len(page), len(created))


@clause("SC-LST-009")
async def test_changed_session_moves_between_listings(store: StoreFixture) -> None:
    session = await store.create_session(user_id="u", active_agent_id="a")
    await store.check_listing("the first user's listing", [session.id], user_id="u")
    await store.adapter.update_session(session.id, Patch({"user_id": "v"}))
    await store.check_listing("the first user's listing", [], user_id="u")
    await store.check_listing("the second user's listing", [session.id], user_id="v")
    await store.adapter.update_session(session.id, Patch({"active_agent_id": "b", "status": "paused"}))
    await store.check_listing("the first agent's listing", [], active_agent_id="a")
    await store.check_listing("the second agent's listing", [session.id], active_agent_id="b", status="paused")
    await store.check_listing("the second agent's active sessions", [], active_agent_id="b", status="active")
    await store.adapter.update_session(session.id, Patch(clear=frozenset({"user_id", "active_agent_id"})))
    await store.check_listing("the second user's listing", [], user_id="v")
    await store.check_listing("the second agent's listing", [], active_agent_id="b")


@clause("SC-LST-010")
async def test_deleted_session_is_in_no_listing(store: StoreFixture) -> None:
    session = await store.create_session(user_id="u", active_agent_id="a")
    kept = await store.create_session(user_id="u", active_agent_id="a")
    await store.check_listing("the user's listing before", [kept.id, session.id], user_id="u")
    await store.check_listing("the agent's listing before", [kept.id, session.id], active_agent_id="a")
    await store.adapter.delete_session(session.id)
    same("the user's listing", await store.listing(user_id="u"), [kept.id])
    same("the agent's listing", await store.listing(active_agent_id="a"), [kept.id])


async def listed(store: StoreFixture, wanted: SessionFilter, session_id: str) -> Session:
    """A session as a listing returns it, once the listing shows everything that it must show."""
    current = await store.current(session_id)
    unbound = () if store.capabilities.listing_totals else TOTALS

    async def look() -> list[Session]:
        return list(await store.adapter.list_sessions(wanted, limit=9))

    async def bound() -> list[Session]:
        return [
            session.model_copy(update={name: getattr(current, name) for name in unbound}) for session in await look()
        ]

    await store.settle(bound, [current])
    found = await look()
    same("ids of the listing", [session.id for session in found], [session_id])
    return found[0]


@clause("SC-LST-011")
async def test_listed_session_is_complete(store: StoreFixture) -> None:
    original = full_session(store)
    await store.adapter.create_session(original)
    await store.append(original.id, "x", role="system", tokens=5)
    current = await store.current(original.id)
    for wanted in (SessionFilter(user_id="user"), SessionFilter(active_agent_id="agent")):
        found = await listed(store, wanted, original.id)
        totals = {name: getattr(found, name) for name in TOTALS}
        same("the listed session", found, current.model_copy(update=totals))


@clause("SC-LST-013")
async def test_listed_session_has_its_totals(store: StoreFixture) -> None:
    original = full_session(store)
    await store.adapter.create_session(original)
    for tokens in (5, 7):
        await store.append(original.id, "x", role="system", tokens=tokens)
        current = await store.current(original.id)
        for wanted in (SessionFilter(user_id="user"), SessionFilter(active_agent_id="agent")):
            same("the listed session", await listed(store, wanted, original.id), current)


@clause("SC-LST-012")
async def test_strong_listing_shows_every_write_at_once(store: StoreFixture) -> None:
    for number in range(10):
        session = await store.create_session(user_id="u", created_at=store.now() + timedelta(seconds=number))
        same("the newest listed session", (await store.listing(user_id="u"))[0], session.id)
        await store.adapter.update_session(session.id, Patch({"status": "paused"}))
        same("paused sessions", len(await store.listing(user_id="u", status="paused")), number + 1)


async def active_sessions(store: StoreFixture, **fields: Any) -> list[Session]:
    """Three sessions of a user and an agent. The first created is the most recently active, then the third."""
    scope = {"user_id": "u", "active_agent_id": "a", **fields}
    created = [await store.create_session(**scope) for _ in range(3)]
    await store.append(created[1].id, "x")
    await store.append(created[2].id, "x")
    await store.append(created[0].id, "x", tokens=7)
    return created


@clause("SC-LST-014")
async def test_listing_by_activity(store: StoreFixture) -> None:
    first, second, third = (session.id for session in await active_sessions(store))
    await store.create_session(user_id="v", active_agent_id="b")
    for scope in ({"user_id": "u"}, {"active_agent_id": "a"}, {"user_id": "u", "active_agent_id": "a"}):
        await store.check_listing("the most recent first", [first, third, second], order="recent", **scope)
        await store.check_listing("the longest idle first", [second, third, first], order="idle", **scope)
        await store.check_listing("the newest first", [third, second, first], **scope)
    await store.append(second, "y")
    await store.check_listing("after an append", [second, first, third], order="recent", user_id="u")
    await store.check_listing("after an append, idle", [third, first, second], order="idle", active_agent_id="a")


@clause("SC-LST-014")
async def test_order_by_activity_is_that_of_get_session(store: StoreFixture) -> None:
    first, second, third = await active_sessions(store)
    await store.adapter.update_session(third.id, Patch({"status": "paused"}))
    await store.adapter.delete_all_messages(first.id)
    await store.check_listing(
        "after a delete and an update", [first.id, third.id, second.id], order="recent", user_id="u"
    )
    later = await store.create_session(user_id="u", created_at=store.tick())
    for order, place in (("recent", 0), ("idle", 3)):
        found = await store.adapter.list_sessions(SessionFilter(user_id="u", order=order), limit=9)  # type: ignore[arg-type]
        current = {session.id: await store.current(session.id) for session in (first, second, third, later)}
        same(f"sessions, {order} first", {session.id: session for session in found}, current)
        same(f"place of an empty session, {order} first", [session.id for session in found].index(later.id), place)


@clause("SC-LST-014")
async def test_sessions_of_one_moment_are_by_id_in_the_order_by_activity(store: StoreFixture) -> None:
    moment = store.tick()
    for name in ("b", "a", "c"):
        await store.create_session(id=name, user_id="u", created_at=moment)
    await store.check_listing("the most recent first", ["c", "b", "a"], user_id="u", order="recent")
    await store.check_listing("the longest idle first", ["a", "b", "c"], user_id="u", order="idle")


@clause("SC-LST-015")
async def test_oldest_session_comes_first(store: StoreFixture) -> None:
    moment = store.tick()
    for name, offset in (("b", 1), ("e", 0), ("a", 1), ("d", 2), ("c", 1)):
        await store.create_session(id=name, user_id="u", active_agent_id="g", created_at=moment + offset * MILLISECOND)
    for scope in BY_USER_AND_AGENT:
        await store.check_listing("the oldest first", ["e", "a", "b", "c", "d"], order="oldest", **scope)
        same("ids in pages of 2", await store.listing(limit=2, order="oldest", **scope), ["e", "a", "b", "c", "d"])


def orders(store: StoreFixture) -> list[Any]:
    """The orders that the store declares."""
    declared = store.capabilities
    ascending = ["oldest"] if declared.ascending_listing else []
    return ["newest", *ascending, *(["recent", "idle"] if declared.activity_listing else [])]


@clause("SC-LST-016")
async def test_listing_behind_a_session(store: StoreFixture) -> None:
    moment = store.tick()
    for name, offset in (("e", 0), ("a", 1), ("b", 1), ("c", 1), ("d", 2)):
        await store.create_session(id=name, user_id="u", active_agent_id="g", created_at=moment + offset * MILLISECOND)
    for order in orders(store):
        for scope in BY_USER_AND_AGENT:
            wanted = SessionFilter(order=order, **scope)
            ids = ["d", "c", "b", "a", "e"] if wanted.is_downwards else ["e", "a", "b", "c", "d"]
            for number, name in enumerate(ids):
                place = wanted.place_of(await store.current(name))
                rest = ids[number + 1 :]
                await store.check_listing(f"{order}, behind {name}", rest, order=order, behind=place, **scope)
                same("the same in pages of 1", await store.listing(1, order=order, behind=place, **scope), rest)


@clause("SC-LST-016")
async def test_listing_behind_a_place_without_a_session(store: StoreFixture) -> None:
    created = [await store.create_session(user_id="u") for _ in range(4)]
    ids = [session.id for session in created]
    place = SessionFilter().place_of(created[2])
    await store.adapter.delete_session(ids[2])
    await store.check_listing("behind a deleted session", [ids[1], ids[0]], user_id="u", behind=place)
    for moment, expected in ((FIRST_MOMENT, []), (LAST_MOMENT, [ids[3], ids[1], ids[0]])):
        behind = ListingPlace(format_timestamp(moment), "x")
        await store.check_listing(f"behind {moment}", expected, user_id="u", behind=behind)
    narrow = {"created_after": created[0].created_at, "created_before": created[3].created_at}
    await store.check_listing("between two times", [ids[1]], user_id="u", behind=place, **narrow)


@clause("SC-LST-016")
async def test_cursor_goes_on_without_the_place(store: StoreFixture) -> None:
    created = [await store.create_session(user_id="u") for _ in range(4)]
    ids = [session.id for session in created]
    wanted = SessionFilter(user_id="u", behind=SessionFilter().place_of(created[3]))
    await store.check_listing("behind the newest", ids[2::-1], user_id="u", behind=wanted.behind)
    page = await store.adapter.list_sessions(wanted, limit=1)
    rest = await store.adapter.list_sessions(SessionFilter(user_id="u"), limit=9, cursor=page.next_cursor)
    same("the rest of the listing", [session.id for session in rest], ids[1::-1])


@clause("SC-LST-017")
async def test_listing_by_title(store: StoreFixture) -> None:
    titles = [
        "Billing question",
        "Straße nach Köln",
        "ТАРИФ 100%",
        "Zurich caf\u0065\u0301",
        None,
        "ＦＵＬＬ width",
        "quotes \"' and \\ and \0 end",
        "ΣΊΣΥΦΟΣ",
    ]
    ids = [
        (await store.create_session(user_id="u", active_agent_id="a", metadata=SessionMetadata(title=title))).id
        for title in titles
    ]
    for text, *places in (
        ("bill", 0),
        ("STRASSE", 1),
        ("köln", 1),
        ("KO\u0308LN", 1),
        ("koln",),
        ("тариф", 2),
        ("0%", 2),
        ("%", 2),
        ("_",),
        ("caf\u00c9", 3),
        ("cafe",),
        ("full WIDTH", 5),
        ("\"' AND \\", 6),
        ("\0 end", 6),
        ("σίσυφος", 7),
        ("i", 5, 3, 0),
        ("none",),
    ):
        expected = [ids[place] for place in places]
        await store.check_listing(f"titled {text}", expected, user_id="u", title=text)
        same(f"the agent's, titled {text}", await store.listing(active_agent_id="a", title=text), expected)


@clause("SC-LST-017")
async def test_title_holds_with_other_conditions_and_in_pages(store: StoreFixture) -> None:
    titles = ["Plan", "other", "plan b", "The plan", "other", "no", "planned"]
    created = [
        await store.create_session(
            user_id="u", status="paused" if title == "plan b" else "active", metadata=SessionMetadata(title=title)
        )
        for title in titles
    ]
    ids = [session.id for session in created]
    await store.check_listing("titled", [ids[6], ids[3], ids[2], ids[0]], user_id="u", title="PLAN")
    same("in pages of 1", await store.listing(1, user_id="u", title="PLAN"), [ids[6], ids[3], ids[2], ids[0]])
    await store.check_listing("titled and paused", [ids[2]], user_id="u", title="plan", status="paused")
    behind = SessionFilter().place_of(created[3])
    await store.check_listing("titled and behind", [ids[2], ids[0]], user_id="u", title="plan", behind=behind)
    await store.adapter.update_session(ids[0], Patch({"metadata": SessionMetadata(title="renamed")}))
    await store.check_listing("the new title", [ids[0]], user_id="u", title="renamed")
    await store.check_listing("the old title", [ids[6], ids[3], ids[2]], user_id="u", title="plan")


@clause("SC-LST-018")
async def test_pages_by_activity_have_every_session_that_stays(store: StoreFixture) -> None:
    created = [(await store.create_session(user_id="u")).id for _ in range(6)]
    for order, moving in (("recent", created[0]), ("idle", created[5])):
        wanted = SessionFilter(user_id="u", order=order)  # type: ignore[arg-type]
        before = await store.listing(user_id="u", order=order)
        page = await store.adapter.list_sessions(wanted, limit=2)
        await store.append(moving, "x")
        rest: list[str] = []
        while page.next_cursor is not None:
            page = await store.adapter.list_sessions(wanted, limit=2, cursor=page.next_cursor)
            rest += [session.id for session in page]
        staying = [each for each in before[2:] if each != moving]
        same(f"sessions that stay, {order} first", [each for each in rest if each != moving], staying)
