"""Forks: copies of sessions, and the list of the forks of one.

A fork of up to 500 messages is one Commit. A longer one is copied in parts: META is first written with a mark, so that
nobody sees it, and as a whole with the last part. Each Commit fails unless META is as the one before has left it, so a
create that removes an unfinished fork cannot be mixed with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any

import grpc

from session_continuity import Fork, MessageNotFoundError, Page, Session, decode_cursor, encode_cursor
from session_continuity_firestore.documents import names
from session_continuity_firestore.documents.gate import GATE_FIELDS, Gate, gate_of, new_gate
from session_continuity_firestore.documents.message_codec import Fields, copied_fields, place_of, row_of, tokens_of
from session_continuity_firestore.documents.session_codec import readable_session, system_message
from session_continuity_firestore.operations.context import Context
from session_continuity_firestore.operations.listing import id_of
from session_continuity_firestore.operations.reading import read_with_messages
from session_continuity_firestore.operations.session_removal import remove_remains
from session_continuity_firestore.operations.sessions import READ, new_session_fields, new_write_id, repeated
from session_continuity_firestore.requests.queries import Position, Where, ordered
from session_continuity_firestore.requests.writes import change, create
from session_continuity_firestore.wire.values import Moment, encode, encode_moment, moment_of, time_of

_BATCH = 500
"""Messages that one Commit copies."""

_BATCH_BYTES = 3_000_000
"""Bytes that one Commit copies: the emulator takes 4 MiB, the service 10."""

_KEPT = timedelta(days=1)
"""After that, a fork that was not completed is found among the expired sessions."""


@dataclass(slots=True)
class _Copies:
    """The copies of a source's messages."""

    documents: list[Any]
    tokens: int
    place: Moment | None
    last_id: str
    system: list[str]


async def fork_session(context: Context, source_id: str, session: Session, through_id: str | None) -> Session:
    """Create the session with copies of the source's messages."""
    key = context.names.session(session.id)
    return await context.turnstile.turn(key, partial(_fork_session, context, source_id, session, through_id))


async def _fork_session(context: Context, source_id: str, session: Session, through_id: str | None) -> Session:
    name, write_id = context.names.session(session.id), new_write_id()
    attempts = context.client.attempts()
    async for _ in attempts:
        with attempts.judging():
            document, through = await _read(context, source_id, session.id, through_id)
            found = context.note(session.id, document)
            if found is not None and found.is_taken(context.clock()):
                return repeated(context, document, found, session, write_id)
        if found is None or found.forking != write_id:
            attempts.settle(None)
        try:
            if found is not None:
                await remove_remains(context, session.id)
            source, copies = await _copies(context, source_id, session.id, through)
            gate, fields = _meta(session, source_id, source, copies, write_id)
            stamp = await _write(context, session.id, fields, copies.documents, write_id)
        except grpc.RpcError as error:
            context.gates.discard(name)
            attempts.failed(error)
            continue
        context.gates.set(name, replace(gate, stamp=stamp, write_id=write_id))
        return _result(session, gate, copies)
    raise attempts.gave_up()


def _result(session: Session, gate: Gate, copies: _Copies) -> Session:
    totals: dict[str, Any] = {
        "message_count": gate.messages,
        "token_count": gate.tokens,
        "system_message_ids": [entry.partition(" ")[2] for entry in copies.system],
    }
    if copies.place is not None:
        totals["last_activity_at"] = time_of(gate.last_activity)
    return session.model_copy(update=totals)


async def _read(context: Context, source_id: str, new_id: str, through_id: str | None) -> tuple[Any, Position | None]:
    """The new session's META, and the position of the last message to copy, None for all."""
    meta = context.names.session(new_id)
    through = None if through_id is None else context.names.message(source_id, through_id)
    wanted = [meta] if through is None else [meta, through]
    _, documents = await context.existing_with(source_id, wanted, READ)
    if through is None or through_id is None:
        return documents.get(meta), None
    place = place_of(documents[through]) if through in documents else None
    if place is None:
        raise MessageNotFoundError(source_id, through_id)
    return documents.get(meta), Position(place, through)


async def _copies(context: Context, source_id: str, new_id: str, through: Position | None) -> tuple[Gate, _Copies]:
    """The source's gate, and copies of its messages through a position."""
    where = [] if through is None else [Where(names.CREATED_AT, "<=", encode_moment(through.moment))]
    query = ordered(names.MESSAGES, names.CREATED_AT, limit=None, where=where)
    copies = _Copies([], 0, None, "", [])
    # One moment of the source: its META says that it was there, and that nothing has changed, when the list was read.
    answers, source = await read_with_messages(context, source_id, query, GATE_FIELDS, agree=True)
    for answer in answers:
        if not answer.HasField("document"):
            continue
        document = answer.document
        place = place_of(document)
        if place is None or (through is not None and (place, document.name) > (through.moment, through.name)):
            continue
        row = row_of(document, new_id)
        target = context.names.message_named(new_id, names.last_part(document.name))
        copies.documents.append(create(target, copied_fields(document, new_id), over=False))
        copies.tokens += tokens_of(document)
        copies.place, copies.last_id = place, row.id
        if row.role == "system":
            copies.system.append(system_message(place, row.id))
    return gate_of(source), copies


def _meta(session: Session, source_id: str, source: Gate, copies: _Copies, write_id: str) -> tuple[Gate, Fields]:
    """The gate and META of a fork."""
    gate = replace(new_gate(session), messages=len(copies.documents), tokens=copies.tokens, last_id=copies.last_id)
    if copies.place is not None:
        whole = Moment(copies.place // 1000 * 1000)
        gate = replace(gate, place=copies.place, last_activity=max(gate.last_activity, whole))
    fields = new_session_fields(session, gate, write_id)
    fields[names.FORK_OF] = encode(_origin(source_id, source))
    if copies.system:
        fields[names.SYSTEM_MESSAGES] = encode(copies.system)
    return gate, fields


def _origin(source_id: str, source: Gate) -> str:
    return f"{source_id}@{source.born}"


async def _write(context: Context, session_id: str, fields: Fields, copies: Sequence[Any], write_id: str) -> Any:
    """Write META and the copies, and return META's `updateTime`."""
    name, parts = context.names.session(session_id), _parts(copies)
    if len(parts) == 1:
        stamps = await context.client.commit([create(name, fields), *parts[0]])
        return stamps[0]
    due = moment_of(context.clock() + _KEPT)
    mark = {
        names.DELETING_AT: encode(context.clock()),
        names.FORKING: encode(write_id),
        names.EXPIRES_AT: encode_moment(due),
    }
    user = {names.USER_ID: fields[names.USER_ID]} if names.USER_ID in fields else {}
    (stamp, *_) = await context.client.commit([create(name, {**mark, **user})])
    for number, part in enumerate(parts[:-1]):
        again = change(name, {names.PLACE: encode(number)}, stamp=stamp)
        (stamp, *_) = await context.client.commit([again, *part])
    whole = {**dict.fromkeys(mark), **fields}
    (stamp, *_) = await context.client.commit([change(name, whole, stamp=stamp), *parts[-1]])
    return stamp


def _parts(writes: Sequence[Any]) -> list[list[Any]]:
    """The writes in parts, each for one Commit. At least one part."""
    parts: list[list[Any]] = [[]]
    size = 0
    for write in writes:
        more = write.ByteSize()
        if parts[-1] and (len(parts[-1]) == _BATCH or size + more > _BATCH_BYTES):
            parts.append([])
            size = 0
        parts[-1].append(write)
        size += more
    return parts


async def list_forks(context: Context, source_id: str, limit: int, cursor: str | None) -> Page[Fork]:
    """One page of the forks of a session, the oldest first."""
    bound_to = f"{context.owner!r} forks {source_id}"
    after: Position | None = None
    if cursor is not None:
        moment, name = decode_cursor(cursor, bound_to=bound_to, form=tuple[int, str])
        after = Position(Moment(moment), name)
    gate = context.existing(source_id, await context.client.get(context.names.session(source_id), GATE_FIELDS))
    where = [Where(names.FORK_OF, "==", encode(_origin(source_id, gate)))]
    query = ordered(context.names.collection, names.CREATED_AT, limit=limit, where=where, after=after)
    answers = await context.client.query(context.names.parent, query)
    documents = [answer.document for answer in answers if answer.HasField("document")]
    sessions = [(document, readable_session(document)) for document in documents]
    forks = tuple(
        Fork(
            session_id=session.id,
            message_id=None if session.forked_from is None else session.forked_from.message_id,
            created_at=session.created_at,
        )
        for _, session in sessions
        if session is not None and (context.owner is None or session.user_id == context.owner)
    )
    more = None
    if len(documents) == limit:
        moment = place_of(documents[-1]) or Moment(0)
        more = encode_cursor([moment, documents[-1].name], bound_to=bound_to)
    return Page(forks, more, tuple(id_of(document) for document, session in sessions if session is None))
