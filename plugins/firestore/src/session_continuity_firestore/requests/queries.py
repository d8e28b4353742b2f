"""Structured queries. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from session_continuity_firestore.wire.messages import StructuredQuery
from session_continuity_firestore.wire.values import Moment, encode_moment, reference

Operator = Literal["<", "<=", ">", ">=", "==", "array-contains", "in", "array-contains-any"]

_OPERATORS: Final[dict[Operator, int]] = {
    "<": 1,
    "<=": 2,
    ">": 3,
    ">=": 4,
    "==": 5,
    "array-contains": 7,
    "in": 8,
    "array-contains-any": 9,
}
_AND, _ASCENDING, _DESCENDING = 1, 1, 2
NAME: Final = "__name__"


@dataclass(frozen=True, slots=True)
class Where:
    """A condition on a field. `value` is a wire value."""

    field: str
    operator: Operator
    value: Any


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a query's order: a time and the name of a document."""

    moment: Moment
    name: str


def ordered(
    collection: str,
    by: str,
    *,
    limit: int | None,
    where: Sequence[Where] = (),
    descending: bool = False,
    after: Position | None = None,
    before: Position | None = None,
    fields: Sequence[str] | None = None,
) -> Any:
    """A query of a collection in the order of a time and then of the names.

    It begins behind the position `after` and ends ahead of `before`, both as the query's order goes.
    """
    query = StructuredQuery()
    getattr(query, "from").add(collection_id=collection)
    _add_conditions(query, where)
    for field in (by, NAME):
        query.order_by.add(field={"field_path": field}, direction=_DESCENDING if descending else _ASCENDING)
    if limit is not None:
        query.limit.value = limit
    for cursor, position, is_before in ((query.start_at, after, False), (query.end_at, before, True)):
        if position is not None:
            cursor.values.extend([encode_moment(position.moment), reference(position.name)])
            cursor.before = is_before
    _select(query, fields)
    return query


def unordered(collection: str, *, limit: int) -> Any:
    """A query of the names in a collection, also of documents that have no time."""
    query = StructuredQuery()
    getattr(query, "from").add(collection_id=collection)
    query.limit.value = limit
    _select(query, [NAME])
    return query


def _add_conditions(query: Any, where: Sequence[Where]) -> None:
    if not where:
        return
    filters = query.where.composite_filter
    filters.op = _AND
    for condition in where:
        one = filters.filters.add().field_filter
        one.field.field_path = condition.field
        one.op = _OPERATORS[condition.operator]
        one.value.CopyFrom(condition.value)


def _select(query: Any, fields: Sequence[str] | None) -> None:
    if fields is not None:
        for field in fields:
            query.select.fields.add(field_path=field)
