"""Storing a conversation of another program: what is not stored yet, compared with the source after it was stored."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from session_continuity import (
    ImportedConversation,
    Message,
    MessageTooLargeError,
    NewMessage,
    Session,
    SessionManager,
    SessionMetadata,
    SessionNotFoundError,
    ValidationError,
)
from session_continuity.cli.transcript_import import split_batches

__all__ = ["StoredConversation", "compare_conversation", "store_conversation"]

Progress = Callable[[int, int], None]


@dataclass(slots=True, kw_only=True)
class StoredConversation:
    """The result: `found` messages were stored before, `added` are new. `problems` say what was left out and why.

    `different` counts what was stored before and is not as in the source now: it was changed here or there since, and
    stays as it is here.
    """

    found: int = 0
    added: int = 0
    different: int = 0
    problems: list[str] = field(default_factory=list[str])


def compare_conversation(manager: SessionManager | None, conversation: ImportedConversation) -> StoredConversation:
    """What `store_conversation` would do. Nothing is written. Without a manager, nothing is stored yet."""
    before = None if manager is None else _Before.read(manager, conversation.id)
    done, new = _new_messages(conversation, before)
    done.added = len(new)
    return done


def store_conversation(
    manager: SessionManager, conversation: ImportedConversation, *, max_batch: int | None, report: Progress
) -> StoredConversation:
    """Store the messages that are not stored yet, and compare what is stored then with the source.

    Each batch is stored whole or not at all. The session is created with the first. A session that was not imported is
    left alone. `report` is called with the number of messages that are stored, and with that of all.
    """
    before = _Before.read(manager, conversation.id)
    done, new = _new_messages(conversation, before)
    if conversation.fields is None:
        return done
    if before is None and not conversation.messages:
        manager.create_session(id=conversation.id, **conversation.fields)
    added: list[NewMessage] = []
    for batch in split_batches(new, max_batch):
        added += _store_batch(manager, conversation, batch, done)
        done.added = len(added)
        report(done.found + done.added, len(conversation.messages))
    if added:
        if before is not None and before.messages.keys() <= {message.id for message in conversation.messages}:
            _refresh(manager, conversation)
        done.problems += _differences(manager, conversation.id, added)
    return done


@dataclass(frozen=True, slots=True)
class _Before:
    """A session before the import, and the digests of its messages by their ids."""

    session: Session
    messages: Mapping[str, bytes]

    @classmethod
    def read(cls, manager: SessionManager, session_id: str) -> _Before | None:
        """What is stored; None if there is no such session."""
        try:
            session = manager.get_session(session_id)
            return cls(session, {message.id: _digest(message) for message in manager.iter_messages(session_id)})
        except SessionNotFoundError:
            return None

    def different(self, conversation: ImportedConversation) -> int:
        """How many of the messages that are stored differ, or 1 for a state without messages that differs."""
        if not conversation.messages and not self.messages:
            return int(_custom_after(self.session, conversation) != self.session.metadata.custom)
        digests = ((self.messages.get(str(each.id)), each) for each in conversation.messages)
        return sum(digest is not None and digest != _digest(message) for digest, message in digests)


def _custom_after(stored: Session, conversation: ImportedConversation) -> Mapping[str, Any]:
    """The custom metadata of a session with what the source has of it."""
    wanted = SessionMetadata.model_validate((conversation.fields or {}).get("metadata") or {})
    return {**stored.metadata.custom, **wanted.custom}


def _new_messages(
    conversation: ImportedConversation, before: _Before | None
) -> tuple[StoredConversation, list[NewMessage]]:
    """What is known before anything is stored, and the messages that are not stored yet."""
    done = StoredConversation(problems=list(conversation.unreadable))
    if before is None:
        return done, list(conversation.messages)
    new = [message for message in conversation.messages if message.id not in before.messages]
    done.found = len(conversation.messages) - len(new)
    done.different = before.different(conversation)
    if before.messages and new and not done.found:
        done.problems.append(
            "a session with this id holds another conversation, so nothing was stored; delete it, or import into "
            "another store or namespace"
        )
        return done, []
    return done, new


def _store_batch(
    manager: SessionManager, conversation: ImportedConversation, batch: Sequence[NewMessage], done: StoredConversation
) -> list[NewMessage]:
    """Store a batch and return it. If the store refuses a message of it, the others are stored one by one."""
    try:
        manager.add_messages(conversation.id, batch, create=conversation.fields, existing="skip")
    except (MessageTooLargeError, ValidationError) as error:
        if len(batch) == 1:
            done.problems.append(f"message {batch[0].id} is left out: {error.message}")
            return []
        return [stored for message in batch for stored in _store_batch(manager, conversation, [message], done)]
    return list(batch)


def _refresh(manager: SessionManager, conversation: ImportedConversation) -> None:
    """Store what the framework keeps in the session now, for a conversation that was not continued here."""
    stored = manager.get_session(conversation.id)
    custom = _custom_after(stored, conversation)
    if custom != stored.metadata.custom:
        metadata = stored.metadata.model_copy(update={"custom": custom})
        manager.update_session(conversation.id, metadata=metadata, expected_version=stored.version)


def _differences(manager: SessionManager, session_id: str, added: Sequence[NewMessage]) -> list[str]:
    """What is wrong with the messages that were added: the store does not have them, or others, or in another order."""
    expected = {str(message.id): _digest(message) for message in added}
    stored = {message.id: _digest(message) for message in manager.iter_messages(session_id) if message.id in expected}
    problems = [f"message {id} is not stored" for id in expected if id not in stored]
    problems += [f"message {id} was changed while it was stored" for id in stored if stored[id] != expected[id]]
    if not problems and list(stored) != list(expected):
        problems.append("the messages are stored in another order than the source has")
    return problems


def _digest(message: Message | NewMessage) -> bytes:
    said = message.model_dump(mode="json", include={"role", "content", "metadata"})
    return blake2b(json.dumps(said, sort_keys=True).encode(), digest_size=16).digest()
