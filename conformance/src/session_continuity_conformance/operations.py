"""The names of the contract's operations."""

from __future__ import annotations

from inspect import getmembers, iscoroutinefunction

from session_continuity import StorageAdapter

OPERATIONS = tuple(name for name, _ in getmembers(StorageAdapter, iscoroutinefunction))
"""Every public coroutine function of `StorageAdapter`, also those that a backend may leave out."""
