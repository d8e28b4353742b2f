"""The end of a run: exit codes, interrupts, closed pipes, missing libraries, and no secrets in any error."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from . import extensions
from .conftest import STORE, CommandLine

EVERY_COMMAND = [
    ["demo"],
    ["plugins"],
    ["health"],
    ["cleanup"],
    ["conformance"],
    ["sessions"],
    ["sessions", "list"],
    ["sessions", "show"],
    ["sessions", "forks"],
    ["sessions", "delete"],
    ["sessions", "erase"],
]

WITHOUT = "import sys; sys.modules['{}'] = None; from session_continuity.cli import main; main()"


@pytest.mark.parametrize("words", EVERY_COMMAND, ids=" ".join)
def test_help_explains_the_command_and_has_an_example(command: CommandLine, words: list[str]) -> None:
    done = command(*words, "--help")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"Usage: session-continuity {' '.join(words)} ")
    if words != ["sessions"]:
        assert f"For example:\n    session-continuity {' '.join(words)}" in done.out
    assert "\x1b" not in done.out
    assert "─" not in done.out


def test_help_on_a_terminal_has_colours(command: CommandLine) -> None:
    done = command.on_terminal("--help")
    assert "Exit codes: 0 done; 1 failed, or a negative result; 2 wrong command line" in done.out
    assert "╭─ Commands" in done.out
    assert "\x1b[1;36m" in done.escapes


def test_no_command_and_the_version(command: CommandLine) -> None:
    assert command("--version").out == "session-continuity 0.1.0\n"
    nothing = command()
    assert nothing.code == 2
    assert "Commands:" in nothing.out + nothing.err


def test_the_module_is_the_same_program(command: CommandLine) -> None:
    done = command.program(sys.executable, "-m", "session_continuity", "demo")
    assert done.code == 0
    assert done.rows[-1] == ["again", "python -m session_continuity demo"]
    help = command.program(sys.executable, "-m", "session_continuity", "--help")
    assert help.out.startswith("Usage: python -m session_continuity ")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nonsense"], 2, "No such command 'nonsense'"),
        (["demo", "--nonsense"], 2, "No such option: --nonsense"),
        (["health"], 2, "no storage URL: pass one, or set SESSION_CONTINUITY_URL"),
        (["health", "no-url"], 2, "this is not a storage URL"),
        (["health", "sqlit:///chat.db"], 2, "did you mean sqlite://?"),
        (["cleanup", "memory://?nonsense=1"], 2, "Known options: name"),
        (["cleanup", "sqlite:///no/such/folder/chat.db"], 2, "sqlite: "),
        (["cleanup", "sqlite:///broken.db"], 1, "sqlite: "),
    ],
)
def test_errors_are_one_line_on_standard_error(
    command: CommandLine, arguments: list[str], code: int, words: str
) -> None:
    (command.folder / "broken.db").write_text("this is not a database " * 100)
    done = command(*arguments)
    assert (done.code, done.out) == (code, "")
    assert words in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("arguments", [["demo", "--url"], ["--traceback", "health"], ["sessions", "list"]])
@pytest.mark.parametrize("url", ["memory://user:canary@host/x", "sqlite:///x.db?canary=canary"])
def test_no_command_prints_a_password(command: CommandLine, arguments: list[str], url: str) -> None:
    done = command(*arguments, url)
    assert done.code == 2
    assert "canary" not in done.out + done.err


def test_ctrl_c_ends_quietly(command: CommandLine) -> None:
    running = command.start(
        "demo", "--transcript", "-", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    wait_until_reading(running.pid)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert (running.returncode, out, err) == (130, b"", b"")


def test_ctrl_c_ends_quietly_before_the_first_command(command: CommandLine) -> None:
    command.install("slow", "import signal; signal.raise_signal(signal.SIGINT)")
    done = command("plugins")
    assert (done.code, done.out, done.err) == (130, "", "")


def wait_until_reading(pid: int) -> None:
    """Until the process sleeps in a read of its standard input, as Linux says."""
    while True:
        call = Path(f"/proc/{pid}/syscall").read_text().split()
        if call[:2] == ["0", "0x0"]:
            return
        os.sched_yield()


@pytest.mark.parametrize("arguments", [["plugins"], ["demo"], ["demo", "--json"], ["--help"], ["shout", "x"]])
def test_a_closed_pipe_is_not_reported(command: CommandLine, arguments: list[str]) -> None:
    command.install("good", extensions.GOOD)
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as gone:
        running = command.start(*arguments, stdout=gone, stderr=subprocess.PIPE)
        _, err = running.communicate(timeout=60)
    assert err == b""
    assert running.returncode in (0, 1)


@pytest.mark.parametrize("arguments", [["plugins"], ["shout", "x"]])
def test_a_full_disk_is_reported(command: CommandLine, arguments: list[str]) -> None:
    command.install("good", extensions.GOOD)
    with open("/dev/full", "wb") as full:
        running = command.start(*arguments, stdout=full, stderr=subprocess.PIPE)
        _, err = running.communicate(timeout=60)
    assert (running.returncode, err) == (1, b"error: No space left on device\n")


def test_another_encoding_takes_any_text(command: CommandLine) -> None:
    chat = '{"role": "user", "content": "caf\u00e9 \U0001f600"}'.encode()
    given = ["demo", "--url", STORE, "--transcript", "-"]
    plain = command(*given, stdin=chat, environ={"PYTHONIOENCODING": "ascii"})
    assert plain.code == 0, plain.err
    document = command(*given, "--json", stdin=chat, environ={"PYTHONIOENCODING": "ascii"})
    assert document.json["context"]["messages"][0]["content"] == "café 😀"


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_its_libraries_the_program_says_what_to_install(command: CommandLine, missing: str) -> None:
    done = command.program(sys.executable, "-c", WITHOUT.format(missing))
    assert (done.code, done.out) == (2, "")
    assert done.err == ("error: the command line needs typer and rich: pip install 'session-continuity[cli]'\n")


def test_without_the_suite_conformance_says_what_to_install(command: CommandLine) -> None:
    done = command.program(
        sys.executable, "-c", WITHOUT.format("session_continuity_conformance"), "conformance", "m://t"
    )
    assert (done.code, done.out) == (2, "")
    assert done.err == "error: the conformance suite is not installed: pip install 'session-continuity[conformance]'\n"
