"""The part of an append that concerns META: a patch of the session, and an expected version.

A patch is written without reading META first. Only a change of status or budget needs what META has, because the key of
an index and the tokens left follow from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from session_continuity import ConcurrencyError, Patch, Session, SessionNotFoundError, format_timestamp
from session_continuity_dynamodb.items import keys, names
from session_continuity_dynamodb.items.counters import UNLIMITED, Counters, hard_limit
from session_continuity_dynamodb.items.session_codec import marker_item, session_changes, session_of
from session_continuity_dynamodb.items.values import YES, Item, integer, seconds
from session_continuity_dynamodb.operations.context import TableContext
from session_continuity_dynamodb.operations.gate import sync_gate, watch_meta
from session_continuity_dynamodb.operations.session_counters import adopt_session, load_session, session_is_there
from session_continuity_dynamodb.operations.session_heads import is_live, not_expired, read_heads
from session_continuity_dynamodb.requests.expressions import Expression, Update
from session_continuity_dynamodb.requests.transactions import Action, check, delete, put, update

_NEEDS_META = frozenset({"status", "token_budget"})


@dataclass(frozen=True, slots=True)
class MetaTerms:
    """What an append does with META.

    `known` is what META must have where the TypeScript kit writes too. `current` is the session and `counted` its
    tokens that META alone counts, if they had to be read.
    """

    patch: Patch | None = None
    expected_version: int | None = None
    known: Item | None = None
    current: Session | None = None
    counted: int = 0

    @property
    def is_needed(self) -> bool:
        """Whether the append has an action for META at all."""
        return self.patch is not None or self.expected_version is not None or self.known is not None

    def slides(self, *, before: bool) -> bool:
        """Whether the session has a `sliding_ttl` after the append, if this says whether it had one before."""
        changed = self.changed()
        return changed["sliding_ttl"] is not None if "sliding_ttl" in changed else before

    def changed(self) -> Mapping[str, Any]:
        """The fields that the patch changes, with their new values."""
        if self.patch is None:
            return {}
        fields = Session.model_fields
        cleared = {name: fields[name].get_default(call_default_factory=True) for name in self.patch.clear}
        return {**cleared, **self.patch.set}


async def meta_terms(
    context: TableContext, session_id: str, patch: Patch | None, expected_version: int | None
) -> MetaTerms:
    """The terms of an append. Raises SessionNotFoundError if META has to be read and there is none."""
    terms = MetaTerms(patch, expected_version)
    if context.options.beside_kit:
        known = context.hints.meta(session_id) or await sync_gate(context, session_id)
        terms = MetaTerms(patch, expected_version, known)
    if _NEEDS_META.isdisjoint(terms.changed()):
        return terms
    meta, item = await read_heads(context, session_id, consistent=True)
    if meta is None or not is_live(context, meta, item):
        raise SessionNotFoundError(session_id)
    counters = await adopt_session(context, session_id) if item is None else Counters.of(item)
    counted = integer(meta, names.TOKEN_COUNT) - counters.base_tokens
    return MetaTerms(patch, expected_version, terms.known, session_of(meta, None), counted)


def meta_actions(context: TableContext, session_id: str, terms: MetaTerms, write_id: str) -> list[Action]:
    """The action on META, if the append needs one."""
    if not terms.is_needed:
        return []
    key = context.keys.meta(session_id)
    if terms.patch is None:
        expression = Expression()
        expression.where(*_conditions(context, expression, terms))
        return [check(key, expression)]
    change = Update()
    for attribute, value in session_changes(context.keys, terms.current, terms.changed()).items():
        change.set(attribute, value)
    change.set(names.WRITE_ID, write_id)
    change.set(names.HEADS_REVISION, write_id)
    change.increment(names.VERSION, 1, start=1)
    change.where(*_conditions(context, change, terms))
    return [update(key, change)]


def _conditions(context: TableContext, expression: Expression, terms: MetaTerms) -> list[str]:
    conditions = [session_is_there(expression), not_expired(context, expression)]
    if terms.known is not None:
        conditions += watch_meta(expression, terms.known)
    if terms.current is not None:
        conditions.append(expression.compare(names.CREATED_AT, "=", format_timestamp(terms.current.created_at)))
    if terms.expected_version is not None:
        is_first = terms.expected_version == 1  # which the TypeScript kit does not write
        condition = expression.absent_or if is_first else expression.compare
        conditions.append(condition(names.VERSION, "=", terms.expected_version))
    return conditions


def patch_counters(change: Update, terms: MetaTerms, tokens: int) -> bool:
    """Add to an append's change of the counters what the patch changes there. True if it sets the tokens left, from
    which `tokens` are spent."""
    changed = terms.changed()
    if "status" in changed:
        change.set(names.STATUS, changed["status"])
    if "expires_at" in changed:
        expires_at = changed["expires_at"]
        change.set(names.EXPIRES_AT, None if expires_at is None else seconds(expires_at))
    if "sliding_ttl" in changed:
        change.set(names.SLIDES, None if changed["sliding_ttl"] is None else YES)
    if "token_budget" not in changed:
        return False
    limit = hard_limit(changed["token_budget"])
    if limit is None:
        change.set(names.TOKENS_LEFT, UNLIMITED)
        change.remove(names.TOKEN_LIMIT)
    else:
        change.set_difference(names.TOKENS_LEFT, limit - terms.counted - tokens, names.TOKEN_COUNT)
        change.set(names.TOKEN_LIMIT, limit)
    return True


def marker_actions(context: TableContext, session_id: str, terms: MetaTerms) -> list[Action]:
    """The change of the expiry marker, if the patch moves the expiry. The hour of the old one is not known here."""
    changed = terms.changed()
    if "expires_at" not in changed:
        return []
    if changed["expires_at"] is None:
        return [delete(context.keys.item(session_id, keys.EXPIRY))]
    return [put(marker_item(context.keys, session_id, changed["expires_at"]))]


async def check_version(context: TableContext, session_id: str, expected: int | None) -> None:
    """Raises ConcurrencyError if the session is at another version, and SessionNotFoundError if there is none."""
    meta, counters = await read_heads(context, session_id, consistent=True)
    if meta is None or not is_live(context, meta, counters):
        raise SessionNotFoundError(session_id)
    current = (await load_session(context, meta, counters)).session
    if expected is not None and current.version != expected:
        raise ConcurrencyError(session_id, expected=expected, actual=current.version, current=current)
