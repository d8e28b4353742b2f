"""Never a summary of what is no longer there: edits, deletes and other writers while and after it is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from session_continuity import (
    CompressionApplied,
    CompressionState,
    ConcurrencyError,
    Event,
    MessageQuery,
    Patch,
    SessionManager,
    SessionNotFoundError,
)

from ..kit.clocks import START
from ..kit.conversations import contents, said
from ..kit.recording import RecordingAdapter
from .summarizers import INTRODUCTION, RecordingSummarizer, compressing, write
from .variants import ON_MEMORY, Variant

pytestmark = pytest.mark.on(variant=ON_MEMORY)


@pytest.fixture
def folded(
    variant: Variant, store: RecordingAdapter, summarizer: RecordingSummarizer
) -> tuple[SessionManager, str, RecordingSummarizer]:
    """Eight messages, m0 to m7, of which the first five are folded."""
    manager = variant.manager(store, summarizer=summarizer)
    session = manager.create_session(token_budget=compressing(40), compression={"strategy": "summarization"})
    for number in range(8):
        store.clock.advance(seconds=1)  # type: ignore[attr-defined]
        manager.add_message(session.id, id=f"m{number}", **said(str(number), tokens=6))
    manager.get_conversation_context(session.id)
    assert summarizer.received == [list("01234")]
    return manager, session.id, summarizer


CHANGES: dict[str, tuple[Callable[[Any, str], object], list[str] | None]] = {
    "edit below": (lambda m, s: m.update_message(s, "m2", content="new", token_count=6), ["0", "1", "new", "3", "4"]),
    "edit of the last below": (lambda m, s: m.update_message(s, "m4", content="new", token_count=6), [*"0123", "new"]),
    "edit of metadata below": (lambda m, s: m.update_message(s, "m2", metadata={"k": 1}, token_count=6), [*"01234"]),
    "edit above": (lambda m, s: m.update_message(s, "m5", content="new", token_count=6), None),
    "delete below": (lambda m, s: m.delete_message(s, "m2"), [*"0134"]),
    "delete of the last below": (lambda m, s: m.delete_message(s, "m4"), [*"0123"]),
    "delete above": (lambda m, s: m.delete_message(s, "m7"), None),
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_edit_or_delete_drops_a_summary_that_covers_it_and_no_other(
    folded: tuple[SessionManager, str, RecordingSummarizer], change: str
) -> None:
    manager, session_id, summarizer = folded
    before = manager.get_session(session_id).compression_state
    work, folded_anew = CHANGES[change]
    work(manager, session_id)
    kept = manager.get_session(session_id).compression_state
    manager.get_conversation_context(session_id)
    if folded_anew is None:
        assert (kept, len(summarizer.received)) == (before, 1)
    else:
        assert (kept, summarizer.received[1:], summarizer.previous[1:]) == (None, [folded_anew], [None])


def test_a_summary_outlives_edits_and_deletes_of_the_system_messages_that_it_does_not_cover(
    variant: Variant, store: RecordingAdapter, summarizer: RecordingSummarizer
) -> None:
    manager = variant.manager(store, summarizer=summarizer)
    session = manager.create_session(token_budget=compressing(40), compression={"strategy": "summarization"})
    manager.add_message(session.id, id="rules", role="system", content="be kind", token_count=1)
    write(manager, session.id, "01234567", tokens=6)
    manager.get_conversation_context(session.id)
    state = manager.get_session(session.id).compression_state
    assert state is not None
    manager.update_message(session.id, "rules", content="be brief", token_count=1)
    assert manager.get_session(session.id).compression_state == state
    manager.update_message(session.id, "rules", role="user")
    assert manager.get_session(session.id).compression_state is None
    manager.update_message(session.id, "rules", role="system")
    manager.get_conversation_context(session.id)
    state = manager.get_session(session.id).compression_state
    manager.delete_message(session.id, "rules")
    assert manager.get_session(session.id).compression_state == state is not None


def test_deleting_all_messages_drops_the_summary(folded: tuple[SessionManager, str, RecordingSummarizer]) -> None:
    manager, session_id, _ = folded
    manager.delete_all_messages(session_id)
    assert manager.get_session(session_id).compression_state is None
    assert manager.get_conversation_context(session_id) == []


def test_a_chosen_id_that_looks_minted_later_does_not_save_a_summary_from_a_delete(
    variant: Variant, store: RecordingAdapter, summarizer: RecordingSummarizer
) -> None:
    later = "0fffffff-ffff-7000-8000-000000000000"
    manager = variant.manager(store, summarizer=summarizer)
    session = manager.create_session(token_budget=compressing(40), compression={"strategy": "summarization"})
    manager.add_message(session.id, id=later, **said("secret", tokens=6))
    write(manager, session.id, "abcdefg", tokens=6)
    manager.get_conversation_context(session.id)
    manager.delete_message(session.id, later)
    assert manager.get_session(session.id).compression_state is None


def test_a_fold_whose_last_message_vanished_by_other_hands_is_left_aside(
    folded: tuple[SessionManager, str, RecordingSummarizer], variant: Variant, store: RecordingAdapter
) -> None:
    manager, session_id, summarizer = folded
    foreign = variant.manager(store)
    state = manager.get_session(session_id).compression_state
    foreign.delete_message(session_id, "m4")
    manager.update_session(session_id, compression_state=state)
    context = manager.get_conversation_context_with_stats(session_id)
    assert summarizer.previous == [None, None]
    assert context.compression is not None
    assert "4" not in summarizer.received[-1]


def while_summarizing(
    variant: Variant, store: RecordingAdapter, work: Callable[[RecordingAdapter, str], Any]
) -> tuple[SessionManager, str, RecordingSummarizer]:
    """A session whose first fold is under way while `work` happens, straight in the store, as another process does."""
    summarizer = RecordingSummarizer()
    manager = variant.manager(store, summarizer=summarizer)
    session = manager.create_session(token_budget=compressing(40), compression={"strategy": "summarization"})
    for number in range(8):
        manager.add_message(session.id, id=f"m{number}", **said(str(number), tokens=6))

    async def meanwhile(session_id: str, patch: Patch, **_: Any) -> None:
        if patch.set.get("compression_state") is not None and "update_session" in store.before:
            del store.before["update_session"]
            await work(store, session_id)

    store.before["update_session"] = meanwhile
    return manager, session.id, summarizer


async def edited(store: RecordingAdapter, session_id: str) -> None:
    await store.inner.update_message(session_id, "m1", Patch(set={"content": "edited"}))


async def deleted(store: RecordingAdapter, session_id: str) -> None:
    await store.inner.delete_message(session_id, "m1")


async def emptied(store: RecordingAdapter, session_id: str) -> None:
    await store.inner.delete_all_messages(session_id)


@pytest.mark.parametrize("work", [edited, deleted, emptied])
def test_a_summary_of_what_changed_while_it_was_made_is_not_kept(
    variant: Variant, store: RecordingAdapter, work: Callable[[RecordingAdapter, str], Any]
) -> None:
    manager, session_id, _ = while_summarizing(variant, store, work)
    told: list[Event] = []
    manager.on(CompressionApplied, told.append)
    result = manager.compress_context(session_id)
    assert (result.compressed_messages, result.state, told) == (0, None, [])
    assert manager.get_session(session_id).compression_state is None


def test_a_context_made_meanwhile_holds_no_stale_summary(variant: Variant, store: RecordingAdapter) -> None:
    manager, session_id, summarizer = while_summarizing(variant, store, edited)
    context = manager.get_conversation_context_with_stats(session_id)
    assert context.compression is None
    assert contents(context.messages) == list("234567")
    manager.get_conversation_context(session_id)
    assert "edited" in summarizer.received[-1]


def test_an_update_of_other_fields_while_summarizing_does_not_waste_the_summary(
    variant: Variant, store: RecordingAdapter
) -> None:
    async def retitled(store: RecordingAdapter, session_id: str) -> None:
        await store.inner.update_session(session_id, Patch(set={"user_id": "u"}))

    manager, session_id, summarizer = while_summarizing(variant, store, retitled)
    result = manager.compress_context(session_id)
    after = manager.get_session(session_id)
    assert (after.compression_state, after.user_id) == (result.state, "u")
    assert (result.compressed_messages, len(summarizer.received)) == (5, 1)


def test_of_two_that_fold_at_once_the_first_counts(variant: Variant, store: RecordingAdapter) -> None:
    async def folded_by_another(store: RecordingAdapter, session_id: str) -> None:
        messages = await store.inner.get_messages(session_id, MessageQuery())
        state = CompressionState(
            strategy="other",
            summary="theirs",
            summary_token_count=5,
            covered_until=messages[5].id,
            covered_through=messages[5].created_at,
            covered_messages=6,
            covered_tokens=36,
            updated_at=START,
        )
        await store.inner.update_session(session_id, Patch(set={"compression_state": state}))

    manager, session_id, _ = while_summarizing(variant, store, folded_by_another)
    told: list[Event] = []
    manager.on(CompressionApplied, told.append)
    context = manager.get_conversation_context_with_stats(session_id)
    assert contents(context.messages) == [INTRODUCTION + "theirs", "6", "7"]
    assert context.compression is not None
    assert (context.compression.strategy, context.compression.cached, told) == ("other", True, [])


def test_folding_in_parallel_leaves_one_whole_state(variant: Variant, store: RecordingAdapter) -> None:
    summarizer = RecordingSummarizer()
    manager = variant.manager(store, summarizer=summarizer)
    session = manager.create_session(token_budget=compressing(40), compression={"strategy": "summarization"})
    write(manager, session.id, "abcdefgh", tokens=6)
    outcomes = variant.run_together(manager, [lambda m: m.get_conversation_context(session.id)] * 6)
    assert all(contents(outcome) == contents(outcomes[0]) for outcome in outcomes)
    state = manager.get_session(session.id).compression_state
    assert state is not None
    assert (state.summary, state.covered_messages) == ("[a,b,c,d,e]", 5)


def test_a_session_deleted_while_summarizing_is_said_to_be_gone(variant: Variant, store: RecordingAdapter) -> None:
    async def gone(store: RecordingAdapter, session_id: str) -> None:
        await store.inner.delete_session(session_id)

    manager, session_id, _ = while_summarizing(variant, store, gone)
    with pytest.raises(SessionNotFoundError):
        manager.compress_context(session_id)


def test_a_session_that_is_gone_after_a_conflict_is_said_to_be_gone(variant: Variant, store: RecordingAdapter) -> None:
    manager, session_id, _ = while_summarizing(variant, store, edited)

    async def conflict(*_: Any, **__: Any) -> None:
        await store.inner.delete_session(session_id)
        raise ConcurrencyError(session_id, expected=1, actual=None)

    store.before["update_session"] = conflict
    with pytest.raises(SessionNotFoundError):
        manager.compress_context(session_id)


def test_a_second_fold_whose_start_vanishes_meanwhile_is_not_kept(variant: Variant, store: RecordingAdapter) -> None:
    async def start_deleted(store: RecordingAdapter, session_id: str) -> None:
        state = (await store.inner.get_session(session_id)).compression_state  # type: ignore[union-attr]
        await store.inner.delete_message(session_id, state.covered_until)  # type: ignore[union-attr]

    manager, session_id, summarizer = while_summarizing(variant, store, start_deleted)
    hook = store.before.pop("update_session")
    manager.compress_context(session_id)
    write(manager, session_id, "abcdefgh", tokens=6)
    store.before["update_session"] = hook
    assert manager.compress_context(session_id).state is None
    assert manager.get_session(session_id).compression_state is None
    assert len(summarizer.received) == 2


def test_a_conflict_that_hides_the_session_makes_the_fold_read_it(variant: Variant, store: RecordingAdapter) -> None:
    manager, session_id, _ = while_summarizing(variant, store, edited)

    async def conflict(*_: Any, **__: Any) -> None:
        del store.before["update_session"]
        raise ConcurrencyError(session_id, expected=1, actual=None)

    store.before["update_session"] = conflict
    assert manager.compress_context(session_id).compressed_messages == 5
