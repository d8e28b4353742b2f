"""Messages through the manager: every value comes back as it was, every append happens once, edits keep their place."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from session_continuity import (
    MessageMetadata,
    MessageNotFoundError,
    NewMessage,
    NotSupportedError,
    SessionManager,
    StorageError,
    ThrottledError,
    ToolCall,
    ToolResult,
    UnavailableError,
    ValidationError,
    minted_at,
)

from ..kit.clocks import START, Clock
from ..kit.conversations import REPLY
from ..kit.recording import RecordingAdapter
from .variants import ON_MEMORY, ON_SQLITE, Variant

pytestmark = pytest.mark.on(variant=ON_MEMORY + ON_SQLITE)


def texts(messages: Any) -> list[Any]:
    return [message.content for message in messages]


BLOCKS = [
    {"type": "text", "text": ""},
    {"type": "text", "text": "é\u0000🙂", "cache_control": {"type": "ephemeral"}},
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}},
    {"type": "anything", "n": [1, 2.5, -0.0, 10**30, None, True, {"": ""}], "text": None},
]

CONTENTS = ["", " ", "plain", "é\u00e9\u0301 \u202e 漢字 👩‍👩‍👧", "\n\t\r\u0000\x7f", "x" * 20_000, [], BLOCKS]


@pytest.mark.parametrize("content", CONTENTS, ids=range(len(CONTENTS)))
def test_content_comes_back_as_it_was(manager: SessionManager, content: Any) -> None:
    session = manager.create_session()
    added = manager.add_message(session.id, role="user", content=content)
    assert added.content == content
    assert manager.get_message(session.id, added.id) == added
    assert list(manager.get_messages(session.id)) == [added]
    assert manager.get_conversation_context(session.id) == [added]


METADATA: list[dict[str, Any]] = [
    {},
    {"annotations": {"": None, "deep": [[[{"x": []}]]], "float": 0.1, "big": 2**70}},
    {
        "tool_calls": [
            {"id": "c1", "name": "search", "arguments": '{"q": 1}'},
            {"id": "c2", "name": "", "arguments": {}},
        ]
    },
    {"tool_results": [{"tool_call_id": "c1", "result": None}, {"tool_call_id": "c2", "result": [1], "is_error": True}]},
    {"own": "value", "own_null": None, "ünï": {"k": False}},
]


@pytest.mark.parametrize("metadata", METADATA, ids=range(len(METADATA)))
def test_metadata_comes_back_as_it_was(manager: SessionManager, metadata: dict[str, Any]) -> None:
    session = manager.create_session()
    added = manager.add_message(session.id, role="assistant", content="", metadata=metadata)
    read = manager.get_message(session.id, added.id)
    assert read == added
    assert read.metadata == MessageMetadata.model_validate(metadata)
    for key, value in metadata.items():
        if key not in ("tool_calls", "tool_results"):
            assert read.metadata[key] == value


def test_a_message_says_who_when_and_how_much(manager: SessionManager, clock: Clock) -> None:
    session = manager.create_session()
    clock.advance(seconds=5)
    message = manager.add_message(session.id, role="tool", content="x" * 9)
    assert (message.session_id, message.role, message.token_count) == (session.id, "tool", 3)
    assert (message.created_at, message.updated_at) == (START + timedelta(seconds=5), None)
    assert minted_at(message.id) == message.created_at
    after = manager.get_session(session.id)
    assert (after.message_count, after.token_count, after.last_activity_at) == (1, 3, message.created_at)


def test_messages_come_in_the_order_in_which_they_were_added(manager: SessionManager, clock: Clock) -> None:
    session = manager.create_session()
    for number in range(5):
        manager.add_message(session.id, role="user", content=str(number))
    manager.add_messages(session.id, [{"role": "user", "content": str(number)} for number in range(5, 9)])
    clock.advance(seconds=-30)
    manager.add_message(session.id, role="user", content="9")
    read = manager.get_messages(session.id)
    assert texts(read) == [str(number) for number in range(10)]
    assert [message.created_at for message in read] == sorted(message.created_at for message in read)
    assert sorted(message.id for message in read) == [message.id for message in read]


def test_a_manager_whose_clock_is_behind_appends_at_the_end(
    variant: Variant, store: RecordingAdapter, clock: Clock
) -> None:
    ahead = variant.manager(store)
    session = ahead.create_session()
    first = ahead.add_message(session.id, role="user", content="first")
    clock.advance(minutes=-5)
    behind = variant.manager(store)
    second = behind.add_message(session.id, role="user", content="second")
    chosen = behind.add_message(session.id, role="user", content="third", id="chosen")
    assert texts(ahead.get_messages(session.id)) == ["first", "second", "third"]
    assert first.created_at == second.created_at == chosen.created_at
    assert chosen.id == "chosen"
    assert behind.get_message(session.id, second.id) == second


# Turns


def test_a_turn_is_stored_whole_and_told_as_stored(manager: SessionManager) -> None:
    session = manager.create_session()
    turn: list[Any] = [NewMessage(role="user", content="a"), {"role": "assistant", "content": "b", "token_count": 40}]
    stored = manager.add_messages(session.id, turn)
    assert isinstance(stored, list)
    assert stored == list(manager.get_messages(session.id))
    assert (texts(stored), manager.get_session(session.id).token_count) == (["a", "b"], 41)


def test_a_turn_may_come_from_a_generator(manager: SessionManager) -> None:
    session = manager.create_session()
    manager.add_messages(session.id, ({"role": "user", "content": text} for text in "abc"))
    assert texts(manager.get_messages(session.id)) == ["a", "b", "c"]


def test_a_turn_beyond_the_store_is_refused_before_it_is_asked(variant: Variant, store: RecordingAdapter) -> None:
    store.capabilities = replace(store.capabilities, max_batch=2)
    manager = variant.manager(store)
    session = manager.create_session()
    with pytest.raises(NotSupportedError) as caught:
        manager.add_messages(session.id, [{"role": "user", "content": "x"}] * 3)
    assert (caught.value.backend, "2 at once" in str(caught.value)) == (store.backend, True)
    assert "append_messages" not in store.calls
    manager.add_messages(session.id, [{"role": "user", "content": "x"}] * 2)
    assert manager.get_session(session.id).message_count == 2


# Repeating


def test_the_same_id_stores_a_message_once(manager: SessionManager, clock: Clock) -> None:
    session = manager.create_session()
    first = manager.add_message(session.id, role="user", content="x", id="m é/#")
    clock.advance(minutes=1)
    assert manager.add_message(session.id, role="user", content="x", id="m é/#") == first
    assert manager.get_session(session.id).message_count == 1


def test_a_repeat_counts_after_the_session_closed_or_filled_up(manager: SessionManager) -> None:
    session = manager.create_session(token_budget={"max_tokens": 3, "overflow_strategy": "error"})
    first = manager.add_message(session.id, role="user", content="x" * 12, id="m")
    assert manager.add_message(session.id, role="user", content="x" * 12, id="m") == first
    manager.end_session(session.id)
    assert manager.add_message(session.id, role="user", content="x" * 12, id="m") == first


@pytest.mark.parametrize(
    "other", [{"content": "y"}, {"role": "assistant"}, {"content": [{"type": "text", "text": "x"}]}]
)
def test_the_same_id_with_another_message_is_refused(manager: SessionManager, other: dict[str, Any]) -> None:
    session = manager.create_session()
    first = manager.add_message(session.id, role="user", content="x", id="m")
    with pytest.raises(ValidationError, match="'m'"):
        manager.add_message(session.id, **{"role": "user", "content": "x", "id": "m", **other})
    assert list(manager.get_messages(session.id)) == [first]


def test_a_turn_with_ids_is_stored_once(manager: SessionManager) -> None:
    session = manager.create_session()
    turn = [NewMessage(role="user", content=text, id=text) for text in "abc"]
    first = manager.add_messages(session.id, turn)
    assert manager.add_messages(session.id, turn) == first
    assert list(manager.get_messages(session.id)) == first


def test_part_of_a_turn_stored_before_refuses_the_turn(manager: SessionManager) -> None:
    session = manager.create_session()
    manager.add_messages(session.id, [NewMessage(role="user", content=text, id=text) for text in "ab"])
    for turn in ("abc", "xa"):
        with pytest.raises(ValidationError, match="part of this batch"):
            manager.add_messages(session.id, [NewMessage(role="user", content=text, id=text) for text in turn])
    assert texts(manager.get_messages(session.id)) == ["a", "b"]


@pytest.mark.parametrize("kind", [UnavailableError, ThrottledError])
def test_a_lost_answer_says_whether_the_call_can_be_repeated(
    variant: Variant, store: RecordingAdapter, kind: type[StorageError]
) -> None:
    async def lose(*_: Any, **__: Any) -> None:
        raise kind("the answer was lost", backend="test", operation="append_messages")

    manager = variant.manager(store)
    session = manager.create_session()
    store.after["append_messages"] = lose
    with pytest.raises(kind) as caught:
        manager.add_message(session.id, role="user", content="named", id="m")
    assert not hasattr(caught.value, "__notes__")
    with pytest.raises(kind) as caught:
        manager.add_messages(
            session.id, [NewMessage(role="user", content="x", id="n"), {"role": "user", "content": "y"}]
        )
    assert "pass an `id` for each message: then retrying is safe" in caught.value.__notes__[0]
    del store.after["append_messages"]
    assert manager.add_message(session.id, role="user", content="named", id="m").id == "m"
    assert texts(manager.get_messages(session.id)) == ["named", "x", "y"]


def test_ten_that_race_with_one_id_store_one_message(variant: Variant, manager: SessionManager) -> None:
    session = manager.create_session()
    works = [lambda m: m.add_message(session.id, role="user", content="x", id="m")] * 10
    outcomes = variant.run_together(manager, works)
    assert [outcome.id for outcome in outcomes] == ["m"] * 10
    assert len({outcome.created_at for outcome in outcomes}) == 1
    assert manager.get_session(session.id).message_count == 1


def test_parallel_appends_are_all_there_once(variant: Variant, manager: SessionManager) -> None:
    session = manager.create_session()
    works = [
        lambda m, n=number: m.add_messages(session.id, [{"role": "user", "content": f"{n}-{part}"} for part in "ab"])
        for number in range(12)
    ]
    outcomes = variant.run_together(manager, works)
    read = texts(manager.get_messages(session.id))
    assert sorted(read) == sorted(f"{n}-{part}" for n in range(12) for part in "ab")
    assert [first[:-2] for first in read[::2]] == [second[:-2] for second in read[1::2]]
    assert all(len(outcome) == 2 for outcome in outcomes)
    after = manager.get_session(session.id)
    assert (after.message_count, after.token_count) == (24, sum((len(text) + 3) // 4 for text in read))


# Reading


@pytest.fixture
def spoken(manager: SessionManager, clock: Clock) -> tuple[SessionManager, str]:
    """Six messages a minute apart with the ids m0 to m5, user and assistant in turn, system first."""
    session = manager.create_session()
    for number in range(6):
        role = "system" if number == 0 else ("user" if number % 2 else "assistant")
        manager.add_message(session.id, role=role, content=str(number), id=f"m{number}")  # type: ignore[arg-type]
        clock.advance(minutes=1)
    return manager, session.id


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, "012345"),
        ({"order": "desc"}, "543210"),
        ({"limit": 2}, "01"),
        ({"limit": 2, "order": "desc"}, "54"),
        ({"roles": "user"}, "135"),
        ({"roles": ["system", "assistant"], "limit": 2}, "02"),
        ({"roles": frozenset()}, ""),
        ({"after": "m1"}, "2345"),
        ({"before": "m3"}, "012"),
        ({"after": "m1", "before": "m4"}, "23"),
        ({"after": "m1", "order": "desc", "limit": 1}, "5"),
        ({"after": START + timedelta(minutes=2)}, "345"),
        ({"before": START + timedelta(minutes=2), "order": "desc"}, "10"),
        ({"after": START + timedelta(minutes=0.5), "before": "m4", "roles": "user"}, "13"),
        ({"after": "m5"}, ""),
    ],
)
def test_a_query_meets_every_condition(
    spoken: tuple[SessionManager, str], query: dict[str, Any], expected: str
) -> None:
    manager, session_id = spoken
    assert "".join(texts(manager.get_messages(session_id, **query))) == expected
    assert "".join(texts(manager.iter_messages(session_id, **query))) == expected


def test_a_page_leads_to_the_next_one_of_the_same_query_only(spoken: tuple[SessionManager, str]) -> None:
    manager, session_id = spoken
    page = manager.get_messages(session_id, order="desc", limit=4)
    assert (len(page), page[0].id, page[-1].id, page[1:2][0].id) == (4, "m5", "m2", "m4")
    rest = manager.get_messages(session_id, order="desc", limit=4, cursor=page.next_cursor)
    assert (texts(rest), rest.next_cursor) == (["1", "0"], None)
    with pytest.raises(ValidationError, match="cursor"):
        manager.get_messages(session_id, order="asc", limit=4, cursor=page.next_cursor)


@pytest.mark.parametrize("bound", ["after", "before"])
def test_a_bound_that_is_no_message_is_said(spoken: tuple[SessionManager, str], bound: str) -> None:
    manager, session_id = spoken
    with pytest.raises(MessageNotFoundError) as caught:
        manager.get_messages(session_id, **{bound: "ghost"})  # type: ignore[arg-type]
    assert (caught.value.session_id, caught.value.message_id) == (session_id, "ghost")


# Editing


def test_an_edit_changes_what_it_names_and_keeps_the_place(spoken: tuple[SessionManager, str], clock: Clock) -> None:
    manager, session_id = spoken
    before = manager.get_message(session_id, "m2")
    edited = manager.update_message(session_id, "m2", content="y" * 40)
    assert edited == before.model_copy(update={"content": "y" * 40, "token_count": 10, "updated_at": clock.now})
    assert manager.get_message(session_id, "m2") == edited
    assert texts(manager.get_messages(session_id)) == ["0", "1", "y" * 40, "3", "4", "5"]
    after = manager.get_session(session_id)
    assert (after.token_count, after.message_count, after.version) == (15, 6, 1)


def test_an_edit_counts_content_and_metadata_together(manager: SessionManager) -> None:
    session = manager.create_session()
    call = ToolCall(id="c", name="f" * 4, arguments="x" * 8)
    message = manager.add_message(
        session.id, role="assistant", content="x" * 4, metadata=MessageMetadata(tool_calls=[call])
    )
    assert message.token_count == 1 + 1 + 2
    assert manager.update_message(session.id, message.id, content="x" * 8).token_count == 2 + 3
    assert manager.update_message(session.id, message.id, metadata=None).token_count == 2
    assert manager.update_message(session.id, message.id, content="x" * 80, token_count=1).token_count == 1
    assert manager.update_message(session.id, message.id, role="user").token_count == 1
    assert manager.update_message(session.id, message.id, content="x" * 4, token_count=None).token_count == 1
    manager.update_message(session.id, message.id, token_count=9)
    recounted = manager.update_message(session.id, message.id, token_count=None)
    assert (recounted.token_count, manager.get_session(session.id).token_count) == (1, 1)


def test_an_edit_to_or_from_system_is_seen_by_the_context(manager: SessionManager) -> None:
    session = manager.create_session(token_budget={"max_tokens": 2 + REPLY})
    ids = [manager.add_message(session.id, role="user", content="xxxx").id for _ in range(4)]
    manager.update_message(session.id, ids[0], role="system")
    assert [m.id for m in manager.get_conversation_context(session.id)] == [ids[0], ids[3]]
    manager.update_message(session.id, ids[0], role="user")
    assert [m.id for m in manager.get_conversation_context(session.id)] == ids[2:]


def test_a_deleted_message_is_gone_and_the_totals_follow(spoken: tuple[SessionManager, str]) -> None:
    manager, session_id = spoken
    manager.delete_message(session_id, "m0")
    manager.delete_message(session_id, "m3")
    assert texts(manager.get_messages(session_id)) == ["1", "2", "4", "5"]
    after = manager.get_session(session_id)
    assert (after.message_count, after.token_count, after.system_message_ids) == (4, 4, [])
    for call in (manager.get_message, manager.delete_message):
        with pytest.raises(MessageNotFoundError):
            call(session_id, "m3")
    with pytest.raises(MessageNotFoundError):
        manager.update_message(session_id, "m3", content="x")


def test_deleting_all_messages_leaves_the_session(spoken: tuple[SessionManager, str]) -> None:
    manager, session_id = spoken
    assert manager.delete_all_messages(session_id) == 6
    assert manager.delete_all_messages(session_id) == 0
    after = manager.get_session(session_id)
    assert (after.message_count, after.token_count, list(manager.get_messages(session_id))) == (0, 0, [])
    manager.add_message(session_id, role="user", content="again", id="m0")
    assert texts(manager.get_messages(session_id)) == ["again"]


def test_messages_of_one_session_are_not_those_of_another(manager: SessionManager) -> None:
    ours, theirs = manager.create_session().id, manager.create_session().id
    for session_id, text in ((ours, "ours"), (theirs, "theirs")):
        manager.add_message(session_id, role="user", content=text, id="same")
    stranger = manager.add_message(theirs, role="user", content="x")
    for call in (
        lambda: manager.get_message(ours, stranger.id),
        lambda: manager.update_message(ours, stranger.id, content="y"),
        lambda: manager.delete_message(ours, stranger.id),
    ):
        with pytest.raises(MessageNotFoundError):
            call()
    manager.delete_message(ours, "same")
    assert texts(manager.get_messages(theirs)) == ["theirs", "x"]


def test_what_a_caller_holds_of_a_message_is_no_way_into_the_store(manager: SessionManager) -> None:
    session = manager.create_session()
    blocks: list[dict[str, Any]] = [{"type": "text", "text": "a"}]
    annotations = {"k": [1]}
    results = [ToolResult(tool_call_id="c")]
    new = NewMessage(
        role="user",
        content=[{"type": "text", "text": "b"}],
        metadata=MessageMetadata(annotations={"k": [1]}, tool_results=results),
    )
    first = manager.add_message(
        session.id, role="user", content=blocks, metadata={"annotations": annotations, "tool_results": results}
    )
    second = manager.add_messages(session.id, [new])[0]
    expected = [message.model_copy(deep=True) for message in (first, second)]
    blocks[0]["text"] = "changed"
    blocks.append({"type": "text", "text": "more"})
    annotations["k"].append(2)
    for held in (first, second, new, manager.get_message(session.id, first.id), manager.get_messages(session.id)[1]):
        held.content.append({"type": "text", "text": "more"})  # type: ignore[union-attr]
        held.metadata.annotations["k"].append(3)  # type: ignore[union-attr]
        held.metadata.tool_results.append(ToolResult(tool_call_id="x"))
    assert list(manager.get_messages(session.id)) == expected
    changed = [{"type": "text", "text": "edit"}]
    edited = manager.update_message(session.id, first.id, content=changed)
    changed.clear()
    edited.content.clear()  # type: ignore[union-attr]
    assert texts(manager.get_messages(session.id))[0] == [{"type": "text", "text": "edit"}]
