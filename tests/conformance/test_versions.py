"""A newer suite does not fail a released store: clauses apply from the version of the contract on that they came in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from session_continuity_conformance import clauses
from session_continuity_conformance.cases import clause
from session_continuity_conformance.checks import same
from session_continuity_conformance.store_fixture import StoreFixture
from session_continuity_conformance.suite import test_sessions

from ..kit.verdicts import CONFORMANT, NEXT_CONTRACT, THIS_CONTRACT
from .conftest import ConformanceCommand

ARGUMENTS = ["memory://test", "--mode", "blocking", "--clause", "SC-SES-00", "--clause", "SC-SES-999"]


async def keeps_what_nobody_knew(store: StoreFixture) -> None:
    same("status of a new session", (await store.create_session()).status, "unheard of")


@pytest.fixture
def newer_suite(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The suite with another clause, of the next contract, that every store breaks."""
    document = clauses._document()
    later = {
        **document["clause"][0],
        "id": "SC-SES-999",
        "since": NEXT_CONTRACT,
        "text": "A new session is unheard of.",
    }
    monkeypatch.setitem(document, "clause", [*document["clause"], later])
    clauses.contract_clauses.cache_clear()
    monkeypatch.setattr(test_sessions, "test_later", clause("SC-SES-999")(keeps_what_nobody_knew), raising=False)
    yield
    clauses.contract_clauses.cache_clear()


@pytest.mark.usefixtures("newer_suite")
@pytest.mark.parametrize("pin", [[], ["--contract", THIS_CONTRACT]], ids=["the store's own contract", "pinned"])
def test_later_clause_does_not_bind_a_store_of_an_earlier_contract(
    conformance: ConformanceCommand, pin: list[str]
) -> None:
    code, report = conformance(*ARGUMENTS, *pin)
    assert code == 0, report
    assert CONFORMANT in report
    sentence = f"1 clause of contract {NEXT_CONTRACT} does not apply to a {THIS_CONTRACT} backend: SC-SES-999"
    assert sentence in report


@pytest.mark.usefixtures("newer_suite")
def test_the_document_names_the_clauses_that_do_not_apply(conformance: ConformanceCommand) -> None:
    _, _, store = conformance.with_document(*ARGUMENTS)
    assert store["newer_clauses"] == [{"id": "SC-SES-999", "since": NEXT_CONTRACT}]


@pytest.mark.usefixtures("newer_suite")
def test_later_clause_binds_from_its_contract_on(conformance: ConformanceCommand) -> None:
    code, report = conformance(*ARGUMENTS, "--contract", NEXT_CONTRACT)
    assert code == 1
    assert f"NOT CONFORMANT {NEXT_CONTRACT}" in report
    assert "SC-SES-999 (MUST) A new session is unheard of." in report
    assert f"conformance memory://test --contract {NEXT_CONTRACT} --clause SC-SES-999 --mode blocking\n" in report
