"""The pages about the frameworks: their programs run as printed, and their links lead somewhere."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .frameworks import FRAMEWORKS, Framework

ROOT = Path(__file__).parents[2]
README = ROOT / "agents/README.md"


def page(framework: Framework) -> Path:
    return ROOT / f"docs/agents/{framework.distribution}.md"


def run(program: str, folder: Path) -> str:
    """What the program prints. It must print no warning."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith("SESSION_CONTINUITY")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("framework", FRAMEWORKS, ids=lambda framework: framework.module)
def test_the_program_of_a_page_runs_twice_and_goes_on(framework: Framework, tmp_path: Path) -> None:
    program, *_ = re.findall(r"```python\n(.*?)```", page(framework).read_text(), re.DOTALL)
    first, second = run(program, tmp_path), run(program, tmp_path)
    assert first.splitlines()
    assert second.splitlines()
    assert (tmp_path / "chat.db").exists()


def test_the_conversations_of_openai_agents_move(tmp_path: Path) -> None:
    _, move = re.findall(r"```python\n(.*?)```", page(FRAMEWORKS[0]).read_text(), re.DOTALL)
    run(
        "import asyncio; from agents import SQLiteSession\n"
        "session = SQLiteSession('user-42', 'old.db')\n"
        "asyncio.run(session.add_items([{'role': 'user', 'content': str(n)} for n in range(90)]))\n"
        "session.close()",
        tmp_path,
    )
    assert run(move, tmp_path) == "90 items moved\n"


def test_the_sessions_of_google_adk_move(tmp_path: Path) -> None:
    _, move = re.findall(r"```python\n(.*?)```", page(FRAMEWORKS[1]).read_text(), re.DOTALL)
    old = """if True:
        import asyncio
        from google.adk.events import Event, EventActions
        from google.adk.sessions.sqlite_session_service import SqliteSessionService
        async def main():
            service = SqliteSessionService("old.db")
            for user in ("ada", "grace"):
                session = await service.create_session(app_name="shop", user_id=user, session_id="s")
                for n in range(3):
                    actions = EventActions(state_delta={"n": n, "user:n": n})
                    await service.append_event(session, Event(author="user", actions=actions))
        asyncio.run(main())
    """
    run(old, tmp_path)
    assert run(move, tmp_path) == "2 sessions moved\n"


def test_the_messages_of_strands_move(tmp_path: Path) -> None:
    _, move = re.findall(r"```python\n(.*?)```", (ROOT / "docs/agents/strands-agents.md").read_text(), re.DOTALL)
    old = """if True:
        from strands.session import FileSessionManager
        from strands.types.session import SessionAgent, SessionMessage
        old = FileSessionManager("user-42", storage_dir="old")
        old.create_agent("user-42", SessionAgent("default", {}, {}))
        for n in range(90):
            message = {"role": "user", "content": [{"text": str(n)}]}
            old.create_message("user-42", "default", SessionMessage(message, n))
    """
    run(old, tmp_path)
    assert run(move, tmp_path) == "90 messages moved\n"


@pytest.mark.parametrize("framework", FRAMEWORKS, ids=lambda framework: framework.module)
def test_the_readme_names_every_framework(framework: Framework) -> None:
    assert f"(../docs/agents/{framework.distribution}.md)" in README.read_text()
    assert framework.version in README.read_text()


@pytest.mark.parametrize("path", [README, *map(page, FRAMEWORKS)], ids=lambda path: path.name)
def test_links_lead_to_what_is_there(path: Path) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", path.read_text()):
        assert (path.parent / target).exists(), target


def test_the_sessions_of_claude_code_move(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    claude = next(each for each in FRAMEWORKS if each.module == "claude_agent_sdk")
    _, move = re.findall(r"```python\n(.*?)```", page(claude).read_text(), re.DOTALL)
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "home"))
    session = "0b1e5ad4-6f0c-4c3c-9a52-0a63c1f0f9ce"
    logs = tmp_path / "home/projects" / re.sub(r"[^a-zA-Z0-9]", "-", str(tmp_path))
    (logs / session / "subagents").mkdir(parents=True)
    for name in (session, f"{session}/subagents/agent-1"):
        entry = {"type": "user", "uuid": name, "message": {"role": "user", "content": "hi"}}
        (logs / f"{name}.jsonl").write_text(json.dumps(entry) + "\n")
    assert run(move, tmp_path) == "2 sessions moved\n"


def move_of(module: str) -> str:
    """The program of a page that moves conversations there."""
    framework = next(each for each in FRAMEWORKS if each.module == module)
    _, move = re.findall(r"```python\n(.*?)```", page(framework).read_text(), re.DOTALL)
    return str(move)


def test_the_conversations_of_llama_index_move(tmp_path: Path) -> None:
    old = """
async def main():
    import warnings
    from llama_index.core.base.llms.types import ChatMessage
    from llama_index.core.storage.chat_store.sql import SQLAlchemyChatStore
    old = SQLAlchemyChatStore("chats", async_database_uri="sqlite+aiosqlite:///old.db")
    for key in ("a", "b"):
        await old.add_messages(key, [ChatMessage(role="user", content=str(n)) for n in range(5)])
        await old.archive_oldest_messages(key, 2)
    print(await move(old), "conversations moved")
    await old._async_engine.dispose()
    async with LlamaChatStore(url="sqlite:///chat.db") as new:
        for status in MessageStatus:
            print([message.content for message in await new.get_messages("b", status)])

import asyncio
asyncio.run(main())
"""
    told = run(move_of("llama_index") + old, tmp_path)
    assert told == "2 conversations moved\n['2', '3', '4']\n['0', '1']\n"


def test_the_threads_of_a_chatkit_store_move(tmp_path: Path) -> None:
    old = """
async def main():
    from datetime import datetime
    from chatkit.types import AssistantMessageContent, AssistantMessageItem, ThreadMetadata
    now, context = datetime.now(), {"user_id": "ada"}
    async with ChatKitStore(url="memory://old") as old:
        for id in ("a", "b"):
            await old.save_thread(ThreadMetadata(id=id, created_at=now), context)
            for n in range(30):
                content = [AssistantMessageContent(text=str(n))]
                item = AssistantMessageItem(id=str(n), thread_id=id, created_at=now, content=content)
                await old.add_thread_item(id, item, context)
        print(await move(old, context), "threads moved")
        async with ChatKitStore(url="sqlite:///chat.db") as new:
            pages = [await store.load_thread_items("b", None, 99, "asc", context) for store in (old, new)]
            print(pages[0] == pages[1], len(pages[0].data))

import asyncio
asyncio.run(main())
"""
    assert run(move_of("chatkit") + old, tmp_path) == "2 threads moved\nTrue 30\n"
