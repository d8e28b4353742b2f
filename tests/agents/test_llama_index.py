"""LlamaIndex: its real agent and Memory with a scripted model, on every store, and its own SQL store beside ours."""

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
from llama_index.core.agent.workflow import AgentStream, FunctionAgent
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    DocumentBlock,
    ImageBlock,
    LLMMetadata,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.memory import Memory
from llama_index.core.storage.chat_store.base_db import MessageStatus
from llama_index.core.storage.chat_store.sql import SQLAlchemyChatStore
from pydantic import Field
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import StaticPool

from session_continuity import ValidationError, convert, to_anthropic
from session_continuity_agents.llama_index import LlamaChatStore, llama_messages_of, message_of

from .stores import cancel_at, gated, metered

pytestmark = pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")  # of LlamaIndex itself
MEMORY = pytest.mark.on(url=["memory"])
ACTIVE, ARCHIVED = MessageStatus.ACTIVE, MessageStatus.ARCHIVED


class Scripted(FunctionCallingLLM):
    """Answers with the next message or error of its script, and notes what it was called with."""

    script: list[Any] = Field(default_factory=list)
    seen: list[Any] = Field(default_factory=list)

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(is_function_calling_model=True, model_name="scripted")

    def _next(self, messages: Sequence[ChatMessage]) -> ChatResponse:
        self.seen.append(list(messages))
        answer = self.script.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return ChatResponse(message=answer, delta=answer.content)

    def chat(self, messages: Sequence[ChatMessage], **_: Any) -> ChatResponse:
        return self._next(messages)

    async def achat(self, messages: Sequence[ChatMessage], **_: Any) -> ChatResponse:
        return self._next(messages)

    def stream_chat(self, messages: Sequence[ChatMessage], **_: Any) -> Any:
        yield self._next(messages)

    async def astream_chat(self, messages: Sequence[ChatMessage], **_: Any) -> Any:
        answer = self._next(messages)

        async def parts() -> AsyncIterator[ChatResponse]:
            yield answer

        return parts()

    def complete(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError

    async def acomplete(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError

    def stream_complete(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError

    async def astream_complete(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError

    def _prepare_chat_with_tools(
        self, tools: Any, user_msg: Any = None, chat_history: Any = None, **_: Any
    ) -> dict[str, Any]:
        del tools
        return {"messages": [*(chat_history or []), *([user_msg] if user_msg else [])]}

    def get_tool_calls_from_response(self, response: ChatResponse, **_: Any) -> list[ToolSelection]:
        return [
            ToolSelection(tool_id=str(block.tool_call_id), tool_name=block.tool_name, tool_kwargs=block.tool_kwargs)
            for block in response.message.blocks
            if isinstance(block, ToolCallBlock)
        ]


def add(a: int, b: int) -> str:
    """Add two numbers."""
    if a < 0:
        raise ValueError("negative")
    return str(a + b)


def die() -> str:
    """End the process."""
    os.kill(os.getpid(), signal.SIGKILL)
    return ""


def call(n: int) -> ToolCallBlock:
    return ToolCallBlock(tool_call_id=f"c{n}", tool_name="add", tool_kwargs={"a": n, "b": 2})


def answer(*blocks: Any) -> ChatMessage:
    return ChatMessage(
        role="assistant", blocks=[TextBlock(text=each) if isinstance(each, str) else each for each in blocks]
    )


def said(text: str, role: str = "user") -> ChatMessage:
    return ChatMessage(role=role, content=text)


def sums() -> list[ChatMessage]:
    """Two calls at once, and the answer."""
    return [answer(call(1), call(3)), answer("3 and 5")]


def agent_of(*script: Any) -> FunctionAgent:
    return FunctionAgent(tools=[add, die], llm=Scripted(script=list(script)))


def memory_on(store: LlamaChatStore, **options: Any) -> Memory:
    """The memory of the conversation as a process has it that was just started."""
    return Memory.from_defaults(session_id="chat", chat_store=store, **options)


async def run(store: LlamaChatStore, agent: FunctionAgent, text: str, **options: Any) -> str:
    return str(await agent.run(text, memory=memory_on(store, **options)))


def texts(messages: Sequence[ChatMessage]) -> list[str]:
    return [message.content or "" for message in messages]


def on(url: str, use: Callable[[LlamaChatStore], Coroutine[Any, Any, None]], **options: Any) -> None:
    """Run `use` with a chat store."""

    async def main() -> None:
        async with LlamaChatStore(url=url, **options) as store:
            await use(store)

    asyncio.run(main())


def test_a_conversation_with_parallel_tools_goes_on_in_another_loop(url: str) -> None:
    first = LlamaChatStore(url=url, user_id="ada")

    async def begin() -> None:
        assert await run(first, agent_of(*sums()), "add") == "3 and 5"

    async def go_on() -> None:
        async with LlamaChatStore(url=url) as store:
            agent = agent_of(answer("bye"))
            await run(store, agent, "thanks")
            assert texts(agent.llm.seen[0]) == ["add", "", "3", "5", "3 and 5", "thanks"]
            session = await store.manager.get_session("chat")
            assert (session.user_id, session.metadata.source) == ("ada", "llama_index")
            stored = await store.manager.get_messages("chat")
            assert [message.role for message in stored] == [
                "user", "assistant", "tool", "tool", "assistant", "user", "assistant",
            ]  # fmt: skip
        await first.aclose()

    asyncio.run(begin())
    asyncio.run(go_on())


def test_blocking_code_works_twice_in_a_row(url: str) -> None:
    with asyncio.Runner() as runner:  # LlamaIndex runs blocking calls in the loop of the thread, and leaves it open
        asyncio.set_event_loop(runner.get_loop())
        store = LlamaChatStore(url=url)
        memory = memory_on(store)
        for n in range(2):
            memory.put(said(f"hi {n}"))
        assert texts(memory.get_all()) == ["hi 0", "hi 1"]
        memory.set([said("new")])
        assert texts(memory.get()) == ["new"]
        memory.reset()
        assert memory.get_all() == []
        runner.run(store.aclose())


@MEMORY
def test_a_tool_that_fails_is_answered_and_a_model_that_fails_leaves_the_question(url: str) -> None:
    async def use(store: LlamaChatStore) -> None:
        await run(store, agent_of(answer(call(-1), call(1)), answer("one of two")), "add")
        assert "negative" in texts(await store.get_messages("chat"))[2]
        with pytest.raises(ValueError, match="no luck"):
            await run(store, agent_of(ValueError("no luck")), "and?")
        assert texts(await store.get_messages("chat"))[4:] == ["one of two", "and?"]

    on(url, use)


@MEMORY
def test_a_stream_is_stored_when_it_ends(url: str) -> None:
    async def use(store: LlamaChatStore) -> None:
        handler = agent_of(*sums()).run("add", memory=memory_on(store))
        shown = [event.delta async for event in handler.stream_events() if isinstance(event, AgentStream)]
        await handler
        assert shown[-1] == "3 and 5"
        assert texts(await store.get_messages("chat")) == ["add", "", "3", "5", "3 and 5"]

    on(url, use)


@MEMORY
def test_a_run_that_is_cancelled_leaves_a_conversation_that_goes_on(url: str) -> None:
    async def use(store: LlamaChatStore) -> None:
        started = asyncio.Event()

        async def wait() -> str:
            """Wait."""
            started.set()
            await asyncio.Event().wait()
            return ""

        block = ToolCallBlock(tool_call_id="w", tool_name="wait", tool_kwargs={})
        agent = FunctionAgent(tools=[wait], llm=Scripted(script=[answer(block)]))
        handler = agent.run("wait", memory=memory_on(store))
        await started.wait()
        await handler.cancel_run()
        assert await run(store, agent_of(answer("here")), "again") == "here"
        assert texts(await store.get_messages("chat"))[-2:] == ["again", "here"]

    on(url, use)


@pytest.mark.on(url=["sqlite", "redis", "dynamodb"])
def test_a_turn_costs_few_requests(url: str) -> None:
    async def main() -> list[int]:
        counted: list[int] = []
        async with metered(url) as (manager, meter):
            store = LlamaChatStore(manager=manager)
            for _ in range(3):
                agent = agent_of(*sums())
                with meter.count(counted):
                    await run(store, agent, "add")
        return counted

    expected = 12 if url.startswith("dynamodb") else 7  # where reading a session with messages is two requests at once
    assert asyncio.run(main())[1:] == [expected, expected]


@pytest.mark.on(url=["sqlite", "redis", "dynamodb"])
def test_archiving_costs_the_same_however_much_it_is(url: str) -> None:
    async def main() -> list[int]:
        counted: list[int] = []
        async with metered(url) as (manager, meter):
            store = LlamaChatStore(manager=manager)
            await store.add_messages("chat", [said(str(n)) for n in range(40)])
            await store.get_messages("chat")
            await store.archive_oldest_messages("chat", 1)
            with meter.count(counted):
                await store.archive_oldest_messages("chat", 30)
            with meter.count(counted):
                assert len(await store.get_messages("chat")) == 9
        return counted

    assert asyncio.run(main()) == ([6, 3] if url.startswith("dynamodb") else [2, 1])


def test_two_writers_lose_nothing_and_double_nothing(url: str) -> None:
    async def use(store: LlamaChatStore) -> None:
        async with LlamaChatStore(url=url) as other:

            async def write(each: LlamaChatStore, name: str) -> None:
                for n in range(10):
                    await run(each, agent_of(answer(f"{name}{n}!")), f"{name}{n}")

            await asyncio.gather(write(store, "a"), write(other, "b"))
        expected = [text for name in "ab" for n in range(10) for text in (f"{name}{n}", f"{name}{n}!")]
        assert sorted(texts(await store.get_messages("chat"))) == sorted(expected)

    on(url, use)


@pytest.mark.on(url=["redis"])
def test_a_hundred_turns_are_read_as_they_were_said(url: str) -> None:
    async def use(store: LlamaChatStore) -> None:
        agent = agent_of(*[answer(f"answer {n}") for n in range(100)])
        for n in range(100):
            await run(store, agent, f"turn {n}")
        expected = [text for n in range(99) for text in (f"turn {n}", f"answer {n}")]
        assert texts(agent.llm.seen[-1]) == [*expected, "turn 99"]

    on(url, use)


def test_a_memory_that_is_full_archives_its_oldest_turns(url: str) -> None:
    async def use(store: LlamaChatStore) -> None:
        limits = {"token_limit": 200, "chat_history_token_ratio": 0.5, "token_flush_size": 40}
        agent = agent_of(*[answer(f"{n} word word word word word word") for n in range(12)])
        for n in range(12):
            await run(store, agent, f"turn {n} word word word word word", **limits)
        active, archived = await store.get_messages("chat"), await store.get_messages("chat", ARCHIVED)
        assert len(active) + len(archived) == await store.count_messages("chat", None) == 24
        assert archived[0].content.startswith("turn 0")  # type: ignore[union-attr]
        assert texts(archived) + texts(active) == texts(await store.get_messages("chat", None))
        async with LlamaChatStore(url=url) as other:
            assert texts(await other.get_messages("chat")) == texts(active)

    on(url, use)


@MEMORY
def test_a_cancelled_write_is_settled(url: str) -> None:
    async def main() -> None:
        async with gated(url) as (manager, gate):
            store = LlamaChatStore(manager=manager)
            with pytest.raises(asyncio.CancelledError):
                await cancel_at(gate, store.add_message("chat", said("hi")))
            assert texts(await store.get_messages("chat")) == ["hi"]

    asyncio.run(main())


@pytest.mark.on(url=["sqlite", "redis"])
def test_a_process_that_is_killed_in_a_tool_leaves_a_conversation_that_goes_on(url: str) -> None:
    program = f"""if True:
        from tests.agents.test_llama_index import *
        async def use(store):
            await run(store, agent_of(answer("one")), "first")
            kill = ToolCallBlock(tool_call_id="k", tool_name="die", tool_kwargs=dict())
            await run(store, agent_of(answer(kill)), "second")
        on({url!r}, use)
    """
    died = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert died.returncode == -signal.SIGKILL, died.stderr

    async def use(store: LlamaChatStore) -> None:
        agent = agent_of(answer("two"))
        await run(store, agent, "third")
        assert texts(agent.llm.seen[0])[:3] == ["first", "one", "second"]
        assert texts(agent.llm.seen[0])[-1] == "third"

    on(url, use)


async def step(chosen: random.Random, store: Any, number: int) -> Any:
    """Do one thing with a store, chosen at random, and return what it answers."""
    n, batch = chosen.randint(0, 3), [said(f"{number}.{place}") for place in range(chosen.randint(1, 3))]
    status: MessageStatus | None = chosen.choice([ACTIVE, ARCHIVED, None])
    kind = chosen.choice(["add", "add", "many", "many", "set", "archive", "archive", "oldest", "clear", "read", "read"])
    if kind == "add":
        return await store.add_message("k", batch[0])
    if kind == "many":
        return await store.add_messages("k", batch)
    if kind == "set":
        return await store.set_messages("k", batch, chosen.choice([ACTIVE, ACTIVE, ARCHIVED]))
    if kind == "archive":
        return texts(await store.archive_oldest_messages("k", n))
    if kind == "oldest":
        return texts(await store.delete_oldest_messages("k", n))
    if kind == "clear":
        return await store.delete_messages("k", status)
    limit, offset = chosen.choice([(None, None), (2, None), (2, 1), (9, 3)])
    return texts(await store.get_messages("k", status, limit, offset)), await store.count_messages("k", status)


@pytest.mark.on(url=["memory", "sqlite"])
def test_everything_answers_as_the_sql_store_of_llama_index_does(url: str) -> None:
    """Random steps, each with both stores; a second of ours reads every state too."""

    async def use(store: LlamaChatStore) -> None:
        async with LlamaChatStore(url=url) as other:
            for seed in range(12):
                engine = create_async_engine("sqlite+aiosqlite:///:memory:", poolclass=StaticPool)
                theirs = SQLAlchemyChatStore(table_name="messages", async_engine=engine)
                await store.delete_messages("k")
                for number in range(25):
                    ours = await step(random.Random(f"{seed}.{number}"), store, number)
                    expected = await step(random.Random(f"{seed}.{number}"), theirs, number)
                    assert ours == expected, (seed, number)
                    for status in (ACTIVE, ARCHIVED, None):
                        told = texts(await theirs.get_messages("k", status))
                        assert texts(await store.get_messages("k", status)) == told, (seed, number, status)
                        assert texts(await other.get_messages("k", status)) == told, (seed, number, status)
                await engine.dispose()

    on(url, use)


def test_processes_that_archive_the_same_messages_archive_them_once(url: str) -> None:
    async def use(store: LlamaChatStore) -> None:
        async with LlamaChatStore(url=url) as other:
            await store.add_messages("chat", [said(str(n)) for n in range(10)])
            for each in (store, other):
                await each.get_messages("chat")
            first = await store.archive_oldest_messages("chat", 4)
            again = await other.archive_oldest_messages("chat", 3)
            assert (texts(first), texts(again)) == (["0", "1", "2", "3"], ["0", "1", "2"])
            assert texts(await other.get_messages("chat")) == [str(n) for n in range(4, 10)]
            await asyncio.gather(*(each.archive_oldest_messages("chat", 2) for each in (store, other)))
            assert texts(await store.get_messages("chat")) == [str(n) for n in range(6, 10)]

    on(url, use)


@MEMORY
def test_deleting_the_last_archived_message_leaves_the_others_archived(url: str) -> None:
    async def use(store: LlamaChatStore) -> None:
        await store.add_messages("chat", [said(str(n)) for n in range(5)])
        await store.archive_oldest_messages("chat", 3)
        for place, expected in ((2, ["0", "1"]), (1, ["0"]), (0, [])):
            deleted = await store.delete_message("chat", place)
            assert deleted is not None
            assert deleted.content == str(place)
            assert texts(await store.get_messages("chat", ARCHIVED)) == expected
            assert texts(await store.get_messages("chat")) == ["3", "4"]
        assert await store.delete_message("chat", 2) is None
        assert await store.delete_message("chat", -1) is None
        assert await store.delete_message("nobody", 0) is None

    on(url, use)


@MEMORY
def test_archived_messages_cannot_stand_behind_active_ones(url: str) -> None:
    async def use(store: LlamaChatStore) -> None:
        await store.add_message("chat", said("old"), ARCHIVED)
        await store.add_messages("chat", [said("older"), said("oldest")], ARCHIVED)
        await store.add_message("chat", said("new"))
        with pytest.raises(ValidationError, match="not archived"):
            await store.add_message("chat", said("late"), ARCHIVED)
        assert texts(await store.get_messages("chat", None)) == ["old", "older", "oldest", "new"]
        assert await store.count_messages("chat", ARCHIVED) == 3

    on(url, use)


def test_keys_are_those_of_llama_index(url: str) -> None:
    async def use(store: LlamaChatStore) -> None:
        keys = ["a", "b" * 300]
        for key in keys:
            await store.add_message(key, said("hi"))
        await store.manager.create_session(id="other", user_id="ada")
        assert sorted(await store.get_keys()) == keys
        async with LlamaChatStore(url=url) as of_all:
            assert sorted(await of_all.get_keys()) == keys

    on(url, use, user_id="ada")


@pytest.mark.on(url=["dynamodb"])
def test_batches_larger_than_the_store_takes_at_once_are_stored_in_parts(url: str) -> None:
    async def use(store: LlamaChatStore) -> None:
        messages = [said(str(n)) for n in range(120)]
        await store.add_messages("chat", messages)
        assert texts(await store.get_messages("chat")) == texts(messages)
        await store.set_messages("chat", messages[:60], ARCHIVED)
        await store.set_messages("chat", messages[:70])
        assert texts(await store.get_messages("chat")) == texts(messages[:70])

    on(url, use)


PNG = b"\x89PNG\r\n\x1a\nbytes"
ODD = [
    said("lone \ud800 surrogate"),
    said("be brief", "system"),
    said("dev", "developer"),
    ChatMessage(role="user", blocks=[TextBlock(text="see"), ImageBlock(image=PNG, image_mimetype="image/png")]),
    ChatMessage(role="user", blocks=[ImageBlock(url="https://x/y.png", detail="low")]),
    ChatMessage(role="user", blocks=[DocumentBlock(data=b"hi", title="d", document_mimetype="text/plain")]),
    ChatMessage(role="user", content="kw", additional_kwargs={"a": [1, 1.5, None], "session_id": "s"}),
    answer(ThinkingBlock(content="why", additional_information={"signature": "x"}), "so", call(1)),
    answer(ToolCallBlock(tool_name="add", tool_kwargs='{"a": 1')),
    ChatMessage(role="assistant", blocks=[]),
    ChatMessage(role="tool", content="3", additional_kwargs={"tool_call_id": "c1"}),
    ChatMessage(role="function", content="no id"),
    ChatMessage(
        role="tool", blocks=[TextBlock(text="a"), TextBlock(text="b")], additional_kwargs={"tool_call_id": "c2"}
    ),
]


def test_odd_messages_come_back_equal(url: str) -> None:
    async def use(store: LlamaChatStore) -> None:
        await store.add_messages("chat", ODD)
        found = await store.get_messages("chat")
        assert [message.model_dump() for message in found] == [message.model_dump() for message in ODD]

    on(url, use)


@MEMORY
def test_others_read_the_conversation_and_their_messages_are_read(url: str) -> None:
    async def use(store: LlamaChatStore) -> None:
        await run(store, agent_of(*sums()), "add")
        written = to_anthropic(await store.manager.get_conversation_context("chat"))["messages"]
        assert [block["type"] for block in written[1]["content"]] == ["tool_use", "tool_use"]
        called: Any = {"tool_calls": [{"id": x, "name": "look", "arguments": {"at": x}} for x in "xy"]}
        answered: Any = {"tool_results": [{"tool_call_id": x, "name": "look", "result": {"seen": x}} for x in "xy"]}
        image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
        batch: list[Any] = [
            {"role": "user", "content": [{"type": "text", "text": "Which?"}, image]},
            {"role": "assistant", "content": [{"type": "reasoning", "text": "I look."}], "metadata": called},
            {"role": "tool", "content": "", "metadata": answered},
            {"role": "user", "content": "and?"},
        ]
        await store.manager.add_messages("chat", batch)
        read = await store.get_messages("chat")
        kinds = [block.block_type for message in read[5:] for block in message.blocks]
        assert kinds == ["text", "image", "thinking", "tool_call", "tool_call", "text", "text", "text"]
        assert [message.content for message in read[7:9]] == ['{"seen": "x"}', '{"seen": "y"}']
        await store.archive_oldest_messages("chat", 9)
        assert texts(await store.get_messages("chat")) == ["and?"]

    on(url, use)


def test_images_and_files_go_over_to_another_provider() -> None:
    [image, url, file] = [message_of(message) for message in ODD[3:6]]
    assert convert([image, url], "openai_chat").losses == []
    [made] = llama_messages_of(file)
    assert made.model_dump() == ODD[5].model_dump()


@MEMORY
def test_an_edited_message_is_read_as_edited(url: str) -> None:
    async def use(store: LlamaChatStore) -> None:
        await store.add_message("chat", ChatMessage(role="user", content="secret", additional_kwargs={"k": 1}))
        [stored] = await store.manager.get_messages("chat")
        await store.manager.update_message("chat", stored.id, content="removed")
        [found] = await store.get_messages("chat")
        assert found.model_dump() == said("removed").model_dump()

    on(url, use)
