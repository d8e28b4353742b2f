"""Removing a session and all of its messages.

META and up to 500 messages are deleted in one Commit. A longer session is first marked as being deleted, so that it is
gone for every call. Then its messages are deleted in several Commits, and META in the last one. Each of them fails
unless META is the marked one: a delete that another process has completed can therefore not remove anything of a new
session with the same id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

import grpc

from session_continuity import ConcurrencyError
from session_continuity_firestore.documents import names
from session_continuity_firestore.documents.gate import GATE_FIELDS, Gate, gate_of
from session_continuity_firestore.operations.context import Context
from session_continuity_firestore.requests.errors import is_unanswered
from session_continuity_firestore.requests.queries import unordered
from session_continuity_firestore.requests.writes import change, delete
from session_continuity_firestore.wire.values import encode, encode_moment, moment_in, moment_of

BATCH = 500
"""Documents that one Commit deletes."""


@dataclass(frozen=True, slots=True)
class Terms:
    """When a session may be removed. `remains` is whether only what is not there any more is removed."""

    expired_before: datetime | None = None
    expected_version: int | None = None
    remains: bool = False

    @property
    def are_stated(self) -> bool:
        """Whether META must be as it was read when the removal begins."""
        return self.remains or self.expired_before is not None or self.expected_version is not None

    def allow(self, context: Context, session_id: str, gate: Gate) -> bool:
        """Whether the session may be removed. Raises ConcurrencyError."""
        if self.remains:
            return not gate.is_taken(context.clock())
        if context.owner is not None and gate.user_id != context.owner:
            return False
        if not gate.is_whole:
            return not gate.forking or _is_due(gate, self.expired_before)
        if self.expired_before is not None and not _is_due(gate, self.expired_before):
            return False
        if self.expected_version is not None and gate.version != self.expected_version:
            raise ConcurrencyError(session_id, expected=self.expected_version, actual=gate.version)
        return True


def _is_due(gate: Gate, before: datetime | None) -> bool:
    return before is not None and gate.expires is not None and gate.expires <= moment_of(before)


async def delete_session(
    context: Context, session_id: str, expired_before: datetime | None, expected_version: int | None
) -> bool:
    """Remove the session if it is there and the conditions are met."""
    terms = Terms(expired_before, expected_version)
    return await context.turnstile.turn(context.names.session(session_id), partial(_remove, context, session_id, terms))


async def remove_remains(context: Context, session_id: str) -> None:
    """Remove what is left of a session that has expired, is being deleted, or was never completed. The caller has the
    turn at it."""
    await _remove(context, session_id, Terms(remains=True))


async def _remove(context: Context, session_id: str, terms: Terms) -> bool:
    """Whether this call has removed the session. One that another call has marked is gone already, and is completed."""
    name = context.names.session(session_id)
    query = unordered(names.MESSAGES, limit=BATCH + 1)
    attempts = context.client.attempts()
    has_begun = is_ours = False
    async for _ in attempts:
        answers, document = await context.client.query_and_get(name, query, name, GATE_FIELDS)
        context.gates.discard(name)
        if document is None:
            if not has_begun:
                attempts.settle(None)
            return is_ours
        gate = gate_of(document)
        if has_begun and gate.is_whole:  # another has completed the delete, and the id is used anew
            return is_ours
        if not has_begun:
            if gate.is_whole:
                attempts.settle(gate.stamp)
            if not terms.allow(context, session_id, gate):
                return False
        found = [answer.document.name for answer in answers if answer.HasField("document")]
        try:
            # The list and META were read at two moments. META may be newer than the list, which then lacks messages.
            if gate.is_whole and (len(found) > BATCH or moment_in(gate.stamp) > moment_in(answers[0].read_time)):
                gate, is_ours = await _begin(context, name, gate, terms)
                has_begun = True
                await _complete(context, name, gate)
                return is_ours
            if not gate.is_whole:
                has_begun = True
                await _complete(context, name, gate)
                return is_ours
            await context.client.commit([*map(_delete, found), delete(name, stamp=gate.stamp)])
            return True
        except grpc.RpcError as error:
            attempts.failed(error, gate.stamp)
            is_ours = is_ours or attempts.is_unknown
            if not attempts.is_unknown and not has_begun and not terms.are_stated and gate.is_whole:
                has_begun, may_be_ours = await _try_to_begin(context, name, gate, terms)
                is_ours = is_ours or may_be_ours
    raise attempts.gave_up()


def _delete(name: str) -> Any:
    return delete(name)


async def _try_to_begin(context: Context, name: str, gate: Gate, terms: Terms) -> tuple[bool, bool]:
    """Mark the session as being deleted, because appends of others have made a Commit fail.

    Returns whether it is marked, and whether a mark may be that of this call.
    """
    try:
        _, is_ours = await _begin(context, name, gate, terms)
    except grpc.RpcError as error:
        return False, is_unanswered(error)
    return True, is_ours


async def _begin(context: Context, name: str, gate: Gate, terms: Terms) -> tuple[Gate, bool]:
    """Mark META as that of a session that is being deleted. It is in no list then, but among the expired ones.

    Returns the gate of the marked META, and whether this call is the first that has marked it. Without terms META may
    have been changed meanwhile: appends of others cannot keep the session from being deleted.
    """
    now = context.clock()
    expires = moment_of(now) if gate.expires is None else min(gate.expires, moment_of(now))
    fields = {
        names.DELETING_AT: encode(now),
        names.CREATED_AT: None,
        names.EXPIRES_AT: encode_moment(expires),
        names.SYSTEM_MESSAGES: None,
    }
    stamp = gate.stamp if terms.are_stated or context.owner is not None else None
    mark = change(name, fields, stamp=stamp, counted=names.DELETES)
    (marked,) = await context.client.commit_with_results([mark])
    (count,) = marked.transform_results
    return _stamped(gate, marked.update_time), count.integer_value == 1


def _stamped(gate: Gate, stamp: Any) -> Gate:
    return replace(gate, stamp=stamp, is_whole=False)


async def _complete(context: Context, name: str, gate: Gate) -> None:
    """Delete the messages of a marked session, and META with the last of them."""
    stamp = gate.stamp
    query = unordered(names.MESSAGES, limit=BATCH + 1)
    while True:
        answers = await context.client.query(name, query)
        found: Sequence[str] = [answer.document.name for answer in answers if answer.HasField("document")]
        if len(found) <= BATCH:
            await context.client.commit([*map(_delete, found), delete(name, stamp=stamp)])
            return
        # Writing the mark again is the condition that META is still the marked one.
        again = change(name, {names.DELETING_AT: encode(context.clock())}, stamp=stamp)
        stamps = await context.client.commit([again, *map(_delete, found[:BATCH])])
        stamp = stamps[0]
