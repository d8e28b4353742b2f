"""The clauses: the contract as single statements. The id of a clause is never used for another."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from session_continuity import Capabilities, ConfigError

Level = Literal["MUST", "SHOULD"]
Contract = tuple[int, int]

AREAS = {
    "SES": "sessions",
    "MSG": "messages",
    "ORD": "order",
    "OCC": "concurrent updates",
    "APP": "appending",
    "TRN": "turns",
    "TAIL": "tails",
    "FORK": "forks",
    "TTL": "expiry",
    "LST": "listing",
    "PAG": "paging",
    "SRC": "searching",
    "ERR": "errors",
    "CFG": "configuration",
    "LIF": "lifecycle",
    "SER": "values",
    "ISO": "isolation",
    "SEC": "secrets",
    "FLT": "faults",
    "COST": "cost",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Clause:
    """One statement about every store.

    `since` is the version of the contract that it came in. With `capability`, it applies only to stores that declare
    that capability. `source` names the sentences of the contract that it covers, as `method | beginning of the
    sentence`.
    """

    id: str
    level: Level
    since: Contract
    text: str
    rationale: str
    remedy: str
    capability: str | None = None
    source: tuple[str, ...] = ()

    @property
    def area(self) -> str:
        """The middle of the id, such as SES: a key of `areas`."""
        return self.id.rpartition("-")[0].removeprefix("SC-")

    @property
    def is_on_a_feature(self) -> bool:
        """Whether a store may have the capability without declaring it. A limit exists only where it is declared."""
        return self.capability is not None and self.capability != "max_message_bytes"

    def binds(self, capabilities: Capabilities) -> bool:
        """Whether the clause applies to a store with these capabilities. For `max_batch` the capability is None, no
        limit."""
        if self.capability is None:
            return True
        declared = getattr(capabilities, self.capability)
        return declared is None if self.capability == "max_batch" else bool(declared)

    def declared_by(self, capabilities: Capabilities) -> Capabilities:
        """These capabilities, with the capability of this clause."""
        if self.capability is None:
            return capabilities
        values: dict[str, Any] = {self.capability: None if self.capability == "max_batch" else True}
        return replace(capabilities, **values)


_added: dict[str, Clause] = {}


def all_clauses() -> Mapping[str, Clause]:
    """Every clause by id: those of the contract in the order of the file, then those of extensions."""
    return {**contract_clauses(), **_added}


@cache
def contract_clauses() -> Mapping[str, Clause]:
    """The clauses of the contract by id, in the order of the file."""
    return {entry["id"]: _clause(entry) for entry in _document()["clause"]}


def add_clause(clause: Clause) -> None:
    """Add a clause of an extension."""
    _added[clause.id] = clause


def areas() -> Mapping[str, str]:
    """The areas of all clauses with their names, in the order of a report."""
    return {**AREAS, **{clause.area: "of an extension" for clause in _added.values()}}


@cache
def unproved_sentences() -> Mapping[str, str]:
    """The sentences of the contract that no clause covers, each with the reason."""
    return {entry["source"]: entry["reason"] for entry in _document()["unproved"]}


def clauses_of(contract: Contract) -> Mapping[str, Clause]:
    """The clauses that apply to this version of the contract."""
    return {name: clause for name, clause in all_clauses().items() if clause.since <= contract}


def parse_contract(text: str) -> Contract:
    """The version in a text such as 1.0. Raises ConfigError for any other text."""
    parts = text.split(".")
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() for part in parts):
        raise ConfigError(f"a contract is written MAJOR.MINOR, for example 1.0, not {text!r}")
    return int(parts[0]), int(parts[1])


@cache
def _document() -> dict[str, Any]:
    return tomllib.loads(files("session_continuity_conformance").joinpath("clauses.toml").read_text("utf-8"))


def _clause(entry: dict[str, Any]) -> Clause:
    parsed: dict[str, Any] = {"since": parse_contract(entry["since"]), "source": tuple(entry.get("source", ()))}
    return Clause(**{**entry, **parsed})
