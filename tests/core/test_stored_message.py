"""`stored_message` builds what `Message(…)` builds, by pydantic's own slots."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from session_continuity import Message, MessageMetadata, ToolCall, stored_message

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
CALLS = MessageMetadata(tool_calls=[ToolCall(id="c", name="n")])


def stored(metadata: MessageMetadata | None = None) -> Message:
    return stored_message(
        id="m", session_id="s", role="user", content="Hi", created_at=NOON, token_count=1, metadata=metadata
    )


def validated(metadata: MessageMetadata | None = None) -> Message:
    return Message(
        id="m",
        session_id="s",
        role="user",
        content="Hi",
        created_at=NOON,
        token_count=1,
        metadata=metadata or MessageMetadata(),
        updated_at=None,
    )


@pytest.mark.parametrize("metadata", [None, CALLS])
def test_it_equals_a_validated_message_in_every_way(metadata: MessageMetadata | None) -> None:
    one, other = stored(metadata), validated(metadata)
    assert one == other
    assert repr(one) == repr(other)
    assert one.model_dump() == other.model_dump()
    assert one.model_dump_json() == other.model_dump_json()
    assert one.model_dump(exclude_unset=True) == other.model_dump(exclude_unset=True)
    assert one.model_fields_set == other.model_fields_set
    assert one.model_extra is other.model_extra is None


def test_it_is_copied_pickled_and_validated_like_any_message() -> None:
    assert copy.copy(stored()) == copy.deepcopy(stored()) == pickle.loads(pickle.dumps(stored())) == validated()
    assert Message.model_validate(stored()) == validated()
    assert stored().model_copy(update={"content": "Bye"}).content == "Bye"


def test_it_is_frozen() -> None:
    with pytest.raises(ValidationError, match="cannot be changed"):
        stored().content = "Bye"


def test_two_share_no_state() -> None:
    one, other = stored(CALLS.model_copy(deep=True)), stored(CALLS.model_copy(deep=True))
    one.metadata.tool_calls.clear()
    assert other.metadata == CALLS
    with pytest.raises(TypeError, match=r"model_copy\(update="):
        one.model_fields_set.clear()
    changed = one.model_copy(update={"content": "Bye"})
    changed.model_fields_set.clear()
    assert one.model_fields_set == other.model_fields_set == Message.model_fields.keys()
