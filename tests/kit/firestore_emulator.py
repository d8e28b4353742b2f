"""Google's Firestore emulator, started on a free loopback port.

It is a part of Google Cloud's command line, which may not be redistributed. `SC_FIRESTORE_ENDPOINT` (host:port) names
one that runs already, `FIRESTORE_EMULATOR_JAR` another file.

Queries slow down with everything that was ever written in a project, also with what was removed. So each store has a
project of its own, which needs no creation.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .ports import free_port
from .waiting import wait_until

NEEDED = (
    "Google's Firestore emulator is missing; install Java 17 and Google Cloud's command line, then run `gcloud "
    "components install cloud-firestore-emulator` (or `apt-get install google-cloud-cli-firestore-emulator`)"
)

_ENDPOINT = os.environ.get("SC_FIRESTORE_ENDPOINT")
_JAR = "platform/cloud-firestore-emulator/cloud-firestore-emulator.jar"
_MAIN = "com.google.cloud.datastore.emulator.firestore.CloudFirestore"
_START_SECONDS = 120.0


class MissingEmulatorError(Exception):
    """The emulator is not installed."""


def find_jar() -> Path | None:
    """The emulator's file: the one that the environment names, that of Google Cloud, or one that Firebase fetched."""
    stated = os.environ.get("FIRESTORE_EMULATOR_JAR")
    if stated:
        return Path(stated) if Path(stated).is_file() else None
    gcloud = shutil.which("gcloud")
    if gcloud is not None:
        asked = [gcloud, "info", "--format=value(installation.sdk_root)"]
        root = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
        if root and Path(root, _JAR).is_file():
            return Path(root, _JAR)
    fetched = sorted(Path.home().glob(".cache/firebase/emulators/cloud-firestore-emulator-v*.jar"))
    return fetched[-1] if fetched else None


@contextmanager
def run_emulator() -> Iterator[str]:
    """Start an emulator, and stop it at the end. Yields host:port. Raises MissingEmulatorError."""
    if _ENDPOINT:
        yield _ENDPOINT
        return
    jar, java = find_jar(), shutil.which("java")
    if jar is None or java is None:
        raise MissingEmulatorError(NEEDED)
    port = free_port()
    address = f"127.0.0.1:{port}"
    # Only the quick compiler, and one thread for garbage collection: this halves the CPU time of such short runs.
    machine = ["-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Duser.language=en"]
    command = [java, *machine, "-cp", str(jar), _MAIN, "--host=127.0.0.1", f"--port={port}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: _answers(address, process), "the Firestore emulator to answer", _START_SECONDS)
        yield address
    finally:
        process.terminate()
        process.wait()


def new_project() -> str:
    """The id of a project that nobody has used."""
    return f"sc-{uuid.uuid4().hex[:12]}"


def _answers(address: str, process: subprocess.Popen[bytes]) -> bool:
    """Whether the emulator answers. Raises MissingEmulatorError if its process has ended."""
    if process.poll() is not None:
        raise MissingEmulatorError(f"the Firestore emulator ended at once with code {process.returncode}; {NEEDED}")
    try:
        urllib.request.urlopen(f"http://{address}/", timeout=5).close()
    except urllib.error.HTTPError as answer:
        answer.close()
    except OSError:
        return False
    return True
