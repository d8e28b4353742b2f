"""Each extra of session-continuity-agents alone, as a user installs it: `nox -s extras`.

For each, a fresh environment gets the wheels of core, of the SQLite store and of the adapters, and what the extra asks
for. The first program of the framework's page runs there twice.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

from tests.kit.environments import ROOT, FreshEnvironment

ROOMS = ("core", "plugins/sqlite", "agents")


def frameworks() -> dict[str, str]:
    """The distribution of each extra's framework."""
    stated = tomllib.loads((ROOT / "agents/pyproject.toml").read_text())["project"]["optional-dependencies"]
    return {extra: re.split(r"[<>=]", needed[0])[0] for extra, needed in stated.items()}


def attempt(extra: str, distribution: str, folder: Path) -> str | None:
    """Install the extra and run its page's program twice. Returns what went wrong."""
    folder.mkdir(parents=True)
    environment = FreshEnvironment(folder, ROOT / "agents/constraints.txt")
    core, sqlite, agents = (environment.wheel(ROOT / room) for room in ROOMS)
    environment.install(f"session-continuity-agents[{extra}] @ {agents.as_uri()}", core, sqlite)
    page = (ROOT / f"docs/agents/{distribution}.md").read_text()
    program = folder / "program.py"
    program.write_text(re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0])
    for _ in range(2):
        done = environment.run("python", "-W", "default", program, cwd=folder)  # frameworks warn of themselves
        if done.returncode != 0 or not done.stdout:
            return f"exit code {done.returncode}\n{done.stdout}{done.stderr}"
    return None


def main(folder: str, *extras: str) -> int:
    """Try these extras, or all. Returns the exit code."""
    chosen = {extra: name for extra, name in frameworks().items() if not extras or extra in extras}
    problems = {extra: attempt(extra, name, Path(folder).resolve() / extra) for extra, name in chosen.items()}
    for extra, problem in problems.items():
        sys.stdout.write(f"{extra}: {problem or 'its program ran twice'}\n")
    return 1 if any(problems.values()) else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
