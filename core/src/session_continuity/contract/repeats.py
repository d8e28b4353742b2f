"""Recognising a write that is repeated after its answer was lost, and checking a batch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from session_continuity.contract.terms import Existing
from session_continuity.errors import ValidationError
from session_continuity.models import Message, Session

__all__ = [
    "check_batch",
    "is_repeated_append",
    "is_repeated_create",
    "is_same_tail",
    "messages_to_store",
    "with_stored",
]


def check_batch(messages: Sequence[Message]) -> None:
    """Raise ValidationError for an empty batch, when two messages of it have the same id, and when its times
    decrease."""
    if not messages:
        raise ValidationError("a batch has at least one message")
    if len(messages) > 1 and len({message.id for message in messages}) < len(messages):
        raise ValidationError("two messages of the batch have the same id; give each its own")
    if any(one.created_at > next.created_at for one, next in pairwise(messages)):
        raise ValidationError(
            "the times of the batch decrease; give each message the time of the one before, or a later one"
        )


def is_repeated_create(stored: Session, sent: Session) -> bool:
    """Whether `sent` is the create that stored `stored`, repeated after its answer was lost.

    Its `creation_token` decides. Time and fields cannot: two callers may create the same id with the same fields in the
    same millisecond. A create without a token is never a repetition.
    """
    return sent.creation_token is not None and (sent.id, sent.creation_token) == (stored.id, stored.creation_token)


def is_repeated_append(stored: Sequence[Message | None], sent: Sequence[Message]) -> bool:
    """Whether `sent` is an append that was stored before.

    `stored` are the session's messages with the ids of `sent`, in the same order, None for an id that it does not have.
    Raises ValidationError if only part of the batch is stored, if an id belongs to another message, and if the message
    was changed since: the caller would take the changed one for what it has just sent.
    """
    found = [message for message in stored if message is not None]
    if not found:
        return False
    if len(found) < len(sent):
        raise ValidationError("only part of this batch is stored already; repeat a batch whole and with all of its ids")
    for old, new in zip(found, sent, strict=True):
        _check_same(old, new)
        if not _is_said(old, new):
            raise ValidationError(
                f"message id {new.id!r} was stored before and changed since; read the message, and choose a new id to "
                "add another one"
            )
    return True


def messages_to_store(
    stored: Sequence[Message | None], sent: Sequence[Message], existing: Existing = "refuse"
) -> Sequence[Message]:
    """The messages of an append that are to be stored: none if it is repeated.

    `stored` is that of `is_repeated_append`, `existing` that of `AppendTerms`. Raises what `is_repeated_append` raises;
    with `skip`, a batch of which a part is stored is allowed.
    """
    if existing == "refuse":
        return () if is_repeated_append(stored, sent) else sent
    for old, new in zip(stored, sent, strict=True):
        if old is not None:
            _check_same(old, new)
    return [new for old, new in zip(stored, sent, strict=True) if old is None]


def with_stored(stored: Sequence[Message | None], added: Sequence[Message]) -> tuple[Message, ...]:
    """The whole batch as it is stored now: the messages of `stored`, and those just added in place of each None."""
    rest = iter(added)
    return tuple(next(rest) if message is None else message for message in stored)


def is_same_tail(stored: Sequence[Message], sent: Sequence[Message]) -> bool:
    """Whether the messages of a tail are exactly those of the batch: ids, roles, contents and metadata, in order."""
    return [_said(message) for message in stored] == [_said(message) for message in sent]


def _said(message: Message) -> tuple[object, ...]:
    return message.id, message.role, message.content, message.metadata


def _check_same(old: Message, new: Message) -> None:
    if old.updated_at is None and not _is_said(old, new):
        raise ValidationError(f"message id {new.id!r} belongs to another message; choose a new id")


def _is_said(old: Message, new: Message) -> bool:
    return (old.role, old.content) == (new.role, new.content)
