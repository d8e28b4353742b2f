"""The message that an append expects to be the last one.

The counters know the place of the last append. The message there may have been removed since. So the append is
conditional on the place and on the message. Where that does not hold, the last message is read, and the append is
conditional on the counters being as read with it: every write of messages changes them.
"""

from __future__ import annotations

from dataclasses import dataclass

from session_continuity import ConversationChangedError
from session_continuity_dynamodb.items import keys, names
from session_continuity_dynamodb.items.message_codec import is_message
from session_continuity_dynamodb.items.places import place_from_id
from session_continuity_dynamodb.items.values import Item, by_sort_key
from session_continuity_dynamodb.operations.context import TableContext
from session_continuity_dynamodb.operations.session_counters import adopt_session
from session_continuity_dynamodb.operations.session_heads import PendingTailError
from session_continuity_dynamodb.requests.expressions import Expression, Update
from session_continuity_dynamodb.requests.pages import Pages, query
from session_continuity_dynamodb.requests.transactions import Action, check

_ROWS = 10


@dataclass(frozen=True, slots=True)
class LastMessage:
    """What an append assumes of the last message.

    `expected` is its id, an empty text for none, None if it does not matter. `place` is where it lies. If it was read,
    `counters` are those read with it, and `found` is its id.
    """

    expected: str | None = None
    place: str | None = None
    counters: Item | None = None
    found: str | None = None

    def conditions(self, change: Update) -> list[str]:
        """The conditions on the counters."""
        if self.expected is None:
            return []
        if self.counters is not None:
            if self.found != self.expected:  # fails, so that a repetition of the append is recognised first
                return [change.absent(names.PARTITION_KEY)]
            return [change.same(name, self.counters.get(name)) for name in (names.WRITE_ID, names.LAST_KEY)]
        if self.place is None:
            return [change.compare(names.MESSAGE_COUNT, "=", 0)]
        return [change.compare(names.LAST_KEY, "=", self.place)]

    def actions(self, context: TableContext, session_id: str) -> list[Action]:
        """The condition that the message is there, if the one on the counters does not imply it."""
        if self.place is None:
            return []
        expression = Expression()
        expression.where(expression.exists(names.ID))
        return [check(context.keys.item(session_id, keys.MESSAGE + self.place), expression)]

    async def after_failure(self, context: TableContext, session_id: str) -> LastMessage:
        """What to assume after the append failed. Raises ConversationChangedError."""
        if self.expected is None:
            return self
        end = await _read_last(context, session_id, self.expected)
        if end.found != self.expected:
            raise ConversationChangedError(session_id, expected_last_id=self.expected, last_id=end.found or "")
        return end


async def assumed_end(context: TableContext, session_id: str, expected: str | None) -> LastMessage:
    """The first assumption. The last message is read if its place does not follow from its id."""
    if expected is None:
        return LastMessage()
    if context.options.beside_kit:  # the counters do not know of its messages
        return await _read_last(context, session_id, expected)
    if expected == "":
        return LastMessage(expected)
    row = context.hints.row(session_id, expected)
    place = place_from_id(expected) if row is None else keys.place_in(row)
    return await _read_last(context, session_id, expected) if place is None else LastMessage(expected, place)


async def _read_last(context: TableContext, session_id: str, expected: str) -> LastMessage:
    """The last message as it is, with the counters. Raises SessionNotFoundError."""
    params = query(context.keys.partition(session_id), keys.MESSAGE, keys.COUNTERS, newest_first=True, consistent=True)
    counters: Item | None = None
    async for rows in Pages(context.sender, params, limit=_ROWS):
        counters = counters or by_sort_key(rows).get(keys.COUNTERS)
        if counters is None:
            break
        if names.REPLACING in counters:
            raise PendingTailError
        for row in rows:
            if is_message(row):
                return LastMessage(expected, counters=counters, found=row[names.ID]["S"])
    if counters is None:
        await adopt_session(context, session_id)
        return await _read_last(context, session_id, expected)
    return LastMessage(expected, counters=counters, found="")
