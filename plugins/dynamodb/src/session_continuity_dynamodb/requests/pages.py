"""Queries and scans: their parameters, and reading them page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any

from session_continuity_dynamodb.items.keys import index_keys
from session_continuity_dynamodb.items.names import PARTITION_KEY, SORT_KEY
from session_continuity_dynamodb.items.values import Item
from session_continuity_dynamodb.requests.expressions import Expression
from session_continuity_dynamodb.requests.sender import Sender


def query(
    partition: str,
    low: str = "",
    high: str = "",
    *,
    index: str | None = None,
    attributes: Iterable[str] = (),
    expression: Expression | None = None,
    filter: str = "",
    newest_first: bool = False,
    consistent: bool = False,
) -> dict[str, Any]:
    """The parameters of a Query for rows of a partition, whole or with these attributes only.

    The sort keys of the rows lie between `low` and `high`, both included; without these it is the whole partition.
    `expression` holds the aliases of the filter. Indexes are never read consistently.
    """
    expression = expression or Expression()
    partition_key, sort_key = (PARTITION_KEY, SORT_KEY) if index is None else index_keys(index)
    condition = expression.compare(partition_key, "=", partition)
    if high:
        condition += f" AND {expression.between(sort_key, low, high)}"
    params: dict[str, Any] = {"ScanIndexForward": not newest_first}
    params |= {"ConsistentRead": consistent} if index is None else {"IndexName": index}
    if filter:
        params["FilterExpression"] = filter
    if attributes:
        params["ProjectionExpression"] = ", ".join(map(expression.name, attributes))
    return {"KeyConditionExpression": condition, **params, **expression.params()}


class Pages:
    """The pages of a Query or Scan. Each takes one request, which is sent when the page is asked for.

    `limit` is how many rows DynamoDB reads for a page before it filters them; it may be changed between pages. `start`
    is the key after which the next page begins, None at the beginning and at the end.
    """

    def __init__(
        self,
        sender: Sender,
        params: dict[str, Any],
        *,
        api: str = "Query",
        start: Item | None = None,
        limit: int | None = None,
    ) -> None:
        self.start = start
        self.limit = limit
        self.ended = False
        self.requests = 0
        self._sender = sender
        self._params = params
        self._api = api

    def __aiter__(self) -> AsyncIterator[list[Item]]:
        return self

    # Not an async generator: one that is left early stays open until an event loop closes it, and blocking mode has
    # no event loop.
    async def __anext__(self) -> list[Item]:
        if self.ended:
            raise StopAsyncIteration
        params = self._params
        if self.start is not None:
            params = {**params, "ExclusiveStartKey": self.start}
        if self.limit is not None:
            params = {**params, "Limit": self.limit}
        response = await self._sender.request(self._api, params)
        self.requests += 1
        self.start = response.get("LastEvaluatedKey") or None
        self.ended = self.start is None
        rows: list[Item] = response.get("Items", [])
        return rows
