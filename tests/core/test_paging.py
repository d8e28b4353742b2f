"""Pages, cursors, and reading many pages as one."""

from __future__ import annotations

import base64
from contextlib import aclosing
from typing import Any

import pytest
from hypothesis import given, strategies as st

from session_continuity import Page, ValidationError, decode_cursor, encode_cursor, run_now
from session_continuity.contract.paging import collect, walk

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(position=json_values, bound_to=st.text())
def test_a_cursor_gives_back_its_position(position: Any, bound_to: str) -> None:
    assert decode_cursor(encode_cursor(position, bound_to=bound_to), bound_to=bound_to, form=object) == position


def test_a_cursor_is_text_that_needs_no_escaping_in_a_url() -> None:
    cursor = encode_cursor(["ü/?&#", "\x00"], bound_to="q")
    assert set(cursor) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=")


def test_a_tuple_comes_back_as_a_tuple() -> None:
    assert decode_cursor(encode_cursor(("a", 1), bound_to="q"), bound_to="q", form=tuple[str, int]) == ("a", 1)


@pytest.mark.parametrize("position", [None, True, 1.0, "7", "x", [7], {}, 7.5])
def test_a_cursor_of_another_store_is_refused(position: Any) -> None:
    with pytest.raises(ValidationError, match="belongs to another store, or to another version of this one"):
        decode_cursor(encode_cursor(position, bound_to="q"), bound_to="q", form=int)


@given(st.text(), st.text())
def test_a_cursor_of_another_query_is_refused(made_for: str, asked_for: str) -> None:
    cursor = encode_cursor(7, bound_to=made_for)
    if made_for != asked_for:
        with pytest.raises(ValidationError, match="the cursor belongs to another query; pass the conditions"):
            decode_cursor(cursor, bound_to=asked_for, form=int)


def test_a_changed_position_is_refused() -> None:
    content = base64.urlsafe_b64decode(encode_cursor(["here"], bound_to="q"))
    assert b"here" in content
    forged = base64.urlsafe_b64encode(content.replace(b"here", b"gone")).decode()
    with pytest.raises(ValidationError, match="belongs to another query"):
        decode_cursor(forged, bound_to="q", form=str)


@pytest.mark.parametrize("cursor", ["x", "a b=", "####", "/+==", "ü", "\ud800", "gICA"])
def test_a_malformed_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(ValidationError, match="the cursor is malformed; pass a page's next_cursor unchanged, or None"):
        decode_cursor(cursor, bound_to="q", form=str)


@given(st.text() | st.binary().map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_any_garbage_for_a_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(ValidationError):
        decode_cursor(cursor, bound_to="q", form=str)


def test_a_deeply_nested_forgery_is_refused() -> None:
    with pytest.raises(ValidationError):
        decode_cursor(base64.urlsafe_b64encode(b"0" * 12 + b"[" * 200_000).decode(), bound_to="q", form=str)


def test_an_error_does_not_echo_the_cursor() -> None:
    with pytest.raises(ValidationError) as caught:
        decode_cursor("c2VjcmV0LXBvc2l0aW9u", bound_to="q", form=str)
    assert "c2VjcmV0" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_page_is_a_sequence_of_its_items() -> None:
    page = Page(("a", "b", "c"), "next")
    assert (len(page), page[0], page[-1], page[1:]) == (3, "a", "c", ("b", "c"))
    assert list(page) == ["a", "b", "c"]
    assert "b" in page
    assert page.index("c") == 2
    assert list(reversed(page)) == ["c", "b", "a"]
    assert page.next_cursor == "next"


def test_an_empty_page_is_false_and_the_last() -> None:
    page = Page[str](())
    assert not page
    assert page.next_cursor is None


def test_a_page_maps_its_items_and_keeps_its_cursor() -> None:
    assert Page((1, 2), "next").map(str) == Page(("1", "2"), "next")


def test_a_page_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Page((1,)).next_cursor = "x"  # type: ignore[misc]


class Source:
    """Ten numbers, in pages of at most four, also for a larger limit."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, str | None]] = []

    async def fetch(self, limit: int, cursor: str | None) -> Page[int]:
        self.asked.append((limit, cursor))
        start = int(cursor or 0)
        end = min(start + min(limit, 4), 10)
        return Page(tuple(range(start, end)), str(end) if end < 10 else None)


@pytest.mark.parametrize(
    ("limit", "cursor", "items", "next_cursor", "sizes"),
    [
        (None, None, range(10), None, [1000, 1000, 1000]),
        (1, None, range(1), "1", [1]),
        (3, None, range(3), "3", [3]),
        (6, None, range(6), "6", [6, 2]),
        (10, None, range(10), None, [10, 6, 2]),
        (50, None, range(10), None, [50, 46, 42]),
        (5000, None, range(10), None, [1000, 1000, 1000]),
        (4, "8", range(8, 10), None, [4]),
    ],
)
def test_as_many_pages_are_read_as_the_limit_takes(
    limit: int | None, cursor: str | None, items: range, next_cursor: str | None, sizes: list[int]
) -> None:
    source = Source()
    assert run_now(collect(source.fetch, limit, cursor)) == Page(tuple(items), next_cursor)
    assert [size for size, _ in source.asked] == sizes


async def walked(source: Source, limit: int | None, cursor: str | None, *, step: int = 3, take: int = 100) -> list[int]:
    found: list[int] = []
    async with aclosing(walk(source.fetch, limit, cursor, step=step)) as items:
        async for item in items:
            found.append(item)
            if len(found) == take:
                break
    return found


@pytest.mark.parametrize(
    ("limit", "cursor", "items", "sizes"),
    [
        (None, None, range(10), [3, 3, 3, 3]),
        (1, None, range(1), [1]),
        (3, None, range(3), [3]),
        (5, None, range(5), [3, 2]),
        (10, None, range(10), [3, 3, 3, 1]),
        (50, None, range(10), [3, 3, 3, 3]),
        (4, "8", range(8, 10), [3]),
    ],
)
def test_items_are_walked_page_by_page_up_to_the_limit(
    limit: int | None, cursor: str | None, items: range, sizes: list[int]
) -> None:
    source = Source()
    assert run_now(walked(source, limit, cursor)) == list(items)
    assert [size for size, _ in source.asked] == sizes


def test_a_walk_continues_after_a_page_that_is_shorter_than_asked_for() -> None:
    source = Source()
    assert run_now(walked(source, 5, None, step=6)) == [0, 1, 2, 3, 4]
    assert source.asked == [(5, None), (1, "4")]


def test_a_page_is_fetched_when_its_first_item_is_asked_for() -> None:
    source = Source()
    assert run_now(walked(source, None, None, take=3)) == [0, 1, 2]
    assert source.asked == [(3, None)]
    assert run_now(walked(source, None, None, take=4)) == [0, 1, 2, 3]
    assert source.asked == [(3, None), (3, None), (3, "3")]


@pytest.mark.parametrize("limit", [0, -1, True, 1.5, "3"])
def test_a_limit_below_one_is_refused_before_anything_is_read(limit: Any) -> None:
    source = Source()
    with pytest.raises(ValidationError, match="limit must be a whole number from 1 up, or None"):
        run_now(collect(source.fetch, limit, None))
    assert source.asked == []


@pytest.mark.parametrize("cursor", [5, b"c", ("c",)])
def test_a_cursor_must_be_a_string(cursor: Any) -> None:
    source = Source()
    with pytest.raises(ValidationError, match="the cursor must be a page's next_cursor, or None"):
        run_now(collect(source.fetch, None, cursor))
    assert source.asked == []
