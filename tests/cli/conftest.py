"""The command line as its users have it: the console script in a process of its own, behind a pipe or a terminal."""

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
from textwrap import dedent
from typing import Any

import pytest
from hypothesis import settings

settings.register_profile("cli", deadline=None)
settings.load_profile("cli")

UNWANTED = {"COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR", "PYTHONPATH", "PYTHONUNBUFFERED"}
SCRIPT = Path(sys.executable).with_name("session-continuity")
STORE = "sqlite:///chat.db"


@dataclass
class Ended:
    """How a command ended. Behind a terminal `out` holds what stands there, with `escapes` as it was sent."""

    code: int
    out: str
    err: str = ""
    escapes: str = ""

    @property
    def rows(self) -> list[list[str]]:
        """The lines of a plain answer in their fields."""
        return [line.split("\t") for line in self.out.splitlines()]

    @property
    def json(self) -> Any:
        """The document of an answer in JSON."""
        return json.loads(self.out)


class CommandLine:
    """Runs commands in one folder, with the distributions installed for this test on the path."""

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

    def __call__(self, *arguments: str, stdin: bytes = b"", environ: Mapping[str, str] | None = None) -> Ended:
        """A command behind pipes, run to its end."""
        return self.program(os.fspath(SCRIPT), *arguments, stdin=stdin, environ=environ)

    def program(self, *command: str, stdin: bytes = b"", environ: Mapping[str, str] | None = None) -> Ended:
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
        return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())

    def on_terminal(self, *arguments: str, width: int = 100) -> Ended:
        """A command on a terminal of this width."""
        child, terminal = pty.fork()
        if child == 0:
            os.chdir(self.folder)
            os.execve(SCRIPT, [os.fspath(SCRIPT), *arguments], self.environ)
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
        escapes = b"".join(iter(lambda: _read(terminal), b"")).decode()
        os.close(terminal)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return Ended(code, re.sub(r"\x1b\[[0-9;]*m", "", escapes).replace("\r\n", "\n"), escapes=escapes)

    def install(self, name: str, source: str) -> None:
        """Install an extension of this name, in a module of this source."""
        metadata = self.plugins / f"{name}-1.0.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[session_continuity.extensions]\n{name} = {name}_module\n")
        (self.plugins / f"{name}_module.py").write_text(dedent(source))


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # how Linux says that the other end is closed
        return b""


@pytest.fixture
def command(tmp_path: Path) -> CommandLine:
    """The command line in an empty folder, without this project's variables."""
    assert SCRIPT.exists(), f"install core[cli] for {sys.executable}"
    return CommandLine(tmp_path)
