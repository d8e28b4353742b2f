"""Editing one message."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import grpc

from session_continuity import Message, MessageNotFoundError, Patch
from session_continuity_firestore.documents import names
from session_continuity_firestore.documents.gate import Gate
from session_continuity_firestore.documents.message_codec import Row, document_of, edited_fields, message_fields, row_of
from session_continuity_firestore.documents.session_codec import system_message
from session_continuity_firestore.operations.appending import check_size
from session_continuity_firestore.operations.context import Context
from session_continuity_firestore.operations.sessions import new_write_id
from session_continuity_firestore.requests.writes import change
from session_continuity_firestore.wire.values import encode


async def update_message(context: Context, session_id: str, message_id: str, patch: Patch) -> Message:
    """Read the message, and write what the patch changes if nobody has changed it since.

    META is written only if tokens or role change.
    """
    key = context.names.session(session_id)
    return await context.turnstile.turn(key, partial(_update_message, context, session_id, message_id, patch))


async def _update_message(context: Context, session_id: str, message_id: str, patch: Patch) -> Message:
    name, write_id = context.names.message(session_id, message_id), new_write_id()
    attempts = context.client.attempts()
    async for _ in attempts:
        with attempts.judging():
            gate, documents = await context.existing_with(session_id, [name])
            row = row_of(documents[name], session_id) if name in documents else None
            if row is None or row.place is None:
                raise MessageNotFoundError(session_id, message_id)
        if row.write_id == write_id:
            return row.readable(session_id)
        attempts.settle(row.version)
        changed = _patched(row.readable(session_id), patch)
        check_size(document_of(name, message_fields(changed, row.place)))
        fields = {**edited_fields(changed, patch.fields), names.WRITE_ID: encode(write_id)}
        meta, after = _meta(context, session_id, gate, row, changed)
        try:
            stamps = await context.client.commit([change(name, fields, stamp=row.version), *meta])
        except grpc.RpcError as error:
            context.gates.discard(context.names.session(session_id))
            attempts.failed(error, row.version)
            continue
        if meta:
            context.gates.set(context.names.session(session_id), replace(after, stamp=stamps[-1]))
        return changed
    raise attempts.gave_up()


def _patched(message: Message, patch: Patch) -> Message:
    """The message after a patch. It shares no state with the patch."""
    return Message.model_validate_json(patch.apply(message).model_dump_json())


def _meta(context: Context, session_id: str, gate: Gate, row: Row, changed: Message) -> tuple[list[Any], Gate]:
    """The write of META that an edit needs, and the gate after it."""
    assert row.place is not None
    was_system, is_system = row.role == "system", changed.role == "system"
    more = (changed.token_count or 0) - row.tokens
    after = replace(gate, tokens=gate.tokens + more)
    if not more and was_system == is_system:
        return [], after
    entry = [system_message(row.place, row.id)]
    write = change(
        context.names.session(session_id),
        {names.TOKEN_COUNT: encode(max(0, after.tokens))},
        stamp=gate.stamp,
        added=entry if is_system and not was_system else (),
        removed=entry if was_system and not is_system else (),
        listed=names.SYSTEM_MESSAGES,
    )
    return [write], after
