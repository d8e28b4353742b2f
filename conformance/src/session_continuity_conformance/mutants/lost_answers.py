"""Mutants that send a write again although another client has acted since."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Unpack

from session_continuity import Appended, AppendTerms, Clock, Message, Patch, Session, UnavailableError
from session_continuity_conformance.mutants.registry import breaks
from session_continuity_conformance.reference.model import Model
from session_continuity_conformance.reference.networked import NetworkedStorage


class _SendsAgain(NetworkedStorage):
    """What is done once if nobody acts in between is sent again when its reply is lost."""

    repeated: frozenset[str]

    def ask(self, operation: str, number: int) -> None:
        try:
            super().ask(operation, number)
        except UnavailableError:
            if operation not in self.repeated:
                raise
            super().ask(operation, number)


@breaks("SC-FLT-016")
class DeletesAgain(_SendsAgain):
    """A delete whose reply is lost is sent again, and deletes a session that another client created meanwhile."""

    repeated = frozenset({"delete_session"})


@breaks("SC-FLT-016")
class EditsAgain(_SendsAgain):
    """An edit whose reply is lost is sent again, over that of another client."""

    repeated = frozenset({"update_message"})


@breaks("SC-FLT-016")
class ClearsAgain(_SendsAgain):
    """A removal of all messages is sent again, and removes what another client appended meanwhile."""

    repeated = frozenset({"delete_all_messages"})


@breaks("SC-FLT-016")
class CreatesAgain(_SendsAgain):
    """A creation is sent again, and brings back a session that another client deleted."""

    repeated = frozenset({"create_session"})


@breaks("SC-FLT-016")
class RecognisesItsUpdateByItsFields(NetworkedStorage):
    """An update whose reply is lost is sent again unless the session has its values. After an update of another client
    it is a conflict, or overwrites that."""

    async def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        try:
            return await super().update_session(session_id, patch, expected_version=expected_version)
        except UnavailableError:
            found = await self.get_session(session_id)
            if found is not None and patch.apply(found) == found:
                return found
            return await super().update_session(session_id, patch, expected_version=expected_version)


@breaks("SC-FLT-016")
class RemembersWhatItStored(Model):
    """A repeated append is recognised by ids that were stored once, also when another client has removed them since."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.known: set[tuple[str, str]] = set()

    def append_messages(
        self,
        session_id: str,
        messages: Sequence[Message],
        *,
        client_ids: Collection[str] = (),
        **terms: Unpack[AppendTerms],
    ) -> Appended:
        names = {(session_id, name) for name in client_ids}
        if names and names <= self.known:
            return Appended(messages=tuple(messages), repeated=True)
        self.known |= names
        return super().append_messages(session_id, messages, client_ids=client_ids, **terms)
