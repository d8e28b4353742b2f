"""LangChain: the real agent of `create_agent` with a scripted model, on every store."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool

from session_continuity import to_anthropic
from session_continuity_agents.langchain import (
    ConversationHistory,
    ConversationMiddleware,
    langchain_messages_of,
    message_of,
)

from .stores import cancel_at, gated, metered, opened

MEMORY = pytest.mark.on(url=["memory"])
CHAT: Any = {"configurable": {"thread_id": "chat"}}


class ScriptedModel(BaseChatModel):
    """Answers with the next message or error of its script, and notes what it was called with."""

    script: list[Any]
    seen: list[list[BaseMessage]]

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **_: Any) -> Any:
        assert tools
        return self

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        self.seen.append(messages)
        answer = self.script.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return ChatResult(generations=[ChatGeneration(message=answer)])


@tool
def add(a: int, b: int) -> str:
    """Add two numbers."""
    return str(a + b)


@tool(return_direct=True)
def look() -> str:
    """Look."""
    return "blue"


def call(n: int, name: str = "add") -> Any:
    return {"name": name, "args": {"a": n, "b": 2} if name == "add" else {}, "id": f"c{n}", "type": "tool_call"}


def agent_on(middleware: ConversationMiddleware, *script: Any) -> tuple[Any, ScriptedModel]:
    model = ScriptedModel(script=list(script), seen=[])
    return create_agent(model, [add, look], middleware=[middleware], system_prompt="Be brief."), model


def said(text: str) -> Any:
    return {"messages": [{"role": "user", "content": text}]}


def texts(messages: Sequence[BaseMessage]) -> list[str]:
    return [message.text for message in messages]


async def roles(middleware: ConversationMiddleware) -> list[str]:
    return [message.role for message in await middleware.manager.get_messages("chat")]


@pytest.fixture
def middleware(url: str) -> Iterator[ConversationMiddleware]:
    """One on an empty store."""
    opened = ConversationMiddleware(url=url, user_id="ada")
    yield opened
    opened.close()


def sums() -> list[AIMessage]:
    """Two calls at once, and two answers."""
    return [AIMessage("", tool_calls=[call(1), call(3)]), AIMessage("3 and 5"), AIMessage("bye")]


def test_a_conversation_with_parallel_tools_goes_on_after_a_restart(
    url: str, middleware: ConversationMiddleware
) -> None:
    agent, _ = agent_on(middleware, *sums()[:2])
    first = agent.invoke(said("add"), CHAT)["messages"]
    again = ConversationMiddleware(url=url)
    agent, model = agent_on(again, sums()[2])
    second = agent.invoke(said("thanks"), CHAT)["messages"]
    assert second[:5] == first
    assert texts(model.seen[0]) == ["Be brief.", "add", "", "3", "5", "3 and 5", "thanks"]
    assert asyncio.run(roles(again)) == ["user", "assistant", "tool", "tool", "assistant", "user", "assistant"]
    stored = asyncio.run(again.manager.get_session("chat"))
    assert (stored.user_id, stored.metadata.source) == ("ada", "langchain")
    again.close()


def test_async_and_blocking_runs_share_a_conversation(middleware: ConversationMiddleware) -> None:
    agent, model = agent_on(middleware, *[AIMessage(str(n)) for n in range(4)])
    for _ in range(2):
        asyncio.run(agent.ainvoke(said("async"), CHAT))
        agent.invoke(said("blocking"), CHAT)
    assert texts(model.seen[-1]) == ["Be brief.", "async", "0", "blocking", "1", "async", "2", "blocking"]


@pytest.mark.on(url=["sqlite", "redis", "dynamodb"])
def test_a_turn_costs_few_requests(url: str) -> None:
    async def main() -> list[int]:
        counted: list[int] = []
        async with metered(url) as (manager, meter):
            agent, _ = agent_on(
                ConversationMiddleware(manager=manager), *[each for _ in range(3) for each in sums()[:2]]
            )
            for _ in range(3):
                with meter.count(counted):
                    await agent.ainvoke(said("add"), CHAT)
        return counted

    expected = 4 if url.startswith("dynamodb") else 3  # a session and its messages are two requests there
    assert asyncio.run(main())[1:] == [expected, expected]


@pytest.mark.on(url=["sqlite", "redis"])
def test_two_runs_at_once_lose_nothing_and_double_nothing(url: str) -> None:
    async def run(name: str) -> None:
        async with opened(url) as manager:
            agent, _ = agent_on(ConversationMiddleware(manager=manager), *[AIMessage(f"{name}{n}!") for n in range(10)])
            for n in range(10):
                await agent.ainvoke(said(f"{name}{n}"), CHAT)

    async def main() -> None:
        await asyncio.gather(run("a"), run("b"))
        async with opened(url) as manager:
            stored = [str(message.content) for message in await manager.get_messages("chat")]
        assert [f"{text}!" for text in stored[::2]] == stored[1::2]
        assert sorted(stored[::2]) == sorted(f"{name}{n}" for name in "ab" for n in range(10))

    asyncio.run(main())


@MEMORY
def test_a_model_that_fails_leaves_nothing_behind(middleware: ConversationMiddleware) -> None:
    agent, _ = agent_on(middleware, AIMessage("hi"), ValueError("no luck"), AIMessage("again"))
    agent.invoke(said("one"), CHAT)
    with pytest.raises(ValueError, match="no luck"):
        agent.invoke(said("two"), CHAT)
    assert len(asyncio.run(roles(middleware))) == 2
    agent.invoke(said("three"), CHAT)
    assert len(asyncio.run(roles(middleware))) == 4


@MEMORY
def test_the_answer_of_a_tool_that_is_returned_directly_is_stored(middleware: ConversationMiddleware) -> None:
    agent, _ = agent_on(middleware, AIMessage("", tool_calls=[call(1, "look")]))
    agent.invoke(said("which colour?"), CHAT)
    assert asyncio.run(roles(middleware)) == ["user", "assistant", "tool"]


@MEMORY
def test_a_cancelled_append_is_settled(url: str) -> None:
    async def main() -> None:
        async with gated(url) as (manager, gate):
            history = ConversationHistory("chat", manager=manager)
            with pytest.raises(asyncio.CancelledError):
                await cancel_at(gate, history.aadd_messages([HumanMessage("said")]))
            assert texts(await history.aget_messages()) == ["said"]

    asyncio.run(main())


@MEMORY
def test_a_budget_and_rules_limit_what_the_model_sees(url: str) -> None:
    for budget, most in ((10_000, 8), (60, 5)):  # three turns, the prompt and the question; and what fits
        middleware = ConversationMiddleware(url=url, token_budget=budget, context={"max_turns": 3})
        agent, model = agent_on(middleware, *[AIMessage("word " * 20) for _ in range(10)])
        chat: Any = {"configurable": {"thread_id": f"chat {budget}"}}
        for n in range(10):
            agent.invoke(said(f"turn {n}"), chat)
        assert "turn 9" in texts(model.seen[-1])
        assert 2 <= len(model.seen[-1]) <= most
        assert asyncio.run(middleware.manager.get_session(f"chat {budget}")).message_count == 20
        middleware.close()


@MEMORY
def test_a_run_must_name_its_conversation(middleware: ConversationMiddleware) -> None:
    agent, _ = agent_on(middleware)
    with pytest.raises(ValueError, match="thread_id"):
        agent.invoke(said("hi"))


ODD: list[BaseMessage] = [
    HumanMessage("plain"),
    HumanMessage([{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": "https://x/y.png"}}]),
    HumanMessage(["strings", {"no_type": 1}], name="ada", additional_kwargs={"k": [1, 1.5]}),
    HumanMessage("lone \ud800 surrogate"),
    SystemMessage("be brief"),
    AIMessage("", tool_calls=[call(1)], response_metadata={"model": "m"}, id="run-1"),
    AIMessage(
        [{"type": "text", "text": "I add."}, {"type": "tool_use", "id": "c2", "name": "add", "input": {"a": 2}}],
        tool_calls=[call(2)],
        usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
    ),
    ToolMessage("3", tool_call_id="c1", name="add"),
    ToolMessage([{"type": "text", "text": "failed"}], tool_call_id="c2", status="error", artifact={"raw": [1]}),
    ChatMessage("aside", role="critic"),
]


def test_odd_messages_come_back_equal(url: str) -> None:
    history = ConversationHistory("chat", url=url)
    history.add_messages([message.model_copy(deep=True) for message in ODD])
    found = history.messages
    assert [type(message) for message in found] == [type(message) for message in ODD]
    for one, other in zip(found, ODD, strict=True):
        assert one.model_dump(exclude={"id"}) == other.model_dump(exclude={"id"})
        assert other.id in (None, one.id)
    history.add_messages(found)  # they have ids now, and are stored once
    assert history.messages == found
    history.clear()
    assert history.messages == []
    asyncio.run(history.aclose())


def test_a_chunk_becomes_a_message() -> None:
    [found] = langchain_messages_of(message_of(AIMessageChunk("part")))
    assert (type(found), found.content) == (AIMessage, "part")


@MEMORY
def test_others_read_the_conversation_and_their_messages_are_read(middleware: ConversationMiddleware) -> None:
    agent, model = agent_on(middleware, *sums())
    agent.invoke(said("add"), CHAT)

    async def continue_elsewhere() -> list[Any]:
        manager = middleware.manager
        written = to_anthropic(await manager.get_conversation_context("chat"))["messages"]
        called: Any = {"tool_calls": [{"id": "x", "name": "look", "arguments": '{"at": "sky"}'}]}
        answered: Any = {"tool_results": [{"tool_call_id": "x", "name": "look", "result": "blue"}]}
        batch: list[Any] = [
            {"role": "user", "content": "What colour?"},
            {"role": "assistant", "content": "I look.", "metadata": called},
            {"role": "tool", "content": "", "metadata": answered},
        ]
        await manager.add_messages("chat", batch)
        return written

    written = asyncio.run(continue_elsewhere())
    assert [block["type"] for block in written[1]["content"]] == ["tool_use", "tool_use"]
    agent.invoke(said("and?"), CHAT)
    seen = model.seen[-1]
    calls = [each["name"] for message in seen if isinstance(message, AIMessage) for each in message.tool_calls]
    assert calls == ["add", "add", "look"]
    assert [message.text for message in seen if isinstance(message, ToolMessage)] == ["3", "5", "blue"]


@MEMORY
def test_an_edited_message_is_read_as_edited(url: str) -> None:
    async def main() -> None:
        async with opened(url) as manager:
            history = ConversationHistory("chat", manager=manager)
            await history.aadd_messages([HumanMessage(["my card is 4711"])])
            [message] = await manager.get_messages("chat")
            await manager.update_message("chat", message.id, content="removed")
            assert texts(await history.aget_messages()) == ["removed"]

    asyncio.run(main())


@tool
def die() -> str:
    """End the process."""
    os.kill(os.getpid(), signal.SIGKILL)
    return ""


@tool
def fail() -> str:
    """Fail."""
    raise ValueError("no luck")


@pytest.mark.on(url=["sqlite", "redis"])
def test_a_process_that_is_killed_in_a_tool_leaves_a_conversation_that_goes_on(url: str) -> None:
    program = f"""if True:
        from tests.agents.test_langchain import *
        model = ScriptedModel(script=[AIMessage("one"), AIMessage("", tool_calls=[call(9, "die")])], seen=[])
        agent = create_agent(model, [die], middleware=[ConversationMiddleware(url={url!r})])
        agent.invoke(said("first"), CHAT)
        agent.invoke(said("second"), CHAT)
    """
    died = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert died.returncode == -signal.SIGKILL, died.stderr
    middleware = ConversationMiddleware(url=url)
    agent, model = agent_on(middleware, AIMessage("two"))
    assert agent.invoke(said("third"), CHAT)["messages"][-1].text == "two"
    assert texts(model.seen[0])[1:3] == ["first", "one"]
    assert texts(model.seen[0])[-1] == "third"
    middleware.close()


@MEMORY
def test_a_tool_that_raises_leaves_a_conversation_that_goes_on(middleware: ConversationMiddleware) -> None:
    model = ScriptedModel(script=[AIMessage("", tool_calls=[call(9, "fail")]), AIMessage("here")], seen=[])
    agent: Any = create_agent(model, [fail], middleware=[middleware])
    with pytest.raises(ValueError, match="no luck"):
        agent.invoke(said("try"), CHAT)
    assert agent.invoke(said("again"), CHAT)["messages"][-1].text == "here"
    assert texts(model.seen[-1])[-1] == "again"


@MEMORY
def test_a_streamed_run_is_stored_as_one_that_is_not(middleware: ConversationMiddleware) -> None:
    agent, _ = agent_on(middleware, *sums()[:2])
    steps = [name for step in agent.stream(said("add"), CHAT, stream_mode="updates") for name in step]
    assert "model" in steps
    assert asyncio.run(roles(middleware)) == ["user", "assistant", "tool", "tool", "assistant"]


@pytest.mark.on(url=["redis"])
def test_a_hundred_turns_are_read_as_they_were_said(middleware: ConversationMiddleware) -> None:
    agent, model = agent_on(middleware, *[AIMessage(f"answer {n}") for n in range(100)])
    for n in range(100):
        agent.invoke(said(f"turn {n}"), CHAT)
    expected = [text for n in range(99) for text in (f"turn {n}", f"answer {n}")]
    assert texts(model.seen[-1]) == ["Be brief.", *expected, "turn 99"]
