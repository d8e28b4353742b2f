"""SES: sessions are created, read, changed and deleted as given."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from session_continuity import (
    SESSION_FIELDS,
    MessageQuery,
    Patch,
    SessionExistsError,
    SessionMetadata,
    SessionNotFoundError,
)
from session_continuity_conformance.cases import clause
from session_continuity_conformance.checks import refused, results, same, same_models, sorted_out
from session_continuity_conformance.samples import full_session
from session_continuity_conformance.store import MILLISECOND, Store


@clause("SC-SES-001")
async def test_create_stores_every_field_as_given(store: Store) -> None:
    given = full_session(store)
    same("create_session's answer", await store.adapter.create_session(given), given)
    same("the session read back", await store.current(given.id), given)


@clause("SC-SES-001")
async def test_create_keeps_absent_fields_absent(store: Store) -> None:
    given = store.new_session()
    same("create_session's answer", await store.adapter.create_session(given), given)
    same("the session read back", await store.current(given.id), given)


@clause("SC-SES-002")
async def test_new_session_counts_from_nothing(store: Store) -> None:
    given = store.new_session(message_count=7, token_count=70, system_message_ids=["m1"])
    expected = given.model_copy(update={"message_count": 0, "token_count": 0, "system_message_ids": []})
    same("create_session's answer", await store.adapter.create_session(given), expected)
    same("the session read back", await store.current(given.id), expected)


@clause("SC-SES-003")
async def test_new_session_has_the_version_given(store: Store) -> None:
    session = await store.session(version=41)
    same("version after create_session", (await store.current(session.id)).version, 41)
    updated = await store.adapter.update_session(session.id, Patch({"user_id": "u"}), expected_version=41)
    same("version after the first update", updated.version, 42)


@clause("SC-SES-004")
async def test_existing_session_is_not_overwritten(store: Store) -> None:
    session = await store.session(user_id="first")
    await store.append(session.id, "kept")
    before = await store.current(session.id)
    again = store.new_session(id=session.id, user_id="second")
    error = await refused("create_session of an existing id", store.adapter.create_session(again), SessionExistsError)
    same("the error's session_id", error.session_id, session.id)
    same("the existing session", await store.current(session.id), before)
    same("its messages", await store.texts(session.id), ["kept"])


@clause("SC-SES-004")
async def test_create_at_the_same_moment_with_other_values_is_another_create(store: Store) -> None:
    session = await store.session(user_id="first")
    again = session.model_copy(update={"user_id": "second"})
    await refused("create_session with other values", store.adapter.create_session(again), SessionExistsError)
    same("the existing session", await store.current(session.id), session)


@clause("SC-SES-005")
async def test_repeated_create_returns_the_session(store: Store) -> None:
    given = full_session(store)
    await store.adapter.create_session(given)
    same("the repeated create's answer", await store.adapter.create_session(given), given)
    same("the session read back", await store.current(given.id), given)


@clause("SC-SES-005")
async def test_repeated_create_shows_what_happened_since(store: Store) -> None:
    given = store.new_session(user_id="u")
    await store.adapter.create_session(given)
    await store.append(given.id, "one")
    await store.adapter.update_session(given.id, Patch({"status": "paused"}))
    now = await store.current(given.id)
    same("the repeated create's answer", await store.adapter.create_session(given), now)
    same("the session read back", await store.current(given.id), now)
    same("its messages", await store.texts(given.id), ["one"])


@clause("SC-SES-006")
async def test_get_returns_the_session_with_totals(store: Store) -> None:
    session = await store.session()
    await store.append(session.id, "a", "b", tokens=5)
    found = await store.current(session.id)
    same("message_count and token_count", (found.message_count, found.token_count), (2, 10))


@clause("SC-SES-006")
async def test_get_of_a_missing_session_is_none(store: Store) -> None:
    await store.session()
    same("get_session of an unknown id", await store.adapter.get_session("unknown"), None)


@clause("SC-SES-007")
async def test_reads_show_the_writes_of_another_adapter(store: Store) -> None:
    other = await store.second()
    session = await store.session()
    for step in range(5):
        same("what both adapters see", await store.current(session.id), await other.get_session(session.id))
        updated = await other.update_session(session.id, Patch({"metadata": SessionMetadata(title=str(step))}))
        found = await store.current(session.id)
        same("the title just written by another adapter", found.metadata.title, str(step))
        same("the version just written by another adapter", found.version, updated.version)
        await store.append(session.id, f"message {step}")
        same(
            "the count seen by another adapter", (await other.get_session(session.id) or found).message_count, step + 1
        )
        page = await other.get_messages(session.id, MessageQuery(order="desc", limit=1))
        same("the last message seen by another adapter", [message.content for message in page], [f"message {step}"])


@clause("SC-SES-008")
async def test_update_changes_the_named_fields_only(store: Store) -> None:
    session = await store.adapter.create_session(full_session(store))
    patch = Patch({"status": "paused", "active_agent_id": "another"})
    expected = patch.apply(session).model_copy(update={"version": session.version + 1})
    same("update_session's answer", await store.adapter.update_session(session.id, patch), expected)
    same("the session read back", await store.current(session.id), expected)


@clause("SC-SES-008")
async def test_updates_one_after_another_add_up(store: Store) -> None:
    session = await store.session()
    await store.adapter.update_session(session.id, Patch({"user_id": "u"}))
    await store.adapter.update_session(session.id, Patch({"active_agent_id": "a"}))
    found = await store.adapter.update_session(session.id, Patch({"metadata": SessionMetadata(title="t")}))
    same("user, agent and title", (found.user_id, found.active_agent_id, found.metadata.title), ("u", "a", "t"))


@clause("SC-SES-009")
async def test_cleared_fields_are_back_at_their_default(store: Store) -> None:
    given = full_session(store)
    await store.adapter.create_session(given)
    bare = store.new_session(id=given.id, created_at=given.created_at)
    expected = bare.model_copy(update={"version": given.version + 1, "last_activity_at": given.last_activity_at})
    same("update_session's answer", await store.adapter.update_session(given.id, Patch(clear=SESSION_FIELDS)), expected)
    same("the session read back", await store.current(given.id), expected)


@clause("SC-SES-009")
async def test_one_field_is_cleared_while_another_is_set(store: Store) -> None:
    session = await store.session(user_id="u", active_agent_id="a")
    await store.adapter.update_session(session.id, Patch({"user_id": "v"}, frozenset({"active_agent_id"})))
    found = await store.current(session.id)
    same("user and agent", (found.user_id, found.active_agent_id), ("v", None))


@clause("SC-SES-010")
async def test_update_leaves_the_totals(store: Store) -> None:
    session = await store.session()
    await store.append(session.id, "system", role="system", tokens=4)
    before = await store.current(session.id)
    after = await store.adapter.update_session(session.id, Patch({"status": "paused"}))
    expected = before.model_copy(update={"status": "paused", "version": before.version + 1})
    same("update_session's answer", after, expected)
    same("the session read back", await store.current(session.id), expected)


@clause("SC-SES-011")
async def test_update_never_creates(store: Store) -> None:
    for expected in (None, 0, 1):
        call = store.adapter.update_session("ghost", Patch({"user_id": "u"}), expected_version=expected)
        error = await refused(f"update of a missing session, expecting {expected}", call, SessionNotFoundError)
        same("the error's session_id", error.session_id, "ghost")
        same("get_session afterwards", await store.adapter.get_session("ghost"), None)
    await store.lists("the user's listing afterwards", [], user_id="u")


@clause("SC-SES-011")
async def test_update_does_not_revive_a_deleted_session(store: Store) -> None:
    session = await store.session(user_id="u")
    await store.adapter.delete_session(session.id)
    for expected in (None, session.version):
        call = store.adapter.update_session(session.id, Patch({"status": "paused"}), expected_version=expected)
        await refused("update of a deleted session", call, SessionNotFoundError)
    same("get_session afterwards", await store.adapter.get_session(session.id), None)


@clause("SC-SES-012")
async def test_delete_removes_session_and_messages(store: Store) -> None:
    session = await store.session(user_id="u", active_agent_id="a", expires_at=store.now() + timedelta(hours=9))
    stored = await store.append(session.id, "one", "two")
    same("delete_session's answer", await store.adapter.delete_session(session.id), True)
    same("get_session afterwards", await store.adapter.get_session(session.id), None)
    await refused("get_messages", store.adapter.get_messages(session.id, MessageQuery()), SessionNotFoundError)
    await refused("get_message", store.adapter.get_message(session.id, stored[0].id), SessionNotFoundError)
    same("sessions that will expire", await store.expired(), [])


@clause("SC-SES-013")
async def test_delete_of_a_missing_session_is_false(store: Store) -> None:
    same("delete_session of an unknown id", await store.adapter.delete_session("unknown"), False)
    session = await store.session()
    same("the first delete", await store.adapter.delete_session(session.id), True)
    same("the second delete", await store.adapter.delete_session(session.id), False)


@clause("SC-SES-014")
async def test_conditional_delete_spares_a_session_that_expires_later(store: Store) -> None:
    moment = store.now() + timedelta(hours=1)
    session = await store.session(expires_at=moment)
    await store.append(session.id, "kept")
    before = await store.current(session.id)
    earlier = moment - MILLISECOND
    same("delete before its time", await store.adapter.delete_session(session.id, expired_before=earlier), False)
    same("the session afterwards", await store.current(session.id), before)
    same("its messages", await store.texts(session.id), ["kept"])
    same("delete at its time", await store.adapter.delete_session(session.id, expired_before=moment), True)
    same("get_session afterwards", await store.adapter.get_session(session.id), None)


@clause("SC-SES-014")
async def test_conditional_delete_spares_a_session_that_never_expires(store: Store) -> None:
    session = await store.session()
    later = store.now() + timedelta(days=365)
    same("delete_session's answer", await store.adapter.delete_session(session.id, expired_before=later), False)
    same("the session afterwards", await store.current(session.id), session)
    same("of an unknown id", await store.adapter.delete_session("unknown", expired_before=later), False)


@clause("SC-SES-015")
async def test_id_of_a_deleted_session_starts_anew(store: Store) -> None:
    old = await store.session(user_id="old", active_agent_id="a", metadata=SessionMetadata(title="old"))
    await store.append(old.id, "old", role="system", tokens=9)
    await store.append_chosen(store.message(old.id, "old", id="chosen"))
    await store.adapter.delete_session(old.id)
    given = store.new_session(id=old.id)
    same("create_session's answer", await store.adapter.create_session(given), given)
    same("its messages", await store.texts(old.id), [])
    same("the old chosen id", await store.adapter.get_message(old.id, "chosen"), None)
    appended = await store.append_chosen(store.message(old.id, "new", id="chosen"))
    same("an append under the old chosen id repeated", appended.repeated, False)
    same("its messages", await store.texts(old.id), ["new"])
    await store.lists("the old user's listing", [], user_id="old")


@clause("SC-SES-016")
async def test_methods_need_a_session(store: Store) -> None:
    adapter, turn = store.adapter, [store.message("ghost")]
    calls: dict[str, Any] = {
        "update_session": lambda: adapter.update_session("ghost", Patch({"status": "paused"})),
        "append_messages": lambda: adapter.append_messages("ghost", turn),
        "append_messages, chosen id": lambda: adapter.append_messages("ghost", turn, chosen_ids=[turn[0].id]),
        "get_message": lambda: adapter.get_message("ghost", turn[0].id),
        "get_messages": lambda: adapter.get_messages("ghost", MessageQuery()),
        "get_messages after an id": lambda: adapter.get_messages("ghost", MessageQuery(after_id="m")),
        "get_messages by ids": lambda: adapter.get_messages("ghost", MessageQuery(ids=frozenset({"m"}))),
        "get_conversation": lambda: adapter.get_conversation("ghost", MessageQuery()),
        "update_message": lambda: adapter.update_message("ghost", turn[0].id, Patch({"content": "x"})),
        "delete_message": lambda: adapter.delete_message("ghost", turn[0].id),
        "delete_all_messages": lambda: adapter.delete_all_messages("ghost"),
    }
    for name, call in calls.items():
        error = await refused(f"{name} of a missing session", call(), SessionNotFoundError)
        same(f"the session_id in the error of {name}", error.session_id, "ghost")
    await store.adapter.create_session(store.new_session(id="ghost"))
    same("messages that the refused calls left behind", await store.history("ghost"), [])
    found = await store.current("ghost")
    same("totals that they left behind", (found.message_count, found.token_count), (0, 0))


@clause("SC-SES-017")
async def test_long_conversation_is_deleted_whole(store: Store) -> None:
    session = await store.session()
    size = min(store.capabilities.max_turn or 30, 30)
    made = [store.message(session.id, str(number), id=f"m{number}") for number in range(120)]
    for start in range(0, len(made), size):
        await store.append_chosen(*made[start : start + size])
    same("messages before", (await store.current(session.id)).message_count, 120)
    same("delete_session's answer", await store.adapter.delete_session(session.id), True)
    await store.adapter.create_session(store.new_session(id=session.id))
    same("messages in a new session of that id", await store.history(session.id), [])
    found = [await store.adapter.get_message(session.id, message.id) for message in made[::17]]
    same("old messages by id", found, [None] * len(found))


@clause("SC-SES-018")
async def test_delete_that_races_appends_leaves_nothing(store: Store) -> None:
    for round_ in range(4):
        session = await store.session()
        turns = [store.message(session.id, f"{round_}.{number}") for number in range(12)]

        async def append(session_id: str = session.id, turns: Any = turns) -> None:
            for turn in turns:
                await store.adapter.append_messages(session_id, [turn])

        async def delete(session_id: str = session.id) -> None:
            same("delete_session's answer", await store.adapter.delete_session(session_id), True)

        outcomes = await store.driver.together(append, delete, append)
        sorted_out("appends beside a delete", [outcomes[0], outcomes[2]], SessionNotFoundError)
        results("a delete beside appends", [outcomes[1]])
        same("get_session afterwards", await store.adapter.get_session(session.id), None)
        await store.adapter.create_session(store.new_session(id=session.id))
        same_models("messages left behind", await store.history(session.id), [])
        same("totals left behind", (await store.current(session.id)).message_count, 0)
