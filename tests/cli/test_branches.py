"""`sessions forks` and `sessions erase`: on a terminal, in a pipe and as JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from session_continuity import SessionManager

from .conftest import STORE, CommandLine


@pytest.fixture
def manager(command: CommandLine) -> Iterator[SessionManager]:
    with SessionManager.open(f"sqlite:///{command.folder}/chat.db") as manager:
        yield manager


@pytest.fixture
def tree(manager: SessionManager) -> list[str]:
    """Session `root` with the forks `a` and `b`, and `c`, a fork of `a`. Returns the ids of the root's messages."""
    manager.create_session(id="root", user_id="u")
    ids = [manager.add_message("root", "user", text).id for text in ("one", "two")]
    manager.fork_session("root", id="a", at=ids[0])
    manager.fork_session("root", id="b")
    manager.fork_session("a", id="c", user_id="other")
    return ids


def test_forks_in_a_pipe_are_a_line_each_behind_their_source(command: CommandLine, tree: list[str]) -> None:
    done = command("sessions", "forks", STORE, "root")
    assert (done.code, done.err) == (0, "")
    expected = [["1", "a", "root", tree[0]], ["2", "c", "a", tree[0]], ["1", "b", "root", tree[1]]]
    assert [row[:4] for row in done.rows] == expected
    found = command("sessions", "forks", STORE, "root", "--json").json
    assert (found["session"], [fork["id"] for fork in found["forks"]]) == ("root", ["a", "c", "b"])


@pytest.mark.usefixtures("tree")
def test_forks_on_a_terminal_are_a_tree(command: CommandLine) -> None:
    lines = command.on_terminal("sessions", "forks", STORE, "root").out.splitlines()
    names = [re.split(r"  \d{4}-", line)[0] for line in lines if line.strip()]
    assert [name.replace("\u00a0", " ") for name in names] == ["root", "├── a", "│   └── c", "└── b"]


@pytest.mark.usefixtures("tree")
def test_a_user_is_erased_with_a_receipt(command: CommandLine, manager: SessionManager) -> None:
    done = command("sessions", "erase", STORE, "u")
    assert (done.code, done.err) == (0, "")
    assert sorted(row[:3] for row in done.rows) == [["erased", "a", "1"], ["erased", "b", "2"], ["erased", "root", "2"]]
    assert [session.id for session in manager.list_sessions()] == ["c"]
    receipt = command("sessions", "erase", STORE, "other", "--json").json
    assert (receipt["user_id"], receipt["left"]) == ("other", [])
    assert [session["session_id"] for session in receipt["sessions"]] == ["c"]
    assert "0 sessions, 0 messages" in command.on_terminal("sessions", "erase", STORE, "other").out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["forks", STORE, "a", "b"], "one session at a time"), (["erase", STORE, "a", "b"], "one user at a time")],
)
def test_wrong_arguments_are_a_usage_error(command: CommandLine, arguments: list[str], words: str) -> None:
    done = command("sessions", *arguments)
    assert (done.code, done.out) == (2, "")
    assert words in done.err
