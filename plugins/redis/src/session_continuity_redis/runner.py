"""`ScriptRunner`: runs scripts on the sessions of one namespace."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from session_continuity import SessionNotFoundError, UnavailableError
from session_continuity_redis import codec
from session_continuity_redis.client import Age, Argument, Call, ScriptClient
from session_continuity_redis.keys import Keys
from session_continuity_redis.scripts import Reply, Script


class ScriptRunner:
    """Sends each script to its session's key. `grace` is how long a key outlives its session.

    With an `owner`, the sessions of other users do not exist.
    """

    def __init__(
        self, client: ScriptClient, keys: Keys, clock: Callable[[], datetime], grace: timedelta, owner: str | None
    ) -> None:
        self.client = client
        self.keys = keys
        self.clock = clock
        self.grace = grace
        self.owner = owner
        self.owned = "" if owner is None else f" {codec.user_fragment(owner)}"

    async def run(
        self,
        script: Script,
        session_id: str,
        *arguments: Argument,
        with_index: bool = False,
        with_activity: bool = False,
    ) -> tuple[int, list[Any]]:
        """Run a script, and return its reply: the code, and the values that belong to it.

        With `with_index`, the script has the session's part of the index and its set by activity as further keys, with
        `with_activity` this set alone, if there are such sets. Raises UnavailableError if the script was sent again and
        cannot find out whether it ran before.
        """
        keys = [self.keys.session(session_id)]
        if with_index or with_activity:
            beside = self.keys.with_activity(self.keys.index_of(session_id))
            keys += beside if with_index else beside[1:]
        return await self.send(Call(script, keys, arguments))

    async def send(self, call: Call) -> tuple[int, list[Any]]:
        """`run` for a script with other keys."""
        reply = await self.client.run(call)
        if reply == Reply.OK:  # a script that has nothing to add returns the code alone
            return Reply.OK, []
        code, *values = reply
        if code == Reply.UNKNOWN:
            raise UnavailableError(
                "the reply was lost, and other writers were active before the request could be sent again; "
                "the outcome is unknown: read the session, or repeat the call"
            )
        return code, values

    async def run_on_existing(
        self, script: Script, session_id: str, *arguments: Argument, **more: bool
    ) -> tuple[int, list[Any]]:
        """`run` for a script that takes the scope as its first argument. Raises SessionNotFoundError."""
        code, values = await self.run(script, session_id, self.scope(), *arguments, **more)
        if code == Reply.MISSING:
            raise SessionNotFoundError(session_id)
        return code, values

    async def write(self, script: Script, session_id: str, *arguments: Argument, **more: bool) -> tuple[int, list[Any]]:
        """`run_on_existing` for a script that takes the scope, the age of the request and a token of this call first.

        `arguments` begin with the token. Every attempt of one call has the same.
        """
        return await self.run_on_existing(script, session_id, Age(), *arguments, **more)

    def now(self) -> int:
        """The time in milliseconds since 1970."""
        return codec.milliseconds(self.clock())

    def scope(self) -> str:
        """What the scripts get to decide which sessions exist: the time, and of which user they are."""
        return f"{self.now()}{self.owned}"

    def scope_at(self, moment: datetime | None) -> str:
        """`scope` at another time, or for None of all sessions, also expired ones."""
        return f"{'' if moment is None else codec.milliseconds(moment)}{self.owned}"

    def key_life(self, expires_at: datetime) -> int:
        """How many milliseconds the server keeps the key of a session that expires then.

        It is a duration because the server's clock may differ from this one.
        """
        return max(1, (expires_at - self.clock() + self.grace) // codec.MILLISECOND)


def new_token() -> str:
    """A token for one call of a write, by which the server recognises it when it is sent again."""
    return secrets.token_hex(8)
