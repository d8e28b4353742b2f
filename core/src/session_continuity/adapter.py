"""THE contract: what every store does, in sentences that the conformance suite proves one by one.

`StorageAdapter` is written for those who write stores; applications use the managers, which do the rest: they mint
ids and times, count tokens, validate input, retry conflicts. A store keeps exactly what it is given and invents only
what it must: order, totals, version.

What holds for every method:

- *Values.* What is read is what was written; text of any UTF-8, empty texts, nulls, floats and block lists included.
  Objects that go in or come out share no state with the store.
- *Existence.* A session whose `expires_at` is not later than `clock()` does not exist for any read or write, however
  late the store's own reaper is; only `get_expired_sessions` and `delete_session` still see it. So a session that is
  given an `expires_at` which is past is gone at once. The same holds for a session that is being deleted. Where a
  session does not exist, a method that needs it raises `SessionNotFoundError` and leaves nothing behind.
- *Isolation.* Sessions never see each other's messages; two namespaces never see each other's sessions.
- *Atomicity.* A write happens whole or not at all, also when the process dies or the task is cancelled in the middle;
  a method that raised has changed nothing, except where `UnavailableError` or `ThrottledError` leave the outcome
  unknown. Whoever repeats such a write with the same ids gets it done once.
- *Concurrency.* Any number of tasks, threads, adapters and (where `Capabilities.shared`) processes may call at once.
- *Cancellation.* A cancelled call raises the cancellation; what it had begun may still be finished behind it. It uses
  nothing up, and no other call gets its answer.
- *Errors.* Only errors from `session_continuity.errors`; the raw cause is chained, never wrapped twice.
- *Faults.* A connection that breaks and a server that does not answer end a call within the adapter's own timeouts, and
  are at worst an `UnavailableError` or `ThrottledError`; once the server answers again, so does the same adapter.
- *Cost.* A call costs what its arguments and its answer cost, however long the conversation is and whatever the roles
  of its messages are; only what removes all of it grows with it.
- *Close.* After `close` every method but `close` raises `StorageClosedError`.

In blocking mode the methods are still `async def` but never suspend, so that `runtime.run_now` can run them in the
caller's stack.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol, TypeVar

from session_continuity.capabilities import Capabilities
from session_continuity.errors import SessionNotFoundError, ValidationError
from session_continuity.models import Message, Model, Role, Session, SessionStatus
from session_continuity.paging import MAX_PAGE, Page
from session_continuity.runtime import Clock, Mode

__all__ = [
    "MAX_PAGE",
    "MESSAGE_FIELDS",
    "SESSION_FIELDS",
    "Appended",
    "ConversationPage",
    "HealthStatus",
    "MessageQuery",
    "Patch",
    "SessionFilter",
    "StorageAdapter",
    "check_limit",
    "check_turn",
    "conversation_of",
    "is_repeated_append",
    "is_repeated_create",
    "messages_with_ids",
]

M = TypeVar("M", bound=Model)

SESSION_FIELDS = frozenset(
    {
        "user_id",
        "active_agent_id",
        "status",
        "metadata",
        "participants",
        "handoffs",
        "token_budget",
        "compression",
        "compression_state",
        "expires_at",
        "sliding_ttl",
    }
)
"""The fields that `update_session` can change."""

MESSAGE_FIELDS = frozenset(["role", "content", "metadata", "token_count", "updated_at"])
"""The fields that `update_message` can change."""


@dataclass(frozen=True, slots=True)
class Patch:
    """A partial change: fields to set, with values of the model's own types, and fields to return to their default.

    Raises ValidationError for a field that is in both.
    """

    set: Mapping[str, Any] = field(default_factory=dict[str, Any])
    clear: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if both := sorted(self.clear & self.set.keys()):
            raise ValidationError(f"{', '.join(both)} cannot be set and cleared at once")

    def apply(self, model: M) -> M:
        """The model with this change made. Raises ValidationError for a field to clear that has no default."""
        fields = type(model).model_fields
        if required := sorted(name for name in self.clear if fields[name].is_required()):
            raise ValidationError(f"{', '.join(required)} cannot be cleared")
        cleared = {name: fields[name].get_default(call_default_factory=True) for name in self.clear}
        return model.model_copy(update={**cleared, **self.set})


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFilter:
    """Which sessions a listing wants; a session must meet every condition given.

    `tags` is met by any of them. `created_after` and `created_before` exclude the moment itself.
    """

    user_id: str | None = None
    active_agent_id: str | None = None
    status: SessionStatus | None = None
    tags: frozenset[str] = frozenset()
    created_after: datetime | None = None
    created_before: datetime | None = None

    def matches(self, session: Session) -> bool:
        """Whether this session meets every condition."""
        return (
            (self.user_id is None or session.user_id == self.user_id)
            and (self.active_agent_id is None or session.active_agent_id == self.active_agent_id)
            and (self.status is None or session.status == self.status)
            and (not self.tags or not self.tags.isdisjoint(session.metadata.tags))
            and (self.created_after is None or session.created_at > self.created_after)
            and (self.created_before is None or session.created_at < self.created_before)
        )

    def key(self) -> str:
        """A text that is the same for equal filters only; a cursor is bound to it."""
        return repr((*(getattr(self, name) for name in _FILTER_FIELDS), sorted(self.tags)))


_FILTER_FIELDS = ("user_id", "active_agent_id", "status", "created_after", "created_before")


class _Selectable(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def role(self) -> Role: ...
    @property
    def created_at(self) -> datetime: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageQuery:
    """Which messages of a session, and in which order.

    `asc` is conversation order, oldest first. `limit` (1 to 1000) counts messages that meet every condition.
    `after` and `before` exclude the moment itself, `after_id` and `before_id` the message itself; all four mean
    earlier or later in the conversation whatever the order of the answer. `ids` asks for those of them that exist.
    """

    order: Literal["asc", "desc"] = "asc"
    limit: int = 100
    roles: frozenset[Role] | None = None
    after: datetime | None = None
    before: datetime | None = None
    after_id: str | None = None
    before_id: str | None = None
    ids: frozenset[str] | None = None

    def __post_init__(self) -> None:
        check_limit(self.limit)

    def selects(self, message: _Selectable) -> bool:
        """Whether this message, or a row with these of its fields, meets the conditions on roles, times and ids;
        those on its place are left aside."""
        return (
            (self.roles is None or message.role in self.roles)
            and (self.after is None or message.created_at > self.after)
            and (self.before is None or message.created_at < self.before)
            and (self.ids is None or message.id in self.ids)
        )

    def key(self, session_id: str) -> str:
        """A text that is the same for equal conditions on the same session only; a cursor is bound to it."""
        roles, ids = (None if names is None else sorted(names) for names in (self.roles, self.ids))
        return repr((session_id, self.order, roles, self.after, self.before, self.after_id, self.before_id, ids))


def check_limit(limit: int) -> None:
    """Raises ValidationError for a page size that no store serves."""
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MAX_PAGE:
        raise ValidationError(f"limit must be 1 to {MAX_PAGE}, not {limit}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Appended:
    """What an append left behind.

    `messages` are the turn as stored. `repeated` says that it was stored before by this same append. The totals and
    the expiry are those after it, None where the store does not learn them from the write.
    """

    messages: tuple[Message, ...]
    repeated: bool = False
    message_count: int | None = None
    token_count: int | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationPage:
    """A session with a page of its messages, and with those of its system messages that are not in the page, in
    conversation order: what a model's context is made of."""

    session: Session
    messages: Page[Message]
    system_messages: tuple[Message, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthStatus:
    """`healthy`: serves. `degraded`: answers, but something is missing. `unhealthy`: does not answer.

    `details` are facts for people and dashboards, `remedy` says what to do; neither holds a secret.
    """

    status: Literal["healthy", "degraded", "unhealthy"]
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])
    remedy: str | None = None
    latency_ms: float | None = None


class StorageAdapter(ABC):
    """A store of sessions and their messages. One instance serves many tasks or threads at once."""

    backend: str
    """The URL scheme, as error messages name the store."""

    mode: Mode
    """`async`: the methods await. `blocking`: they never suspend. Fixed at construction."""

    capabilities: Capabilities
    """What this instance can do beyond this contract."""

    clock: Clock
    """Where the adapter reads the time; a test may replace it. Aware, UTC."""

    @abstractmethod
    async def setup(self) -> None:
        """Make the store ready to serve: create what it needs, if it is not there and creating it is the
        application's business. May be called again at any time and by several processes at once, and then changes
        nothing."""

    @abstractmethod
    async def close(self) -> None:
        """Release what this adapter opened itself; a client that was handed in stays open. May be called again."""

    @abstractmethod
    async def health(self) -> HealthStatus:
        """Whether the store serves, found out by asking it. Never raises but after `close`. A store that answers but
        lacks a table, an index or a permission is `degraded`, one that does not answer is `unhealthy`; both with a
        remedy."""

    @abstractmethod
    async def create_session(self, session: Session) -> Session:
        """Store a new session as given and return it as stored. Totals start at nothing, `version` as given.

        Raises SessionExistsError when a session with this id exists, unless it is this same create being repeated
        (`is_repeated_create`): then the session is returned as it is now. The remains of an expired session of the
        same id are removed first; nothing of it reappears.
        """

    @abstractmethod
    async def get_session(self, session_id: str) -> Session | None:
        """The session with its totals, or None. It shows every write acknowledged before the call."""

    @abstractmethod
    async def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        """Make one partial change and return the session after it. `patch` names only `SESSION_FIELDS`.

        The version grows by one, also by an empty patch; fields that the patch does not name stay, also under
        concurrent updates. Totals and `last_activity_at` stay. Of two updates that expect the same version, one
        succeeds.

        Raises SessionNotFoundError (never creates), and ConcurrencyError with the version and the session as they
        are when `expected_version` is another.
        """

    @abstractmethod
    async def delete_session(self, session_id: str, *, expired_before: datetime | None = None) -> bool:
        """Remove the session and everything that belongs to it; True if there was one, expired or not.

        With `expired_before`, only a session whose `expires_at` is not later is removed; another is left as it is and
        the answer is False. Once the delete has begun, the session is gone for every other call; a delete that was
        interrupted is finished by repeating it. After it, the id may be used anew.
        """

    @abstractmethod
    async def list_sessions(self, filter: SessionFilter, *, limit: int, cursor: str | None = None) -> Page[Session]:
        """Sessions that meet the filter, newest `created_at` first, then by id downwards.

        Totals and `last_activity_at` are those of the moment where `Capabilities.listing_totals` is declared, otherwise
        possibly those of the session's creation; `get_session` always has them right.

        `limit` (1 to 1000) counts sessions that match. Whoever follows the cursors meets every session that matches
        throughout exactly once, also while others are written and deleted. A page may hold fewer than `limit` and
        still have a cursor; without a cursor it is the last. Raises ValidationError for another limit and for a
        cursor of another filter or another store.
        """

    @abstractmethod
    async def append_messages(
        self, session_id: str, messages: Sequence[Message], *, chosen_ids: Collection[str] = ()
    ) -> Appended:
        """Add one turn, one or more messages, at the end: all or none, in one request where the store can.

        *Order.* An append that was acknowledged before another began comes before it. `created_at` never decreases
        along the conversation: when the turn is older than the last message, the store moves the turn's times up
        (`ids.move_to`), which also mints new ids for those not in `chosen_ids`; a store may do the same to a turn that
        is not later than `last_activity_at`, also when the message of that time has been deleted.
        *Totals.* `message_count`, `token_count`, `system_message_ids` and `last_activity_at` (the last message's
        `created_at`, or what it was, if that is later) follow in the same atomic step; a reader sees both or neither.
        `version` stays.
        *Repeating.* `chosen_ids` are those that the caller chose and will use again to repeat the call. When all of
        the turn's ids are stored already with the same role and content (`is_repeated_append`), nothing changes and
        the stored messages are returned, also when the session was closed since or its limit reached.
        *Limit.* Where the session's `token_budget.hard_limit` is set, a turn that would take the session's
        `token_count` over it is refused; parallel appends never pass it together.

        Raises SessionNotFoundError; SessionClosedError when the status is `completed` or `expired`;
        TokenBudgetExceededError; ValidationError when two ids of the turn are the same, when one is stored already for
        another message, and when only part of the turn is stored; MessageTooLargeError before sending. Which, where
        several apply, is the store's choice.
        """

    @abstractmethod
    async def get_message(self, session_id: str, message_id: str) -> Message | None:
        """One message, at a cost that does not grow with the session. None when the session has no such message;
        raises SessionNotFoundError when there is no session."""

    @abstractmethod
    async def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        """Messages that meet the query, in its order, at a cost that grows with the answer, not with the session.

        Whoever follows the cursors meets every message that is there throughout exactly once. The rules of
        `list_sessions` for `limit` and `cursor` hold. Raises SessionNotFoundError; MessageNotFoundError for an
        `after_id` or `before_id` that the session does not have.
        """

    @abstractmethod
    async def get_conversation(self, session_id: str, query: MessageQuery) -> ConversationPage:
        """The session as `get_session` has it, the first page of `get_messages` for this query, and the session's other
        system messages, those not in the page.

        It shows every write acknowledged before the call; session and messages may be of two moments of it. The page's
        cursor leads on in `get_messages`. It takes as few round trips as the store can, one where it can, and no more
        than `conversation_of`, which is the answer of a store that has no shorter way. Raises what `get_messages` does.
        """

    @abstractmethod
    async def update_message(self, session_id: str, message_id: str, patch: Patch) -> Message:
        """Make one partial change to a message and return it after that. `patch` names only `MESSAGE_FIELDS`.

        The message keeps its place. The session's `token_count` and `system_message_ids` follow in the same step.
        Raises SessionNotFoundError and MessageNotFoundError; never creates.
        """

    @abstractmethod
    async def delete_message(self, session_id: str, message_id: str) -> bool:
        """Remove one message; the totals follow in the same step. False when the session has no such message.
        Raises SessionNotFoundError."""

    @abstractmethod
    async def delete_all_messages(self, session_id: str) -> int:
        """Remove every message stored before the call and return how many; the totals follow. Messages appended
        meanwhile stay. Raises SessionNotFoundError."""

    @abstractmethod
    async def get_expired_sessions(self, before: datetime, *, limit: int, cursor: str | None = None) -> Page[str]:
        """Ids of sessions whose `expires_at` is not later than `before`, the longest expired first as far as the
        store can tell, without reading the store whole. They are found until they are deleted, or until the store's
        own reaper has removed them completely. The rules of `list_sessions` for `limit` and `cursor` hold."""


async def conversation_of(storage: StorageAdapter, session_id: str, query: MessageQuery) -> ConversationPage:
    """What `get_conversation` answers, by a store's other methods, one after the other."""
    session = await storage.get_session(session_id)
    if session is None:
        raise SessionNotFoundError(session_id)
    page = await storage.get_messages(session_id, query)
    shown = {message.id for message in page}
    missing = [message_id for message_id in session.system_message_ids if message_id not in shown]
    system = tuple(await messages_with_ids(storage, session_id, missing))
    return ConversationPage(session=session, messages=page, system_messages=system)


async def messages_with_ids(storage: StorageAdapter, session_id: str, ids: Sequence[str]) -> list[Message]:
    """Those of these messages that exist, in the order of `ids`, which is that of the conversation; a page of them at a
    time."""
    found: list[Message] = []
    for start in range(0, len(ids), MAX_PAGE):
        query = MessageQuery(ids=frozenset(ids[start : start + MAX_PAGE]), limit=MAX_PAGE)
        cursor: str | None = None
        while True:
            page = await storage.get_messages(session_id, query, cursor=cursor)
            found += page
            if (cursor := page.next_cursor) is None:
                break
    return found


def check_turn(messages: Sequence[Message]) -> None:
    """Raises ValidationError when two messages of a turn have the same id."""
    if len(messages) > 1 and len({message.id for message in messages}) < len(messages):
        raise ValidationError("two messages of the turn have the same id; give each its own")


def is_repeated_create(stored: Session, sent: Session) -> bool:
    """Whether `sent` is the create that made `stored`, repeated after its answer was lost."""
    same = stored.created_at == sent.created_at and stored.id == sent.id
    if stored.version != sent.version:
        return same
    return same and _as_created(stored) == _as_created(sent)


def _as_created(session: Session) -> dict[str, Any]:
    return {name: getattr(session, name) for name in SESSION_FIELDS}


def is_repeated_append(stored: Sequence[Message | None], sent: Sequence[Message]) -> bool:
    """Whether `sent` is the append that made `stored`, repeated: `stored` is what the session has under the ids of
    `sent`, None where it has nothing. An edited message is taken for its original.

    Raises ValidationError when the two contradict each other, and when two ids of the turn are the same.
    """
    check_turn(sent)
    found = [message for message in stored if message is not None]
    if not found:
        return False
    if len(found) < len(sent):
        raise ValidationError("only part of this turn is stored already; repeat a turn whole and with all of its ids")
    for old, new in zip(found, sent, strict=True):
        if old.updated_at is None and (old.role, old.content) != (new.role, new.content):
            raise ValidationError(f"message id {new.id!r} is taken by another message; choose a new id")
    return True
