"""`conformance`, `new-backend`, `new-extension`."""

from __future__ import annotations

import json
import re
import signal
import subprocess

import pytest

from ..kit.verdicts import CONFORMANT
from ..kit.waiting import wait_until
from .conftest import CommandLine


def test_conformance_tests_a_store(command: CommandLine) -> None:
    chosen = ["--mode", "blocking", "--clause", "SC-SES-001"]
    done = command("conformance", "memory://test", *chosen, "--markdown", "table.md", "--junit", "junit.xml")
    assert done.code == 0, done.out + done.err
    assert "memory" in done.out
    assert "SC-SES-001" in (command.folder / "junit.xml").read_text()
    assert (command.folder / "table.md").exists()


def test_conformance_in_json_is_one_document(command: CommandLine) -> None:
    chosen = ["--mode", "blocking", "--clause", "SC-SES-001", "--json"]
    done = command("conformance", *chosen, environ={"SESSION_CONTINUITY_URL": "memory://test"})
    assert done.code == 0
    assert json.loads(done.out)
    assert "memory" in done.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "name a store, for example memory://test, or set SESSION_CONTINUITY_URL"),
        (["memory://test", "--mode", "sideways"], "sideways"),
        (["memory://test", "--clause", "SC-NONE"], "nothing could run"),
        (["nope://x"], "nope"),
    ],
)
def test_conformance_of_nothing_is_a_usage_error(command: CommandLine, arguments: list[str], words: str) -> None:
    done = command("conformance", *arguments)
    assert done.code == 2
    assert words in done.out + done.err
    assert "Traceback" not in done.out + done.err


def test_conformance_shows_on_a_terminal_how_far_it_is(command: CommandLine) -> None:
    asked = ["conformance", "memory://test", "--clause", "SC-SES-00", "--mode", "blocking"]
    seen = command.on_terminal(*asked)
    assert seen.code == 0, seen.out
    assert re.search(r"\r\x1b\[K3/\d+  0 failed  SC-SES-00\d memory blocking", seen.escapes)
    assert f"\x1b[32m{CONFORMANT}" in seen.escapes
    narrow = command.on_terminal(*asked, width=30)
    assert max(len(line) for line in re.findall(r"\r\x1b\[K(\d[^\r\n]*)", narrow.escapes)) == 29
    assert "\r" not in command(*asked).out


def test_conformance_compares_stores(command: CommandLine) -> None:
    done = command("conformance", "memory://test", "sqlite:///test.db", "--clause", "SC-LIF-00", "--mode", "async")
    assert done.code == 0, done.out + done.err
    (row,) = re.findall(r"^LIF lifecycle +✓ (\d+)/\1 +✓ (\d+)/\2$", done.out, re.MULTILINE)
    assert int(row[0]) + 1 == int(row[1])
    assert re.search(r"^SC-LIF-008 +not applicable +passed$", done.out, re.MULTILINE)


def test_conformance_searches_with_a_seed_and_repeats_it(command: CommandLine) -> None:
    asked = ["conformance", "memory://test", "--clause", "SC-SES-019", "--mode", "blocking", "--explore", "3"]
    (seed,) = re.findall(r"search   3 programs per mode, seed (\d+)", command(*asked).out)
    again = command(*asked, "--seed", seed)
    assert again.code == 0
    assert f"search   3 programs per mode, seed {seed}" in again.out


@pytest.mark.parametrize("kind", ["new-backend", "new-extension"])
def test_a_distribution_is_written(command: CommandLine, kind: str) -> None:
    seen = command.on_terminal(kind, "mine", "--directory", "there")
    assert seen.code == 0, seen.out
    assert re.fullmatch(r"\d+ files written to there; see its README\.md for the next steps\n", seen.out)
    done = command(kind, "mine", "--json")
    assert done.code == 0, done.err
    assert done.json["directory"] == "session-continuity-mine"
    assert (command.folder / "session-continuity-mine/pyproject.toml").exists()
    assert all((command.folder / path).is_file() for path in done.json["files"])
    refused = command(kind, "mine")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == "error: session-continuity-mine exists; name another place with --directory\n"
    assert command(kind, "Mine").code == 2


HARNESS = """
from contextlib import contextmanager
from pathlib import Path

@contextmanager
def store():
    Path("started").touch()
    yield "memory://"
    Path("stopped").touch()
"""


def test_ctrl_c_stops_the_harness_and_ends_quietly(command: CommandLine) -> None:
    (command.folder / "harness.py").write_text(HARNESS)
    asked = ["conformance", "--harness", "harness:store", "--clause", "SC-SES-019", "--explore", "1000000"]
    running = command.start(*asked, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_until(lambda: running.poll() is not None or (command.folder / "started").exists(), "the harness to start", 60)
    assert running.poll() is None
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert (running.returncode, out, err) == (130, b"", b"")
    assert (command.folder / "stopped").exists()


CLAUSES = """
from session_continuity import hookimpl
from session_continuity_conformance.checks import same

async def keeps_agents(store):
    '''A session keeps
    its agent.'''
    session = await store.create_session(active_agent_id="a")
    same("agent", session.active_agent_id, "a")

async def knows_regions(store):
    '''Health tells the region.

    Put it into the details.'''
    same("region", (await store.adapter.health()).details.get("region"), "eu")

@hookimpl
def sc_conformance_clauses():
    return {names}
"""


def test_conformance_tests_the_clauses_of_extensions(command: CommandLine) -> None:
    command.install("acme", CLAUSES.format(names='{"ACME-SES-001": keeps_agents, "ACME-OPS-001": knows_regions}'))
    asked = ["conformance", "memory://test", "--mode", "async", "--clause"]
    alone = command(*asked, "ACME")
    assert alone.code == 1
    assert re.search(r"^  ACME-SES of an extension +1 passed +✓$", alone.out, re.MULTILINE)
    told = alone.out[alone.out.index("ACME-OPS-001 (MUST) Health tells the region.") :]
    assert "expected: region: 'eu'" in told
    assert "remedy:   Put it into the details." in told
    both = command(*asked, "SC-CFG", "--clause", "ACME-SES")
    assert both.code == 0, both.out


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        ('{"SC-SES-001": keeps_agents}', "an id has a prefix of its own, as in ACME-AUDIT-001"),
        ('{"acme 1": keeps_agents}', "an id has a prefix of its own"),
        ('{"ACME-SES-001": len}', "must be a coroutine function"),
    ],
)
def test_conformance_refuses_malformed_clauses(command: CommandLine, names: str, complaint: str) -> None:
    command.install("acme", CLAUSES.format(names=names))
    done = command("conformance", "memory://test", "--clause", "SC-CFG")
    assert done.code == 2
    assert complaint in done.out
