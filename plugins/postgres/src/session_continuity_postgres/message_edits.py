"""The edit and the removal of messages."""

from __future__ import annotations

from session_continuity import (
    Message,
    MessageNotFoundError,
    Patch,
    SessionNotFoundError,
    UnavailableError,
    backoff,
    sleeper,
)
from session_continuity_postgres import codec
from session_continuity_postgres.codec import key
from session_continuity_postgres.database import DEADLINE, Database
from session_continuity_postgres.message_pages import read_one


async def update(database: Database, session_id: str, message_id: str, patch: Patch) -> Message:
    """Change a message: read it, then write it if nobody else has edited it meanwhile.

    Raises SessionNotFoundError and MessageNotFoundError.
    """
    async for _ in backoff(sleeper(database.connections.mode), deadline=DEADLINE):
        found = await read_one(database, session_id, message_id)
        if found is None:
            raise MessageNotFoundError(session_id, message_id)
        revision, row = found
        (current,) = codec.read_messages(session_id, [row])
        changed = patch.apply(current)
        outcome, _ = await database.call("edit_1", session_id, key(message_id), revision, codec.message_json(changed))
        if outcome == "missing":
            raise SessionNotFoundError(session_id)
        if outcome == "no_message":
            raise MessageNotFoundError(session_id, message_id)
        if outcome == "edited":
            return Message.model_validate_json(changed.model_dump_json())
    raise UnavailableError("others edited the message for too long; repeat the call")


async def remove(database: Database, session_id: str, message_id: str | None) -> int:
    """Delete a message, for None all of them, and return how many there were. Raises SessionNotFoundError."""
    outcome, detail = await database.call("remove_1", session_id, codec.optional_key(message_id))
    if outcome == "missing":
        raise SessionNotFoundError(session_id)
    return int(detail)
