"""What a run was asked for: stores, modes, clauses, a contract."""

from __future__ import annotations

import math
import secrets
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from session_continuity import ConfigError, PluginError, UnavailableError
from session_continuity_conformance.cases import Case, Effort
from session_continuity_conformance.clauses import Contract, all_clauses, clauses_of, parse_contract
from session_continuity_conformance.drivers import DRIVERS, DriverName, driver
from session_continuity_conformance.harness import Harness
from session_continuity_conformance.reporting.report import Result, StoreReport, Subject
from session_continuity_conformance.target import Target, UrlTarget, native_mode
from session_continuity_conformance.vendors import vendor_examples


@dataclass
class Selection:
    """The stores under short names of their own, how the command line names each, what each complains of before it is
    tested, and how they are to be tested."""

    modes: tuple[DriverName, ...] = DRIVERS
    clauses: tuple[str, ...] = ()
    contract: Contract | None = None
    pin: str | None = None
    effort: Effort = field(default_factory=Effort)
    targets: dict[str, Target] = field(default_factory=dict[str, Target])
    asked: dict[str, str] = field(default_factory=dict[str, str])
    complaints: dict[str, str] = field(default_factory=dict[str, str])
    harnesses: list[Harness] = field(default_factory=list[Harness])

    def start(self, urls: Sequence[str], harnesses: Sequence[str], contract: str | None) -> None:
        """Find the stores, start the harnesses and see that every store answers.

        Raises ConfigError, PluginError and what a store raises that cannot be reached.
        """
        self.pin = contract
        self.contract = parse_contract(contract) if contract else None
        vendor_examples()
        if self.clauses and not any(name.startswith(self.clauses) for name in all_clauses()):
            raise ConfigError(f"no clause begins with {' or '.join(self.clauses)}")
        found: list[tuple[Target, str]] = []
        for url in urls:
            named = UrlTarget(url)
            found.append((named, shlex.quote(named.name)))
        for name in harnesses:
            harness = Harness(name)
            self.harnesses.append(harness)
            found += [(target, f"--harness {shlex.quote(name)}") for target in harness.start()]
        self.targets = labelled([target for target, _ in found])
        self.asked = dict(zip(self.targets, [asked for _, asked in found], strict=True))
        self.complaints = {label: greet(target) for label, target in self.targets.items()}

    def stop(self) -> None:
        """Stop what was started."""
        while self.harnesses:
            self.harnesses.pop().stop()

    def cases(self, clause: str) -> dict[str, Case]:
        """Where an example of this clause is run, by test id."""
        if self.clauses and not clause.startswith(self.clauses):
            return {}
        return {
            f"{clause}-{label}-{mode}": Case(target, mode, self.effort, probing=mode == self.modes[0])
            for label, target in self.targets.items()
            if all_clauses()[clause].since <= self.contract_of(target)
            for mode in self.modes
        }

    def contract_of(self, target: Target) -> Contract:
        """The contract that a store is judged by."""
        return self.contract or target.contract

    def reports(self, results: Sequence[Result]) -> list[StoreReport]:
        """One report per store."""
        partial = bool(self.clauses) or set(self.modes) != set(DRIVERS)
        return [
            StoreReport.of(
                self._subject(label, target),
                self.contract_of(target),
                results,
                clauses_of(self.contract_of(target)),
                partial=partial,
                effort=self.effort,
            )
            for label, target in self.targets.items()
        ]

    def _subject(self, label: str, target: Target) -> Subject:
        return Subject(
            label=label,
            name=target.name,
            asked=self.asked[label] + (f" --contract {self.pin}" if self.pin else ""),
            complaint=self.complaints[label],
            distribution=target.distribution,
            modes=target.modes,
            capabilities=asdict(target.open(native_mode(target, "blocking"), "").capabilities),
        )


def effort_of(programs: int, seed: int | None) -> Effort:
    """The effort of a gate, or of a search through so many programs."""
    if not programs and seed is None:
        return Effort()
    chosen = secrets.randbelow(2**32) if seed is None else seed
    return Effort(programs or Effort().programs, math.inf, chosen)


def labelled(targets: Sequence[Target]) -> dict[str, Target]:
    """Each target under its scheme, numbered from the second of a scheme on."""
    found: dict[str, Target] = {}
    for target in targets:
        number = sum(other.scheme == target.scheme for other in found.values())
        found[f"{target.scheme}{number + 1 if number else ''}"] = target
    return found


def greet(target: Target) -> str:
    """See that a store can be reached at all, and return what its health complains of; what else is wrong with it, the
    examples tell better."""
    chosen = driver(native_mode(target, "blocking"))

    async def knock() -> str:
        adapter = target.open(chosen.mode, "")
        try:
            await adapter.setup()
            found = await adapter.health()
        finally:
            await adapter.close()
        return "" if found.status == "healthy" else f"{found.status}: {found.remedy}"

    try:
        return chosen.run(knock())
    except UnavailableError as error:
        raise ConfigError(f"{target.name} does not answer: {error}") from error
    except (ConfigError, PluginError):
        raise
    except Exception:  # every example runs into the same error, and tells it
        return ""
    finally:
        chosen.close()
