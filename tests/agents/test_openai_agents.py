"""openai-agents: its real runner with a scripted model, on every store."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any, cast

import pytest
from agents import Agent, OpenAIResponsesCompactionSession, RunConfig, RunContextWrapper, Runner, function_tool
from agents.memory import SessionSettings
from agents.testing import ScriptedModel, assistant_message, function_call
from openai.types.responses import ResponseCompactionItem, ResponseReasoningItem
from openai.types.responses.response_reasoning_item import Summary

from session_continuity import AsyncSessionManager, from_anthropic, to_anthropic
from session_continuity_agents.openai_agents import OpenAISession, items_of, messages_of

from .stores import cancel_at, gated, metered, opened

MEMORY = pytest.mark.on(url=["memory"])


@function_tool
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@function_tool(failure_error_function=lambda _, error: f"failed: {error}")
def fail() -> int:
    """Fail."""
    raise ValueError("no luck")


def two_calls() -> list[Any]:
    """An answer that calls two tools at once, after a thought."""
    thought = ResponseReasoningItem(id="r1", type="reasoning", summary=[Summary(text="sum", type="summary_text")])
    return [thought, *(function_call("add", {"a": n, "b": 2}, call_id=f"c{n}") for n in (1, 3))]


def agent_that(*steps: Any) -> tuple[Agent[Any], ScriptedModel]:
    model = ScriptedModel(steps)
    return Agent(name="Clerk", model=model, tools=[add, fail]), model


def seen(model: ScriptedModel) -> list[Any]:
    """The items that the model was called with last."""
    assert model.last_call is not None
    return list(model.last_call.input)


async def texts(session: OpenAISession) -> list[str]:
    return [str(cast("Any", item)["content"]) for item in await session.get_items()]


def test_a_conversation_with_parallel_tools_goes_on_after_a_restart(url: str) -> None:
    agent, model = agent_that(two_calls(), [assistant_message("3 and 5")], [assistant_message("bye")])

    async def first() -> list[Any]:
        async with OpenAISession("chat", url=url, user_id="ada") as session:
            await Runner.run(agent, "add", session=session)
            return cast("list[Any]", await session.get_items())

    async def second(before: Sequence[Any]) -> None:
        async with OpenAISession("chat", url=url) as session:
            assert await session.get_items() == before
            assert await session.get_items(limit=2) == before[-2:]
            result = await Runner.run(agent, "thanks", session=session)
            assert result.final_output == "bye"
            assert seen(model) == [*before, {"role": "user", "content": "thanks"}]
            stored = await session.manager.get_conversation("chat", limit=100)
            assert (stored.session.user_id, stored.session.metadata.source) == ("ada", "openai_agents")

    with_memory_open = OpenAISession("chat", url=url) if url.startswith("memory") else None
    stored = asyncio.run(first())
    assert [item.get("type", item.get("role")) for item in stored] == [
        *("user", "reasoning", "function_call", "function_call"),
        *("function_call_output", "function_call_output", "message"),
    ]
    asyncio.run(second(stored))
    if with_memory_open is not None:
        asyncio.run(with_memory_open.aclose())


def test_every_blocking_entry_works_twice_in_a_row(url: str) -> None:
    agent, _ = agent_that(*[[assistant_message(f"answer {n}")] for n in range(4)])
    session = OpenAISession("chat", url=url)
    for _ in range(2):
        asyncio.run(Runner.run(agent, "by asyncio.run", session=session))  # type: ignore[arg-type]
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)  # the one that run_sync uses, so that it can be closed here
        Runner.run_sync(agent, "by run_sync", session=session)
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
    assert len(asyncio.run(session.get_items())) == 8
    asyncio.run(session.aclose())


def test_a_streamed_answer_and_a_failing_tool_are_stored(url: str) -> None:
    agent, _ = agent_that([function_call("fail", {}, call_id="c1")], [assistant_message("sorry")])

    async def main() -> None:
        async with OpenAISession("chat", url=url) as session:
            result = Runner.run_streamed(agent, "try", session=session)
            assert [event async for event in result.stream_events()]
            items = cast("list[Any]", await session.get_items())
            assert [item.get("output") for item in items] == [None, None, "failed: no luck", None]
            assert items[-1]["content"][0]["text"] == "sorry"

    asyncio.run(main())


@pytest.mark.on(url=["sqlite", "redis", "dynamodb"])
def test_a_turn_costs_few_requests(url: str) -> None:
    """RedisSession of openai-agents takes 13 round trips for such a turn. 4 are this class's promise."""

    async def main() -> list[int]:
        counted: list[int] = []
        agent, _ = agent_that(
            *[
                [function_call("add", {"a": 1, "b": 2}, call_id=f"c{n}")] if n % 2 == 0 else [assistant_message("3")]
                for n in range(6)
            ]
        )
        async with metered(url) as (manager, meter):
            session = OpenAISession("chat", manager=manager)
            for turn in range(3):
                with meter.count(counted):
                    await Runner.run(agent, f"turn {turn}", session=session)
            for _ in range(2):
                with meter.count(counted):
                    await session.pop_item()
        return counted

    first, second, third, _, pop = asyncio.run(main())
    assert (second, third) == (4, 4)
    assert first <= 6  # with what a store does once, such as loading a script
    assert pop <= 4


@pytest.mark.on(url=["redis", "sqlite"])
def test_two_writers_lose_nothing_and_double_nothing(url: str) -> None:
    async def write(writer: str) -> None:
        async with opened(url) as manager:
            session = OpenAISession("chat", manager=manager)
            for n in range(40):
                await session.add_items(
                    [{"role": "user", "content": f"{writer}{n}"}, {"role": "user", "content": f"{writer}{n}!"}]
                )

    async def main() -> None:
        await asyncio.gather(write("a"), write("b"))
        async with OpenAISession("chat", url=url) as session:
            stored = await texts(session)
            assert [f"{text}!" for text in stored[::2]] == stored[1::2]  # each batch is in one piece
            for writer in "ab":
                assert [t for t in stored[::2] if t.startswith(writer)] == [f"{writer}{n}" for n in range(40)]
            assert len(stored) == 160

    asyncio.run(main())


@pytest.mark.on(url=["redis", "sqlite"])
def test_each_popped_item_is_given_once_and_was_the_newest(url: str) -> None:
    async def main() -> None:
        popped: list[str] = []

        async def pop(session: OpenAISession) -> None:
            while (item := await session.pop_item()) is not None:
                popped.append(cast("Any", item)["content"])

        async with opened(url) as one, opened(url) as other:
            sessions = [OpenAISession("chat", manager=manager) for manager in (one, other)]
            await sessions[0].add_items([{"role": "user", "content": str(n)} for n in range(12)])
            await asyncio.gather(*(pop(session) for session in sessions))
        assert sorted(popped, key=int, reverse=True) == [str(n) for n in reversed(range(12))]
        assert popped[0] == "11" or popped[1] == "11"

    asyncio.run(main())


@MEMORY
def test_of_calls_in_one_message_the_newest_is_popped(url: str) -> None:
    async def main() -> None:
        async with OpenAISession("chat", url=url) as session:
            assert await session.pop_item() is None
            items = [item.model_dump(exclude_unset=True) for item in two_calls()]
            await session.add_items(cast("Any", items))
            assert len(await session.manager.get_messages("chat")) == 1
            for left in (2, 1, 0):
                assert await session.pop_item() == items[left]
                assert await session.get_items() == items[:left]
            await session.add_items([{"role": "user", "content": "after"}])
            assert await texts(session) == ["after"]
            await session.clear_session()
            assert await session.get_items() == []
            assert await session.pop_item() is None

    asyncio.run(main())


@MEMORY
def test_a_cancelled_append_is_settled(url: str) -> None:
    async def main() -> None:
        async with gated(url) as (manager, gate):
            session = OpenAISession("chat", manager=manager)
            with pytest.raises(asyncio.CancelledError):
                await cancel_at(gate, session.add_items([{"role": "user", "content": "said"}]))
            assert await texts(session) == ["said"]

    asyncio.run(main())


@pytest.mark.on(url=["sqlite"])
def test_a_process_that_is_killed_in_a_tool_leaves_a_conversation_that_goes_on(url: str) -> None:
    program = f"""if True:
        import asyncio, os, signal
        from agents import Agent, Runner, function_tool
        from agents.testing import ScriptedModel, function_call
        from session_continuity_agents.openai_agents import OpenAISession
        @function_tool
        def die():
            os.kill(os.getpid(), signal.SIGKILL)
        agent = Agent(name="Clerk", model=ScriptedModel([[function_call("die", dict(), call_id="c1")]]), tools=[die])
        asyncio.run(Runner.run(agent, "hello", session=OpenAISession("chat", url={url!r})))
    """
    died = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False, timeout=120)
    assert died.returncode == -signal.SIGKILL
    agent, model = agent_that([assistant_message("here again")])

    async def main() -> None:
        async with OpenAISession("chat", url=url) as session:
            assert {"role": "user", "content": "hello"} in await session.get_items()
            result = await Runner.run(agent, "still there?", session=session)
            assert result.final_output == "here again"

    asyncio.run(main())
    assert {"role": "user", "content": "hello"} in seen(model)


@MEMORY
def test_a_hundred_turns_and_the_limit_of_the_settings(url: str) -> None:
    agent, model = agent_that(*[[assistant_message(str(n))] for n in range(102)])

    async def main() -> None:
        async with OpenAISession("chat", url=url, session_settings={"limit": 6}) as session:
            for turn in range(100):
                await Runner.run(agent, f"turn {turn}", session=session)
            assert len(seen(model)) == 7
            assert len(await session.get_items(limit=1000)) == 200
            assert await session.get_items(0) == []
            config = RunConfig(session_settings=SessionSettings(limit=2))
            await Runner.run(agent, "with a limit of the run", session=session, run_config=config)
            assert len(seen(model)) == 3

    asyncio.run(main())


@MEMORY
def test_the_user_comes_from_the_context_of_the_run(url: str) -> None:
    agent, _ = agent_that([assistant_message("hi")])

    def user(wrapper: RunContextWrapper[Any] | None) -> str | None:
        return None if wrapper is None else wrapper.context["user"]

    async def main() -> None:
        async with OpenAISession("chat", url=url, user_id=user) as session:
            await Runner.run(agent, "hi", session=session, context={"user": "grace"})
            assert (await session.manager.get_session("chat")).user_id == "grace"

    asyncio.run(main())


ODD: list[Any] = [
    {"role": "user", "content": "lone \ud800 surrogate"},
    {"role": "assistant", "content": [{"type": "output_text", "text": "a"}, {"type": "refusal", "refusal": "b"}]},
    {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{broken", "status": "completed", "id": "fc_1"},
    {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "x"}]},
    {"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "xyz"},
    {"type": "item_reference", "id": "msg_1"},
    {"type": "computer_call_output", "call_id": "k", "output": {"type": "computer_screenshot", "image_url": "data:,"}},
    {"type": "mcp_approval_response", "approval_request_id": "m", "approve": True},
    {"unknown": [1, 2.0, None, {"nested": True}]},
    {"role": "user", "content": [{"type": "input_image", "image_url": "https://x/y.png", "detail": "auto"}]},
    {"role": "developer", "content": "be brief"},
    {"role": "user", "content": "", "weight": 1e400},
]  # fmt: skip


def test_odd_items_come_back_equal_and_in_order(url: str) -> None:
    async def main() -> None:
        async with OpenAISession("chat", url=url) as session:
            await session.add_items(ODD)
            for item in ODD:
                await session.add_items([item])
            assert await session.get_items() == [*ODD, *ODD]
            assert [await session.pop_item() for _ in ODD] == ODD[::-1]

    asyncio.run(main())


@MEMORY
def test_what_another_framework_wrote_is_read_with_its_calls_and_continued(url: str) -> None:
    """Written as Anthropic's messages, continued here, and read back for Anthropic."""
    use = {"type": "tool_use", "id": "t1", "name": "add", "input": {"a": 1, "b": 2}}
    chat: list[Any] = [
        {"role": "user", "content": "add 1 and 2"},
        {"role": "assistant", "content": [{"type": "text", "text": "I add."}, use]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "3"}]},
    ]  # fmt: skip
    agent, model = agent_that([assistant_message("It is 3.")])

    async def main() -> None:
        async with OpenAISession("chat", url=url) as session:
            await session.manager.create_session(id="chat")
            await session.manager.add_messages("chat", from_anthropic(chat))
            await Runner.run(agent, "and?", session=session)
            call = {"type": "function_call", "call_id": "t1", "name": "add", "arguments": json.dumps({"a": 1, "b": 2})}
            output = {"type": "function_call_output", "call_id": "t1", "output": "3"}
            assert [item for item in seen(model) if "call_id" in item] == [call, output]
            context = await session.manager.get_conversation_context("chat")
            written = to_anthropic(context)["messages"]
            assert written[:3] == chat
            assert [message["role"] for message in written] == ["user", "assistant", "user", "user", "assistant"]
            assert await session.pop_item() is not None

    asyncio.run(main())


@MEMORY
def test_an_edited_message_is_read_as_edited(url: str) -> None:
    async def main() -> None:
        async with OpenAISession("chat", url=url) as session:
            await session.add_items([ODD[0], {"role": "user", "content": "my card is 4711"}])
            for message in await session.manager.get_messages("chat"):
                await session.manager.update_message("chat", message.id, content="removed")
            assert await texts(session) == ["removed", "removed"]

    asyncio.run(main())


class CompactingClient:
    """The part of OpenAI's client that compaction calls. `meanwhile` is awaited during the call."""

    def __init__(self, meanwhile: Any = None) -> None:
        self.responses, self.inputs, self._meanwhile = self, list[Any](), meanwhile

    async def compact(self, **arguments: Any) -> Any:
        self.inputs.append(arguments["input"])
        if self._meanwhile is not None:
            await self._meanwhile()
        item = ResponseCompactionItem(id=f"cmp_{len(self.inputs)}", type="compaction", encrypted_content="short")
        return type("Compacted", (), {"output": [item], "usage": None})()


async def compact(session: OpenAISession, client: CompactingClient, limit: int | None) -> list[Any]:
    """The items after a turn behind which the history is compacted automatically."""
    agent, _ = agent_that([assistant_message("new answer")])
    wrapped = OpenAIResponsesCompactionSession(
        "chat",
        session,
        client=cast("Any", client),
        compaction_mode="input",
        should_trigger_compaction=lambda _: True,
    )
    config = None if limit is None else RunConfig(session_settings=SessionSettings(limit=limit))
    await Runner.run(agent, "new question", session=wrapped, run_config=config)
    return cast("list[Any]", await session.get_items())


def old_items() -> list[Any]:
    return [{"role": role, "content": f"{role} {n}"} for n in range(3) for role in ("user", "assistant")]


def test_compaction_replaces_what_it_read_in_one_step(url: str) -> None:
    async def main() -> None:
        async with OpenAISession("chat", url=url) as session:
            await session.add_items(old_items())
            client = CompactingClient()
            after = await compact(session, client, limit=None)
            assert [item.get("type") for item in after] == ["compaction"]
            assert len(client.inputs[0]) == 8

    asyncio.run(main())


@MEMORY
@pytest.mark.parametrize(("limit", "kept"), [(2, 4), (3, 4), (4, 2)])
def test_compaction_with_a_limit_keeps_what_the_model_did_not_see(url: str, limit: int, kept: int) -> None:
    """It begins at a message of the user, so an odd limit keeps one message more."""

    async def main() -> None:
        async with OpenAISession("chat", url=url) as session:
            await session.add_items(old_items())
            after = await compact(session, CompactingClient(), limit)
            assert after[:-1] == old_items()[:kept]
            assert after[-1]["type"] == "compaction"

    asyncio.run(main())


@MEMORY
def test_an_encrypted_session_is_compacted_and_loses_what_has_expired(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agents.extensions.memory import EncryptedSession

    async def main() -> None:
        async with OpenAISession("chat", url=url) as session:
            encrypted = EncryptedSession("chat", session, encryption_key="key", ttl=600)
            with monkeypatch.context() as earlier:
                now = time.time()
                earlier.setattr(time, "time", lambda: now - 1000)
                await encrypted.add_items(old_items())
            wrapped = OpenAIResponsesCompactionSession(
                "chat",
                session,
                client=cast("Any", CompactingClient()),
                compaction_mode="input",
                should_trigger_compaction=lambda _: True,
            )
            agent, _ = agent_that([assistant_message("new answer")])
            both = EncryptedSession("chat", wrapped, encryption_key="key", ttl=600)
            await Runner.run(agent, "new question", session=both)
            assert [cast("Any", item)["type"] for item in await both.get_items()] == ["compaction"]
            stored = await session.get_items()
            assert len(stored) == 1
            assert "compaction" not in str(stored)

    asyncio.run(main())


@MEMORY
def test_compaction_that_was_overtaken_changes_nothing(url: str) -> None:
    async def main() -> None:
        async with OpenAISession("chat", url=url) as session, opened(url) as other:
            await session.add_items(old_items())

            async def meanwhile() -> None:
                await OpenAISession("chat", manager=other).add_items([{"role": "user", "content": "meanwhile"}])

            after = await compact(session, CompactingClient(meanwhile), limit=None)
            assert len(after) == 9
            assert after[-1]["content"] == "meanwhile"

    asyncio.run(main())


@MEMORY
def test_explicit_compaction_replaces_the_history(url: str) -> None:
    async def main() -> None:
        async with OpenAISession("chat", url=url) as session:
            await session.add_items(old_items())
            wrapped = OpenAIResponsesCompactionSession("chat", session, client=cast("Any", CompactingClient()))
            await wrapped.run_compaction({"force": True, "compaction_mode": "input"})
            assert [cast("Any", item)["type"] for item in await session.get_items()] == ["compaction"]

    asyncio.run(main())


def test_messages_of_items_give_the_items_again() -> None:
    assert [item for message in messages_of(ODD) for item in items_of(message)] == ODD


@MEMORY
def test_a_long_id_names_one_session(url: str) -> None:
    async def main() -> None:
        async with AsyncSessionManager.open(url) as manager:
            for last in "xyx":
                session = OpenAISession("long " * 100 + last, manager=manager)
                await session.add_items([{"role": "user", "content": last}])
            assert [len(await OpenAISession("long " * 100 + last, manager=manager).get_items()) for last in "xy"] == [
                2,
                1,
            ]

    asyncio.run(main())
