"""Mutants that mix up sessions or namespaces."""

from __future__ import annotations

from typing import Any

from session_continuity import (
    Fork,
    Message,
    Page,
    Patch,
    StorageAdapter,
    ValidationError,
)
from session_continuity_conformance.mutants.registry import breaks
from session_continuity_conformance.reference.model import Model, SessionRecord
from session_continuity_conformance.reference.storage import ReferenceStorage, World


@breaks("SC-ISO-001")
class MessagesAreGlobal(Model):
    """get_message finds messages of every session."""

    def get_message(self, session_id: str, message_id: str) -> Message | None:
        self.require(session_id)
        found = (record.find(message_id) for record in self.records.values())
        return next((message for message in found if message is not None), None)


@breaks("SC-ISO-002", "U39")
class EditsAcrossSessions(Model):
    """update_message and delete_message find messages of every session."""

    def home(self, message_id: str, session_id: str) -> str:
        self.require(session_id)
        homes = [record.head.id for record in self.records.values() if record.find(message_id) is not None]
        return session_id if session_id in homes or not homes else homes[0]

    def update_message(self, session_id: str, message_id: str, patch: Patch) -> Message:
        return super().update_message(self.home(message_id, session_id), message_id, patch)

    def delete_message(self, session_id: str, message_id: str) -> bool:
        return super().delete_message(self.home(message_id, session_id), message_id)


@breaks("SC-ISO-003")
class MessageIdsAreGlobal(Model):
    """A message id from a caller can be used in one session only."""

    def append_messages(self, session_id: str, messages: Any, **options: Any) -> Any:
        for record in self.records.values():
            if record.head.id != session_id and any(record.find(message.id) is not None for message in messages):
                raise ValidationError("message id is taken")
        return super().append_messages(session_id, messages, **options)


@breaks("SC-ISO-004")
class NamespacesShareExpiry(ReferenceStorage):
    """get_expired_sessions finds sessions of every namespace."""

    async def get_expired_sessions(self, before: Any, *, limit: int, cursor: str | None = None) -> Page[str]:
        page = await super().get_expired_sessions(before, limit=limit, cursor=cursor)
        with self.world.lock:
            others = [
                name
                for namespace, model in self.world.models.items()
                if namespace != self.namespace
                for name, record in model.records.items()
                if model.is_expired(record, before)
            ]
        return Page((*page.items, *others), page.next_cursor)


@breaks("SC-ISO-004")
class NamespaceIsIgnored(ReferenceStorage):
    """Every namespace is the same."""

    def __init__(self, world: World, namespace: str, mode: Any) -> None:
        del namespace
        super().__init__(world, "", mode)


@breaks("SC-ISO-006")
class NamespaceIsCut(ReferenceStorage):
    """A namespace ends at its first colon."""

    def __init__(self, world: World, namespace: str, mode: Any) -> None:
        super().__init__(world, namespace.partition(":")[0], mode)


@breaks("SC-ISO-005")
class DeletesByPrefix(Model):
    """delete_session removes every session whose id begins with this one."""

    def delete_session(self, session_id: str, *, expired_before: Any = None, **terms: Any) -> bool:
        deleted = super().delete_session(session_id, expired_before=expired_before, **terms)
        if deleted:
            for other in [name for name in self.records if name.startswith(session_id)]:
                self.records[other].messages.clear()
        return deleted


@breaks("SC-ISO-005")
class DeletesMessagesByPattern(Model):
    """delete_message treats * as a pattern."""

    def delete_message(self, session_id: str, message_id: str) -> bool:
        if message_id == "*":
            return self.delete_all_messages(session_id) > 0
        return super().delete_message(session_id, message_id)


@breaks("SC-ISO-007")
class ViewOfAnOwnerDeletesAll(Model):
    """In a view of an owner, delete_session removes the sessions of other users."""

    def is_own(self, record: SessionRecord) -> bool:
        return super().is_own(record) or self.is_deleting

    is_deleting = False

    def delete_session(self, session_id: str, **options: Any) -> bool:
        self.is_deleting = True
        try:
            return super().delete_session(session_id, **options)
        finally:
            self.is_deleting = False


@breaks("SC-ISO-007")
class ViewOfAnOwnerListsAllForks(Model):
    """In a view of an owner, list_forks returns the forks of other users."""

    def list_forks(self, source_id: str, **options: Any) -> Page[Fork]:
        self.require(source_id)
        owner, self.owner = self.owner, None
        try:
            return super().list_forks(source_id, **options)
        finally:
            self.owner = owner


@breaks("SC-ISO-008")
class ViewKeepsTheNamespace(ReferenceStorage):
    """A view of a namespace has the namespace of its adapter."""

    def view(self, *, namespace: str | None = None, owner: str | None = None) -> StorageAdapter:
        del namespace
        return super().view(owner=owner)


@breaks("SC-ISO-008")
class ClosingAViewClosesTheStore(ReferenceStorage):
    """Closing a view closes the adapter that it comes from."""

    def view(self, *, namespace: str | None = None, owner: str | None = None) -> StorageAdapter:
        view = super().view(namespace=namespace, owner=owner)
        vars(view)["parent"] = self
        return view

    async def close(self) -> None:
        await super().close()
        if "parent" in vars(self):
            vars(self)["parent"].closed = True
