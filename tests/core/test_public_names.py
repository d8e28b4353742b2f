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

STUB = SOURCE.with_suffix(".pyi")


def public_names() -> dict[str, str]:
    """Each public name and the module that defines it, as `__init__.pyi` lists them."""
    return {
        alias.name: f"session_continuity.{node.module}"
        for node in ast.parse(STUB.read_text()).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


NAMES = public_names()


def test_programs_get_the_names_that_type_checkers_see() -> None:
    assert set(session_continuity.__all__) == {"__version__", *NAMES}


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_public_name_is_the_one_of_its_module(name: str) -> None:
    module = import_module(NAMES[name])
    assert getattr(session_continuity, name) is getattr(module, name)
    assert name in module.__all__


@pytest.mark.parametrize(
    "name",
    sorted(name for name in NAMES if name[0].isalpha() and inspect.isroutine(getattr(session_continuity, name, 0))),
)
def test_a_public_function_is_documented(name: str) -> None:
    assert inspect.getdoc(getattr(session_continuity, name))


@pytest.mark.parametrize(
    "name", sorted(name for name in NAMES if inspect.isclass(getattr(session_continuity, name, 0)))
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
    assert set(done.stdout.split()) == NAMES.keys()


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="No session_continuity attribute Sesion"):
        session_continuity.Sesion  # noqa: B018


def test_dir_offers_the_public_names_before_they_are_imported(run_python: RunPython) -> None:
    done = run_python("import session_continuity; print(*dir(session_continuity))")
    assert set(done.stdout.split()) >= NAMES.keys()


def test_the_version_is_that_of_the_distribution() -> None:
    assert session_continuity.__version__ == version("session-continuity")
