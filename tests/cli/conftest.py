"""The command line as users run it: the console script as a process, behind a pipe or a terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from ..kit.distributions import write_distribution

settings.register_profile("cli", deadline=None)
settings.load_profile("cli")

UNWANTED = {"COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR", "PYTHONPATH", "PYTHONUNBUFFERED"}
SCRIPT = Path(sys.executable).with_name("session-continuity")
STORE = "sqlite:///chat.db"


@dataclass
class Result:
    """The result of a command. On a terminal `out` is the text without escapes, and `escapes` the text with them."""

    code: int
    out: str
    err: str = ""
    escapes: str = ""

    @property
    def rows(self) -> list[list[str]]:
        """The fields of each line of plain output."""
        return [line.split("\t") for line in self.out.splitlines()]

    @property
    def json(self) -> Any:
        """The parsed JSON output."""
        return json.loads(self.out)


class CommandLine:
    """Runs commands in one folder, with the extensions installed for the test on the path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plugins = folder / "plugins"
        self.environ = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("SESSION_CONTINUITY") and name not in UNWANTED
        }
        self.environ |= {"PYTHONPATH": os.fspath(self.plugins), "PYTHONWARNINGS": "error", "TERM": "xterm-256color"}

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        """A command that runs while the test goes on."""
        command = [os.fspath(SCRIPT), *arguments]
        return subprocess.Popen(command, cwd=self.folder, env=self.environ, **options)

    def __call__(self, *arguments: str, stdin: bytes = b"", environ: Mapping[str, str] | None = None) -> Result:
        """A command behind pipes, run to its end."""
        return self.program(os.fspath(SCRIPT), *arguments, stdin=stdin, environ=environ)

    def program(self, *command: str, stdin: bytes = b"", environ: Mapping[str, str] | None = None) -> Result:
        """Any program in the same folder and environment."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**self.environ, **(environ or {})},
            input=stdin,
            capture_output=True,
            timeout=120,
            check=False,
        )
        return Result(done.returncode, done.stdout.decode(), done.stderr.decode())

    def on_terminal(self, *arguments: str, width: int = 100) -> Result:
        """A command on a terminal of this width."""
        child, terminal = pty.fork()
        if child == 0:
            os.chdir(self.folder)
            os.execve(SCRIPT, [os.fspath(SCRIPT), *arguments], self.environ)
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
        escapes = b"".join(iter(lambda: _read(terminal), b"")).decode()
        os.close(terminal)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return Result(code, re.sub(r"\x1b\[[0-9;]*m", "", escapes).replace("\r\n", "\n"), escapes=escapes)

    def install(self, name: str, source: str) -> None:
        """Install an extension of this name, in a module of this source."""
        module = f"{name}_module"
        extension = {"session_continuity.extensions": {name: module}}
        write_distribution(self.plugins, name, entry_points=extension, modules={module: source})


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux raises it when the other end is closed
        return b""


@pytest.fixture
def command(tmp_path: Path) -> CommandLine:
    """The command line in an empty folder, without this project's variables."""
    assert SCRIPT.exists(), f"install core[cli] for {sys.executable}"
    return CommandLine(tmp_path)
