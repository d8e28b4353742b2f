"""MSG: messages are read, edited and deleted, and queries select what they should."""

from __future__ import annotations

from datetime import timedelta

from session_continuity import (
    Message,
    MessageMetadata,
    MessageNotFoundError,
    MessageQuery,
    Patch,
    Role,
    Session,
    SessionNotFoundError,
    ValidationError,
)
from session_continuity_conformance.cases import clause
from session_continuity_conformance.checks import holds, present, refused, results, same, same_models
from session_continuity_conformance.samples import FIRST_MOMENT, LAST_MOMENT, full_metadata
from session_continuity_conformance.store_fixture import MILLISECOND, StoreFixture


@clause("SC-MSG-001")
async def test_message_is_found_by_id(store: StoreFixture) -> None:
    session = await store.create_session()
    stored = await store.append(session.id, "one", "two", "three")
    for message in stored:
        same("get_message", present("get_message", await store.adapter.get_message(session.id, message.id)), message)


@clause("SC-MSG-001")
async def test_message_with_a_chosen_id_is_found(store: StoreFixture) -> None:
    session = await store.create_session()
    (message,) = (await store.append_with_ids(store.message(session.id, "mine", id="chosen"))).messages
    same("its id", message.id, "chosen")
    same("get_message", present("get_message", await store.adapter.get_message(session.id, "chosen")), message)


@clause("SC-MSG-001")
async def test_unknown_message_is_none(store: StoreFixture) -> None:
    session = await store.create_session()
    await store.append(session.id, "one")
    for unknown in ("unknown", store.message(session.id).id):
        same("get_message of an unknown id", await store.adapter.get_message(session.id, unknown), None)


@clause("SC-MSG-002")
async def test_edit_changes_the_named_fields_only(store: StoreFixture) -> None:
    session = await store.create_session()
    (message,) = await store.append(session.id, "old", metadata=full_metadata(), tokens=3)
    patch = Patch({"content": "new", "updated_at": store.tick()})
    expected = patch.apply(message)
    same("update_message's answer", await store.adapter.update_message(session.id, message.id, patch), expected)
    same("get_message", present("get_message", await store.adapter.get_message(session.id, message.id)), expected)
    same_models("history", await store.history(session.id), [expected])


@clause("SC-MSG-002")
async def test_every_message_field_can_be_edited(store: StoreFixture) -> None:
    session = await store.create_session()
    (message,) = (await store.append_with_ids(store.message(session.id, "old", id="chosen"))).messages
    patch = Patch(
        {
            "role": "assistant",
            "content": [{"type": "text", "text": "new"}],
            "metadata": full_metadata(),
            "token_count": 0,
            "updated_at": store.tick(),
        }
    )
    expected = patch.apply(message)
    same("update_message's answer", await store.adapter.update_message(session.id, message.id, patch), expected)
    same("get_message", present("get_message", await store.adapter.get_message(session.id, message.id)), expected)


@clause("SC-MSG-003")
async def test_edited_message_keeps_its_place(store: StoreFixture) -> None:
    session = await store.create_session()
    stored = await store.append(session.id, "a", "b", "c")
    await store.adapter.update_message(session.id, stored[0].id, Patch({"content": "A", "updated_at": store.tick()}))
    await store.append(session.id, "d")
    await store.adapter.update_message(session.id, stored[1].id, Patch({"content": "B", "updated_at": store.tick()}))
    same("conversation", await store.texts(session.id), ["A", "B", "c", "d"])
    same("the newest two", await store.texts(session.id, order="desc", limit=2), ["d", "c", "B", "A"])


@clause("SC-MSG-004")
async def test_totals_follow_an_edit(store: StoreFixture) -> None:
    session = await store.create_session()
    stored = await store.append(session.id, "a", "b", tokens=10)
    await store.adapter.update_message(session.id, stored[0].id, Patch({"content": "A", "token_count": 25}))
    found = await store.current(session.id)
    same("message_count and token_count", (found.message_count, found.token_count), (2, 35))
    await store.adapter.update_message(session.id, stored[0].id, Patch(clear=frozenset({"token_count"})))
    same("token_count after clearing one", (await store.current(session.id)).token_count, 10)


@clause("SC-MSG-004")
async def test_system_messages_follow_an_edit_of_the_role(store: StoreFixture) -> None:
    session = await store.create_session()
    first, second, third = await store.append(session.id, "a", "b", "c", role="system")
    await store.adapter.update_message(session.id, second.id, Patch({"role": "user"}))
    same("system_message_ids", (await store.current(session.id)).system_message_ids, [first.id, third.id])
    await store.adapter.update_message(session.id, second.id, Patch({"role": "system"}))
    same("system_message_ids", (await store.current(session.id)).system_message_ids, [first.id, second.id, third.id])


@clause("SC-MSG-005")
async def test_edit_never_creates(store: StoreFixture) -> None:
    session = await store.create_session()
    (deleted,) = await store.append(session.id, "gone")
    await store.adapter.delete_message(session.id, deleted.id)
    before = await store.current(session.id)
    for unknown in ("unknown", store.message(session.id).id, deleted.id):
        call = store.adapter.update_message(session.id, unknown, Patch({"content": "x", "token_count": 9}))
        error = await refused("update_message of a missing message", call, MessageNotFoundError)
        same("the error's ids", (error.session_id, error.message_id), (session.id, unknown))
        same("get_message afterwards", await store.adapter.get_message(session.id, unknown), None)
    same("the conversation afterwards", await store.texts(session.id), [])
    same("the session afterwards", await store.current(session.id), before)


@clause("SC-MSG-006")
async def test_deleted_message_is_gone_and_uncounted(store: StoreFixture) -> None:
    session = await store.create_session()
    first, second = await store.append(session.id, "a", "b", role="system", tokens=10)
    (third,) = await store.append(session.id, "c", tokens=5)
    same("delete_message's answer", await store.adapter.delete_message(session.id, first.id), True)
    same("get_message afterwards", await store.adapter.get_message(session.id, first.id), None)
    same("the conversation", await store.texts(session.id), ["b", "c"])
    found = await store.current(session.id)
    totals = (found.message_count, found.token_count, found.system_message_ids)
    same("count, tokens and system ids", totals, (2, 15, [second.id]))
    same("delete_message's answer", await store.adapter.delete_message(session.id, third.id), True)
    same("token_count", (await store.current(session.id)).token_count, 10)


@clause("SC-MSG-006")
async def test_message_with_a_chosen_id_is_deleted(store: StoreFixture) -> None:
    session = await store.create_session()
    await store.append_with_ids(store.message(session.id, "mine", id="chosen", tokens=7))
    same("delete_message's answer", await store.adapter.delete_message(session.id, "chosen"), True)
    same("get_message afterwards", await store.adapter.get_message(session.id, "chosen"), None)
    found = await store.current(session.id)
    same("message_count and token_count", (found.message_count, found.token_count), (0, 0))


@clause("SC-MSG-007")
async def test_delete_of_a_missing_message_is_false(store: StoreFixture) -> None:
    session = await store.create_session()
    first, _ = await store.append(session.id, "a", "b", tokens=10)
    same("the first delete", await store.adapter.delete_message(session.id, first.id), True)
    before = await store.current(session.id)
    for missing in (first.id, "unknown", store.message(session.id).id):
        same("delete of a missing message", await store.adapter.delete_message(session.id, missing), False)
    same("the session afterwards", await store.current(session.id), before)


@clause("SC-MSG-008")
async def test_delete_all_removes_and_counts(store: StoreFixture) -> None:
    session = await store.create_session()
    stored = await store.append(session.id, *(f"m{number}" for number in range(40)), role="system", tokens=3)
    await store.append_with_ids(store.message(session.id, "mine", id="chosen"))
    same("delete_all_messages' answer", await store.adapter.delete_all_messages(session.id), 41)
    same("the conversation", await store.texts(session.id), [])
    for gone in (stored[0].id, stored[-1].id, "chosen"):
        same("get_message afterwards", await store.adapter.get_message(session.id, gone), None)
    found = await store.current(session.id)
    totals = (found.message_count, found.token_count, found.system_message_ids)
    same("count, tokens and system ids", totals, (0, 0, list[str]()))
    same("delete_all_messages of an empty session", await store.adapter.delete_all_messages(session.id), 0)


@clause("SC-MSG-009")
async def test_delete_all_beside_appends_keeps_the_totals_true(store: StoreFixture) -> None:
    session = await store.create_session()
    await store.append(session.id, *(f"old {number}" for number in range(10)), tokens=2)
    new = [store.message(session.id, f"new {number}", tokens=3) for number in range(10)]

    async def append() -> None:
        for message in new:
            await store.adapter.append_messages(session.id, [message])

    async def clear() -> int:
        return await store.adapter.delete_all_messages(session.id)

    outcomes = results("appends beside delete_all_messages", await store.driver.gather(append, clear))
    left = await store.history(session.id)
    texts = [str(message.content) for message in left]
    holds("what is left", all(text.startswith("new") for text in texts), expected="new messages", observed=texts)
    same("removed and left", outcomes[1] + len(left), 20)
    found = await store.current(session.id)
    same("message_count and token_count", (found.message_count, found.token_count), (len(left), 3 * len(left)))
    same("the new messages left", [message.token_count for message in left], [3] * len(left))


@clause("SC-MSG-010")
async def test_limit_counts_after_the_roles(store: StoreFixture) -> None:
    session = await store.create_session()
    for number in range(8):
        await store.append(session.id, f"u{number}")
        await store.append(session.id, f"a{number}", role="assistant")
    texts = await store.texts(session.id, roles=frozenset({"assistant"}), limit=3)
    same("assistant messages", texts, [f"a{number}" for number in range(8)])
    query = MessageQuery(roles=frozenset({"assistant", "tool"}), order="desc", limit=2)
    page = await store.adapter.get_messages(session.id, query)
    newest = [message.content for message in page]
    holds("the newest two", newest == ["a7", "a6"][: len(newest)], expected="a7, a6", observed=newest)


@clause("SC-MSG-010")
async def test_first_page_is_full_when_enough_match(store: StoreFixture) -> None:
    session = await store.create_session()
    await store.append(session.id, *(f"u{number}" for number in range(6)))
    page = await store.adapter.get_messages(session.id, MessageQuery(order="desc", limit=4))
    same("the newest four", [message.content for message in page], ["u5", "u4", "u3", "u2"])


@clause("SC-MSG-011")
async def test_times_exclude_their_moment(store: StoreFixture) -> None:
    session = await store.create_session()
    start = store.tick()
    for number in range(6):
        await store.append(session.id, f"m{number}", at=start + timedelta(milliseconds=number))
    second, fourth = start + 2 * MILLISECOND, start + 4 * MILLISECOND
    same("after the second", await store.texts(session.id, after=second), ["m3", "m4", "m5"])
    same("before the fourth", await store.texts(session.id, before=fourth), ["m0", "m1", "m2", "m3"])
    same("between", await store.texts(session.id, after=second, before=fourth), ["m3"])
    newest_first = await store.texts(session.id, after=start, before=fourth, order="desc")
    same("between, newest first", newest_first, ["m3", "m2", "m1"])


@clause("SC-MSG-011")
async def test_times_may_be_the_first_and_the_last(store: StoreFixture) -> None:
    session = await store.create_session()
    await store.append(session.id, "m")
    same("after the first moment", await store.texts(session.id, after=FIRST_MOMENT), ["m"])
    same("before the first moment", await store.texts(session.id, before=FIRST_MOMENT), [])
    same("before the last moment", await store.texts(session.id, before=LAST_MOMENT), ["m"])
    same("after the last moment", await store.texts(session.id, after=LAST_MOMENT), [])


@clause("SC-MSG-012")
async def test_bounds_by_id_mean_places_in_both_orders(store: StoreFixture) -> None:
    session = await store.create_session()
    stored = await store.append(session.id, *(f"m{number}" for number in range(6)))
    first, last = stored[1].id, stored[4].id
    same("after", await store.texts(session.id, after_id=first), ["m2", "m3", "m4", "m5"])
    same("after, newest first", await store.texts(session.id, after_id=first, order="desc"), ["m5", "m4", "m3", "m2"])
    same("before", await store.texts(session.id, before_id=last), ["m0", "m1", "m2", "m3"])
    same("before, newest first", await store.texts(session.id, before_id=last, order="desc"), ["m3", "m2", "m1", "m0"])
    same("between", await store.texts(session.id, after_id=first, before_id=last), ["m2", "m3"])
    same("between itself", await store.texts(session.id, after_id=first, before_id=first), [])
    pages = await store.texts(session.id, after_id=first, before_id=last, order="desc", limit=1)
    same("between, newest first, page by page", pages, ["m3", "m2"])


@clause("SC-MSG-012")
async def test_bounds_by_chosen_ids_mean_places(store: StoreFixture) -> None:
    session = await store.create_session()
    for name in ("z", "m", "a"):
        await store.append_with_ids(store.message(session.id, name, id=name))
    same("after z", await store.texts(session.id, after_id="z"), ["m", "a"])
    same("before a", await store.texts(session.id, before_id="a"), ["z", "m"])


@clause("SC-MSG-013")
async def test_ids_select_those_that_exist(store: StoreFixture) -> None:
    session = await store.create_session()
    stored = await store.append(session.id, *(f"m{number}" for number in range(5)))
    await store.append_with_ids(store.message(session.id, "mine", id="chosen"))
    wanted = frozenset({stored[3].id, stored[1].id, "chosen", "unknown", store.message(session.id).id})
    same("by ids", await store.texts(session.id, ids=wanted), ["m1", "m3", "mine"])
    same("by ids, newest first", await store.texts(session.id, ids=wanted, order="desc"), ["mine", "m3", "m1"])
    same("by ids, one by one", await store.texts(session.id, ids=wanted, limit=1), ["m1", "m3", "mine"])
    same("by no ids", await store.texts(session.id, ids=frozenset()), [])


@clause("SC-MSG-014")
async def test_conditions_hold_together(store: StoreFixture) -> None:
    session = await store.create_session()
    start = store.tick()
    stored: list[Message] = []
    for number in range(12):
        role = "assistant" if number % 2 else "user"
        stored += await store.append(session.id, f"m{number}", role=role, at=start + number * MILLISECOND)
    found = await store.texts(
        session.id,
        roles=frozenset({"assistant"}),
        after=stored[2].created_at,
        before=stored[10].created_at,
        after_id=stored[3].id,
        before_id=stored[9].id,
        ids=frozenset(message.id for message in stored[4:8]),
        order="desc",
        limit=1,
    )
    same("messages that meet all conditions", found, ["m7", "m5"])


@clause("SC-MSG-015")
async def test_unknown_bounds_are_refused(store: StoreFixture) -> None:
    session = await store.create_session()
    stored = await store.append(session.id, "a", "b")
    await store.adapter.delete_message(session.id, stored[0].id)
    for unknown in ("unknown", stored[0].id):
        for query in (MessageQuery(after_id=unknown), MessageQuery(before_id=unknown, order="desc")):
            call = store.adapter.get_messages(session.id, query)
            error = await refused(f"get_messages from an unknown {unknown}", call, MessageNotFoundError)
            same("the error's ids", (error.session_id, error.message_id), (session.id, unknown))


@clause("SC-MSG-016")
async def test_cleared_message_fields_are_back_at_their_default(store: StoreFixture) -> None:
    session = await store.create_session()
    (message,) = await store.append(session.id, "x", metadata=full_metadata(), tokens=3)
    await store.adapter.update_message(session.id, message.id, Patch({"updated_at": store.tick()}))
    patch = Patch(clear=frozenset({"metadata", "token_count", "updated_at"}))
    expected = message.model_copy(update={"metadata": MessageMetadata(), "token_count": None, "updated_at": None})
    same("update_message's answer", await store.adapter.update_message(session.id, message.id, patch), expected)
    same("get_message", present("get_message", await store.adapter.get_message(session.id, message.id)), expected)


@clause("SC-MSG-017")
async def test_emptied_conversation_goes_on(store: StoreFixture) -> None:
    session = await store.create_session()
    await store.append(session.id, "old", "older")
    await store.adapter.delete_all_messages(session.id)
    await store.append(session.id, "a", "b", tokens=4)
    (last,) = await store.append(session.id, "c", tokens=4)
    await store.adapter.delete_message(session.id, last.id)
    await store.append(session.id, "d", tokens=4)
    same("conversation", await store.texts(session.id), ["a", "b", "d"])
    found = await store.current(session.id)
    same("message_count and token_count", (found.message_count, found.token_count), (3, 12))


async def rules_and_talk(store: StoreFixture) -> tuple[Session, list[Message]]:
    """A session with seven messages, of which the first and the fifth are system messages."""
    session = await store.create_session(user_id="u")
    stored = list(await store.append(session.id, "rules", role="system", tokens=5))
    stored += await store.append(session.id, "a", "b", "c", "gone")
    stored += (
        await store.append_with_ids(store.message(session.id, "more rules", id="chosen", role="system"))
    ).messages
    stored += await store.append(session.id, "d", "e")
    await store.adapter.delete_message(session.id, stored.pop(4).id)
    return session, stored


@clause("SC-MSG-018")
async def test_conversation_is_session_page_and_other_system_messages(store: StoreFixture) -> None:
    session, stored = await rules_and_talk(store)
    for limit, others in ((1, 2), (3, 1), (4, 1), (7, 0), (50, 0)):
        read = await store.adapter.get_conversation(session.id, MessageQuery(order="desc", limit=limit))
        same("its session", read.session, await store.current(session.id))
        same_models(f"its newest {limit}", list(read.messages), stored[::-1][:limit])
        same_models(f"system messages outside of the newest {limit}", list(read.system_messages), stored[0::4][:others])


@clause("SC-MSG-018")
async def test_conversation_of_any_query(store: StoreFixture) -> None:
    session, stored = await rules_and_talk(store)
    queries = {
        "asc": MessageQuery(limit=2),
        "roles": MessageQuery(roles=frozenset({"user"}), limit=2),
        "after_id": MessageQuery(order="desc", after_id=stored[3].id),
        "after": MessageQuery(after=stored[3].created_at),
        "ids": MessageQuery(ids=frozenset({stored[1].id, "chosen", "unknown"})),
    }
    for name, query in queries.items():
        read = await store.adapter.get_conversation(session.id, query)
        page = await store.adapter.get_messages(session.id, query)
        same_models(f"messages by {name}", list(read.messages), list(page))
        shown = {message.id for message in page}
        others = [message for message in (stored[0], stored[4]) if message.id not in shown]
        same_models(f"other system messages by {name}", list(read.system_messages), others)


@clause("SC-MSG-018")
async def test_conversation_without_messages(store: StoreFixture) -> None:
    session = await store.create_session()
    read = await store.adapter.get_conversation(session.id, MessageQuery(order="desc"))
    same("its session", read.session, session)
    same("its messages", (len(read.messages), read.messages.next_cursor, read.system_messages), (0, None, ()))


@clause("SC-MSG-019")
async def test_conversation_refuses_unknown_bounds(store: StoreFixture) -> None:
    session = await store.create_session()
    stored = await store.append(session.id, "a", "b", role="system")
    await store.adapter.delete_message(session.id, stored[0].id)
    for unknown in ("unknown", stored[0].id):
        for query in (MessageQuery(order="desc", after_id=unknown), MessageQuery(before_id=unknown)):
            call = store.adapter.get_conversation(session.id, query)
            error = await refused(f"get_conversation from an unknown {unknown}", call, MessageNotFoundError)
            same("the error's ids", (error.session_id, error.message_id), (session.id, unknown))
    await refused("of a missing session", store.adapter.get_conversation("no", MessageQuery()), SessionNotFoundError)


@clause("SC-MSG-020")
async def test_conversation_shows_what_was_just_written(store: StoreFixture) -> None:
    session = await store.create_session()
    query = MessageQuery(order="desc", limit=2)
    writer = await store.open_second_or_first()
    for number in range(5):
        await store.adapter.get_conversation(session.id, query)
        role: Role = "system" if number == 0 else "user"
        await writer.append_messages(session.id, [store.message(session.id, f"{number}", role=role)])
        updated = await writer.update_session(session.id, Patch({"user_id": f"user {number}"}))
        read = await store.adapter.get_conversation(session.id, query)
        same("its session", (read.session.user_id, read.session.version), (updated.user_id, updated.version))
        same("its totals", read.session.message_count, number + 1)
        newest = [f"{place}" for place in range(number, max(number - 2, -1), -1)]
        same("its newest messages", [message.content for message in read.messages], newest)
        same("its other system messages", len(read.system_messages), int(number >= 2))


@clause("SC-MSG-021")
async def test_merge_changes_single_keys(store: StoreFixture) -> None:
    session = await store.create_session()
    metadata = MessageMetadata.model_validate({"annotations": {"a": 1, "b": 2}, "own": "x", "other": [1]})
    (message,) = await store.append(session.id, "text", metadata=metadata)
    merge = {"annotations": {"b": None, "c": 3}, "own": None, "new": {"k": 1}}
    changed = await store.adapter.update_message(session.id, message.id, Patch({"content": "new"}, merge=merge))
    merged = MessageMetadata.model_validate({"annotations": {"a": 1, "c": 3}, "other": [1], "new": {"k": 1}})
    same("content and metadata", (changed.content, changed.metadata), ("new", merged))
    same("the message read back", await store.adapter.get_message(session.id, message.id), changed)
    call = store.adapter.update_session(session.id, Patch(merge={"title": "t"}))
    await refused("a patch that merges into a session", call, ValidationError)


@clause("SC-MSG-021")
async def test_concurrent_merges_all_stay(store: StoreFixture) -> None:
    session = await store.create_session()
    (message,) = await store.append(session.id, "text")
    works = [
        lambda n=number: store.adapter.update_message(session.id, message.id, Patch(merge={f"k{n}": n}))
        for number in range(6)
    ]
    results("concurrent merges", await store.driver.gather(*works))
    found = present("get_message", await store.adapter.get_message(session.id, message.id))
    same("metadata", found.metadata, MessageMetadata.model_validate({f"k{number}": number for number in range(6)}))
