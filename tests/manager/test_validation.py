"""Input that is wrong is refused with one typed error that names the field, echoes no content, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from enum import Enum, IntEnum, StrEnum
from functools import partial
from types import MappingProxyType
from typing import Any

import pytest

from session_continuity import (
    AgentHandoff,
    AsyncSessionManager,
    ConfigError,
    MessageMetadata,
    NewMessage,
    Participant,
    SessionManager,
    SessionNotFoundError,
    TokenBudget,
    ValidationError,
)

from ..kit.recording import RecordingAdapter
from .variants import Variant

pytestmark = pytest.mark.on(variant=("blocking-memory", "async-memory"))

CANARY = "s3cr3t-canary"
BEFORE_THE_FIRST_YEAR = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))


def nested(levels: int) -> Any:
    value: Any = CANARY
    for _ in range(levels):
        value = [value]
    return value


BAD_MESSAGES: dict[str, tuple[str, dict[str, Any]]] = {
    "unknown role": ("role", {"role": CANARY}),
    "role of another type": ("role", {"role": 5}),
    "no content": ("content", {"content": None}),
    "content of another type": ("content", {"content": 5.5}),
    "lone surrogate": ("content", {"content": CANARY + "\ud800"}),
    "block without type": ("content", {"content": [{"text": CANARY}]}),
    "text block without text": ("content", {"content": [{"type": "text", "body": CANARY}]}),
    "block that is no object": ("content", {"content": [CANARY]}),
    "surrogate in a block": ("content", {"content": [{"type": "text", "text": CANARY + "\udfff"}]}),
    "metadata that is no object": ("metadata", {"metadata": CANARY}),
    "metadata that is no JSON": ("metadata.x", {"metadata": {"x": object()}}),
    "not a number": ("metadata.x", {"metadata": {"x": float("nan")}}),
    "infinity in annotations": ("metadata.annotations", {"metadata": {"annotations": {"x": float("inf")}}}),
    "surrogate in metadata": ("metadata.x", {"metadata": {"x": {"y": [CANARY + "\ud800"]}}}),
    "nested too deeply": ("metadata.x", {"metadata": {"x": nested(300)}}),
    "tool call without name": ("metadata.tool_calls.0.name", {"metadata": {"tool_calls": [{"id": CANARY}]}}),
    "tool result without id": ("tool_call_id", {"metadata": {"tool_results": [{"result": CANARY}]}}),
    "negative count": ("token_count", {"token_count": -1}),
    "broken count": ("token_count", {"token_count": 1.5}),
    "text for a count": ("token_count", {"token_count": "3"}),
    "truth for a count": ("token_count", {"token_count": True}),
    "bytes for content": ("content", {"content": CANARY.encode()}),
    "bytes for the arguments of a call": (
        "tool_calls.0.arguments",
        {"metadata": {"tool_calls": [{"id": "c", "name": "f", "arguments": CANARY.encode()}]}},
    ),
    "text for truth": (
        "tool_results.0.is_error",
        {"metadata": {"tool_results": [{"tool_call_id": "c", "is_error": "no"}]}},
    ),
    "more tokens than a message has": ("token_count", {"token_count": 2**31 + 1}),
    "empty id": ("id", {"id": ""}),
    "id of another type": ("id", {"id": 5}),
    "id in bytes": ("id", {"id": CANARY.encode()}),
    "id too long": ("id", {"id": CANARY + "é" * 128}),
    "id with a lone surrogate": ("id", {"id": CANARY + "\ud800"}),
}


def refusal(work: Callable[[], object]) -> str:
    """The message of the ValidationError that this work raises; it is short, echoes nothing and chains nothing."""
    with pytest.raises(ValidationError) as caught:
        work()
    message = str(caught.value)
    assert CANARY not in message
    assert "function-after" not in message
    assert len(message) < 400
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or CANARY not in str(caught.value.__context__)
    return message


@pytest.mark.parametrize("fault", BAD_MESSAGES)
def test_a_bad_message_is_refused_by_the_name_of_its_field(
    manager: SessionManager, store: RecordingAdapter, fault: str
) -> None:
    session = manager.create_session()
    field, wrong = BAD_MESSAGES[fault]
    good: dict[str, Any] = {"role": "user", "content": "hello"}
    assert field in refusal(lambda: manager.add_message(session.id, **{**good, **wrong}))
    named = refusal(lambda: manager.add_messages(session.id, [good, {**good, **wrong}]))
    assert "messages.1." in named
    assert field in named
    assert "append_messages" not in store.calls
    assert manager.get_session(session.id) == session


@pytest.mark.parametrize("fault", [fault for fault in BAD_MESSAGES if "id" not in BAD_MESSAGES[fault][1]])
def test_a_bad_edit_is_refused_and_the_message_stays(
    manager: SessionManager, store: RecordingAdapter, fault: str
) -> None:
    session = manager.create_session()
    message = manager.add_message(session.id, role="user", content="hello")
    field, wrong = BAD_MESSAGES[fault]
    assert field in refusal(lambda: manager.update_message(session.id, message.id, **wrong))
    assert "update_message" not in store.calls
    assert manager.get_message(session.id, message.id) == message


@pytest.mark.parametrize("turn", [CANARY, None, 5, {"role": "user", "content": CANARY}, [CANARY], [None], []])
def test_a_turn_is_a_sequence_of_messages(manager: SessionManager, store: RecordingAdapter, turn: Any) -> None:
    session = manager.create_session()
    refusal(lambda: manager.add_messages(session.id, turn))
    assert "append_messages" not in store.calls


@pytest.mark.parametrize("key", ["tool_calls", "tool_call_id", "function_call"])
def test_a_chat_that_is_not_converted_is_told_the_way(
    manager: SessionManager, store: RecordingAdapter, key: str
) -> None:
    session = manager.create_session()
    chat = [{"role": "user", "content": "x"}, {"role": "assistant", "content": None, key: CANARY}]
    told = refusal(lambda: manager.add_messages(session.id, chat))
    assert told == f"messages.1: {key} belongs to the OpenAI chat format; convert the chat with from_openai"
    assert "append_messages" not in store.calls


def test_a_turn_with_one_id_twice_is_refused(manager: SessionManager, store: RecordingAdapter) -> None:
    session = manager.create_session()
    twice = [NewMessage(role="user", content=text, id="m") for text in ("a", "b")]
    assert "same id" in refusal(lambda: manager.add_messages(session.id, twice))
    assert "append_messages" not in store.calls


def test_texts_and_numbers_of_enumerations_serve_as_what_they_are(manager: SessionManager) -> None:
    class Speaker(StrEnum):
        USER = "user"

    class Tokens(IntEnum):
        THREE = 3

    session = manager.create_session(user_id=Speaker.USER)
    message = manager.add_message(session.id, role=Speaker.USER, content=Speaker.USER, token_count=Tokens.THREE)  # type: ignore[arg-type]
    stored = manager.get_message(session.id, message.id)
    assert [type(value) for value in (session.user_id, stored.role, stored.content, stored.token_count)] == [
        str,
        str,
        str,
        int,
    ]


def test_a_query_by_members_of_enumerations_reaches_the_store_as_plain_texts(
    manager: SessionManager, store: RecordingAdapter
) -> None:
    class Word(str, Enum):  # noqa: UP042  # formats as its name and not as its text, which is what matters here
        AGENT = "refunds"
        ACTIVE = "active"
        USER = "user"

    asked: list[Any] = []

    async def note(*arguments: Any, **_: Any) -> None:
        asked.extend(arguments)

    session = manager.create_session(user_id=Word.USER, active_agent_id=Word.AGENT, metadata={"tags": [Word.AGENT]})
    message = manager.add_message(session.id, role="user", content="x", id=Word.USER)
    store.before.update(list_sessions=note, get_messages=note)
    found = manager.list_sessions(
        user_id=Word.USER,
        active_agent_id=Word.AGENT,
        status=Word.ACTIVE,  # type: ignore[arg-type]  # a text none the less
        tags=Word.AGENT,
    )
    assert list(manager.get_messages(session.id, roles=[Word.USER], before=Word.USER)) == []  # type: ignore[list-item]
    wanted, _, query = asked
    texts = [wanted.user_id, wanted.active_agent_id, wanted.status, *wanted.tags, *query.roles, query.before_id]
    assert {type(text) for text in texts} == {str}
    assert ([session.id for session in found], message.id) == ([session.id], "user")
    handed: list[AgentHandoff] = []
    manager.on(AgentHandoff, handed.append)
    manager.handoff_to_agent(session.id, Word.USER)
    assert type(handed[0].to_agent_id) is str


def test_any_mapping_serves_where_fields_are_given(manager: SessionManager) -> None:
    session = manager.create_session(
        metadata=MappingProxyType({"title": "t"}), participants=[MappingProxyType({"id": "p"})]
    )
    stored = manager.add_messages(
        session.id,
        [MappingProxyType({"role": "user", "content": "x", "metadata": MappingProxyType({"k": 1})})],
    )
    assert (session.metadata.title, session.participants[0].id, stored[0].metadata["k"]) == ("t", "p", 1)


BAD_SESSIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "id of another type": ("id", {"id": 5}),
    "empty id": ("id", {"id": ""}),
    "empty user": ("user_id", {"user_id": ""}),
    "agent of another type": ("active_agent_id", {"active_agent_id": 5}),
    "tags as one text": ("metadata.tags", {"metadata": {"tags": CANARY}}),
    "one text for participants": ("participants", {"participants": CANARY}),
    "a number for participants": ("participants", {"participants": 5}),
    "a participant twice": ("participants", {"participants": [CANARY, CANARY]}),
    "participant without id": ("id: ", {"participants": [{"role": "user"}]}),
    "participant with unknown role": ("role", {"participants": [{"id": "p", "role": CANARY}]}),
    "naive joining time": ("joined_at", {"participants": [{"id": "p", "joined_at": "2025-01-01T00:00:00"}]}),
    "user in bytes": ("user_id", {"user_id": CANARY.encode()}),
    "tag in bytes": ("metadata.tags", {"metadata": {"tags": [CANARY.encode()]}}),
    "joining time as a number": ("joined_at", {"participants": [{"id": "p", "joined_at": 1_700_000_000}]}),
    "empty budget": ("token_budget.max_tokens", {"token_budget": {}}),
    "budget as text": ("token_budget.max_tokens", {"token_budget": {"max_tokens": "300"}}),
    "budget as truth": ("token_budget.max_tokens", {"token_budget": {"max_tokens": True}}),
    "target as text": ("target_tokens", {"compression": {"strategy": "sliding_window", "target_tokens": "3"}}),
    "budget of another type": ("token_budget", {"token_budget": 5.5}),
    "reserve that takes all": ("token_budget", {"token_budget": {"max_tokens": 5, "reserve_tokens": 5}}),
    "unknown strategy of overflow": (
        "overflow_strategy",
        {"token_budget": {"max_tokens": 5, "overflow_strategy": CANARY}},
    ),
    "compression without strategy": ("compression.strategy", {"compression": {}}),
    "unknown strategy of compression": ("compression: no", {"compression": {"strategy": CANARY}}),
    "strategy with words and no summarizer": ("give the manager a summarizer", {"compression": "summarization"}),
    "second participant": ("participants.1.role", {"participants": ["p", {"id": "q", "role": CANARY}]}),
    "no time to live": ("ttl", {"ttl": 0}),
    "negative time to live": ("ttl", {"ttl": -1}),
    "time to live of another type": ("ttl", {"ttl": "60"}),
    "endless time to live": ("ttl", {"ttl": float("inf")}),
}


@pytest.mark.parametrize("fault", BAD_SESSIONS)
def test_a_bad_session_is_refused_by_the_name_of_its_field(
    manager: SessionManager, store: RecordingAdapter, fault: str
) -> None:
    field, wrong = BAD_SESSIONS[fault]
    assert field in refusal(lambda: manager.create_session(**wrong))
    assert "create_session" not in store.calls


BAD_CHANGES: dict[str, tuple[str, dict[str, Any]]] = {
    "nothing": ("no change", {}),
    "unknown field": ("no_such_field", {"no_such_field": CANARY}),
    "the id": ("cannot change id", {"id": CANARY}),
    "the version": ("cannot change version", {"version": 3}),
    "totals": ("message_count, token_count", {"token_count": 3, "message_count": 4}),
    "status": ("status", {"status": CANARY}),
    "a participant twice": ("participants", {"participants": [CANARY, {"id": CANARY}]}),
    "expiry as a number of seconds": ("expires_at", {"expires_at": 3600}),
    "expiry as a number in a text": ("expires_at", {"expires_at": "1893456000"}),
    "expiry in bytes": ("expires_at", {"expires_at": b"2030-01-01T00:00:00Z"}),
    "sliding time as text": ("sliding_ttl", {"sliding_ttl": "60"}),
    "sliding time without an end": ("sliding_ttl", {"sliding_ttl": 1e300}),
    "sliding time as truth": ("sliding_ttl", {"sliding_ttl": True}),
    "naive expiry": ("expires_at", {"expires_at": "2025-01-01T00:00:00"}),
    "too many handoffs": ("handoffs", {"handoffs": [{"to_agent_id": "a", "at": "2025-01-01T00:00:00Z"}] * 21}),
    "unknown strategy of compression": ("there are hybrid, micro, sliding_window", {"compression": CANARY}),
    "strategy with words and no summarizer": ("give the manager a summarizer", {"compression": "hybrid"}),
    "expected version as text": ("expected_version", {"expected_version": "1", "user_id": "u"}),
    "expected version as truth": ("expected_version", {"expected_version": True, "user_id": "u"}),
}


@pytest.mark.parametrize("fault", BAD_CHANGES)
def test_a_bad_change_of_a_session_is_refused_and_it_stays(
    manager: SessionManager, store: RecordingAdapter, fault: str
) -> None:
    session = manager.create_session()
    field, wrong = BAD_CHANGES[fault]
    assert field in refusal(lambda: manager.update_session(session.id, **wrong))
    assert "update_session" not in store.calls
    assert manager.get_session(session.id) == session


@pytest.mark.parametrize("wrong", [{}, {"role": None}, {"content": None}, {"created_at": 5}, {"id": "other"}])
def test_what_a_message_is_cannot_be_cleared_or_changed(manager: SessionManager, wrong: dict[str, Any]) -> None:
    session = manager.create_session()
    message = manager.add_message(session.id, role="user", content="hello")
    refusal(lambda: manager.update_message(session.id, message.id, **wrong))
    assert manager.get_message(session.id, message.id) == message


BAD_IDS = {"empty": "", "number": 5, "nothing": None, "bytes": b"x", "long": "é" * 129, "surrogate": "\ud800"}

WITH_SESSION_ID: dict[str, Callable[[SessionManager, Any], object]] = {
    "get_session": lambda m, bad: m.get_session(bad),
    "update_session": lambda m, bad: m.update_session(bad, user_id="u"),
    "end_session": lambda m, bad: m.end_session(bad),
    "delete_session": lambda m, bad: m.delete_session(bad),
    "add_message": lambda m, bad: m.add_message(bad, role="user", content="x"),
    "add_messages": lambda m, bad: m.add_messages(bad, [{"role": "user", "content": "x"}]),
    "get_message": lambda m, bad: m.get_message(bad, "m"),
    "get_messages": lambda m, bad: m.get_messages(bad),
    "iter_messages": lambda m, bad: list(m.iter_messages(bad)),
    "update_message": lambda m, bad: m.update_message(bad, "m", content="x"),
    "delete_message": lambda m, bad: m.delete_message(bad, "m"),
    "delete_all_messages": lambda m, bad: m.delete_all_messages(bad),
    "get_conversation_context": lambda m, bad: m.get_conversation_context(bad),
    "get_conversation_context_with_stats": lambda m, bad: m.get_conversation_context_with_stats(bad),
    "compress_context": lambda m, bad: m.compress_context(bad, "sliding_window"),
    "add_participant": lambda m, bad: m.add_participant(bad, "p"),
    "remove_participant": lambda m, bad: m.remove_participant(bad, "p"),
    "get_participants": lambda m, bad: m.get_participants(bad),
    "handoff_to_agent": lambda m, bad: m.handoff_to_agent(bad, "a"),
}

WITH_ANOTHER_ID: dict[str, tuple[str, Callable[[SessionManager, str, Any], object]]] = {
    "get_message": ("message_id", lambda m, s, bad: m.get_message(s, bad)),
    "update_message": ("message_id", lambda m, s, bad: m.update_message(s, bad, content="x")),
    "delete_message": ("message_id", lambda m, s, bad: m.delete_message(s, bad)),
    "remove_participant": ("participant_id", lambda m, s, bad: m.remove_participant(s, bad)),
    "handoff_to_agent": ("agent_id", lambda m, s, bad: m.handoff_to_agent(s, bad)),
}


@pytest.mark.parametrize("method", WITH_SESSION_ID)
def test_what_cannot_be_a_session_id_never_reaches_the_store(
    manager: SessionManager, store: RecordingAdapter, method: str
) -> None:
    for bad in BAD_IDS.values():
        assert "session_id" in refusal(partial(WITH_SESSION_ID[method], manager, bad))
    assert set(store.calls) <= {"setup"}


@pytest.mark.parametrize("method", WITH_SESSION_ID)
def test_every_method_says_that_a_session_is_missing(manager: SessionManager, method: str) -> None:
    with pytest.raises(SessionNotFoundError) as caught:
        WITH_SESSION_ID[method](manager, "ghost")
    assert caught.value.session_id == "ghost"
    assert "ghost" in str(caught.value)
    assert len(manager.list_sessions()) == 0


@pytest.mark.parametrize("method", WITH_ANOTHER_ID)
def test_what_cannot_be_an_id_is_refused_by_its_parameter(
    manager: SessionManager, store: RecordingAdapter, method: str
) -> None:
    session = manager.create_session()
    name, call = WITH_ANOTHER_ID[method]
    for bad in BAD_IDS.values():
        assert name in refusal(partial(call, manager, session.id, bad))
    assert set(store.calls) == {"setup", "create_session"}


BAD_QUERIES: dict[str, tuple[str, Callable[[Any, str], object]]] = {
    "limit 0": ("limit", lambda m, s: m.get_messages(s, limit=0)),
    "negative limit": ("limit", lambda m, s: m.get_messages(s, limit=-1)),
    "limit as truth": ("limit", lambda m, s: m.get_messages(s, limit=True)),
    "limit as text": ("limit", lambda m, s: m.get_messages(s, limit="5")),
    "order": ("order", lambda m, s: m.get_messages(s, order=CANARY)),
    "role": ("roles", lambda m, s: m.get_messages(s, roles=CANARY)),
    "roles of another type": ("roles", lambda m, s: m.get_messages(s, roles=5)),
    "roles that are lists": ("roles", lambda m, s: m.get_messages(s, roles=[[]])),
    "naive after": ("after", lambda m, s: m.get_messages(s, after=datetime(2025, 1, 1))),
    "before of another type": ("before", lambda m, s: m.get_messages(s, before=5)),
    "after before the first year": ("after", lambda m, s: m.get_messages(s, after=BEFORE_THE_FIRST_YEAR)),
    "empty id": ("after", lambda m, s: m.get_messages(s, after="")),
    "cursor of another type": ("cursor", lambda m, s: m.get_messages(s, cursor=5)),
    "broken cursor": ("cursor", lambda m, s: m.get_messages(s, cursor=CANARY)),
    "sessions: limit 0": ("limit", lambda m, _: m.list_sessions(limit=0)),
    "sessions: status": ("status", lambda m, _: m.list_sessions(status=CANARY)),
    "sessions: user": ("user_id", lambda m, _: m.list_sessions(user_id=5)),
    "sessions: agent": ("active_agent_id", lambda m, _: m.list_sessions(active_agent_id="")),
    "sessions: tags": ("tags", lambda m, _: m.list_sessions(tags=5)),
    "sessions: tags of numbers": ("tags", lambda m, _: m.list_sessions(tags=[5])),
    "sessions: tag with a lone surrogate": ("tags", lambda m, _: m.list_sessions(tags=[CANARY + "\ud800"])),
    "sessions: time": ("created_after", lambda m, _: m.list_sessions(created_after="2025")),
    "sessions: time before the first year": (
        "created_before",
        lambda m, _: m.list_sessions(created_before=BEFORE_THE_FIRST_YEAR),
    ),
    "sessions: order": ("order", lambda m, _: m.list_sessions(order=CANARY)),
    "sessions: title": ("title", lambda m, _: m.list_sessions(title=5)),
    "sessions: empty title": ("title", lambda m, _: m.list_sessions(title="")),
    "sessions: title with a lone surrogate": ("title", lambda m, _: m.list_sessions(title=CANARY + "\ud800")),
    "sessions: after": ("after_id", lambda m, _: m.list_sessions(after_id=5)),
    "sessions: after and cursor": ("after_id", lambda m, s: m.list_sessions(after_id=s, cursor=CANARY)),
    "search: text": ("text", lambda m, _: m.search_messages(5)),
    "search: no text": ("text", lambda m, _: m.search_messages(None)),
    "search: no word": ("text", lambda m, _: m.search_messages("* -")),
    "search: user": ("user_id", lambda m, _: m.search_messages("x", user_id=5)),
    "search: limit": ("limit", lambda m, _: m.search_messages("x", limit=0)),
    "recent sessions: user": ("user_id", lambda m, _: m.recent_sessions(5)),
    "recent sessions: limit": ("limit", lambda m, _: m.recent_sessions("u", limit=0)),
    "sessions: cursor": ("cursor", lambda m, _: m.list_sessions(cursor=5)),
    "iterate: limit": ("limit", lambda m, s: list(m.iter_messages(s, limit=0))),
    "iterate: role": ("roles", lambda m, s: list(m.iter_messages(s, roles=5))),
    "iterate sessions: limit": ("limit", lambda m, _: list(m.iter_sessions(limit=0))),
    "iterate sessions: status": ("status", lambda m, _: list(m.iter_sessions(status=CANARY))),
    "event": ("event", lambda m, _: m.on(CANARY, print)),
    "event class": ("event", lambda m, _: m.on(int, print)),
    "handler": ("handler", lambda m, _: m.on("error", CANARY)),
    "handed-over context": ("context", lambda m, s: m.handoff_to_agent(s, "a", context=object())),
    "reason": ("reason", lambda m, s: m.handoff_to_agent(s, "a", reason=5)),
    "participant": ("Participant", lambda m, s: m.add_participant(s, 5)),
    "role of a participant": ("role", lambda m, s: m.add_participant(s, "p", role=CANARY)),
    "metadata of a participant": ("metadata", lambda m, s: m.add_participant(s, "p", metadata=[])),
    "role beside a participant": ("role", lambda m, s: m.add_participant(s, {"id": "p"}, role="agent")),
    "metadata beside one": ("metadata", lambda m, s: m.add_participant(s, {"id": "p"}, metadata={"k": 1})),
    "strategy of another type": ("strategy", lambda m, s: m.compress_context(s, 5)),
}


@pytest.mark.parametrize("fault", BAD_QUERIES)
def test_a_bad_argument_is_refused_by_its_name(manager: SessionManager, fault: str) -> None:
    session = manager.create_session()
    name, call = BAD_QUERIES[fault]
    assert name in refusal(lambda: call(manager, session.id))
    assert manager.get_session(session.id) == session


BAD_OPTIONS: dict[str, dict[str, Any]] = {
    "expiry": {"expiry": CANARY},
    "sliding expiry needs a ttl": {"expiry": "sliding"},
    "ttl": {"ttl": 0},
    "cleanup_interval": {"cleanup_interval": 0},
    "image_token_cost": {"image_token_cost": -1},
    "image_token_cost ": {"image_token_cost": "5"},
    "file_token_cost": {"file_token_cost": -1},
    "context": {"context": {"max_turns": 0}},
    "context.system": {"context": {"system": CANARY}},
    "context.unknown": {"context": {"unknown": 1}},
    "summarizer_timeout": {"summarizer_timeout": 0},
    "summarizer_pause": {"summarizer_pause": "1"},
    "token_counter": {"token_counter": 5},
    "summarizer": {"summarizer": 5},
    "token_budget": {"token_budget": {}},
    "token_budget ": {"token_budget": {"max_tokens": "300"}},
    "compression": {"compression": {}},
    "there are hybrid, micro, sliding_window, summarization": {"compression": CANARY},
    "give the manager a summarizer": {"compression": "hybrid"},
}


@pytest.mark.parametrize("fault", BAD_OPTIONS)
def test_a_manager_with_a_bad_option_is_never_made(variant: Variant, store: RecordingAdapter, fault: str) -> None:
    for make in (variant.open, lambda **options: variant.manager(store, **options)):
        with pytest.raises((ConfigError, ValidationError)) as caught:
            make(**BAD_OPTIONS[fault])
        assert CANARY not in str(caught.value)
        assert fault.strip() in str(caught.value)
    assert store.calls == []


@pytest.mark.parametrize("storage", ["memory://", None, 5])
@pytest.mark.parametrize("kind", [SessionManager, AsyncSessionManager])
def test_what_is_no_storage_is_refused_with_the_way_to_open_one(kind: Any, storage: Any) -> None:
    with pytest.raises(ConfigError, match="open"):
        kind(storage)


def test_a_list_of_one_role_is_as_good_as_the_role(manager: Any) -> None:
    session = manager.create_session()
    manager.add_messages(session.id, [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])
    by_text = manager.get_messages(session.id, roles="user")
    by_list = manager.get_messages(session.id, roles=(role for role in ["user"]))
    assert [m.content for m in by_text] == [m.content for m in by_list] == ["a"]


def test_models_serve_where_fields_are_given(manager: SessionManager) -> None:
    joined = manager.create_session().created_at
    session = manager.create_session(participants=[Participant(id="p", joined_at=joined), "q"])
    metadata = MessageMetadata.model_validate({"k": [1]})
    message = manager.add_message(session.id, role="user", content="x", metadata=metadata)
    assert [p.id for p in session.participants] == ["p", "q"]
    assert message.metadata == metadata


def test_role_and_content_work_by_place(manager: SessionManager) -> None:
    session = manager.create_session()
    message = manager.add_message(session.id, "user", "hello")
    assert (message.role, message.content) == ("user", "hello")


def test_a_number_serves_as_a_token_budget(variant: Variant, store: RecordingAdapter, manager: SessionManager) -> None:
    budget = TokenBudget(max_tokens=4000)
    session = manager.create_session(token_budget=4000)
    assert session.token_budget == budget
    assert manager.update_session(session.id, token_budget=4000).token_budget == budget
    assert variant.manager(store, token_budget=4000).create_session().token_budget == budget


def test_none_means_the_default_by_key_as_by_place(manager: SessionManager) -> None:
    session = manager.create_session(
        id=None, user_id=None, metadata=None, participants=None, token_budget=None, compression=None, ttl=None
    )
    nothing: dict[str, Any] = {"metadata": None, "token_count": None, "id": None}
    by_place = manager.add_message(session.id, "user", "x", **nothing)
    [by_key] = manager.add_messages(session.id, [{"role": "user", "content": "x", **nothing}])
    assert (by_key.metadata, by_key.token_count) == (by_place.metadata, by_place.token_count)
    fields = {"id": "p", "role": None, "metadata": None, "joined_at": None, "left_at": None}
    person = manager.create_session(participants=[fields]).participants[0]
    assert (person.role, person.metadata, person.left_at) == ("user", {}, None)


@pytest.mark.parametrize(
    ("said", "call"),
    [
        ("role: 'human' is called 'user' here", lambda m, s: m.add_message(s, role="human", content="x")),
        (
            "messages.0.role: 'ai' is called 'assistant' here; messages.0.content: is required",
            lambda m, s: m.add_messages(s, [{"role": "ai"}]),
        ),
        ("role: 'bot' is called 'agent' here", lambda m, s: m.add_participant(s, "p", role="bot")),
        ("roles: 'human' is called 'user' here", lambda m, s: list(m.get_messages(s, roles="human"))),
        ("status: 'closed' is called 'completed' here", lambda m, _: m.list_sessions(status="closed")),
        ("status: 'closed' is called 'completed' here", lambda m, s: m.update_session(s, status="closed")),
    ],
)
def test_a_word_of_another_library_is_answered_with_the_word_here(
    manager: SessionManager, said: str, call: Callable[[Any, str], object]
) -> None:
    session = manager.create_session()
    assert refusal(lambda: call(manager, session.id)) == said
