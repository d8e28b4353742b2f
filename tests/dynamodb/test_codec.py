"""Models to items and back, values, sizes, keys: pure, without an engine."""

from __future__ import annotations

import ast
import string as letters
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from session_continuity import Message, MessageMetadata, Session, SessionMetadata, ToolCall, ToolResult
from session_continuity.ids import MessageIds
from session_continuity_dynamodb.items import keys, message_codec, names, session_codec as codec, values
from session_continuity_dynamodb.items.counters import Counters
from session_continuity_dynamodb.items.keys import Keys
from session_continuity_dynamodb.items.places import place_at, place_batch, place_from_id, place_of
from session_continuity_dynamodb.items.values import time_of
from session_continuity_dynamodb.requests.errors import translate

from .bench import item_of

KEYS = Keys()
NOW = datetime(2036, 3, 1, 12, tzinfo=UTC)

texts = st.text(st.characters(exclude_categories=["Cs"]))
json_values: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(texts, json_values, max_size=4)
blocks = objects.map(lambda block: {**block, "type": "thing"})
contents = texts | st.lists(blocks, max_size=3)
CALL = {"id": "c", "name": "n"}
times = st.datetimes(datetime(1990, 1, 1), datetime(2900, 1, 1), timezones=st.just(UTC))


ids = st.text(letters.ascii_letters, min_size=1, max_size=4)
calls = st.builds(ToolCall, id=ids, name=texts, arguments=texts | objects)
results = st.builds(ToolResult, tool_call_id=ids, result=json_values, name=st.none() | texts, is_error=st.booleans())


@st.composite
def metadata(draw: st.DrawFn) -> MessageMetadata:
    own = draw(objects)
    fields = set(MessageMetadata.model_fields)
    return MessageMetadata(
        **{key: value for key, value in own.items() if key not in fields},
        tool_calls=draw(st.lists(calls, max_size=2)),
        tool_results=draw(st.lists(results, max_size=2)),
        annotations=own,
    )


@given(
    st.builds(
        Message,
        id=ids,
        session_id=st.just("s"),
        role=st.sampled_from(["system", "user", "assistant", "tool"]),
        content=contents,
        metadata=st.just(MessageMetadata()) | metadata(),
        token_count=st.none() | st.integers(0, 10**9),
        created_at=times,
        updated_at=st.none() | times,
    ),
    st.sampled_from([None, "zlib", "zstd"]),
)
def test_message_comes_back_as_it_went(message: Message, compression: Any) -> None:
    item = item_of(KEYS, message, own_id=False, compression=compression)
    found = message_codec.message_of(item, "s")
    assert found == message
    assert type(found) is Message
    assert found.model_dump() == message.model_dump()
    assert {type(part) for part in (*found.metadata.tool_calls, *found.metadata.tool_results)} <= {ToolCall, ToolResult}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"metadata": {"S": '{"toolCalls":null,"annotations":{"a":1}}'}}, {"metadata": {"annotations": {"a": 1}}}),
        ({"metadata": {"M": {"annotations": {"M": {"a": {"N": "1"}}}}}}, {"metadata": {"annotations": {"a": 1}}}),
        ({"metadata": {"S": '{"toolCalls":[{"id":"c","name":"n","type":"x"}]}'}}, {"metadata": {"tool_calls": [CALL]}}),
        ({"metadata": {"S": '{"tool_calls":[{"id":"c","name":"n"}]}'}}, {"metadata": {"tool_calls": [CALL]}}),
        ({"metadata": {"S": "{}"}}, {}),
        ({"tokenCount": {"N": "3E+1"}}, {"token_count": 30}),
        ({"tokenCount": {"S": "3"}}, {"token_count": None}),
        ({"updatedAt": {"NULL": True}}, {}),
        ({"content": {"NULL": True}}, {"content": ""}),
        ({"content": {"L": [{"M": {"type": {"S": "x"}}}]}}, {"content": [{"type": "x"}]}),
        ({"sessionId": {"S": "other"}}, {}),
        ({"unknown": {"BOOL": True}}, {}),
    ],
)
def test_row_of_another_writer_is_read(changes: dict[str, Any], expected: dict[str, Any]) -> None:
    message = Message(id="m", session_id="s", role="user", content="hello", token_count=3, created_at=NOW)
    item = item_of(KEYS, message, own_id=False, compression=None) | changes
    found = message_codec.message_of(item, "s")
    assert found == Message.model_validate({**message.model_dump(), **expected})
    assert type(found) is Message


def empty_texts(value: Any) -> list[Any]:
    [(tag, content)] = value.items()
    if tag == "M":
        return [found for item in content.values() for found in empty_texts(item)]
    if tag == "L":
        return [found for item in content for found in empty_texts(item)]
    return [value] if tag == "S" and not content else []


@given(contents, metadata())
def test_message_item_holds_no_empty_text_and_no_number_out_of_range(content: Any, data: MessageMetadata) -> None:
    message = Message(id="m", session_id="s", role="user", content=content, metadata=data, created_at=NOW)
    item = item_of(KEYS, message, own_id=True, compression=None)
    assert not [found for value in item.values() for found in empty_texts(value)]


@given(objects, times, st.none() | times)
def test_session_comes_back_as_it_went(own: dict[str, Any], at: datetime, expires_at: datetime | None) -> None:
    names = set(SessionMetadata.model_fields)
    extra = {key: value for key, value in own.items() if key not in names}
    session = Session(
        id="s",
        user_id="u",
        metadata=SessionMetadata(custom=own, **extra),
        participants=[{"id": "p", "metadata": own, "joined_at": at}],  # type: ignore[list-item]
        handoffs=[{"to_agent_id": "a", "context": own, "at": at}],  # type: ignore[list-item]
        compression={"strategy": "s", "own": own},  # type: ignore[arg-type]
        compression_state={  # type: ignore[arg-type]
            "strategy": "s",
            "summary": "",
            "covered_until": "m",
            "covered_through": at,
            "covered_messages": 1,
            "covered_tokens": 2,
            "updated_at": at,
        },
        sliding_ttl=0.1,
        created_at=at,
        last_activity_at=at,
        expires_at=expires_at,
    )
    assert codec.session_of(codec.meta_item(KEYS, session), Counters.new(session)) == session


def test_metadata_that_looks_like_a_field_in_the_item_comes_back() -> None:
    metadata = MessageMetadata(**{"toolCalls": "mine", "~": 1})  # type: ignore[arg-type]
    message = Message(id="m", session_id="s", role="user", content="x", metadata=metadata, created_at=NOW)
    item = item_of(KEYS, message, own_id=False, compression=None)
    assert message_codec.message_of(item, "s").metadata == metadata


@pytest.mark.parametrize("context", [[], {}, 0, False, ""])
def test_empty_value_of_a_handoff_is_not_taken_for_none(context: Any) -> None:
    handoff = {"to_agent_id": "a", "context": context, "at": NOW}
    session = Session(id="s", handoffs=[handoff], created_at=NOW, last_activity_at=NOW)  # type: ignore[list-item]
    assert codec.session_of(codec.meta_item(KEYS, session), None).handoffs[0].context == context


@pytest.mark.parametrize("milliseconds", [0, 1, 250, 999])
def test_expiry_is_exact_and_its_ttl_is_rounded_up(milliseconds: int) -> None:
    expires_at = NOW + timedelta(milliseconds=milliseconds)
    session = Session(id="s", created_at=NOW, last_activity_at=NOW, expires_at=expires_at)
    item = codec.meta_item(KEYS, session)
    assert time_of(item["expiresAt"]) == expires_at
    assert Decimal(item["ttl"]["N"]) - Decimal(item["expiresAt"]["N"]) == Decimal(-milliseconds % 1000) / 1000


def test_size_counts_utf8_bytes() -> None:
    def of(content: str) -> dict[str, Any]:
        message = Message(id="m", session_id="s", role="user", content=content, created_at=NOW)
        return item_of(KEYS, message, own_id=False, compression=None)

    assert values.item_size(of("é" * 100)) == values.item_size(of("e" * 200))


def test_compression_packs_a_long_body_and_leaves_the_rest_plain() -> None:
    message = Message(id="m", session_id="s", role="tool", content="word " * 2000, token_count=9, created_at=NOW)
    item = item_of(KEYS, message, own_id=False, compression="zlib")
    assert values.item_size(item) < 1000
    assert "content" not in item
    assert (item["role"], item["tokenCount"]) == ({"S": "tool"}, {"N": "9"})


def test_namespaces_never_share_a_partition() -> None:
    names = ["", "a", "a#", "SESSION", "NS", "NS#a", "a%23"]
    ids = ["x", "a#x", "NS#a#SESSION#x", "SESSION#x"]
    partitions = [Keys(name).partition(session_id) for name in names for session_id in ids]
    assert len(set(partitions)) == len(partitions)
    for name in names:
        assert Keys(name).session_id(Keys(name).partition("a#x")) == "a#x"


def test_heads_lie_round_the_messages() -> None:
    message = keys.MESSAGE + place_at(NOW, "~~~")
    assert keys.EXPIRY < keys.META < keys.MESSAGE < message < keys.AFTER_MESSAGES < keys.COUNTERS < keys.POINTER
    assert keys.POINTER + "\U0010ffff" < keys.PART


def test_place_is_computed_from_the_ids_of_both_writers() -> None:
    message_id, created_at = MessageIds(lambda: NOW).mint()
    assert place_from_id(message_id) == place_at(created_at, message_id)
    theirs = f"{int(NOW.timestamp() * 1000) + 7:015d}-000001-2b1f6e4e-7c55-4f0d-9a69-5b8f7f1c2d3e"
    assert place_from_id(theirs) == f"2036-03-01T12:00:00.007Z#{theirs}"
    assert place_from_id("mine") is None


@given(
    st.lists(st.tuples(st.text(letters.ascii_lowercase, min_size=1, max_size=3), st.integers(-3, 3)), min_size=1),
    st.sampled_from(["none", "some", "all"]),
    st.integers(-3, 3),
)
def test_turn_is_put_at_rising_places_behind_the_last(wanted: list[tuple[str, int]], chosen: str, last_at: int) -> None:
    ids = MessageIds(lambda: NOW)
    own = {f"{name}{number}" for number, (name, _) in enumerate(wanted)} if chosen != "none" else set[str]()
    turn: list[Message] = []
    for number, (name, offset) in enumerate(wanted):
        minted, _ = ids.mint()
        kept = f"{name}{number}" if chosen == "all" or (chosen == "some" and number % 2) else minted
        at = NOW + timedelta(milliseconds=offset)
        turn.append(Message(id=kept, session_id="s", role="user", content=name, created_at=at))
    last = place_at(NOW + timedelta(milliseconds=last_at), "m")
    found = place_batch(turn, last, own)
    places = [place for place, _ in found]
    placed = [message for _, message in found]
    assert places == [place_of(message) for message in placed]
    assert places == sorted(set(places))
    assert places[0] > last
    assert [message.content for message in placed] == [message.content for message in turn]
    assert [m.id for m in placed if m.id in own] == [m.id for m in turn if m.id in own]


def test_packing_without_its_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    long = Message(id="a", session_id="s", role="user", content="long " * 2000, created_at=NOW)
    item = item_of(KEYS, long, own_id=False, compression="zstd")
    monkeypatch.setitem(sys.modules, "zstandard", None)
    uses: list[Callable[[], object]] = [
        lambda: message_codec.message_of(item, "s"),
        lambda: item_of(KEYS, long, own_id=False, compression="zstd"),
    ]
    for use in uses:
        with pytest.raises(ImportError) as failed:
            use()
        assert "session-continuity-dynamodb[zstd]" in str(translate(failed.value, "t"))


def test_names_of_attributes_stand_in_one_module() -> None:
    """Those that are ordinary words too, such as `status`, cannot be told from other uses of the word."""
    package = Path(names.__file__).parents[1]
    attributes = {value for value in vars(names).values() if isinstance(value, str) and not value.islower()}
    found = [
        f"{path.relative_to(package)}:{node.lineno} {node.value}"
        for path in package.rglob("*.py")
        if path != Path(names.__file__)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in attributes
    ]
    assert found == []
