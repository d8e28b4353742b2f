"""The clauses: the contract cut into single sentences, each with an id that is never used for anything else."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
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
    "TTL": "expiry",
    "LST": "listing",
    "PAG": "paging",
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
    """One sentence that a store keeps or breaks.

    `since` is the contract that brought it. With `capability`, it binds only the stores that declare that one.
    `source` names the sentences of the contract it stands for, as `method | beginning of the sentence`.
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
        """One of `areas`."""
        return self.id.rpartition("-")[0].removeprefix("SC-")

    @property
    def is_on_a_feature(self) -> bool:
        """Whether a store may have what the clause needs without declaring it; a limit it has only by declaring it."""
        return self.capability is not None and self.capability != "max_message_bytes"

    def binds(self, capabilities: Capabilities) -> bool:
        """Whether the clause says something about a store of these capabilities. Of max_turn it is None that promises
        more."""
        if self.capability is None:
            return True
        declared = getattr(capabilities, self.capability)
        return declared is None if self.capability == "max_turn" else bool(declared)


_added: dict[str, Clause] = {}


def all_clauses() -> Mapping[str, Clause]:
    """Every clause by id: those of the contract, in the order of the file, and those of extensions."""
    return {**contract_clauses(), **_added}


@cache
def contract_clauses() -> Mapping[str, Clause]:
    """Every clause of the contract by id, in the order of the file."""
    return {entry["id"]: _clause(entry) for entry in _document()["clause"]}


def add_clause(clause: Clause) -> None:
    """A clause beside those of the contract."""
    _added[clause.id] = clause


def areas() -> Mapping[str, str]:
    """What the areas of all clauses are about, in the order of a report."""
    return {**AREAS, **{clause.area: "of an extension" for clause in _added.values()}}


@cache
def unproved_sentences() -> Mapping[str, str]:
    """Sentences of the contract that no clause stands for, each with the reason."""
    return {entry["source"]: entry["reason"] for entry in _document()["unproved"]}


def clauses_of(contract: Contract) -> Mapping[str, Clause]:
    """The clauses that bind a store written for this contract."""
    return {name: clause for name, clause in all_clauses().items() if clause.since <= contract}


def parse_contract(text: str) -> Contract:
    """`1.0` → (1, 0). Raises ConfigError for any other form."""
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
