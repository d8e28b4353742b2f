"""What the plugin's README says: its program and its commands run as printed, its options are the options."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from session_continuity_dynamodb.config import DynamoDBOptions

from ..kit.dynamodb_engines import TRUSTED
from .bench import Bench

pytestmark = pytest.mark.on(engine=TRUSTED, mode=["blocking"])

README = (Path(__file__).parents[2] / "plugins/dynamodb/README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    line
    for kind, block in BLOCKS
    if kind == "sh"
    for line in block.splitlines()
    if line.startswith("session-continuity")
]


def here(text: str, bench: Bench) -> str:
    """The same on the engine of the tests."""
    options = f"region=us-east-1&endpoint_url={bench.engine.url.replace('/', '%2F')}"
    return re.sub(r"dynamodb://conversations[^\"]*", f"dynamodb://readme?{options}", text)


def test_commands_and_program_run_as_printed(bench: Bench, tmp_path: Path) -> None:
    assert [shlex.split(line)[2] for line in COMMANDS] == ["create-table", "describe", *["template"] * 3]
    for line in COMMANDS:
        program, *arguments = shlex.split(here(line, bench))
        command = [str(Path(sys.executable).with_name(program)), *arguments]
        assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=True).stdout
    [code] = [block for kind, block in BLOCKS if kind == "python"]
    run = subprocess.run([sys.executable, "-c", here(code, bench)], cwd=tmp_path, capture_output=True, check=True)
    assert (run.stdout, run.stderr) == (b"1\n", b"")
    bench.table = "readme"
    bench.raw("delete_table")


def documented() -> dict[str, str]:
    """Each option with the default that is printed for it; none where the cell is prose or empty."""
    found: dict[str, str] = {}
    for names, default in re.findall(r"^\| (`[a-z_`, ]+`) \|([^|]*)\|", README, re.MULTILINE):
        stated = re.findall(r"[a-z_]+", names)
        plain = default.strip().strip("`")
        values = plain.split(", ") if re.fullmatch(r"[\d, ]+|true|false|[a-z]+", plain) else [""] * len(stated)
        found |= dict(zip(stated, values, strict=True))
    return found


def printed(default: object) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, float):
        return f"{default:g}"
    return str(default or "")


def test_every_option_is_documented_with_its_default() -> None:
    fields = DynamoDBOptions.model_fields
    assert documented() == {name: printed(field.default) for name, field in fields.items() if name != "table"}


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= 150
