"""Sessions: creating, reading and updating."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import grpc

from session_continuity import (
    ConcurrencyError,
    Patch,
    Session,
    SessionExistsError,
    is_repeated_create,
)
from session_continuity_firestore.documents import names
from session_continuity_firestore.documents.gate import GATE_FIELDS, Gate, new_gate
from session_continuity_firestore.documents.message_codec import Fields
from session_continuity_firestore.documents.session_codec import (
    SESSION_FIELDS,
    changed_fields,
    session_fields,
    session_of,
)
from session_continuity_firestore.operations.context import Context
from session_continuity_firestore.operations.session_removal import remove_remains
from session_continuity_firestore.requests.writes import change, create
from session_continuity_firestore.wire.values import encode

READ = tuple(dict.fromkeys([*SESSION_FIELDS, *GATE_FIELDS]))
"""The fields of META that are read for a session."""


def new_write_id() -> str:
    """A random text that identifies one call."""
    return secrets.token_hex(8)


def new_session_fields(session: Session, gate: Gate, write_id: str) -> Fields:
    """META of a new session with this gate."""
    return {
        **session_fields(session),
        **gate.fields(),
        names.VERSION: encode(session.version),
        names.WRITE_ID: encode(write_id),
    }


def without_totals(session: Session) -> Session:
    """A session that is about to be created, without the totals that a caller may have given it."""
    return session.model_copy(update={"message_count": 0, "token_count": 0, "system_message_ids": []})


async def create_session(context: Context, session: Session) -> Session:
    """Create META, if there is none."""
    key = context.names.session(session.id)
    return await context.turnstile.turn(key, partial(_create_session, context, session))


async def _create_session(context: Context, session: Session) -> Session:
    name, write_id, gate = context.names.session(session.id), new_write_id(), new_gate(session)
    write = create(name, new_session_fields(session, gate, write_id))
    attempts = context.client.attempts()
    async for _ in attempts:
        try:
            (stamp,) = await context.client.commit([write])
        except grpc.RpcError as error:
            attempts.failed(error)
        else:
            context.gates.set(name, replace(gate, stamp=stamp, write_id=write_id))
            return without_totals(session)
        document = await context.client.get(name, READ)
        found = context.note(session.id, document)
        if found is None or not found.is_taken(context.clock()):
            attempts.settle(None)
        if found is None:
            continue
        if not found.is_taken(context.clock()):
            await remove_remains(context, session.id)
            continue
        with attempts.judging():
            return repeated(context, document, found, session, write_id)
    raise attempts.gave_up()


def repeated(context: Context, document: Any, found: Gate, session: Session, write_id: str) -> Session:
    """The session that exists, if this create stored it. Raises SessionExistsError otherwise."""
    if context.exists(found):
        if found.write_id == write_id:
            return session_of(document)
        if found.creation_token is not None and found.creation_token == session.creation_token:
            existing = session_of(document)
            if is_repeated_create(existing, session):
                return existing
    raise SessionExistsError(session.id)


async def get_session(context: Context, session_id: str) -> Session | None:
    """The session, None if it is not there."""
    document = await context.client.get(context.names.session(session_id), READ)
    gate = context.note(session_id, document)
    return session_of(document) if context.exists(gate) else None


async def update_session(context: Context, session_id: str, patch: Patch, expected_version: int | None) -> Session:
    """Read the session, and write what the patch changes if nobody has changed it since."""
    key = context.names.session(session_id)
    return await context.turnstile.turn(key, partial(_update_session, context, session_id, patch, expected_version))


async def _update_session(context: Context, session_id: str, patch: Patch, expected_version: int | None) -> Session:
    name, write_id = context.names.session(session_id), new_write_id()
    attempts = context.client.attempts()
    async for _ in attempts:
        document = await context.client.get(name, READ)
        with attempts.judging():
            gate = context.existing(session_id, document)
        if gate.write_id == write_id:
            return session_of(document)
        attempts.settle(gate.stamp)
        session = session_of(document)
        if expected_version is not None and session.version != expected_version:
            raise ConcurrencyError(session_id, expected=expected_version, actual=session.version, current=session)
        changed = patched(session, patch)
        write = change(name, update_fields(changed, patch, write_id), stamp=gate.stamp)
        try:
            (stamp,) = await context.client.commit([write])
        except grpc.RpcError as error:
            context.gates.discard(name)
            attempts.failed(error, gate.stamp)
        else:
            context.gates.set(name, updated_gate(gate, changed, stamp, write_id))
            return changed
    raise attempts.gave_up()


def patched(session: Session, patch: Patch) -> Session:
    """The session after a patch. It shares no state with the patch."""
    changed = patch.apply(session).model_copy(update={"version": session.version + 1})
    return Session.model_validate_json(changed.model_dump_json())


def update_fields(changed: Session, patch: Patch, write_id: str) -> Mapping[str, Any]:
    """The fields of META that a patch writes."""
    return {
        **changed_fields(changed, sorted(patch.fields)),
        names.VERSION: encode(changed.version),
        names.WRITE_ID: encode(write_id),
    }


def updated_gate(gate: Gate, changed: Session, stamp: Any, write_id: str) -> Gate:
    """The gate after an update."""
    new = new_gate(changed)
    return replace(
        gate,
        stamp=stamp,
        user_id=new.user_id,
        status=new.status,
        version=new.version,
        hard_limit=new.hard_limit,
        expires=new.expires,
        slides=new.slides,
        write_id=write_id,
    )
