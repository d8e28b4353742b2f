"""The program in a finding can be run, and repeats the calls of the example."""

from __future__ import annotations

import subprocess
import sys

import pytest

from session_continuity import Mode, Patch
from session_continuity_conformance.cases import BrokenClauseError, Case
from session_continuity_conformance.checks import same
from session_continuity_conformance.clauses import all_clauses
from session_continuity_conformance.store_fixture import StoreFixture
from session_continuity_conformance.target import UrlTarget


async def disappointed(store: StoreFixture) -> None:
    session = await store.create_session(user_id="ada", metadata={"title": "It's “quoted”"})
    await store.append(session.id, "Hello", [{"type": "text", "text": "\n"}])
    await store.adapter.update_session(session.id, Patch({"status": "paused"}, frozenset({"user_id"})))
    same("status", (await store.current(session.id)).status, "gone")


class OneMode(UrlTarget):
    """A store with one mode."""

    def __init__(self, mode: Mode) -> None:
        super().__init__("memory://programs")
        self.modes = frozenset({mode})


@pytest.mark.parametrize("mode", ["async", "blocking"])
def test_the_program_of_a_finding_runs_and_shows_it(mode: Mode) -> None:
    with pytest.raises(BrokenClauseError) as broken:
        Case(OneMode(mode), "blocking").run(all_clauses()["SC-SES-008"], disappointed, scripted=True)
    program = "\n".join(broken.value.finding.program)
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "status='paused'" in ran.stdout.splitlines()[-1]
    assert "# expected status: 'gone'; observed 'paused'" in program
    assert ("asyncio.run(" in program) == (mode == "async")
