"""Ids: UUIDv7 text that sorts in the order of generation and contains its time."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from session_continuity import Message, Session, minted_at, move_to, stable_id, utc_now
from session_continuity.ids import MessageIds, new_session_id

from ..kit.conversations import new_message

NOON = datetime(2026, 5, 4, 12, 0, 0, 123000, UTC)
MILLISECOND = timedelta(milliseconds=1)

moments = st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31)).map(
    lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000, tzinfo=UTC)
)


def minted(minter: MessageIds, count: int) -> list[Message]:
    pairs = [minter.mint() for _ in range(count)]
    return [new_message(message_id, now=created_at) for message_id, created_at in pairs]


@pytest.mark.parametrize("text", [MessageIds(lambda: NOON).mint()[0], new_session_id(NOON)], ids=["message", "session"])
def test_an_id_is_a_uuid_of_version_7_with_its_milliseconds_in_front(text: str) -> None:
    parsed = uuid.UUID(text)
    assert (str(parsed), parsed.version, parsed.variant) == (text, 7, uuid.RFC_4122)
    assert parsed.int >> 80 == (NOON - datetime(1970, 1, 1, tzinfo=UTC)) // MILLISECOND


@given(moments)
def test_a_minted_id_gives_back_the_time_it_was_minted_with(moment: datetime) -> None:
    text, created_at = MessageIds(lambda: moment).mint()
    assert created_at == moment
    assert minted_at(text) == moment
    assert len(text) == 36


def test_a_minted_time_is_cut_to_milliseconds() -> None:
    text, created_at = MessageIds(lambda: NOON + timedelta(microseconds=999)).mint()
    assert created_at == minted_at(text) == NOON


@given(st.lists(st.integers(-5, 5), max_size=60))
def test_ids_of_one_minter_ascend_whatever_its_clock_does(steps: list[int]) -> None:
    now = NOON

    def clock() -> datetime:
        return now

    minter, found = MessageIds(clock), list[tuple[str, datetime]]()
    for step in steps:
        now += step * MILLISECOND
        found.append(minter.mint())
    for (early, early_at), (late, late_at) in pairwise(found):
        assert early < late
        assert early_at <= late_at
    assert all(minted_at(text) == created_at for text, created_at in found)


def test_more_ids_than_a_millisecond_has_numbers_for_use_the_next_one() -> None:
    minter = MessageIds(lambda: NOON)
    found = [minter.mint() for _ in range(2 * 4096 + 1)]
    assert [text for text, _ in found] == sorted({text for text, _ in found})
    assert [found[place][1] - NOON for place in (4095, 4096, 8191, 8192)] == [
        0 * MILLISECOND,
        1 * MILLISECOND,
        1 * MILLISECOND,
        2 * MILLISECOND,
    ]


def test_ids_ascend_when_the_clock_catches_up_with_the_minter() -> None:
    now = NOON
    minter = MessageIds(lambda: now)
    ahead = [minter.mint() for _ in range(4097)][-1]
    now += MILLISECOND
    assert minter.mint() > ahead


def test_ids_of_one_minter_ascend_within_each_of_several_threads_and_are_never_equal() -> None:
    minter = MessageIds(lambda: NOON)
    with ThreadPoolExecutor(4) as pool:
        rows = list(pool.map(lambda _: [minter.mint()[0] for _ in range(2000)], range(4)))
    assert all(row == sorted(row) for row in rows)
    assert len({text for row in rows for text in row}) == 8000


def test_two_minters_of_one_moment_do_not_collide() -> None:
    assert len({MessageIds(lambda: NOON).mint()[0] for _ in range(100)}) == 100


def test_session_ids_sort_by_their_creation_and_differ_within_a_millisecond() -> None:
    found = [new_session_id(NOON + number * MILLISECOND) for number in range(100)]
    assert found == sorted(found)
    assert len({new_session_id(NOON) for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "text",
    [
        "",
        "order-17",
        "a\ud800",
        "٣" * 32,
        pytest.param(str(uuid.uuid4()), id="version 4"),
        "018f4a3e-7c00-7000-c000-000000000000",
        "018F4A3E-7C00-7000-8000-000000000000",
        "018f4a3e7c0070008000000000000000",
        "{018f4a3e-7c00-7000-8000-000000000000}",
        "urn:uuid:018f4a3e-7c00-7000-8000-000000000000",
        "ffffffff-ffff-7000-8000-000000000000",
    ],
)
def test_an_id_that_cannot_have_been_minted_has_no_time(text: str) -> None:
    assert minted_at(text) is None


@given(st.text())
def test_any_text_may_be_asked_for_its_time(text: str) -> None:
    assert minted_at(text) is None


def test_the_last_time_of_an_id_is_that_of_the_calendar() -> None:
    last = datetime.max.replace(microsecond=999000, tzinfo=UTC)
    assert minted_at(new_session_id(last)) == last


def test_a_moved_batch_keeps_its_order_and_carries_the_new_time() -> None:
    turn = minted(MessageIds(lambda: NOON), 3)
    moved = move_to(NOON + MILLISECOND, turn, client_ids=())
    assert [each.content for each in moved] == [each.content for each in turn]
    assert [each.created_at for each in moved] == [NOON + MILLISECOND] * 3
    assert [minted_at(each.id) for each in moved] == [NOON + MILLISECOND] * 3
    assert [each.id for each in moved] == sorted({each.id for each in moved})
    assert {each.id for each in moved}.isdisjoint(each.id for each in turn)


def test_a_moved_batch_keeps_the_ids_that_its_caller_chose() -> None:
    first, second = minted(MessageIds(lambda: NOON), 2)
    turn = [
        new_message("mine", now=NOON),
        first,
        second.model_copy(update={"id": minted(MessageIds(lambda: NOON), 1)[0].id}),
    ]
    moved = move_to(NOON + MILLISECOND, turn, client_ids={"mine", turn[2].id})
    assert [moved[0].id, moved[2].id] == ["mine", turn[2].id]
    assert moved[1].id != first.id
    assert {each.created_at for each in moved} == {NOON + MILLISECOND}


def test_moving_leaves_the_given_messages_as_they_are() -> None:
    turn = minted(MessageIds(lambda: NOON), 2)
    before = [each.model_copy() for each in turn]
    move_to(NOON + MILLISECOND, turn, client_ids=())
    assert turn == before


def test_the_clock_of_a_process_is_aware_utc_in_milliseconds() -> None:
    now = utc_now()
    assert now.tzinfo is UTC
    assert now.microsecond % 1000 == 0
    assert abs(datetime.now(UTC) - now) < timedelta(seconds=10)


@given(st.integers(0, 253402300799999))
def test_every_millisecond_of_the_clock_is_exact(milliseconds: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("session_continuity.runtime.clocks.time.time_ns", lambda: milliseconds * 1_000_000 + 999_999)
        assert (utc_now() - datetime(1970, 1, 1, tzinfo=UTC)) / MILLISECOND == milliseconds


@given(st.text(min_size=1, max_size=400) | st.text(alphabet="é👍\ud800", min_size=100, max_size=400))
def test_every_text_gets_a_stable_id(text: str) -> None:
    made = stable_id(text)
    session = Session(id=made, created_at=NOON, last_activity_at=NOON)
    assert session.id == made == stable_id(text)
    assert stable_id(made) == made


def test_a_text_that_can_be_an_id_is_one() -> None:
    assert stable_id("slack:C042:1700000000.000100") == "slack:C042:1700000000.000100"
    assert stable_id("👍" * 64) == "👍" * 64


def test_long_texts_with_the_same_beginning_get_different_ids() -> None:
    one, other = stable_id("x" * 1000 + "1"), stable_id("x" * 1000 + "2")
    assert one != other
    assert one[:200] == other[:200] == "x" * 200
    assert len(one) == 256


def test_an_empty_text_gets_no_id() -> None:
    with pytest.raises(ValueError, match="empty"):
        stable_id("")
