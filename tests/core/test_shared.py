"""What models share: it equals what each would have for itself, and nothing can change it."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from session_continuity import Message, MessageMetadata, NewMessage, Participant, Session, ToolCall, ToolResult
from session_continuity.shared import EmptyDict, EmptyList, FixedSet

TEXT = '{"id":"m","session_id":"s","role":"user","content":"Hi","created_at":"2026-01-01T00:00:00.000Z"%s}'
WRITTEN_OUT = ',"metadata":{"tool_calls":[],"tool_results":[],"annotations":{}}'
CALL = ToolCall(id="c", name="n")


def message(rest: str = "") -> Message:
    return Message.model_validate_json(TEXT % rest)


def test_messages_without_metadata_share_one_empty_metadata() -> None:
    assert message().metadata is message().metadata is NewMessage(role="user", content="").metadata


def test_sessions_without_metadata_share_one_and_all_models_share_empty_defaults() -> None:
    now = datetime.now(UTC)
    one, other = (Session(id=id, created_at=now, last_activity_at=now) for id in "ab")
    assert one.metadata is other.metadata
    assert one.metadata.tags is one.participants is other.handoffs is MessageMetadata().tool_calls
    assert one.metadata.custom is Participant(id="p", joined_at=now).metadata
    for refused in (lambda: one.metadata.custom.update(key=1), lambda: one.metadata.model_fields_set.add("title")):
        with pytest.raises(TypeError, match=r"model_copy\(update="):
            refused()


def test_it_equals_and_prints_and_dumps_like_any_empty_metadata() -> None:
    assert message() == message(WRITTEN_OUT)
    assert message().metadata == MessageMetadata()
    assert repr(message()) == repr(message(WRITTEN_OUT))
    assert message().model_dump_json() == message(WRITTEN_OUT).model_dump_json()
    assert message().model_dump() == message(WRITTEN_OUT).model_dump()
    assert message().metadata.model_dump(exclude_unset=True) == MessageMetadata().model_dump(exclude_unset=True)


CHANGES: list[Callable[[MessageMetadata], Any]] = [
    lambda metadata: metadata.tool_calls.append(CALL),
    lambda metadata: metadata.tool_calls.extend([CALL]),
    lambda metadata: metadata.tool_calls.insert(0, CALL),
    lambda metadata: metadata.tool_calls.__setitem__(slice(0), [CALL]),
    lambda metadata: metadata.tool_calls.__iadd__([CALL]),
    lambda metadata: metadata.tool_results.append(ToolResult(tool_call_id="c")),
    lambda metadata: metadata.annotations.__setitem__("key", 1),
    lambda metadata: metadata.annotations.setdefault("key", 1),
    lambda metadata: metadata.annotations.update(key=1),
    lambda metadata: metadata.annotations.__ior__({"key": 1}),
    lambda metadata: cast("dict[str, Any]", metadata.model_extra).update(key=1),
]

COPIES: list[Callable[[MessageMetadata], MessageMetadata]] = [
    lambda metadata: cast("MessageMetadata", pickle.loads(pickle.dumps(metadata))),
    copy.deepcopy,
    lambda metadata: metadata.model_copy(deep=True),
    MessageMetadata.model_validate,
]


@pytest.mark.parametrize("change", CHANGES)
def test_it_refuses_to_be_changed(change: Callable[[MessageMetadata], Any]) -> None:
    shared = message().metadata
    with pytest.raises(TypeError, match=r"model_copy\(update="):
        change(shared)
    assert shared == MessageMetadata()


def test_its_set_of_fields_refuses_to_be_changed() -> None:
    with pytest.raises(TypeError, match=r"model_copy\(update="):
        message().metadata.model_fields_set.add("annotations")


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("copied", COPIES)
def test_a_copy_can_be_changed(
    copied: Callable[[MessageMetadata], MessageMetadata], change: Callable[[MessageMetadata], Any]
) -> None:
    shared = message().metadata
    change(copied(shared))
    assert shared == MessageMetadata()


def test_a_changed_copy_of_the_model_has_what_was_changed() -> None:
    copied = message().metadata.model_copy(update={"annotations": {"key": 1}, "own": 2})
    assert (copied.annotations, copied["own"]) == ({"key": 1}, 2)
    assert message().metadata == MessageMetadata()


@pytest.mark.parametrize("shared", [EmptyList(), EmptyDict(), FixedSet(), FixedSet(["a"])], ids=repr)
def test_no_method_of_the_plain_container_changes_it(shared: Any) -> None:
    """Methods that newer versions of Python add are found here."""
    (plain,) = type(shared).__bases__
    before = plain(shared)
    for name in dir(plain):
        if name in ("__init__", "__class__"):
            continue
        for arguments in ([], ["a"], ["x", "y"], [["x"]], [{"x": 1}], [{"x"}], [0, "x"], [slice(0), ["x"]], [3]):
            with suppress(Exception):
                getattr(shared, name)(*arguments)
            assert shared == before, name
    assert type(copy.copy(shared)) is type(copy.deepcopy(shared)) is type(pickle.loads(pickle.dumps(shared))) is plain
    assert copy.copy(shared) == copy.deepcopy(shared) == pickle.loads(pickle.dumps(shared)) == before
