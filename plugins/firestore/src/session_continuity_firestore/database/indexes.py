"""The indexes that the store's queries need, and the fields that need none."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from session_continuity_firestore.documents import names
from session_continuity_firestore.requests.queries import Where, ordered
from session_continuity_firestore.wire.values import encode

Order = Literal["ASCENDING", "DESCENDING"]


@dataclass(frozen=True, slots=True)
class Index:
    """A composite index of a collection: a field that is compared, and a time in this order.

    `of_messages` is whether the collection is that of messages. `needed_by` is the call that needs the index.
    """

    field: str
    order: Order
    needed_by: str
    of_messages: bool = False
    is_array: bool = False
    value: Any = ""

    def collection(self, sessions: str) -> str:
        """The name of the collection."""
        return names.MESSAGES if self.of_messages else sessions

    def fields(self) -> list[dict[str, str]]:
        """The index's fields, as its definition states them."""
        kind = {"arrayConfig": "CONTAINS"} if self.is_array else {"order": "ASCENDING"}
        return [{"fieldPath": self.field, **kind}, {"fieldPath": names.CREATED_AT, "order": self.order}]

    def query(self, sessions: str) -> Any:
        """A query that needs this index."""
        where = Where(self.field, "array-contains" if self.is_array else "==", encode(self.value))
        return ordered(
            self.collection(sessions),
            names.CREATED_AT,
            limit=1,
            where=[where],
            descending=self.order == "DESCENDING",
            fields=[names.CREATED_AT],
        )


INDEXES: Final = (
    Index(names.USER_ID, "DESCENDING", "list_sessions by user_id, and in a view of an owner"),
    Index(names.AGENT_ID, "DESCENDING", "list_sessions by active_agent_id"),
    Index(names.STATUS, "DESCENDING", "list_sessions by status"),
    Index(names.TAGS, "DESCENDING", "list_sessions by tags", is_array=True),
    Index(names.FORK_OF, "ASCENDING", "list_forks"),
    Index(names.ROLE, "ASCENDING", "get_messages by roles", of_messages=True),
    Index(names.ROLE, "DESCENDING", "get_messages by roles, newest first", of_messages=True),
)
"""Conditions on several fields are met by several of these: Firestore merges indexes with the same last field."""


def _single(*orders: Order) -> list[dict[str, str]]:
    return [{"order": order, "queryScope": "COLLECTION"} for order in orders]


def overrides(sessions: str) -> list[dict[str, Any]]:
    """The exemptions: what is indexed of each single field.

    Firestore indexes every field otherwise. That costs storage and time, and an index on `lastActivityAt` would limit
    all appends of the database to about 500 a second.
    """
    fields: Sequence[tuple[str, str, list[dict[str, str]]]] = (
        (names.MESSAGES, "*", []),
        (names.MESSAGES, names.CREATED_AT, _single("ASCENDING", "DESCENDING")),
        (sessions, "*", []),
        (sessions, names.CREATED_AT, _single("DESCENDING")),
        (sessions, names.EXPIRES_AT, _single("ASCENDING")),
    )
    return [{"collectionGroup": group, "fieldPath": path, "indexes": indexes} for group, path, indexes in fields]


def definition(sessions: str) -> dict[str, Any]:
    """The content of `firestore.indexes.json`, for a store whose sessions are in this collection."""
    composite = [
        {"collectionGroup": index.collection(sessions), "queryScope": "COLLECTION", "fields": index.fields()}
        for index in INDEXES
    ]
    return {"indexes": composite, "fieldOverrides": overrides(sessions)}


def as_json(sessions: str) -> str:
    """The definition as a file for `firebase deploy --only firestore:indexes`."""
    return json.dumps(definition(sessions), indent=2) + "\n"
