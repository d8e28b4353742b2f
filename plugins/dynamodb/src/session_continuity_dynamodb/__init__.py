"""session-continuity on Amazon DynamoDB: `dynamodb://TABLE?region=…`, or `DynamoDBStorage(table=…, client=…)`.

One table holds everything; `session-continuity dynamodb create-table` makes it. A session is one partition:

| sort key | what it is |
|---|---|
| `EXPIRY` | only with an expiry: in GSI1 as `EXPIRES#{shard}` / `{hour}#{id}`, so that expired sessions are found |
| `META` | the session without its totals; in GSI1 by user, in GSI2 by agent and status |
| `MSG#{created_at}#{id}` | a message |
| `MSG$ACTIVITY` | the totals, the last message's place, and what an append checks: status, expiry, tokens left |
| `MSGID#{id}` | only for an id that its caller chose: leads to the message, with as much of it as fits into one unit |
| `PART#{set}#{number}` | only for a message over 400 KB: a piece of its body, which the message's own item names |
| `SYSTEM#{created_at}#{id}` | lists a system message that found no room in the list of the activity item |

The partition is `SESSION#{id}`, with `NS#{namespace}#` before it where a namespace is set. The activity item is small
and in no index: an append is one transaction of it and the messages, at two write units each, whatever META's size. It
lies behind the newest message, so that reading the last messages brings it along; get_session asks for both by key.

Without a namespace, names and formats are those of the TypeScript kit, and both may use one table. Its limits there: a
session that the kit deletes leaves the rows behind that it does not know, until `delete_session` or a create of the
same id clears them; a status or an expiry that the kit changes is not seen by appends here; its message ids that tell
no time are found by reading the session.

Times to live: META carries `ttl`, so that the service removes expired sessions from the indexes by itself. Messages
carry none, because one that expired before its session was extended would be lost; `cleanup` finds what is left through
the marker, which stays until `delete_session` has removed the whole partition.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from session_continuity_dynamodb._version import __version__

if TYPE_CHECKING:
    from session_continuity_dynamodb.adapter import DynamoDBStorage

__all__ = ["DynamoDBStorage", "__version__"]


def __getattr__(name: str) -> Any:
    # Imported when it is asked for: core imports this package to learn of the plugin, without any AWS library.
    if name == "DynamoDBStorage":
        from session_continuity_dynamodb.adapter import DynamoDBStorage

        return DynamoDBStorage
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
