"""What a database lacks, found out by the queries that need it."""

from __future__ import annotations

from dataclasses import dataclass

import grpc

from session_continuity_firestore.database.indexes import INDEXES
from session_continuity_firestore.documents import names
from session_continuity_firestore.documents.names import Names
from session_continuity_firestore.requests.client import Connection
from session_continuity_firestore.requests.errors import Code, code_of, index_link
from session_continuity_firestore.requests.queries import Where, ordered
from session_continuity_firestore.wire.values import FIRST_MOMENT, encode_moment

_ANY_ID = "describe"


@dataclass(frozen=True, slots=True)
class Finding:
    """An index that is missing: which, the call that needs it, and the link that creates it, if one is stated."""

    index: str
    needed_by: str
    link: str | None


async def missing_indexes(client: Connection, where: Names) -> list[Finding]:
    """The indexes that are missing. It makes one small query for each."""
    wanted = [
        (
            where.session(_ANY_ID) if index.of_messages else where.parent,
            index.query(where.collection),
            f"{index.collection(where.collection)}: {index.field}, {names.CREATED_AT} {index.order.lower()}",
            index.needed_by,
        )
        for index in INDEXES
    ]
    expired = ordered(
        where.collection,
        names.EXPIRES_AT,
        limit=1,
        where=[Where(names.EXPIRES_AT, "<=", encode_moment(FIRST_MOMENT))],
        fields=[names.EXPIRES_AT],
    )
    wanted.append((where.parent, expired, f"{where.collection}: {names.EXPIRES_AT}", "get_expired_sessions"))
    found: list[Finding] = []
    for parent, query, index, needed_by in wanted:
        try:
            await client.query(parent, query)
        except grpc.RpcError as error:
            if code_of(error) is not Code.FAILED_PRECONDITION or (link := index_link(error)) is None:
                raise
            found.append(Finding(index, needed_by, link))
    return found
