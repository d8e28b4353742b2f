"""Appends and the replacement of a tail."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from pydantic_core import from_json, to_json

from session_continuity import (
    Appended,
    AppendTerms,
    ConversationChangedError,
    Message,
    MessageNotFoundError,
    Replaced,
    SessionClosedError,
    SessionExistsError,
    SessionNotFoundError,
    TokenBudgetExceededError,
    ValidationError,
    messages_to_store,
    with_stored,
)
from session_continuity_postgres import codec
from session_continuity_postgres.codec import Batch, text_of
from session_continuity_postgres.database import Database
from session_continuity_postgres.session_rows import conflict

_TOO_MANY_TOKENS = "the session's token_count would exceed 2**53, the largest number that is kept; nothing was written"

_APPENDED = "outcome, detail, slides"


async def append(
    database: Database,
    session_id: str,
    messages: Sequence[Message],
    client_ids: Collection[str],
    terms: AppendTerms,
) -> Appended:
    """Store the batch, and do what the terms say. Raises what the contract says.

    With `existing="skip"`, what is missing of a batch that is stored in part is sent by a second call.
    """
    stated = _terms_json(database, terms)
    batch, stored = messages, list[Message | None]([None] * len(messages))
    while True:
        sent = codec.batch_of(batch, client_ids)
        outcome, detail, slides = await database.call("append_1", session_id, *sent, stated, columns=_APPENDED)
        if outcome != "stored":
            break
        found = _stored(session_id, detail)
        batch = messages_to_store(found, batch, terms.get("existing", "refuse"))
        known = {message.id: message for message in found if message is not None}
        stored = [known.get(message.id, before) for message, before in zip(messages, stored, strict=True)]
        if not batch:
            return Appended(messages=with_stored(stored, ()), repeated=True)
    if outcome not in ("added", "moved", "created"):
        raise _refusal(session_id, outcome, detail, sent, terms.get("expected_last_id"), terms.get("expected_version"))
    added = codec.with_heads(batch, detail)
    return Appended(messages=with_stored(stored, added), created=outcome == "created", slides=slides)


async def replace_tail(
    database: Database,
    session_id: str,
    after_id: str | None,
    messages: Sequence[Message],
    client_ids: Collection[str],
    expected_last_id: str | None,
    return_removed: bool,
) -> Replaced:
    """Remove the messages after one of them, and store a batch in their place. Raises what the contract says."""
    sent = codec.batch_of(messages, client_ids)
    outcome, detail, count, removed = await database.call(
        "replace_1",
        session_id,
        *sent,
        codec.optional_key(after_id),
        codec.optional_key(expected_last_id),
        return_removed,
        columns="outcome, detail, removed_count, removed",
    )
    if outcome == "no_message" and after_id is not None:
        raise MessageNotFoundError(session_id, after_id)
    if outcome == "taken":
        raise ValidationError("an id of the batch belongs to a message that stays; choose a new id")
    if outcome == "repeated":
        stored = _stored(session_id, detail) if messages else []
        return Replaced(messages=tuple(message for message in stored if message is not None), repeated=True)
    if outcome != "replaced":
        raise _refusal(session_id, outcome, detail, sent, expected_last_id, None)
    rows = [] if removed is None else [row for row in codec.rows_of(removed) if row is not None]
    return Replaced(
        messages=codec.with_heads(messages, detail),
        removed_count=count,
        removed=tuple(codec.read_messages(session_id, rows)),
    )


def _terms_json(database: Database, terms: AppendTerms) -> str | None:
    """The terms as the function takes them, None without any."""
    version, last_id = terms.get("expected_version"), terms.get("expected_last_id")
    patch, new = terms.get("patch"), terms.get("create")
    stated: dict[str, Any] = {}
    if version is not None:
        stated["expected_version"] = version
    if last_id is not None:
        stated["expected_last_id"] = codec.key(last_id)
    parts = [to_json(stated).decode()[1:-1]] if stated else []
    if patch is not None:
        parts.append(f'"patch":{codec.patch_json(patch, database.namespace)}')
    if new is not None:
        parts.append(f'"new":{codec.session_json(new, database.namespace)}')
    return f"{{{','.join(parts)}}}" if parts else None


def _stored(session_id: str, detail: str) -> list[Message | None]:
    """The stored messages of a batch, None for each that is not stored. Raises UnreadableError."""
    rows = codec.rows_of(detail)
    messages = iter(codec.read_messages(session_id, [row for row in rows if row is not None]))
    return [None if row is None else next(messages) for row in rows]


def _refusal(
    session_id: str,
    outcome: str,
    detail: str,
    batch: Batch,
    expected_last_id: str | None,
    expected_version: int | None,
) -> Exception:
    """The error for an outcome of a function by which nothing was written."""
    if outcome == "missing":
        return SessionNotFoundError(session_id)
    if outcome == "exists":
        return SessionExistsError(session_id)
    if outcome == "conflict":
        return conflict(codec.read_session(session_id, detail), expected_version)
    if outcome == "changed":
        return ConversationChangedError(session_id, expected_last_id=expected_last_id or "", last_id=text_of(detail))
    if outcome == "too_many":
        return ValidationError(_TOO_MANY_TOKENS)
    status, limit, used = from_json(detail)
    if outcome == "closed":
        return SessionClosedError(session_id, status)
    return TokenBudgetExceededError(session_id, requested=batch.tokens, limit=limit, used=used)
