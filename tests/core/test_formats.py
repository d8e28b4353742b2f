"""Formats of providers: conversations come back as they were, and go over to every other provider in its types."""

from __future__ import annotations

import json
import os
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


EXAMPLES = int(os.environ.get("SC_FORMAT_EXAMPLES", "12"))
"""How many conversations are generated for each format."""

few = settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
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


@each_format
@few
@given(data=st.data(), budget=st.sampled_from([100_000, 3_000, 400]))
def test_providers_accept_the_contexts_of_damaged_conversations(format: str, data: st.DataObject, budget: int) -> None:
    messages = read(format, data.draw(conversations(format, damage=True)))
    with SessionManager.open("memory://", token_budget=budget) as manager:
        session = manager.create_session()
        manager.add_messages(session.id, [message.model_copy(update={"id": None}) for message in messages])
        try:
            context = manager.get_conversation_context(session.id)
        except TokenBudgetExceededError:
            return
    if any(message.role == "user" for message in context):  # otherwise nothing is asked
        for to in PROVIDERS:
            request = convert(context, to).request
            check_types(to, request)
            assert broken_rules(to, request) == []
