"""Reading the rows of a session's messages page by page."""

from __future__ import annotations

from collections.abc import Collection

from session_continuity_dynamodb.items import keys, names
from session_continuity_dynamodb.items.message_codec import READ
from session_continuity_dynamodb.items.values import Item
from session_continuity_dynamodb.operations.context import TableContext
from session_continuity_dynamodb.requests.expressions import Expression
from session_continuity_dynamodb.requests.pages import Pages, query

_TAIL = (names.REPLACING, names.TAIL_REVISION)
_ATTRIBUTES = (names.SORT_KEY, *READ, names.STATUS, names.EXPIRES_AT, names.DELETING, *_TAIL)
"""What a message or a head is read for. The partition key and the session's id are left out: they are the same in every
row, and a tenth of a page."""


class MessagePages(Pages):
    """The rows between two sort keys of a session, both included, a page at a time.

    The range may reach over a head of the session, whose row is then among them. With `roles`, other messages are left
    out, but not the heads. `after` is the place behind which to begin.
    """

    def __init__(
        self,
        context: TableContext,
        session_id: str,
        low: str,
        high: str,
        *,
        newest_first: bool = False,
        roles: Collection[str] | None = None,
        consistent: bool | None = None,
        after: str | None = None,
        limit: int | None = None,
    ) -> None:
        expression = Expression()
        params = query(
            context.keys.partition(session_id),
            low,
            high,
            attributes=_ATTRIBUTES,
            expression=expression,
            filter="" if roles is None else _filter(expression, roles),
            newest_first=newest_first,
            consistent=context.sender.consistent if consistent is None else consistent,
        )
        start = None if after is None else context.keys.item(session_id, keys.MESSAGE + after)
        super().__init__(context.sender, params, start=start, limit=limit)
        self._partition = {"S": context.keys.partition(session_id)}
        self._session_id = {"S": session_id}

    async def __anext__(self) -> list[Item]:
        rows = await super().__anext__()
        for row in rows:
            row[names.PARTITION_KEY] = self._partition
            row[names.SESSION_ID] = self._session_id
        return rows


def _filter(expression: Expression, roles: Collection[str]) -> str:
    return f"{expression.any_of(names.ROLE, sorted(roles))} OR {expression.absent(names.ROLE)}"
