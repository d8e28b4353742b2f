"""What an adapter of an older contract can do beside a newer core. `contract.growth` states the rules."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from session_continuity.contract.adapter import StorageAdapter
from session_continuity.contract.capabilities import Capabilities
from session_continuity.contract.growth import Version, fields_after, optional_operations

__all__ = ["implemented_capabilities", "newer_fields", "undeclared_operations"]


def newer_fields(query: Any, version: Version) -> list[str]:
    """The fields of a query that are in use and came after this version: a backend of it would ignore them."""
    newer = fields_after(query.__class__, version)
    return [field.name for field in newer if getattr(query, field.name) != field.default]


def implemented_capabilities(adapter: StorageAdapter, version: Version) -> Capabilities:
    """What the adapter declares, without fields that came after its version and without the optional operations that
    its class does not implement."""
    closed = {field.name for field in fields_after(Capabilities, version)}
    for name, mark in optional_operations(StorageAdapter).items():
        if getattr(type(adapter), name) is vars(StorageAdapter)[name]:
            closed.add(mark.capability)
    defaults: dict[str, Any] = {name: Capabilities.__dataclass_fields__[name].default for name in closed}
    return replace(adapter.capabilities, **defaults)


def undeclared_operations(capabilities: Capabilities) -> frozenset[str]:
    """The optional operations that these capabilities do not declare."""
    marks = optional_operations(StorageAdapter)
    return frozenset(name for name, mark in marks.items() if not getattr(capabilities, mark.capability))
