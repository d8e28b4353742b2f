"""Harnesses, as the author of a store writes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from session_continuity import (
    Capabilities,
    Cost,
    CostMeter,
    HealthStatus,
    Registry,
    StorageAdapter,
    StorageError,
    UnavailableError,
)
from session_continuity_conformance.faults.injection import Chaos, Random
from session_continuity_conformance.mutants import mutants
from session_continuity_conformance.reference import cost_meter
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


class ClientError(Exception):
    """An error of a client, in several lines."""


class Refused(ReferenceStorage):
    """Its client refuses every append."""

    async def append_messages(self, *arguments: Any, **options: Any) -> Any:  # noqa: ARG002
        raise StorageError("the server refused the statement") from ClientError("argument of NOT must be\nboolean")


@contextmanager
def refused() -> Iterator[ReferenceTarget]:
    yield ReferenceTarget(Refused, name="refused")


class Unopened(ReferenceStorage):
    """Cannot be set up."""

    opened: ClassVar[list[Unopened]] = []

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.opened.append(self)

    async def setup(self) -> None:
        raise StorageError("the encoding is not UTF8")


@contextmanager
def unopened() -> Iterator[ReferenceTarget]:
    Unopened.opened.clear()
    yield ReferenceTarget(Unopened, name="unopened")


class Away(ReferenceStorage):
    """Its server is not there."""

    async def setup(self) -> None:
        raise UnavailableError("the cause says why") from ClientError("no route for reference-password")


@contextmanager
def away() -> Iterator[ReferenceTarget]:
    yield ReferenceTarget(Away, name="away")


class Littering(ReferenceStorage):
    """Leaves files open when it is closed."""

    async def close(self) -> None:
        for _ in range(100):
            Path(__file__).open()  # noqa: ASYNC230, SIM115  # the point of it
        await super().close()


@contextmanager
def littering() -> Iterator[ReferenceTarget]:
    yield ReferenceTarget(Littering, name="littering")


class CountsRequests(ReferenceTarget):
    """The reference with a cost meter that tells requests only."""

    def cost_meter(self) -> CostMeter:
        @contextmanager
        def requests(adapter: StorageAdapter) -> Iterator[Callable[[], Cost]]:
            with cost_meter.cost_meter(adapter) as meter:
                yield lambda: Cost(requests=meter().requests)

        return requests


@contextmanager
def counting_requests() -> Iterator[ReferenceTarget]:
    yield CountsRequests()


class Secretive(CountsRequests):
    """A store whose URL has a password."""

    def remote(self) -> dict[str, str]:
        return {"url": "reference://u:hush@localhost/x"}


@contextmanager
def secretive() -> Iterator[ReferenceTarget]:
    yield Secretive(mutants()["CreateOverwrites"].storage, name="reference://***:***@localhost/x")


class Portless(ReferenceTarget):
    """A store whose URL names loopback without a port."""

    def remote(self) -> dict[str, str]:
        return {"url": "reference://localhost/x"}


@contextmanager
def portless() -> Iterator[ReferenceTarget]:
    yield Portless()


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
