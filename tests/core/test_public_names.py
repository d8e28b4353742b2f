"""The public names: each there, in its module's own list, and none by accident."""

from __future__ import annotations

import ast
import inspect
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import session_continuity

if TYPE_CHECKING:
    from .conftest import RunPython

SOURCE = Path(session_continuity.__file__)

FOR_APPLICATIONS = """
    AsyncSessionManager SessionManager open_async_storage open_storage Storage Page
    Session SessionMetadata SessionStatus Message MessageMetadata NewMessage Role Content ContentBlock ToolCall
    ToolResult Participant Handoff TokenBudget CompressionConfig CompressionState format_timestamp
    ConversationContext BudgetReport CompressionReport CompressionResult Summarizer TokenCounter estimate_tokens
    HealthStatus from_openai to_openai
    Event SessionCreated SessionUpdated SessionEnded SessionDeleted SessionExpired MessageAdded MessageUpdated
    MessageDeleted ParticipantJoined ParticipantLeft AgentHandoff BudgetExceeded CompressionApplied ErrorOccurred
"""
ERRORS = """
    SessionContinuityError ValidationError ConfigError PluginError NotSupportedError WouldSuspendError
    SessionNotFoundError SessionExistsError SessionClosedError MessageNotFoundError ConcurrencyError
    TokenBudgetExceededError CompressionError HandoffError ChatFormatError
    StorageError ThrottledError UnavailableError StorageClosedError MessageTooLargeError
"""
FOR_STORES_AND_EXTENSIONS = """
    StorageAdapter Appended ConversationPage MessageQuery SessionFilter Patch MAX_PAGE MESSAGE_FIELDS SESSION_FIELDS
    check_limit check_turn conversation_of is_repeated_append is_repeated_create
    Capabilities CONTRACT BackendPlugin Cost Probe BackendOptions BackendURL URL_VARIABLE parse_options parse_url
    Registry default_registry InstalledPlugin EXTENSIONS DISABLE_VARIABLE hookimpl CompressionStrategy CompressionPlan
    minted_at move_to decode_cursor encode_cursor
    Clock Mode Portal Wire ThreadWire LoopBound for_async gather run_now sleeper utc_now wire_for
"""
PUBLIC = {"__version__", *FOR_APPLICATIONS.split(), *ERRORS.split(), *FOR_STORES_AND_EXTENSIONS.split()}


def names_for_type_checkers() -> dict[str, str]:
    """Public name → module, as the block for type checkers states them."""
    found: dict[str, str] = {}
    for node in ast.walk(ast.parse(SOURCE.read_text())):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            for statement in node.body:
                assert isinstance(statement, ast.ImportFrom)
                found.update({alias.name: str(statement.module) for alias in statement.names})
    return found


def test_the_public_names_are_those_documented_and_no_more() -> None:
    assert set(session_continuity.__all__) == PUBLIC
    assert len(session_continuity.__all__) == len(PUBLIC)


def test_type_checkers_see_the_names_that_programs_get() -> None:
    assert names_for_type_checkers().keys() == PUBLIC - {"__version__"}


@pytest.mark.parametrize("name", sorted(PUBLIC - {"__version__"}))
def test_a_public_name_is_the_one_of_its_module(name: str) -> None:
    module = import_module(names_for_type_checkers()[name])
    assert getattr(session_continuity, name) is getattr(module, name)
    assert name in module.__all__


@pytest.mark.parametrize(
    "name",
    sorted(name for name in PUBLIC if name[0].isalpha() and inspect.isroutine(getattr(session_continuity, name, 0))),
)
def test_a_public_function_is_documented(name: str) -> None:
    assert inspect.getdoc(getattr(session_continuity, name))


@pytest.mark.parametrize(
    "name", sorted(name for name in PUBLIC if inspect.isclass(getattr(session_continuity, name, 0)))
)
def test_a_public_class_and_its_methods_are_documented(name: str) -> None:
    documented = getattr(session_continuity, name)
    assert "__doc__" in vars(documented)
    assert documented.__doc__
    for method_name, method in vars(documented).items():
        if not method_name.startswith("_") and inspect.isfunction(method):
            assert inspect.getdoc(method), method_name


def test_star_import_gives_the_public_names(run_python: RunPython) -> None:
    done = run_python("from session_continuity import *; print(*sorted(n for n in dir() if n[:2] != '__'))")
    assert set(done.stdout.split()) == PUBLIC - {"__version__"}


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'session_continuity' has no attribute 'Sesion'"):
        session_continuity.Sesion  # noqa: B018


def test_dir_offers_the_public_names_before_they_are_imported(run_python: RunPython) -> None:
    done = run_python("import session_continuity; print(*dir(session_continuity))")
    assert set(done.stdout.split()) >= PUBLIC


def test_the_version_is_that_of_the_distribution() -> None:
    assert session_continuity.__version__ == version("session-continuity")
