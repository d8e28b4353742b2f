"""The rules of the house that no type checker sees: who may import whom."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = ROOT / "core/src/session_continuity"
PLUGINS = sorted(path for path in (ROOT / "plugins").glob("*/src/session_continuity_*") if path.is_dir())
CONFORMANCE = ROOT / "conformance/src/session_continuity_conformance"
AGENTS = ROOT / "agents/src/session_continuity_agents"

MAY_IMPORT = {
    "__init__": "_version",
    "__main__": "cli",
    "_version": "",
    "errors": "",
    "json_problems": "",
    "importing": "",
    "input_errors": "json_problems",
    "shared": "",
    "values": "json_problems",
    "model_base": "input_errors values",
    "models": "model_base shared values",
    "blocks": "models values",
    "ids": "models values",
    "events": "errors",
    "validation": "errors model_base",
    "runtime": "errors",
    "contract": "errors model_base models runtime values",
    "backends": "contract errors input_errors models runtime",
    "context": "blocks contract errors model_base models runtime values",
    "compression": "blocks context contract errors models runtime values",
    "formats": "blocks errors input_errors models validation values",
    "manager": "backends blocks compression context contract errors events ids input_errors json_problems "
    "model_base models runtime validation values",
}
"""Which rooms of core, a package or a module each, may import which others when they run. Imports for type checkers
alone are free."""

THIRD_PARTIES = {"pydantic", "pydantic_core", "pluggy", "lazy_loader", "imagesize", "tiktoken"}
PLUGGY_MODULES = {"hooks", "extensions"}
COMMAND_LINE = {"typer", "rich"}
CLIENTS = {
    "session_continuity_memory": set[str](),
    "session_continuity_sqlite": {"sqlite3"},
    "session_continuity_redis": {"redis"},
    "session_continuity_postgres": {"psycopg"},
    "session_continuity_dynamodb": {"boto3", "botocore", "aiobotocore", "aiohttp", "orjson"},
    "session_continuity_firestore": {"google", "grpc"},
}
"""The client libraries of each plugin; `sqlite3` is one, although it comes with Python."""

FRAMEWORKS = {
    "claude_agent_sdk": {"claude_agent_sdk"},
    "claude_code": {"claude_agent_sdk"},
    "adk_database": {"sqlalchemy"},
    "google_adk": {"google"},
    "langchain": {"langchain", "langchain_core", "langgraph"},
    "openai_agents": {"agents"},
    "pydantic_ai": {"pydantic_ai"},
    "strands_agents": {"strands"},
    "agent_framework": {"agent_framework"},
    "chatkit": {"chatkit"},
    "llama_index": {"llama_index"},
}
"""The framework that each adapter for agent frameworks imports, and an importer if it is there. The other modules are
shared, and import none."""

ROOMS = {
    "session_continuity_dynamodb": {
        "items": "config",
        "requests": "_version config items",
        "operations": "config items requests",
        "table": "config items requests",
        "config": "",
        "entry_point": "adapter config",
        "adapter": "config items operations requests table",
        "cost_meter": "adapter requests",
        "extension": "table",
    },
    "session_continuity_firestore": {
        "wire": "",
        "documents": "wire",
        "requests": "config documents wire",
        "operations": "config documents requests wire",
        "database": "config documents requests wire",
        "adapter": "config documents operations requests",
        "cost_meter": "adapter",
        "damager": "adapter config documents requests wire",
        "extension": "database",
    },
}
"""Which rooms of a plugin may import which others, for the plugins that have rooms."""

DYNAMODB_OPERATIONS = {
    # An append may create its session, over what is left of an expired one.
    "appending": "last_message meta_terms session_creation session_removal",
    "forks": "session_creation session_removal",
    "last_message": "",
    "meta_terms": "",
    "editing": "message_conditions",
    "listing": "",
    "message_removal": "message_conditions message_rows tails",
    "reading": "message_rows",
    "pending_tails": "",
    "session_creation": "",
    "session_removal": "",
    # A create removes what is left of an expired session with the same id.
    "sessions": "session_creation session_removal",
    "tails": "pending_tails",
}
"""The operations of the DynamoDB plugin, and what each may import beside what all of them share."""

DYNAMODB_SHARED = "context gate hints large_bodies lookup one_tail session_counters session_heads system_messages"

CLIENT_MODULES = {"client.py"}
"""The only file of a plugin that may know of event loops, where its client is at fault there."""


def nodes(tree: ast.AST, *, in_functions: bool = True) -> Iterator[ast.AST]:
    """What runs: everything but blocks for type checkers."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if in_functions or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
            yield from nodes(node, in_functions=in_functions)


def plugin_of(path: Path) -> str:
    """The name of the plugin to which a file belongs."""
    return next(parent.name for parent in path.parents if parent in PLUGINS)


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


CORE_FILES = [path for path in files(CORE) if "cli" not in path.parts]
CLI_FILES = files(CORE / "cli")
PLUGIN_FILES = files(*PLUGINS)
AGENTS_FILES = files(AGENTS)
OUTSIDE_FILES = [*PLUGIN_FILES, *files(CONFORMANCE), *AGENTS_FILES]


def room(path: Path) -> str:
    """The room of core that a file lies in: the first part of its path."""
    return path.relative_to(CORE).with_suffix("").parts[0]


def test_every_room_of_core_is_in_the_table() -> None:
    assert {room(path) for path in CORE_FILES} == MAY_IMPORT.keys()


@pytest.mark.parametrize("path", named(CORE_FILES))
def test_a_module_of_core_imports_only_what_its_place_allows(path: Path) -> None:
    inside = {name.split(".")[1] for name in imports(path) if name.startswith("session_continuity.")}
    assert inside <= {room(path), *MAY_IMPORT[room(path)].split()}
    assert foreign(path) - {"session_continuity"} <= THIRD_PARTIES
    assert "pluggy" not in roots(path) or path.stem in PLUGGY_MODULES
    assert "lazy_loader" not in roots(path) or path == CORE / "__init__.py"
    assert "asyncio" not in roots(path) or room(path) == "runtime"


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
    package = plugin_of(path)
    commands = COMMAND_LINE if path.name == "cli.py" else set[str]()
    allowed = {"session_continuity", package, "pydantic", "pydantic_core"}
    assert foreign(path) <= {*allowed, *CLIENTS[package], *commands}
    others = {client for name, clients in CLIENTS.items() if name != package for client in clients}
    assert roots(path) & (others - CLIENTS[package]) == set()
    assert "asyncio" not in roots(path) or path.name in CLIENT_MODULES


@pytest.mark.parametrize("path", named(AGENTS_FILES))
def test_an_adapter_for_a_framework_imports_this_one_only(path: Path) -> None:
    allowed = {"session_continuity", "session_continuity_agents", "pydantic", "pydantic_core"}
    assert foreign(path) <= {*allowed, *FRAMEWORKS.get(path.stem, ())}
    shared = {name.partition(".")[2] for name in imports(path) if name.startswith("session_continuity_agents.")}
    assert shared.isdisjoint(FRAMEWORKS), "an adapter does not use another one"


@pytest.mark.parametrize("path", named([path for path in PLUGIN_FILES if path.name in ("entry_point.py", "config.py")]))
def test_what_core_imports_to_read_options_knows_no_driver(path: Path) -> None:
    package = plugin_of(path)
    own = {name for name in imports(path, in_functions=False) if name.startswith(package)}
    assert own <= {f"{package}.config"}
    assert roots(path, in_functions=False) & CLIENTS[package] == set()


@pytest.mark.parametrize("path", named([path for path in PLUGIN_FILES if path.name == "entry_point.py"]))
def test_a_plugin_states_the_version_of_the_contract_that_it_implements(path: Path) -> None:
    """A plugin that took core's version would claim what a newer core added, and give wrong answers."""
    assert "CONTRACT" not in path.read_text()


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
    required = {"__init__.py", "entry_point.py", "_version.py", "adapter.py", "config.py", "py.typed"}
    assert required <= {path.name for path in plugin.iterdir()}
    assert plugin.name in CLIENTS


DYNAMODB = next(path for path in PLUGINS if path.name == "session_continuity_dynamodb")
IN_ROOMS = [path for path in PLUGIN_FILES if plugin_of(path) in ROOMS and path.parent.name != plugin_of(path)]
BESIDE_ROOMS = [path for path in PLUGIN_FILES if path.parent.name in ROOMS and path.stem in ROOMS[path.parent.name]]


def own_modules(path: Path, *, room: str = "") -> set[str]:
    """The modules of a file's plugin, or of one of the plugin's rooms, that the file imports when it runs."""
    prefix = ".".join(filter(None, [plugin_of(path), room])) + "."
    return {name.removeprefix(prefix).split(".")[0] for name in imports(path) if name.startswith(prefix)}


@pytest.mark.parametrize("path", named(IN_ROOMS))
def test_a_room_of_a_plugin_imports_only_rooms_below_it(path: Path) -> None:
    room = next(parent.name for parent in path.parents if parent.parent.name == plugin_of(path))
    assert own_modules(path) <= {room, *ROOMS[plugin_of(path)][room].split()}


@pytest.mark.parametrize("path", named(BESIDE_ROOMS))
def test_a_module_beside_the_rooms_of_a_plugin_imports_what_it_may(path: Path) -> None:
    assert own_modules(path) <= set(ROOMS[plugin_of(path)][path.stem].split())


@pytest.mark.parametrize("path", named(files(DYNAMODB / "operations")))
def test_operations_of_the_dynamodb_plugin_do_not_import_each_other(path: Path) -> None:
    imported = own_modules(path, room="operations")
    assert f"{DYNAMODB.name}.operations" not in imports(path), "import from the modules, which this test can tell apart"
    if path.stem in DYNAMODB_OPERATIONS:
        assert imported <= {*DYNAMODB_SHARED.split(), *DYNAMODB_OPERATIONS[path.stem].split()}
    else:
        assert imported.isdisjoint(DYNAMODB_OPERATIONS)
