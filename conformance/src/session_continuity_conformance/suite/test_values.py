"""SER: what is read is what was written, and shares no state with it."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from session_continuity import (
    SESSION_FIELDS,
    ConcurrencyError,
    Content,
    Handoff,
    MessageMetadata,
    MessageQuery,
    Participant,
    Patch,
    Session,
    SessionFilter,
    SessionMetadata,
    ToolCall,
)
from session_continuity_conformance.cases import clause
from session_continuity_conformance.checks import present, refused, same, same_models
from session_continuity_conformance.samples import IDS, JSON, NUMBERS, TEXTS, full_message, full_metadata, full_session
from session_continuity_conformance.store_fixture import StoreFixture


async def keeps(store: StoreFixture, session: Session) -> None:
    """Check that create, get and list return the session as it was passed."""
    same("create_session's answer", await store.adapter.create_session(session), session)
    same("get_session", await store.current(session.id), session)


async def keeps_metadata(store: StoreFixture, session_id: str, what: str, value: Any) -> None:
    """Check that a message keeps a JSON value in every field that allows one."""
    metadata = MessageMetadata.model_validate(
        {
            "annotations": {"value": value},
            "own": value,
            "tool_calls": [ToolCall(id="c", name="n", arguments={"value": value})],
            "tool_results": [{"tool_call_id": "c", "result": value}],
        }
    )
    original = store.message(session_id, [{"type": "own", "value": value}], metadata=metadata)
    await store.adapter.append_messages(session_id, [original])
    found = await store.adapter.get_message(session_id, original.id)
    same(f"a message with {what}", present(f"a message with {what}", found), original)


@clause("SC-SER-001")
async def test_session_fields_round_trip_through_update(store: StoreFixture) -> None:
    session = await store.create_session()
    full = full_session(store)
    for number, name in enumerate(sorted(SESSION_FIELDS), start=2):
        value = getattr(full, name)
        updated = await store.adapter.update_session(session.id, Patch({name: value}))
        session = session.model_copy(update={name: value, "version": number})
        same(f"update_session of {name}", updated, session)
        same(f"get_session after an update of {name}", await store.current(session.id), session)


@clause("SC-SER-001")
async def test_session_that_was_read_can_be_written_back(store: StoreFixture) -> None:
    await store.adapter.create_session(original := full_session(store))
    found = await store.current(original.id)
    fields = {name: getattr(found, name) for name in ("metadata", "participants", "compression_state", "expires_at")}
    updated = await store.adapter.update_session(original.id, Patch(fields))
    same("the session written back", updated, original.model_copy(update={"version": original.version + 1}))


@clause("SC-SER-002")
async def test_message_fields_round_trip(store: StoreFixture) -> None:
    session = await store.create_session()
    original = full_message(store, session.id)
    await store.adapter.append_messages(session.id, [original])
    same("get_message", present("get_message", await store.adapter.get_message(session.id, original.id)), original)
    same_models("get_messages", await store.history(session.id), [original])
    (plain,) = await store.append(session.id, "plain")
    patch = Patch({"metadata": original.metadata, "content": original.content, "updated_at": store.tick()})
    await store.adapter.update_message(session.id, plain.id, patch)
    same_models("get_messages after an update", await store.history(session.id), [original, patch.apply(plain)])


@clause("SC-SER-003")
async def test_text_of_any_kind_round_trips(store: StoreFixture) -> None:
    session = await store.create_session()
    for name, text in TEXTS.items():
        (message,) = await store.append(session.id, text)
        found = present(name, await store.adapter.get_message(session.id, message.id))
        same(f"content: {name}", found.content, text)
        metadata = SessionMetadata.model_validate({"title": text, "tags": [text], "custom": {"k": text}, "own": text})
        updated = await store.adapter.update_session(session.id, Patch({"metadata": metadata}))
        same(f"metadata: {name}", updated.metadata, metadata)
        same(f"metadata read back: {name}", (await store.current(session.id)).metadata, metadata)
    same("conversation", await store.texts(session.id), list(TEXTS.values()))


@clause("SC-SER-004")
async def test_empty_values_stay_empty(store: StoreFixture) -> None:
    metadata = SessionMetadata.model_validate({"title": "", "tags": [""], "source": "", "custom": {"e": {}}, "own": []})
    participants = [Participant(id="p", metadata={"empty": []}, joined_at=store.tick())]
    await keeps(store, store.new_session(metadata=metadata, participants=participants))
    session = await store.create_session()
    empty: list[Content] = ["", [], [{"type": "text", "text": ""}]]
    for content in empty:
        original = store.message(session.id, content, tokens=0, metadata=MessageMetadata(annotations={"e": ""}))
        await store.adapter.append_messages(session.id, [original])
        found = await store.adapter.get_message(session.id, original.id)
        same("an empty message", present("an empty message", found), original)
    same("conversation", await store.texts(session.id), empty)


@clause("SC-SER-005")
async def test_json_stays_what_it_is(store: StoreFixture) -> None:
    session = await store.create_session()
    for name, value in JSON.items():
        await keeps_metadata(store, session.id, name, value)
        metadata = SessionMetadata.model_validate({"custom": {"value": value}, "own": value})
        handoffs = [Handoff(to_agent_id="a", context=value, at=store.tick())]
        await keeps(store, store.new_session(metadata=metadata, handoffs=handoffs))


@clause("SC-SER-006")
async def test_numbers_keep_value_and_kind(store: StoreFixture) -> None:
    session = await store.create_session()
    for name, value in NUMBERS.items():
        await keeps_metadata(store, session.id, name, value)
        await keeps(store, store.new_session(metadata=SessionMetadata(custom={"value": value})))


@clause("SC-SER-007")
async def test_blocks_are_kept_verbatim(store: StoreFixture) -> None:
    session = await store.create_session()
    blocks: list[Any] = [
        {"type": "text", "text": "hello", "cache_control": {"type": "ephemeral"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}},
        {"type": "image_url", "image_url": "https://example.org/x.png"},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}, "extra": None},
        {"type": "vendor.thing", "PK": "x", "nested": [[[]], {"": {}}]},
    ]
    (message,) = await store.append(session.id, blocks)
    found = present("get_message", await store.adapter.get_message(session.id, message.id))
    same("content", found.content, blocks)
    updated = await store.adapter.update_message(session.id, message.id, Patch({"content": blocks[::-1]}))
    same("content after an update", updated.content, blocks[::-1])
    same("conversation", await store.texts(session.id), [blocks[::-1]])


@clause("SC-SER-008")
async def test_times_keep_their_millisecond_and_zone(store: StoreFixture) -> None:
    east = timezone(timedelta(hours=5, minutes=30))
    moment = datetime(2031, 3, 4, 23, 59, 59, 999_000, tzinfo=UTC)
    original = store.new_session(
        created_at=moment.astimezone(east),
        expires_at=moment + timedelta(days=3, milliseconds=1),
        participants=[Participant(id="p", joined_at=moment, left_at=moment + timedelta(milliseconds=7))],
        handoffs=[Handoff(to_agent_id="a", at=moment)],
    )
    await keeps(store, original)
    found = await store.current(original.id)
    for what, value in (("created_at", found.created_at), ("joined_at", found.participants[0].joined_at)):
        same(f"{what} and its offset", (value, str(value.utcoffset())), (moment, "0:00:00"))


@clause("SC-SER-008")
async def test_message_times_keep_their_millisecond(store: StoreFixture) -> None:
    session = await store.create_session()
    moment = store.tick()
    for milliseconds in (0, 1, 999, 1000):
        at = moment + timedelta(milliseconds=milliseconds)
        (message,) = await store.append(session.id, str(milliseconds), at=at, updated_at=at)
        found = present("get_message", await store.adapter.get_message(session.id, message.id))
        same("created_at and updated_at", (found.created_at, found.updated_at), (at, at))


@clause("SC-SER-009")
async def test_session_ids_of_any_text_work(store: StoreFixture) -> None:
    for name in IDS:
        session = await store.create_session(id=name)
        await store.append(session.id, name)
        await store.adapter.update_session(session.id, Patch({"user_id": name, "active_agent_id": name}))
    for name in IDS:
        found = await store.current(name)
        same("session, user and agent id", (found.id, found.user_id, found.active_agent_id), (name, name, name))
        same("its conversation", await store.texts(name), [name])
    for name in IDS:
        await store.check_listing("the user's listing", [name], user_id=name)
        await store.check_listing("the agent's listing", [name], active_agent_id=name)


@clause("SC-SER-009")
async def test_message_ids_of_any_text_work(store: StoreFixture) -> None:
    session = await store.create_session()
    for name in IDS:
        await store.append_with_ids(store.message(session.id, name, id=name))
    for name in IDS:
        found = present(f"message {name[:20]!r}", await store.adapter.get_message(session.id, name))
        same("its id and content", (found.id, found.content), (name, name))
    same("conversation", await store.texts(session.id, limit=5), list(IDS))
    same("after one of them", await store.texts(session.id, after_id=IDS[-2]), [IDS[-1]])
    for name in IDS[::2]:
        await store.adapter.update_message(session.id, name, Patch({"content": "edited"}))
        same("delete_message's answer", await store.adapter.delete_message(session.id, name), True)
    same("conversation", await store.texts(session.id), list(IDS[1::2]))


def spoil(session: Session) -> None:
    """Change everything in a session that can be changed. An empty default is shared by all models, and refuses."""
    session.handoffs.clear()
    for changed in (session.metadata.tags, session.system_message_ids):
        with suppress(TypeError):
            changed.append("spoilt")
    with suppress(TypeError):
        session.metadata.custom["spoilt"] = True
    with suppress(TypeError):
        session.participants.append(Participant(id="spoilt", joined_at=session.created_at))


@clause("SC-SER-010")
async def test_sessions_share_no_state(store: StoreFixture) -> None:
    original = full_session(store)
    before = original.model_copy(deep=True)
    outcome = await store.adapter.create_session(original)
    spoil(original)
    same("the session after its argument was changed", await store.current(original.id), before)
    spoil(outcome)
    spoil(await store.current(original.id))
    listed = await store.adapter.list_sessions(SessionFilter(user_id="user"), limit=1)
    for session in listed:
        spoil(session)
    same("the session after answers were changed", await store.current(original.id), before)


@clause("SC-SER-010")
async def test_updated_sessions_share_no_state(store: StoreFixture) -> None:
    session = await store.create_session(user_id="u")
    metadata = SessionMetadata(tags=["a"])
    spoil(await store.adapter.update_session(session.id, Patch({"metadata": metadata})))
    metadata.tags.append("b")
    before = session.model_copy(update={"metadata": SessionMetadata(tags=["a"]), "version": 2}, deep=True)
    same("the session after its patch and answer were changed", await store.current(session.id), before)
    call = store.adapter.update_session(session.id, Patch({"user_id": "v"}), expected_version=9)
    error = await refused("a stale update", call, ConcurrencyError)
    spoil(present("the session in the error", error.current))
    same("the session after the error's was changed", await store.current(session.id), before)


@clause("SC-SER-011")
async def test_messages_share_no_state(store: StoreFixture) -> None:
    session = await store.create_session()
    original = full_message(store, session.id)
    before = original.model_copy(deep=True)
    appended = await store.adapter.append_messages(session.id, [original])
    answers = [original, *appended.messages, *await store.history(session.id)]
    answers.append(present("get_message", await store.adapter.get_message(session.id, original.id)))
    for message in answers:
        message.metadata.annotations["spoilt"] = True
        message.metadata.tool_calls.clear()
        if isinstance(message.content, list):
            message.content.append({"type": "spoilt"})
    found = present("get_message", await store.adapter.get_message(session.id, original.id))
    same("the message after argument and answers were changed", found, before)
    page = await store.adapter.get_messages(session.id, MessageQuery())
    same_models("the conversation", page, [before])


@clause("SC-SER-011")
async def test_edited_messages_share_no_state(store: StoreFixture) -> None:
    session = await store.create_session()
    (message,) = await store.append(session.id, "x", metadata=full_metadata())
    blocks: list[Any] = [{"type": "text", "text": "new"}]
    answer = await store.adapter.update_message(session.id, message.id, Patch({"content": blocks}))
    blocks.append({"type": "spoilt"})
    answer.metadata.annotations["spoilt"] = True
    expected = message.model_copy(update={"content": [{"type": "text", "text": "new"}]}, deep=True)
    found = present("get_message", await store.adapter.get_message(session.id, message.id))
    same("the message after patch and answer were changed", found, expected)


@clause("SC-SER-011")
async def test_messages_without_metadata_share_no_state(store: StoreFixture) -> None:
    session = await store.create_session()
    stored = await store.append(session.id, "x", "y")
    for message in (*stored, *await store.history(session.id)):
        with suppress(TypeError):  # empty metadata may be one object for many messages if it refuses changes
            message.metadata.annotations["spoilt"] = True
        with suppress(TypeError):
            message.metadata.tool_calls.append(ToolCall(id="spoilt", name="n"))
    for message in await store.history(session.id):
        same("metadata after that of other messages was changed", message.metadata, MessageMetadata())
