"""Replacing the tail of a conversation: one Commit that removes messages and adds others."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import grpc

from session_continuity import (
    ConversationChangedError,
    Message,
    MessageNotFoundError,
    NotSupportedError,
    Replaced,
    ValidationError,
    is_same_tail,
)
from session_continuity_firestore.config import BACKEND
from session_continuity_firestore.documents import names
from session_continuity_firestore.documents.gate import GATE_FIELDS, Gate
from session_continuity_firestore.documents.message_codec import Row, place_of, row_of
from session_continuity_firestore.documents.places import placed
from session_continuity_firestore.documents.session_codec import system_message
from session_continuity_firestore.operations.appending import check_open, creations, system_entries, tokens_in
from session_continuity_firestore.operations.context import Context
from session_continuity_firestore.operations.sessions import new_write_id
from session_continuity_firestore.requests.queries import Position, ordered
from session_continuity_firestore.requests.writes import change, delete
from session_continuity_firestore.wire.values import Moment, encode, moment_in

MOST_REMOVED = 5000
"""Messages that one Commit removes."""


async def replace_tail(
    context: Context,
    session_id: str,
    after_id: str | None,
    messages: Sequence[Message],
    client_ids: Collection[str],
    expected_last_id: str | None,
    return_removed: bool,
) -> Replaced:
    """Remove the messages after one of them, and store a batch in their place."""
    replacement = _Replacement(context, session_id, after_id, messages, client_ids, expected_last_id)
    replaced, rows = await context.turnstile.turn(context.names.session(session_id), replacement.run)
    if not return_removed:
        return replaced
    return replace(replaced, removed=tuple(row.readable(session_id) for row in rows))


class _Replacement:
    """One replacement, in as many attempts as it takes."""

    def __init__(
        self,
        context: Context,
        session_id: str,
        after_id: str | None,
        messages: Sequence[Message],
        client_ids: Collection[str],
        expected_last_id: str | None,
    ) -> None:
        self._context = context
        self._session_id = session_id
        self._meta = context.names.session(session_id)
        self._after_id = after_id
        self._messages = messages
        self._client_ids = client_ids
        self._expected_last_id = expected_last_id
        self._write_id = new_write_id()
        self._pending: tuple[Replaced, Sequence[Row]] | None = None

    async def run(self) -> tuple[Replaced, Sequence[Row]]:
        """The result, and the messages that were removed."""
        attempts = self._context.client.attempts()
        async for _ in attempts:
            with attempts.judging():
                gate, tail, are_of_one_moment = await self._read()
            if self._pending is not None and gate.write_id == self._write_id:
                return self._pending  # the reply was lost, and the tail was replaced
            attempts.settle(gate.stamp)
            if not are_of_one_moment:
                continue
            readable = [row.message for row in tail if row.message is not None]
            if len(readable) == len(tail) and is_same_tail(readable, self._messages):
                return Replaced(messages=tuple(readable), repeated=not attempts.is_unknown), ()
            await self._check(gate, tail, taken=attempts.last is not None)
            try:
                return await self._commit(gate, tail)
            except grpc.RpcError as error:
                self._context.gates.discard(self._meta)
                attempts.failed(error, gate.stamp)
        raise attempts.gave_up()

    async def _read(self) -> tuple[Gate, list[Row], bool]:
        """The gate, the tail, and whether the tail is what it was when the gate was read."""
        context, after = self._context, None
        if self._after_id is None:
            query = self._query(None)
            answers, document = await context.client.query_and_get(self._meta, query, self._meta, GATE_FIELDS)
            gate = context.existing(self._session_id, document)
            is_one = moment_in(gate.stamp) <= moment_in(answers[0].read_time)
            return gate, self._rows(answers), is_one
        name = context.names.message(self._session_id, self._after_id)
        gate, documents = await context.existing_with(self._session_id, [name], GATE_FIELDS)
        after = place_of(documents[name]) if name in documents else None
        if after is None:
            raise MessageNotFoundError(self._session_id, self._after_id)
        answers = await context.client.query(self._meta, self._query(Position(after, name)))
        return gate, self._rows(answers), True  # what changed since the gate was read fails the Commit

    def _query(self, after: Position | None) -> Any:
        return ordered(names.MESSAGES, names.CREATED_AT, limit=MOST_REMOVED + 1, after=after)

    def _rows(self, answers: Sequence[Any]) -> list[Row]:
        rows = [row_of(answer.document, self._session_id) for answer in answers if answer.HasField("document")]
        if len(rows) > MOST_REMOVED:
            raise NotSupportedError(
                f"replacing more than {MOST_REMOVED} messages", BACKEND, "one Commit does not remove more; use fewer"
            )
        return rows

    async def _check(self, gate: Gate, tail: Sequence[Row], *, taken: bool) -> None:
        """Raise what the session refuses. With `taken`, look whether ids of the batch belong to messages that stay."""
        last_id = tail[-1].id if tail else self._after_id or ""
        if self._expected_last_id is not None and last_id != self._expected_last_id:
            raise ConversationChangedError(self._session_id, expected_last_id=self._expected_last_id, last_id=last_id)
        if not self._messages:
            return
        freed = sum(row.tokens for row in tail)
        check_open(self._session_id, replace(gate, tokens=gate.tokens - freed), self._messages)
        removed = {row.id for row in tail}
        others = [message.id for message in self._messages if message.id not in removed]
        if not taken or not others:
            return
        wanted = {self._context.names.message(self._session_id, message_id): message_id for message_id in others}
        for name in await self._context.client.get_all(wanted, [names.CREATED_AT]):
            raise ValidationError(f"message id {wanted[name]!r} belongs to a message that stays; choose a new id")

    async def _commit(self, gate: Gate, tail: Sequence[Row]) -> tuple[Replaced, Sequence[Row]]:
        context, batch = self._context, self._messages
        places: Sequence[Moment] = ()
        after = gate.reduced(len(tail), sum(row.tokens for row in tail), self._after_id or "")
        if batch:
            batch, places = placed(batch, gate.place, self._client_ids)
            after = after.extended(places, tokens_in(batch), batch[-1].id)
        removed, kept = {row.id for row in tail}, {message.id for message in batch}
        gone = [system_message(row.place, row.id) for row in tail if row.role == "system" and row.place is not None]
        writes = [
            *creations(context, self._session_id, batch, places, over=removed),
            change(
                self._meta,
                {**after.fields(), names.WRITE_ID: encode(self._write_id)},
                stamp=gate.stamp,
                added=system_entries(batch, places),
                removed=gone,
                listed=names.SYSTEM_MESSAGES,
            ),
            *(delete(row.name) for row in tail if row.id not in kept),
        ]
        self._pending = Replaced(messages=tuple(batch), removed_count=len(tail)), tail
        self._messages, self._client_ids = batch, {*self._client_ids, *kept}
        stamps = await context.client.commit(writes)
        context.gates.set(self._meta, replace(after, stamp=stamps[len(batch)]))
        return self._pending
