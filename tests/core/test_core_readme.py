"""The README of core: its program runs as printed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .conftest import RunPython

README = Path(__file__).parents[2] / "core/README.md"


def test_the_program_runs_as_printed(run_python: RunPython, tmp_path: Path) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    run = run_python(f"import os\nos.chdir({str(tmp_path)!r})\n{program}")
    assert (run.stdout, run.stderr) == ("user: Where is my order?\n", "")
    assert (tmp_path / "chat.db").exists()
