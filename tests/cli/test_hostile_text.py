"""Text from a store or a URL cannot control a terminal or look like another value, in each form of output."""

from __future__ import annotations

import re

import pytest

from session_continuity import SessionManager

from .conftest import STORE, CommandLine

HOSTILE = "a\x1b[31m\x9b31m\x9d0;title\x07\x7f\u202e\u2066\u061c\u2028z"
FORGED = f"{HOSTILE}\n  user           root\tadmin"
RAW = re.compile("[\0-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Control characters. A terminal gets `\x1b` from the command itself, in the sequences that colour its text."""


@pytest.fixture
def command_on_hostile_store(command: CommandLine) -> CommandLine:
    with SessionManager.open(f"sqlite:///{command.folder}/chat.db") as manager:
        session = manager.create_session(
            id=FORGED,
            user_id=FORGED,
            active_agent_id=FORGED,
            metadata={"title": FORGED, "tags": [FORGED], "custom": {FORGED: FORGED}, FORGED: FORGED},
        )
        manager.handoff_to_agent(session.id, f"{FORGED}2", reason=FORGED, context={FORGED: FORGED})
        manager.add_message(
            session.id,
            role="assistant",
            content=HOSTILE,
            metadata={"tool_calls": [{"id": FORGED, "name": FORGED, "arguments": FORGED}]},
        )
    return command


COMMANDS = [
    ["sessions", "list", STORE],
    ["sessions", "show", STORE, FORGED],
    ["sessions", "delete", STORE, FORGED, "b\n"],
]


@pytest.mark.parametrize("arguments", COMMANDS, ids=["list", "show", "delete"])
def test_stored_text_is_escaped(command_on_hostile_store: CommandLine, arguments: list[str]) -> None:
    command = command_on_hostile_store
    for out in (command(*arguments, "--json").out, command(*arguments).out):
        assert not RAW.search(out.replace("\n", ""))
        assert "\x1b" not in out
    for width in (60, 200):
        shown = command.on_terminal(*arguments, width=width)
        assert not RAW.search(shown.escapes.replace("\r\n", ""))
        assert "\x1b" not in shown.out


def test_json_holds_the_text_as_it_is(command_on_hostile_store: CommandLine) -> None:
    session = command_on_hostile_store("sessions", "show", STORE, FORGED, "--json").json["session"]
    assert session["user_id"] == session["metadata"]["title"] == FORGED


def test_a_stored_value_cannot_look_like_another(command_on_hostile_store: CommandLine) -> None:
    shown = command_on_hostile_store.on_terminal("sessions", "show", STORE, FORGED, "--messages", "0", width=2000)
    assert [line.split()[0] for line in shown.out.splitlines()[1:] if line.strip()] == [
        "title", "user", "agent", "tags", "created", "last", "tokens", "handoffs", "…",
    ]  # fmt: skip


@pytest.mark.parametrize("more", [[], ["--json"]], ids=["plain", "json"])
def test_a_url_is_escaped(command: CommandLine, more: list[str]) -> None:
    url = "sqlite:///%C2%9B31m%E2%80%AE.db?namespace=%C2%9Bx"
    for name in ("health", "demo", "health"):  # without the file and with it
        plain, shown = command(name, url, *more), command.on_terminal(name, url, *more)
        assert not RAW.search(plain.out + plain.err + shown.escapes.replace("\r", ""))
