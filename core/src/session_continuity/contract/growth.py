"""How the contract grows without breaking a released backend.

A minor version only adds optional things, and marks each with the version it came in:

- a field of `Capabilities`, `SessionFilter` or `MessageQuery`: `field(default=…, metadata=since(1, 1))`;
- an operation of `StorageAdapter`: a method whose body refuses, under `@optional(since=(1, 1), capability="…")`.

Core's portable layer compares the marks with the version that an adapter was written for. It refuses a query that the
adapter would ignore, and shows capabilities as closed that the adapter cannot have meant. Only a major version may add
something that every backend has to implement.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, fields
from functools import cache
from typing import Any, Final, TypeVar

__all__ = ["CONTRACT", "OptionalOperation", "Version", "fields_after", "optional", "optional_operations", "since"]

Version = tuple[int, int]
"""(major, minor)."""

CONTRACT: Final[Version] = (1, 0)
"""The version of the contract in this core. A minor version adds optional things; a major version may break."""

_SINCE = "since"
_MARK = "__optional_operation__"

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class OptionalOperation:
    """The mark of an operation that a backend may leave out: the version of the contract it came in, and the field of
    `Capabilities` that declares it."""

    since: Version
    capability: str


def since(major: int, minor: int) -> Mapping[str, Version]:
    """Metadata for a dataclass field that came in this version of the contract."""
    return {_SINCE: (major, minor)}


@cache
def fields_after(dataclass_type: type[Any], version: Version) -> tuple[Field[Any], ...]:
    """The fields of a dataclass that came in after this version. A field without a mark came in 1.0."""
    return tuple(field for field in fields(dataclass_type) if field.metadata.get(_SINCE, (1, 0)) > version)


def optional(*, since: Version, capability: str) -> Callable[[F], F]:
    """Mark a method of `StorageAdapter` as an operation that a backend may leave out."""

    def mark(method: F) -> F:
        setattr(method, _MARK, OptionalOperation(since, capability))
        return method

    return mark


def optional_operations(contract: type[Any]) -> dict[str, OptionalOperation]:
    """The operations of the contract that a backend may leave out, by name."""
    marks = {name: getattr(method, _MARK, None) for name, method in vars(contract).items()}
    return {name: mark for name, mark in marks.items() if isinstance(mark, OptionalOperation)}
