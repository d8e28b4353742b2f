"""An extension from its first command on: its wheel is installed and acts, and a wrapper that breaks the contract is
found."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..kit.environments import FreshEnvironment, check_project


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> FreshEnvironment:
    return FreshEnvironment.with_suite(tmp_path_factory.mktemp("environment"), "plugins/memory")


@pytest.fixture(scope="module")
def project(fresh: FreshEnvironment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The distribution that `new-extension` wrote."""
    folder = tmp_path_factory.mktemp("work")
    end = fresh.run("session-continuity", "new-extension", "tally", cwd=folder)
    assert (end.returncode, end.stderr) == (0, "")
    return folder / "session-continuity-tally"


def test_the_generated_project_is_clean(project: Path) -> None:
    check_project(project)


PROGRAM = """
from session_continuity import SessionManager
from session_continuity_tally import extension

with SessionManager.open("memory://", token_counter="tally-words") as manager:
    session = manager.create_session()
    manager.add_message(session.id, role="user", content="one two three")
    print(manager.get_session(session.id).token_count)
print(dict(extension.calls))
print(dict(extension.events))
"""


FORGETFUL = """
    async def update_session(self, session_id: str, patch: Any, *, expected_version: int | None = None) -> Any:
        return await super().update_session(session_id, patch)
"""
"""A method of the wrapper that loses an argument."""


def test_the_installed_extension_acts(fresh: FreshEnvironment, project: Path) -> None:
    fresh.install(fresh.wheel(project))
    listed = fresh.run("session-continuity", "plugins", "--check", cwd=project)
    assert "extension\ttally\tsession-continuity-tally\t0.1.0\tsession_continuity_tally.extension:extension\tok\t-" in (
        listed.stdout.splitlines()
    )
    end = fresh.run("python", "-c", PROGRAM, cwd=project)
    assert end.stdout.splitlines() == [
        "7",
        "{'setup': 1, 'create_session': 1, 'append_messages': 1, 'get_session': 1, 'close': 1}",
        "{'session:created': 1, 'message:added': 1}",
    ], end.stderr


def test_its_own_tests_find_the_wrapped_store_conformant(fresh: FreshEnvironment, project: Path) -> None:
    own = fresh.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=project)
    assert own.returncode == 0, own.stdout
    assert "2 passed" in own.stdout


def test_a_wrapper_that_breaks_the_contract_is_found(fresh: FreshEnvironment, project: Path) -> None:
    counted = project / "src/session_continuity_tally/counted.py"
    counted.write_text(counted.read_text() + FORGETFUL)
    fresh.install(fresh.wheel(project), again=True)
    arguments = ["memory://test", "--mode", "blocking", "--clause", "SC-OCC-00"]
    end = fresh.run("session-continuity", "conformance", *arguments, cwd=project)
    assert end.returncode == 1
    assert "SC-OCC-007 (MUST)" in end.stdout
    assert "session_continuity_tally/counted.py" in end.stdout
    assert "CountedStorage.update_session" in end.stdout
