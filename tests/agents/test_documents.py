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
