"""What the kit and the benchmarks may import, so that neither depends on a test."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KIT = sorted((ROOT / "tests/kit").glob("*.py"))
BENCHMARKS = sorted((ROOT / "benchmarks").rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """The modules that a file imports, relative ones with their dots."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


@pytest.mark.parametrize("path", KIT, ids=lambda path: path.name)
def test_the_kit_imports_no_test(path: Path) -> None:
    assert [name for name in imported(path) if name.startswith(("..", "tests", "benchmarks"))] == []


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_benchmarks_import_the_kit_alone(path: Path) -> None:
    """And of the kit only what does not import pytest, directly or through another module of the kit."""
    used = {name.removeprefix("tests.kit.") for name in imported(path) if name.startswith("tests")}
    assert used <= {module.stem for module in KIT}
    for name in _with_what_they_import(used):
        assert "pytest" not in set(imported(ROOT / "tests/kit" / f"{name}.py")), name


def _with_what_they_import(modules: set[str]) -> set[str]:
    found = set(modules)
    while True:
        inside = {
            name[1:]
            for module in found
            for name in imported(ROOT / "tests/kit" / f"{module}.py")
            if name.startswith(".")
        }
        if inside <= found:
            return found
        found |= inside
