"""session-continuity on Amazon DynamoDB: `dynamodb://TABLE?region=…`, or `DynamoDBStorage(table=…, client=…)`.

One table holds everything; `session-continuity dynamodb create-table` creates it. A session is one partition,
`SESSION#{id}`, with `NS#{namespace}#` before it if there is a namespace. These are its items:

| sort key | item |
|---|---|
| `EXPIRY` | only with an expiry: a marker in GSI1, `EXPIRES#{shard}` / `{hour}#{id}`, to find expired sessions |
| `FORK#{created_at}#{id}` | a link to a session that was forked from this one |
| `META` | the session without its totals; in GSI1 by user, in GSI2 by agent and status |
| `MSG#{created_at}#{id}` | a message |
| `MSG$ACTIVITY` | the counters: totals, last place, and what an append checks: status, expiry, tokens left |
| `MSGID#{id}` | only for an id that the caller chose: a pointer to the message, with what of it fits into one unit |
| `PART#{set}#{number}` | only for a message over 400 KB: a part of its body, which the message's own item names |
| `SYSTEM#{created_at}#{id}` | an entry in the list of system messages that did not fit into the counters |

The counters are small and in no index. So an append is one transaction of them and the messages, at two write units
each, whatever the size of META. Their key lies just behind the newest message, so a read of the last messages returns
them too. `get_session` reads both heads, META and the counters, by key.

Without a namespace, names and formats are those of the TypeScript kit, and both may use one table. The kit does not
know the counters, so an append does not see what the kit does to META. With `beside_kit` an append is also conditional
on META. `MIGRATION.md` says what works across the two.

META has a `ttl`, so that DynamoDB removes expired sessions from the indexes. Messages have none: one that passed before
its session was extended would delete a message. The marker leads `cleanup_expired_sessions` to what is left, and stays
until `delete_session` has removed the whole partition.

The package has four rooms: `items` (what is stored, pure), `requests` (DynamoDB's API), `operations` (the storage
contract) and `table` (setting it up). Each imports only those before it, and `table` does not import `operations`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from session_continuity_dynamodb._version import __version__

if TYPE_CHECKING:
    from session_continuity_dynamodb.adapter import DynamoDBStorage

__all__ = ["DynamoDBStorage", "__version__"]


def __getattr__(name: str) -> Any:
    # On first use: core imports this package to find the plugin, and must not import an AWS library for that.
    if name == "DynamoDBStorage":
        from session_continuity_dynamodb.adapter import DynamoDBStorage

        return DynamoDBStorage
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
