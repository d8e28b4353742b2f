"""Appending messages, with the terms of an append.

An append is one Commit: it creates the messages, which must not exist, and changes META, which must be as it was read.
What this process knows of META is tried first. Where it would refuse the append, META is read again.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import grpc

from session_continuity import (
    Appended,
    AppendTerms,
    ConcurrencyError,
    ConversationChangedError,
    Existing,
    Message,
    MessageTooLargeError,
    Session,
    SessionClosedError,
    SessionContinuityError,
    SessionExistsError,
    SessionNotFoundError,
    TokenBudgetExceededError,
    messages_to_store,
    with_stored,
)
from session_continuity_firestore.config import MAX_MESSAGE_BYTES
from session_continuity_firestore.documents import names
from session_continuity_firestore.documents.gate import GATE_FIELDS, Gate, new_gate
from session_continuity_firestore.documents.message_codec import Fields, message_fields, row_of
from session_continuity_firestore.documents.places import placed
from session_continuity_firestore.documents.session_codec import session_of, system_message
from session_continuity_firestore.documents.sizes import document_size
from session_continuity_firestore.operations.context import Context
from session_continuity_firestore.operations.last_message import last_message_id
from session_continuity_firestore.operations.session_removal import remove_remains
from session_continuity_firestore.operations.sessions import (
    READ,
    new_session_fields,
    new_write_id,
    patched,
    update_fields,
    updated_gate,
)
from session_continuity_firestore.requests.errors import Code, code_of
from session_continuity_firestore.requests.writes import absent, change, create
from session_continuity_firestore.wire.values import encode


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of the session: its gate, None for no session; META if the terms need it; and the messages of the
    batch that are stored, None if that was not looked up. `is_fresh` is whether it was read in this call."""

    gate: Gate | None
    document: Any
    stored: Sequence[Message | None] | None
    is_fresh: bool

    @property
    def is_stored(self) -> bool:
        """Whether all of the batch is stored."""
        return self.stored is not None and None not in self.stored


async def append_messages(
    context: Context,
    session_id: str,
    messages: Sequence[Message],
    client_ids: Collection[str],
    terms: AppendTerms,
) -> Appended:
    """Append a batch, and do what the terms say."""
    append = _Append(context, session_id, messages, client_ids, terms)
    return await context.turnstile.turn(context.names.session(session_id), append.run)


class _Append:
    """One append, in as many attempts as it takes."""

    def __init__(
        self,
        context: Context,
        session_id: str,
        messages: Sequence[Message],
        client_ids: Collection[str],
        terms: AppendTerms,
    ) -> None:
        self._context = context
        self._session_id = session_id
        self._name = context.names.session(session_id)
        self._messages = messages
        self._client_ids = client_ids
        self._patch = terms.get("patch")
        self._expected_version = terms.get("expected_version")
        self._expected_last_id = terms.get("expected_last_id")
        self._existing: Existing = terms.get("existing", "refuse")
        self._new = terms.get("create")
        self._write_id = new_write_id()

    async def run(self) -> Appended:
        known = self._from_memory()
        attempts = self._context.client.attempts()
        async for _ in attempts:
            known = known or await self._read(batch=attempts.last is not None)
            stamp = None if known.gate is None else known.gate.stamp
            if attempts.is_unknown and not known.is_stored:
                attempts.settle(stamp)
            try:
                with attempts.judging():
                    done = await self._try(known)
                    if done is None and known.stored is None:
                        # Refused, or an id is taken: only the stored messages tell whether it was made before.
                        known = await self._read(batch=True)
                        stamp = None if known.gate is None else known.gate.stamp
                        done = await self._try(known)
            except grpc.RpcError as error:
                self._context.gates.discard(self._name)
                attempts.failed(error, stamp)
                known = None
                continue
            if done is not None:
                return self._first_answer(done) if attempts.is_unknown and done.repeated else done
            known = None
        raise attempts.gave_up()

    def _first_answer(self, done: Appended) -> Appended:
        """The result of an append whose reply was lost, as the reply would have been."""
        gate = self._context.gates.get(self._name)
        created = self._new is not None and gate is not None and gate.write_id == self._write_id
        return replace(done, repeated=False, created=created)

    def _from_memory(self) -> _Known | None:
        if self._patch is not None:  # a patch is applied to the whole session
            return None
        gate = self._context.gates.get(self._name)
        return None if gate is None else _Known(gate, None, None, is_fresh=False)

    async def _read(self, *, batch: bool) -> _Known:
        """Read META, and with `batch` the messages with the ids of the batch too."""
        context, names_ = self._context, self._context.names
        fields = READ if self._patch is not None else GATE_FIELDS
        if not batch:
            document = await context.client.get(self._name, fields)
            return _Known(context.note(self._session_id, document), document, None, is_fresh=True)
        wanted = [names_.message(self._session_id, message.id) for message in self._messages]
        found = await context.client.get_all([self._name, *wanted])
        document = found.get(self._name)
        rows = [row_of(found[name], self._session_id) if name in found else None for name in wanted]
        stored = [None if row is None else row.readable(self._session_id) for row in rows]
        return _Known(context.note(self._session_id, document), document, stored, is_fresh=True)

    async def _try(self, known: _Known) -> Appended | None:
        """Make the append. None if more has to be known first."""
        gate = known.gate
        if not self._context.exists(gate):
            if not known.is_fresh:
                return None
            return await self._create(gate)
        assert gate is not None
        if known.stored is not None:
            new = messages_to_store(known.stored, self._messages, self._existing)
            if not new:
                return Appended(messages=with_stored(known.stored, ()), repeated=True)
        else:
            new = self._messages
        try:
            await self._check(gate, known, new)
        except SessionContinuityError:
            if known.stored is None:
                return None
            raise
        return await self._commit(gate, known, new)

    async def _check(self, gate: Gate, known: _Known, new: Sequence[Message]) -> None:
        """Raise what the session refuses."""
        if self._expected_version is not None and gate.version != self._expected_version:
            current = None if known.stored is None else session_of(known.document)
            raise ConcurrencyError(
                self._session_id, expected=self._expected_version, actual=gate.version, current=current
            )
        if self._expected_last_id is not None:
            last_id = gate.last_id
            if last_id is None:
                last_id = await last_message_id(self._context, self._session_id)
            if last_id != self._expected_last_id:
                raise ConversationChangedError(
                    self._session_id, expected_last_id=self._expected_last_id, last_id=last_id
                )
        check_open(self._session_id, gate, new)

    async def _commit(self, gate: Gate, known: _Known, new: Sequence[Message]) -> Appended | None:
        batch, places = placed(new, gate.place, self._client_ids)
        after = gate.extended(places, tokens_in(batch), batch[-1].id)
        fields: Fields = dict(after.fields())
        changed: Session | None = None
        if self._patch is not None:
            changed = patched(session_of(known.document), self._patch)
            fields |= update_fields(changed, self._patch, self._write_id)
        writes = [
            *(self._unrepeated(new, batch) if known.stored is None else ()),
            *creations(self._context, self._session_id, batch, places),
            _meta(self._name, fields, gate, batch, places),
        ]
        try:
            stamps = await self._context.client.commit(writes)
        except grpc.RpcError as error:
            if known.stored is None and code_of(error) is Code.ALREADY_EXISTS:
                self._context.gates.discard(self._name)
                return None
            self._keep_ids(new, batch)
            raise
        if changed is not None:
            after = updated_gate(after, changed, stamps[-1], self._write_id)
        self._context.gates.set(self._name, replace(after, stamp=stamps[-1]))
        stored = known.stored or [None] * len(new)
        return Appended(messages=with_stored(stored, batch), slides=after.slides)

    async def _create(self, gate: Gate | None) -> Appended | None:
        """Create the session with the batch, if the terms say so."""
        session, context = self._new, self._context
        if session is None:
            raise SessionNotFoundError(self._session_id)
        if gate is not None and gate.is_taken(context.clock()):
            raise SessionExistsError(self._session_id)
        if gate is not None:
            await remove_remains(context, self._session_id)
        empty = new_gate(session)
        check_open(self._session_id, empty, self._messages)
        batch, places = placed(self._messages, empty.place, self._client_ids)
        after = empty.extended(places, tokens_in(batch), batch[-1].id)
        if self._patch is not None:
            session = patched(session, self._patch)
            after = updated_gate(after, session, None, self._write_id)
        fields = new_session_fields(session, after, self._write_id)
        if listed := system_entries(batch, places):
            fields[names.SYSTEM_MESSAGES] = encode(listed)
        writes = [*creations(context, self._session_id, batch, places), create(self._name, fields)]
        try:
            stamps = await context.client.commit(writes)
        except grpc.RpcError:
            self._keep_ids(self._messages, batch)
            raise
        context.gates.set(self._name, replace(after, stamp=stamps[-1], write_id=self._write_id))
        return Appended(messages=tuple(batch), created=True, slides=after.slides)

    def _unrepeated(self, sent: Sequence[Message], batch: Sequence[Message]) -> list[Any]:
        """Conditions that messages which got new ids are not stored under their old ones."""
        renamed = (old.id for old, new in zip(sent, batch, strict=True) if old.id != new.id)
        return [absent(self._context.names.message(self._session_id, message_id)) for message_id in renamed]

    def _keep_ids(self, sent: Sequence[Message], batch: Sequence[Message]) -> None:
        """Use the ids of a batch that was moved in time again in the next attempt, in case it was stored."""
        moved = {old.id: new for old, new in zip(sent, batch, strict=True)}
        self._messages = [moved.get(message.id, message) for message in self._messages]
        self._client_ids = {*self._client_ids, *(message.id for message in batch)}


def _meta(name: str, fields: Fields, gate: Gate, batch: Sequence[Message], places: Sequence[Any]) -> Any:
    added = system_entries(batch, places)
    return change(name, fields, stamp=gate.stamp, added=added, listed=names.SYSTEM_MESSAGES)


def system_entries(batch: Sequence[Message], places: Sequence[Any]) -> list[str]:
    """The entries of a batch in the list of system messages."""
    return [
        system_message(place, message.id)
        for message, place in zip(batch, places, strict=True)
        if message.role == "system"
    ]


def creations(
    context: Context,
    session_id: str,
    batch: Sequence[Message],
    places: Sequence[Any],
    over: Collection[str] = (),
) -> list[Any]:
    """The writes that create these messages. Those with an id among `over` may exist. Raises MessageTooLargeError."""
    writes: list[Any] = []
    for message, place in zip(batch, places, strict=True):
        name = context.names.message(session_id, message.id)
        write = create(name, message_fields(message, place), over=message.id in over)
        check_size(write.update)
        writes.append(write)
    return writes


def check_size(document: Any) -> None:
    """Raise MessageTooLargeError if a message's document is larger than it may be."""
    size = document_size(document)
    if size > MAX_MESSAGE_BYTES:
        raise MessageTooLargeError(size=size, limit=MAX_MESSAGE_BYTES)


def check_open(session_id: str, gate: Gate, new: Sequence[Message]) -> None:
    """Raise if the session accepts no messages, or not so many tokens."""
    if gate.status in ("completed", "expired"):
        raise SessionClosedError(session_id, gate.status)
    more = tokens_in(new)
    if gate.hard_limit is not None and gate.tokens + more > gate.hard_limit:
        raise TokenBudgetExceededError(session_id, requested=more, limit=gate.hard_limit, used=gate.tokens)


def tokens_in(messages: Sequence[Message]) -> int:
    """The tokens of these messages."""
    return sum(message.token_count or 0 for message in messages)
