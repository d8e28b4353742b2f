"""`setup`, `health`, `cleanup`."""

from __future__ import annotations

from session_continuity import SessionManager

from .conftest import STORE, CommandLine


def test_a_store_that_works_is_healthy(command: CommandLine) -> None:
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


def test_setup_creates_what_a_store_needs_and_may_be_repeated(command: CommandLine) -> None:
    assert command("setup", STORE, "--json").json == {"store": STORE}
    assert command("health", STORE).code == 0
    assert command("setup", STORE).rows == [["ready", STORE]]


def test_a_missing_store_is_not_healthy_and_has_a_remedy(command: CommandLine) -> None:
    done = command("health", STORE, "--json")
    assert done.code == 1
    assert done.json["status"] in ("degraded", "unhealthy")
    assert done.json["remedy"]
    assert list(command.folder.iterdir()) == [], "asking creates nothing"


def test_a_file_that_is_not_a_database_is_unhealthy(command: CommandLine) -> None:
    (command.folder / "chat.db").write_text("this is not a database " * 100)
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
