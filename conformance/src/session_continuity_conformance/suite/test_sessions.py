"""SES: sessions are created, read, changed and deleted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from session_continuity import (
    SESSION_FIELDS,
    ConcurrencyError,
    Message,
    MessageQuery,
    Patch,
    SessionExistsError,
    SessionMetadata,
    SessionNotFoundError,
)
from session_continuity_conformance.cases import clause
from session_continuity_conformance.checks import partition, refused, results, same, same_models
from session_continuity_conformance.samples import full_session
from session_continuity_conformance.store_fixture import MILLISECOND, StoreFixture

CREATORS = 4
CREATE_ROUNDS = 5


@clause("SC-SES-001")
async def test_create_stores_every_field_as_given(store: StoreFixture) -> None:
    original = full_session(store)
    same("create_session's answer", await store.adapter.create_session(original), original)
    same("the session read back", await store.current(original.id), original)


@clause("SC-SES-001")
async def test_create_keeps_absent_fields_absent(store: StoreFixture) -> None:
    original = store.new_session()
    same("create_session's answer", await store.adapter.create_session(original), original)
    same("the session read back", await store.current(original.id), original)


@clause("SC-SES-002")
async def test_new_session_counts_from_nothing(store: StoreFixture) -> None:
    original = store.new_session(message_count=7, token_count=70, system_message_ids=["m1"])
    expected = original.model_copy(update={"message_count": 0, "token_count": 0, "system_message_ids": []})
    same("create_session's answer", await store.adapter.create_session(original), expected)
    same("the session read back", await store.current(original.id), expected)


@clause("SC-SES-003")
async def test_new_session_has_the_version_given(store: StoreFixture) -> None:
    session = await store.create_session(version=41)
    same("version after create_session", (await store.current(session.id)).version, 41)
    updated = await store.adapter.update_session(session.id, Patch({"user_id": "u"}), expected_version=41)
    same("version after the first update", updated.version, 42)


@clause("SC-SES-004")
async def test_existing_session_is_not_overwritten(store: StoreFixture) -> None:
    session = await store.create_session(user_id="first")
    await store.append(session.id, "kept")
    before = await store.current(session.id)
    again = store.new_session(id=session.id, user_id="second")
    error = await refused("create_session of an existing id", store.adapter.create_session(again), SessionExistsError)
    same("the error's session_id", error.session_id, session.id)
    same("the existing session", await store.current(session.id), before)
    same("its messages", await store.texts(session.id), ["kept"])


@clause("SC-SES-004")
async def test_create_at_the_same_moment_with_other_values_is_another_create(store: StoreFixture) -> None:
    session = await store.create_session(user_id="first")
    again = session.model_copy(update={"user_id": "second", "creation_token": "another"})
    await refused("create_session with other values", store.adapter.create_session(again), SessionExistsError)
    same("the existing session", await store.current(session.id), session)


@clause("SC-SES-005")
async def test_repeated_create_returns_the_session(store: StoreFixture) -> None:
    original = full_session(store)
    await store.adapter.create_session(original)
    same("the repeated create's answer", await store.adapter.create_session(original), original)
    same("the session read back", await store.current(original.id), original)


@clause("SC-SES-005")
async def test_repeated_create_shows_what_happened_since(store: StoreFixture) -> None:
    original = store.new_session(user_id="u")
    await store.adapter.create_session(original)
    await store.append(original.id, "one")
    await store.adapter.update_session(original.id, Patch({"status": "paused"}))
    now = await store.current(original.id)
    same("the repeated create's answer", await store.adapter.create_session(original), now)
    same("the session read back", await store.current(original.id), now)
    same("its messages", await store.texts(original.id), ["one"])


@clause("SC-SES-020")
async def test_equal_create_of_another_call_is_not_a_repetition(store: StoreFixture) -> None:
    session = await store.create_session(user_id="u")
    for token in ("another", None):
        again = session.model_copy(update={"creation_token": token})
        await refused("the same create by another call", store.adapter.create_session(again), SessionExistsError)
    same("the existing session", await store.current(session.id), session)


@clause("SC-SES-020")
async def test_one_of_several_equal_creates_wins(store: StoreFixture) -> None:
    for _ in range(CREATE_ROUNDS):
        session = store.new_session()
        calls = [session.model_copy(update={"creation_token": store.new_id("call")}) for _ in range(CREATORS)]
        works = [lambda call=call: store.adapter.create_session(call) for call in calls]
        won, lost = partition("racing equal creates", await store.driver.gather(*works), SessionExistsError)
        same("creates that succeeded and that were refused", (len(won), len(lost)), (1, CREATORS - 1))
        same("the session stored", await store.current(session.id), won[0])


@clause("SC-SES-006")
async def test_get_returns_the_session_with_totals(store: StoreFixture) -> None:
    session = await store.create_session()
    await store.append(session.id, "a", "b", tokens=5)
    found = await store.current(session.id)
    same("message_count and token_count", (found.message_count, found.token_count), (2, 10))


@clause("SC-SES-006")
async def test_get_of_a_missing_session_is_none(store: StoreFixture) -> None:
    await store.create_session()
    same("get_session of an unknown id", await store.adapter.get_session("unknown"), None)


@clause("SC-SES-007")
async def test_reads_show_the_writes_of_another_adapter(store: StoreFixture) -> None:
    other = await store.open_second()
    session = await store.create_session()
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
async def test_update_changes_the_named_fields_only(store: StoreFixture) -> None:
    session = await store.adapter.create_session(full_session(store))
    patch = Patch({"status": "paused", "active_agent_id": "another"})
    expected = patch.apply(session).model_copy(update={"version": session.version + 1})
    same("update_session's answer", await store.adapter.update_session(session.id, patch), expected)
    same("the session read back", await store.current(session.id), expected)


@clause("SC-SES-008")
async def test_updates_one_after_another_add_up(store: StoreFixture) -> None:
    session = await store.create_session()
    await store.adapter.update_session(session.id, Patch({"user_id": "u"}))
    await store.adapter.update_session(session.id, Patch({"active_agent_id": "a"}))
    found = await store.adapter.update_session(session.id, Patch({"metadata": SessionMetadata(title="t")}))
    same("user, agent and title", (found.user_id, found.active_agent_id, found.metadata.title), ("u", "a", "t"))


@clause("SC-SES-009")
async def test_cleared_fields_are_back_at_their_default(store: StoreFixture) -> None:
    original = full_session(store)
    await store.adapter.create_session(original)
    kept = {"id": original.id, "created_at": original.created_at, "creation_token": original.creation_token}
    bare = store.new_session(**kept)
    expected = bare.model_copy(update={"version": original.version + 1, "last_activity_at": original.last_activity_at})
    same(
        "update_session's answer",
        await store.adapter.update_session(original.id, Patch(clear=SESSION_FIELDS)),
        expected,
    )
    same("the session read back", await store.current(original.id), expected)


@clause("SC-SES-009")
async def test_one_field_is_cleared_while_another_is_set(store: StoreFixture) -> None:
    session = await store.create_session(user_id="u", active_agent_id="a")
    await store.adapter.update_session(session.id, Patch({"user_id": "v"}, frozenset({"active_agent_id"})))
    found = await store.current(session.id)
    same("user and agent", (found.user_id, found.active_agent_id), ("v", None))


@clause("SC-SES-010")
async def test_update_leaves_the_totals(store: StoreFixture) -> None:
    session = await store.create_session()
    await store.append(session.id, "system", role="system", tokens=4)
    before = await store.current(session.id)
    after = await store.adapter.update_session(session.id, Patch({"status": "paused"}))
    expected = before.model_copy(update={"status": "paused", "version": before.version + 1})
    same("update_session's answer", after, expected)
    same("the session read back", await store.current(session.id), expected)


@clause("SC-SES-011")
async def test_update_never_creates(store: StoreFixture) -> None:
    for expected in (None, 0, 1):
        call = store.adapter.update_session("ghost", Patch({"user_id": "u"}), expected_version=expected)
        error = await refused(f"update of a missing session, expecting {expected}", call, SessionNotFoundError)
        same("the error's session_id", error.session_id, "ghost")
        same("get_session afterwards", await store.adapter.get_session("ghost"), None)
    await store.check_listing("the user's listing afterwards", [], user_id="u")


@clause("SC-SES-011")
async def test_update_does_not_revive_a_deleted_session(store: StoreFixture) -> None:
    session = await store.create_session(user_id="u")
    await store.adapter.delete_session(session.id)
    for expected in (None, session.version):
        call = store.adapter.update_session(session.id, Patch({"status": "paused"}), expected_version=expected)
        await refused("update of a deleted session", call, SessionNotFoundError)
    same("get_session afterwards", await store.adapter.get_session(session.id), None)


@clause("SC-SES-012")
async def test_delete_removes_session_and_messages(store: StoreFixture) -> None:
    session = await store.create_session(user_id="u", active_agent_id="a", expires_at=store.now() + timedelta(hours=9))
    stored = await store.append(session.id, "one", "two")
    same("delete_session's answer", await store.adapter.delete_session(session.id), True)
    same("get_session afterwards", await store.adapter.get_session(session.id), None)
    await refused("get_messages", store.adapter.get_messages(session.id, MessageQuery()), SessionNotFoundError)
    await refused("get_message", store.adapter.get_message(session.id, stored[0].id), SessionNotFoundError)
    same("sessions that will expire", await store.expired_ids(), [])


@clause("SC-SES-013")
async def test_delete_of_a_missing_session_is_false(store: StoreFixture) -> None:
    same("delete_session of an unknown id", await store.adapter.delete_session("unknown"), False)
    session = await store.create_session()
    same("the first delete", await store.adapter.delete_session(session.id), True)
    same("the second delete", await store.adapter.delete_session(session.id), False)


@clause("SC-SES-014")
async def test_conditional_delete_spares_a_session_that_expires_later(store: StoreFixture) -> None:
    moment = store.now() + timedelta(hours=1)
    session = await store.create_session(expires_at=moment)
    await store.append(session.id, "kept")
    before = await store.current(session.id)
    earlier = moment - MILLISECOND
    same("delete before its time", await store.adapter.delete_session(session.id, expired_before=earlier), False)
    same("the session afterwards", await store.current(session.id), before)
    same("its messages", await store.texts(session.id), ["kept"])
    same("delete at its time", await store.adapter.delete_session(session.id, expired_before=moment), True)
    same("get_session afterwards", await store.adapter.get_session(session.id), None)


@clause("SC-SES-014")
async def test_conditional_delete_spares_a_session_that_never_expires(store: StoreFixture) -> None:
    session = await store.create_session()
    later = store.now() + timedelta(days=365)
    same("delete_session's answer", await store.adapter.delete_session(session.id, expired_before=later), False)
    same("the session afterwards", await store.current(session.id), session)
    same("of an unknown id", await store.adapter.delete_session("unknown", expired_before=later), False)


@clause("SC-SES-015")
async def test_id_of_a_deleted_session_starts_anew(store: StoreFixture) -> None:
    old = await store.create_session(user_id="old", active_agent_id="a", metadata=SessionMetadata(title="old"))
    await store.append(old.id, "old", role="system", tokens=9)
    await store.append_with_ids(store.message(old.id, "old", id="chosen"))
    await store.adapter.delete_session(old.id)
    original = store.new_session(id=old.id)
    same("create_session's answer", await store.adapter.create_session(original), original)
    same("its messages", await store.texts(old.id), [])
    same("the old chosen id", await store.adapter.get_message(old.id, "chosen"), None)
    appended = await store.append_with_ids(store.message(old.id, "new", id="chosen"))
    same("an append under the old chosen id repeated", appended.repeated, False)
    same("its messages", await store.texts(old.id), ["new"])
    await store.check_listing("the old user's listing", [], user_id="old")


@clause("SC-SES-016")
async def test_methods_need_a_session(store: StoreFixture) -> None:
    adapter, batch = store.adapter, [store.message("ghost")]
    calls: dict[str, Any] = {
        "update_session": lambda: adapter.update_session("ghost", Patch({"status": "paused"})),
        "append_messages": lambda: adapter.append_messages("ghost", batch),
        "append_messages, chosen id": lambda: adapter.append_messages("ghost", batch, client_ids=[batch[0].id]),
        "get_message": lambda: adapter.get_message("ghost", batch[0].id),
        "get_messages": lambda: adapter.get_messages("ghost", MessageQuery()),
        "get_messages after an id": lambda: adapter.get_messages("ghost", MessageQuery(after_id="m")),
        "get_messages by ids": lambda: adapter.get_messages("ghost", MessageQuery(ids=frozenset({"m"}))),
        "get_conversation": lambda: adapter.get_conversation("ghost", MessageQuery()),
        "update_message": lambda: adapter.update_message("ghost", batch[0].id, Patch({"content": "x"})),
        "delete_message": lambda: adapter.delete_message("ghost", batch[0].id),
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
async def test_long_conversation_is_deleted_whole(store: StoreFixture) -> None:
    session = await store.create_session()
    size = min(store.capabilities.max_batch or 30, 30)
    created = [store.message(session.id, str(number), id=f"m{number}") for number in range(120)]
    for start in range(0, len(created), size):
        await store.append_with_ids(*created[start : start + size])
    same("messages before", (await store.current(session.id)).message_count, 120)
    same("delete_session's answer", await store.adapter.delete_session(session.id), True)
    await store.adapter.create_session(store.new_session(id=session.id))
    same("messages in a new session of that id", await store.history(session.id), [])
    found = [await store.adapter.get_message(session.id, message.id) for message in created[::17]]
    same("old messages by id", found, [None] * len(found))


async def _append_one_by_one(store: StoreFixture, session_id: str, messages: Sequence[Message]) -> None:
    for message in messages:
        await store.adapter.append_messages(session_id, [message])


@clause("SC-SES-018")
async def test_delete_that_races_appends_leaves_nothing(store: StoreFixture) -> None:
    for round_ in range(4):
        session = await store.create_session()
        batches = [store.message(session.id, f"{round_}.{number}") for number in range(12)]
        append = partial(_append_one_by_one, store, session.id, batches)

        async def delete(session_id: str = session.id) -> None:
            same("delete_session's answer", await store.adapter.delete_session(session_id), True)

        outcomes = await store.driver.gather(append, delete, append)
        partition("appends beside a delete", [outcomes[0], outcomes[2]], SessionNotFoundError)
        results("a delete beside appends", [outcomes[1]])
        same("get_session afterwards", await store.adapter.get_session(session.id), None)
        await store.adapter.create_session(store.new_session(id=session.id))
        same_models("messages left behind", await store.history(session.id), [])
        same("totals left behind", (await store.current(session.id)).message_count, 0)


@clause("SC-SES-022")
async def test_one_of_several_deletes_at_once_returns_true(store: StoreFixture) -> None:
    adapters = [store.adapter, await store.open_second_or_first()]
    for round_ in range(4):
        session = await store.create_session()
        batches = [store.message(session.id, f"{round_}.{number}") for number in range(6)]
        append = partial(_append_one_by_one, store, session.id, batches)

        deletes = [partial(adapter.delete_session, session.id) for adapter in adapters]
        outcomes = await store.driver.gather(deletes[0], append, deletes[1], append)
        partition("appends beside deletes", [outcomes[1], outcomes[3]], SessionNotFoundError)
        answers = results("deletes at once", [outcomes[0], outcomes[2]])
        same("answers of two deletes", sorted(answers), [False, True])


@clause("SC-SES-021")
async def test_delete_at_the_expected_version(store: StoreFixture) -> None:
    session = await store.create_session()
    await store.append(session.id, "a")
    changed = await store.adapter.update_session(session.id, Patch({"user_id": "u"}))
    for expected in (session.version, changed.version + 1):
        call = store.adapter.delete_session(session.id, expected_version=expected)
        error = await refused("a delete at another version", call, ConcurrencyError)
        same("the versions in the error", (error.expected, error.actual), (expected, changed.version))
        same("messages afterwards", await store.texts(session.id), ["a"])
    deleted = await store.adapter.delete_session(session.id, expected_version=changed.version)
    same("the result of the delete", deleted, True)
    same("get_session afterwards", await store.adapter.get_session(session.id), None)
    again = await store.adapter.delete_session(session.id, expected_version=changed.version)
    same("the delete repeated", again, False)
