"""THE contract: what every store does. The conformance suite proves it sentence by sentence.

`StorageAdapter` is written for authors of stores. Applications use the managers, which mint ids and times, count
tokens, check input and retry conflicts. A store keeps exactly what it is given. It invents only order, totals and
version.

These rules hold for every method, as applications see it: inside core's portable layer, which checks arguments and
limits, refuses calls after `close` and translates the errors of the backend's client.

- *Values.* What is read is what was written, including text of any UTF-8, empty texts, nulls, floats and lists of
  blocks. Objects that are passed in or returned share no state with the store.
- *Existence.* A session whose `expires_at` is not later than `clock()` does not exist for any read or write, however
  late the store's own reaper is. Only `get_expired_sessions` and `delete_session` still see it. A session whose
  `expires_at` is set to a time in the past is gone at once. A session that is being deleted does not exist either. A
  method that needs a session that does not exist raises `SessionNotFoundError` and leaves nothing behind.
- *Isolation.* A session never sees another session's messages. A namespace never sees another namespace's sessions.
  A view of an owner (`StorageAdapter.view`) never sees the sessions of other users, and changes none of them. A view of
  a namespace sees what an adapter that was opened with this namespace sees.
- *Atomicity.* A write happens completely or not at all, also when the process dies or the task is cancelled during it.
  A method that raised has changed nothing, unless it raised `UnavailableError` or `ThrottledError`, whose outcome is
  unknown. Such a write can be repeated with the same ids and is then done once.
- *Concurrency.* Any number of tasks, threads, adapters and (with `Capabilities.shared`) processes may call at once.
- *Cancellation.* A cancelled call raises the cancellation. A write that it began may still be completed. It leaks no
  connection, and its response is never delivered to another call.
- *Interrupts.* When a signal handler raises KeyboardInterrupt or another exception during a call in blocking mode, the
  call raises that exception. A client's library may treat an ordinary one as an error of its own. The call is then made
  or raises an error that is retryable. The write is made or not, its outcome is unknown, and the adapter serves on. No
  lock, connection or place in a queue stays taken.
- *Damage.* A stored session or message that cannot be read does not keep others from being read. Listings, pages and
  the removal of expired sessions leave it out, and name its id in `Page.unreadable`. A method that needs it raises
  `UnreadableError`. Neither the error nor its cause shows what is stored. Deleting it works.
- *Errors.* Only errors from `session_continuity.errors` are raised, chained to the original error and wrapped once.
- *Faults.* A broken connection or a server that does not answer ends a call within the adapter's own timeouts, with an
  `UnavailableError` or `ThrottledError` at worst. Once the server answers again, the same adapter works again.
- *Cost.* A call costs what its arguments and its result cost. It does not depend on the length of the conversation or
  on the roles of its messages. Only removing all of it does.
- *Close.* After `close`, every method but `close` raises `StorageClosedError`.

In blocking mode the methods are still `async def` but never suspend, so that `run_now` can run them in the caller's
stack.
"""

# ruff: noqa: ARG002  # the bodies of what a backend may leave out use no argument

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Unpack

from session_continuity.contract.capabilities import Capabilities
from session_continuity.contract.growth import Version, optional
from session_continuity.contract.paging import Page
from session_continuity.contract.patch import Patch
from session_continuity.contract.queries import MessageQuery, SessionFilter
from session_continuity.contract.results import Appended, ConversationPage, Fork, HealthStatus, Replaced
from session_continuity.contract.terms import AppendTerms
from session_continuity.errors import NotSupportedError, SessionContinuityError
from session_continuity.models import Message, Session
from session_continuity.runtime.clocks import Clock
from session_continuity.runtime.modes import Mode

__all__ = ["StorageAdapter"]


class StorageAdapter(ABC):
    """A store of sessions and their messages. One instance serves many tasks or threads at once."""

    backend: str
    """The URL scheme, used as the store's name in error messages."""

    mode: Mode
    """`async`: the methods await. `blocking`: they never suspend. Fixed at construction."""

    capabilities: Capabilities
    """What this instance can do beyond this contract, and its limits."""

    clock: Clock
    """The function that returns the time, aware and in UTC. A test may replace it."""

    contract: Version = (1, 0)
    """The version of this contract that the adapter was written for."""

    def translate(self, error: Exception, operation: str) -> SessionContinuityError | None:
        """The project's error for an error of the backend's client, or None for any other error.

        Methods of an adapter may let their client's errors through. Core calls this once for such an error and raises
        the result from it. `operation` is the name of the method that raised.
        """
        return None

    def view(self, *, namespace: str | None = None, owner: str | None = None) -> StorageAdapter:
        """This adapter with another namespace, or for the sessions of one user only, at no cost.

        It has the connections of this adapter and ends with it. Closing it closes nothing. None keeps what this adapter
        has. In a view of an owner, every method treats a session whose `user_id` is another as if there were none. Only
        a call that would create a session raises SessionExistsError for its id. `list_forks` leaves out the forks of
        others. Core calls it only where `namespace_views` or `owner_guard` is declared, and creates through a view of
        an owner no session of another user.
        """
        raise NotSupportedError("view", self.backend, "its capabilities do not declare it")

    @abstractmethod
    async def setup(self) -> None:
        """Create what the store needs, if it is missing and if creating it is the application's business. May be called
        again at any time, also by several processes at once, and then changes nothing."""

    @abstractmethod
    async def close(self) -> None:
        """Release what this adapter opened itself. A client that was passed in stays open. May be called again."""

    @abstractmethod
    async def health(self) -> HealthStatus:
        """Whether the store serves, found out by asking it. Raises only after `close`. A store that answers but lacks a
        table, an index or a permission is `degraded`. A store that does not answer is `unhealthy`. Both come with a
        remedy."""

    @abstractmethod
    async def create_session(self, session: Session) -> Session:
        """Store a new session as given and return it as stored. Its totals are 0 and its `version` is the given one.

        Raises SessionExistsError when a session with this id exists. If it is this same create being repeated
        (`is_repeated_create`), the session is returned as it is now instead. Only the `creation_token` of the call
        shows that: of several callers who create one id at once with the same fields, exactly one succeeds. The remains
        of an expired session with the same id are removed first, so that nothing of it reappears.
        """

    @abstractmethod
    async def get_session(self, session_id: str) -> Session | None:
        """The session with its totals, or None. It shows every write acknowledged before the call."""

    @abstractmethod
    async def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        """Make one partial change and return the session after it. `patch` names only `SESSION_FIELDS`.

        The version grows by one, also for an empty patch. Fields that the patch does not name keep their values, also
        under concurrent updates. Totals and `last_activity_at` keep theirs. Of two updates that expect the same
        version, one succeeds.

        Raises SessionNotFoundError, so it never creates a session. Raises ConcurrencyError with the current version and
        session when `expected_version` is another.
        """

    @abstractmethod
    async def delete_session(
        self, session_id: str, *, expired_before: datetime | None = None, expected_version: int | None = None
    ) -> bool:
        """Remove the session and everything that belongs to it. Returns True if there was one, expired or not.

        With `expired_before`, a session is removed only if its `expires_at` is not later. Otherwise the result is
        False. With `expected_version`, the delete raises ConcurrencyError with the current version when the session is
        at another, and removes nothing. The version is a condition of the request by which the delete begins. Once the
        delete has begun, the session is gone for every other call. An interrupted delete is completed by repeating it,
        whatever version is expected. Afterwards the id may be used again.
        """

    @abstractmethod
    async def list_sessions(self, filter: SessionFilter, *, limit: int, cursor: str | None = None) -> Page[Session]:
        """Sessions that meet the filter, in its order: by `created_at` or `last_activity_at`, and of one time by id in
        the same direction.

        `newest` is the order that every store has: newest `created_at` first, then by id downwards. `oldest` needs
        `Capabilities.ascending_listing`. `recent` and `idle` need `Capabilities.activity_listing`. The order by
        activity is that of the `last_activity_at` that `get_session` returns. A session whose last activity changes
        between two pages may be on both or on neither.

        Totals and `last_activity_at` are current where `Capabilities.listing_totals` is declared, and in the order by
        activity. Elsewhere they may be those of the session's creation, and core marks the page by `stale_totals`;
        `get_session` always returns current ones.

        A page of a user's sessions in the order of creation, without other conditions, costs what it has in it, however
        many sessions there are. `limit` (1 to 1000) counts sessions that match. Following the cursors yields every
        session that matches throughout exactly once, also while others are written and deleted. A page may hold fewer
        than `limit` and still have a cursor. A page without a cursor is the last. Raises ValidationError for a limit
        out of range and for a cursor of another filter or another store.
        """

    @abstractmethod
    async def append_messages(
        self,
        session_id: str,
        messages: Sequence[Message],
        *,
        client_ids: Collection[str] = (),
        **terms: Unpack[AppendTerms],
    ) -> Appended:
        """Add a batch of one or more messages at the end: all or none, in one request where the store can.

        *Order.* An append that was acknowledged before another began comes before it. `created_at` never decreases
        along the conversation. If the batch is older than the last message, the store moves the batch's times up
        (`move_to`), which also mints new ids for those not in `client_ids`. A store may also do this for a batch that
        is not later than `last_activity_at`, when the message of that time has been deleted.
        A batch whose own times decrease is refused.
        *Totals.* `message_count`, `token_count`, `system_message_ids` and `last_activity_at` (the last message's
        `created_at`, or the old value if that is later) change in the same atomic step. A reader sees both or neither.
        `version` stays.
        *Repeating.* `client_ids` are ids that the caller chose and uses again when it repeats the call. If all ids of
        the batch are stored already with the same role and content (`is_repeated_append`), nothing changes and the
        stored messages are returned, also when the session was closed since or its limit was reached. A message whose
        role or content was changed since is never returned for the one that was sent: the append is refused.
        *Limit.* With `token_budget.hard_limit`, a batch that would take the session's `token_count` over it is refused.
        Parallel appends never pass it together.
        *Terms.* `terms` are those of `AppendTerms`, checked and done in the same atomic step.
        *Sliding expiry.* The store moves no expiry by itself. It tells by `Appended.slides` whether a manager has to,
        where it knows that without another request.

        Raises SessionNotFoundError; SessionClosedError when the status is `completed` or `expired`;
        TokenBudgetExceededError; ValidationError when two ids of the batch are the same, when its times decrease, when
        an id is stored already for another message or was changed since, and when only part of the batch is stored;
        MessageTooLargeError before sending. If several apply, the store may raise any of them.
        """

    @abstractmethod
    async def get_message(self, session_id: str, message_id: str) -> Message | None:
        """One message, at a cost that does not grow with the session. None when the session has no such message.
        Raises SessionNotFoundError."""

    @abstractmethod
    async def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        """Messages that meet the query, in its order. The cost grows with the result, not with the session.

        Following the cursors yields every message that is there throughout exactly once. The rules of `list_sessions`
        for `limit` and `cursor` apply. Raises SessionNotFoundError, and MessageNotFoundError for an `after_id` or
        `before_id` that the session does not have.
        """

    @abstractmethod
    async def get_conversation(self, session_id: str, query: MessageQuery) -> ConversationPage:
        """The session as `get_session` returns it, the first page of `get_messages` for this query, and the session's
        other system messages.

        It shows every write acknowledged before the call. Session and messages may be of two moments during the call.
        The page's cursor continues in `get_messages`. It takes as few round trips as the store can: one if possible,
        and no more than `conversation_of`, which a store without a shorter way uses. Raises what `get_messages` raises.
        """

    @abstractmethod
    async def update_message(self, session_id: str, message_id: str, patch: Patch) -> Message:
        """Make one partial change to a message and return it after the change. `patch` names only `MESSAGE_FIELDS`.

        The message keeps its place. The session's `token_count` and `system_message_ids` change in the same step.
        Raises SessionNotFoundError and MessageNotFoundError, so it never creates a message.
        """

    @abstractmethod
    async def delete_message(self, session_id: str, message_id: str) -> bool:
        """Remove one message. The totals change in the same step. Returns False when the session has no such message.
        Raises SessionNotFoundError."""

    @abstractmethod
    async def delete_all_messages(self, session_id: str) -> int:
        """Remove every message stored before the call and return how many. The totals change with it. Messages appended
        meanwhile stay. Raises SessionNotFoundError."""

    @optional(since=(1, 0), capability="tail_replacement")
    async def replace_tail(
        self,
        session_id: str,
        after_id: str | None,
        messages: Sequence[Message] = (),
        *,
        client_ids: Collection[str] = (),
        expected_last_id: str | None = None,
        return_removed: bool = False,
    ) -> Replaced:
        """Remove every message after `after_id`, and add the batch in their place, in one atomic step.

        Every reader sees the old tail or the new one, and never a part of either. `after_id` None stands for the
        beginning: every message is removed. An empty batch only removes, also in a closed session. Everything after
        `after_id` is removed, also what was appended a moment ago; `expected_last_id` prevents that.

        *The batch.* The rules of `append_messages` for order, totals, limit and `client_ids` apply, as if the tail were
        removed first. Ids of removed messages may be used again. A store may move the batch to times after those of the
        removed messages.
        *Session.* The totals change in the same step. `version` stays. `last_activity_at` never decreases.
        *Condition.* With `expected_last_id`, the call raises ConversationChangedError when the last message of the
        session is another one, as an append does.
        *Repeating.* If the tail is exactly the batch already (`is_same_tail`), nothing changes, whatever is expected,
        and the stored messages are returned. An interrupted replacement is completed by repeating it, or was not begun.
        *Result.* `removed` is filled only with `return_removed`.

        The cost grows with the messages that are removed and added. A replacement of up to 20 messages by up to 20
        takes one request where the store can.

        Raises SessionNotFoundError; MessageNotFoundError when the session does not have `after_id`; for a batch that is
        not empty, also what `append_messages` raises.
        """
        raise NotSupportedError("replace_tail", self.backend, "its capabilities do not declare it")

    @optional(since=(1, 0), capability="forks")
    async def fork_session(self, source_id: str, session: Session, *, through_id: str | None = None) -> Session:
        """Create a session with copies of the messages of another, and return it with its totals.

        The messages are those of the source up to `through_id`, and that one, or all. They keep their ids, times, roles
        and order, and belong to the new session. `session` is stored as by `create_session`, with `forked_from`, which
        names the source and `through_id`. Its totals are those of the copies. `last_activity_at` is its own, or the
        time of the last copy if that is later. Its hard limit is not applied to the copies.

        The fork appears complete or not at all. The copies are the source's messages as they were at one moment, or,
        where the store copies in parts, each as it was at some moment of the call; messages appended during the call
        are not copied. Later changes of either session, and its deletion, do not change the other.

        The same fork repeated is a repeated create (`is_repeated_create`): the session is returned as it is now. An
        interrupted fork is completed by repeating it. Until then its id is free for any create.

        Raises SessionNotFoundError when the source does not exist; MessageNotFoundError when the source does not have
        `through_id`; SessionExistsError when a session with the new id exists.
        """
        raise NotSupportedError("fork_session", self.backend, "its capabilities do not declare it")

    @optional(since=(1, 0), capability="forks")
    async def list_forks(self, source_id: str, *, limit: int, cursor: str | None = None) -> Page[Fork]:
        """The sessions that were forked from this one, by `created_at`, then by id, oldest first.

        It costs what its result costs, however many sessions there are. A deleted fork is not in it, and neither are
        forks of an earlier session with the same id. A fork that has expired may be in it until it is deleted. Forks of
        forks are not in it. The rules of `list_sessions` for `limit` and `cursor` apply. Raises SessionNotFoundError
        when the source does not exist.
        """
        raise NotSupportedError("list_forks", self.backend, "its capabilities do not declare it")

    @optional(since=(1, 0), capability="text_search")
    async def search_messages(
        self,
        text: str,
        *,
        user_id: str | None = None,
        session_id: str | None = None,
        limit: int,
        cursor: str | None = None,
    ) -> Page[Message]:
        """The messages of users and assistants that have every word of the text, session by session, and of a session
        the last one first.

        *Matching.* `SearchTerms.of(text)` says what is looked for, `searched_words` in what. Words are compared whole
        and `folded`; the last word of the text may be the beginning of a longer one. The words of a part of the text
        without white space must follow each other. Quotes, operators and punctuation only separate words.
        *Scope.* `user_id` selects the sessions of a user, `session_id` one session. Raises SessionNotFoundError when
        that session does not exist.
        *Paging.* Following the cursors yields every message that matches throughout exactly once. Sessions come in an
        order of the store's own. The rules of `list_sessions` for `limit` and `cursor` apply.

        It shows every write acknowledged before the call. Raises ValidationError for a text without a word, or with
        more than 64.
        """
        raise NotSupportedError("search_messages", self.backend, "its capabilities do not declare it")

    @abstractmethod
    async def get_expired_sessions(self, before: datetime, *, limit: int, cursor: str | None = None) -> Page[str]:
        """Ids of sessions whose `expires_at` is not later than `before`, the longest expired first as far as the store
        can tell, without reading the whole store. They are found until they are deleted, or until the store's own
        reaper has removed them completely. The rules of `list_sessions` for `limit` and `cursor` apply."""
