"""What the third party's store can do beyond the contract: conditional deletes, and a search of what was said."""

from __future__ import annotations

from datetime import datetime

from session_continuity import ConcurrencyError, Message, Page, SearchTerms, SessionNotFoundError, decode_cursor
from session_continuity import searched_words

from session_continuity_shelf.adapter import Book, ShelfStorage, copy, cut

Books = dict[tuple[str, str], Book]


class SearchedShelfStorage(ShelfStorage):
    """A shelf whose books are searched page by page."""

    async def delete_session(
        self, session_id: str, *, expired_before: datetime | None = None, expected_version: int | None = None
    ) -> bool:
        with self._books() as books:
            book = books.get((self._namespace, session_id))
            if book is None or (expired_before is not None and not book.is_expired(expired_before)):
                return False
            actual = book.head.version
            if expected_version not in (None, actual):
                raise ConcurrencyError(session_id, expected=expected_version, actual=actual, current=book.session())
            del books[self._namespace, session_id]
            return True

    async def search_messages(
        self,
        text: str,
        *,
        user_id: str | None = None,
        session_id: str | None = None,
        limit: int,
        cursor: str | None = None,
    ) -> Page[Message]:
        terms, binding = SearchTerms.of(text), repr([text, user_id, session_id])
        start = None if cursor is None else decode_cursor(cursor, bound_to=binding, form=tuple[str, int])
        with self._books() as books:
            found = {
                (book.head.id, number): page
                for book in self._searched(books, user_id, session_id)
                for number, page in book.pages.items()
                if terms.are_in(searched_words(page.role, page.content))
            }
            keys = sorted((key for key in found if start is None or key < start), reverse=True)
            page, more = cut(keys, limit, binding)
            return Page(tuple(copy(found[key]) for key in page), more)

    def _searched(self, books: Books, user_id: str | None, session_id: str | None) -> list[Book]:
        now = self.clock()
        found = [
            book
            for book in self._mine(books)
            if not book.is_expired(now) and session_id in (None, book.head.id) and user_id in (None, book.head.user_id)
        ]
        if session_id is not None and not found and user_id is None:
            raise SessionNotFoundError(session_id)
        return found
