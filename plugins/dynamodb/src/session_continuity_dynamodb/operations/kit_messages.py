"""Messages that the TypeScript kit has appended to a session which has counters: the kit does not know these."""

from __future__ import annotations

from contextlib import suppress

from session_continuity_dynamodb.items import keys, names
from session_continuity_dynamodb.items.large_messages import is_system
from session_continuity_dynamodb.items.message_codec import is_message
from session_continuity_dynamodb.items.places import NO_MESSAGE, TIMESTAMP_LENGTH
from session_continuity_dynamodb.items.values import Item, string, string_set
from session_continuity_dynamodb.operations.context import TableContext
from session_continuity_dynamodb.requests.errors import CancelledTransactionError
from session_continuity_dynamodb.requests.expressions import Update
from session_continuity_dynamodb.requests.pages import Pages, query
from session_continuity_dynamodb.requests.transactions import transact, update


async def take_in_messages(context: TableContext, session_id: str, counters: Item) -> bool:
    """Move the end of a session behind the messages that lie behind it, and list the system messages among them.

    Returns whether there were any. The counters are then to be read again. Their totals stay, because META counts what
    the kit adds. Messages that the kit has written with an earlier time are not found here.
    """
    last = string(counters, names.LAST_KEY) or NO_MESSAGE
    params = query(
        context.keys.partition(session_id),
        keys.MESSAGE + last,
        keys.AFTER_MESSAGES,
        attributes=(names.PARTITION_KEY, names.SORT_KEY, names.ID, names.ROLE, names.CREATED_AT),
        consistent=True,
    )
    rows = [row async for page in Pages(context.sender, params) for row in page]
    late = [row for row in rows if is_message(row) and keys.place_in(row) != last]
    if not late:
        return False
    write_id, end = keys.new_write_id(), keys.place_in(late[-1])
    change = Update()
    change.where(*[change.same(name, counters.get(name)) for name in (names.WRITE_ID, names.LAST_KEY, names.STATUS)])
    change.set(names.LAST_KEY, end)
    change.set(names.LAST_ACTIVITY_AT, end[:TIMESTAMP_LENGTH])
    change.set(names.WRITE_ID, write_id)
    if system := [keys.place_in(row) for row in late if is_system(row)]:
        change.add(names.SYSTEM_PLACES, string_set(system))
    with suppress(CancelledTransactionError):  # others have written, perhaps the same
        await transact(context.sender, [update(context.keys.counters(session_id), change)], write_id)
    return True
