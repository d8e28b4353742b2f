"""agent-framework: the real agent with a scripted chat client, on every store."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any

import pytest
from agent_framework import (
    Agent,
    AgentSession,
    BaseChatClient,
    ChatMiddlewareLayer,
    ChatResponse,
    ChatResponseUpdate,
    Content,
    FunctionInvocationLayer,
    Message,
    ResponseStream,
    tool,
)
from agent_framework._sessions import filter_new_messages

from session_continuity import convert, to_anthropic
from session_continuity_agents.agent_framework import AgentFrameworkHistory, agent_message_of, message_of

from .stores import cancel_at, gated, metered

MEMORY = pytest.mark.on(url=["memory"])


class ScriptedClient(FunctionInvocationLayer[Any], ChatMiddlewareLayer[Any], BaseChatClient[Any]):
    """Answers with the next contents or error of its script, and notes what it was called with."""

    def __init__(self, *script: Any) -> None:
        super().__init__()
        self.script, self.seen = list(script), list[list[Message]]()

    def _inner_get_response(self, *, messages: Sequence[Message], stream: bool, **_: Any) -> Any:
        self.seen.append(list(messages))
        answer = self.script.pop(0)

        async def updates() -> AsyncIterator[ChatResponseUpdate]:
            for content in answer:
                yield ChatResponseUpdate(role="assistant", contents=[content], message_id="streamed")

        async def whole() -> ChatResponse[Any]:
            if isinstance(answer, Exception):
                raise answer
            return ChatResponse(messages=[Message("assistant", answer)])

        return ResponseStream(updates(), finalizer=ChatResponse.from_updates) if stream else whole()


@tool(approval_mode="never_require")
def add(a: int, b: int) -> str:
    """Add two numbers."""
    if a < 0:
        raise ValueError("negative")
    return str(a + b)


@tool(approval_mode="never_require")
def die() -> str:
    """End the process."""
    os.kill(os.getpid(), signal.SIGKILL)
    return ""


def call(n: int) -> Content:
    return Content.from_function_call(f"c{n}", "add", arguments={"a": n, "b": 2})


def sums() -> list[Any]:
    """Two calls at once, and the answer."""
    return [[call(1), call(3)], ["3 and 5"]]


def agent_on(history: AgentFrameworkHistory, *script: Any, **options: Any) -> tuple[Agent[Any], ScriptedClient]:
    client = ScriptedClient(*script)
    return Agent(client, tools=[add, die], context_providers=[history], **options), client


def chat() -> AgentSession:
    """The session as a process has it that was just started."""
    return AgentSession(session_id="chat")


def texts(messages: Sequence[Message]) -> list[str]:
    return [message.text for message in messages]


async def roles(history: AgentFrameworkHistory) -> list[str]:
    return [message.role for message in await history.manager.get_messages("chat")]


def test_a_conversation_with_parallel_tools_goes_on_in_another_loop(url: str) -> None:
    first = AgentFrameworkHistory(url=url, user_id="ada")

    async def begin() -> None:
        agent, _ = agent_on(first, *sums())
        assert (await agent.run("add", session=chat())).text == "3 and 5"

    async def go_on() -> None:
        async with AgentFrameworkHistory(url=url) as history:
            agent, client = agent_on(history, ["bye"])
            await agent.run("thanks", session=chat())
            assert texts(client.seen[0]) == ["add", "", "", "3 and 5", "thanks"]
            results = [content.result for message in client.seen[0] for content in message.contents]
            assert [result for result in results if result] == ["3", "5"]
            assert await roles(history) == ["user", "assistant", "tool", "assistant", "user", "assistant"]
            stored = await history.manager.get_session("chat")
            assert (stored.user_id, stored.metadata.source) == ("ada", "agent_framework")
        await first.aclose()

    asyncio.run(begin())
    asyncio.run(go_on())


def on(url: str, use: Callable[[AgentFrameworkHistory], Coroutine[Any, Any, None]], **options: Any) -> None:
    """Run `use` with a history on the store."""

    async def main() -> None:
        async with AgentFrameworkHistory(url=url, **options) as history:
            await use(history)

    asyncio.run(main())


@MEMORY
def test_a_stream_is_stored_when_it_ends(url: str) -> None:
    async def use(history: AgentFrameworkHistory) -> None:
        agent, _ = agent_on(history, sums()[0], [Content.from_text("3 and "), Content.from_text("5")])
        shown = [update.text async for update in agent.run("add", session=chat(), stream=True)]
        assert "".join(shown) == "3 and 5"
        assert texts(await history.get_messages("chat")) == ["add", "", "", "3 and 5"]

    on(url, use)


@MEMORY
def test_a_stream_that_is_left_stores_nothing_and_the_conversation_goes_on(url: str) -> None:
    async def use(history: AgentFrameworkHistory) -> None:
        agent, _ = agent_on(history, [Content.from_text("one"), Content.from_text("two")], ["again"])
        async for _ in agent.run("hi", session=chat(), stream=True):
            break
        assert await history.get_messages("chat") == []
        await agent.run("hi", session=chat())
        assert texts(await history.get_messages("chat")) == ["hi", "again"]

    on(url, use)


@MEMORY
def test_a_tool_that_fails_is_stored_as_failed_and_a_model_that_fails_stores_nothing(url: str) -> None:
    async def use(history: AgentFrameworkHistory) -> None:
        agent, _ = agent_on(history, [call(-1), call(1)], ["one of two"], ValueError("no luck"))
        await agent.run("add", session=chat())
        with pytest.raises(ValueError, match="no luck"):
            await agent.run("and?", session=chat())
        stored = list(await history.manager.get_messages("chat"))
        assert [result.is_error for result in stored[2].metadata.tool_results] == [True, False]
        assert len(stored) == 4

    on(url, use)


def test_storing_after_each_call_of_the_model_stores_nothing_twice(url: str) -> None:
    async def use(history: AgentFrameworkHistory) -> None:
        options = {"require_per_service_call_history_persistence": True}
        agent, _ = agent_on(history, *sums(), *sums(), **options)
        for _ in range(2):
            await agent.run("add", session=chat())
        assert await roles(history) == ["user", "assistant", "tool", "assistant"] * 2

    on(url, use)


@MEMORY
def test_messages_that_are_repeated_are_cut_as_agent_framework_cuts_them(url: str) -> None:
    """Random batches of two texts, two roles, and ids of some, beside agent-framework's own rule over all messages."""
    chosen = random.Random(7)

    def batch() -> list[Message]:
        return [
            Message(chosen.choice(["user", "assistant"]), [chosen.choice("ab")], message_id=chosen.choice([None, "m"]))
            for _ in range(chosen.randint(0, 4))
        ]

    async def use(history: AgentFrameworkHistory) -> None:
        for session in map(str, range(60)):
            expected: list[Message] = []
            for _ in range(6):
                given = [*expected[-chosen.randint(1, 9) :], *batch()] if chosen.random() < 0.5 else batch()
                expected += filter_new_messages(expected, given)
                await history.save_messages(session, given)
            found = await history.get_messages(session)
            assert [message.to_dict() for message in found] == [message.to_dict() for message in expected]

    on(url, use)


@pytest.mark.on(url=["sqlite", "redis", "dynamodb"])
def test_a_turn_costs_few_requests(url: str) -> None:
    async def main() -> list[int]:
        counted: list[int] = []
        async with metered(url) as (manager, meter):
            agent, _ = agent_on(AgentFrameworkHistory(manager=manager), *[each for _ in range(3) for each in sums()])
            for _ in range(3):
                with meter.count(counted):
                    await agent.run("add", session=chat())
        return counted

    assert asyncio.run(main())[1:] == [3, 3]


def test_two_writers_lose_nothing_and_double_nothing(url: str) -> None:
    async def run(history: AgentFrameworkHistory, name: str) -> None:
        agent, _ = agent_on(history, *[[f"{name}{n}!"] for n in range(10)])
        for n in range(10):
            await agent.run(f"{name}{n}", session=chat())

    async def use(history: AgentFrameworkHistory) -> None:
        async with AgentFrameworkHistory(url=url) as other:
            await asyncio.gather(run(history, "a"), run(other, "b"))
        stored = texts(await history.get_messages("chat"))
        assert [f"{text}!" for text in stored[::2]] == stored[1::2]
        assert sorted(stored[::2]) == sorted(f"{name}{n}" for name in "ab" for n in range(10))

    on(url, use)


@pytest.mark.on(url=["redis"])
def test_a_hundred_turns_are_read_as_they_were_said(url: str) -> None:
    async def use(history: AgentFrameworkHistory) -> None:
        agent, client = agent_on(history, *[[f"answer {n}"] for n in range(100)])
        for n in range(100):
            await agent.run(f"turn {n}", session=chat())
        assert texts(client.seen[-1]) == [text for n in range(99) for text in (f"turn {n}", f"answer {n}")] + [
            "turn 99"
        ]

    on(url, use)


@MEMORY
def test_a_cancelled_write_is_settled(url: str) -> None:
    async def main() -> None:
        async with gated(url) as (manager, gate):
            history = AgentFrameworkHistory(manager=manager)
            agent, _ = agent_on(history, ["answer"])
            with pytest.raises(asyncio.CancelledError):
                await cancel_at(gate, agent.run("hi", session=chat()))
            assert texts(await history.get_messages("chat")) == ["hi", "answer"]

    asyncio.run(main())


@pytest.mark.on(url=["sqlite", "redis"])
def test_a_process_that_is_killed_in_a_tool_leaves_a_conversation_that_goes_on(url: str) -> None:
    program = f"""if True:
        import asyncio
        from agent_framework import Content
        from tests.agents.test_agent_framework import AgentFrameworkHistory, agent_on, chat
        async def main():
            die = [Content.from_function_call("c", "die", arguments=dict())]
            agent, _ = agent_on(AgentFrameworkHistory(url={url!r}), ["one"], die)
            await agent.run("first", session=chat())
            await agent.run("second", session=chat())
        asyncio.run(main())
    """
    died = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert died.returncode == -signal.SIGKILL, died.stderr

    async def use(history: AgentFrameworkHistory) -> None:
        agent, client = agent_on(history, ["two"])
        await agent.run("second", session=chat())
        assert texts(client.seen[0]) == ["first", "one", "second"]

    on(url, use)


@MEMORY
def test_providers_of_other_sources_have_messages_of_their_own(url: str) -> None:
    async def use(history: AgentFrameworkHistory) -> None:
        audit = AgentFrameworkHistory("audit", url=url, load_messages=False, store_inputs=False)
        agent, _ = agent_on(history, ["answer"])
        agent.context_providers.append(audit)
        await agent.run("hi", session=chat())
        assert texts(await history.get_messages("chat")) == ["hi", "answer"]
        assert texts(await audit.get_messages("chat")) == ["answer"]
        await audit.aclose()

    on(url, use)


@MEMORY
def test_a_budget_and_rules_limit_what_the_model_sees(url: str) -> None:
    async def use(history: AgentFrameworkHistory) -> None:
        agent, client = agent_on(history, *[["word " * 20] for _ in range(10)])
        for n in range(10):
            await agent.run(f"turn {n}", session=chat())
        assert "turn 9" in texts(client.seen[-1])
        assert len(client.seen[-1]) <= 7
        assert len(await roles(history)) == 20

    on(url, use, token_budget=10_000, context={"max_turns": 3})


ODD = [
    Message("user", ["see", Content.from_uri("https://x/y.png", media_type="image/png")]),
    Message("user", [Content.from_data(b"hi", "application/pdf")], additional_properties={"k": [1, 1.5]}),
    Message("user", ["lone \ud800 surrogate"], author_name="ada"),
    Message("system", ["be brief", "and kind"]),
    Message(
        "assistant", [Content.from_text_reasoning(text="why", protected_data="x"), call(1), "text"], message_id="m"
    ),
    Message("assistant", [Content.from_function_call("c9", "add", arguments='{"a": 1')]),
    Message(
        "tool", [Content.from_function_result("c1", result="3"), Content.from_function_result("c2", exception="x")]
    ),
    Message("assistant", [Content.from_error(message="m", error_code="e")]),
    Message("critic", ["aside"]),
    Message("assistant", []),
]


def test_odd_messages_come_back_equal(url: str) -> None:
    async def use(history: AgentFrameworkHistory) -> None:
        await history.save_messages("chat", ODD)
        found = await history.get_messages("chat")
        assert [message.to_dict() for message in found] == [message.to_dict() for message in ODD]

    on(url, use)


@MEMORY
def test_others_read_the_conversation_and_their_messages_are_read(url: str) -> None:
    async def use(history: AgentFrameworkHistory) -> None:
        agent, client = agent_on(history, *sums(), ["done"])
        await agent.run("add", session=chat())
        manager = history.manager
        written = to_anthropic(await manager.get_conversation_context("chat"))["messages"]
        assert [block["type"] for block in written[1]["content"]] == ["tool_use", "tool_use"]
        called: Any = {"tool_calls": [{"id": "x", "name": "look", "arguments": {"at": "sky"}}]}
        answered: Any = {"tool_results": [{"tool_call_id": "x", "name": "look", "result": "blue"}]}
        image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
        batch: list[Any] = [
            {"role": "user", "content": [{"type": "text", "text": "Which?"}, image]},
            {"role": "assistant", "content": [{"type": "reasoning", "text": "I look."}], "metadata": called},
            {"role": "tool", "content": "", "metadata": answered},
        ]
        await manager.add_messages("chat", batch)
        await agent.run("and?", session=chat())
        kinds = [content.type for message in client.seen[-1][4:] for content in message.contents]
        assert kinds == ["text", "data", "text_reasoning", "function_call", "function_result", "text"]

    on(url, use)


def test_images_and_files_go_over_to_another_provider() -> None:
    [image, file] = [message_of(message) for message in ODD[:2]]
    assert convert([image], "openai_chat").losses == []
    [made] = agent_message_of(file).contents
    assert (made.type, made.media_type) == ("data", "application/pdf")


@MEMORY
def test_an_edited_message_is_read_as_edited(url: str) -> None:
    async def use(history: AgentFrameworkHistory) -> None:
        await history.save_messages("chat", [Message("user", ["my card is 4711"], author_name="ada")])
        [message] = await history.manager.get_messages("chat")
        await history.manager.update_message("chat", message.id, content="removed")
        [found] = await history.get_messages("chat")
        assert "4711" not in str(found.to_dict())

    on(url, use)
