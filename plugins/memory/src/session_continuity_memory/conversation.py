"""`Conversation`: one session with its messages. It has no lock, no clock and no mode."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from functools import partial

from session_continuity import (
    Appended,
    AppendTerms,
    ConcurrencyError,
    ConversationChangedError,
    Fork,
    ListingPlace,
    Message,
    Patch,
    Replaced,
    Session,
    SessionClosedError,
    SessionFilter,
    TokenBudgetExceededError,
    ValidationError,
    format_timestamp,
    is_same_tail,
    messages_to_store,
    move_to,
    with_stored,
)
from session_continuity_memory.history import History
from session_continuity_memory.journal import Journal


class Conversation:
    """A session and its `history`.

    `head` is the session without its totals. It must not be returned to a caller, who could change it: `session` makes
    a copy. `identity` distinguishes the conversation from others that had the same id, and `source_identity` is that of
    the one it was forked from. `fork_ids` are the sessions that were forked from this one, also those deleted since.
    """

    def __init__(self, session: Session, journal: Journal) -> None:
        self.head = Session.model_validate_json(session.model_dump_json())
        self.history = History(session.id, journal)
        self._journal = journal
        self.identity = object()
        self.source_identity: object = None
        self.fork_ids: list[str] = []
        self._last_activity_at = session.last_activity_at

    @property
    def creation_key(self) -> tuple[str, str]:
        """The position of the session in a list of forks."""
        return format_timestamp(self.head.created_at), self.head.id

    def place(self, filter: SessionFilter) -> ListingPlace:
        """The place of the session in the listing of a filter."""
        moment = self._last_activity_at if filter.is_by_activity else self.head.created_at
        return ListingPlace(format_timestamp(moment), self.head.id)

    @property
    def expiry_key(self) -> tuple[str, str]:
        """The position of the session among expired ones."""
        return "" if self.head.expires_at is None else format_timestamp(self.head.expires_at), self.head.id

    def is_expired(self, now: datetime) -> bool:
        """Whether the session has expired at `now`."""
        return self.head.expires_at is not None and self.head.expires_at <= now

    def session(self) -> Session:
        """A copy of the session with its totals."""
        totals = {
            "message_count": len(self.history),
            "token_count": self.history.tokens,
            "last_activity_at": self._last_activity_at,
            "system_message_ids": self.history.system_ids,
        }
        return Session.model_validate_json(self.head.model_copy(update=totals).model_dump_json())

    def update(self, patch: Patch) -> None:
        """Change the session, and raise its version by one."""
        changed = patch.apply(self.head).model_copy(update={"version": self.head.version + 1})
        self._journal.enter(partial(setattr, self, "head", self.head))
        self.head = Session.model_validate_json(changed.model_dump_json())

    def check_version(self, expected: int | None) -> None:
        """Raise ConcurrencyError if the session is at another version than this."""
        actual = self.head.version
        if expected is not None and actual != expected:
            raise ConcurrencyError(self.head.id, expected=expected, actual=actual, current=self.session())

    def append(self, messages: Sequence[Message], client_ids: Collection[str], terms: AppendTerms) -> Appended:
        """Store a batch and do what the terms say. Raises what the contract says."""
        stored = [self.history.get(message.id) for message in messages]
        new = messages_to_store(stored, messages, terms.get("existing", "refuse"))
        if not new:
            return Appended(messages=with_stored(stored, ()), repeated=True)
        self.check_version(terms.get("expected_version"))
        self._check_last(terms.get("expected_last_id"))
        self._check_gate(new)
        added = self._extend(new, client_ids)
        if (patch := terms.get("patch")) is not None:
            self.update(patch)
        return Appended(messages=with_stored(stored, added), slides=self.head.sliding_ttl is not None)

    def replace_tail(
        self, after_id: str | None, messages: Sequence[Message], client_ids: Collection[str], expected_last: str | None
    ) -> Replaced:
        """Remove the messages after one of them, and store a batch in their place. Raises what the contract says."""
        start = 0 if after_id is None else self.history.number_through(after_id)
        tail = self.history.between(start, None)
        if is_same_tail(tail, messages):
            return Replaced(messages=tail, repeated=True)
        self._check_last(expected_last)
        self._check_ids(messages, {message.id for message in tail})
        if messages:
            self._check_gate(messages, freed=sum(message.token_count or 0 for message in tail))
        for message in tail:
            self.history.remove(message.id)
        added = self._extend(messages, client_ids) if messages else ()
        return Replaced(messages=tuple(added), removed_count=len(tail), removed=tail)

    def fork(self, session: Session, through_id: str | None) -> Conversation:
        """A new conversation for this session with copies of the messages up to one of them, or of all."""
        end = None if through_id is None else self.history.number_through(through_id)
        fork = Conversation(session, self._journal)
        for message in self.history.between(0, end):
            fork.history.add(message.model_copy(update={"session_id": session.id}))
            fork._last_activity_at = max(fork._last_activity_at, message.created_at)
        fork.source_identity = self.identity
        self.fork_ids.append(session.id)
        return fork

    def as_fork(self) -> Fork:
        """This conversation in the list of its source."""
        origin = self.head.forked_from
        message_id = None if origin is None else origin.message_id
        return Fork(session_id=self.head.id, message_id=message_id, created_at=self.head.created_at)

    def _extend(self, messages: Sequence[Message], client_ids: Collection[str]) -> Sequence[Message]:
        """Store messages at the end, moved in time if they are older than the last one, and return them as stored."""
        last = self.history.last
        if last is not None and messages[0].created_at < last.created_at:
            messages = move_to(last.created_at, messages, client_ids=client_ids)
        self._journal.enter(partial(setattr, self, "_last_activity_at", self._last_activity_at))
        for message in messages:
            self.history.add(message)
        self._last_activity_at = max(self._last_activity_at, messages[-1].created_at)
        return messages

    def _check_last(self, expected: str | None) -> None:
        last_id = "" if self.history.last is None else self.history.last.id
        if expected is not None and last_id != expected:
            raise ConversationChangedError(self.head.id, expected_last_id=expected, last_id=last_id)

    def _check_ids(self, messages: Sequence[Message], free: Collection[str]) -> None:
        """Raise ValidationError if a message of the batch has the id of one that stays."""
        for message in messages:
            if message.id not in free and self.history.get(message.id) is not None:
                raise ValidationError(f"message id {message.id!r} belongs to a message that stays; choose a new id")

    def _check_gate(self, messages: Sequence[Message], *, freed: int = 0) -> None:
        """Raise if the session accepts no messages, or not so many tokens after it has freed some."""
        if self.head.status in ("completed", "expired"):
            raise SessionClosedError(self.head.id, self.head.status)
        budget = self.head.token_budget
        limit = None if budget is None else budget.hard_limit
        used, more = self.history.tokens - freed, sum(message.token_count or 0 for message in messages)
        if limit is not None and used + more > limit:
            raise TokenBudgetExceededError(self.head.id, requested=more, limit=limit, used=used)
