"""strands-agents: its real agent with a scripted model, on every store."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from typing import Any, cast

import pytest
from strands import Agent, ToolContext, tool
from strands.agent.conversation_manager import SlidingWindowConversationManager
from strands.models import Model
from strands.multiagent import GraphBuilder
from strands.types.exceptions import SessionException
from strands.types.session import SessionAgent, SessionMessage

from session_continuity import AsyncSessionManager, ForwardingAdapter, Message, StorageAdapter, to_openai
from session_continuity_agents.handles import ManagerHandle
from session_continuity_agents.strands_agents import (
    StrandsRepository,
    StrandsSessionManager,
    message_of,
    strands_messages_of,
)

from .stores import metered, opened

MEMORY = pytest.mark.on(url=["memory"])


class ScriptedModel(Model):
    """Answers with the next texts and calls of its script, and notes what it was called with."""

    def __init__(self, *script: Any) -> None:
        self.script = list(script)
        self.seen: list[list[Any]] = []

    def update_config(self, **_: Any) -> None: ...

    def get_config(self) -> Any:
        return {}

    async def structured_output(self, *_: Any, **__: Any) -> AsyncIterator[Any]:  # type: ignore[override]
        raise NotImplementedError
        yield

    async def stream(self, messages: Any, *_: Any, **__: Any) -> AsyncIterator[Any]:  # type: ignore[override]
        self.seen.append(json.loads(json.dumps(messages, default=repr)))
        answer = self.script.pop(0)
        yield {"messageStart": {"role": "assistant"}}
        for part in answer if isinstance(answer, list) else [answer]:
            is_text = isinstance(part, str)
            start = {} if is_text else {"toolUse": {"name": part[0], "toolUseId": part[1]}}
            delta = {"text": part} if is_text else {"toolUse": {"input": json.dumps(part[2])}}
            yield {"contentBlockStart": {"start": start}}
            yield {"contentBlockDelta": {"delta": delta}}
            yield {"contentBlockStop": {}}
        reason = {True: "end_turn", False: "tool_use"}[isinstance(answer, str)]
        yield {"messageStop": {"stopReason": reason}}


@tool(context=True)
def add(a: int, b: int, tool_context: ToolContext) -> str:
    """Add two numbers, and note the sum."""
    tool_context.agent.state.set(f"sum{a}", a + b)
    return str(a + b)


@tool
def fail() -> str:
    """Fail."""
    raise ValueError("no luck")


def sums(n: int = 0) -> list[Any]:
    """Two calls at once, and the answer."""
    return [[("add", f"c{n}1", {"a": 1, "b": 2}), ("add", f"c{n}3", {"a": 3, "b": 2})], "3 and 5"]


def agent_on(sessions: StrandsSessionManager, *script: Any, **options: Any) -> tuple[Agent, ScriptedModel]:
    model = ScriptedModel(*script)
    agent = Agent(
        model=model,
        tools=[add, fail],
        session_manager=sessions,
        callback_handler=None,
        load_tools_from_directory=False,
        **options,
    )
    return agent, model


def texts(messages: Any) -> list[str]:
    return [block["text"] for message in messages for block in message["content"] if "text" in block]


def said(text: str) -> Any:
    return {"role": "user", "content": [{"text": text}]}


def stored(sessions: StrandsSessionManager, key: str = "chat") -> list[Message]:
    return list(asyncio.run(sessions.manager.get_messages(key)))


@pytest.fixture
def sessions(url: str) -> Iterator[StrandsSessionManager]:
    """One of an empty store."""
    with closing(StrandsSessionManager("chat", url=url, user_id="ada")) as opened:
        yield opened


def test_a_conversation_with_parallel_tools_goes_on_after_a_restart(url: str, sessions: StrandsSessionManager) -> None:
    agent, _ = agent_on(sessions, *sums())
    assert str(agent("add")).strip() == "3 and 5"
    before = json.loads(json.dumps(agent.messages))
    assert [message.role for message in stored(sessions)] == ["user", "assistant", "tool", "assistant"]
    with closing(StrandsSessionManager("chat", url=url)) as again:
        agent, model = agent_on(again, "bye")
        assert agent.messages == before
        assert agent.state.get() == {"sum1": 3, "sum3": 5}
        agent("thanks")
        assert texts(model.seen[0]) == ["add", "3 and 5", "thanks"]
        session = asyncio.run(again.manager.get_session("chat"))
        assert (session.user_id, session.metadata.source, session.message_count) == ("ada", "strands", 6)


def test_blocking_and_async_runs_share_a_conversation(sessions: StrandsSessionManager) -> None:
    agent, model = agent_on(sessions, *map(str, range(5)))

    async def stream() -> None:
        assert [event async for event in agent.stream_async("streamed")]

    for _ in range(2):
        agent("blocking")
        asyncio.run(agent.invoke_async("async"))
    asyncio.run(stream())
    assert texts(model.seen[-1])[-5:] == ["blocking", "2", "async", "3", "streamed"]
    assert len(stored(sessions)) == 10


@pytest.mark.on(url=["sqlite", "redis", "dynamodb"])
def test_a_turn_costs_few_requests(url: str) -> None:
    """The repository of strands takes 8 requests for such a turn. 4 are this class's promise."""

    def turns(manager: AsyncSessionManager, meter: Any) -> list[int]:
        counted: list[int] = []
        agent, _ = agent_on(
            StrandsSessionManager("chat", manager=manager), *[each for n in range(3) for each in sums(n)]
        )
        for turn in range(3):
            with meter.count(counted):
                agent.state.set("turn", turn)
                agent("add")
        for _ in range(2):  # what a store does once, such as loading a script, is in the first
            with meter.count(counted):
                agent_on(StrandsSessionManager("chat", manager=manager))
        return counted

    async def main() -> list[int]:
        async with metered(url) as (manager, meter):
            return await asyncio.to_thread(turns, manager, meter)

    *_, second, third, _, restored = asyncio.run(main())
    assert (second, third) == (4, 4)
    assert restored <= (3 if url.startswith("dynamodb") else 2)  # a session and its messages are two requests there


class Noting(ForwardingAdapter):
    """A store that notes the role of each message, and the agent's state that is stored in one step with it."""

    def __init__(self, inner: StorageAdapter, noted: list[Any]) -> None:
        super().__init__(inner)
        self.noted = noted

    async def append_messages(self, session_id: str, messages: Any, **terms: Any) -> Any:
        patch = terms.get("patch")
        agent = patch.set["metadata"].custom["strands"]["agent"] if patch else {}
        self.noted.append((messages[0].role, agent.get("state")))
        return await super().append_messages(session_id, messages, **terms)


@MEMORY
def test_a_message_and_the_state_with_it_are_stored_in_one_step(url: str) -> None:
    noted: list[Any] = []

    async def main() -> None:
        async with opened(url, lambda inner: Noting(inner, noted)) as manager:
            agent, _ = await asyncio.to_thread(agent_on, StrandsSessionManager("chat", manager=manager), *sums())
            await agent.invoke_async("add")

    asyncio.run(main())
    assert [role for role, _ in noted] == ["user", "assistant", "tool", "assistant"]
    assert noted[2] == ("tool", {"sum1": 3, "sum3": 5})


@pytest.mark.on(url=["sqlite", "redis"])
def test_two_agents_at_once_lose_nothing_and_double_nothing(url: str) -> None:
    def run(name: str, manager: AsyncSessionManager) -> None:
        agent, _ = agent_on(StrandsSessionManager("chat", manager=manager), *[f"{name}{n}!" for n in range(10)])
        for n in range(10):
            agent.state.set(name, n)
            agent(f"{name}{n}")

    async def main() -> list[Message]:
        async with opened(url) as one, opened(url) as other:
            await asyncio.to_thread(agent_on, StrandsSessionManager("chat", manager=one))
            await asyncio.gather(*(asyncio.to_thread(run, *each) for each in (("a", one), ("b", other))))
            return list(await one.get_messages("chat"))

    said = [str(message.content) for message in asyncio.run(main())]
    for name in "ab":
        own = [text for text in said if text.startswith(name)]
        assert own == [text for n in range(10) for text in (f"{name}{n}", f"{name}{n}!")]
    assert len(said) == 40


class ThreadGate(ForwardingAdapter):
    """A store whose appends wait at a gate that any thread opens."""

    def __init__(self, inner: StorageAdapter) -> None:
        super().__init__(inner)
        self.reached, self.is_open = threading.Event(), threading.Event()

    async def append_messages(self, *args: Any, **terms: Any) -> Any:
        self.reached.set()
        await asyncio.to_thread(self.is_open.wait)
        return await super().append_messages(*args, **terms)


@MEMORY
def test_a_cancelled_run_ends_its_write(url: str) -> None:
    gates: list[ThreadGate] = []

    def gated(inner: StorageAdapter) -> StorageAdapter:
        gates.append(ThreadGate(inner))
        return gates[0]

    async def main() -> None:
        async with opened(url, gated) as manager:
            agent, _ = await asyncio.to_thread(agent_on, StrandsSessionManager("chat", manager=manager), "never")
            task = asyncio.ensure_future(agent.invoke_async("hello"))
            await asyncio.to_thread(gates[0].reached.wait)
            task.cancel()
            await asyncio.sleep(0)
            assert not task.done()
            gates[0].is_open.set()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert [message.content for message in await manager.get_messages("chat")] == ["hello"]

    asyncio.run(main())


@pytest.mark.on(url=["sqlite"])
def test_a_process_that_is_killed_in_a_tool_leaves_a_conversation_that_goes_on(url: str) -> None:
    program = f"""if True:
        import os, signal
        from strands import tool
        from tests.agents.test_strands_agents import Agent, ScriptedModel, StrandsSessionManager
        @tool
        def die() -> str:
            "Die."
            os.kill(os.getpid(), signal.SIGKILL)
        sessions = StrandsSessionManager("chat", url={url!r})
        Agent(model=ScriptedModel([("die", "c1", dict())]), tools=[die], session_manager=sessions)("hello")
    """
    died = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False, timeout=120)
    assert died.returncode == -signal.SIGKILL, died.stderr
    with closing(StrandsSessionManager("chat", url=url)) as sessions:
        agent, model = agent_on(sessions, "here again")
        assert str(agent("still there?")).strip() == "here again"
    assert texts(model.seen[0])[0] == "hello"


def test_a_failing_tool_is_stored_as_an_error(sessions: StrandsSessionManager) -> None:
    agent, _ = agent_on(sessions, [("fail", "c1", {})], "sorry")
    agent("try")
    [result] = stored(sessions)[2].metadata.tool_results
    assert (result.tool_call_id, result.is_error) == ("c1", True)


@MEMORY
def test_a_streamed_run_is_stored_as_one_that_is_not(sessions: StrandsSessionManager) -> None:
    agent, _ = agent_on(sessions, *sums())

    async def stream() -> list[str]:
        return [event["data"] async for event in agent.stream_async("add") if "data" in event]

    assert asyncio.run(stream()) == ["3 and 5"]
    assert [message.role for message in stored(sessions)] == ["user", "assistant", "tool", "assistant"]


@pytest.mark.on(url=["redis"])
def test_a_hundred_turns_are_restored_as_they_were_said(url: str, sessions: StrandsSessionManager) -> None:
    window = SlidingWindowConversationManager(window_size=1000)
    agent, _ = agent_on(sessions, *[f"answer {n}" for n in range(100)], conversation_manager=window)
    for n in range(100):
        agent(f"turn {n}")
    with closing(StrandsSessionManager("chat", url=url)) as again:
        restored, _ = agent_on(again, conversation_manager=window)
        assert texts(restored.messages) == [text for n in range(100) for text in (f"turn {n}", f"answer {n}")]


@MEMORY
def test_a_redacted_message_is_replaced(sessions: StrandsSessionManager, url: str) -> None:
    agent, _ = agent_on(sessions, "fine")
    agent("secret")
    sessions.append_message(said("my secret"), agent)
    sessions.redact_latest_message(said("removed"), agent)
    assert stored(sessions)[-1].content == "removed"
    assert "my secret" not in "".join(message.model_dump_json() for message in stored(sessions))
    again, _ = agent_on(StrandsSessionManager("chat", url=url))
    assert texts(again.messages) == ["secret", "fine", "removed"]
    fresh = StrandsSessionManager("chat", url=url).session_repository
    fresh.update_message("chat", "default", SessionMessage(said("also removed"), 0))
    assert stored(sessions)[0].content == "also removed"


@MEMORY
def test_a_window_is_restored_behind_the_messages_that_left_it(sessions: StrandsSessionManager, url: str) -> None:
    agent, _ = agent_on(
        sessions, *map(str, range(100)), conversation_manager=SlidingWindowConversationManager(window_size=6)
    )
    for n in range(100):
        agent(f"q{n}")
    assert len(stored(sessions)) == 200
    again, _ = agent_on(
        StrandsSessionManager("chat", url=url), conversation_manager=SlidingWindowConversationManager(window_size=6)
    )
    assert again.messages == agent.messages
    listed = sessions.session_repository.list_messages("chat", "default", limit=3, offset=20)
    assert [message.message_id for message in listed] == [20, 21, 22]
    assert texts(message.to_message() for message in listed) == ["q10", "10", "q11"]


@MEMORY
def test_agents_of_one_session_have_conversations_of_their_own(sessions: StrandsSessionManager, url: str) -> None:
    for name in ("clerk", "cook"):
        agent_on(sessions, f"I am {name}", agent_id=name)[0]("who?")
    again, _ = agent_on(StrandsSessionManager("chat", url=url), agent_id="cook")
    assert texts(again.messages) == ["who?", "I am cook"]
    key = StrandsSessionManager.conversation_id("chat", "clerk")
    assert [message.content for message in stored(sessions, key)] == ["who?", "I am clerk"]
    with pytest.raises(SessionException, match="unique"):
        agent_on(sessions, agent_id="cook")


def test_a_graph_is_restored(sessions: StrandsSessionManager, url: str) -> None:
    def graph(manager: StrandsSessionManager, *answers: str) -> Any:
        builder = GraphBuilder()
        for place, answer in enumerate(answers):
            builder.add_node(Agent(model=ScriptedModel(answer), callback_handler=None), f"n{place}")
        builder.add_edge("n0", "n1")
        builder.set_session_manager(manager)
        builder.set_graph_id("g")
        builder.set_max_node_executions(10)
        return builder.build()

    graph(sessions, "one", "two")("go")
    again = StrandsSessionManager("chat", url=url)
    state = again.session_repository.read_multi_agent("chat", "g")
    assert state is not None
    assert (state["status"], sorted(state["node_results"])) == ("completed", ["n0", "n1"])
    graph(again, "three", "four")
    assert again.session_repository.read_multi_agent("chat", "other") is None


MESSAGES: list[Any] = [
    said("hi"),
    {"role": "user", "content": [{"text": "see"}, {"image": {"format": "png", "source": {"bytes": b"\x89PNG"}}}]},
    {"role": "assistant", "content": [{"text": "a"}, {"toolUse": {"toolUseId": "c", "name": "f", "input": {"x": 1}}}]},
    {
        "role": "user",
        "content": [
            {"toolResult": {"toolUseId": "c", "status": "success", "content": [{"text": "1"}, {"json": {"x": 1.0}}]}},
            {"text": "and go on"},
        ],
    },
    {"role": "assistant", "content": [{"reasoningContent": {"reasoningText": {"text": "t", "signature": "s"}}}]},
    {"role": "assistant", "content": []},
    {"role": "user", "content": [{"text": "lone \ud800"}]},
]


@pytest.mark.parametrize("message", MESSAGES, ids=range(len(MESSAGES)))
def test_a_message_comes_back_equal(message: Any) -> None:
    for each in (message, {**message, "tracking_id": "t-1"}):
        neutral = message_of(each)
        assert strands_messages_of([type(neutral).model_validate_json(neutral.model_dump_json())]) == [each]


def test_an_edited_message_says_what_it_says_now() -> None:
    message = message_of(cast("Any", {**said("secret"), "tracking_id": "t"})).model_copy(update={"content": "edited"})
    assert texts(strands_messages_of([message])) == ["edited"]


@MEMORY
def test_a_conversation_of_another_framework_goes_on(url: str) -> None:
    async def main() -> AsyncSessionManager:
        manager = AsyncSessionManager.open(url)
        call = {"id": "c1", "name": "add", "arguments": {"a": 1, "b": 2}}
        calls = [call, {**call, "id": "c2"}]
        results = [{"tool_call_id": f"c{n}", "result": "3"} for n in (1, 2)]
        batch: list[Any] = [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "add"},
            {"role": "assistant", "content": "", "metadata": {"tool_calls": calls}},
            *({"role": "tool", "content": "", "metadata": {"tool_results": [result]}} for result in results),
        ]
        await manager.add_messages("chat", batch, create={"user_id": "ada"})
        return manager

    manager = asyncio.run(main())
    agent, model = agent_on(StrandsSessionManager("chat", manager=manager), "3", "bye")
    assert [message["role"] for message in agent.messages] == ["user", "assistant", "user"]
    agent("well?")
    assert [len(message["content"]) for message in model.seen[0]] == [1, 2, 2, 1]
    again, _ = agent_on(StrandsSessionManager("chat", manager=manager))
    assert texts(again.messages) == ["add", "well?", "3"]
    context = to_openai(asyncio.run(manager.get_conversation_context("chat")))
    assert [each["role"] for each in context] == ["system", "user", "assistant", "tool", "tool", "user", "assistant"]


@MEMORY
def test_what_is_missing_or_there_already_is_refused(url: str) -> None:
    repository = StrandsRepository(ManagerHandle(url, None))
    agent, message = SessionAgent("default", {}, {}), SessionMessage(said("hi"), 0)
    assert repository.read_session("s") is None
    assert repository.read_agent("s", "default") is None
    assert repository.list_messages("s", "default") == []
    assert repository.read_message("s", "default", 0) is None
    for refused in (
        lambda: repository.create_agent("s", agent),
        lambda: repository.update_agent("s", agent),
        lambda: repository.create_message("s", "default", message),
        lambda: repository.update_message("s", "default", message),
    ):
        with pytest.raises(SessionException):
            refused()
    session = StrandsSessionManager("s", url=url).session
    assert repository.read_session("s") == session
    with pytest.raises(SessionException, match="already exists"):
        repository.create_session(session)
