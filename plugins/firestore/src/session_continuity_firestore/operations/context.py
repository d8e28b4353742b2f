"""`Context`: what the operations of one adapter share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from session_continuity import BoundedCache, SessionNotFoundError, Turnstile
from session_continuity_firestore.documents.gate import GATE_FIELDS, Gate, gate_of
from session_continuity_firestore.documents.names import Names
from session_continuity_firestore.requests.client import Connection


@dataclass(frozen=True)
class Context:
    """The client, the names of documents, the clock, and the user of a view.

    `gates` holds, by the name of META, what META was after the last read or write. A write on condition of an outdated
    one fails, and reads it again.
    """

    client: Connection
    names: Names
    clock: Callable[[], datetime]
    turnstile: Turnstile
    owner: str | None = None
    gates: BoundedCache[Gate] = field(default_factory=BoundedCache[Gate])

    def view(self, namespace: str | None, owner: str | None) -> Context:
        """The context of a view. It shares the client and what is known of sessions."""
        names = self.names if namespace is None else self.names.with_namespace(namespace)
        return replace(self, names=names, owner=self.owner if owner is None else owner)

    def exists(self, gate: Gate | None) -> bool:
        """Whether this is the gate of a session that is there for the user of this view."""
        return gate is not None and gate.exists(self.clock(), self.owner)

    def existing(self, session_id: str, document: Any) -> Gate:
        """The gate of META as it was just read. Raises SessionNotFoundError."""
        gate = self.note(session_id, document)
        if gate is None or not self.exists(gate):
            raise SessionNotFoundError(session_id)
        return gate

    def note(self, session_id: str, document: Any) -> Gate | None:
        """Remember META as it was just read with all of its gate. None for none."""
        name = self.names.session(session_id)
        gate = None if document is None else gate_of(document)
        if gate is None or not gate.is_whole:
            self.gates.discard(name)
        else:
            self.gates.set(name, gate)
        return gate

    async def read_gate(self, session_id: str) -> Gate | None:
        """The gate of a session, read now."""
        return self.note(session_id, await self.client.get(self.names.session(session_id), GATE_FIELDS))

    async def existing_with(
        self, session_id: str, document_names: Sequence[str], fields: Sequence[str] | None = None
    ) -> tuple[Gate, dict[str, Any]]:
        """The gate of a session and other documents by name, in one request. Raises SessionNotFoundError."""
        name = self.names.session(session_id)
        mask = None if fields is None else [*dict.fromkeys([*GATE_FIELDS, *fields])]
        documents = await self.client.get_all([name, *document_names], mask)
        return self.existing(session_id, documents.get(name)), documents
