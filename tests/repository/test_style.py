"""The rules of style that a program can check: small functions, classes with one duty, docstrings, plain words."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from statistics import median, quantiles

ROOT = Path(__file__).parents[2]
CORE = ROOT / "core/src/session_continuity"
PLUGINS = sorted((ROOT / "plugins").glob("*/src/session_continuity_*"))
CONFORMANCE = ROOT / "conformance/src/session_continuity_conformance"
AGENTS = ROOT / "agents/src/session_continuity_agents"
KIT = ROOT / "tests/kit"


def files(*folders: Path) -> list[Path]:
    return sorted(path for folder in folders for path in folder.rglob("*.py"))


PRODUCT = files(CORE, *PLUGINS, AGENTS)
SOURCES = [*PRODUCT, *files(CONFORMANCE)]
EVERYTHING = [*SOURCES, *files(ROOT / "tests", ROOT / "benchmarks", ROOT / "examples"), ROOT / "noxfile.py"]


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef


def place(path: Path, node: Definition) -> str:
    """Where a definition stands, as editors open it."""
    return f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"


# Functions


def lengths(paths: list[Path]) -> dict[str, int]:
    """The number of lines of each function."""
    found: dict[str, int] = {}
    for path in paths:
        for node in ast.walk(parsed(path)):
            if isinstance(node, Function):
                found[place(path, node)] = (node.end_lineno or 0) - node.lineno + 1
    return found


def test_functions_fit_on_a_screen() -> None:
    assert {name: length for name, length in lengths(SOURCES).items() if length > 60} == {}


def test_most_functions_are_short() -> None:
    found = lengths(PRODUCT).values()
    assert median(found) <= 8
    assert quantiles(found, n=10)[-1] <= 30


# Classes

MOST_METHODS = 20
"""A class with more methods does more than one thing. The methods of the contract are not counted where a class
implements or forwards them, because their number is not its choice."""

MAY_HAVE_MORE = {
    "AsyncSessionManager": "the public API: one method for each thing that an application does",
    "SessionManager": "the same API without await",
    "StoreFixture": "the vocabulary of the conformance suite: one method for each thing that an example does",
    "Model": "the contract in small steps, each of which a mutant can override",
    "Player": "one method for each step of a random program",
}


@cache
def contract_methods() -> set[str]:
    [adapter] = [node for node in parsed(CORE / "contract/adapter.py").body if is_class(node, "StorageAdapter")]
    return {node.name for node in adapter.body if isinstance(node, Function)}


def is_class(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.ClassDef) and node.name == name


def methods(node: ast.ClassDef) -> set[str]:
    """The names of a class's own methods and properties."""
    return {child.name for child in node.body if isinstance(child, Function)}


def test_a_class_has_one_duty() -> None:
    found: dict[str, int] = {}
    for path in SOURCES:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ClassDef) and node.name not in MAY_HAVE_MORE:
                found[place(path, node)] = len(methods(node) - contract_methods())
    assert {name: count for name, count in found.items() if count > MOST_METHODS} == {}


# Docstrings


@cache
def classes() -> dict[str, ast.ClassDef]:
    """The classes of the product by name."""
    return {node.name: node for path in SOURCES for node in ast.walk(parsed(path)) if isinstance(node, ast.ClassDef)}


def bases(node: ast.ClassDef) -> Iterator[ast.ClassDef]:
    """The base classes that are of the product, and theirs."""
    names = [base.value if isinstance(base, ast.Subscript) else base for base in node.bases]
    for name in (name.id for name in names if isinstance(name, ast.Name)):
        if name in classes():
            yield classes()[name]
            yield from bases(classes()[name])


PROTOCOLS = {"Plugin": "BackendPlugin", "Runner": "CallRunner", "Client": "Client"}
"""How the names of classes end that implement a protocol without inheriting from it."""


def implements(node: ast.ClassDef) -> Iterator[ast.ClassDef]:
    """The classes and protocols whose methods a class overrides or implements."""
    yield from bases(node)
    yield from (classes()[protocol] for suffix, protocol in PROTOCOLS.items() if node.name.endswith(suffix))


def is_documented_above(node: ast.ClassDef, method: Function) -> bool:
    return any(
        child.name == method.name and ast.get_docstring(child) is not None
        for base in implements(node)
        for child in base.body
        if isinstance(child, Function)
    )


def is_exempt(function: Function) -> bool:
    """Whether it is one of several definitions of which another has the docstring."""
    decorators = {ast.unparse(decorator).rpartition(".")[2] for decorator in function.decorator_list}
    return not decorators.isdisjoint({"overload", "setter", "deleter"})


def undocumented(body: list[ast.stmt], owner: ast.ClassDef | None = None) -> Iterator[Definition]:
    """The public definitions that have no docstring, and no documented one above them."""
    for node in body:
        if isinstance(node, ast.If | ast.Try):
            yield from undocumented(node.body, owner)
        if not isinstance(node, Definition) or node.name.startswith("_"):
            continue
        if ast.get_docstring(node) is None:
            overrides = owner is not None and isinstance(node, Function) and is_documented_above(owner, node)
            if not overrides and not (isinstance(node, Function) and is_exempt(node)):
                yield node
        if isinstance(node, ast.ClassDef):
            yield from undocumented(node.body, node)


def test_public_definitions_have_a_docstring() -> None:
    assert [place(path, node) for path in [*PRODUCT, *files(KIT)] for node in undocumented(parsed(path).body)] == []


# Words


def prose(path: Path) -> Iterator[str]:
    """The docstrings and the comments of a module, each in one line. Attributes have docstrings too."""
    source = path.read_text()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield " ".join(node.value.value.split())
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


NEGATED_NOUN = re.compile(r"(?<![Tt]here )\b(?:is|are|begins|equals) no (?!longer|more|one)[`\w]+")
"""`is no` before a noun, where English says `is not a`."""


def test_negations_are_plain() -> None:
    found = {path: NEGATED_NOUN.findall("\n".join(prose(path))) for path in EVERYTHING}
    assert {str(path.relative_to(ROOT)): phrases for path, phrases in found.items() if phrases} == {}
