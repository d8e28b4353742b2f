"""The plugin object that core finds through the entry point. Imports none of Google's libraries."""

from __future__ import annotations

from session_continuity import Capabilities, Mode, StorageAdapter
from session_continuity_firestore.config import CAPABILITIES, FirestoreOptions


class FirestorePlugin:
    """The plugin of `firestore://` URLs."""

    scheme = "firestore"
    api_version = (1, 0)
    modes: frozenset[Mode] = frozenset({"async", "blocking"})
    options = FirestoreOptions
    cost_meter = "session_continuity_firestore.cost_meter:cost_meter"
    damager = "session_continuity_firestore.damager:damage"

    def capabilities(self, options: FirestoreOptions) -> Capabilities:
        """What a store can do. No option changes it."""
        del options
        return CAPABILITIES

    def create(self, options: FirestoreOptions, mode: Mode) -> StorageAdapter:
        """The adapter with these options."""
        from session_continuity_firestore.adapter import FirestoreStorage

        return FirestoreStorage.from_options(options, mode=mode)


plugin = FirestorePlugin()
