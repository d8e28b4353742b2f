"""Formats of providers: conversations come back as they were, and go over to every other provider in its types."""

from __future__ import annotations

import base64
import json
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from tests.kit.chats import conversations
from tests.kit.provider_rules import broken_rules
from tests.kit.provider_types import check_types

from session_continuity import (
    NewMessage,
    SessionManager,
    TokenBudgetExceededError,
    convert,
    from_anthropic,
    from_bedrock_converse,
    from_gemini,
    from_openai,
    from_openai_responses,
    from_ui_messages,
)
from session_continuity.blocks.reader import results_of
from session_continuity.formats.conversion import FormatName

FORMATS = get_args(FormatName)
PROVIDERS = [name for name in FORMATS if name != "ui_messages"]


def read(format: str, request: Any) -> list[NewMessage]:
    if format == "openai_chat":
        return from_openai(request)
    if format == "ui_messages":
        return from_ui_messages(request)
    readers = {
        "openai_responses": from_openai_responses,
        "anthropic": from_anthropic,
        "bedrock_converse": from_bedrock_converse,
        "gemini": from_gemini,
    }
    return readers[format](**request)


def stored(messages: list[NewMessage]) -> list[NewMessage]:
    """The messages after they were written as JSON and read again, as a store does it."""
    return [NewMessage.model_validate_json(message.model_dump_json()) for message in messages]


def as_json(request: Any) -> str:
    return json.dumps(request, sort_keys=True, default=repr)


ENOUGH = 100_000
"""A budget for which no conversation here is too large."""

few = settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
each_format = pytest.mark.parametrize("format", FORMATS)


@each_format
@few
@given(data=st.data())
def test_a_conversation_comes_back_and_goes_over_to_every_provider(format: Any, data: st.DataObject) -> None:
    request = data.draw(conversations(format))
    messages = stored(read(format, request))
    own = convert(messages, format)
    assert as_json(own.request) == as_json(request)
    assert own.losses == []
    for to in PROVIDERS:
        written = convert(messages, to).request
        check_types(to, written)
        assert broken_rules(to, written) == []


@each_format
@few
@given(data=st.data())
def test_a_damaged_conversation_is_read_and_written(format: str, data: st.DataObject) -> None:
    messages = stored(read(format, data.draw(conversations(format, damage=True))))
    for to in PROVIDERS:
        check_types(to, convert(messages, to).request)


def shown(format: str, data: st.DataObject, budget: int) -> None:
    """Check the context of a damaged conversation, as each provider and its package would."""
    messages = read(format, data.draw(conversations(format, damage=True)))
    with SessionManager.open("memory://", token_budget=budget) as manager:
        session = manager.create_session()
        manager.add_messages(session.id, [message.model_copy(update={"id": None}) for message in messages])
        stored_messages = manager.get_messages(session.id)
        questions = [m.id for m in stored_messages if m.role == "user" and not results_of(m)]
        try:
            context = manager.get_conversation_context_with_stats(session.id)
        except TokenBudgetExceededError:
            if budget == ENOUGH:
                raise
            return
    assert context.budget.used <= budget
    assert questions[-1:] == [message.id for message in context.messages if message.id in questions][-1:]
    if questions:  # otherwise nothing is asked
        for to in PROVIDERS:
            request = convert(context.messages, to).request
            check_types(to, request)
            assert broken_rules(to, request) == []


budgets = st.sampled_from([ENOUGH, 3_000, 400])


@each_format
@few
@given(data=st.data(), budget=budgets)
def test_providers_accept_the_contexts_of_damaged_conversations(format: str, data: st.DataObject, budget: int) -> None:
    shown(format, data, budget)


@pytest.mark.long("A thousand conversations of each format find what a dozen do not")
@each_format
@settings(few, max_examples=1000)
@given(data=st.data(), budget=budgets)
def test_providers_accept_a_thousand_contexts_of_each_format(format: str, data: st.DataObject, budget: int) -> None:
    """`--hypothesis-seed=N` chooses the conversations."""
    shown(format, data, budget)


LONG_ID = "call_" + "c2lnbmF0dXJl" * 70


@pytest.mark.parametrize("model", ["gpt-4o", "openai/o3", "azure/gpt-5-mini"])
def test_models_of_openai_get_ids_that_they_take_and_others_get_them_as_they_are(model: str) -> None:
    """OpenAI refuses an id of more than 40 characters. Gateways to Gemini put the signature of a thought into it."""
    call = {"id": LONG_ID, "type": "function", "function": {"name": "f", "arguments": "{}"}}
    chat = [
        {"role": "user", "content": "u"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": LONG_ID, "content": "r"},
    ]
    messages = from_openai(chat)
    assert convert(messages, "openai_chat").request == chat
    assert convert(messages, "openai_chat", model="gemini-2.5-pro").request == chat
    written = convert(messages, "openai_chat", model=model).request
    assert written[1]["tool_calls"][0]["id"] == written[2]["tool_call_id"]
    assert len(written[2]["tool_call_id"]) <= 40
    assert broken_rules("openai_chat", written) == []


def gemini_steps(model: str | None, *signatures: str | None) -> list[Any]:
    """The signatures of two parallel calls after they were read as an older model's and written for `model`."""
    calls = [
        {"function_call": {"name": "f", "args": {}}, **({"thought_signature": signature} if signature else {})}
        for signature in signatures
    ]
    answers = [{"function_response": {"name": "f", "response": {"output": "r"}}}] * len(calls)
    contents = [
        {"role": "user", "parts": [{"text": "u"}]},
        {"role": "model", "parts": [{"text": "w"}, *calls]},
        {"role": "user", "parts": answers},
    ]
    written = convert(from_gemini(contents, model="gemini-2.5-pro"), "gemini", model=model).request["contents"]
    check_types("gemini", {"contents": written})
    return [part.get("thought_signature") for part in written[1]["parts"][1:]]


def test_gemini_3_gets_the_documented_signature_for_calls_that_it_did_not_make() -> None:
    unsigned = base64.b64encode(b"skip_thought_signature_validator").decode()
    assert gemini_steps("gemini-3-pro-preview", "c2lnbmVk", None) == [unsigned, None]
    assert gemini_steps("models/gemini-3.1-flash", None, None) == [unsigned, None]
    assert gemini_steps("gemini-2.5-pro", "c2lnbmVk", None) == ["c2lnbmVk", None]
    assert gemini_steps(None, "c2lnbmVk", None) == ["c2lnbmVk", None]
    foreign = from_openai(
        [
            {"role": "user", "content": "u"},
            {"role": "assistant", "tool_calls": [{"id": "x", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "x", "content": "r"},
        ]
    )
    written = convert(foreign, "gemini", model="gemini-3-pro").request["contents"]
    assert [part["thought_signature"] for part in written[1]["parts"]] == [unsigned]


@pytest.mark.parametrize("to", PROVIDERS)
@pytest.mark.parametrize("content", ["", "  ", [], [{"type": "text", "text": ""}]])
def test_a_question_without_words_still_begins_a_request(to: FormatName, content: Any) -> None:
    messages = [NewMessage(role="user", content=content), NewMessage(role="assistant", content="What is it?")]
    written = convert([*messages, NewMessage(role="user", content="Help!")], to)
    check_types(to, written.request)
    if to != "openai_responses":  # it takes a conversation that begins with the assistant
        assert broken_rules(to, written.request) == []


def test_the_older_form_of_a_call_becomes_the_newer_one_where_its_answer_is() -> None:
    chat = [
        {"role": "user", "content": "u"},
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": ""}},
        {"role": "user", "content": "v"},
    ]
    with SessionManager.open("memory://") as manager:
        session = manager.create_session()
        manager.add_messages(session.id, from_openai(chat))
        written = convert(manager.get_conversation_context(session.id), "openai_chat").request
    assert [message["role"] for message in written] == ["user", "assistant", "tool", "user"]
    assert written[1]["tool_calls"][0]["function"] == {"name": "f", "arguments": "{}"}
    assert broken_rules("openai_chat", written) == []


def test_answers_of_gemini_that_came_apart_are_written_together_while_a_call_waits() -> None:
    """Gemini refuses a content with fewer answers than there were calls."""
    call, answer = {"function_call": {"name": "f", "args": {}}}, {"function_response": {"name": "f", "response": {}}}
    contents = [
        {"role": "user", "parts": [{"text": "u"}]},
        {"role": "model", "parts": [call, call]},
        {"role": "user", "parts": [answer]},
        {"role": "user", "parts": [answer]},
    ]
    written = convert(from_gemini(contents), "gemini").request
    assert written["contents"] == [*contents[:2], {"role": "user", "parts": [answer, answer]}]
    assert broken_rules("gemini", written) == []


@each_format
@pytest.mark.parametrize("content", ["", "I look.", [{"type": "text", "text": "I look."}]])
def test_a_call_and_its_answer_in_one_message_are_written_as_from_two(format: Any, content: Any) -> None:
    """Applications that show a call with its answer, such as user interfaces, store both as one message."""
    calls: Any = [{"id": "c1", "name": "look", "arguments": {}}, {"id": "c2", "name": "look", "arguments": {"at": 2}}]
    answers: Any = [{"tool_call_id": "c1", "name": "look", "result": {"seen": 1}}]
    question = NewMessage(role="user", content="What is there?")
    asked = NewMessage(role="assistant", content=content, metadata={"tool_calls": calls})  # type: ignore[arg-type]
    metadata: Any = {"tool_calls": calls, "tool_results": answers}
    both = NewMessage(role="assistant", content=content, metadata=metadata)
    answered = NewMessage(role="tool", content="", metadata={"tool_results": answers})  # type: ignore[arg-type]
    later = NewMessage.model_validate(
        {"role": "tool", "content": "", "metadata": {"tool_results": [{**answers[0], "tool_call_id": "c2"}]}}
    )
    whole = convert([question, both, later], format)
    assert whole.request == convert([question, asked, answered, later], format).request
    assert whole.losses == []
    assert format not in PROVIDERS or broken_rules(format, whole.request) == []
