"""`session-continuity import --from`: what frameworks have stored themselves, written by their own classes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import wraps
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit
from uuid import UUID, uuid4

import boto3
import pytest
from agents import SQLiteSession
from agents.extensions.memory import AdvancedSQLiteSession, SQLAlchemySession
from claude_agent_sdk import get_session_messages_from_store, list_sessions_from_store
from google.adk.events import Event, EventActions
from google.adk.sessions import BaseSessionService, DatabaseSessionService
from google.adk.sessions.sqlite_session_service import SqliteSessionService
from google.genai import types
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    message_chunk_to_message,
    message_to_dict,
)
from redis import Redis
from strands import Agent
from strands.agent.conversation_manager import SlidingWindowConversationManager
from strands.session import FileSessionManager
from strands.types.session import SessionAgent, SessionMessage, decode_bytes_values, encode_bytes_values

from session_continuity import Message, SessionManager, to_anthropic
from session_continuity_agents.claude_agent_sdk import ClaudeSessionStore
from session_continuity_agents.google_adk import AdkSessionService
from session_continuity_agents.langchain import ConversationHistory
from session_continuity_agents.openai_agents import OpenAISession
from session_continuity_agents.strands_agents import StrandsSessionManager
from session_continuity_agents.strands_messages import decoded, encoded

from ..kit import harnesses
from ..kit.distributions import write_distribution
from ..kit.missing import skip_test
from .stores import opened

SCRIPT = Path(sys.executable).with_name("session-continuity")
FAULTS = (Path(__file__).parents[1] / "cli/faults.py").read_text()

SHARED = pytest.mark.on(url=["sqlite", "redis", "dynamodb"])
SQLITE = pytest.mark.on(url=["sqlite"])


def in_a_loop(test: Callable[..., Any]) -> Callable[..., None]:
    """The test in an event loop. The command runs in another process."""

    @wraps(test)
    def run(*arguments: Any, **fixtures: Any) -> None:
        asyncio.run(test(*arguments, **fixtures))

    return run


@dataclass
class Imported:
    """What a run printed."""

    code: int
    rows: list[list[str]]
    problems: list[str]

    @property
    def counts(self) -> dict[str, tuple[int, int]]:
        """By session, how many messages were found, and how many were added."""
        return {row[1]: (int(row[2]), int(row[3])) for row in self.rows}


class Importer:
    """Runs the command in a folder."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url = folder, url

    def __call__(self, kind: str, source: object, *options: str, environ: dict[str, str] | None = None) -> Imported:
        """The result of an import into the store."""
        command = [os.fspath(SCRIPT), "import", "--from", kind, str(source), self.url, *options]
        done = subprocess.run(
            command, cwd=self.folder, env={**os.environ, **(environ or {})}, capture_output=True, text=True, check=False
        )
        rows = [line.split("\t") for line in done.stdout.splitlines()]
        return Imported(done.returncode, rows, done.stderr.splitlines())

    def killed(self, kind: str, source: object, *, at: int, max_batch: int) -> Imported:
        """An import that is killed at the event of this number. A batch has at most `max_batch` messages."""
        folder = self.folder / "faults"
        if not folder.exists():
            extension = {"session_continuity.extensions": {"faults": "faults_module"}}
            write_distribution(folder, "faults", entry_points=extension, modules={"faults_module": FAULTS})
        faults = {"PYTHONPATH": str(folder), "FAULT_KILL_AT": str(at), "FAULT_MAX_BATCH": str(max_batch)}
        done = self(kind, source, environ=faults)
        assert done.code == -signal.SIGKILL
        return done


@pytest.fixture
def importing(tmp_path: Path, url: str) -> Importer:
    """The command, for an empty store."""
    return Importer(tmp_path, url)


def stored(url: str, session_id: str) -> list[Message]:
    with SessionManager.open(url, setup=False) as manager:
        return list(manager.get_messages(session_id))


def sessions(url: str) -> set[str]:
    with SessionManager.open(url, setup=False) as manager:
        return {session.id for session in manager.iter_sessions()}


# openai-agents

TURN: list[Any] = [
    {"role": "user", "content": "Where are 1 and 2?"},
    {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"},
    {"type": "function_call", "call_id": "a", "name": "status", "arguments": '{"order": 1}', "id": "fc_1"},
    {"type": "function_call", "call_id": "b", "name": "status", "arguments": '{"order": 2}', "id": "fc_2"},
    {"type": "function_call_output", "call_id": "a", "output": "here"},
    {"type": "function_call_output", "call_id": "b", "output": [{"type": "input_text", "text": "there"}]},
    {"role": "assistant", "content": [{"type": "output_text", "text": "Here.", "annotations": []}], "type": "message"},
    {"type": "made_up_item", "value": [1, None, "\ud800"]},
]


async def write_openai(path: Path, sessions: dict[str, list[Any]]) -> None:
    """Add items to sessions of openai-agents."""
    for name, items in sessions.items():
        session = SQLiteSession(name, path)
        await session.add_items(items)
        session.close()


@SHARED
@in_a_loop
async def test_openai_agents_goes_on_with_its_sessions(importing: Importer, tmp_path: Path, url: str) -> None:
    await write_openai(tmp_path / "old.db", {"user-42": TURN, "user-43": TURN[:1]})
    done = importing("openai-agents", tmp_path / "old.db")
    assert (done.code, done.problems) == (0, [])
    assert done.counts == {"user-42": (0, 8), "user-43": (0, 1)}
    async with opened(url) as manager:
        assert await OpenAISession("user-42", manager=manager).get_items() == TURN
        assert (await manager.get_session("user-42")).metadata.source == "openai_agents"
        said = to_anthropic(await manager.get_conversation_context("user-42"))["messages"]
    assert [block["name"] for message in said for block in message["content"] if "name" in block] == ["status"] * 2


@SQLITE
@in_a_loop
async def test_a_second_run_adds_what_the_source_has_more(importing: Importer, tmp_path: Path, url: str) -> None:
    source = tmp_path / "old.db"
    await write_openai(source, {"a": TURN[:3], "b": TURN})
    importing("openai-agents", source)
    assert importing("openai-agents", source).counts == {"a": (3, 0), "b": (8, 0)}
    await write_openai(source, {"a": TURN[3:], "c": TURN})
    assert importing("openai-agents", source).counts == {"a": (3, 5), "b": (8, 0), "c": (0, 8)}
    async with opened(url) as manager:
        assert await OpenAISession("a", manager=manager).get_items() == TURN


@SQLITE
@in_a_loop
async def test_branches_are_conversations_of_their_own(importing: Importer, tmp_path: Path, url: str) -> None:
    source = tmp_path / "old.db"
    old = AdvancedSQLiteSession(session_id="s", db_path=source, create_tables=True)
    for text in ("one", "two"):
        await old.add_items([{"role": "user", "content": text}, {"role": "assistant", "content": text.upper()}])
    await old.create_branch_from_turn(2, "other")
    await old.add_items([{"role": "user", "content": "three"}])
    expected = {branch: await old.get_items(branch_id=branch) for branch in ("main", "other")}
    old.close()
    await write_openai(source, {"plain": TURN})
    assert importing("openai-agents", source).counts == {"s": (0, 4), "s/other": (0, 3), "plain": (0, 8)}
    async with opened(url) as manager:
        assert await OpenAISession("s", manager=manager).get_items() == expected["main"]
        assert await OpenAISession("s/other", manager=manager).get_items() == expected["other"]


@SQLITE
@in_a_loop
async def test_tables_may_have_other_names(importing: Importer, tmp_path: Path) -> None:
    session = SQLiteSession("s", tmp_path / "old.db", sessions_table="users", messages_table="chats")
    await session.add_items(TURN)
    session.close()
    assert "has no table agent_messages" in importing("openai-agents", "old.db").problems[0]
    done = importing("openai-agents", "sqlite:///old.db?sessions_table=users&messages_table=chats")
    assert done.counts == {"s": (0, 8)}
    assert importing("openai-agents", "sqlite:///old.db?tables=x").code == 2


@SQLITE
@in_a_loop
async def test_sessions_that_sqlalchemy_has_written_are_read_too(importing: Importer, tmp_path: Path, url: str) -> None:
    old = SQLAlchemySession.from_url("s", url=f"sqlite+aiosqlite:///{tmp_path}/old.db", create_tables=True)
    await old.add_items(TURN)
    await old.engine.dispose()
    assert importing("openai-agents", "old.db").counts == {"s": (0, 8)}
    async with opened(url) as manager:
        assert await OpenAISession("s", manager=manager).get_items() == TURN


# Every kind


@SHARED
@in_a_loop
async def test_an_import_that_was_killed_goes_on(importing: Importer, tmp_path: Path, url: str) -> None:
    items: list[Any] = [{"role": "user", "content": str(number)} for number in range(30)]
    await write_openai(tmp_path / "old.db", {"a": items, "b": items})
    importing.killed("openai-agents", "old.db", at=12, max_batch=7)
    assert [message.content for message in stored(url, "a")] == [item["content"] for item in items][:14]
    importing.killed("openai-agents", "old.db", at=19, max_batch=7)
    done = importing("openai-agents", "old.db")
    assert (done.code, done.problems) == (0, [])
    assert sum(done.counts["a"]) == sum(done.counts["b"]) == 30
    for name in ("a", "b"):
        assert [message.content for message in stored(url, name)] == [item["content"] for item in items]


@SHARED
@in_a_loop
async def test_a_dry_run_writes_nothing(importing: Importer, tmp_path: Path, url: str) -> None:
    source = tmp_path / "old.db"
    await write_openai(source, {"a": TURN})
    done = importing("openai-agents", source, "--dry-run")
    assert (done.code, done.rows) == (0, [["readable", "a", "0", "8", "0"]])
    assert not (tmp_path / "chats.db").exists()
    importing("openai-agents", source)
    await write_openai(source, {"a": TURN, "b": TURN})
    assert importing("openai-agents", source, "--dry-run").counts == {"a": (8, 8), "b": (0, 8)}
    assert sessions(url) == {"a"}
    assert len(stored(url, "a")) == 8


@SQLITE
@in_a_loop
async def test_damaged_rows_are_told_and_left_out(importing: Importer, tmp_path: Path, url: str) -> None:
    source = tmp_path / "old.db"
    await write_openai(source, {"a": TURN})
    with sqlite3.connect(source) as file:
        for row, damage in enumerate(["{", "[1]", b"\xff\xfe", "null"], 2):
            file.execute("UPDATE agent_messages SET message_data = ? WHERE id = ?", (damage, row))
    file.close()
    for counts in ((0, 4), (4, 0)):
        done = importing("openai-agents", source)
        assert done.code == 1
        assert done.rows == [["imported", "a", *map(str, counts), "4"]]
        assert done.problems == [
            "problem: a: row 2 is not JSON",
            "problem: a: row 3 is not an object of JSON",
            "problem: a: row 4 is not JSON",
            "problem: a: row 5 is not an object of JSON",
        ]
    async with opened(url) as manager:
        assert await OpenAISession("a", manager=manager).get_items() == [TURN[0], *TURN[5:]]


@pytest.mark.on(url=["dynamodb"])
@in_a_loop
async def test_a_message_that_the_store_refuses_is_left_out(importing: Importer, tmp_path: Path, url: str) -> None:
    items: list[Any] = [{"role": "user", "content": text} for text in ("one", "x" * 4_100_000, "three")]
    await write_openai(tmp_path / "old.db", {"a": items})
    done = importing("openai-agents", "old.db")
    assert (done.code, done.rows) == (1, [["imported", "a", "0", "2", "1"]])
    assert [message.content for message in stored(url, "a")] == ["one", "three"]


@SQLITE
@in_a_loop
async def test_a_session_that_was_not_imported_is_left_alone(importing: Importer, tmp_path: Path, url: str) -> None:
    async with opened(url) as manager:
        await OpenAISession("a", manager=manager).add_items([{"role": "user", "content": "mine"}])
    await write_openai(tmp_path / "old.db", {"a": TURN, "b": TURN})
    done = importing("openai-agents", "old.db")
    assert (done.code, done.counts) == (1, {"a": (0, 0), "b": (0, 8)})
    assert "holds another conversation" in done.problems[0]
    assert [message.content for message in stored(url, "a")] == ["mine"]


@SQLITE
@in_a_loop
async def test_a_conversation_that_went_on_here_and_there_keeps_both(
    importing: Importer, tmp_path: Path, url: str
) -> None:
    await write_openai(tmp_path / "old.db", {"a": TURN[:1]})
    importing("openai-agents", "old.db")
    async with opened(url) as manager:
        await OpenAISession("a", manager=manager).add_items([{"role": "user", "content": "here"}])
    await write_openai(tmp_path / "old.db", {"a": [{"role": "user", "content": "there"}]})
    assert importing("openai-agents", "old.db").counts == {"a": (1, 1)}
    assert [message.content for message in stored(url, "a")] == [TURN[0]["content"], "here", "there"]


@SQLITE
def test_wrong_sources_and_kinds_are_told_before_a_store_is_created(importing: Importer, tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("This is a text, and a long one, so that it is not empty." * 20)
    for kind, source, reason in (
        ("openai-agents", "none.db", "there is no file none.db"),
        ("openai-agents", "text.db", "text.db cannot be read: file is not a database"),
        ("claude-code", "none", "there is no file or folder none"),
        ("no-such-kind", "old.db", "--from no-such-kind is not known; the kinds are "),
    ):
        done = importing(kind, source)
        assert (done.code, len(done.problems)) == (2, 1)
        assert done.problems[0].startswith(f"error: {reason}")
        assert not (tmp_path / "chats.db").exists()


def test_every_kind_is_loaded_without_a_framework() -> None:
    program = """if True:
        import sys
        from importlib.metadata import entry_points
        for entry in entry_points(group="session_continuity.imports"):
            assert callable(entry.load())
            print(entry.name)
        packages = ("agents", "claude_agent_sdk", "google.adk", "strands", "langchain_core", "redis", "boto3")
        assert [name for name in packages if name in sys.modules] == []
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    kinds = ["adk", "claude-code", "langchain-dynamodb", "langchain-redis", "openai-agents", "strands"]
    assert sorted(done.stdout.split()) == kinds


# Claude Code

PROJECT, SESSION = "-home-ada-shop", "0b1e5ad4-6f0c-4c3c-9a52-0a63c1f0f9ce"


def uuid(number: int) -> str:
    return str(UUID(int=number))


def transcript(first: int = 1) -> list[dict[str, Any]]:
    """Entries as Claude Code writes them: silent ones, a call and its result beside words, thinking."""
    common = {"sessionId": SESSION, "cwd": "/home/ada/shop", "version": "2.1", "timestamp": "2026-03-04T05:06:07.890Z"}
    call = {"type": "tool_use", "id": f"toolu_{first}", "name": "Bash", "input": {"command": "ls"}}
    result = {"type": "tool_result", "tool_use_id": f"toolu_{first}", "content": "a.py"}
    answer = [{"type": "thinking", "thinking": "Hm.", "signature": "s"}, {"type": "text", "text": "One file."}]
    rest = {"type": "message", "model": "claude-x", "usage": {"input_tokens": 1}}
    return [
        {"type": "file-history-snapshot", "messageId": uuid(first), "snapshot": {}},
        {"type": "mode", "mode": "default"},
        {"type": "user", "uuid": uuid(first), "message": {"role": "user", "content": "What is here?"}, **common},
        {
            "type": "assistant",
            "uuid": uuid(first + 1),
            "parentUuid": uuid(first),
            "message": {"role": "assistant", "content": [call], **rest, "id": "msg_1"},
            **common,
        },
        {
            "type": "user",
            "uuid": uuid(first + 2),
            "parentUuid": uuid(first + 1),
            "toolUseResult": {"stdout": "a.py"},
            "message": {"role": "user", "content": [result, {"type": "text", "text": "Go on."}]},
            **common,
        },
        {
            "type": "assistant",
            "uuid": uuid(first + 3),
            "parentUuid": uuid(first + 2),
            "message": {"role": "assistant", "content": answer, **rest, "id": "msg_2"},
            **common,
        },
        {"type": "mode", "mode": "default"},
    ]


def write_transcript(path: Path, entries: list[dict[str, Any]], mode: str = "w") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open(mode) as file:
        file.write("".join(json.dumps(entry) + "\n" for entry in entries))


@SQLITE
@in_a_loop
async def test_claude_goes_on_with_its_transcripts(importing: Importer, tmp_path: Path, url: str) -> None:
    projects = tmp_path / "projects"
    write_transcript(projects / PROJECT / f"{SESSION}.jsonl", transcript())
    agent = projects / PROJECT / SESSION / "subagents/agent-1.jsonl"
    write_transcript(agent, transcript(11))
    agent.with_suffix(".meta.json").write_text('{"agentType": "Explore"}')
    write_transcript(projects / "-other" / f"{uuid(99)}.jsonl", transcript(21))
    done = importing("claude-code", projects)
    assert (done.code, done.problems) == (0, [])
    key: Any = {"project_key": PROJECT, "session_id": SESSION}
    async with opened(url) as manager:
        store = ClaudeSessionStore(manager=manager)
        assert await store.load(key) == transcript()
        assert await store.list_subkeys(key) == ["subagents/agent-1"]
        metadata = {"agentType": "Explore", "type": "agent_metadata"}
        assert await store.load({**key, "subpath": "subagents/agent-1"}) == [*transcript(11), metadata]
        [summary] = await store.list_session_summaries(PROJECT)
        assert summary["data"]["first_prompt"] == "What is here?"
        assert len(await list_sessions_from_store(store, directory="/home/ada/shop")) == 1
        assert len(await get_session_messages_from_store(store, SESSION, directory="/home/ada/shop")) == 4
        first = next(message for message in await manager.get_messages(store.conversation_id(key)) if message.content)
    assert (first.content, first.created_at.isoformat()) == ("What is here?", "2026-03-04T05:06:07.890000+00:00")


@SQLITE
@pytest.mark.parametrize("cut", [1, 3, 6])
@in_a_loop
async def test_a_transcript_may_grow_at_any_entry(importing: Importer, tmp_path: Path, url: str, cut: int) -> None:
    entries = [*transcript(), *transcript(11)]
    file = tmp_path / PROJECT / f"{SESSION}.jsonl"
    write_transcript(file, entries[:cut])
    importing("claude-code", file)
    write_transcript(file, entries[cut:], "a")
    importing("claude-code", file)
    async with opened(url) as manager:
        loaded = await ClaudeSessionStore(manager=manager).load({"project_key": PROJECT, "session_id": SESSION})
    assert loaded == entries


@SQLITE
@in_a_loop
async def test_damaged_lines_of_a_transcript_are_told(importing: Importer, tmp_path: Path, url: str) -> None:
    file = tmp_path / PROJECT / f"{SESSION}.jsonl"
    write_transcript(file, transcript())
    with file.open("a") as lines:
        lines.write('{"type": "user", "uuid": "cut o')
    done = importing("claude-code", file)
    assert (done.code, done.rows[0][4]) == (1, "1")
    assert done.problems[0].endswith("line 8 is not JSON")
    async with opened(url) as manager:
        loaded = await ClaudeSessionStore(manager=manager).load({"project_key": PROJECT, "session_id": SESSION})
    assert loaded == transcript()


# strands


def write_strands(folder: Path, first: int = 0) -> None:
    """Two turns of two agents of a session, the second of them with a picture, as the framework's own manager does."""
    state = SlidingWindowConversationManager().get_state()
    for agent_id in ("default", "helper"):
        old = FileSessionManager("user-42", storage_dir=str(folder))
        if old.read_agent("user-42", agent_id) is None:
            old.create_agent("user-42", SessionAgent(agent_id, {"mood": "good"}, state))
        picture = {"image": {"format": "png", "source": {"bytes": b"\x89PNG"}}}
        call = {"toolUse": {"toolUseId": f"call-{first}", "name": "status", "input": {"order": 1}}}
        result = {
            "toolResult": {"toolUseId": f"call-{first}", "status": "success", "content": [{"text": "on its way"}]}
        }
        contents = [[{"text": f"hi {agent_id}"}, picture], [call], [result, {"text": "Go on."}], [{"text": "Done."}]]
        for place, content in enumerate(contents):
            message: Any = {"role": ("user", "assistant")[place % 2], "content": content}
            old.create_message("user-42", agent_id, SessionMessage.from_message(message, first + place))


def strands_messages(folder: Path, agent_id: str) -> list[Any]:
    old = FileSessionManager("user-42", storage_dir=str(folder))
    return [message.to_message() for message in old.list_messages("user-42", agent_id)]


@SQLITE
def test_strands_goes_on_with_its_sessions(importing: Importer, tmp_path: Path, url: str) -> None:
    old = tmp_path / "old"
    write_strands(old)
    done = importing("strands", old)
    assert (done.code, done.problems, done.counts) == (0, [], {"user-42": (0, 4), "user-42/helper": (0, 4)})
    write_strands(old, 4)
    assert importing("strands", old).counts == {"user-42": (4, 4), "user-42/helper": (4, 4)}
    with closing(StrandsSessionManager("user-42", url=url)) as manager:
        agent = Agent(session_manager=manager, callback_handler=None)
        assert agent.messages == strands_messages(old, "default")
        assert agent.state.get("mood") == "good"
    with closing(StrandsSessionManager("user-42", url=url)) as manager:
        assert Agent(session_manager=manager, agent_id="helper").messages == strands_messages(old, "helper")
    assert stored(url, "user-42")[0].created_at < datetime.now(UTC) - timedelta(milliseconds=1)


@SQLITE
def test_damaged_files_of_strands_are_told(importing: Importer, tmp_path: Path, url: str) -> None:
    write_strands(tmp_path / "old")
    messages = tmp_path / "old/session_user-42/agents/agent_default/messages"
    (messages / "message_1.json").write_text("{")
    (messages / "message_3.json").write_text('{"message_id": 3}')
    (tmp_path / "old/session_user-42/agents/agent_helper/agent.json").write_text("[]")
    done = importing("strands", "old")
    assert (done.code, done.counts) == (1, {"user-42": (0, 2), "user-42/helper": (0, 4)})
    assert done.problems == [
        "problem: user-42: message_1.json is not JSON",
        "problem: user-42: message_3.json is not a message (KeyError)",
        "problem: user-42/helper: agent.json is not an object of JSON",
    ]
    assert [message.id for message in stored(url, "user-42")] == ["strands-0", "strands-2"]


@SQLITE
def test_what_was_changed_in_the_source_since_is_told(importing: Importer, tmp_path: Path) -> None:
    write_strands(tmp_path / "old")
    importing("strands", "old")
    manager = FileSessionManager("user-42", storage_dir=str(tmp_path / "old"))
    message = manager.read_message("user-42", "default", 0)
    assert message is not None
    message.redact_message = {"role": "user", "content": [{"text": "redacted"}]}
    manager.update_message("user-42", "default", message)
    done = importing("strands", "old")
    assert (done.code, done.counts["user-42"]) == (0, (4, 0))
    assert done.problems == ["note: user-42: 1 stored record changed since, here or in the source; stays as it is here"]


def test_bytes_are_written_as_strands_writes_them() -> None:
    value = {"a": [b"\x00\xff", {"b": b""}], "c": None, "d": {"__bytes_encoded__": False, "data": "x"}}
    assert encoded(value) == encode_bytes_values(value)
    assert decoded(encode_bytes_values(value)) == decode_bytes_values(encode_bytes_values(value))
    assert decoded(encoded(value)) == value


# google-adk


def adk_event(number: int) -> Event:
    """An event: a question, a call, its response, or an answer. All have one time."""
    parts = (
        types.Part(text=f"question {number}"),
        types.Part(function_call=types.FunctionCall(id="c", name="status", args={"order": number})),
        types.Part(function_response=types.FunctionResponse(id="c", name="status", response={"is": "here"})),
        types.Part(text="answer", thought_signature=b"\x01\x02"),
    )
    delta = {"n": number, "user:n": number, "app:n": number, "temp:n": number}
    return Event(
        author="user" if number % 4 == 0 else "clerk",
        content=types.Content(role="user" if number % 2 == 0 else "model", parts=[parts[number % 4]]),
        actions=EventActions(state_delta=delta),
        timestamp=1_700_000_000.25 + number // 8,
    )


async def write_adk(service: BaseSessionService, first: int, users: Sequence[str] = ("ada", "grace")) -> None:
    """Add eight events to a session of each user."""
    for user in users:
        names = {"app_name": "shop", "user_id": user, "session_id": "s/1"}
        session = await service.get_session(**names) or await service.create_session(**names, state={"begun": True})
        for number in range(first, first + 8):
            await service.append_event(session, adk_event(number))


async def adk_sessions(service: BaseSessionService) -> list[dict[str, Any]]:
    listed = (await service.list_sessions(app_name="shop")).sessions
    found = [
        await service.get_session(app_name="shop", user_id=each.user_id, session_id=each.id)
        for each in sorted(listed, key=lambda session: session.user_id)
    ]
    return [session.model_dump() for session in found if session]


@asynccontextmanager
async def adk_service(source: str) -> AsyncIterator[BaseSessionService]:
    """The service of google-adk that writes this source."""
    if "://" not in source:
        yield SqliteSessionService(source)
        return
    service = DatabaseSessionService(source)
    try:
        yield service
    finally:
        await service.close()


@SQLITE
@pytest.mark.parametrize("source", ["{}/old.db", "sqlite+aiosqlite:///{}/old.db"])
@in_a_loop
async def test_google_adk_goes_on_with_its_sessions(importing: Importer, tmp_path: Path, url: str, source: str) -> None:
    source = source.format(tmp_path)
    async with adk_service(source) as old, opened(url) as manager:
        new = AdkSessionService(manager=manager)
        await write_adk(old, 0)
        done = importing("adk", source)
        assert (done.code, done.problems) == (0, [])
        assert sorted(done.counts.values()) == [(0, 0), (0, 0), (0, 0), (0, 8), (0, 8)]
        expected, found = await adk_sessions(old), await adk_sessions(new)
        assert found == expected
        assert found[0]["state"] == {"begun": True, "n": 7, "user:n": 7, "app:n": 7}
        assert (await manager.get_session(new.conversation_id("shop", "ada", "s/1"))).user_id == "ada"
        await write_adk(old, 8, ["ada"])
        done = importing("adk", source)
        assert sorted(done.counts.values()) == [(0, 0), (0, 0), (0, 0), (8, 0), (8, 8)]
        assert [line.split(":")[0] for line in done.problems] == ["note"] * 2  # the states of the app and of ada
        expected, found = await adk_sessions(old), await adk_sessions(new)
        assert found[0]["events"] == expected[0]["events"]
        assert found[0]["state"]["n"] == 15
        await write_adk(new, 16, ["ada"])


@SQLITE
@in_a_loop
async def test_google_adk_goes_on_with_its_sessions_in_postgresql(importing: Importer, url: str) -> None:
    with harnesses.postgres() as server:
        if not isinstance(server, str):
            skip_test("this test needs a PostgreSQL server: install the package postgresql")
        source = server.replace("postgresql:", "postgresql+psycopg:")
        async with adk_service(source) as old, opened(url) as manager:
            await write_adk(old, 0, ["ada"])
            done = importing("adk", source)
            assert (done.code, done.problems) == (0, [])
            assert await adk_sessions(AdkSessionService(manager=manager)) == await adk_sessions(old)
            assert importing("adk", source).counts["adk/shop/ada/s%2F1"] == (8, 0)
        missing = importing("adk", source.replace("/postgres", "/none"))
        assert (missing.code, missing.problems) == (2, ["error: the source cannot be read (OperationalError)"])
        unknown = importing("adk", source.replace("psycopg", "pg8000"))
        assert (unknown.code, "needs the module pg8000" in unknown.problems[0]) == (2, True)


@SQLITE
@in_a_loop
async def test_damaged_events_of_google_adk_are_told(importing: Importer, tmp_path: Path) -> None:
    source = f"{tmp_path}/old.db"
    async with adk_service(source) as old:
        await write_adk(old, 0, ["ada"])
    with sqlite3.connect(source) as file:
        damaged = [row[0] for row in file.execute("SELECT id FROM events WHERE rowid IN (2, 3) ORDER BY rowid")]
        file.execute("UPDATE events SET event_data = '{}' WHERE rowid = 2")
        file.execute("UPDATE events SET event_data = 'None' WHERE rowid = 3")
        file.execute("UPDATE user_states SET state = ''")
        file.execute("UPDATE sessions SET state = '[]'")
    file.close()
    done = importing("adk", source)
    assert done.code == 1
    assert done.problems == [
        "problem: adk-user-state/shop/ada: the state is not JSON",
        "problem: adk/shop/ada/s%2F1: the state is not an object of JSON",
        f"problem: adk/shop/ada/s%2F1: event {damaged[0]} is not a message (KeyError)",
        f"problem: adk/shop/ada/s%2F1: event {damaged[1]} is not JSON",
    ]
    assert done.counts["adk/shop/ada/s%2F1"] == (0, 6)
    with sqlite3.connect(source) as file:
        file.execute("ALTER TABLE events RENAME COLUMN event_data TO actions")
    file.close()
    older = importing("adk", source)
    assert (older.code, "adk migrate session" in older.problems[0]) == (2, True)


# LangChain

HISTORY: list[BaseMessage] = [
    SystemMessage("Be brief."),
    HumanMessage([{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": "data:,x"}}]),
    AIMessage("", id="run-1", tool_calls=[{"id": "a", "name": "f", "args": {"x": 1.5}}], usage_metadata=None),
    ToolMessage("no", tool_call_id="a", status="error", artifact={"deep": [1]}),
    AIMessage("ok", response_metadata={"model": "m", "logprobs": None}),
    HumanMessage("ok"),
    HumanMessage("ok"),
    AIMessageChunk(content="streamed", id="run-2"),
]
"""Messages of all kinds, two of them equal."""


def dumped(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    """What the histories of langchain-community store of messages."""
    return [message_to_dict(message) for message in messages]


def read_back(url: str, session_id: str) -> list[dict[str, Any]]:
    """The messages that LangChain reads now. Ids are left out where the history had none."""
    history = ConversationHistory(session_id, url=url)
    try:
        found = dumped(history.messages)
    finally:
        asyncio.run(history.aclose())
    for one, other in zip(found, HISTORY, strict=False):
        one["data"]["id"] = one["data"]["id"] if other.id else None
    return found


EXPECTED = dumped([message_chunk_to_message(each) if isinstance(each, AIMessageChunk) else each for each in HISTORY])


@SQLITE
def test_langchain_goes_on_with_its_histories_in_redis(importing: Importer, url: str, redis_server: str) -> None:
    prefix = f"store[{uuid4().hex}]*:"
    source = f"{redis_server}?key_prefix={quote(prefix)}"
    with closing(Redis.from_url(redis_server)) as server:
        for name in ("user:42", "user-43"):
            server.lpush(prefix + name, *(json.dumps(each) for each in dumped(HISTORY[:6])))
        server.set(prefix + "other", "not a list")
        server.expire(prefix + "user-43", 3600)
        done = importing("langchain-redis", source)
        assert (done.code, done.problems) == (0, [])
        assert done.counts == {"user-43": (0, 6), "user:42": (0, 6)}
        assert read_back(url, "user:42") == EXPECTED[:6]
        server.lpush(prefix + "user:42", *(json.dumps(each) for each in dumped(HISTORY[6:])), "{", '{"type": "ai"}')
        done = importing("langchain-redis", source)
    assert (done.code, done.counts["user:42"]) == (1, (6, 2))
    assert done.problems == [
        "problem: user:42: message 9 is not JSON",
        "problem: user:42: message 10 is not a message (KeyError)",
    ]
    assert read_back(url, "user:42") == EXPECTED
    with SessionManager.open(url) as manager:
        left = manager.get_session("user-43").expires_at
        assert left is not None
        assert left <= datetime.now(UTC) + timedelta(hours=1)
        assert manager.get_session("user:42").expires_at is None


def decimals(value: Any) -> Any:
    return json.loads(json.dumps(value), parse_float=Decimal)


@SQLITE
def test_langchain_goes_on_with_its_histories_in_dynamodb(importing: Importer, url: str, dynamodb_server: str) -> None:
    [endpoint] = parse_qs(urlsplit(dynamodb_server).query)["endpoint_url"]
    name = f"histories-{uuid4().hex}"
    server = boto3.resource("dynamodb", endpoint_url=endpoint, region_name="us-east-1")
    keys = [{"AttributeName": "SessionId", "KeyType": "HASH"}, {"AttributeName": "User", "KeyType": "RANGE"}]
    types_of = [{"AttributeName": key["AttributeName"], "AttributeType": "S"} for key in keys]
    table = server.create_table(
        TableName=name, KeySchema=keys, AttributeDefinitions=types_of, BillingMode="PAY_PER_REQUEST"
    )
    table.wait_until_exists()
    now = int(datetime.now(UTC).timestamp())
    long = [HumanMessage(str(number) + "x" * 20_000) for number in range(10)]
    for user, messages, expires in (("ada", HISTORY, now + 3600), ("eve", HISTORY, now - 3600), ("long", long, None)):
        item = {"SessionId": "s/1", "User": user, "History": decimals(dumped(messages))}
        table.put_item(Item=item if expires is None else {**item, "expireAt": expires})
    for number in range(6):  # a scan reads a megabyte at once
        table.put_item(Item={"SessionId": f"filler-{number}", "User": "x", "History": decimals(dumped(long))})
    source = f"dynamodb://{name}?region=us-east-1&endpoint_url={quote(endpoint, safe='')}"
    done = importing("langchain-dynamodb", source)
    assert (done.code, done.problems) == (1, ["problem: s%2F1/eve: the history has expired"])
    assert len(done.rows) == 9
    assert (done.counts["s%2F1/ada"], done.counts["s%2F1/long"]) == ((0, 8), (0, 10))
    assert read_back(url, "s%2F1/ada") == EXPECTED
    with SessionManager.open(url) as manager:
        assert manager.get_session("s%2F1/ada").expires_at is not None
    assert importing("langchain-dynamodb", source).counts["s%2F1/ada"] == (8, 0)
    missing = importing("langchain-dynamodb", source.replace(name, "none"))
    assert (missing.code, "cannot be read" in missing.problems[0]) == (2, True)
