"""What is not JSON in a message: it is refused with path, type and remedy, or lone surrogates are replaced."""

from __future__ import annotations

import dataclasses
import enum
from collections import OrderedDict, UserDict
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, strategies as st
from pydantic import BaseModel

from session_continuity import (
    ChatFormatError,
    ConfigError,
    NewMessage,
    SessionManager,
    ToolCall,
    ValidationError,
    from_openai,
    replace_invalid_text,
)
from session_continuity.json_problems import json_problem


class Model(BaseModel):
    x: int = 1


@dataclasses.dataclass
class Point:
    x: int = 1


class Colour(enum.Enum):
    RED = "red"


class Array:
    def tolist(self) -> list[int]:
        return [1]


VALUES: list[tuple[Any, str]] = [
    (datetime(2030, 1, 1, tzinfo=UTC), "must be JSON, not a datetime; pass value.isoformat()"),
    (date(2030, 1, 1), "must be JSON, not a date; pass value.isoformat()"),
    (time(1), "must be JSON, not a time; pass value.isoformat()"),
    (timedelta(1), "must be JSON, not a timedelta; pass value.total_seconds()"),
    (UUID(int=1), "must be JSON, not a UUID; pass str(value)"),
    (PurePosixPath("x"), "must be JSON, not a PurePosixPath; pass str(value)"),
    (Decimal("1.5"), "must be JSON, not a Decimal; pass str(value), or float(value) where rounding does no harm"),
    ((1, 2), "must be JSON, not a tuple; pass list(value)"),
    ({1}, "must be JSON, not a set; pass sorted(value)"),
    (b"x", "must be JSON, not a bytes; pass base64.b64encode(value).decode(), or value.decode() if it is text"),
    (Colour.RED, "must be JSON, not a Colour; pass its .value"),
    (Model(), 'must be JSON, not a Model; pass value.model_dump(mode="json")'),
    (Point(), "must be JSON, not a Point; pass dataclasses.asdict(value)"),
    (Array(), "must be JSON, not an Array; pass value.tolist()"),
    (UserDict(), "must be JSON, not a UserDict; pass dict(value)"),
    (object(), "must be JSON, not an object; convert it first"),
    (float("nan"), "must be a finite number"),
    ("\ud800", "has a lone surrogate, which UTF-8 cannot encode; remove or replace it"),
]
each_value = pytest.mark.parametrize(("value", "reason"), VALUES, ids=[type(value).__name__ for value, _ in VALUES])


@each_value
def test_a_value_that_is_not_json_is_refused_with_path_type_and_remedy(value: Any, reason: str) -> None:
    with SessionManager.open("memory://") as manager:
        session = manager.create_session()
        with pytest.raises(ValidationError) as refused:
            manager.add_message(session.id, "user", "hi", metadata={"annotations": {"a": [{"b": value}]}})
    assert str(refused.value).startswith(f"metadata.annotations.a.0.b: {reason}")


@each_value
def test_so_it_is_in_arguments_and_in_chats(value: Any, reason: str) -> None:
    path, problem = json_problem({"when": [value]}) or ((), "")
    assert path == ("when", 0)
    assert problem.startswith(reason)
    if not isinstance(value, float):
        with pytest.raises(ValueError, match=r"arguments\.when"):
            ToolCall(id="c", name="f", arguments={"when": value})
    with pytest.raises(ChatFormatError) as refused:
        from_openai([{"role": "user", "content": "hi"}, {"role": "user", "content": "hi", "when": value}])
    assert str(refused.value).startswith(f"message 2: when: {reason}")


@pytest.mark.parametrize("key", [1, None, True, "\ud800"])
def test_a_key_that_is_not_text_is_refused(key: Any) -> None:
    path, problem = json_problem({"a": {key: 1}}) or ((), "")
    assert (path, problem.startswith("a key ")) == (("a",), True)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner)))
def test_json_has_no_problem(value: Any) -> None:
    assert json_problem(value) is None
    assert json_problem(OrderedDict(a=value)) is None
    assert replace_invalid_text({"a": value}) == {"a": value}


@given(st.lists(st.text(st.characters(codec=None), max_size=5)))
def test_replaced_text_can_be_stored(texts: list[str]) -> None:
    replaced = replace_invalid_text({text: [text] for text in texts})
    assert json_problem(replaced) is None
    assert NewMessage(role="user", content="hi", metadata={"k": replaced})


def test_two_halves_of_a_character_are_joined() -> None:
    assert replace_invalid_text(["a\ud83d\ude00b", "\ud83d", "\ude00\ud83d"]) == ["a😀b", "\ufffd", "\ufffd\ufffd"]


def test_what_contains_itself_is_left_to_the_check() -> None:
    loop: list[Any] = []
    loop.append(loop)
    assert replace_invalid_text(loop)
    assert json_problem(loop) is None


def test_a_manager_replaces_invalid_text_if_it_is_told_to() -> None:
    with SessionManager.open("memory://", on_invalid_text="replace") as manager:
        session = manager.create_session()
        first = manager.add_message(session.id, "user", "a\ud800", metadata={"annotations": {"k": "\udfff"}})
        assert (first.content, first.metadata.annotations) == ("a\ufffd", {"k": "\ufffd"})
        [second] = manager.add_messages(session.id, [{"role": "user", "content": [{"type": "text", "text": "\ud800"}]}])
        assert second.content == [{"type": "text", "text": "\ufffd"}]
        assert manager.update_message(session.id, first.id, content="b\ud800").content == "b\ufffd"
        synced = manager.create_session()
        [third] = manager.sync_messages(synced.id, [{"role": "user", "content": "c\ud800"}])
        assert third.content == "c\ufffd"
    with SessionManager.open("memory://") as manager, pytest.raises(ValidationError, match="lone surrogate"):
        manager.add_message(manager.create_session().id, "user", "a\ud800")
    with pytest.raises(ConfigError, match="on_invalid_text must be 'refuse' or 'replace'"):
        SessionManager.open("memory://", on_invalid_text="ignore")  # type: ignore[arg-type]
