"""Lists of sessions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from session_continuity import Page, Session, SessionFilter, decode_cursor, encode_cursor
from session_continuity_firestore.documents import names
from session_continuity_firestore.documents.session_codec import SESSION_FIELDS, is_session, readable_session
from session_continuity_firestore.operations.context import Context
from session_continuity_firestore.requests.queries import Operator, Position, Where, ordered
from session_continuity_firestore.wire.values import Moment, encode, moment_in, moment_value

MOST_TAGS = 30
"""Values that one condition compares with. With more tags, the sessions are filtered here."""

MOST_TAG_BYTES = 1500
"""The longest value that an index holds, as UTF-8. A condition on a longer one is refused."""

_ROUNDS = 10
"""Requests for one page, if few of the sessions match. It then ends early, with a cursor."""


async def list_sessions(context: Context, filter: SessionFilter, limit: int, cursor: str | None) -> Page[Session]:
    """One page of the sessions that match, newest first. Titles, long tags and more than 30 tags are compared here."""
    bound_to = f"{context.owner!r} {filter.key()}"
    after = _start(cursor, bound_to)
    where = _where(context, filter)
    listed: list[Session] = []
    unreadable: list[str] = []
    for _ in range(_ROUNDS if where is not None else 0):
        asked = limit - len(listed)
        query = ordered(
            context.names.collection,
            names.CREATED_AT,
            limit=asked,
            where=where or (),
            descending=True,
            after=after,
            fields=SESSION_FIELDS,
        )
        documents = await _documents(context, query)
        _sort_out(context, filter, documents, listed, unreadable)
        if len(documents) < asked:
            return Page(tuple(listed), None, tuple(unreadable))
        after = _position(documents[-1], names.CREATED_AT)
        if len(listed) >= limit:
            break
    more = None if after is None or where is None else _cursor(after, bound_to)
    return Page(tuple(listed), more, tuple(unreadable))


def _sort_out(
    context: Context, filter: SessionFilter, documents: Sequence[Any], listed: list[Session], unreadable: list[str]
) -> None:
    now = context.clock()
    for document in documents:
        session = readable_session(document) if is_session(document) else None
        if session is None:
            if is_session(document):
                unreadable.append(id_of(document))
        elif not (session.expires_at is not None and session.expires_at <= now) and filter.matches(session):
            listed.append(session)


def _where(context: Context, filter: SessionFilter) -> list[Where] | None:
    """The conditions of the query, None if no session can meet them."""
    user = filter.user_id if context.owner is None else context.owner
    if filter.user_id is not None and filter.user_id != user:
        return None
    equal = {names.USER_ID: user, names.AGENT_ID: filter.active_agent_id, names.STATUS: filter.status}
    where = [Where(field, "==", encode(value)) for field, value in equal.items() if value is not None]
    tags = filter.tags if all(len(tag.encode()) <= MOST_TAG_BYTES for tag in filter.tags) else frozenset[str]()
    if len(tags) == 1:
        where.append(Where(names.TAGS, "array-contains", encode(next(iter(tags)))))
    elif 1 < len(tags) <= MOST_TAGS:
        where.append(Where(names.TAGS, "array-contains-any", encode(sorted(tags))))
    after, before = filter.created_bounds()
    times: tuple[tuple[Operator, datetime | None], ...] = ((">", after), ("<", before))
    where += [Where(names.CREATED_AT, operator, encode(time)) for operator, time in times if time is not None]
    return where


async def get_expired_sessions(context: Context, before: datetime, limit: int, cursor: str | None) -> Page[str]:
    """One page of the ids of expired sessions, and of sessions whose deletion was interrupted."""
    bound_to = f"{context.owner!r} expired"
    query = ordered(
        context.names.collection,
        names.EXPIRES_AT,
        limit=limit,
        where=[Where(names.EXPIRES_AT, "<=", encode(before))],
        after=_start(cursor, bound_to),
        fields=[names.EXPIRES_AT, names.USER_ID],
    )
    documents = await _documents(context, query)
    more = _cursor(_position(documents[-1], names.EXPIRES_AT), bound_to) if len(documents) == limit else None
    return Page(tuple(id_of(document) for document in documents if _is_own(context, document)), more)


def _is_own(context: Context, document: Any) -> bool:
    if context.owner is None:
        return True
    return names.USER_ID in document.fields and document.fields[names.USER_ID].string_value == context.owner


async def _documents(context: Context, query: Any) -> list[Any]:
    answers = await context.client.query(context.names.parent, query)
    return [answer.document for answer in answers if answer.HasField("document")]


def id_of(document: Any) -> str:
    """The id of a session from the name of META."""
    return names.unescape(names.last_part(document.name))


def _position(document: Any, field: str) -> Position:
    moment = moment_value(document.fields[field])
    return Position(moment if moment is not None else moment_in(document.create_time), document.name)


def _start(cursor: str | None, bound_to: str) -> Position | None:
    if cursor is None:
        return None
    moment, name = decode_cursor(cursor, bound_to=bound_to, form=tuple[int, str])
    return Position(Moment(moment), name)


def _cursor(position: Position, bound_to: str) -> str:
    return encode_cursor([position.moment, position.name], bound_to=bound_to)
