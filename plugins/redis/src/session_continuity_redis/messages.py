"""`Messages`: appending, reading, changing and deleting the messages of a session. Each operation is one script."""

from __future__ import annotations

from collections.abc import Collection, Generator, Sequence
from contextlib import contextmanager
from typing import Any

from session_continuity import (
    MAX_PAGE,
    Appended,
    ConversationChangedError,
    ConversationPage,
    Message,
    MessageNotFoundError,
    MessageQuery,
    MessageTooLargeError,
    Page,
    Patch,
    Replaced,
    SessionClosedError,
    SessionNotFoundError,
    TokenBudgetExceededError,
    UnavailableError,
    ValidationError,
    decode_cursor,
    encode_cursor,
    is_repeated_append,
    is_same_tail,
    move_to,
    with_stored,
)
from session_continuity_redis import codec, scripts
from session_continuity_redis.client import Age, Argument
from session_continuity_redis.runner import ScriptRunner, new_token
from session_continuity_redis.scripts import ROLE_CODES, STATUSES, Reply, Script

_NO_ROLE = "9"
"""In place of the digits of the roles wanted, if none is: an empty text means all roles."""


class Messages:
    """The operations on messages. `max_bytes` is the largest message that is sent."""

    def __init__(self, runner: ScriptRunner, max_bytes: int) -> None:
        self._runner = runner
        self._max_bytes = max_bytes

    async def append(self, session_id: str, batch: Sequence[Message], client_ids: Collection[str]) -> Appended:
        """Append the batch, moved up in time if the session's last message is newer."""
        while True:
            age = Age()
            code, values = await self._runner.run(
                scripts.APPEND, session_id, *self._appending(batch, age), with_activity=True
            )
            if code != Reply.BEHIND:
                break
            batch = self.move(batch, values[0], client_ids)
        check_accepted(session_id, code, values, batch)
        if code == Reply.STORED:
            stored = read_stored(session_id, batch, values[0])
            with refusal_is_certain(age):
                is_repeated_append(stored, batch)
            return Appended(messages=with_stored(stored, ()), repeated=True)
        slides = None if code == Reply.DONE else code == Reply.SLIDING
        return Appended(messages=tuple(batch), repeated=code == Reply.DONE, slides=slides)

    async def get(self, session_id: str, message_id: str) -> Message | None:
        """One message, None if there is none."""
        body = await self._body(session_id, message_id)
        return None if body is None else codec.read_message(session_id, message_id, body)

    async def page(self, session_id: str, query: MessageQuery, cursor: str | None) -> Page[Message]:
        """One page of messages."""
        start = None if cursor is None else decode_cursor(cursor, bound_to=query.key(session_id), form=int)
        bodies, next_place = await self._find(session_id, query, start, with_session=False)
        return await self._page(session_id, query, bodies, next_place)

    async def conversation(self, session_id: str, query: MessageQuery) -> ConversationPage:
        """The session, a page of its messages, and its other system messages."""
        bodies, next_place, document, system = await self._find(session_id, query, None, with_session=True)
        session = codec.read_session(session_id, document)
        page = await self._page(session_id, query, bodies, next_place)
        others = _readable(system)
        known = {message.id for message in (*page, *others)}
        missing = [message_id for message_id in session.system_message_ids if message_id not in known]
        for start in range(0, len(missing), MAX_PAGE):
            ids = frozenset(missing[start : start + MAX_PAGE])
            others += await self.page(session_id, MessageQuery(ids=ids, limit=MAX_PAGE), None)
        return ConversationPage(session=session, messages=page, system_messages=tuple(others))

    async def update(self, session_id: str, message_id: str, patch: Patch) -> Message:
        """Change a message: read it, and replace it unless another writer has replaced it meanwhile."""
        token = new_token()
        body = await self._body(session_id, message_id)
        while body is not None:
            current = codec.read_message(session_id, message_id, body)
            changed = patch.apply(current)
            code, values = await self._runner.write(
                scripts.EDIT,
                session_id,
                token,
                message_id,
                codec.digest_of(body),
                self._check_size(codec.message_body(changed)),
                ROLE_CODES[changed.role],
                (changed.token_count or 0) - (current.token_count or 0),
            )
            if code in {Reply.OK, Reply.DONE}:
                return changed
            body = values[0] if code == Reply.CONFLICT else None
        raise MessageNotFoundError(session_id, message_id)

    async def replace_tail(
        self,
        session_id: str,
        after_id: str | None,
        batch: Sequence[Message],
        client_ids: Collection[str],
        expected_last_id: str | None,
        *,
        return_removed: bool,
    ) -> Replaced:
        """Replace the messages after one of them by the batch, moved up in time if what stays is newer."""
        token, is_other = new_token(), 0
        while True:
            code, values = await self._runner.write(
                scripts.TAIL,
                session_id,
                token,
                _stated(after_id),
                _stated(expected_last_id),
                is_other,
                int(return_removed),
                summary(batch),
                *self.members(batch),
                with_activity=True,
            )
            if code == Reply.BEHIND:
                batch = self.move(batch, values[0], client_ids)
            elif code == Reply.SAME:
                stored = _readable(values[0])
                if is_same_tail(stored, batch):
                    return Replaced(messages=tuple(stored), repeated=True)
                is_other = 1
            else:
                break
        if code == Reply.NO_MESSAGE:
            raise MessageNotFoundError(session_id, after_id or "")
        if code == Reply.TAKEN:
            taken = batch[int(values[0]) - 1].id
            raise ValidationError(f"message id {taken!r} belongs to a message that stays; choose a new id")
        check_accepted(session_id, code, values, batch)
        check_last(session_id, code, values, expected_last_id)
        if code == Reply.DONE and return_removed and values[0]:
            raise UnavailableError("the tail was replaced, but the reply with the removed messages was lost")
        removed = tuple(_readable(values[1])) if code == Reply.OK else ()
        return Replaced(
            messages=tuple(batch), removed_count=int(values[0]), removed=removed, repeated=code == Reply.DONE
        )

    async def delete(self, session_id: str, message_id: str) -> bool:
        """Delete a message, and return whether there was one."""
        return bool(await self._remove(scripts.REMOVE, session_id, message_id))

    async def clear(self, session_id: str) -> int:
        """Delete all messages, and return how many there were."""
        return await self._remove(scripts.CLEAR, session_id, self._runner.grace // codec.MILLISECOND)

    def move(self, batch: Sequence[Message], last: int, client_ids: Collection[str]) -> Sequence[Message]:
        """The batch behind the last message of its session, whose packed time is given."""
        return move_to(max(codec.unpack_time(last), self._runner.clock()), batch, client_ids=client_ids)

    def members(self, batch: Sequence[Message]) -> list[Argument]:
        """For each message the digit of its role followed by its id, and its body."""
        arguments: list[Argument] = []
        for message in batch:
            arguments.append(f"{ROLE_CODES[message.role]}{message.id}")
            arguments.append(self._check_size(codec.message_body(message)))
        return arguments

    def _appending(self, batch: Sequence[Message], age: Age) -> list[Argument]:
        return [f"{self._runner.now()} {summary(batch)}{self._runner.owned}", age, *self.members(batch)]

    async def _body(self, session_id: str, message_id: str) -> bytes | None:
        _, (body,) = await self._runner.run_on_existing(scripts.MESSAGE, session_id, message_id)
        found: bytes | None = body
        return found

    async def _page(
        self, session_id: str, query: MessageQuery, bodies: Sequence[bytes], next_place: int | None
    ) -> Page[Message]:
        """The page of these bodies. The ids of those that cannot be read take one more request."""
        messages = codec.readable_messages(bodies)
        damaged = [body for body, message in zip(bodies, messages, strict=True) if message is None]
        unreadable: list[str] = []
        if damaged:
            _, (names,) = await self._runner.run_on_existing(scripts.NAMES, session_id, *damaged)
            unreadable = [name.decode() for name in names if name]
        cursor = None if next_place is None else encode_cursor(next_place, bound_to=query.key(session_id))
        return Page(tuple(message for message in messages if message is not None), cursor, tuple(unreadable))

    async def _find(
        self, session_id: str, query: MessageQuery, start: int | None, *, with_session: bool
    ) -> Sequence[Any]:
        """The bodies of a page, and the place at which the next page begins.

        With `with_session` also the session and the bodies of its other system messages, at most a thousand: while a
        script runs, every other client of the server waits.
        """
        roles = "" if query.roles is None else "".join(str(ROLE_CODES[role]) for role in query.roles) or _NO_ROLE
        code, values = await self._runner.run_on_existing(
            scripts.PAGE,
            session_id,
            query.order,
            query.limit,
            "" if start is None else start,
            "" if query.after is None else codec.not_after(query.after),
            "" if query.before is None else codec.not_before(query.before),
            query.after_id or "",
            query.before_id or "",
            roles,
            0 if query.ids is None else 1,
            1 if with_session else 0,
            *(query.ids or ()),
        )
        if code == Reply.NO_MESSAGE:
            raise MessageNotFoundError(session_id, (query.after_id, query.before_id)[int(values[0]) - 1] or "")
        return values

    async def _remove(self, script: Script, session_id: str, *arguments: Argument) -> int:
        _, values = await self._runner.write(script, session_id, new_token(), *arguments)
        return int(values[0])

    def _check_size(self, body: str) -> str:
        if len(body) * 4 > self._max_bytes and (size := len(body.encode())) > self._max_bytes:
            raise MessageTooLargeError(size=size, limit=self._max_bytes)
        return body


def summary(batch: Sequence[Message]) -> str:
    """The packed times of the first and last message and the batch's tokens. All are 0 for an empty batch."""
    if not batch:
        return "0 0 0"
    return f"{codec.pack_time(batch[0].created_at)} {codec.pack_time(batch[-1].created_at)} {_tokens(batch)}"


def check_accepted(session_id: str, code: int, values: Sequence[Any], batch: Sequence[Message]) -> None:
    """Raise if a script replied that the session does not accept the batch."""
    if code == Reply.MISSING:
        raise SessionNotFoundError(session_id)
    if code == Reply.CLOSED:
        raise SessionClosedError(session_id, STATUSES[int(values[0]) - 1])
    if code == Reply.FULL:
        raise TokenBudgetExceededError(session_id, requested=_tokens(batch), limit=values[0], used=values[1])


def check_last(session_id: str, code: int, values: Sequence[Any], expected: str | None) -> None:
    """Raise if a script replied that the conversation ends with another message than the expected one."""
    if code == Reply.CHANGED:
        raise ConversationChangedError(session_id, expected_last_id=expected or "", last_id=values[0].decode())


def _stated(message_id: str | None) -> str:
    """An id as the scripts get it, which tell an empty id from none."""
    return "" if message_id is None else f"={message_id}"


def _tokens(batch: Sequence[Message]) -> int:
    return sum(message.token_count or 0 for message in batch)


def read_stored(session_id: str, batch: Sequence[Message], bodies: Sequence[bytes | None]) -> list[Message | None]:
    """What is stored under the ids of a batch. Raises UnreadableError."""
    return [
        None if body is None else codec.read_message(session_id, sent.id, body)
        for sent, body in zip(batch, bodies, strict=True)
    ]


def _readable(bodies: Sequence[bytes]) -> list[Message]:
    return [message for message in codec.readable_messages(bodies) if message is not None]


@contextmanager
def refusal_is_certain(age: Age) -> Generator[None]:
    """Raise UnavailableError in place of a ValidationError if the request was sent again: the first attempt may have
    stored the messages that another client has changed since."""
    try:
        yield
    except ValidationError as refused:
        if not age.is_resent:
            raise
        raise UnavailableError(
            "the reply was lost, and the messages that are stored with these ids now are others; "
            "the outcome is unknown: read the messages"
        ) from refused.__cause__
