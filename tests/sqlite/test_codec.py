"""What a message's columns hold, and that any message is read as it was written."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from session_continuity import Message, format_timestamp
from session_continuity_sqlite import codec

from ..kit.clocks import START

CALL = {"id": "c", "name": "look_up", "arguments": {"x": [1.5, None]}}
BLOCKS = [{"type": "text", "text": "Hi"}, {"type": "audio", "data": {"é": 1}}]


def message(**fields: Any) -> Message:
    plain = {"id": "m", "session_id": "s", "role": "user", "content": "Hi", "token_count": 3, "created_at": START}
    return Message.model_validate({**plain, **fields})


def read(stored: Message) -> Message:
    columns = codec.message_columns(stored)
    times = format_timestamp(stored.created_at)
    (found,) = codec.read_messages("s", [(1, stored.id, stored.role, times, stored.token_count or 0, *columns)])
    return found


FIELDS: list[dict[str, Any]] = [
    {},
    {"content": ""},
    {"content": 'a "quoted" – line\nand 👍'},
    {"content": BLOCKS},
    {"content": []},
    {"role": "system", "token_count": 0},
    {"role": "assistant", "metadata": {"tool_calls": [CALL]}},
    {"role": "tool", "metadata": {"tool_results": [{"tool_call_id": "c", "result": None}]}},
    {"metadata": {"annotations": {"n": None}, "own": [1]}},
    {"token_count": None},
    {"updated_at": START + timedelta(days=1)},
    {"content": BLOCKS, "metadata": {"tool_calls": [CALL]}, "token_count": None, "updated_at": START},
]


@pytest.mark.parametrize("fields", FIELDS, ids=str)
def test_any_message_is_read_as_it_was_written(fields: dict[str, Any]) -> None:
    stored = message(**fields)
    assert read(stored) == stored
    assert read(stored).model_dump_json() == stored.model_dump_json()


def test_a_message_of_text_is_in_columns_alone() -> None:
    assert codec.message_columns(message()) == ("Hi", None, None)


def test_metadata_is_json_beside_the_text() -> None:
    content, metadata, body = codec.message_columns(message(metadata={"tool_calls": [CALL]}))
    assert (content, body) == ("Hi", None)
    assert metadata is not None
    assert metadata.startswith('{"tool_calls":[{"id":"c"')


@pytest.mark.parametrize("fields", [{"content": BLOCKS}, {"token_count": None}, {"updated_at": START}], ids=str)
def test_a_message_that_columns_cannot_describe_is_a_body_alone(fields: dict[str, Any]) -> None:
    content, metadata, body = codec.message_columns(message(**fields))
    assert (content, metadata) == (None, None)
    assert body == message(**fields).model_dump_json()
