"""Storing a transcript: whole or not at all, and once however often it is fed."""

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
from session_continuity.cli.looks import excerpt, message_text
from session_continuity.cli.transcript import Transcript, TranscriptError

__all__ = ["AGENT", "Fed", "feed", "in_turns"]

AGENT = "assistant"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fed:
    """Where a transcript is stored; `found` of its messages were there before, `added` are new, in `turns` writes."""

    session_id: str
    found: int
    added: int
    turns: int


def in_turns(messages: Sequence[NewMessage], most: int | None) -> Iterator[Sequence[NewMessage]]:
    """The messages in as few turns as a store takes that holds `most` in one."""
    size = len(messages) if most is None else most
    for start in range(0, len(messages), max(size, 1)):
        yield messages[start : start + size]


def feed(manager: SessionManager, transcript: Transcript, *, max_turn: int | None) -> Fed:
    """Store what is not stored yet of a transcript. When a write fails, those before it are undone."""
    session_id, found = _home(manager, transcript)
    is_new = found is None and _created(manager, session_id, transcript)
    rest = transcript.messages[found or 0 :]
    turns = list(in_turns(rest, max_turn))
    sent: list[NewMessage] = []
    try:
        for turn in turns:
            sent.extend(turn)
            manager.add_messages(session_id, turn)
    except BaseException:
        _undo(manager, session_id, None if is_new else sent)
        raise
    return Fed(session_id=session_id, found=found or 0, added=len(rest), turns=len(turns))


def _home(manager: SessionManager, transcript: Transcript) -> tuple[str, int | None]:
    """The session that holds this conversation, or one that it continues, and how many of its messages are there;
    None where the session is still to be made.

    A session is named after its conversation's first message; where that name is taken by a conversation that begins
    alike, after the first message in which they differ.
    """
    ids = transcript.ids
    place = 0
    while place < len(ids):
        session_id = f"transcript-{ids[place].removeprefix('chat-')[:16]}"
        try:
            session = manager.get_session(session_id)
        except SessionNotFoundError:
            return session_id, None
        held = bisect_left(ids, True, key=lambda id: not _has(manager, session.id, id))
        if held in (len(ids), session.message_count):
            return session_id, held
        place = max(held, place + 1)
    raise TranscriptError("this conversation is stored already, but was changed since; delete its session first")


def _has(manager: SessionManager, session_id: str, message_id: str) -> bool:
    try:
        manager.get_message(session_id, message_id)
    except MessageNotFoundError:
        return False
    return True


def _created(manager: SessionManager, session_id: str, transcript: Transcript) -> bool:
    """Whether this call created the session, rather than another process that feeds the same."""
    said = next((message_text(message) for message in transcript.messages if message.role == "user"), "")
    metadata = {"title": excerpt(said, 60), "source": "transcript", "custom": transcript.request}
    try:
        manager.create_session(id=session_id, active_agent_id=AGENT, metadata=metadata)
    except SessionExistsError:
        return False
    return True


def _undo(manager: SessionManager, session_id: str, sent: Sequence[NewMessage] | None) -> None:
    """Remove what was sent, or the whole session where `sent` is None."""
    try:
        if sent is None:
            manager.delete_session(session_id)
            return
        for message in reversed(sent):
            if message.id is not None and _has(manager, session_id, message.id):
                manager.delete_message(session_id, message.id)
    except SessionNotFoundError:
        return
    except SessionContinuityError as error:
        raise TranscriptError(
            f"part of the transcript is stored and could not be removed ({error}); run the command again to store all"
        ) from error
