"""What a run tests: its stores, and which examples run on each of them."""

from __future__ import annotations

import math
import secrets
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from session_continuity import URL_VARIABLE, Capabilities, ConfigError, PluginError, StorageAdapter, UnavailableError
from session_continuity_conformance.cases import Case, Effort
from session_continuity_conformance.clauses import Contract, all_clauses, parse_contract
from session_continuity_conformance.drivers import Driver, driver
from session_continuity_conformance.extension_clauses import extension_examples
from session_continuity_conformance.findings import cause_of
from session_continuity_conformance.harness import Harness
from session_continuity_conformance.options import MODES, SuiteOptions
from session_continuity_conformance.reporting.report import Result, StoreReport, Subject
from session_continuity_conformance.reproducer import written_url
from session_continuity_conformance.target import Target, UrlTarget, native_mode


@dataclass(frozen=True, slots=True)
class Candidate:
    """A store of the run.

    `label` is its short name in reports, `arguments` name it on the command line, and `complaint` is what its health
    said before the first example.
    """

    label: str
    target: Target
    arguments: str
    complaint: str
    capabilities: Capabilities


class Selection:
    """The stores of a run, and what runs on them. `start` opens them, `stop` ends the harnesses."""

    def __init__(self, options: SuiteOptions) -> None:
        self._options = options
        self._effort = effort_of(options.explore, options.seed)
        self._contract = parse_contract(options.contract) if options.contract else None
        self._harnesses: list[Harness] = []
        self._candidates: list[Candidate] = []

    def start(self) -> None:
        """Start the harnesses, and check that every store answers.

        Raises ConfigError, PluginError, and the error of a store that cannot be reached.
        """
        extension_examples()
        wanted = tuple(self._options.clause)
        if wanted and not any(name.startswith(wanted) for name in all_clauses()):
            raise ConfigError(f"no clause begins with {' or '.join(wanted)}")
        found: list[tuple[Target, str]] = []
        for url in self._options.urls:
            target = UrlTarget(url)
            found.append((target, argument_of(target)))
        for name in self._options.harness:
            harness = Harness(name)
            self._harnesses.append(harness)
            found += [(target, f"--harness {shlex.quote(name)}") for target in harness.start()]
        labels = labels_of([target for target, _ in found])
        self._candidates = [
            Candidate(label, target, arguments, *greet(target))
            for label, (target, arguments) in zip(labels, found, strict=True)
        ]

    def stop(self) -> None:
        """Stop the harnesses that were started. May be called again."""
        while self._harnesses:
            self._harnesses.pop().stop()

    def cases(self, clause: str) -> dict[str, Case]:
        """Where an example of this clause runs, by test id."""
        modes = self._options.modes
        return {
            f"{clause}-{store.label}-{mode}": Case(store.target, mode, self._effort, mode == modes[0], store.label)
            for store in self._candidates
            if self._selects(clause) and all_clauses()[clause].since <= self._contract_of(store.target)
            for mode in modes
        }

    def reports(self, results: Sequence[Result]) -> list[StoreReport]:
        """One report per store."""
        clauses = [clause for name, clause in all_clauses().items() if self._selects(name)]
        partial = bool(self._options.clause) or set(self._options.modes) != set(MODES)
        return [
            StoreReport.of(
                self._subject(store),
                self._contract_of(store.target),
                [result for result in results if result.target == store.label],
                clauses,
                partial=partial,
                effort=self._effort,
            )
            for store in self._candidates
        ]

    def _selects(self, clause: str) -> bool:
        return not self._options.clause or clause.startswith(tuple(self._options.clause))

    def _contract_of(self, target: Target) -> Contract:
        """The version of the contract that a store is tested against."""
        return self._contract or target.contract

    def _subject(self, store: Candidate) -> Subject:
        target = store.target
        contract = f" --contract {self._options.contract}" if self._options.contract else ""
        return Subject(
            label=store.label,
            name=target.name,
            arguments=f"{store.arguments}{contract}",
            complaint=store.complaint,
            distribution=target.distribution,
            modes=target.modes,
            capabilities=asdict(store.capabilities),
        )


def argument_of(target: Target) -> str:
    """How the command line names a store: by its URL, or by the variable where the URL has a secret."""
    url = written_url(target)
    return f'"${URL_VARIABLE}"' if url is None else shlex.quote(url)


def effort_of(programs: int, seed: int | None) -> Effort:
    """The usual effort, or that of a search through so many random programs."""
    if not programs and seed is None:
        return Effort()
    return Effort(programs or Effort().programs, math.inf, secrets.randbelow(2**32) if seed is None else seed)


def labels_of(targets: Sequence[Target]) -> list[str]:
    """A label for each target: its scheme, with a number from the second store of that scheme on."""
    schemes = [target.scheme for target in targets]
    numbers = [schemes[:place].count(scheme) for place, scheme in enumerate(schemes)]
    return [f"{scheme}{number + 1}" if number else scheme for scheme, number in zip(schemes, numbers, strict=True)]


def greet(target: Target) -> tuple[str, Capabilities]:
    """Check that a store can be reached. Return what its health says is wrong, "" where it is healthy, and what it
    declares.

    Raises ConfigError for a store that does not answer. Any other error is left to the examples, which meet it too and
    show it better.
    """
    chosen = driver(native_mode(target, "blocking"))
    try:
        adapter = target.open(chosen.mode, "")
        return _complaint(target, adapter, chosen), adapter.capabilities
    finally:
        chosen.close()


def _complaint(target: Target, adapter: StorageAdapter, chosen: Driver) -> str:
    async def ask() -> str:
        try:
            await adapter.setup()
            found = await adapter.health()
        finally:
            await adapter.close()
        return "" if found.status == "healthy" else f"{found.status}: {found.remedy}"

    try:
        return chosen.run(ask())
    except UnavailableError as error:
        cause = cause_of(error, target.secrets)
        reason = f"{target.name} does not answer: {error}"
        raise ConfigError(f"{reason}; caused by {cause}" if cause else reason) from error
    except (ConfigError, PluginError):
        raise
    except Exception:
        return ""
