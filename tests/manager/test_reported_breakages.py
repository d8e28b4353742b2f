"""What people reported of other stores: chats that stopped, or told the model something else than was said.

Each test is one of these programs, by the public functions only, and says what is right.
"""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from tests.kit.provider_rules import broken_rules

from session_continuity import (
    BudgetExceeded,
    ChatFormatError,
    CompressionFailed,
    SessionManager,
    TokenBudget,
    TokenBudgetExceededError,
    ValidationError,
    convert,
    from_anthropic,
    from_gemini,
    from_openai,
    to_openai,
)

PNG_45_KB = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(45_000)).decode()
PDF_150_KB = base64.b64encode(b"%PDF-1.7 " + bytes(150_000)).decode()
PROMPT = {"role": "system", "content": "You are a shop's clerk."}


def opened(*messages: dict[str, Any], **options: Any) -> tuple[SessionManager, str]:
    """A conversation in memory."""
    manager = SessionManager.open("memory://", **options)
    session = manager.create_session()
    manager.add_messages(session.id, messages)
    return manager, session.id


def chat(*messages: dict[str, Any], **options: Any) -> list[dict[str, Any]]:
    """A chat of OpenAI's as it comes out of a store."""
    manager = SessionManager.open("memory://", **options)
    session = manager.create_session()
    manager.add_messages(session.id, from_openai(messages))
    return to_openai(manager.get_conversation_context(session.id))


def user(content: Any = "Hello") -> dict[str, Any]:
    return {"role": "user", "content": content}


def call(*ids: str, arguments: str | None = "{}") -> dict[str, Any]:
    calls = [{"id": id, "type": "function", "function": {"name": "f", "arguments": arguments}} for id in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def result(id: str, content: str = "r") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id, "content": content}


@pytest.mark.parametrize("strategy", ["truncate", "compress"])
def test_a_question_that_is_over_the_budget_alone_is_an_error_and_not_an_empty_context(strategy: Any) -> None:
    budget = TokenBudget(max_tokens=100, overflow_strategy=strategy)
    manager, session_id = opened(PROMPT, user("word " * 500), token_budget=budget, compression="sliding_window")
    told: list[BudgetExceeded] = []
    manager.on(BudgetExceeded, told.append)
    for _ in range(2):
        with pytest.raises(TokenBudgetExceededError) as caught:
            manager.get_conversation_context(session_id)
        assert caught.value.message_id == manager.get_messages(session_id)[-1].id
    assert len(told) == 2
    manager.add_message(session_id, "user", "A short one?")
    assert [m.content for m in manager.get_conversation_context(session_id)][
        -1
    ] == "A short one?"  # and the chat goes on


@pytest.mark.parametrize("strategy", ["truncate", "compress"])
def test_a_result_over_the_budget_is_cut_and_its_question_stays(strategy: Any) -> None:
    budget = TokenBudget(max_tokens=200, overflow_strategy=strategy)
    shown = chat(PROMPT, user(), call("x"), result("x", "word " * 5000), token_budget=budget)
    assert [message["role"] for message in shown] == ["system", "user", "assistant", "tool"]
    assert len(shown[-1]["content"]) < 1000


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG_45_KB}},
        {"type": "input_image", "image_url": f"data:image/png;base64,{PNG_45_KB}"},
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF_150_KB}},
        {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{PDF_150_KB}"}},
        {"type": "tool_result", "tool_use_id": "x", "content": [{"type": "blob", "data": PDF_150_KB}]},
    ],
)
def test_media_do_not_fill_a_budget_with_their_base64(block: dict[str, Any]) -> None:
    manager, session_id = opened(user("What is this?"), user([block]), token_budget=8_000)
    assert manager.get_session(session_id).token_count < 7_000
    assert manager.get_conversation_context(session_id)[0].content == "What is this?"


def test_reasoning_and_frames_count_because_they_are_sent() -> None:
    thought = {"role": "assistant", "content": "Yes.", "reasoning_content": "word " * 3000}
    signed = {"role": "assistant", "content": "No.", "thinking_blocks": [{"type": "thinking", "thinking": "w " * 3000}]}
    for answer in (thought, signed):
        assert chat(user(), answer, user("Why?"), token_budget=1000) == [user("Why?")]
    manager, session_id = opened(*[user("ok")] * 100)
    assert manager.get_conversation_context_with_stats(session_id).budget.used >= 400


def test_a_context_begins_with_a_question_also_behind_a_summary() -> None:
    turns = [
        message for _ in range(40) for message in (user("word " * 9), call("x"), result("x"), call("y"), result("y"))
    ]
    for strategy in ("summarization", "sliding_window", "hybrid", "micro"):
        budget = TokenBudget(max_tokens=300, overflow_strategy="compress")
        options: dict[str, Any] = {"token_budget": budget, "compression": strategy}
        shown = chat(PROMPT, *turns, **options, summarizer=lambda messages, **_: f"{len(messages)} messages")
        assert next(message["role"] for message in shown if message["role"] != "system") == "user"
        assert broken_rules("openai_chat", shown) == []


def test_a_result_is_shown_once_and_an_id_is_used_once() -> None:
    shown = chat(user(), call("x", "x"), result("x", "one"), result("x", "two"), result("x", "two"), user("Go on"))
    assert broken_rules("openai_chat", shown) == []
    assert [message["content"] for message in shown if message["role"] == "tool"] == ["one", "two"]


@pytest.mark.parametrize("arguments", ["", '{"a": "b', "[1]", "null", None, "not JSON"])
def test_arguments_are_an_object_whatever_the_model_wrote(arguments: str | None) -> None:
    shown = chat(user(), call("x", arguments=arguments), result("x"))
    assert isinstance(json.loads(shown[1]["tool_calls"][0]["function"]["arguments"]), dict)


def test_what_a_tool_did_is_shown_although_its_sibling_was_interrupted() -> None:
    shown = chat(user("Charge me"), call("charge", "mail"), result("charge", "charged 17 EUR"), user("And?"))
    assert broken_rules("openai_chat", shown) == []
    answers = {message["tool_call_id"]: message["content"] for message in shown if message["role"] == "tool"}
    assert answers["charge"] == "charged 17 EUR"
    assert "interrupted" in answers["mail"]


def test_a_prompt_with_every_request_does_not_stop_the_chat() -> None:
    requests = [message for number in range(500) for message in (PROMPT, user(f"{number}"))]
    manager, session_id = opened(*requests, token_budget=100)
    context = manager.get_conversation_context_with_stats(session_id)
    assert [message.role for message in context.messages].count("system") == 1
    assert context.messages[-1].content == "499"
    assert context.budget.used <= 100


def test_a_summarizer_that_is_down_costs_neither_the_history_nor_the_turn() -> None:
    asked: list[int] = []

    def broken(messages: Any, **_: Any) -> str:
        asked.append(len(messages))
        raise ConnectionError

    budget = TokenBudget(max_tokens=200, overflow_strategy="compress")
    manager, session_id = opened(
        *[user("word " * 9)] * 40, token_budget=budget, compression="summarization", summarizer=broken
    )
    told: list[CompressionFailed] = []
    manager.on(CompressionFailed, told.append)
    for number in range(5):
        manager.add_message(session_id, "user", f"question {number}")
        assert manager.get_conversation_context(session_id)[-1].content == f"question {number}"
    assert (len(asked), len(told)) == (1, 1)
    assert manager.get_session(session_id).message_count == 45


@pytest.mark.parametrize(
    "answer",
    [
        {"role": "assistant", "content": None, "reasoning_content": "Done."},
        {"role": "assistant", "content": "Done.", "tool_calls": []},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "", "function": {"name": "f", "arguments": None}}],
        },
        {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]},
        {"role": "assistant", "content": None},
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": ""}},
    ],
)
def test_an_answer_is_taken_as_it_comes_and_the_next_request_is_accepted(answer: dict[str, Any]) -> None:
    follow = [{"role": "tool", "content": None}] if answer.get("tool_calls") else []
    shown = chat({"role": "developer", "content": "d"}, user(), answer, *follow, user("Go on"))
    assert broken_rules("openai_chat", shown) == []
    assert shown[-1] == user("Go on")


@pytest.mark.parametrize("length", [281, 949, 4096])
def test_an_id_of_a_call_may_hold_a_signature(length: int) -> None:
    id = "call_" + "s" * (length - 5)
    shown = chat(user(), call(id), result(id))
    assert shown[1]["tool_calls"][0]["id"] == shown[2]["tool_call_id"] == id


@pytest.mark.parametrize(
    ("message", "name"),
    [
        ({"role": "assistant", "content": [{"type": "tool_use", "id": "x", "name": "f", "input": {}}]}, "Anthropic"),
        ({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x", "content": "r"}]}, "Anthropic"),
        ({"role": "assistant", "content": "", "toolInvocations": [{"toolName": "f"}]}, "Vercel AI SDK 4"),
        ({"type": "function_call", "call_id": "x", "name": "f", "arguments": "{}"}, "OpenAI Responses"),
        ({"role": "user", "content": [{"text": "u"}]}, "Bedrock Converse"),
        ({"role": "user", "parts": [{"text": "u"}]}, "Gemini"),
        ({"type": "human", "data": {"content": "u"}}, "LangChain"),
        ({"from": "human", "value": "u"}, "ShareGPT"),
    ],
)
def test_a_chat_of_another_format_is_refused_by_its_name(message: dict[str, Any], name: str) -> None:
    with pytest.raises(ChatFormatError, match=name):
        from_openai([message])


def test_the_history_of_one_provider_goes_to_another() -> None:
    thought = {"type": "thinking", "thinking": "t", "signature": "s"}
    use = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}
    answer = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "r"}
    claude = [user(), {"role": "assistant", "content": [thought, use]}, user([answer])]
    gemini = [
        {"role": "user", "parts": [{"text": "u"}]},
        {"role": "model", "parts": [{"function_call": {"name": "f", "args": {}}, "thought_signature": "cw=="}]},
        {"role": "user", "parts": [{"function_response": {"name": "f", "response": {"output": "r"}}}]},
    ]
    odd = [user(), call("call_1|fc_2"), result("call_1|fc_2")]
    histories = [
        from_anthropic(claude, model="claude-opus-4-5"),
        from_gemini(gemini, model="gemini-3-pro"),
        from_openai(odd),
    ]
    for history in histories:
        manager = SessionManager.open("memory://")
        session = manager.create_session()
        manager.add_messages(session.id, history)
        context = manager.get_conversation_context(session.id)
        for to, model in (("anthropic", "claude-haiku-4-5"), ("bedrock_converse", "m"), ("openai_responses", "gpt-5")):
            request = convert(context, to, model=model).request  # type: ignore[arg-type]
            assert broken_rules(to, request) == []
            assert '"signature"' not in json.dumps(request)
            assert "thought_signature" not in json.dumps(request)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (datetime(2026, 1, 1, tzinfo=UTC), "datetime"),
        (UUID(int=1), "UUID"),
        (Decimal("1.5"), "Decimal"),
        ((1, 2), "tuple"),
        (float("nan"), "NaN"),
        ("\ud800", "surrogate"),
    ],
)
def test_a_value_that_is_no_json_is_refused_with_path_type_and_remedy(value: Any, kind: str) -> None:
    manager, session_id = opened(user())
    with pytest.raises(ValidationError) as caught:
        manager.add_message(session_id, "user", "u", metadata={"annotations": {"trace": {"at": [value]}}})
    assert "annotations" in str(caught.value)
    assert "trace" in str(caught.value)
    assert kind.lower() in str(caught.value).lower()
