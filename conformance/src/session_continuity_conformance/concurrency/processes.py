"""Workers in other processes, started, read and killed by the suite."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

from session_continuity_conformance.checks import ViolationError
from session_continuity_conformance.concurrency.histories import Event
from session_continuity_conformance.concurrency.workers import Job
from session_continuity_conformance.store_fixture import NotApplicableError, StoreFixture

PATIENCE = 90.0


class Process:
    """One worker process. It works on its job once `go` was called."""

    def __init__(self, store: StoreFixture, job: Job) -> None:
        remote = store.target.remote()
        if remote is None:
            raise NotApplicableError("this store cannot be reached from another process")
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "session_continuity_conformance.concurrency.workers"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        order = {"remote": remote, "namespace": store.namespace, "mode": store.driver.name, "job": asdict(job)}
        self._write(json.dumps(order))

    def wait_until_ready(self) -> None:
        """Wait until the process has opened its store."""
        self._line()

    def go(self) -> None:
        """Let the worker begin."""
        self._write("go")

    def events(self, at_most: int | None = None) -> list[Event]:
        """The events of the worker as they come: to its end, or this many."""
        found: list[Event] = []
        while at_most is None or len(found) < at_most:
            document = self._line()
            if document is None:
                return found
            found.append(Event.of(document))
        return found

    def kill(self) -> list[Event]:
        """Kill the process, and return the events that it had already written."""
        assert self._popen.stdout is not None
        self._popen.kill()
        rest = self._popen.stdout.read()  # communicate() would skip lines that are already buffered
        self._popen.wait(PATIENCE)
        return [Event.of(json.loads(line)) for line in rest.splitlines(keepends=True) if line.endswith("\n")]

    def finish(self) -> None:
        """Wait for the end of the process. If the worker failed, the store is at fault."""
        _, errors = self._popen.communicate(timeout=PATIENCE)
        if self._popen.returncode:
            raise ViolationError("work in another process", expected="it succeeds", observed=errors.strip()[-600:])

    def close(self) -> None:
        """Kill the process if it still runs."""
        if self._popen.poll() is None:
            self._popen.kill()
        self._popen.communicate()

    def _line(self) -> dict[str, Any] | None:
        assert self._popen.stdout is not None
        line = self._popen.stdout.readline()
        return json.loads(line) if line else None

    def _write(self, line: str) -> None:
        assert self._popen.stdin is not None
        self._popen.stdin.write(f"{line}\n")
        self._popen.stdin.flush()


def in_processes(store: StoreFixture, jobs: Sequence[Job]) -> list[Event]:
    """Run each job in a process of its own, all at the same time, and return the events."""
    with ExitStack() as stack:
        processes: list[Process] = []
        for job in jobs:
            processes.append(Process(store, job))
            stack.callback(processes[-1].close)
        for process in processes:
            process.wait_until_ready()
        for process in processes:
            process.go()
        found = [event for process in processes for event in process.events()]
        for process in processes:
            process.finish()
    return found
