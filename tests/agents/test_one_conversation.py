"""One conversation that every framework continues: each reads all of it, and gets its own items back as they were."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, get_args

import pytest
from agent_framework import Content, Message as AgentMessage
from chatkit.types import AssistantMessageContent, AssistantMessageItem
from google.adk.events import Event
from google.genai import types as gemini
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from llama_index.core.base.llms.types import ChatMessage, TextBlock, ToolCallBlock
from pydantic_ai.conversation_store import ConversationEntry
from pydantic_ai.messages import (
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_core import to_jsonable_python

from session_continuity import AsyncSessionManager, Message, NewMessage, convert
from session_continuity.formats.conversion import FormatName
from session_continuity_agents import (
    agent_framework,
    chatkit,
    claude_agent_sdk,
    google_adk,
    langchain,
    llama_index,
    openai_agents,
    pydantic_ai,
    strands_agents,
)

from .frameworks import FRAMEWORKS

AT = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Voice:
    """How a framework writes a turn, and reads a conversation.

    `say` gives the items of a turn in which a question is asked, a tool is called and answers, and the answer is said.
    `write` makes messages of them, `read` items of all messages.
    """

    say: Callable[[str], list[Any]]
    write: Callable[[list[Any]], list[NewMessage]]
    read: Callable[[Sequence[Message]], list[Any]]
    reads_calls: bool = True


def openai_turn(name: str) -> list[Any]:
    return [
        {"role": "user", "content": f"{name} asks"},
        {"type": "function_call", "call_id": f"{name}-1", "name": f"{name}_tool", "arguments": '{"x": 1}'},
        {"type": "function_call_output", "call_id": f"{name}-1", "output": f"{name} result"},
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": f"{name} answers", "annotations": []}],
        },
    ]


def adk_turn(name: str) -> list[Any]:
    said = [
        ("user", gemini.Part(text=f"{name} asks")),
        ("model", gemini.Part(function_call=gemini.FunctionCall(id=f"{name}-1", name=f"{name}_tool", args={"x": 1}))),
        (
            "user",
            gemini.Part(
                function_response=gemini.FunctionResponse(
                    id=f"{name}-1", name=f"{name}_tool", response={"result": f"{name} result"}
                )
            ),
        ),
        ("model", gemini.Part(text=f"{name} answers")),
    ]
    return [
        Event(
            id=f"{name}-event-{place}",
            author="user" if role == "user" else "shop",
            timestamp=AT.timestamp(),
            content=gemini.Content(role=role, parts=[part]),
        )
        for place, (role, part) in enumerate(said)
    ]


def langchain_turn(name: str) -> list[Any]:
    call: Any = {"id": f"{name}-1", "name": f"{name}_tool", "args": {"x": 1}, "type": "tool_call"}
    return [
        HumanMessage(f"{name} asks", id=f"{name}-q"),
        AIMessage("", id=f"{name}-c", tool_calls=[call]),
        ToolMessage(f"{name} result", id=f"{name}-r", tool_call_id=f"{name}-1", name=f"{name}_tool"),
        AIMessage(f"{name} answers", id=f"{name}-a"),
    ]


def claude_turn(name: str) -> list[Any]:
    call = {"type": "tool_use", "id": f"{name}-1", "name": f"{name}_tool", "input": {"x": 1}}
    result = {"type": "tool_result", "tool_use_id": f"{name}-1", "content": f"{name} result"}
    said: list[tuple[str, Any]] = [
        ("user", f"{name} asks"),
        ("assistant", [call]),
        ("user", [result]),
        ("assistant", [{"type": "text", "text": f"{name} answers"}]),
    ]
    return [
        {"type": role, "uuid": f"{name}-{place}", "message": {"role": role, "content": content}}
        for place, (role, content) in enumerate(said)
    ]


def pydantic_turn(name: str) -> list[Any]:
    about: Any = {"tool_name": f"{name}_tool", "tool_call_id": f"{name}-1"}
    said = [
        ModelRequest(parts=[UserPromptPart(f"{name} asks", timestamp=AT)]),
        ModelResponse(parts=[ToolCallPart(**about, args={"x": 1})], timestamp=AT),
        ModelRequest(parts=[ToolReturnPart(**about, content=f"{name} result", timestamp=AT)]),
        ModelResponse(parts=[TextPart(f"{name} answers")], timestamp=AT),
    ]
    return [ConversationEntry(id=f"{name}-{n}", parent_id=None, message=each) for n, each in enumerate(said)]


def strands_turn(name: str) -> list[Any]:
    result = {"toolUseId": f"{name}-1", "status": "success", "content": [{"text": f"{name} result"}]}
    return [
        {"role": "user", "content": [{"text": f"{name} asks"}]},
        {
            "role": "assistant",
            "content": [{"toolUse": {"toolUseId": f"{name}-1", "name": f"{name}_tool", "input": {"x": 1}}}],
        },
        {"role": "user", "content": [{"toolResult": result}]},
        {"role": "assistant", "content": [{"text": f"{name} answers"}]},
    ]


def agent_framework_turn(name: str) -> list[Any]:
    call = Content.from_function_call(f"{name}-1", f"{name}_tool", arguments={"x": 1})
    return [
        AgentMessage("user", [f"{name} asks"]),
        AgentMessage("assistant", [call]),
        AgentMessage("tool", [Content.from_function_result(f"{name}-1", result=f"{name} result")]),
        AgentMessage("assistant", [f"{name} answers"], author_name="shop"),
    ]


def llama_turn(name: str) -> list[Any]:
    call = ToolCallBlock(tool_call_id=f"{name}-1", tool_name=f"{name}_tool", tool_kwargs={"x": 1})
    answered = {"tool_call_id": f"{name}-1", "name": f"{name}_tool"}
    return [
        ChatMessage(role="user", content=f"{name} asks"),
        ChatMessage(role="assistant", blocks=[TextBlock(text="I look."), call]),
        ChatMessage(role="tool", content=f"{name} result", additional_kwargs=answered),
        ChatMessage(role="assistant", content=f"{name} answers", additional_kwargs={"k": 1}),
    ]


def chatkit_turn(name: str) -> list[Any]:
    place: Any = {"thread_id": "t", "created_at": AT}
    question = {"id": f"{name}-q", "content": [{"type": "input_text", "text": f"{name} asks"}], "inference_options": {}}
    asked = chatkit._ITEM.validate_python({"type": "user_message", **question, **place})
    call = {"id": f"{name}-c", "call_id": f"{name}-1", "name": f"{name}_tool", "arguments": {"x": 1}}
    answered = {"type": "client_tool_call", "status": "completed", "output": f"{name} result"}
    said = AssistantMessageItem(id=f"{name}-a", **place, content=[AssistantMessageContent(text=f"{name} answers")])
    return [asked, chatkit._ITEM.validate_python({**call, **answered, **place}), said]


def each(make: Callable[[Any], Any]) -> Callable[[Sequence[Any]], list[Any]]:
    """A function that makes one thing of each item."""
    return lambda items: [make(item) for item in items]


def joined(make: Callable[[Any], list[Any]]) -> Callable[[Sequence[Message]], list[Any]]:
    """A function that makes any number of items of each message."""
    return lambda messages: [item for message in messages for item in make(message)]


VOICES: dict[str, Voice] = {
    "openai_agents": Voice(openai_turn, openai_agents.messages_of, joined(openai_agents.items_of)),
    "google_adk": Voice(adk_turn, each(google_adk.message_of), each(google_adk.event_of)),
    "langchain": Voice(langchain_turn, each(langchain.message_of), joined(langchain.langchain_messages_of)),
    "claude_agent_sdk": Voice(claude_turn, claude_agent_sdk.messages_of, claude_agent_sdk.entries_of),
    "pydantic_ai": Voice(
        pydantic_turn, each(pydantic_ai.message_of), each(lambda message: pydantic_ai.entry_of(message, None))
    ),
    "strands_agents": Voice(strands_turn, each(strands_agents.message_of), strands_agents.strands_messages_of),
    "agent_framework": Voice(
        agent_framework_turn, each(agent_framework.message_of), each(agent_framework.agent_message_of)
    ),
    "llama_index": Voice(llama_turn, each(llama_index.message_of), joined(llama_index.llama_messages_of)),
    "chatkit": Voice(
        chatkit_turn,
        lambda items: [message for item in items for message in chatkit.messages_of(item, "t")],
        lambda messages: list(chatkit.items_of(messages, "t")),
        reads_calls=False,
    ),
}


def plain(item: Any) -> str:
    """An item as JSON, to compare it and to look into it."""
    data = item.to_dict() if isinstance(item, AgentMessage) else item
    return json.dumps(to_jsonable_python(data, fallback=repr), sort_keys=True)


def test_every_framework_is_here() -> None:
    assert set(VOICES) == {framework.module for framework in FRAMEWORKS}


def test_one_conversation_goes_through_all_frameworks(url: str) -> None:
    """Each framework adds a turn. After each, all frameworks read all turns, and all providers take the context."""

    async def main() -> None:
        async with AsyncSessionManager.open(url) as manager:
            spoken: list[str] = []
            for name, voice in VOICES.items():
                await manager.add_messages("s", voice.write(voice.say(name)), create={})
                spoken.append(name)
                messages = list(await manager.get_messages("s"))
                for reader in VOICES:
                    check_reading(reader, spoken, messages)
            context = await manager.get_conversation_context("s")
            for format in get_args(FormatName):
                written = plain(convert(context, format).request)
                for name in spoken:
                    assert all(f"{name}{text}" in written for text in (" asks", "_tool", " result", " answers"))

    asyncio.run(main())


def check_reading(reader: str, spoken: list[str], messages: Sequence[Message]) -> None:
    voice = VOICES[reader]
    items = [plain(item) for item in voice.read(messages)]
    for name in spoken:
        places = [
            next((at for at, item in enumerate(items) if f"{name}{text}" in item), None) for text in _texts(voice)
        ]
        assert None not in places, (reader, name, places)
        assert places == sorted(places, key=lambda place: place or 0), (reader, name)
    if reader in spoken:
        own = [plain(item) for item in voice.say(reader)]
        assert [item for item in items if item in own] == own, reader


def _texts(voice: Voice) -> list[str]:
    return [" asks", "_tool", " result", " answers"] if voice.reads_calls else [" asks", " answers"]


@pytest.mark.on(url=["memory"])
def test_a_message_that_one_framework_wrote_is_changed_for_all(url: str) -> None:
    async def main() -> None:
        async with AsyncSessionManager.open(url) as manager:
            for name, voice in VOICES.items():
                added = await manager.add_messages("s", voice.write(voice.say(name)), create={})
                await manager.update_message("s", added[0].id, content="edited")
            messages = list(await manager.get_messages("s"))
            for reader, voice in VOICES.items():
                read = "".join(plain(item) for item in voice.read(messages))
                assert " asks" not in read, reader
                assert read.count("edited") == len(VOICES), reader

    asyncio.run(main())
