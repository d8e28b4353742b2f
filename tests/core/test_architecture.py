"""The rules of the house that no type checker sees: who may import whom, and how large things may grow."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from statistics import median, quantiles

import pytest

ROOT = Path(__file__).parents[2]
CORE = ROOT / "core/src/session_continuity"
PLUGINS = sorted(path for path in (ROOT / "plugins").glob("*/src/session_continuity_*") if path.is_dir())
CONFORMANCE = ROOT / "conformance/src/session_continuity_conformance"

MAY_IMPORT = {
    "__init__": "_version",
    "__main__": "cli",
    "_version": "",
    "errors": "",
    "capabilities": "",
    "models": "",
    "runtime": "errors",
    "recent": "",
    "paging": "errors",
    "ids": "models",
    "tokens": "errors models",
    "openai_chat": "errors models validation",
    "window": "models",
    "compression": "errors models window",
    "events": "errors",
    "adapter": "capabilities errors models paging runtime",
    "config": "errors",
    "plugin": "adapter capabilities config runtime",
    "hookspecs": "adapter config",
    "registry": "adapter compression config errors hookspecs plugin runtime",
    "validation": "adapter errors models",
    "people": "adapter errors models validation",
    "concurrency": "adapter errors models",
    "expiry": "adapter concurrency models recent",
    "context": "adapter compression errors models paging recent window",
    "bridge": "adapter errors models paging runtime",
    "storage": "adapter bridge errors models paging registry runtime",
    "workings": "adapter bridge compression context errors events expiry ids models paging registry runtime "
    "tokens validation",
    "manager": "adapter bridge compression concurrency context errors events ids models paging people registry "
    "tokens validation workings",
    "blocking": "adapter compression context errors events manager models paging registry runtime storage tokens "
    "workings",
}
"""Who may import whom inside core, when it runs; imports for type checkers alone are free."""

THIRD_PARTIES = {"pydantic", "pydantic_core", "pluggy"}
PLUGGY_MODULES = {"hookspecs", "registry"}
COMMAND_LINE = {"typer", "rich"}
CLIENTS = {
    "session_continuity_memory": set[str](),
    "session_continuity_sqlite": {"sqlite3"},
    "session_continuity_redis": {"redis"},
    "session_continuity_dynamodb": {"boto3", "botocore", "aiobotocore", "aiohttp", "orjson"},
}
"""The client libraries of each plugin; `sqlite3` is one, although it comes with Python."""

CLIENT_MODULES = {"wire.py"}
"""The only file of a plugin that may know of event loops, where its client is at fault there."""


def nodes(tree: ast.AST, *, in_functions: bool = True) -> Iterator[ast.AST]:
    """What runs: everything but blocks for type checkers."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if in_functions or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
            yield from nodes(node, in_functions=in_functions)


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def imports(path: Path, *, in_functions: bool = True) -> set[str]:
    """The modules that a file imports, by their full names."""
    found: set[str] = set()
    for node in nodes(parsed(path), in_functions=in_functions):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write imports in full"
            found.add(str(node.module))
            if node.module == "session_continuity":
                found.update(f"{node.module}.{alias.name}" for alias in node.names if alias.name in MAY_IMPORT)
    return found


def roots(path: Path, *, in_functions: bool = True) -> set[str]:
    return {name.partition(".")[0] for name in imports(path, in_functions=in_functions)}


def foreign(path: Path) -> set[str]:
    return {name for name in roots(path) if name not in sys.stdlib_module_names} - {"__future__"}


def files(*folders: Path) -> list[Path]:
    return sorted(path for folder in folders for path in folder.rglob("*.py"))


def named(paths: list[Path]) -> list[pytest.param]:  # type: ignore[valid-type]
    return [pytest.param(path, id=str(path.relative_to(ROOT))) for path in paths]


CORE_FILES = sorted(CORE.glob("*.py"))
CLI_FILES = files(CORE / "cli")
PLUGIN_FILES = files(*PLUGINS)
OUTSIDE_FILES = [*PLUGIN_FILES, *files(CONFORMANCE)]


def test_every_module_of_core_has_its_place_in_the_table() -> None:
    assert {path.stem for path in CORE_FILES} == MAY_IMPORT.keys()


@pytest.mark.parametrize("path", named(CORE_FILES))
def test_a_module_of_core_imports_only_what_its_place_allows(path: Path) -> None:
    inside = {name.split(".")[1] for name in imports(path) if name.startswith("session_continuity.")}
    assert inside <= {*MAY_IMPORT[path.stem].split()}
    assert foreign(path) - {"session_continuity"} <= THIRD_PARTIES
    assert "pluggy" not in roots(path) or path.stem in PLUGGY_MODULES
    assert "asyncio" not in roots(path) or path.stem == "runtime"


@pytest.mark.parametrize("path", named(CLI_FILES))
def test_the_command_line_uses_what_every_application_could(path: Path) -> None:
    inside = {name for name in imports(path) if name.startswith("session_continuity.")}
    assert {name for name in inside if not name.startswith("session_continuity.cli")} == set()
    assert foreign(path) <= {"session_continuity", "session_continuity_conformance", "pydantic", *COMMAND_LINE}
    assert "asyncio" not in roots(path)


@pytest.mark.parametrize("path", named(OUTSIDE_FILES))
def test_plugins_and_suite_know_core_by_its_public_names_only(path: Path) -> None:
    assert {name for name in imports(path) if name.startswith("session_continuity.")} == set()


@pytest.mark.parametrize("path", named(PLUGIN_FILES))
def test_a_plugin_imports_core_itself_and_its_own_client_only(path: Path) -> None:
    package = next(parent.name for parent in path.parents if parent in PLUGINS)
    commands = COMMAND_LINE if path.name == "cli.py" else set[str]()
    assert foreign(path) <= {"session_continuity", package, "pydantic", *CLIENTS[package], *commands}
    others = {client for name, clients in CLIENTS.items() if name != package for client in clients}
    assert roots(path) & (others - CLIENTS[package]) == set()
    assert "asyncio" not in roots(path) or path.name in CLIENT_MODULES


@pytest.mark.parametrize("path", named([path for path in PLUGIN_FILES if path.name in ("_plugin.py", "config.py")]))
def test_what_core_imports_to_read_options_knows_no_driver(path: Path) -> None:
    package = next(parent.name for parent in path.parents if parent in PLUGINS)
    own = {name for name in imports(path, in_functions=False) if name.startswith(package)}
    assert own <= {f"{package}.config"}
    assert roots(path, in_functions=False) & CLIENTS[package] == set()


@pytest.mark.parametrize("path", named(files(CONFORMANCE)))
def test_the_suite_imports_no_plugin_and_no_driver(path: Path) -> None:
    allowed = {
        "session_continuity",
        "session_continuity_conformance",
        "pytest",
        "hypothesis",
        "pydantic",
        *COMMAND_LINE,
    }
    assert foreign(path) <= allowed
    assert roots(path) & {client for clients in CLIENTS.values() for client in clients} == set()


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.name)
def test_every_plugin_has_the_same_rooms(plugin: Path) -> None:
    required = {"__init__.py", "_plugin.py", "_version.py", "adapter.py", "config.py", "py.typed"}
    assert required <= {path.name for path in plugin.iterdir()}
    assert plugin.name in CLIENTS


@pytest.mark.parametrize("path", named([*files(CORE), *OUTSIDE_FILES]))
def test_modules_and_functions_stay_small(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 500
    assert {name: length for name, length in lengths(path) if length > 60} == {}


def lengths(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or 0) - node.lineno + 1


def test_most_functions_are_short() -> None:
    found = [length for path in [*files(CORE), *PLUGIN_FILES] for _, length in lengths(path)]
    assert median(found) <= 8
    assert quantiles(found, n=10)[-1] <= 30
