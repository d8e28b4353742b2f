"""A newer suite does not turn a released store red: later clauses bind from the contract on that brought them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from session_continuity_conformance import clauses
from session_continuity_conformance.cases import clause
from session_continuity_conformance.checks import same
from session_continuity_conformance.store import Store
from session_continuity_conformance.suite import test_sessions

Conformance = Callable[..., tuple[int, str]]
ASKED = ["memory://test", "--mode", "blocking", "--clause", "SC-SES-00", "--clause", "SC-SES-999"]


async def keeps_what_nobody_knew(store: Store) -> None:
    same("status of a new session", (await store.session()).status, "unheard of")


@pytest.fixture
def newer_suite(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The suite with one more clause, since contract 1.1, that no store keeps."""
    document = clauses._document()
    later = {**document["clause"][0], "id": "SC-SES-999", "since": "1.1", "text": "A new session is unheard of."}
    monkeypatch.setitem(document, "clause", [*document["clause"], later])
    clauses.contract_clauses.cache_clear()
    monkeypatch.setattr(test_sessions, "test_later", clause("SC-SES-999")(keeps_what_nobody_knew), raising=False)
    yield
    clauses.contract_clauses.cache_clear()


@pytest.mark.usefixtures("newer_suite")
@pytest.mark.parametrize("pin", [[], ["--contract", "1.0"]], ids=["the store's own contract", "pinned"])
def test_later_clause_does_not_bind_a_store_of_an_earlier_contract(conformance: Conformance, pin: list[str]) -> None:
    code, said = conformance(*ASKED, *pin)
    assert code == 0, said
    assert "CONFORMANT 1.0" in said
    assert "SC-SES-999" not in said


@pytest.mark.usefixtures("newer_suite")
def test_later_clause_binds_from_its_contract_on(conformance: Conformance) -> None:
    code, said = conformance(*ASKED, "--contract", "1.1")
    assert code == 1
    assert "NOT CONFORMANT 1.1" in said
    assert "SC-SES-999 (MUST) A new session is unheard of." in said
    assert "conformance memory://test --contract 1.1 --clause SC-SES-999 --mode blocking\n" in said
