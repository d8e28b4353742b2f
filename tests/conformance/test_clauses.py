"""Sentences of the contract, clauses, examples and mutants belong together."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from collections.abc import Iterator
from importlib.resources import files

import pytest

from session_continuity import Capabilities, ConfigError
from session_continuity.contract import adapter, patch, queries, results, terms
from session_continuity_conformance.clauses import (
    AREAS,
    all_clauses,
    clauses_of,
    parse_contract,
    unproved_sentences,
)
from session_continuity_conformance.examples import examples
from session_continuity_conformance.mutants import mutants

TYPES = (
    "Patch",
    "SessionFilter",
    "MessageQuery",
    "AppendTerms",
    "Appended",
    "Replaced",
    "Fork",
    "ConversationPage",
    "HealthStatus",
)

ELSEWHERE = {
    "U27": "speed of a delete",
    "U32": "a matter of the manager",
    "U33": "a matter of the manager",
    "U35": "a matter of the manager",
}
"""Known defects that break no sentence of the storage contract which a mutant could break."""


def sentences() -> list[str]:
    """Every sentence of the contract as `place | sentence`. `contract` is the place of the rules for all methods."""
    found = [f"contract | {sentence}" for sentence in split(adapter.__doc__ or "")]
    modules = [ast.parse(inspect.getsource(module)) for module in (adapter, patch, queries, results, terms)]
    for node in [node for module in modules for node in module.body]:
        if isinstance(node, ast.ClassDef) and node.name in TYPES:
            found += [f"{node.name} | {sentence}" for sentence in split(ast.get_docstring(node) or "")]
        if isinstance(node, ast.ClassDef) and node.name == "StorageAdapter":
            found += [f"{place} | {sentence}" for place, text in documented(node) for sentence in split(text)]
    return found


def documented(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    """The documented methods and attributes of the adapter class."""
    for member, following in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(member, ast.AsyncFunctionDef):
            yield member.name, ast.get_docstring(member) or ""
        if isinstance(member, ast.AnnAssign) and isinstance(member.target, ast.Name):
            assert isinstance(following, ast.Expr)
            assert isinstance(following.value, ast.Constant)
            yield f"StorageAdapter.{member.target.id}", str(following.value.value)


def split(text: str) -> list[str]:
    """The sentences of a docstring, each on one line, without list marks."""
    paragraphs = re.split(r"\n\s*\n|\n(?=- )|\n(?=\*[A-Z])", inspect.cleandoc(text))
    flat = [re.sub(r"\s+", " ", paragraph.removeprefix("- ")).strip() for paragraph in paragraphs]
    return [sentence for each in flat for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z`*])", each) if sentence]


def sources() -> set[str]:
    return {source for clause in all_clauses().values() for source in clause.source}


def test_every_sentence_of_the_contract_has_a_clause_or_a_reason() -> None:
    known = tuple(sources() | set(unproved_sentences()))
    assert [sentence for sentence in sentences() if not sentence.startswith(known)] == []


def test_no_clause_quotes_a_sentence_that_is_gone() -> None:
    text = sentences()
    quoted = sources() | set(unproved_sentences())
    assert [source for source in sorted(quoted) if not any(each.startswith(source) for each in text)] == []


def test_the_contract_is_cut_into_sentences() -> None:
    assert len(sentences()) > 90
    assert "close | May be called again." in sentences()


def test_every_clause_has_an_example() -> None:
    assert sorted(set(all_clauses()) - set(examples())) == []


def test_every_clause_has_a_mutant() -> None:
    assert sorted(set(all_clauses()) - {mutant.clause for mutant in mutants().values()}) == []


def test_every_known_defect_has_a_mutant_or_a_reason() -> None:
    seeds = {seed for mutant in mutants().values() for seed in mutant.seeds}
    known = {f"U{number}" for number in range(1, 48)}
    assert sorted(known - seeds - set(ELSEWHERE)) == []
    assert sorted(seeds & set(ELSEWHERE)) == []


def test_clauses_are_well_formed() -> None:
    features = {field.name for field in dataclasses.fields(Capabilities)}
    for clause in all_clauses().values():
        assert re.fullmatch(r"SC-[A-Z]{3,4}-\d{3}", clause.id), clause.id
        assert clause.area in AREAS, clause.id
        assert clause.level in ("MUST", "SHOULD"), clause.id
        assert clause.text.endswith("."), clause.id
        assert clause.rationale.endswith("."), clause.id
        assert clause.remedy.endswith("."), clause.id
        assert clause.source, clause.id
        assert clause.capability is None or clause.capability in features, clause.id


def test_every_capability_has_a_clause() -> None:
    on_a_capability = {clause.capability for clause in all_clauses().values()}
    without = {field.name for field in dataclasses.fields(Capabilities)} - on_a_capability
    # where it is declared, the clauses on expiry are tested by the time of the server
    assert without == {"server_clock"}


def test_ids_are_unique_in_the_file() -> None:
    text = files("session_continuity_conformance").joinpath("clauses.toml").read_text("utf-8")
    written = re.findall(r'^id = "(.*)"$', text, re.MULTILINE)
    assert len(written) == len(set(written)) == len(all_clauses())


def test_a_contract_leaves_later_clauses_out() -> None:
    assert clauses_of((0, 9)) == {}
    assert clauses_of((1, 0)) == {name: clause for name, clause in all_clauses().items() if clause.since == (1, 0)}


@pytest.mark.parametrize("text", ["1", "1.x", "one", "1.0.0", ""])
def test_malformed_contract_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"MAJOR\.MINOR"):
        parse_contract(text)
