"""The chat service of the examples: two real workers, and clients that go away, ask twice, and ask at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from ..kit import harnesses
from ..kit.missing import skip_test
from ..kit.ports import free_port
from ..kit.waiting import wait_until

EXAMPLES = Path(__file__).parents[2] / "examples"

PATIENT_MODEL = """
import asyncio, os, pathlib
from datetime import timedelta
import chat_service

async def model(messages):
    yield f"{os.getpid()} "
    while not pathlib.Path(os.environ["GATE"]).exists():
        await asyncio.sleep(0.01)
    yield f"has read {len(messages)}"

chat_service.model = model
chat_service.PATIENCE = timedelta(seconds=0.5)
app = chat_service.app
"""
"""The service with a model that says the number of its process, and waits for a file before it says the rest."""


class Client:
    """A user of the service, with a connection for each request."""

    def __init__(self, address: str, user: str) -> None:
        self.address = address
        self.options: dict[str, Any] = {"headers": {"X-User": user}, "timeout": 60}

    def send(self, method: str, path: str, **more: Any) -> httpx.Response:
        return httpx.request(method, f"{self.address}{path}", **self.options, **more)

    def create(self, title: str) -> str:
        answer = self.send("POST", "/chats", params={"title": title})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    @contextmanager
    def asking(self, chat: str, id: str) -> Iterator[Iterator[dict[str, Any]]]:
        """The parts of the answer to a question, as they come."""
        question = {"id": id, "text": "hi"}
        with httpx.stream("POST", f"{self.address}/chats/{chat}/messages", json=question, **self.options) as answer:
            assert answer.status_code == 200, answer.read()
            yield (json.loads(line.removeprefix("data: ")) for line in answer.iter_lines() if line)

    def ask(self, chat: str, id: str) -> str:
        """Ask, and return the whole answer."""
        with self.asking(chat, id) as parts:
            *texts, end = parts
        assert end == {"end": f"{id}-answer"}
        return "".join(part["text"] for part in texts)

    def begin(self, chat: str, id: str) -> int:
        """Ask, go away when the answer has begun, and return the process that answers."""
        with self.asking(chat, id) as parts:
            return int(next(parts)["text"])

    def messages(self, chat: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.send("GET", f"/chats/{chat}/messages").json()["messages"]
        return found


@pytest.fixture(scope="module")
def redis_server() -> Iterator[str]:
    with harnesses.redis() as found:
        yield found if isinstance(found, str) else skip_test("this test needs a Redis server: install redis-server")


@pytest.fixture(params=["sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/chats.db"
    return f"{request.getfixturevalue('redis_server')}?namespace={uuid4().hex}"


@contextmanager
def served(url: str, folder: Path) -> Iterator[str]:
    """The address of the service, with two workers."""
    (folder / "patient_service.py").write_text(PATIENT_MODEL)
    port = free_port()
    environ = {
        **os.environ,
        "SESSION_CONTINUITY_URL": url,
        "GATE": os.fspath(folder / "gate"),
        "PYTHONPATH": os.pathsep.join([os.fspath(folder), os.fspath(EXAMPLES)]),
    }
    command = [sys.executable, "-m", "uvicorn", "patient_service:app", "--workers", "2", "--port", str(port)]
    with (folder / "log").open("w+") as log:
        process = subprocess.Popen(command, cwd=folder, env=environ, stdout=log, stderr=log, start_new_session=True)
        try:
            address = f"http://127.0.0.1:{port}"
            wait_until(lambda: is_there(process, address), "the service to answer", seconds=120)
            yield address
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) in (0, -signal.SIGTERM), (folder / "log").read_text()
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def is_there(process: subprocess.Popen[bytes], address: str) -> bool:
    assert process.poll() is None
    try:
        return Client(address, "nobody").send("GET", "/chats").status_code == 200
    except httpx.TransportError:
        return False


def test_a_chat_service_loses_nothing_and_says_nothing_twice(url: str, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with served(url, tmp_path) as address:
        ada, grace = Client(address, "ada"), Client(address, "grace")
        chat = ada.create("Orders")

        # A client goes away in the middle. Its answer is written to the end, and is there when it asks again.
        ada.begin(chat, "q1")
        assert ada.messages(chat)[-1]["whole"] is False
        gate.touch()
        wait_until(lambda: ada.messages(chat)[-1]["whole"], "the answer to be whole")
        assert ada.ask(chat, "q1").endswith(" has read 1")
        assert [each["role"] for each in ada.messages(chat)] == ["user", "assistant"]

        # A worker dies in the middle. The question is answered anew, once.
        gate.unlink()
        os.kill(ada.begin(chat, "q2"), signal.SIGKILL)
        gate.touch()
        answers: list[str] = []
        wait_until(lambda: answer_of(address, chat, answers), "another worker to answer")
        assert answers[0].endswith(" has read 3")
        assert [(each["id"], each["whole"]) for each in ada.messages(chat)] == [
            (id, True) for id in ("q1", "q1-answer", "q2", "q2-answer")
        ]

        # Several clients of one chat at once, each with its question.
        with ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(Client(address, "ada").ask, chat, f"at-once-{n}") for n in range(8)]
            assert all("has read" in each.result() for each in asked)
        ids = [each["id"] for each in ada.messages(chat)]
        assert len(ids) == len(set(ids)) == 20

        # Several clients at once with one question: one answer is stored, and all get that one.
        gate.unlink()
        with ThreadPoolExecutor(4) as pool:
            same = [pool.submit(ask_until_answered, address, chat) for _ in range(4)]
            wait_until(lambda: ada.messages(chat)[-1]["id"] == "same-answer", "the answer to begin")
            gate.touch()
            assert len({each.result() for each in same}) == 1
        assert [each["id"] for each in ada.messages(chat)][20:] == ["same", "same-answer"]

        # Nobody else's.
        question = {"id": "q1", "text": "another text"}
        for method, path in (("GET", f"/chats/{chat}/messages"), ("DELETE", f"/chats/{chat}")):
            assert grace.send(method, path).status_code == 404
        assert grace.send("POST", f"/chats/{chat}/messages", json=question).status_code == 404
        assert grace.send("GET", "/chats").json() == []
        assert ada.send("GET", "/chats").json() == [{"id": chat, "title": "Orders", "messages": 22}]
        assert ada.send("POST", f"/chats/{chat}/messages", json=question).status_code == 422
        assert ada.send("DELETE", f"/chats/{chat}").status_code == 204
        assert ada.send("GET", f"/chats/{chat}/messages").status_code == 404


def ask_until_answered(address: str, chat: str) -> str:
    """Ask one question, again while it is being answered (409), and return its answer."""
    answers: list[str] = []
    wait_until(lambda: answer_of(address, chat, answers, "same"), "the answer")
    return answers[0]


def answer_of(address: str, chat: str, answers: list[str], question: str = "q2") -> bool:
    """Ask a question, maybe again, and note its answer. False while no worker can tell it yet."""
    try:
        answers.append(Client(address, "ada").ask(chat, question))
    except (httpx.TransportError, AssertionError):  # no worker is there, or the dead one is waited for (409)
        return False
    return True
