"""`health`, `cleanup`, `conformance`."""

from __future__ import annotations

import json

import pytest

from session_continuity import SessionManager

from .conftest import STORE, CommandLine


def test_a_store_that_serves_is_healthy(command: CommandLine) -> None:
    command("demo", "--url", STORE)
    done = command("health", STORE, "--json")
    assert done.code == 0
    document = done.json
    assert document.keys() == {"store", "status", "latency_ms", "remedy", "details"}
    assert (document["store"], document["status"], document["details"]["durable"]) == (STORE, "healthy", True)
    plain = command("health", environ={"SESSION_CONTINUITY_URL": STORE})
    assert ["status", "healthy"] in plain.rows
    assert ["details.durable", "true"] in plain.rows
    seen = command.on_terminal("health", STORE)
    assert seen.out.startswith("● healthy  sqlite:///chat.db  ")
    assert "\x1b[1;32m● healthy" in seen.escapes


def test_a_store_that_is_not_there_says_no_and_what_to_do(command: CommandLine) -> None:
    done = command("health", STORE, "--json")
    assert done.code == 1
    assert done.json["status"] in ("degraded", "unhealthy")
    assert done.json["remedy"]
    assert list(command.folder.iterdir()) == [], "asking creates nothing"


def test_a_file_that_is_no_database_is_unhealthy(command: CommandLine) -> None:
    (command.folder / "chat.db").write_text("this is no database " * 100)
    done = command.on_terminal("health", STORE)
    assert done.code == 1
    assert done.out.startswith("● unhealthy  sqlite:///chat.db")


def test_cleanup_removes_expired_sessions_and_counts_them(command: CommandLine) -> None:
    with SessionManager.open(f"sqlite:///{command.folder}/chat.db") as manager:
        for place in range(3):
            manager.create_session(id=f"s{place}", ttl=0.001 if place else 3600)
    assert command("cleanup", STORE, "--json").json == {"removed": 2}
    assert command("cleanup", STORE).rows == [["removed", "0"]]
    assert command.on_terminal("cleanup", STORE).out == "removed 0 expired sessions\n"
    assert [row[0] for row in command("sessions", "list", STORE).rows] == ["s0"]


def test_conformance_proves_a_store(command: CommandLine) -> None:
    chosen = ["--mode", "blocking", "--clause", "SC-SES-001"]
    done = command("conformance", "memory://test", *chosen, "--markdown", "table.md", "--junit", "junit.xml")
    assert done.code == 0, done.out + done.err
    assert "memory" in done.out
    assert "SC-SES-001" in (command.folder / "junit.xml").read_text()
    assert (command.folder / "table.md").exists()


def test_conformance_in_json_is_one_document(command: CommandLine) -> None:
    chosen = ["--mode", "blocking", "--clause", "SC-SES-001", "--json"]
    done = command("conformance", *chosen, environ={"SESSION_CONTINUITY_URL": "memory://test"})
    assert done.code == 0
    assert json.loads(done.out)
    assert "memory" in done.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "name a store, as in memory://test, or set SESSION_CONTINUITY_URL"),
        (["memory://test", "--mode", "sideways"], "sideways"),
        (["memory://test", "--clause", "SC-NONE"], "nothing could run"),
        (["nope://x"], "nope"),
    ],
)
def test_conformance_of_nothing_is_a_usage_error(command: CommandLine, arguments: list[str], words: str) -> None:
    done = command("conformance", *arguments)
    assert done.code == 2
    assert words in done.out + done.err
    assert "Traceback" not in done.out + done.err
