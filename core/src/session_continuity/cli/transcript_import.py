"""Storing a transcript: whole or not at all, and only once however often it is imported."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from session_continuity import (
    MessageNotFoundError,
    NewMessage,
    SessionContinuityError,
    SessionExistsError,
    SessionManager,
    SessionNotFoundError,
)
from session_continuity.cli.formatting import excerpt, message_text
from session_continuity.cli.transcript import Transcript, TranscriptError

__all__ = ["AGENT", "Import", "import_transcript", "split_batches"]

AGENT = "assistant"


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """The result of an import: `found` messages were stored before, `added` are new, in `batches` writes."""

    session_id: str
    found: int
    added: int
    batches: int


def split_batches(messages: Sequence[NewMessage], max_batch: int | None) -> Iterator[Sequence[NewMessage]]:
    """The messages in batches of at most `max_batch`, or in one for None."""
    size = len(messages) if max_batch is None else max_batch
    for start in range(0, len(messages), max(size, 1)):
        yield messages[start : start + size]


def import_transcript(manager: SessionManager, transcript: Transcript, *, max_batch: int | None) -> Import:
    """Store the messages of a transcript that are not stored yet. If a write fails, the writes before it are undone."""
    session_id, found = _find_session(manager, transcript)
    is_new = found is None and _create_session(manager, session_id, transcript)
    rest = transcript.messages[found or 0 :]
    batches = list(split_batches(rest, max_batch))
    sent: list[NewMessage] = []
    try:
        for batch in batches:
            sent.extend(batch)
            manager.add_messages(session_id, batch)
    except BaseException:
        _undo(manager, session_id, None if is_new else sent)
        raise
    return Import(session_id=session_id, found=found or 0, added=len(rest), batches=len(batches))


def _find_session(manager: SessionManager, transcript: Transcript) -> tuple[str, int | None]:
    """The id of the session for this conversation, and how many of the messages it has; None if it does not exist.

    The session may hold the whole conversation or its beginning. Its id comes from the first message. If another
    conversation with the same beginning has that id, it comes from the first message in which the two differ.
    """
    ids = transcript.ids
    place = 0
    while place < len(ids):
        session_id = f"transcript-{ids[place].removeprefix('chat-')[:16]}"
        try:
            session = manager.get_session(session_id)
        except SessionNotFoundError:
            return session_id, None
        found = bisect_left(ids, True, key=lambda id: not _has_message(manager, session.id, id))
        if found in (len(ids), session.message_count):
            return session_id, found
        place = max(found, place + 1)
    raise TranscriptError("this conversation was stored and has changed since; delete its session first")


def _has_message(manager: SessionManager, session_id: str, message_id: str) -> bool:
    try:
        manager.get_message(session_id, message_id)
    except MessageNotFoundError:
        return False
    return True


def _create_session(manager: SessionManager, session_id: str, transcript: Transcript) -> bool:
    """Create the session. Returns False if another process that imports the same transcript was faster."""
    question = next((message_text(message) for message in transcript.messages if message.role == "user"), "")
    metadata = {"title": excerpt(question, 60), "source": "transcript", "custom": transcript.request}
    try:
        manager.create_session(id=session_id, active_agent_id=AGENT, metadata=metadata)
    except SessionExistsError:
        return False
    return True


def _undo(manager: SessionManager, session_id: str, sent: Sequence[NewMessage] | None) -> None:
    """Remove the sent messages, or the whole session if `sent` is None."""
    try:
        if sent is None:
            manager.delete_session(session_id)
            return
        for message in reversed(sent):
            if message.id is not None and _has_message(manager, session_id, message.id):
                manager.delete_message(session_id, message.id)
    except SessionNotFoundError:
        return
    except SessionContinuityError as error:
        raise TranscriptError(
            f"a part of the transcript was stored and could not be removed ({error}); "
            "run the command again to store the rest"
        ) from error
