"""Claude Agent SDK: its conformance suite on every store, and Claude Code itself with an API on loopback."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pytest
from claude_agent_sdk import (
    ClaudeAgentOptions,
    ResultMessage,
    SessionKey,
    delete_session_via_store,
    fork_session_via_store,
    get_session_messages_from_store,
    list_sessions_from_store,
    project_key_for_directory,
    query,
)
from claude_agent_sdk.testing import run_session_store_conformance

from session_continuity import ForwardingAdapter, StorageAdapter, from_openai, to_openai
from session_continuity_agents.claude_agent_sdk import ClaudeSessionStore, entries_of, messages_of

from .stores import cancel_at, gated, metered, opened

MEMORY = pytest.mark.on(url=["memory"])
KEY: SessionKey = {"project_key": "-shop", "session_id": "s1"}


def entry(number: int, message: Any = None, **more: Any) -> Any:
    role = "user" if message is None else message["role"]
    said = {"role": "user", "content": f"question {number}"} if message is None else message
    return {"type": role, "uuid": str(uuid4()), "sessionId": "s1", "message": said, "n": number, **more}


def answer(*blocks: Any) -> Any:
    usage = {"input_tokens": 3, "output_tokens": 1}
    about = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x", "stop_reason": "end_turn"}
    return {**about, "content": list(blocks), "usage": usage}


def results(*blocks: Any) -> Any:
    return {"role": "user", "content": list(blocks)}


def use(id: str) -> Any:
    return {"type": "tool_use", "id": id, "name": "Read", "input": {"path": id}}


def result(id: str, **more: Any) -> Any:
    return {"type": "tool_result", "tool_use_id": id, "content": f"content of {id}", **more}


def transcript() -> list[Any]:
    """A turn as Claude Code writes it: an entry for each block, others without words between, and odd ones."""
    return [
        {"type": "queue-operation", "operation": "enqueue", "content": "compare"},
        entry(1, {"role": "user", "content": "compare a and b"}, timestamp="2026-12-01T00:00:00.000Z"),
        {"type": "attachment", "uuid": str(uuid4()), "attachment": {"type": "date", "date": "2026-12-01"}},
        entry(2, answer({"type": "thinking", "thinking": "both", "signature": "sig"})),
        entry(3, answer(use("a"))),
        entry(4, answer(use("b"))),
        entry(5, results(result("a")), toolUseResult={"stdout": "content of a"}),
        entry(6, results(result("b", is_error=True), {"type": "text", "text": "a reminder"})),
        entry(7, answer({"type": "text", "text": "a is there, b is not"})),
        entry(8, {"role": "user", "content": "lone \ud800 surrogate"}),
        entry(9, {"role": "user", "content": [{"type": "unheard of", "x": [1, 2.0, None]}]}),
        {"type": "user", "message": {"role": "user", "content": "without a uuid"}},
        {"type": "last-prompt", "lastPrompt": "compare", "weight": 1e400},
    ]


@contextmanager
def stores(url: str) -> Iterator[Callable[[], ClaudeSessionStore]]:
    """Makes stores that are empty: each has another namespace."""
    made: list[ClaudeSessionStore] = []

    def fresh() -> ClaudeSessionStore:
        space = uuid4().hex
        empty = f"memory://{space}" if url.startswith("memory") else _with_namespace(url, space)
        made.append(ClaudeSessionStore(url=empty))
        return made[-1]

    yield fresh
    for store in made:
        asyncio.run(store.aclose())


def _with_namespace(url: str, space: str) -> str:
    base = url.partition("namespace=")[0].rstrip("?&")
    return f"{base}{'&' if '?' in base else '?'}namespace={space}"


def test_the_sdks_conformance_suite_passes(url: str) -> None:
    """All 14 contracts, those of the optional methods too."""
    with stores(url) as fresh:
        asyncio.run(run_session_store_conformance(fresh))


def test_entries_come_back_equal_from_another_process(url: str) -> None:
    entries = transcript()

    async def first() -> None:
        store = ClaudeSessionStore(url=url)
        await store.append(KEY, entries[:6])
        await store.append(KEY, entries[6:])
        if not url.startswith("memory"):
            await store.aclose()

    async def second() -> None:
        store = ClaudeSessionStore(url=url)
        assert await store.load(KEY) == entries
        await store.aclose()

    asyncio.run(first())
    asyncio.run(second())


def test_a_repeated_and_an_overlapping_batch_store_an_entry_once(url: str) -> None:
    entries = [each for each in transcript() if "uuid" in each]

    async def main() -> None:
        store = ClaudeSessionStore(url=url)
        for batch in (entries[:6], entries[:6], entries[3:], [*entries[-1:], *entries[-1:]]):
            await store.append(KEY, batch)
        assert await store.load(KEY) == entries
        await store.aclose()

    asyncio.run(main())


@pytest.mark.on(url=["sqlite", "redis", "dynamodb"])
def test_an_appended_batch_is_one_request(url: str) -> None:
    """The first batch that a process writes to a transcript also reads who created it: one more."""

    async def main() -> list[int]:
        counted: list[int] = []
        async with metered(url) as (manager, meter):
            store = ClaudeSessionStore(manager=manager)
            sub: SessionKey = {**KEY, "subpath": "subagents/agent-1"}
            await store.append(sub, [entry(0)])
            for number in range(3):
                with meter.count(counted):
                    title: Any = {"type": "custom-title", "customTitle": f"title {number}"}
                    await store.append(KEY, [entry(number), entry(number), title])
            with meter.count(counted):
                await store.append(sub, [entry(1), entry(2)])
            [summary] = await store.list_session_summaries("-shop")
            assert summary["data"]["custom_title"] == "title 2"
        return counted

    first, *others = asyncio.run(main())
    assert others == [1, 1, 1]
    assert first <= 3  # with what a store does once


@pytest.mark.on(url=["redis", "sqlite", "dynamodb"])
def test_two_writers_lose_no_entry_and_no_change_of_the_summary(url: str) -> None:
    written: list[Any] = []

    async def write(writer: str, field: str) -> None:
        async with opened(url) as manager:
            store = ClaudeSessionStore(manager=manager)
            for number in range(20):
                batch = [entry(number, by=writer), {"type": "x", "n": number, field: f"{writer}{number}"}]
                written.extend(batch)
                await store.append(KEY, batch)

    async def main() -> None:
        await asyncio.gather(write("a", "customTitle"), write("b", "gitBranch"))
        store = ClaudeSessionStore(url=url)
        stored = cast("list[Any]", await store.load(KEY))
        assert sorted(map(json.dumps, stored)) == sorted(map(json.dumps, written))
        for writer in "ab":
            assert [each["n"] for each in stored if each.get("by") == writer] == [*range(20)]
        [summary] = await store.list_session_summaries("-shop")
        assert (summary["data"]["custom_title"], summary["data"]["git_branch"]) == ("a19", "b19")
        await store.aclose()

    asyncio.run(main())


@MEMORY
def test_a_cancelled_append_is_settled(url: str) -> None:
    async def main() -> None:
        async with gated(url) as (manager, gate):
            store = ClaudeSessionStore(manager=manager)
            said = entry(1)
            with pytest.raises(asyncio.CancelledError):
                await cancel_at(gate, store.append(KEY, [said]))
            assert await store.load(KEY) == [said]

    asyncio.run(main())


class Small(ForwardingAdapter):
    """A store that takes four messages at once."""

    def __init__(self, inner: StorageAdapter) -> None:
        super().__init__(inner)
        self.capabilities = replace(inner.capabilities, max_batch=4)


@MEMORY
def test_a_batch_larger_than_the_store_takes_is_stored_in_order(url: str) -> None:
    async def main() -> None:
        async with opened(url, Small) as manager:
            store = ClaudeSessionStore(manager=manager)
            entries = [entry(number) for number in range(11)]
            await store.append(KEY, entries)
            assert await store.load(KEY) == entries

    asyncio.run(main())


@MEMORY
def test_the_helpers_of_the_sdk_list_read_fork_and_delete(url: str, tmp_path: Path) -> None:
    id, project = str(uuid4()), project_key_for_directory(str(tmp_path))
    key: SessionKey = {"project_key": project, "session_id": id}
    first = entry(1, timestamp="2026-12-01T00:00:00.000Z", parentUuid=None)
    second = entry(2, answer({"type": "text", "text": "yes"}), parentUuid=first["uuid"])

    async def main() -> None:
        store = ClaudeSessionStore(url=url)
        await store.append(key, [first, second])
        [listed] = await list_sessions_from_store(store, directory=str(tmp_path))
        assert (listed.session_id, listed.first_prompt) == (id, "question 1")
        read = await get_session_messages_from_store(store, id, directory=str(tmp_path))
        assert [message.type for message in read] == ["user", "assistant"]
        fork = await fork_session_via_store(store, id, directory=str(tmp_path))
        assert len(await get_session_messages_from_store(store, fork.session_id, directory=str(tmp_path))) == 2
        await delete_session_via_store(store, id, directory=str(tmp_path))
        assert await store.load(key) is None
        assert [each["session_id"] for each in await store.list_sessions(project)] == [fork.session_id]
        await store.append(key, [first])  # known as deleted, and created again
        assert await store.load(key) == [first]
        await store.aclose()

    asyncio.run(main())


@pytest.mark.on(url=["sqlite", "redis"])
def test_a_process_that_is_killed_between_batches_leaves_a_transcript_that_goes_on(url: str) -> None:
    program = f"""if True:
        import asyncio, os, signal
        from tests.agents.test_claude_agent_sdk import KEY, ClaudeSessionStore, numbered
        async def main():
            store = ClaudeSessionStore(url={url!r})
            for start in range(0, 100, 10):
                await store.append(KEY, numbered(start, start + 10))
            os.kill(os.getpid(), signal.SIGKILL)
        asyncio.run(main())
    """
    died = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert died.returncode == -signal.SIGKILL, died.stderr

    async def main() -> None:
        async with ClaudeSessionStore(url=url) as store:
            await store.append(KEY, numbered(90, 110))  # Claude Code sends a batch again that it is not sure of
            assert await store.load(KEY) == numbered(0, 110)
            [summary] = await store.list_session_summaries(KEY["project_key"])
            assert summary["session_id"] == "s1"

    asyncio.run(main())


def numbered(start: int, end: int) -> list[Any]:
    """Entries of a long transcript."""
    return [{**entry(n), "uuid": f"entry-{n}"} for n in range(start, end)]


@MEMORY
def test_an_edited_message_is_read_as_edited_and_keeps_its_place(url: str) -> None:
    entries = transcript()[3:9]

    async def main() -> None:
        store = ClaudeSessionStore(url=url)
        await store.append(KEY, entries)
        id = store.conversation_id(KEY)
        for message in await store.manager.get_messages(id):
            if "is there" in str(message.content) or "reminder" in str(message.content):
                await store.manager.update_message(id, message.id, content="removed")
        read = cast("list[Any]", await store.load(KEY))
        assert [each["uuid"] for each in read] == [each["uuid"] for each in entries]
        assert "is there" not in str(read)
        assert "reminder" not in str(read)
        assert read[4]["message"]["content"][0]["tool_use_id"] == "b"
        assert read[:4] == entries[:4]
        await store.aclose()

    asyncio.run(main())


def test_messages_of_entries_give_the_entries_again() -> None:
    entries = transcript()
    messages = messages_of(entries)
    assert entries_of(messages) == entries
    assert [message.role for message in messages if message.content or message.metadata.tool_results] == [
        *("user", "assistant", "tool", "tool", "user", "assistant", "user", "user"),
    ]


class Api(ThreadingHTTPServer):
    """The part of Anthropic's API that Claude Code calls: each request gets the next answer. `asked` are the
    conversations that it was called with."""

    def __init__(self, *answers: Any) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers, self.asked = [*answers], list[Any]()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        api = cast("Api", self.server)
        if not self.path.startswith("/v1/messages?") or not body.get("stream"):
            return self._reply("application/json", json.dumps({"input_tokens": 1}))
        api.asked.append(body["messages"])
        return self._reply("text/event-stream", "".join(_events(body["model"], api.answers.pop(0))))

    def do_GET(self) -> None:
        self._reply("application/json", "{}")

    do_HEAD = do_GET  # noqa: N815

    def _reply(self, kind: str, text: str) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None:
        return


def _events(model: str, blocks: Any) -> Iterator[str]:
    def event(type: str, **fields: Any) -> str:
        return f"event: {type}\ndata: {json.dumps({'type': type, **fields})}\n\n"

    usage = {"input_tokens": 1, "output_tokens": 1}
    started = {**answer(), "id": f"msg_{uuid4().hex}", "model": model, "stop_reason": None, "usage": usage}
    yield event("message_start", message=started)
    for index, block in enumerate(blocks):
        if block["type"] == "text":
            begun, delta = {**block, "text": ""}, {**block, "type": "text_delta"}
        else:
            begun, delta = (
                {**block, "input": {}},
                {"type": "input_json_delta", "partial_json": json.dumps(block["input"])},
            )
        yield event("content_block_start", index=index, content_block=begun)
        yield event("content_block_delta", index=index, delta=delta)
        yield event("content_block_stop", index=index)
    reason = "end_turn" if blocks[-1]["type"] == "text" else "tool_use"
    yield event("message_delta", delta={"stop_reason": reason, "stop_sequence": None}, usage=usage)
    yield event("message_stop")


@contextmanager
def serving(*answers: Any) -> Iterator[Api]:
    with Api(*answers) as api:
        thread = threading.Thread(target=api.serve_forever)
        thread.start()
        try:
            yield api
        finally:
            api.shutdown()
            thread.join()


def ask(api: Api, store: ClaudeSessionStore, folder: Path, prompt: str, resume: str | None = None) -> ResultMessage:
    """Run Claude Code in an empty home, as on another machine, and return its result."""
    home = folder / uuid4().hex
    home.mkdir()
    surroundings = {
        "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{api.server_port}",
        "ANTHROPIC_API_KEY": "none",
        "CLAUDE_CONFIG_DIR": str(home),
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }
    options = ClaudeAgentOptions(
        session_store=store,
        cwd=folder,
        model="claude-sonnet-4-5",
        setting_sources=[],
        allowed_tools=["Read"],
        resume=resume,
        env=surroundings,
    )

    async def main() -> ResultMessage:
        found: list[ResultMessage] = []
        async for message in query(prompt=prompt, options=options):
            assert getattr(message, "subtype", None) != "mirror_error", message
            if isinstance(message, ResultMessage):
                found.append(message)
        return found[0]

    return asyncio.run(main())


def read_file(path: Path, id: str) -> Any:
    return {"type": "tool_use", "id": id, "name": "Read", "input": {"file_path": str(path)}}


@pytest.mark.on(url=["sqlite", "dynamodb"])
def test_claude_code_goes_on_from_the_store_after_parallel_tools_and_what_another_wrote(
    url: str, tmp_path: Path
) -> None:
    """The program that the SDK runs, three times, each with nothing on its disk but the files it reads."""
    there, missing = tmp_path / "there.txt", tmp_path / "missing.txt"
    there.write_text("stock: 17")
    text = {"type": "text", "text": "17 are left"}
    calls = [read_file(there, "toolu_1"), read_file(missing, "toolu_2")]
    goodbye = {"type": "text", "text": "goodbye"}
    with serving(calls, [text], [goodbye]) as api:
        first = ask(api, ClaudeSessionStore(url=url), tmp_path, "how many are left?")
        assert first.result == "17 are left"
        store = ClaudeSessionStore(url=url)
        key: SessionKey = {
            "project_key": project_key_for_directory(str(tmp_path)),
            "session_id": first.session_id,
        }
        id = store.conversation_id(key)

        async def elsewhere() -> list[Any]:
            """What a model of another provider gets to see, and its answer."""
            context = to_openai(await store.manager.get_conversation_context(id))
            chat: Any = [{"role": "user", "content": "and tomorrow?"}, {"role": "assistant", "content": "12 tomorrow"}]
            await store.manager.add_messages(id, from_openai(chat))
            return context

        seen = asyncio.run(elsewhere())
        assert [call["function"]["name"] for each in seen for call in each.get("tool_calls", ())] == ["Read", "Read"]
        assert [each["tool_call_id"] for each in seen if each["role"] == "tool"] == ["toolu_1", "toolu_2"]
        assert "stock: 17" in str(seen)
        second = ask(api, store, tmp_path, "thanks", resume=first.session_id)
        assert (second.result, second.session_id) == ("goodbye", first.session_id)
    said = json.dumps(api.asked[-1])
    for words in ("how many are left?", "stock: 17", "17 are left", "and tomorrow?", "12 tomorrow", "thanks"):
        assert words in said, words
