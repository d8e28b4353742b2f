"""A third party's store, put in place of the skeleton of `new-backend shelf`: sessions kept in this process."""

from __future__ import annotations

import threading
from collections.abc import Collection, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar, Unpack

from pydantic import BaseModel
from session_continuity import (
    Appended,
    AppendTerms,
    ConcurrencyError,
    ConversationPage,
    HealthStatus,
    Message,
    MessageNotFoundError,
    MessageQuery,
    Mode,
    Page,
    Patch,
    Session,
    SessionClosedError,
    SessionExistsError,
    SessionFilter,
    SessionNotFoundError,
    StorageAdapter,
    TokenBudgetExceededError,
    conversation_of,
    decode_cursor,
    encode_cursor,
    is_repeated_append,
    is_repeated_create,
    move_to,
    utc_now,
)

from session_continuity_shelf.config import CAPABILITIES, ShelfOptions

M = TypeVar("M", bound=BaseModel)
K = TypeVar("K")


def copy(model: M) -> M:
    """The model, sharing nothing with the store."""
    return model.model_copy(deep=True)


@dataclass
class Book:
    """One session. `pages` are its messages by a number that never comes twice."""

    head: Session
    pages: dict[int, Message] = field(default_factory=dict[int, Message])
    numbers: dict[str, int] = field(default_factory=dict[str, int])
    written: int = 0

    def session(self) -> Session:
        pages = self.pages.values()
        totals: dict[str, Any] = {
            "message_count": len(pages),
            "token_count": sum(page.token_count or 0 for page in pages),
            "system_message_ids": [page.id for page in pages if page.role == "system"],
        }
        return copy(self.head.model_copy(update=totals))

    def is_expired(self, now: datetime) -> bool:
        return self.head.expires_at is not None and self.head.expires_at <= now

    def find(self, message_id: str) -> Message | None:
        return copy(self.pages[self.numbers[message_id]]) if message_id in self.numbers else None

    def number(self, message_id: str) -> int:
        if message_id not in self.numbers:
            raise MessageNotFoundError(self.head.id, message_id)
        return self.numbers[message_id]

    def append(self, batch: Sequence[Message], client_ids: Collection[str]) -> tuple[Sequence[Message], bool]:
        stored = [self.find(message.id) for message in batch]
        if is_repeated_append(stored, batch):
            return [message for message in stored if message is not None], True
        self._refuse(sum(message.token_count or 0 for message in batch))
        last = next(reversed(self.pages.values()), None)
        if last is not None and batch[0].created_at < last.created_at:
            batch = move_to(last.created_at, batch, client_ids=client_ids)
        for message in batch:
            self.written += 1
            self.numbers[message.id] = self.written
            self.pages[self.written] = copy(message)
        latest = max(self.head.last_activity_at, batch[-1].created_at)
        self.head = self.head.model_copy(update={"last_activity_at": latest})
        return batch, False

    def _refuse(self, tokens: int) -> None:
        if self.head.status in ("completed", "expired"):
            raise SessionClosedError(self.head.id, self.head.status)
        limit = None if self.head.token_budget is None else self.head.token_budget.hard_limit
        used = self.session().token_count
        if limit is not None and used + tokens > limit:
            raise TokenBudgetExceededError(self.head.id, requested=tokens, limit=limit, used=used)

    def select(self, query: MessageQuery, beyond: int | None) -> list[int]:
        """The numbers of the messages that a query wants, in its order, those beyond one number."""
        low = 0 if query.after_id is None else self.number(query.after_id)
        high = self.written + 1 if query.before_id is None else self.number(query.before_id)
        found = [number for number, page in self.pages.items() if low < number < high and query.selects(page)]
        if query.order == "desc":
            return [number for number in reversed(found) if beyond is None or number < beyond]
        return [number for number in found if beyond is None or number > beyond]


@dataclass
class Shelf:
    """What the adapters of one database share: books by namespace and id."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    books: dict[tuple[str, str], Book] = field(default_factory=dict[tuple[str, str], Book])


_shelves: dict[tuple[str, str], Shelf] = {}


class ShelfStorage(StorageAdapter):
    """Sessions and their messages on a shelf."""

    backend = "shelf"

    def __init__(self, options: ShelfOptions, *, mode: Mode = "async") -> None:
        self.mode = mode
        self.capabilities = CAPABILITIES
        self.clock = utc_now
        self._namespace = options.namespace
        self._shelf = _shelves.setdefault((options.host, options.database), Shelf())

    async def setup(self) -> None:
        """Nothing to create."""

    async def close(self) -> None:
        """Nothing to release."""

    async def health(self) -> HealthStatus:
        return HealthStatus(status="healthy", latency_ms=0.0)

    async def create_session(self, session: Session) -> Session:
        with self._books() as books:
            book = books.get((self._namespace, session.id))
            if book is not None and not book.is_expired(self.clock()):
                if is_repeated_create(book.session(), session):
                    return book.session()
                raise SessionExistsError(session.id)
            books[self._namespace, session.id] = book = Book(copy(session))
            return book.session()

    async def get_session(self, session_id: str) -> Session | None:
        with self._books() as books:
            book = books.get((self._namespace, session_id))
            return None if book is None or book.is_expired(self.clock()) else book.session()

    async def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        with self._book(session_id) as book:
            actual = book.head.version
            if expected_version not in (None, actual):
                raise ConcurrencyError(session_id, expected=expected_version, actual=actual, current=book.session())
            book.head = copy(patch.apply(book.head).model_copy(update={"version": actual + 1}))
            return book.session()

    async def delete_session(
        self, session_id: str, *, expired_before: datetime | None = None, expected_version: int | None = None
    ) -> bool:
        del expected_version  # refused by core: not declared
        with self._books() as books:
            book = books.get((self._namespace, session_id))
            if book is None or (expired_before is not None and not book.is_expired(expired_before)):
                return False
            del books[self._namespace, session_id]
            return True

    async def list_sessions(self, filter: SessionFilter, *, limit: int, cursor: str | None = None) -> Page[Session]:
        beyond = None if cursor is None else decode_cursor(cursor, bound_to=filter.key(), form=tuple[str, str])
        with self._books() as books:
            now = self.clock()
            found = {
                (book.head.created_at.isoformat(), book.head.id): book
                for book in self._mine(books)
                if not book.is_expired(now) and filter.matches(book.head)
            }
            keys = sorted((key for key in found if beyond is None or key < beyond), reverse=True)
            page, more = cut(keys, limit, filter.key())
            return Page(tuple(found[key].session() for key in page), more)

    async def append_messages(
        self,
        session_id: str,
        messages: Sequence[Message],
        *,
        client_ids: Collection[str] = (),
        **terms: Unpack[AppendTerms],
    ) -> Appended:
        del terms  # refused by core: not declared
        with self._book(session_id) as book:
            stored, repeated = book.append(messages, client_ids)
            return Appended(messages=tuple(stored), repeated=repeated)

    async def get_message(self, session_id: str, message_id: str) -> Message | None:
        with self._book(session_id) as book:
            return book.find(message_id)

    async def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        key = query.key(session_id)
        beyond = None if cursor is None else decode_cursor(cursor, bound_to=key, form=int)
        with self._book(session_id) as book:
            page, more = cut(book.select(query, beyond), query.limit, key)
            return Page(tuple(copy(book.pages[number]) for number in page), more)

    async def get_conversation(self, session_id: str, query: MessageQuery) -> ConversationPage:
        return await conversation_of(self, session_id, query)

    async def update_message(self, session_id: str, message_id: str, patch: Patch) -> Message:
        with self._book(session_id) as book:
            number = book.number(message_id)
            book.pages[number] = copy(patch.apply(book.pages[number]))
            return copy(book.pages[number])

    async def delete_message(self, session_id: str, message_id: str) -> bool:
        with self._book(session_id) as book:
            number = book.numbers.pop(message_id, None)
            return book.pages.pop(number, None) is not None if number is not None else False

    async def delete_all_messages(self, session_id: str) -> int:
        with self._book(session_id) as book:
            count = len(book.pages)
            book.pages.clear()
            book.numbers.clear()
            return count

    async def get_expired_sessions(self, before: datetime, *, limit: int, cursor: str | None = None) -> Page[str]:
        beyond = None if cursor is None else decode_cursor(cursor, bound_to="expired", form=tuple[str, str])
        with self._books() as books:
            expired = [
                (book.head.expires_at.isoformat(), book.head.id)
                for book in self._mine(books)
                if book.head.expires_at is not None and book.is_expired(before)
            ]
        page, more = cut(sorted(key for key in expired if beyond is None or key > beyond), limit, "expired")
        return Page(tuple(session_id for _, session_id in page), more)

    def _mine(self, books: dict[tuple[str, str], Book]) -> Iterable[Book]:
        return [book for (namespace, _), book in books.items() if namespace == self._namespace]

    @contextmanager
    def _books(self) -> Generator[dict[tuple[str, str], Book], None, None]:
        with self._shelf.lock:
            yield self._shelf.books

    @contextmanager
    def _book(self, session_id: str) -> Generator[Book, None, None]:
        with self._books() as books:
            book = books.get((self._namespace, session_id))
            if book is None or book.is_expired(self.clock()):
                raise SessionNotFoundError(session_id)
            yield book


def cut(keys: list[K], limit: int, bound_to: str) -> tuple[list[K], str | None]:
    """The keys of one page, and the cursor to those beyond it."""
    return keys[:limit], encode_cursor(keys[limit - 1], bound_to=bound_to) if len(keys) > limit else None
