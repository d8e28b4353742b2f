"""`Turns`: appends with terms: conditions, a change of the session, its creation, messages that are stored already."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from session_continuity import (
    Appended,
    AppendTerms,
    ConcurrencyError,
    Message,
    Session,
    SessionExistsError,
    messages_to_store,
    with_stored,
)
from session_continuity_redis import codec, scripts
from session_continuity_redis.client import Age, Argument
from session_continuity_redis.index import Index
from session_continuity_redis.keys import facts_of
from session_continuity_redis.messages import (
    Messages,
    check_accepted,
    check_last,
    read_stored,
    refusal_is_certain,
    summary,
)
from session_continuity_redis.runner import ScriptRunner
from session_continuity_redis.scripts import Reply
from session_continuity_redis.sessions import Sessions, concerns_index


class Turns:
    """Appends that check and change more than their messages. Each is one script on the session, and on its index."""

    def __init__(self, runner: ScriptRunner, index: Index, sessions: Sessions, messages: Messages) -> None:
        self._runner = runner
        self._index = index
        self._sessions = sessions
        self._messages = messages
        self._together = not runner.client.clustered

    async def append(
        self, session_id: str, batch: Sequence[Message], client_ids: Collection[str], terms: AppendTerms
    ) -> Appended:
        """Append the batch under these terms. Of a batch that is stored in part, what is missing is sent again."""
        new, stored = batch, list[Message | None]([None] * len(batch))
        while True:
            code, values, new, age = await self._send(session_id, new, client_ids, terms)
            if code != Reply.STORED:
                break
            found = read_stored(session_id, new, values[0])
            with refusal_is_certain(age):
                missing = messages_to_store(found, new, terms.get("existing", "refuse"))
            known = {message.id: message for message in found if message is not None}
            stored = [known.get(sent.id, before) for sent, before in zip(batch, stored, strict=True)]
            if not missing:
                return Appended(messages=with_stored(stored, ()), repeated=len(new) == len(batch))
            new = missing
        if code == Reply.DONE:
            return Appended(messages=with_stored(stored, new), repeated=True)
        slides = codec.read_session(session_id, values[0]).sliding_ttl is not None
        return Appended(messages=with_stored(stored, new), created=bool(values[3]), slides=slides)

    async def _send(
        self, session_id: str, batch: Sequence[Message], client_ids: Collection[str], terms: AppendTerms
    ) -> tuple[int, Sequence[Any], Sequence[Message], Age]:
        """The script's reply, the batch as sent, and the age of the request. On a cluster, what concerns the index is
        announced before."""
        patch, new = terms.get("patch"), terms.get("create")
        change = [] if patch is None else self._sessions.change(session_id, patch)
        apart = not self._together and (new is not None or bool(change and concerns_index(change)))
        intent = (await self._index.announce(session_id, "" if new is None else facts_of(new)))[0] if apart else None
        creation = [] if new is None else self._sessions.creation(new, intent or 0)
        while True:
            age = Age()
            code, values = await self._run(session_id, batch, terms, age, change, creation)
            if code != Reply.BEHIND:
                break
            batch = self._messages.move(batch, values[0], client_ids)
        if code == Reply.OK and (intent is not None or values[2]):
            await self._index.put(
                codec.read_session(session_id, values[0]), values[1], instead_of=intent, intent=intent
            )
        elif intent is not None:
            await self._index.repair([session_id])
            await self._index.withdraw(session_id, intent)
        _check(session_id, code, values, batch, terms)
        return code, values, batch, age

    async def _run(
        self,
        session_id: str,
        batch: Sequence[Message],
        terms: AppendTerms,
        age: Age,
        change: Sequence[Argument],
        creation: Sequence[Argument],
    ) -> tuple[int, list[Any]]:
        version, last_id = terms.get("expected_version"), terms.get("expected_last_id")
        return await self._runner.run(
            scripts.TURN,
            session_id,
            self._runner.scope(),
            age,
            summary(batch),
            "" if version is None else version,
            "" if last_id is None else f"={last_id}",
            len(batch),
            len(change),
            len(creation),
            *self._messages.members(batch),
            *change,
            *creation,
            with_index=self._together,
        )


def _check(session_id: str, code: int, values: Sequence[Any], batch: Sequence[Message], terms: AppendTerms) -> None:
    check_accepted(session_id, code, values, batch)
    if code == Reply.EXISTS:
        raise SessionExistsError(session_id)
    if code == Reply.CONFLICT:
        current: Session = codec.read_session(session_id, values[0])
        expected = terms.get("expected_version")
        raise ConcurrencyError(session_id, expected=expected, actual=values[1], current=current)
    check_last(session_id, code, values, terms.get("expected_last_id"))
