"""Mutants that raise the wrong errors, or show private data in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from session_continuity import (
    Appended,
    HealthStatus,
    Message,
    MessageNotFoundError,
    MessageQuery,
    Page,
    Patch,
    Session,
    SessionClosedError,
    SessionNotFoundError,
    StorageError,
    UnreadableError,
    ValidationError,
)
from session_continuity_conformance.mutants.registry import breaks
from session_continuity_conformance.reference.storage import ReferenceStorage, S


@breaks("SC-ERR-001", "U30")
class BuriesNotFound(ReferenceStorage):
    """A missing session is reported as an error of another project."""

    async def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        try:
            return await super().get_messages(session_id, query, cursor=cursor)
        except SessionNotFoundError as error:
            raise RuntimeError("Failed to get messages") from error


@breaks("SC-ERR-001", "U30", "U42")
class RefusalIsAStorageError(ReferenceStorage):
    """A closed session is reported as a failure of the store."""

    async def append_messages(self, session_id: str, messages: Sequence[Message], **options: Any) -> Appended:
        try:
            return await super().append_messages(session_id, messages, **options)
        except SessionClosedError as error:
            raise StorageError("failed to append", backend=self.backend, operation="append_messages") from error


@breaks("SC-ERR-002", "U30")
class WrapsItsOwnErrors(ReferenceStorage):
    """An error of the project has the same error as its cause."""

    async def update_message(self, session_id: str, message_id: str, patch: Patch) -> Message:
        try:
            return await super().update_message(session_id, message_id, patch)
        except MessageNotFoundError as error:
            raise MessageNotFoundError(session_id, message_id) from error


@breaks("SC-SEC-001")
class QuotesContentInErrors(ReferenceStorage):
    """The error for a taken id quotes the message."""

    async def append_messages(self, session_id: str, messages: Sequence[Message], **options: Any) -> Appended:
        try:
            return await super().append_messages(session_id, messages, **options)
        except ValidationError as error:
            raise ValidationError(f"{error}: {messages[0].content}") from None


@breaks("SC-SEC-002")
class ShowsItsPassword(ReferenceStorage):
    """health shows the password of the connection."""

    async def health(self) -> HealthStatus:
        self.work("health", lambda _: None)
        return HealthStatus(status="healthy", details={"url": "reference://user:reference-password@host"})


@breaks("SC-ERR-003")
class FailsWholePagesForOneRow(ReferenceStorage):
    """A page fails when one of its rows cannot be read."""

    def readable(self, page: Page[S]) -> Page[S]:
        for item in page:
            self.check_readable(item.id)
        return page


@breaks("SC-ERR-004")
class QuotesWhatItCannotRead(ReferenceStorage):
    """The error for a session that cannot be read has the parser's error as its cause."""

    async def get_session(self, session_id: str) -> Session | None:
        try:
            return await super().get_session(session_id)
        except UnreadableError as error:
            found = self.work("get_session", lambda model: model.get_session(session_id))
            raise error from ValueError(f"not JSON: {found!r}")
