"""Values that Firestore refuses are kept exactly, and messages over its limit are refused before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest

from session_continuity import MessageMetadata, MessageTooLargeError, Participant, SessionMetadata, ToolCall
from session_continuity_firestore.documents.names import escape, unescape

from .bench import Bench, driver_of

DEEP: Any = "bottom"
for _ in range(40):
    DEEP = {"d": DEEP}

REFUSED: dict[str, Any] = {
    "array in array": [[1, [2]], []],
    "empty key": {"": 1},
    "reserved key": {"__x__": {"__y__": 1}},
    "large integer": 2**80,
    "deep": DEEP,
    "own key": {"~": "text"},
}


@pytest.mark.parametrize("value", REFUSED.values(), ids=REFUSED.keys())
def test_what_firestore_refuses_is_kept_exactly(bench: Bench, value: Any) -> None:
    store = bench.open()
    metadata = MessageMetadata.model_validate(
        {"tool_calls": [ToolCall(id="c", name="f", arguments={"v": value})], "annotations": {"v": value}, "own": value}
    )
    session = bench.create(
        store,
        metadata=SessionMetadata.model_validate({"tags": ["x"], "custom": {"v": value}, "toolCalls": 1, "~": value}),
        participants=[Participant(id="p", metadata={"v": value}, joined_at=bench.clock())],
    )
    blocks = [{"type": "x", "v": value}, {"type": "text", "text": "t"}]
    message = bench.says(session, blocks, metadata=metadata)
    bench.run(store.append_messages(session.id, [message]))
    other = bench.open()
    assert bench.run(other.get_message(session.id, message.id)) == message
    found = bench.run(other.get_session(session.id))
    assert found is not None
    assert (found.metadata, found.participants) == (session.metadata, session.participants)


def test_a_message_that_firestore_would_refuse_for_its_size_is_not_sent(bench: Bench) -> None:
    store = bench.open()
    session = bench.create(store)
    limit = store.capabilities.max_message_bytes
    assert limit is not None
    before = driver_of(store).meter.requests
    with pytest.raises(MessageTooLargeError):
        bench.run(store.append_messages(session.id, [bench.says(session, "x" * limit)]))
    assert driver_of(store).meter.requests == before
    fits = bench.says(session, "é" * (limit // 2 - 500))
    bench.run(store.append_messages(session.id, [fits]))
    assert bench.run(store.get_message(session.id, fits.id)) == fits


@pytest.mark.parametrize("text", [".", "..", "a/b", "a.b", "a.-b", "a.0b", "__x__", "__x__.1", "plain", "é/👍", "x.1"])
def test_an_id_is_one_part_of_a_name_and_comes_back(text: str) -> None:
    name = escape(text)
    assert unescape(name) == text
    assert "/" not in name
    assert name not in (".", "..")
    assert not (name.startswith("__") and name.endswith("__"))


def test_names_sort_as_their_ids_do() -> None:
    ids = ["a", "a!", "a-", "a.", "a.b", "a/", "a/b", "a0", "b"]
    assert sorted(ids) == ids
    assert sorted(map(escape, ids)) == [escape(text) for text in ids]
