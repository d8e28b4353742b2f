"""Harnesses, as the author of a store writes them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from session_continuity import Capabilities, HealthStatus, Registry
from session_continuity_conformance.faults.injection import Chaos, Random
from session_continuity_conformance.mutants import mutants
from session_continuity_conformance.reference.storage import ReferenceStorage, ReferenceTarget
from session_continuity_conformance.target import UrlTarget


@contextmanager
def good() -> Iterator[ReferenceTarget]:
    yield ReferenceTarget()
    Path("stopped").touch()


@contextmanager
def broken() -> Iterator[ReferenceTarget]:
    yield ReferenceTarget(mutants()["CreateOverwrites"].storage, name="broken")


@contextmanager
def broken_async() -> Iterator[ReferenceTarget]:
    yield ReferenceTarget(mutants()["CreateOverwrites"].storage, modes=frozenset({"async"}))


@contextmanager
def raising() -> Iterator[ReferenceTarget]:
    yield ReferenceTarget(mutants()["ExpirySweepFails"].storage, name="raising")


@contextmanager
def untidy() -> Iterator[ReferenceTarget]:
    yield ReferenceTarget(mutants()["NewestExpiredFirst"].storage, name="untidy")


@contextmanager
def old() -> Iterator[ReferenceTarget]:
    yield ReferenceTarget(contract=(0, 9), name="old")


@contextmanager
def async_only() -> Iterator[ReferenceTarget]:
    yield ReferenceTarget(modes=frozenset({"async"}), name="async only")


@contextmanager
def blocking_only() -> Iterator[ReferenceTarget]:
    yield ReferenceTarget(modes=frozenset({"blocking"}), name="blocking only")


class Modest(ReferenceStorage):
    """Supports more than it declares."""

    declared = Capabilities(durable=True)


@contextmanager
def modest() -> Iterator[ReferenceTarget]:
    yield ReferenceTarget(Modest, name="modest")


class Untidy(ReferenceStorage):
    """Opens a file and never closes it."""

    opened: ClassVar[list[Untidy]] = []

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.file = Path(__file__).open()  # noqa: SIM115  # the point of it
        self.opened.append(self)


@contextmanager
def leaking() -> Iterator[ReferenceTarget]:
    yield ReferenceTarget(Untidy, name="leaking")
    Untidy.opened.clear()


class Unwell(ReferenceStorage):
    """Answers, but lacks something."""

    async def health(self) -> HealthStatus:
        return HealthStatus(status="degraded", remedy="make the table")


@contextmanager
def unwell() -> Iterator[ReferenceTarget]:
    yield ReferenceTarget(Unwell, name="unwell")


@contextmanager
def wrapped_in_chaos() -> Iterator[UrlTarget]:
    registry = Registry()
    registry.register_extension(Chaos(Random(0.0, seed=1)))
    yield UrlTarget("memory://", registry)
