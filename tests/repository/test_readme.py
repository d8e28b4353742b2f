"""What README promises: its program runs as printed, its length is bounded, its links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_the_program_runs_as_printed(tmp_path: Path) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    run = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.stderr == ""
    assert run.stdout.splitlines() == [
        "system: You answer questions about invoices.",
        "user: Why was I charged twice?",
        "refunds",
    ]
    assert (tmp_path / "chat.db").exists()


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= 150


def test_its_links_lead_to_what_is_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
