"""Pages and cursors: long results in parts."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeVar, cast, overload

from pydantic import ConfigDict, TypeAdapter, ValidationError as PydanticError

from session_continuity.errors import ValidationError

__all__ = ["MAX_PAGE", "Fetch", "Page", "check_span", "collect", "decode_cursor", "encode_cursor", "walk"]

MAX_PAGE = 1000
"""The largest `limit` of one page."""

_DIGEST_LENGTH = 12

T = TypeVar("T", covariant=True)
U = TypeVar("U")


@dataclass(frozen=True, slots=True)
class Page(Sequence[T], Generic[T]):
    """Some of the matching items, in order. `next_cursor` continues after them; None means that this is the end.

    `unreadable` are the ids of items that the store has and cannot read. They are left out. `stale_totals` is True for
    sessions whose totals and `last_activity_at` may be those of their creation.
    """

    items: tuple[T, ...]
    next_cursor: str | None = None
    unreadable: tuple[str, ...] = ()
    stale_totals: bool = False

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[T, ...]: ...
    def __getitem__(self, index: int | slice) -> T | tuple[T, ...]:
        return self.items[index]

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def map(self, change: Callable[[T], U]) -> Page[U]:
        """The page with each item replaced by `change(item)`."""
        return Page(tuple(change(item) for item in self.items), self.next_cursor, self.unreadable, self.stale_totals)


Fetch = Callable[[int, str | None], Awaitable[Page[U]]]
"""Reads one page. The arguments are the page size and the cursor."""


def check_span(limit: int | None, cursor: str | None) -> None:
    """Raise ValidationError if `limit` is not a positive int or None, or `cursor` not a str or None."""
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
        raise ValidationError("limit must be a whole number from 1 up, or None")
    if cursor is not None and not isinstance(cursor, str):
        raise ValidationError("the cursor must be a page's next_cursor, or None")


async def collect(fetch: Fetch[U], limit: int | None, cursor: str | None) -> Page[U]:
    """A page of `limit` items, or of all items for None, read in as many requests as that takes.

    Raises ValidationError for a limit below 1.
    """
    check_span(limit, cursor)
    items: list[U] = []
    unreadable: list[str] = []
    while True:
        page = await fetch(MAX_PAGE if limit is None else min(limit - len(items), MAX_PAGE), cursor)
        items.extend(page)
        unreadable.extend(page.unreadable)
        cursor = page.next_cursor
        if cursor is None or len(items) == limit:
            return Page(tuple(items), cursor, tuple(unreadable), page.stale_totals)


async def walk(
    fetch: Fetch[U],
    limit: int | None,
    cursor: str | None,
    *,
    step: int,
    on_unreadable: Callable[[str], object] | None = None,
) -> AsyncGenerator[U, None]:
    """The items of `collect`, one by one. A page of at most `step` items is read when its first item is needed.

    `on_unreadable` is called with each id of `Page.unreadable` when its page has been read.
    """
    left = limit
    while True:
        page = await fetch(step if left is None else min(left, step), cursor)
        if on_unreadable is not None:
            for name in page.unreadable:
                on_unreadable(name)
        for item in page:
            yield item
        left = None if left is None else left - len(page)
        cursor = page.next_cursor
        if cursor is None or left == 0:
            return


def encode_cursor(position: Any, *, bound_to: str) -> str:
    """An opaque cursor for `position`, a JSON value. `decode_cursor` accepts it only with the same `bound_to`."""
    text = json.dumps(position)
    return base64.urlsafe_b64encode(f"{_digest(bound_to, text)}{text}".encode()).decode()


def decode_cursor(cursor: str, *, bound_to: str, form: type[U]) -> U:
    """The position in a cursor. `form` is its type, for example `int` or `tuple[str, str]`.

    Raises ValidationError when the cursor is malformed or changed, and when it belongs to another listing, filter,
    session or store.
    """
    try:
        content = base64.b64decode(cursor.encode(), altchars=b"-_", validate=True).decode()
    except ValueError:
        raise ValidationError("the cursor is malformed; pass a page's next_cursor unchanged, or None") from None
    digest, text = content[:_DIGEST_LENGTH], content[_DIGEST_LENGTH:]
    if digest != _digest(bound_to, text):
        raise ValidationError(
            "the cursor belongs to another query; pass the conditions it came from, or start without a cursor"
        )
    try:
        position: U = _reader(cast("Any", form)).validate_json(text)
    except PydanticError:
        raise ValidationError(
            "the cursor belongs to another store, or to another version of this one; pass no cursor"
        ) from None
    return position


@cache
def _reader(form: Any) -> TypeAdapter[Any]:
    return TypeAdapter(form, config=ConfigDict(strict=True))


def _digest(bound_to: str, position: str) -> str:
    digest = hashlib.blake2b(bound_to.encode(), digest_size=_DIGEST_LENGTH // 2)
    digest.update(b"\0" + position.encode())
    return digest.hexdigest()
