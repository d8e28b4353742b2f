"""pydantic-ai: its real agent with its own test model, on every store."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from pydantic_ai import Agent
from pydantic_ai.conversation import Conversation
from pydantic_ai.conversation_store import ConversationConflict, ConversationEntry
from pydantic_ai.messages import (
    BinaryContent,
    DocumentUrl,
    FilePart,
    ImageUrl,
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
    SystemPromptPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    UserPromptPart,
)
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.usage import UsageLimits

from session_continuity import convert, from_openai, to_openai
from session_continuity_agents.pydantic_ai import PydanticConversationStore, message_of

from .stores import cancel_at, gated, metered, opened

MEMORY = pytest.mark.on(url=["memory"])


def agent() -> Agent[None, str]:
    """An agent whose model calls both tools at once, and then answers."""
    made = Agent(TestModel())
    made.tool_plain(double)
    made.tool_plain(negate)
    return made


def double(number: int) -> int:
    return number * 2


def negate(number: int) -> int:
    return -number


async def turn(store: PydanticConversationStore, prompt: str, **more: Any) -> Conversation:
    """One turn of the conversation, and the conversation after it."""
    conversation = await store.load("chat", **more) or Conversation(conversation_id="chat")
    result = await agent().run(prompt, conversation=conversation)
    await store.save(result, scope="ada")
    return result.conversation


def test_a_conversation_with_parallel_tools_goes_on_in_another_event_loop(url: str) -> None:
    store = PydanticConversationStore(url=url)
    first = asyncio.run(turn(store, "first"))
    assert len(first.messages) == 4
    other = PydanticConversationStore(url=url)  # as in another process: it has seen nothing
    read = asyncio.run(other.load("chat"))
    assert read is not None
    assert read.messages == first.messages
    assert read.usage == first.usage
    second = asyncio.run(turn(other, "second"))
    assert second.messages[:4] == first.messages
    loaded = asyncio.run(store.load("chat", limit=2))
    assert loaded is not None
    assert loaded.messages == second.messages[-2:]

    async def readable() -> list[Any]:
        session = await store.manager.get_session("chat")
        assert (session.user_id, session.metadata.source) == ("ada", "pydantic_ai")
        return to_openai(await store.manager.get_conversation_context("chat"))

    chat = asyncio.run(readable())
    assert [call["function"]["name"] for each in chat for call in each.get("tool_calls", ())] == ["double", "negate"]
    assert [each["role"] for each in chat[:5]] == ["user", "assistant", "tool", "tool", "assistant"]
    asyncio.run(store.aclose())
    asyncio.run(other.aclose())


@pytest.mark.on(url=["sqlite", "redis", "dynamodb"])
def test_a_turn_costs_four_requests_and_six_on_dynamodb(url: str) -> None:
    async def main() -> list[int]:
        counted: list[int] = []
        async with metered(url) as (manager, meter):
            store = PydanticConversationStore(manager=manager)
            await turn(store, "first")
            for _ in range(2):
                with meter.count(counted):
                    await turn(store, "more", limit=20)
        return counted

    expected = 6 if url.startswith("dynamodb") else 4
    assert asyncio.run(main()) == [expected, expected]


def test_of_two_writers_one_is_told_and_nothing_of_it_is_stored(url: str) -> None:
    async def main() -> None:
        async with opened(url) as one, opened(url) as other:
            stores = [PydanticConversationStore(manager=manager) for manager in (one, other)]
            await turn(stores[0], "first")
            results = []
            for store in stores:
                conversation = await store.load("chat")
                assert conversation is not None
                results.append(await agent().run("more", conversation=conversation))
            done = await asyncio.gather(
                *(store.save(result) for store, result in zip(stores, results, strict=True)), return_exceptions=True
            )
            assert [type(each) for each in done].count(ConversationConflict) == 1
            read = await stores[0].load("chat")
            assert read is not None
            assert len(read.messages) == len(await one.get_messages("chat")) == len(results[0].conversation.messages)

    asyncio.run(main())


def test_forks_branches_scopes_and_deletes(url: str) -> None:
    async def main() -> None:
        store = PydanticConversationStore(url=url)
        await turn(store, "first")
        whole = await turn(store, "second")
        fork = await store.fork("chat", at=4, new_conversation_id="fork")
        branched = await store.branch("chat", at=4, expected_revision=whole.revision)
        assert fork.messages == branched.messages == whole.messages[:4]
        other = await turn(store, "instead")
        assert other.messages[:4] == whole.messages[:4]
        [tip] = next(each for each in await store.list_conversations() if each.conversation_id == "chat").branches
        back = await store.branch("chat", from_entry=tip, expected_revision=other.revision)
        assert back.messages == whole.messages
        assert await store.load("chat", scope="grace") is None
        assert [each.conversation_id for each in await store.list_conversations(scope="ada")] == ["chat", "fork"]
        with pytest.raises(ConversationConflict):
            await store.save(Conversation(conversation_id="chat", messages=whole.messages))
        await store.delete("chat")
        assert await store.load("chat") is None
        kept = await store.load("fork")
        assert kept is not None
        assert kept.messages == fork.messages
        await store.aclose()

    asyncio.run(main())


def test_what_another_framework_adds_belongs_to_the_history(url: str) -> None:
    async def main() -> None:
        store = PydanticConversationStore(url=url)
        before = await turn(store, "first")
        call = {"id": "c1", "type": "function", "function": {"name": "double", "arguments": '{"number": 2}'}}
        chat: Any = [
            {"role": "user", "content": "elsewhere"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "4"},
            {"role": "assistant", "content": "it is 4"},
        ]
        await store.manager.add_messages("chat", from_openai(chat))
        read = await store.load("chat")
        assert read is not None
        assert read.messages[:-4] == before.messages
        assert read.messages[-3].parts[0].tool_name == "double"  # type: ignore[union-attr]
        assert read.messages == (await store.load("chat")).messages  # type: ignore[union-attr]
        last = await turn(store, "again")
        assert last.messages[: len(read.messages)] == read.messages
        again = await store.load("chat")
        assert again is not None
        assert again.messages == last.messages
        await store.aclose()

    asyncio.run(main())


@MEMORY
def test_an_edited_message_is_read_as_edited(url: str) -> None:
    async def main() -> None:
        store = PydanticConversationStore(url=url)
        await turn(store, "my card is 4711")
        [first, *_] = await store.manager.get_messages("chat")
        await store.manager.update_message("chat", first.id, content="removed")
        read = await store.load("chat")
        assert read is not None
        assert len(read.messages) == 4
        assert "4711" not in str(read.messages)
        await store.aclose()

    asyncio.run(main())


@MEMORY
def test_a_cancelled_save_is_settled(url: str) -> None:
    async def main() -> None:
        async with gated(url) as (manager, gate):
            store = PydanticConversationStore(manager=manager)
            result = await agent().run("said", conversation=Conversation(conversation_id="chat"))
            with pytest.raises(asyncio.CancelledError):
                await cancel_at(gate, store.save(result))
            read = await store.load("chat")
            assert read is not None
            assert read.messages == result.conversation.messages

    asyncio.run(main())


async def answer_in_words(_: list[ModelMessage], __: AgentInfo) -> AsyncIterator[str]:
    for word in ("It ", "is ", "late."):
        yield word


@MEMORY
def test_a_streamed_answer_is_stored_when_it_ends_and_a_stream_that_is_left_stores_nothing(url: str) -> None:
    async def main() -> None:
        async with PydanticConversationStore(url=url) as store:
            talker = Agent(FunctionModel(stream_function=answer_in_words))
            async with talker.run_stream("left", conversation=Conversation(conversation_id="chat")) as left:
                async for _ in left.stream_text():
                    break
            assert await store.load("chat") is None
            async with talker.run_stream("when?", conversation=Conversation(conversation_id="chat")) as result:
                shown = [text async for text in result.stream_text(delta=True)]
            await store.save(Conversation(conversation_id="chat", messages=result.all_messages()))
            assert "".join(shown) == "It is late."
            read = await store.load("chat")
            assert read is not None
            assert [part.content for part in read.messages[-1].parts if isinstance(part, TextPart)] == ["It is late."]

    asyncio.run(main())


def caller_of(tool: Callable[[], str]) -> Agent[None, str]:
    """An agent whose model calls the tool, whatever is asked."""

    def call(_: list[ModelMessage], __: AgentInfo) -> ModelResponse:
        return ModelResponse(parts=[ToolCallPart(tool.__name__, {})])

    made = Agent(FunctionModel(call))
    made.tool_plain(tool)
    return made


def fail() -> str:
    raise ValueError("no luck")


@MEMORY
def test_a_tool_that_fails_stores_nothing_and_the_conversation_goes_on(url: str) -> None:
    async def main() -> None:
        async with PydanticConversationStore(url=url) as store:
            await turn(store, "first")
            broken = caller_of(fail)
            with pytest.raises(ValueError, match="no luck"):
                await broken.run("second", conversation=await store.load("chat"))
            assert len((await turn(store, "third")).messages) == 6  # nothing of the second

    asyncio.run(main())


@pytest.mark.on(url=["sqlite", "redis"])
def test_a_process_that_is_killed_in_a_tool_leaves_a_conversation_that_goes_on(url: str) -> None:
    program = f"""if True:
        import asyncio
        from tests.agents.test_pydantic_ai import PydanticConversationStore, caller_of, die, turn
        async def main():
            store = PydanticConversationStore(url={url!r})
            await turn(store, "first")
            await caller_of(die).run("second", conversation=await store.load("chat"))
        asyncio.run(main())
    """
    died = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert died.returncode == -signal.SIGKILL, died.stderr

    async def main() -> None:
        async with PydanticConversationStore(url=url) as store:
            assert len((await turn(store, "third")).messages) == 6  # nothing of the second

    asyncio.run(main())


def die() -> str:
    """End the process."""
    os.kill(os.getpid(), signal.SIGKILL)
    return ""


@pytest.mark.on(url=["redis"])
def test_a_hundred_turns_are_read_as_they_were_said(url: str) -> None:
    async def main() -> None:
        async with PydanticConversationStore(url=url) as store:
            talker, no_limit = Agent(TestModel(custom_output_text="yes")), UsageLimits(request_limit=None)
            for n in range(100):
                conversation = await store.load("chat", limit=6) or Conversation(conversation_id="chat")
                said = await talker.run(f"turn {n}", conversation=conversation, usage_limits=no_limit)
                await store.save(said)
            read = await store.load("chat")
            assert read is not None
            asked = [part.content for each in read.messages for part in each.parts if isinstance(part, UserPromptPart)]
            assert asked == [f"turn {n}" for n in range(100)]

    asyncio.run(main())


ODD: list[ModelMessage] = [
    ModelRequest(parts=[SystemPromptPart("be brief"), UserPromptPart("lone \ud800 surrogate")]),
    ModelRequest(
        parts=[UserPromptPart(["see", ImageUrl(url="https://x/y.png"), BinaryContent(b"hi", media_type="image/png")])]
    ),
    ModelRequest(
        parts=[UserPromptPart([DocumentUrl(url="https://x/d.pdf"), BinaryContent(b"hi", media_type="audio/wav")])]
    ),
    ModelResponse(parts=[ThinkingPart("why", signature="s"), TextPart("so"), TextPart("and so")], model_name="m"),
    ModelResponse(parts=[FilePart(BinaryContent(b"hi", media_type="image/png"))]),
    ModelResponse(parts=[]),
]


def plain(messages: list[ModelMessage]) -> Any:
    return ModelMessagesTypeAdapter.dump_python(messages, mode="json")


def test_odd_messages_come_back_equal(url: str) -> None:
    async def main() -> None:
        async with PydanticConversationStore(url=url) as store:
            await store.save(Conversation(conversation_id="chat", messages=ODD))
            read = await store.load("chat")
            assert read is not None
            assert plain(read.messages) == plain(ODD)

    asyncio.run(main())


def test_images_thoughts_and_files_go_over_to_another_provider() -> None:
    entries = [ConversationEntry(id=str(n), parent_id=None, message=message) for n, message in enumerate(ODD)]
    [image, file, thought] = [message_of(entry) for entry in entries[1:4]]
    assert convert([image], "openai_chat").losses == []
    assert [block["type"] for block in thought.content] == ["reasoning", "text", "text"]  # type: ignore[union-attr,index]
    shown = convert([image, file], "ui_messages").request
    assert [part["type"] for message in shown for part in message["parts"]] == ["text", "file", "file", "file", "file"]


@MEMORY
def test_images_thoughts_and_files_of_others_are_read(url: str) -> None:
    async def main() -> None:
        async with PydanticConversationStore(url=url) as store:
            image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
            far = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}
            file = {"type": "file", "mediaType": "application/pdf", "url": "https://x/d.pdf"}
            thought = {"type": "reasoning", "text": "I look."}
            batch: list[Any] = [
                {"role": "user", "content": [{"type": "text", "text": "Which?"}, image, far, file]},
                {"role": "assistant", "content": [thought, {"type": "text", "text": "The first."}]},
            ]
            await store.manager.add_messages("chat", batch, create={})
            read = await store.load("chat")
            assert read is not None
            [prompt] = read.messages[0].parts
            assert isinstance(prompt, UserPromptPart)
            text, near, *urls = prompt.content
            assert isinstance(near, BinaryContent)
            assert (text, near.data, near.media_type) == ("Which?", b"hi", "image/png")
            assert urls == [
                ImageUrl(url="https://x/y.png"),
                DocumentUrl(url="https://x/d.pdf", media_type="application/pdf"),
            ]
            assert read.messages[1].parts == [ThinkingPart("I look."), TextPart("The first.")]

    asyncio.run(main())
