"""The last message of a session, where META does not name it."""

from __future__ import annotations

from session_continuity_firestore.documents import names
from session_continuity_firestore.operations.context import Context
from session_continuity_firestore.requests.queries import ordered


async def last_message_id(context: Context, session_id: str) -> str:
    """The id of the last message, empty if there is none.

    META must have been read before: a write on condition of it then fails if the last message has changed since.
    """
    query = ordered(names.MESSAGES, names.CREATED_AT, limit=1, descending=True, fields=[names.ID])
    answers = await context.client.query(context.names.session(session_id), query)
    for answer in answers:
        if answer.HasField("document"):
            return names.unescape(names.last_part(answer.document.name))
    return ""
