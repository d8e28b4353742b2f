"""`plugins`, and the commands of extensions: one that is broken is named, and the rest works."""

from __future__ import annotations

import pytest

from ..kit.distributions import write_distribution
from . import extensions
from .conftest import STORE, CommandLine

DISABLE = "SESSION_CONTINUITY_DISABLE_PLUGINS"
FIELDS = ["kind", "name", "distribution", "version", "target", "state", "problem"]


def test_installed_stores_are_listed(command: CommandLine) -> None:
    done = command("plugins")
    assert (done.code, done.err) == (0, "")
    [memory] = [row for row in done.rows if row[1] == "memory"]
    assert memory[0::4] == ["store", "session_continuity_memory.entry_point:plugin"]
    assert memory[5:] == ["installed", "-"]
    [found] = [plugin for plugin in command("plugins", "--check", "--json").json if plugin["name"] == "memory"]
    assert list(found) == FIELDS
    assert found["state"] == "ok"
    assert "memory://" in command.on_terminal("plugins").out


def test_a_check_names_every_broken_plugin_and_fails(command: CommandLine) -> None:
    command.install("good", extensions.GOOD)
    command.install("broken", extensions.BROKEN)
    command.install("misspelt", extensions.MISSPELT)
    done = command("plugins", "--check", "--json")
    states = {plugin["name"]: plugin["state"] for plugin in done.json if plugin["kind"] == "extension"}
    ours = {name: states[name] for name in ("good", "broken", "misspelt")}
    assert (done.code, ours) == (1, {"good": "ok", "broken": "broken", "misspelt": "broken"})
    problems = [plugin["problem"] for plugin in done.json if plugin["state"] == "broken"]
    assert "no_such_module_anywhere" in problems[0]
    assert "sc_cli_comands" in problems[1]
    disabled = command("plugins", "--check", environ={DISABLE: "broken, misspelt"})
    assert (disabled.code, disabled.err) == (0, "")
    assert [row[5] for row in disabled.rows if row[1] in ours] == ["disabled", "ok", "disabled"]
    assert "broken: extension broken from broken 1.0" in command.on_terminal("plugins", "--check", width=200).out


def test_two_stores_of_one_scheme_are_a_conflict(command: CommandLine) -> None:
    rival = {"session_continuity.storage": {"memory": "rival:plugin"}}
    write_distribution(command.plugins, "rival", entry_points=rival)
    done = command("plugins")
    assert [row[5] for row in done.rows if row[1] == "memory"] == ["conflict", "conflict"]
    assert done.code == 0
    assert command("plugins", "--check").code == 1


def test_an_extension_adds_commands(command: CommandLine) -> None:
    command.install("good", extensions.GOOD)
    assert command("shout", "hello").out == "HELLO\n"
    assert command("table", "ping").out == "pong\n"
    help = command("--help").out
    assert "Say it loudly." in help
    assert "Have a conversation" in help


def test_an_error_of_an_extension_is_reported_without_its_message(command: CommandLine) -> None:
    command.install("good", extensions.GOOD)
    done = command("table", "pong")
    assert done.code == 1
    assert (
        done.err
        == "error: Internal error (ValueError). This is a bug; run `session-continuity --traceback …` to see where.\n"
    )
    shown = command("--traceback", "table", "pong")
    assert "Traceback" in shown.err
    assert "secret-canary" in shown.err


def test_a_missing_library_of_an_extension_is_named(command: CommandLine) -> None:
    command.install("good", extensions.GOOD)
    done = command("table", "chair")
    assert (done.code, done.err) == (2, "error: the module no_such_module is needed and not installed\n")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (extensions.RAISING, "cannot add its commands (ValueError: out of paper)"),
        (extensions.LEAVING, "cannot add its commands (SystemExit: 3)"),
        (extensions.UNUSABLE, "cannot add its commands"),
        (extensions.TAKING, "adds commands that exist: demo"),
        (extensions.BROKEN, "cannot be imported: ModuleNotFoundError"),
        (extensions.MISSPELT, "sc_cli_comands"),
    ],
    ids=["raising", "leaving", "unusable", "taking", "broken", "misspelt"],
)
def test_a_bad_extension_is_named_and_the_rest_works(command: CommandLine, source: str, words: str) -> None:
    command.install("bad", source)
    command.install("good", extensions.GOOD)
    done = command("shout", "still here")
    assert (done.code, done.out) == (0, "STILL HERE\n")
    assert done.err.startswith("warning: extension bad ")
    assert words in done.err
    assert f"set {DISABLE}=bad" in done.err
    silent = command("shout", "quiet", environ={DISABLE: "bad"})
    assert (silent.code, silent.err) == (0, "")


def test_a_store_is_not_opened_past_a_broken_extension(command: CommandLine) -> None:
    command.install("bad", extensions.BROKEN)
    done = command("demo", "--url", STORE)
    assert done.code == 2
    assert done.err.splitlines()[1] == (
        "error: an extension failed to load, so no store was opened: the extension may be needed to protect it"
    )
    assert not (command.folder / "chat.db").exists()
    assert command("demo", "--url", STORE, environ={DISABLE: "bad"}).code == 0
