"""The contract as a small program without I/O, with lists and loops.

Random programs compare stores with it, and mutants break it. A model is one namespace. It has no lock and copies
nothing: `reference.storage` does both.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar, Unpack

from session_continuity import (
    MAX_PAGE,
    Appended,
    AppendTerms,
    Clock,
    ConcurrencyError,
    ConversationChangedError,
    Existing,
    Fork,
    ForkedFrom,
    Message,
    MessageNotFoundError,
    MessageQuery,
    Page,
    Patch,
    Replaced,
    SearchTerms,
    Session,
    SessionClosedError,
    SessionExistsError,
    SessionFilter,
    SessionNotFoundError,
    TokenBudgetExceededError,
    ValidationError,
    check_batch,
    check_session_patch,
    check_terms,
    decode_cursor,
    encode_cursor,
    format_timestamp,
    is_repeated_create,
    is_same_tail,
    messages_to_store,
    move_to,
    searched_words,
    with_stored,
)

T = TypeVar("T")
Key = tuple[Any, ...]


@dataclass
class SessionRecord:
    """One session: `head` without totals, its messages in order, the place of each message, and the next free place.

    `number` is its own among all that were created, `source` that of the session it was forked from.
    """

    head: Session
    last_activity_at: datetime
    messages: list[Message] = field(default_factory=list[Message])
    places: dict[str, int] = field(default_factory=dict[str, int])
    next_place: int = 0
    source: int | None = None
    number: int = 0

    def session(self) -> Session:
        """The session with its totals."""
        return self.head.model_copy(
            update={
                "message_count": len(self.messages),
                "token_count": sum(message.token_count or 0 for message in self.messages),
                "system_message_ids": [message.id for message in self.messages if message.role == "system"],
                "last_activity_at": self.last_activity_at,
            }
        )

    def copy(self) -> SessionRecord:
        """A record with lists of its own."""
        return replace(self, messages=list(self.messages), places=dict(self.places))

    def find(self, message_id: str) -> Message | None:
        """The message with this id, or None."""
        return next((message for message in self.messages if message.id == message_id), None)


class Model:
    """A namespace of sessions. Its methods are those of `StorageAdapter`, without await."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.records: dict[str, SessionRecord] = {}
        self.created_count = 0
        self.owner: str | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "clock"}

    def copy_records(self) -> dict[str, SessionRecord]:
        """The records as they are now. What is done to those of the model does not change them."""
        return {session_id: record.copy() for session_id, record in self.records.items()}

    def create_session(self, session: Session) -> Session:
        record = self.find_live(session.id)
        if record is None:
            record = self.new_record(session)
        elif not is_repeated_create(record.session(), session):
            raise SessionExistsError(session.id)
        return record.session()

    def get_session(self, session_id: str) -> Session | None:
        record = self.find_live(session_id)
        return None if record is None else record.session()

    def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        check_session_patch(patch)
        record = self.require(session_id)
        self.check_version(record, expected_version)
        self.apply(record, patch)
        return record.session()

    def delete_session(
        self, session_id: str, *, expired_before: datetime | None = None, expected_version: int | None = None
    ) -> bool:
        record = self.records.get(session_id)
        if record is not None and not self.is_own(record):
            return False
        if record is None or not (expired_before is None or self.is_expired(record, expired_before)):
            return False
        self.check_version(record, expected_version)
        del self.records[session_id]
        return True

    def list_sessions(self, filter: SessionFilter, *, limit: int, cursor: str | None = None) -> Page[Session]:
        live = [record for record in self.records.values() if not self.is_expired(record, self.clock())]
        found = [record.session() for record in live if self.is_own(record)]
        found = [session for session in found if self.selects(filter, session)]
        return self.listing_page(found, filter, limit, cursor)

    def selects(self, filter: SessionFilter, session: Session) -> bool:
        """Whether a session meets a filter."""
        return filter.matches(session)

    def listing_page(
        self, found: list[Session], filter: SessionFilter, limit: int, cursor: str | None
    ) -> Page[Session]:
        """One page of these sessions, in the order of the filter."""

        def key(session: Session) -> Key:
            return self.listing_key(session, filter)

        found.sort(key=key, reverse=filter.is_downwards)
        return self.page(found, key, limit, cursor, bound_to=filter.key(), downwards=filter.is_downwards)

    def append_messages(
        self,
        session_id: str,
        messages: Sequence[Message],
        *,
        client_ids: Collection[str] = (),
        **terms: Unpack[AppendTerms],
    ) -> Appended:
        check_batch(messages)
        check_terms(session_id, terms)
        create = terms.get("create")
        if create is not None and self.find_live(session_id) is None:
            return self.append_to_new(create, messages, terms.get("patch"))
        record = self.require(session_id)
        stored = [record.find(message.id) for message in messages]
        new = self.to_store(stored, messages, terms.get("existing", "refuse"))
        if not new:
            return self.appended(with_stored(stored, ()), repeated=True)
        self.check_version(record, terms.get("expected_version"))
        self.check_last(record, terms.get("expected_last_id"))
        self.check_accepts(record, new)
        batch = self.move_up(record, new, client_ids)
        self.add(record, batch)
        self.apply(record, terms.get("patch"))
        return self.appended(with_stored(stored, batch), repeated=False)

    def append_to_new(self, session: Session, messages: Sequence[Message], patch: Patch | None) -> Appended:
        """Create the session and append the batch to it."""
        record = SessionRecord(session, session.last_activity_at)
        self.check_accepts(record, messages)
        record = self.new_record(session)
        self.add(record, messages)
        self.apply(record, patch)
        return replace(self.appended(messages, repeated=False), created=True)

    def replace_tail(
        self,
        session_id: str,
        after_id: str | None,
        messages: Sequence[Message] = (),
        *,
        client_ids: Collection[str] = (),
        expected_last_id: str | None = None,
        return_removed: bool = False,
    ) -> Replaced:
        record = self.require(session_id)
        start = self.end_of(record, after_id, default=0)
        kept, tail = record.messages[:start], record.messages[start:]
        if is_same_tail(tail, messages):
            return Replaced(messages=tuple(tail), repeated=True)
        self.check_last(record, expected_last_id)
        if any(message.id in {each.id for each in kept} for message in messages):
            raise ValidationError("an id of the batch belongs to a message that stays")
        without = replace(record, messages=kept)
        if messages:
            self.check_accepts(without, messages)
        batch = self.move_up(without, messages, client_ids) if messages else ()
        record.messages = list(kept)
        if batch:
            self.add(record, batch)
        return Replaced(messages=tuple(batch), removed_count=len(tail), removed=tuple(tail) if return_removed else ())

    def fork_session(self, source_id: str, session: Session, *, through_id: str | None = None) -> Session:
        if session.forked_from != ForkedFrom(session_id=source_id, message_id=through_id):
            raise ValidationError("forked_from must name the source and through_id")
        source = self.require(source_id)
        copied = source.messages[: self.end_of(source, through_id, default=len(source.messages))]
        existing = self.find_live(session.id)
        if existing is not None:
            if not is_repeated_create(existing.session(), session):
                raise SessionExistsError(session.id)
            return existing.session()
        record = self.new_record(session)
        record.source = source.number
        if copied:
            self.add(record, [self.copied(message, session.id) for message in copied])
        return record.session()

    def copied(self, message: Message, session_id: str) -> Message:
        """A message of a source as a fork has it."""
        return message.model_copy(update={"session_id": session_id}, deep=True)

    def list_forks(self, source_id: str, *, limit: int, cursor: str | None = None) -> Page[Fork]:
        number = self.require(source_id).number
        forks = [record for record in self.records.values() if record.source == number]
        found = [record.head for record in forks if self.is_own(record)]
        found.sort(key=self.fork_key)
        page = self.page(found, self.fork_key, limit, cursor, bound_to=f"forks of {source_id}")
        return page.map(self.as_fork)

    def as_fork(self, head: Session) -> Fork:
        """A fork in the list of its source."""
        origin = head.forked_from
        message_id = None if origin is None else origin.message_id
        return Fork(session_id=head.id, message_id=message_id, created_at=head.created_at)

    def search_messages(
        self,
        text: str,
        *,
        user_id: str | None = None,
        session_id: str | None = None,
        limit: int,
        cursor: str | None = None,
    ) -> Page[Message]:
        terms = SearchTerms.of(text)
        records = list(self.records.values()) if session_id is None else [self.require(session_id)]
        live = [each for each in records if self.is_own(each) and not self.is_expired(each, self.clock())]
        found = [
            (self.match_key(record, message), message)
            for record in live
            for message in record.messages
            if user_id in (None, record.head.user_id) and self.meets(terms, message)
        ]
        found.sort(key=lambda match: match[0], reverse=True)
        return self.page(
            found,
            lambda match: match[0],
            limit,
            cursor,
            bound_to=repr(["search", text, user_id, session_id]),
            form=tuple[str, str, int],
            downwards=True,
        ).map(lambda match: match[1])

    def meets(self, terms: SearchTerms, message: Message) -> bool:
        """Whether a search finds a message."""
        return terms.are_in(searched_words(message.role, message.content))

    def match_key(self, record: SessionRecord, message: Message) -> Key:
        """The position of a message in the results of a search."""
        return (*self.fork_key(record.head), record.places[message.id])

    def get_message(self, session_id: str, message_id: str) -> Message | None:
        return self.require(session_id).find(message_id)

    def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        record = self.require(session_id)
        found = [message for message in self.messages_between(record, query) if query.selects(message)]
        downwards = query.order == "desc"
        found = found[::-1] if downwards else found
        return self.page(
            found,
            self.place_key(record),
            query.limit,
            cursor,
            bound_to=query.key(session_id),
            form=tuple[int],
            downwards=downwards,
        )

    def update_message(self, session_id: str, message_id: str, patch: Patch) -> Message:
        record = self.require(session_id)
        old = record.find(message_id)
        if old is None:
            raise MessageNotFoundError(session_id, message_id)
        changed = patch.apply(old)
        record.messages[record.messages.index(old)] = changed
        return changed

    def delete_message(self, session_id: str, message_id: str) -> bool:
        record = self.require(session_id)
        before = len(record.messages)
        record.messages = [message for message in record.messages if message.id != message_id]
        return len(record.messages) < before

    def delete_all_messages(self, session_id: str) -> int:
        record = self.require(session_id)
        removed, record.messages = record.messages, []
        return len(removed)

    def get_expired_sessions(self, before: datetime, *, limit: int, cursor: str | None = None) -> Page[str]:
        found = [record for record in self.records.values() if self.is_own(record)]
        expired = [record.head for record in found if self.is_expired(record, before)]
        expired.sort(key=self.expiry_key)
        return self.page(expired, self.expiry_key, limit, cursor, bound_to="expired").map(lambda head: head.id)

    def new_record(self, session: Session) -> SessionRecord:
        """Store a new session. Raises SessionExistsError for the id of another user's."""
        other = self.records.get(session.id)
        if other is not None and not self.is_own(other) and not self.is_expired(other, self.clock()):
            raise SessionExistsError(session.id)
        self.created_count += 1
        record = SessionRecord(session, session.last_activity_at, number=self.created_count)
        self.records[session.id] = record
        return record

    def apply(self, record: SessionRecord, patch: Patch | None) -> None:
        """Change a session, and raise its version, if there is a patch."""
        if patch is not None:
            record.head = patch.apply(record.head).model_copy(update={"version": record.head.version + 1})

    def to_store(
        self, stored: Sequence[Message | None], messages: Sequence[Message], existing: Existing
    ) -> Sequence[Message]:
        """The messages of an append that are to be stored."""
        return messages_to_store(stored, messages, existing)

    def check_last(self, record: SessionRecord, expected: str | None) -> None:
        """Raise ConversationChangedError if the last message is not the expected one."""
        last = record.messages[-1].id if record.messages else ""
        if expected is not None and last != expected:
            raise ConversationChangedError(record.head.id, expected_last_id=expected, last_id=last)

    def end_of(self, record: SessionRecord, message_id: str | None, *, default: int) -> int:
        """The number of messages up to this one; `default` for None. Raises MessageNotFoundError."""
        if message_id is None:
            return default
        ids = [message.id for message in record.messages]
        if message_id not in ids:
            raise MessageNotFoundError(record.head.id, message_id)
        return ids.index(message_id) + 1

    def find_live(self, session_id: str) -> SessionRecord | None:
        """The session, or None if it is missing, has expired or is another user's."""
        record = self.records.get(session_id)
        return None if record is None or self.is_expired(record, self.clock()) or not self.is_own(record) else record

    def is_own(self, record: SessionRecord) -> bool:
        """Whether the session is the owner's, in a view of one user."""
        return self.owner is None or record.head.user_id == self.owner

    def require(self, session_id: str) -> SessionRecord:
        """The session. Raises SessionNotFoundError."""
        record = self.find_live(session_id)
        if record is None:
            raise SessionNotFoundError(session_id)
        return record

    def is_expired(self, record: SessionRecord, moment: datetime) -> bool:
        """Whether the session has expired at this moment."""
        return record.head.expires_at is not None and record.head.expires_at <= moment

    def check_version(self, record: SessionRecord, expected: int | None) -> None:
        """Raise ConcurrencyError if the version is not the expected one."""
        actual = record.head.version
        if expected is not None and actual != expected:
            current = record.session().model_copy(deep=True)
            raise ConcurrencyError(record.head.id, expected=expected, actual=actual, current=current)

    def check_accepts(self, record: SessionRecord, messages: Sequence[Message]) -> None:
        """Raise the error by which status or hard limit refuse an append."""
        self.check_status(record)
        self.check_limit(record, messages)

    def check_status(self, record: SessionRecord) -> None:
        """Raise SessionClosedError if the session accepts no messages."""
        if record.head.status in ("completed", "expired"):
            raise SessionClosedError(record.head.id, record.head.status)

    def check_limit(self, record: SessionRecord, messages: Sequence[Message]) -> None:
        """Raise TokenBudgetExceededError if the batch would exceed the hard limit."""
        limit = record.head.token_budget.hard_limit if record.head.token_budget is not None else None
        used, more = record.session().token_count, sum(message.token_count or 0 for message in messages)
        if limit is not None and used + more > limit:
            raise TokenBudgetExceededError(record.head.id, requested=more, limit=limit, used=used)

    def move_up(
        self, record: SessionRecord, batch: Sequence[Message], client_ids: Collection[str]
    ) -> Sequence[Message]:
        """The batch, with later times where it is older than the last message."""
        if not record.messages or batch[0].created_at >= record.messages[-1].created_at:
            return batch
        return move_to(record.messages[-1].created_at, batch, client_ids=client_ids)

    def add(self, record: SessionRecord, batch: Sequence[Message]) -> None:
        """Store a batch at the end."""
        for message in batch:
            record.messages.append(message)
            record.places[message.id] = record.next_place
            record.next_place += 1
        record.last_activity_at = max(record.last_activity_at, batch[-1].created_at)

    def appended(self, messages: Sequence[Message], *, repeated: bool) -> Appended:
        """The result of an append."""
        return Appended(messages=tuple(messages), repeated=repeated)

    def messages_between(self, record: SessionRecord, query: MessageQuery) -> list[Message]:
        """The messages after `after_id` and before `before_id`."""
        ids = [message.id for message in record.messages]
        for bound in (query.after_id, query.before_id):
            if bound is not None and bound not in ids:
                raise MessageNotFoundError(record.head.id, bound)
        first = 0 if query.after_id is None else ids.index(query.after_id) + 1
        last = len(ids) if query.before_id is None else ids.index(query.before_id)
        return record.messages[first:last]

    def listing_key(self, session: Session, filter: SessionFilter) -> Key:
        """The position of a session in a listing."""
        return filter.place_of(session)

    def fork_key(self, head: Session) -> Key:
        """The position of a session in a list of forks."""
        return format_timestamp(head.created_at), head.id

    def expiry_key(self, head: Session) -> Key:
        """The position of a session in the list of expired ones."""
        return format_timestamp(head.expires_at) if head.expires_at is not None else "", head.id

    def place_key(self, record: SessionRecord) -> Callable[[Message], Key]:
        """A function that returns the position of a message."""
        return lambda message: (record.places[message.id],)

    def page(
        self,
        found: list[T],
        key: Callable[[T], Key],
        limit: int,
        cursor: str | None,
        *,
        bound_to: str,
        form: type[Key] = tuple[str, str],
        downwards: bool = False,
    ) -> Page[T]:
        """One page of items that are sorted by `key`. The cursor has the key of the last item, in this form."""
        if not 1 <= limit <= MAX_PAGE:
            raise ValidationError(f"limit must be 1 to {MAX_PAGE}, not {limit}")
        if cursor is not None:
            last = decode_cursor(cursor, bound_to=bound_to, form=form)
            found = [item for item in found if (key(item) < last if downwards else key(item) > last)]
        page = found[:limit]
        more = encode_cursor(key(page[-1]), bound_to=bound_to) if len(found) > limit else None
        return Page(tuple(page), more)
