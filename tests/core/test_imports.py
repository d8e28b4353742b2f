"""Imports: nothing before it is needed, and never the driver of another store."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .conftest import Install, RunPython

AWS = {"boto3", "botocore", "aiobotocore", "aiohttp", "moto", "orjson"}
DRIVERS = {*AWS, "redis", "psycopg", "google", "grpc", "sqlite3"}
TOOLS = {"hypothesis", "pytest", "typer", "rich", "tiktoken", "session_continuity_conformance"}
STORES = {f"session_continuity_{name}" for name in ("sqlite", "redis", "dynamodb", "postgres", "firestore")}

LIST_MODULES = """
import sys
before = set(sys.modules)
{program}
print(*sorted(set(sys.modules) - before))
"""


def imported(run_python: RunPython, program: str) -> set[str]:
    done = run_python(LIST_MODULES.format(program=program))
    assert done.stderr == ""
    return set(done.stdout.split())


def packages(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


def test_importing_the_package_imports_nothing_but_its_version(run_python: RunPython) -> None:
    modules = imported(run_python, "import session_continuity")
    assert {name for name in modules if name.startswith("session_continuity")} == {
        "session_continuity",
        "session_continuity._version",
    }
    assert packages(modules) & {"pydantic", "pluggy", "asyncio", *DRIVERS, *TOOLS, *STORES} == set()
    assert len(modules) <= 60


def test_listing_the_plugins_imports_none_of_them(run_python: RunPython) -> None:
    modules = imported(
        run_python,
        "from session_continuity import default_registry; registry = default_registry(); "
        "assert registry.installed_backends(); registry.installed_extensions()",
    )
    assert packages(modules) & {"asyncio", "session_continuity_memory", *DRIVERS, *TOOLS, *STORES} == set()


def test_a_conversation_in_memory_imports_no_driver_and_no_event_loop(run_python: RunPython) -> None:
    modules = imported(
        run_python,
        """
from session_continuity import SessionManager, TokenBudget
with SessionManager.open("memory://", token_budget=TokenBudget(max_tokens=100)) as manager:
    session = manager.create_session(user_id="u")
    manager.add_message(session.id, role="user", content="Hello")
    assert manager.get_conversation_context(session.id)
    manager.health()
""",
    )
    assert packages(modules) & {"asyncio", *DRIVERS, *TOOLS} == set()
    of_stores = {name for name in modules if name.partition(".")[0] in STORES}
    assert {name.partition(".")[2] for name in of_stores} <= {
        "",
        "_version",
        "extension",
    }  # its commands, not the store
    assert len(modules) <= 400


def test_formats_tokenizers_and_readers_of_images_are_imported_when_they_are_used(run_python: RunPython) -> None:
    chat = """
from session_continuity import SessionManager
manager = SessionManager.open("memory://", token_budget=100, context={"max_turns": 3})
session = manager.create_session()
manager.add_message(session.id, "user", [{"type": "text", "text": "Hello"}])
assert manager.get_conversation_context(session.id)
"""
    later = {"session_continuity.formats", "session_continuity.context.tokenizers", "tiktoken", "imagesize"}
    assert imported(run_python, chat) & later == set()
    one = imported(run_python, f"{chat}\nfrom session_continuity import to_anthropic; to_anthropic([])")
    formats = {name.rpartition(".")[2] for name in one if name.startswith("session_continuity.formats.")}
    assert "anthropic" in formats
    assert formats & {"openai_chat", "openai_responses", "bedrock_converse", "gemini", "ui_messages"} == set()


def test_reading_the_options_of_a_store_imports_no_driver(run_python: RunPython) -> None:
    modules = imported(
        run_python,
        """
from session_continuity import default_registry
registry = default_registry()
for backend in registry.installed_backends():
    plugin = registry.plugin(backend.name)
    plugin.options.model_json_schema()
""",
    )
    assert packages(modules) & {"asyncio", *DRIVERS, *TOOLS} == set()


def test_a_driver_is_imported_when_its_store_is_created(install: Install, run_python: RunPython) -> None:
    folder = install(
        "driven-store",
        storage={"driven": "driven_plugin:plugin"},
        modules={
            "a_driver": "",
            "driven_plugin": """
                from session_continuity import CONTRACT, BackendOptions, Capabilities

                class Plugin:
                    scheme = "driven"
                    api_version = CONTRACT
                    modes = frozenset({"blocking"})
                    options = BackendOptions

                    def capabilities(self, options):
                        return Capabilities()

                    def create(self, options, mode):
                        import a_driver
                        from session_continuity_memory import MemoryStorage
                        return MemoryStorage(mode=mode)

                plugin = Plugin()
            """,
        },
    )
    done = run_python(
        """
        import sys
        from session_continuity import default_registry, open_storage
        print([plugin.name for plugin in default_registry().installed_backends() if plugin.name == "driven"])
        print("driven_plugin" in sys.modules)
        default_registry().plugin("driven")
        print("driven_plugin" in sys.modules, "a_driver" in sys.modules)
        open_storage("driven://").close()
        print("a_driver" in sys.modules)
        """,
        path=folder,
    )
    assert done.stdout.splitlines() == ["['driven']", "False", "True False", "True"]
