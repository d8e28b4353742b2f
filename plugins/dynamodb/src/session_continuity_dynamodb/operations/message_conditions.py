"""Conditions on a message's row."""

from __future__ import annotations

from session_continuity_dynamodb.items import names
from session_continuity_dynamodb.items.values import Item
from session_continuity_dynamodb.requests.expressions import Expression

_COUNTED = (names.REVISION, names.UPDATED_AT, names.TOKEN_COUNT, names.ROLE, names.PARTS)


def is_as_assumed(expression: Expression, row: Item) -> list[str]:
    """The conditions that a message exists, and is as assumed in everything that the counters depend on."""
    return [expression.exists(names.ID), *(expression.same(name, row.get(name)) for name in _COUNTED)]
