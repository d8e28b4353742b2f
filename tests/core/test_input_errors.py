"""Errors of models for wrong input: in this project's words, never pydantic's, and kind to a newcomer's mistakes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticCustomError, core_schema

from session_continuity import (
    CompressionConfig,
    CompressionState,
    ForkedFrom,
    Handoff,
    Message,
    MessageMetadata,
    NewMessage,
    Participant,
    Session,
    SessionMetadata,
    TokenBudget,
    ToolCall,
    ToolResult,
)
from session_continuity.input_errors import explain
from session_continuity.model_base import Model, OpenModel

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
CANARY = "c4n4ry"
PYDANTICS_WORDS = re.compile(
    r"Input should|Field required|Extra inputs|Value error|valid (string|integer|number|dictionary|list|boolean)|"
    r"should (be|have)|after validation|timezone info|instance of|Keys should|pydantic|Instance is frozen|"
    r"raw data|detected|input was|Assertion",
    re.IGNORECASE,
)

COMPLETE: dict[type[Model], dict[str, Any]] = {
    ToolCall: {"id": "c", "name": "n", "arguments": {"k": 1}},
    ToolResult: {"tool_call_id": "c", "result": [1], "name": "n", "is_error": True},
    MessageMetadata: {
        "tool_calls": [{"id": "c", "name": "n"}],
        "tool_results": [{"tool_call_id": "c"}],
        "annotations": {},
    },
    SessionMetadata: {"title": "t", "tags": ["a"], "source": "s", "custom": {}},
    TokenBudget: {"max_tokens": 5, "reserve_tokens": 1, "overflow_strategy": "error"},
    CompressionConfig: {
        "strategy": "s",
        "target_tokens": 5,
        "min_messages": 1,
        "max_messages": 2,
        "summarization_prompt": "p",
    },
    CompressionState: {
        "strategy": "s",
        "summary": "s",
        "summary_token_count": 1,
        "covered_until": "m",
        "covered_through": NOON,
        "shortened_through": NOON,
        "covered_messages": 1,
        "covered_tokens": 1,
        "updated_at": NOON,
    },
    Participant: {"id": "p", "role": "user", "metadata": {}, "joined_at": NOON, "left_at": NOON},
    Handoff: {"from_agent_id": "a", "to_agent_id": "b", "reason": "r", "context": {}, "at": NOON},
    NewMessage: {"role": "user", "content": "x", "metadata": {}, "token_count": 1, "id": "m", "created_at": NOON},
    Message: {
        "id": "m",
        "session_id": "s",
        "role": "user",
        "content": "x",
        "metadata": {},
        "token_count": 1,
        "created_at": NOON,
        "updated_at": NOON,
    },
    ForkedFrom: {"session_id": "s", "message_id": "m"},
    Session: {
        "id": "s",
        "user_id": "u",
        "active_agent_id": "a",
        "status": "active",
        "metadata": {},
        "participants": [{"id": "p", "joined_at": NOON}],
        "handoffs": [{"to_agent_id": "a", "at": NOON}],
        "token_budget": {"max_tokens": 5},
        "compression": {"strategy": "s"},
        "compression_state": None,
        "created_at": NOON,
        "last_activity_at": NOON,
        "expires_at": NOON,
        "sliding_ttl": 5.0,
        "creation_token": "token",
        "forked_from": {"session_id": "s"},
        "version": 1,
        "message_count": 0,
        "token_count": 0,
        "system_message_ids": ["m"],
    },
}
"""Every model with a value for each of its fields."""


class Colour(Enum):
    RED = CANARY


CYCLE: list[Any] = []
CYCLE.append(CYCLE)

WRONG: list[Any] = [
    None, True, 0, -1, 10**30, 10**5000, 1.5, 1e300, float("nan"), "", CANARY, CANARY * 99, "\ud800", b"c4n4ry",
    "2030-13-99T99:99:99Z", "2030-01-01T00:00:00", datetime(2026, 1, 1), object(), int, len, Colour.RED, (), (CANARY,),
    {CANARY}, [], [None], [5], [CANARY, 5], [[CANARY]], CYCLE, [{}], [{"type": 5}], [{"type": "text"}],
    [{"type": "x", "y": {1: CANARY}}], [{"id": 5}] * 30, {}, {1: CANARY}, {"\ud800": 1}, {CANARY: object()},
    {CANARY: CANARY}, {"id": 5},
]  # fmt: skip


def refusal(model: type[Model], fields: Any) -> str | None:
    """The error of a model for these fields, by its constructor and by `model_validate`; None if it accepts them."""
    said: list[str] = []
    for make in (lambda: model(**fields), lambda: model.model_validate(fields)):
        try:
            make()
        except ValidationError as error:
            said.append(str(error))
    assert len(set(said)) <= 1
    assert len(said) in (0, 2)
    return said[0] if said else None


def test_every_model_is_tried() -> None:
    from session_continuity import models

    found = {kind for kind in vars(models).values() if inspect.isclass(kind) and issubclass(kind, Model)}
    assert found - {Model, OpenModel} == COMPLETE.keys()
    for model, fields in COMPLETE.items():
        assert fields.keys() == model.model_fields.keys()
        assert refusal(model, fields) is None


def wrong_inputs(model: type[Model]) -> Iterator[dict[str, Any]]:
    """The complete fields with one that is missing, unknown, or of each wrong value."""
    complete = COMPLETE[model]
    yield {**complete, "unknown": CANARY}
    for name in complete:
        yield {key: value for key, value in complete.items() if key != name}
        for wrong in WRONG:
            yield {**complete, name: wrong}


@pytest.mark.parametrize("model", COMPLETE, ids=lambda model: model.__name__)
def test_no_refusal_has_pydantics_words_or_the_value(model: type[Model]) -> None:
    said = [found for fields in wrong_inputs(model) if (found := refusal(model, fields)) is not None]
    assert len(said) > len(COMPLETE[model])
    for each in said:
        assert not PYDANTICS_WORDS.search(each), each
        assert CANARY not in each.replace(f".{CANARY}\n", "")
        assert "[type=" in each


@pytest.mark.parametrize("wrong", [None, 5.5, b"x", [], int], ids=str)
@pytest.mark.parametrize("model", COMPLETE, ids=lambda model: model.__name__)
def test_a_value_that_cannot_be_a_model_is_refused_in_the_same_words(model: type[Model], wrong: Any) -> None:
    sentence = rf"must be a {model.__name__}( or a dict of its fields \[|, a dict of its fields, or (a|the) \w+ of )"
    with pytest.raises(ValidationError, match=sentence):
        model.model_validate(wrong)


def test_a_frozen_model_says_how_to_make_a_changed_copy() -> None:
    message = NewMessage(role="user", content="x")
    with pytest.raises(ValidationError, match=r"a NewMessage cannot be changed; model_copy\(update=.* makes a changed"):
        message.role = "tool"  # type: ignore[misc]
    assert message.role == "user"


@pytest.mark.parametrize(
    ("role", "said"),
    [
        ("ai", "'ai' is called 'assistant' here"),
        ("bot", "'bot' is called 'assistant' here"),
        ("agent", "'agent' is called 'assistant' here"),
        ("human", "'human' is called 'user' here"),
        ("Human", "'human' is called 'user' here"),
        ("developer", "'developer' is called 'system' here"),
        ("function", "'function' is called 'tool' here"),
        ("User", "must be in lower case: 'user'"),
        ("narrator", "must be 'system', 'user', 'assistant' or 'tool'"),
        (5, "must be 'system', 'user', 'assistant' or 'tool'"),
    ],
)
def test_a_role_of_another_library_is_named_by_the_role_here(role: Any, said: str) -> None:
    assert f"role\n  {said} [" in str(refusal(NewMessage, {"role": role, "content": "x"}))


@pytest.mark.parametrize(("role", "meant"), [("assistant", "agent"), ("ai", "agent"), ("human", "user")])
def test_the_hint_for_a_participant_is_one_of_a_participants_roles(role: str, meant: str) -> None:
    said = refusal(Participant, {"id": "p", "role": role, "joined_at": NOON})
    assert f"'{role}' is called '{meant}' here" in str(said)


@pytest.mark.parametrize(
    ("model", "fields", "said"),
    [
        (NewMessage, {"content": None}, "content\n  must be a string or a list ["),
        (NewMessage, {"content": [CANARY]}, "content.0\n  must be a dict ["),
        (NewMessage, {"metdata": {}}, "metdata\n  unknown field; did you mean metadata? ["),
        (TokenBudget, {"token_budget": 4000}, "unknown field; the fields are max_tokens, reserve_tokens, overflow_"),
        (
            NewMessage,
            {"metadata": {"tool_calls": [{"id": "c", "name": "n", "argument": ""}]}},
            "metadata.tool_calls.0.argument\n  unknown field; did you mean arguments? [",
        ),
        (
            NewMessage,
            {"metadata": {"tool_calls": [{"id": "c", "name": "n", "arguments": 5}]}},
            "metadata.tool_calls.0.arguments\n  must be a string or a dict [",
        ),
        (
            NewMessage,
            {"metadata": {"k": {"dict": [object()]}}},
            "metadata.k.dict.0\n  must be JSON, not an object; convert it first",
        ),
        (Session, {"token_budget": -5}, "token_budget\n  must be greater than 0 ["),
        (Session, {"token_budget": "5"}, "must be a TokenBudget, a dict of its fields, or a number of tokens ["),
        (Session, {"compression": 5}, "must be a CompressionConfig, a dict of its fields, or the name of a strategy ["),
        (Session, {"handoffs": [{"to_agent_id": "a", "at": NOON}] * 21}, "handoffs\n  must have at most 20 items ["),
    ],
)
def test_one_sentence_says_what_a_wrong_value_must_be(model: type[Model], fields: dict[str, Any], said: str) -> None:
    refused = str(refusal(model, {**COMPLETE[model], **fields}))
    assert said in refused
    assert refused.startswith("1 validation error ")


@pytest.mark.parametrize("tokens", [4000, 1])
def test_a_number_is_a_budget(tokens: int) -> None:
    assert TokenBudget.model_validate(tokens) == TokenBudget(max_tokens=tokens)
    assert TokenBudget(tokens) == TokenBudget(max_tokens=tokens)  # type: ignore[call-arg]
    assert Session(**{**COMPLETE[Session], "token_budget": tokens}).token_budget == TokenBudget(max_tokens=tokens)


@pytest.mark.parametrize("model", COMPLETE, ids=lambda model: model.__name__)
def test_none_for_a_field_with_a_default_means_the_default(model: type[Model]) -> None:
    required = {name for name, field in model.model_fields.items() if field.is_required()}
    least = {name: value for name, value in COMPLETE[model].items() if name in required}
    assert model(**{**COMPLETE[model], **dict.fromkeys(COMPLETE[model]), **least}) == model(**least)
    for name in required:
        assert refusal(model, {**least, name: None}) is not None


def test_none_means_the_default_inside_of_fields_too() -> None:
    message = NewMessage.model_validate(
        {
            "role": "assistant",
            "content": "x",
            "metadata": {
                "tool_calls": [{"id": "c", "name": "n", "arguments": None}],
                "tool_results": None,
                "own": None,
            },
        }
    )
    assert message.metadata.tool_calls == [ToolCall(id="c", name="n")]
    assert message.metadata.tool_results == []
    assert message.metadata["own"] is None


class Strange(BaseModel):
    """Another project's model, with values that no model here has."""

    number: int | Literal["auto"] = "auto"
    amount: float = 1.0
    place: complex = 1j


def said_of(model: type[BaseModel], fields: dict[str, Any]) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(fields)
    return [problem.message for problem in explain(caught.value, fields, model)]


def test_the_members_of_a_union_are_one_sentence() -> None:
    assert said_of(Strange, {"number": "many"}) == ["must be a whole number or 'auto'"]


def test_an_error_type_without_a_sentence_is_named() -> None:
    assert said_of(Strange, {"place": "x"}) == ["is not valid (complex type)"]


def test_the_error_of_another_projects_check_keeps_its_words() -> None:
    def check(_: object) -> object:
        raise PydanticCustomError("zone", "choose a zone of the map")

    class Mapped(BaseModel):
        @classmethod
        def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> core_schema.CoreSchema:
            return core_schema.no_info_before_validator_function(check, handler(source))

    assert said_of(Mapped, {}) == ["choose a zone of the map"]
