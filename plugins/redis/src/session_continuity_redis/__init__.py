"""session-continuity on Redis 6.2 or newer, Valkey, and clusters of either: `redis://`, or `RedisStorage(client)`.

A session is one key, `PREFIX:s:{NAMESPACE:ID}`, a sorted set. So it expires, is evicted, moves to another cluster node
and is deleted as a whole, whatever happens. Its members, by score:

| score | member | what |
|---|---|---|
| -2^52 + second·2^20 + result | `~TOKEN` | the traces of the last 32 writes, to recognise one that is sent again |
| -1, -2, … | `"user_id":"ada"` | one field of the session, as a piece of JSON |
| place, from 1 | JSON | a message; it begins with its time and its tokens, at fixed columns |
| role·2^48 + place | `@ID` | the id of a message; roles are 1 system, 2 user, 3 assistant, 4 tool |
| 2^52 + value | `#NAME` | totals, version, status, expiry, limit, next place, as numbers |

Every operation on a session is one Lua script. An append touches this key, and on a single server the two sets by
activity below. If a reply is lost, redis-py sends the request again, and the script recognises it: an append by the ids
of its messages, any other write by its trace. A message that is removed leaves the trace `~@ID`, so that its append is
not repeated. Traces outlive the session. A delete leaves them for a minute, and a session that is created meanwhile
keeps them as `-TOKEN`. `#forgotten` is the time up to which traces were dropped. A request that was first sent before
it has an unknown outcome, which is an `UnavailableError`.

The index of a namespace is one key or several, `PREFIX:i:{NAMESPACE:PART}`. Each is a sorted set whose scores are all
0, so that its members are in the order of their text. A session has these members in the part that its id hashes to,
where ENTRY is `CREATED|ID`:

- `a|ENTRY` and `s|STATUS|ENTRY`;
- `u|USER|ENTRY`, `g|AGENT|ENTRY`, `t|TAG|ENTRY` and `x|EXPIRES|ENTRY` for what the session has of these;
- `k|SOURCE|BORN|ENTRY` if it was forked from a session, where BORN distinguishes sessions of one id;
- its row `f|ID|GENERATION|FACTS`, which says what the others are.

NAMESPACE, ID, USER, AGENT and TAG are percent-encoded in keys and names. The id in ENTRY is plain, so that ids sort as
the contract says.

A single server also has the sessions of each part of the index by activity. `PREFIX:i:{NAMESPACE:PART}:r` has all, the
same with `:USER` behind it those of a user. The members are ids, the scores are times of the last activity. The scripts
that write entries write these too. The scripts that append change the score of a session that is there. A list by
activity compares how many members set and index have. If they differ, it fills the set first, in pieces of 500
sessions: so what a version without these sets has stored is taken over.

On a single server the script that writes a session writes its entries too. On a cluster the two may lie on different
nodes, so no write covers both. There the session decides and the index follows:

- A creation announces the session by its entries, a change by an intent, `p|ID|TIME`. Then the session is written, then
  the index. A list first repairs the entries of the sessions whose change was announced. So a writer that dies in
  between leaves a wrong entry, never a session that a list does not show.
- A fork reads its source, which may be on a third node, before it is announced. Then one script writes the whole copy.
  Where entries of an earlier session of its id are left, the list of forks has it after the last step. If its writer
  dies before that, the fork has to be repeated.
- A delete removes the session first, then its entries.
- A row has its session's generation, which grows with every change that concerns the index. An older generation never
  replaces a newer one.
- A list reads the sessions too. A session that is gone, expired or does not match is left out, and its entries are
  repaired. An entry without a session is removed only when it is older than any running creation can be.
- A position in a list is `CREATED|ID`, which never changes for a session. A cursor holds the last position, so writes
  and deletes meanwhile neither hide nor repeat other sessions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from session_continuity_redis._version import __version__

if TYPE_CHECKING:
    from session_continuity_redis.adapter import RedisStorage

__all__ = ["RedisStorage", "__version__"]


def __getattr__(name: str) -> Any:
    """Import `RedisStorage` when it is first used: core imports this package without redis-py."""
    if name != "RedisStorage":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from session_continuity_redis.adapter import RedisStorage

    return RedisStorage
