"""`SuiteOptions`, the one definition of what a run can be asked for.

Its fields are the arguments of `runner.run`, the options of `session-continuity conformance` and those of pytest. This
module imports nothing heavy, because the command line reads it to show its help.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from session_continuity import ConfigError

ModeName = Literal["async", "blocking", "portal"]
MODES: tuple[ModeName, ...] = get_args(ModeName)


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """How a field of `SuiteOptions` is written: on the command line by its name, in pytest as `pytest`, if at all.

    `type` converts one value. A repeatable option takes several.
    """

    name: str
    default: Any
    repeatable: bool
    metavar: str
    help: str
    type: type[Any] = str
    pytest: str | None = None


def _written(metavar: str, help: str, **more: Any) -> Mapping[str, Any]:
    return {"metavar": metavar, "help": help, **more}


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteOptions:
    """What a run tests, and how much of it. Raises ConfigError for a value that no run can use."""

    urls: Sequence[str] = field(
        default=(), metadata=_written("URL", "A store to test, as in memory://test.", pytest="--sc-url")
    )
    harness: Sequence[str] = field(
        default=(),
        metadata=_written(
            "MODULE:NAME",
            "A function whose context manager starts stores and yields their URLs.",
            pytest="--sc-harness",
        ),
    )
    mode: Sequence[str] = field(
        default=(), metadata=_written("MODE", f"Run only this mode: {', '.join(MODES)}.", pytest="--sc-mode")
    )
    clause: Sequence[str] = field(
        default=(), metadata=_written("ID", "Run only clauses whose id begins with this.", pytest="--sc-clause")
    )
    contract: str | None = field(
        default=None,
        metadata=_written(
            "MAJOR.MINOR", "The version of the contract to test against. Default: the store's.", pytest="--sc-contract"
        ),
    )
    explore: int = field(
        default=0,
        metadata=_written("N", "Try N random programs, and N histories, per mode.", type=int, pytest="--sc-explore"),
    )
    seed: int | None = field(
        default=None,
        metadata=_written("N", "The seed of an earlier search, to repeat it.", type=int, pytest="--sc-seed"),
    )
    junit: Path | None = field(
        default=None, metadata=_written("FILE", "Write the results as JUnit XML.", type=Path, pytest="--junitxml")
    )
    markdown: Path | None = field(
        default=None, metadata=_written("FILE", "Write the results as a table for a README.", type=Path)
    )

    def __post_init__(self) -> None:
        unknown = [mode for mode in self.mode if mode not in MODES]
        if unknown:
            raise ConfigError(f"unknown mode {unknown[0]}; choose from {', '.join(MODES)}")
        if self.explore < 0:
            raise ConfigError(f"the number of programs to explore must be 0 or more, not {self.explore}")

    @property
    def modes(self) -> tuple[ModeName, ...]:
        """The modes to run in: those that are named, or all."""
        return tuple(mode for mode in MODES if mode in self.mode or not self.mode)

    def pytest_arguments(self) -> Iterator[str]:
        """These options as arguments of pytest."""
        for option in options():
            value = getattr(self, option.name)
            if option.pytest is not None and value is not None:
                yield from (f"{option.pytest}={each}" for each in (value if option.repeatable else [value]))


def options() -> list[Option]:
    """Every option of a run, in the order of its help."""
    return [
        Option(name=each.name, default=each.default, repeatable=each.default == (), **each.metadata)
        for each in fields(SuiteOptions)
    ]
