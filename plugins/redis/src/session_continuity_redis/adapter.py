"""`RedisStorage`: the contract, one script an operation. What the keys hold is described in the package's docstring."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Collection, Coroutine, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from session_continuity import (
    MAX_PAGE,
    Appended,
    ConcurrencyError,
    ConversationPage,
    HealthStatus,
    Message,
    MessageNotFoundError,
    MessageQuery,
    MessageTooLargeError,
    Mode,
    Page,
    Patch,
    Session,
    SessionClosedError,
    SessionExistsError,
    SessionFilter,
    SessionNotFoundError,
    StorageAdapter,
    StorageClosedError,
    StorageError,
    TokenBudgetExceededError,
    check_limit,
    check_turn,
    decode_cursor,
    encode_cursor,
    format_timestamp,
    is_repeated_append,
    is_repeated_create,
    move_to,
    parse_options,
    utc_now,
)
from session_continuity_redis import codec, scripts
from session_continuity_redis.config import ClusterOptions, RedisOptions, capabilities
from session_continuity_redis.errors import BACKEND, COMPLETE, FAILURES, translate
from session_continuity_redis.health import check_version, judge, refused
from session_continuity_redis.index import PROMPT, Index
from session_continuity_redis.keys import TIMESTAMP, Keys, entry_of, facts_of, id_of
from session_continuity_redis.scripts import ROLE_CODES, STATUS_CODES, STATUSES, Answer, Script
from session_continuity_redis.wire import Argument, Call, Client, Wire, wire_of

T = TypeVar("T")

_DEFAULTS = {name: field.default for name, field in RedisOptions.model_fields.items()}
_ROUNDS = 10
_FORGOTTEN = 50
_ONE_IN = 16
_NO_ROLE = "9"
_NOBODY = "health"


class RedisStorage(StorageAdapter):
    """Sessions on a Redis or Valkey server or cluster.

    `client` is any of redis-py's clients, sync or asyncio, single node or cluster; who opened it closes it. The mode is
    the client's. The other parameters are the options of the same names of a config string, with the same defaults:
    `index_parts` is 1, and 8 on a cluster. Raises ConfigError for a wrong one, and for a client that cannot serve.
    """

    backend = BACKEND

    def __init__(
        self,
        client: Wire | Client,
        *,
        namespace: str = "",
        prefix: str = _DEFAULTS["prefix"],
        grace: int = _DEFAULTS["grace"],
        index_parts: int | None = None,
        max_message_bytes: int = _DEFAULTS["max_message_bytes"],
    ) -> None:
        self._wire: Wire = client if isinstance(client, Wire) else wire_of(client)
        stated = {"namespace": namespace, "prefix": prefix, "grace": grace, "max_message_bytes": max_message_bytes}
        if index_parts is not None:
            stated["index_parts"] = index_parts
        options = parse_options(ClusterOptions if self._wire.clustered else RedisOptions, stated, scheme=BACKEND)
        self.mode: Mode = self._wire.mode
        self.capabilities = capabilities(options.max_message_bytes)
        self.clock = utc_now
        self._keys = Keys(options.prefix, options.namespace, options.index_parts)
        self._index = Index(self._wire, self._keys)
        self._grace = timedelta(seconds=options.grace)
        self._most_bytes = options.max_message_bytes
        self._closed = False

    @property
    def native(self) -> Client:
        """redis-py's client, opened if it was not yet. Raises StorageClosedError after `close`."""
        return self._wire.native

    async def setup(self) -> None:
        for told in await self._do("setup", self._wire.info):
            check_version(told)

    async def close(self) -> None:
        self._closed = True
        await self._wire.close()

    async def health(self) -> HealthStatus:
        self._check_open("health")
        began = time.perf_counter()
        try:
            told = await self._do("health", self._wire.info)
            save = await self._do("health", self._wire.config, "save")
            await self._do("health", self._index.read, [_NOBODY], self._now())
        except StorageError as problem:
            return refused(problem)
        return judge(told, save, latency_ms=(time.perf_counter() - began) * 1000)

    async def create_session(self, session: Session) -> Session:
        return await self._do("create_session", self._create, session)

    async def get_session(self, session_id: str) -> Session | None:
        found = await self._do("get_session", self._index.read, [session_id], self._now())
        return found.sessions().get(session_id)

    async def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        return await self._do("update_session", self._update, session_id, patch, expected_version)

    async def delete_session(self, session_id: str, *, expired_before: datetime | None = None) -> bool:
        return await self._do("delete_session", self._delete, session_id, expired_before)

    async def list_sessions(self, filter: SessionFilter, *, limit: int, cursor: str | None = None) -> Page[Session]:
        check_limit(limit)
        after = None if cursor is None else decode_cursor(cursor, bound_to=filter.key(), form=str)
        found, last = await self._do("list_sessions", self._list, filter, limit, after)
        return Page(tuple(found), None if last is None else encode_cursor(last, bound_to=filter.key()))

    async def append_messages(
        self, session_id: str, messages: Sequence[Message], *, chosen_ids: Collection[str] = ()
    ) -> Appended:
        check_turn(messages)
        return await self._do("append_messages", self._append, session_id, tuple(messages), chosen_ids)

    async def get_message(self, session_id: str, message_id: str) -> Message | None:
        return await self._do("get_message", self._message, session_id, message_id)

    async def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        bound_to = query.key(session_id)
        start = None if cursor is None else decode_cursor(cursor, bound_to=bound_to, form=int)
        return await self._do("get_messages", self._page, session_id, query, start)

    async def get_conversation(self, session_id: str, query: MessageQuery) -> ConversationPage:
        return await self._do("get_conversation", self._conversation, session_id, query)

    async def update_message(self, session_id: str, message_id: str, patch: Patch) -> Message:
        return await self._do("update_message", self._edit, session_id, message_id, patch)

    async def delete_message(self, session_id: str, message_id: str) -> bool:
        return bool(await self._do("delete_message", self._remove, scripts.REMOVE, session_id, message_id))

    async def delete_all_messages(self, session_id: str) -> int:
        return await self._do(
            "delete_all_messages", self._remove, scripts.CLEAR, session_id, self._grace // codec.MILLISECOND
        )

    async def get_expired_sessions(self, before: datetime, *, limit: int, cursor: str | None = None) -> Page[str]:
        check_limit(limit)
        after = "" if cursor is None else decode_cursor(cursor, bound_to="expired", form=str)
        ids, last = await self._do("get_expired_sessions", self._expired, before, limit, after)
        return Page(tuple(ids), None if last is None else encode_cursor(last, bound_to="expired"))

    async def _create(self, session: Session) -> Session:
        began = time.monotonic()
        generation, announced = await self._index.announce(session)
        limit = None if session.token_budget is None else session.token_budget.hard_limit
        code, facts = await self._run(
            scripts.CREATE,
            session.id,
            self._now(),
            generation,
            "" if session.expires_at is None else self._life(session.expires_at),
            format_timestamp(session.last_activity_at),
            session.version,
            STATUS_CODES[session.status],
            "-" if session.expires_at is None else codec.milliseconds(session.expires_at),
            "-" if limit is None else limit,
            *codec.fields_of(session),
        )
        if code == Answer.EXISTS:
            return await self._created_before(session, codec.session_from(facts[0]), facts[1], generation, announced)
        if not announced or time.monotonic() - began > PROMPT:
            await self._index.put(session, generation)
        if session.expires_at is not None and generation % _ONE_IN == 0:
            # the server has removed these since: forgetting some keeps the index from growing where nobody cleans up
            await self._tidy(self._expired, self.clock() - self._grace, _FORGOTTEN, "")
        return session.model_copy(update={"message_count": 0, "token_count": 0, "system_message_ids": []})

    async def _created_before(
        self, sent: Session, existing: Session, known: int, generation: int, announced: bool
    ) -> Session:
        if announced:
            await self._index.put(existing, known, instead_of=generation)
        if not is_repeated_create(existing, sent):
            raise SessionExistsError(sent.id)
        return existing

    async def _update(self, session_id: str, patch: Patch, expected_version: int | None) -> Session:
        values = {**dict.fromkeys(patch.clear), **patch.set}
        code, (document, number, *before) = await self._existing(
            scripts.UPDATE,
            session_id,
            secrets.token_hex(8),
            "" if expected_version is None else expected_version,
            0 if codec.INDEXED.isdisjoint(values) else 1,
            self._gate(values, "expires_at", self._life),
            STATUS_CODES[values["status"] or "active"] if "status" in values else "",
            self._gate(values, "expires_at", codec.milliseconds),
            self._gate(values, "token_budget", lambda budget: "-" if budget.hard_limit is None else budget.hard_limit),
            *codec.pieces(values),
        )
        session = codec.session_from(document)
        if code == Answer.CONFLICT:
            raise ConcurrencyError(session_id, expected=expected_version, actual=number, current=session)
        if not codec.INDEXED.isdisjoint(values) and not _same_facts(before[0], session):
            await self._index.put(session, number)
        return session

    async def _delete(self, session_id: str, expired_before: datetime | None) -> bool:
        moment = "" if expired_before is None else codec.milliseconds(expired_before)
        token = secrets.token_hex(8)
        code, facts = await self._run(scripts.DELETE, session_id, moment, token)
        if code == Answer.KEPT:
            return False
        if code == Answer.MISSING:
            # entries without a session tell of a delete that died before it came to them
            return await self._index.forget(session_id, None)
        done = Call(scripts.DELETED, [self._keys.session(session_id)], [token])
        await self._index.forget(session_id, facts[0], done)
        return True

    async def _list(self, filter: SessionFilter, limit: int, after: str | None) -> tuple[list[Session], str | None]:
        listed: list[Session] = []
        for _ in range(_ROUNDS):
            entries, after = await self._index.page(filter, after, limit - len(listed))
            found = await self._index.read([id_of(entry) for entry in entries], self._now())
            sessions = found.sessions()
            stale: list[str] = []
            for entry in entries:
                session = sessions.get(id_of(entry))
                if session is not None and entry_of(session) == entry and filter.matches(session):
                    listed.append(session)
                elif id_of(entry) not in found.expired:
                    stale.append(id_of(entry))
            if stale:
                await self._tidy(self._index.heal, stale)
            if after is None or len(listed) == limit:
                break
        return listed, after

    async def _append(self, session_id: str, turn: tuple[Message, ...], chosen_ids: Collection[str]) -> Appended:
        tokens = sum(message.token_count or 0 for message in turn)
        while True:
            times = f"{codec.packed(turn[0].created_at)} {codec.packed(turn[-1].created_at)}"
            arguments: list[Argument] = [f"{self._now()} {times} {tokens}"]
            for message in turn:
                arguments += (
                    f"{ROLE_CODES[message.role]}{message.id}",
                    self._checked(codec.body_of(message), "append_messages"),
                )
            code, facts = await self._run(scripts.APPEND, session_id, *arguments)
            if code != Answer.BEHIND:
                break
            turn = move_to(max(codec.unpacked(facts[0]), self.clock()), turn, chosen_ids=chosen_ids)
        if code == Answer.MISSING:
            raise SessionNotFoundError(session_id)
        if code == Answer.CLOSED:
            raise SessionClosedError(session_id, STATUSES[int(facts[0]) - 1])
        if code == Answer.FULL:
            raise TokenBudgetExceededError(session_id, requested=tokens, limit=facts[0], used=facts[1])
        count, total, expires, *stored = facts
        repeated = code == Answer.STORED and _is_repeated(stored[0], turn)
        return Appended(
            messages=tuple(map(codec.message_from, stored[0])) if repeated else turn,
            repeated=repeated,
            message_count=int(count),
            token_count=int(total),
            expires_at=codec.moment(int(expires)) if expires else None,
        )

    async def _message(self, session_id: str, message_id: str) -> Message | None:
        body = await self._body(session_id, message_id)
        return None if body is None else codec.message_from(body)

    async def _body(self, session_id: str, message_id: str) -> str | None:
        _, (body,) = await self._existing(scripts.MESSAGE, session_id, message_id)
        return None if body is None else codec.text(body)

    async def _page(self, session_id: str, query: MessageQuery, start: int | None) -> Page[Message]:
        bodies, following = await self._found(session_id, query, start, whole=False)
        return _as_page(bodies, following, query.key(session_id))

    async def _conversation(self, session_id: str, query: MessageQuery) -> ConversationPage:
        bodies, following, document, system = await self._found(session_id, query, None, whole=True)
        session, page = codec.session_from(document), _as_page(bodies, following, query.key(session_id))
        others = codec.messages_from(system)
        known = {message.id for message in (*page, *others)}
        further = [message_id for message_id in session.system_message_ids if message_id not in known]
        for start in range(0, len(further), MAX_PAGE):
            ids = frozenset(further[start : start + MAX_PAGE])
            others += await self._page(session_id, MessageQuery(ids=ids, limit=MAX_PAGE), None)
        return ConversationPage(session=session, messages=page, system_messages=tuple(others))

    async def _found(self, session_id: str, query: MessageQuery, start: int | None, *, whole: bool) -> Sequence[Any]:
        """Messages as JSON texts and the place at which the next page begins; with `whole`, also the session and its
        other system messages, the first thousand of them: while a script runs, every other client waits."""
        roles = "" if query.roles is None else "".join(str(ROLE_CODES[role]) for role in query.roles) or _NO_ROLE
        code, facts = await self._existing(
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
            1 if whole else 0,
            *(query.ids or ()),
        )
        if code == Answer.NO_MESSAGE:
            raise MessageNotFoundError(session_id, (query.after_id, query.before_id)[int(facts[0]) - 1] or "")
        return facts

    async def _edit(self, session_id: str, message_id: str, patch: Patch) -> Message:
        body = await self._body(session_id, message_id)
        while body is not None:
            current = codec.message_from(body)
            changed = patch.apply(current)
            code, facts = await self._existing(
                scripts.EDIT,
                session_id,
                message_id,
                codec.digest_of(body),
                self._checked(codec.body_of(changed), "update_message"),
                ROLE_CODES[changed.role],
                (changed.token_count or 0) - (current.token_count or 0),
            )
            if code == Answer.OK:
                return changed
            body = codec.text(facts[0]) if code == Answer.CONFLICT else None
        raise MessageNotFoundError(session_id, message_id)

    async def _remove(self, script: Script, session_id: str, *arguments: Argument) -> int:
        _, (removed,) = await self._existing(script, session_id, secrets.token_hex(8), *arguments)
        return int(removed)

    async def _expired(self, before: datetime, limit: int, after: str) -> tuple[list[str], str | None]:
        listed, sampled = await self._index.expired(codec.not_after(before), after, limit)
        ids = [id_of(entry[TIMESTAMP + 1 :]) for entry in listed]
        found = await self._index.read([*dict.fromkeys([*ids, *sampled])], codec.milliseconds(before))
        stale = found.gone | {session_id for session_id in ids if session_id not in found.expired}
        if stale:
            await self._tidy(self._index.heal, sorted(stale))
        expired = [session_id for session_id in ids if session_id in found.expired]
        return expired, listed[-1] if len(listed) == limit else None

    async def _tidy(self, method: Callable[..., Coroutine[Any, Any, Any]], *arguments: Any) -> None:
        """Work that no answer depends on: on a replica, or where one part is away, it is left to a later call."""
        try:
            await method(*arguments)
        except FAILURES as error:
            self._settle(error)

    async def _run(self, script: Script, session_id: str, *arguments: Argument) -> tuple[int, list[Any]]:
        """What a script on a session answers: the code, and what belongs to it. A text is the quick form of success."""
        answer = await self._wire.run(Call(script, [self._keys.session(session_id)], arguments))
        if isinstance(answer, str | bytes):
            return Answer.OK, codec.text(answer).split(" ")
        code, *facts = answer
        return code, facts

    async def _existing(self, script: Script, session_id: str, *arguments: Argument) -> tuple[int, list[Any]]:
        """The same of a script that needs the session to exist and takes the time first."""
        code, facts = await self._run(script, session_id, self._now(), *arguments)
        if code == Answer.MISSING:
            raise SessionNotFoundError(session_id)
        return code, facts

    async def _do(self, operation: str, method: Callable[..., Coroutine[Any, Any, T]], *arguments: Any) -> T:
        self._check_open(operation)
        try:
            return await method(*arguments)
        except BaseException as error:
            self._settle(error)
            if isinstance(error, FAILURES):
                raise translate(error, operation) from error
            raise

    def _settle(self, error: BaseException) -> None:
        """See to it that no answer of a call that failed is left for the next."""
        if not isinstance(error, COMPLETE):
            self._wire.hang_up()

    def _now(self) -> int:
        return codec.milliseconds(self.clock())

    def _life(self, expires_at: datetime) -> int:
        """How long the server keeps the key, in its own time, so that a clock that tests move never shortens it."""
        return max(1, (expires_at - self.clock() + self._grace) // codec.MILLISECOND)

    @staticmethod
    def _gate(values: dict[str, Any], name: str, number: Callable[[Any], Argument]) -> Argument:
        if name not in values:
            return ""
        return "-" if values[name] is None else number(values[name])

    def _checked(self, body: str, operation: str) -> str:
        if len(body) * 4 > self._most_bytes and (size := len(body.encode())) > self._most_bytes:
            raise MessageTooLargeError(backend=BACKEND, operation=operation, size=size, limit=self._most_bytes)
        return body

    def _check_open(self, operation: str) -> None:
        if self._closed:
            raise StorageClosedError(backend=self.backend, operation=operation)


def _as_page(bodies: Sequence[str | bytes], following: int | None, bound_to: str) -> Page[Message]:
    cursor = None if following is None else encode_cursor(following, bound_to=bound_to)
    return Page(tuple(codec.messages_from(bodies)), cursor)


def _is_repeated(bodies: Sequence[str | bytes | None], turn: Sequence[Message]) -> bool:
    stored = [None if body is None else codec.message_from(body) for body in bodies]
    return is_repeated_append(stored, turn)


def _same_facts(before: str | bytes | None, session: Session) -> bool:
    return before is not None and facts_of(codec.session_from(before)) == facts_of(session)
