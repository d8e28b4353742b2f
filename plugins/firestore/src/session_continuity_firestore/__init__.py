"""session-continuity on Google Firestore: `firestore://PROJECT`, or `FirestoreStorage(client=…)`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from session_continuity_firestore._version import __version__

if TYPE_CHECKING:
    from session_continuity_firestore.adapter import FirestoreStorage

__all__ = ["FirestoreStorage", "__version__"]


def __getattr__(name: str) -> Any:
    """Import `FirestoreStorage` when it is first used: core imports this package without Google's libraries."""
    if name != "FirestoreStorage":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from session_continuity_firestore.adapter import FirestoreStorage

    return FirestoreStorage
