"""Removing one message, or all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import grpc

from session_continuity_firestore.documents import names
from session_continuity_firestore.documents.gate import GATE_FIELDS, Gate
from session_continuity_firestore.documents.message_codec import Row, row_of
from session_continuity_firestore.documents.session_codec import system_message
from session_continuity_firestore.operations.context import Context
from session_continuity_firestore.operations.sessions import new_write_id
from session_continuity_firestore.requests.queries import Where, ordered
from session_continuity_firestore.requests.writes import change, delete
from session_continuity_firestore.wire.values import encode, encode_moment, moment_in

COUNTED_FIELDS = (names.ID, names.CREATED_AT, names.TOKEN_COUNT, names.ROLE)
"""The fields of a message that its removal needs."""

_BATCH = 5000
"""Messages that one Commit removes. Their names take far less than the 10 MiB of a request."""


async def delete_message(context: Context, session_id: str, message_id: str) -> bool:
    """Remove one message, and count it out of META in the same Commit."""
    key = context.names.session(session_id)
    return await context.turnstile.turn(key, partial(_delete_message, context, session_id, message_id))


async def _delete_message(context: Context, session_id: str, message_id: str) -> bool:
    name = context.names.message(session_id, message_id)
    meta, write_id = context.names.session(session_id), new_write_id()
    attempts = context.client.attempts()
    async for _ in attempts:
        with attempts.judging():
            gate, documents = await context.existing_with(session_id, [name], COUNTED_FIELDS)
        if gate.write_id == write_id:
            return True
        attempts.settle(gate.stamp)
        row = row_of(documents[name], session_id) if name in documents else None
        if row is None or row.place is None:
            return False
        after = counted_out(gate, [row])
        try:
            stamps = await context.client.commit(
                [delete(name, stamp=row.version), meta_after_removal(meta, gate, after, [row], write_id)]
            )
        except grpc.RpcError as error:
            context.gates.discard(meta)
            attempts.failed(error, gate.stamp)
            continue
        context.gates.set(meta, replace(after, stamp=stamps[-1]))
        return True
    raise attempts.gave_up()


def counted_out(gate: Gate, rows: Sequence[Row]) -> Gate:
    """The gate without these messages."""
    removed = {row.id for row in rows}
    last_id = None if gate.last_id is None or gate.last_id in removed else gate.last_id
    if gate.last_id is not None and gate.messages <= len(rows):
        last_id = ""
    return gate.reduced(len(rows), sum(row.tokens for row in rows), last_id)


def meta_after_removal(meta: str, gate: Gate, after: Gate, rows: Sequence[Row], write_id: str) -> Any:
    """The write of META for the removal of messages."""
    fields = {**after.fields(), names.WRITE_ID: encode(write_id)}
    gone = [system_message(row.place, row.id) for row in rows if row.role == "system" and row.place is not None]
    return change(meta, fields, stamp=gate.stamp, removed=gone, listed=names.SYSTEM_MESSAGES)


async def delete_all_messages(context: Context, session_id: str) -> int:
    """Remove the messages that are there when the call begins, and count them out of META in the same Commit."""
    key = context.names.session(session_id)
    return await context.turnstile.turn(key, partial(_delete_all_messages, context, session_id))


async def _delete_all_messages(context: Context, session_id: str) -> int:
    meta = context.names.session(session_id)
    write_id = new_write_id()
    removed = pending = 0
    through: Any = None
    attempts = context.client.attempts()
    async for _ in attempts:
        where = [] if through is None else [Where(names.CREATED_AT, "<=", encode_moment(through))]
        query = ordered(
            names.MESSAGES, names.CREATED_AT, limit=_BATCH, where=where, descending=True, fields=COUNTED_FIELDS
        )
        answers, document = await context.client.query_and_get(meta, query, meta, GATE_FIELDS)
        with attempts.judging():
            gate = context.existing(session_id, document)
        if pending and gate.write_id == write_id:  # the reply was lost, and the messages were removed
            return removed + pending
        attempts.settle(gate.stamp)
        if through is None and moment_in(gate.stamp) > moment_in(answers[0].read_time):
            continue  # META is newer than the list, which may lack messages
        rows = [row_of(answer.document, session_id) for answer in answers if answer.HasField("document")]
        if not rows:
            return removed
        after = counted_out(gate, rows)
        writes = [
            meta_after_removal(meta, gate, after, rows, write_id),
            *(delete(row.name, stamp=row.version) for row in rows),
        ]
        try:
            stamps = await context.client.commit(writes)
        except grpc.RpcError as error:
            context.gates.discard(meta)
            attempts.failed(error, gate.stamp)
            pending = len(rows)
            continue
        context.gates.set(meta, replace(after, stamp=stamps[0]))
        removed += len(rows)
        if len(rows) < _BATCH:
            return removed
        through = rows[-1].place
    raise attempts.gave_up()
