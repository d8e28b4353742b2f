"""Models to items and back, values, sizes, keys: pure, without an engine."""

from __future__ import annotations

import string as letters
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, strategies as st

from session_continuity import Message, MessageMetadata, Session, SessionMetadata
from session_continuity.ids import MessageIds
from session_continuity_dynamodb import bodies, codec, keys, values
from session_continuity_dynamodb.activity import Activity
from session_continuity_dynamodb.appending import in_order
from session_continuity_dynamodb.errors import UnreadableItemError, translate
from session_continuity_dynamodb.keys import Keys
from session_continuity_dynamodb.values import time_of

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
times = st.datetimes(datetime(1990, 1, 1), datetime(2900, 1, 1), timezones=st.just(UTC))


def metadata_of(own: dict[str, Any]) -> MessageMetadata:
    names = set(MessageMetadata.model_fields)
    return MessageMetadata(**{key: value for key, value in own.items() if key not in names}, annotations=own)


@given(contents, objects, st.none() | st.integers(0, 10**9), times, st.sampled_from([None, "zlib", "zstd"]))
def test_message_comes_back_as_it_went(
    content: Any, own: dict[str, Any], tokens: int | None, at: datetime, compression: Any
) -> None:
    message = Message(
        id="m",
        session_id="s",
        role="user",
        content=content,
        metadata=metadata_of(own),
        token_count=tokens,
        created_at=at,
    )
    item = bodies.message_item(KEYS, message, own_id=False, compression=compression)
    assert bodies.message_of(item, "s") == message


def empty_texts(value: Any) -> list[Any]:
    [(tag, content)] = value.items()
    if tag == "M":
        return [found for item in content.values() for found in empty_texts(item)]
    if tag == "L":
        return [found for item in content for found in empty_texts(item)]
    return [value] if tag == "S" and not content else []


@given(contents, objects)
def test_message_item_holds_no_empty_text_and_no_number_out_of_range(content: Any, own: dict[str, Any]) -> None:
    message = Message(id="m", session_id="s", role="user", content=content, metadata=metadata_of(own), created_at=NOW)
    item = bodies.message_item(KEYS, message, own_id=True, compression=None)
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
    assert codec.session_of(codec.meta_item(KEYS, session), Activity.new(session)) == session


def test_metadata_that_looks_like_a_field_of_the_wire_comes_back() -> None:
    metadata = MessageMetadata(**{"toolCalls": "mine", "~": 1})  # type: ignore[arg-type]
    message = Message(id="m", session_id="s", role="user", content="x", metadata=metadata, created_at=NOW)
    item = bodies.message_item(KEYS, message, own_id=False, compression=None)
    assert bodies.message_of(item, "s").metadata == metadata


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
        return bodies.message_item(KEYS, message, own_id=False, compression=None)

    assert values.item_size(of("é" * 100)) == values.item_size(of("e" * 200))


def test_compression_packs_a_long_body_and_leaves_the_rest_plain() -> None:
    message = Message(id="m", session_id="s", role="tool", content="word " * 2000, token_count=9, created_at=NOW)
    item = bodies.message_item(KEYS, message, own_id=False, compression="zlib")
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
    message = keys.MESSAGE + keys.place(NOW, "~~~")
    assert keys.EXPIRY < keys.META < keys.MESSAGE < message < keys.AFTER_MESSAGES < keys.ACTIVITY < keys.POINTER
    assert keys.POINTER + "\U0010ffff" < keys.PART


def test_place_is_computed_from_the_ids_of_both_writers() -> None:
    message_id, created_at = MessageIds(lambda: NOW).mint()
    assert keys.computed_place(message_id) == keys.place(created_at, message_id)
    theirs = f"{int(NOW.timestamp() * 1000) + 7:015d}-000001-2b1f6e4e-7c55-4f0d-9a69-5b8f7f1c2d3e"
    assert keys.computed_place(theirs) == f"2036-03-01T12:00:00.007Z#{theirs}"
    assert keys.computed_place("mine") is None


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
    last = keys.place(NOW + timedelta(milliseconds=last_at), "m")
    placed = in_order(turn, last, frozenset(own))
    places = [keys.place(message.created_at, message.id) for message in placed]
    assert places == sorted(set(places))
    assert places[0] > last
    assert [message.content for message in placed] == [message.content for message in turn]
    assert [m.id for m in placed if m.id in own] == [m.id for m in turn if m.id in own]


def test_packing_without_its_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    long = Message(id="a", session_id="s", role="user", content="long " * 2000, created_at=NOW)
    item = bodies.message_item(KEYS, long, own_id=False, compression="zstd")
    monkeypatch.setitem(sys.modules, "zstandard", None)
    uses: list[Callable[[], object]] = [
        lambda: bodies.message_of(item, "s"),
        lambda: bodies.message_item(KEYS, long, own_id=False, compression="zstd"),
    ]
    for use in uses:
        with pytest.raises((ImportError, UnreadableItemError)) as failed:
            use()
        assert "session-continuity-dynamodb[zstd]" in str(translate(failed.value, "get_message", "t"))
