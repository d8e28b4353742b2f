"""session-continuity on Redis 6.2 or newer, Valkey, and clusters of either: `redis://`, or `RedisStorage(client)`.

A session is one key: `PREFIX:s:{NAMESPACE:ID}`, a sorted set. So it expires, is evicted, moves to another cluster node
and is deleted as a whole, whatever happens. Its members, by score:

| score | member | what |
|---|---|---|
| -2^52 + n·2^24 + answer | `~TOKEN` | the last 16 updates and removals, so that one that is sent again is known |
| -1, -2, … | `"user_id":"ada"` | one field of the session, as a piece of JSON |
| place, from 1 | JSON | a message; it begins with its time and its tokens, at fixed columns |
| role·2^48 + place | `@ID` | the id of a message; roles are 1 system, 2 user, 3 assistant, 4 tool |
| 2^52 + value | `#NAME` | totals, version, status, expiry, limit, next place, as numbers |

A delete leaves `~TOKEN` with the generation alone, until its answer has arrived, a minute at most.

Every operation on a session is one Lua script on this one key. An append is one round trip and touches nothing else.

The index of a namespace is one key or several, `PREFIX:i:{NAMESPACE:PART}`, sorted sets with all scores 0, read in the
order of their text. A session has these members in the part that its id hashes to, where ENTRY is `CREATED|ID`:
`a|ENTRY`, `s|STATUS|ENTRY`, and where it has such a thing `u|USER|ENTRY`, `g|AGENT|ENTRY`, `t|TAG|ENTRY`,
`x|EXPIRES|ENTRY`; and its row `f|ID|GENERATION|FACTS`, which says what the others are. In keys and names NAMESPACE, ID,
USER, AGENT and TAG are percent-encoded; in ENTRY the id is plain, so that ids order as they should.

Index and session may lie on different nodes, so no write covers both; the session decides and the index follows:

- A creation announces the session in the index, then creates it. Any other write changes the session first, then the
  index. A writer that dies between the two leaves an entry that is not right, never a session that no list can show.
- A row carries its session's generation, which grows with every change that concerns the index; an older one never
  replaces a newer.
- Who lists reads the sessions too: one that is gone, expired or does not match is left out, and its entries are put
  right. An entry without a session is removed only when it is older than any creation under way can be.
- A position in a list is `CREATED|ID`, which never changes for a session. A cursor names the last position seen, so
  what is written or deleted meanwhile moves nobody past it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from session_continuity_redis._version import __version__

if TYPE_CHECKING:
    from session_continuity_redis.adapter import RedisStorage

__all__ = ["RedisStorage", "__version__"]


def __getattr__(name: str) -> Any:
    """`RedisStorage` at its first use: core looks at the plugin without importing the driver."""
    if name != "RedisStorage":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from session_continuity_redis.adapter import RedisStorage

    return RedisStorage
