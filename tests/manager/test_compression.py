"""Folding: one summary that grows, and what happens when it cannot be made."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from session_continuity import (
    CompressionApplied,
    CompressionError,
    CompressionState,
    Message,
    SessionManager,
    SessionNotFoundError,
    TokenBudget,
    WouldSuspendError,
)

from ..kit.clocks import Clock
from ..kit.conversations import REPLY, answered, asked, contents, said, system
from ..kit.recording import RecordingAdapter
from .summarizers import INTRODUCTION, RecordingSummarizer, compressing, write
from .variants import ON_MEMORY, Variant

pytestmark = pytest.mark.on(variant=ON_MEMORY)


def test_an_overflowing_conversation_is_put_into_words_and_the_words_come_first(
    variant: Variant, store: RecordingAdapter, summarizer: RecordingSummarizer
) -> None:
    manager = variant.manager(store, summarizer=summarizer)
    session = manager.create_session(
        token_budget=compressing(40), compression={"strategy": "summarization", "summarization_prompt": "in short"}
    )
    manager.add_message(session.id, **system("rule"))
    write(manager, session.id, "abcdefgh", tokens=5)
    context = manager.get_conversation_context_with_stats(session.id)
    assert contents(context.messages) == ["rule", INTRODUCTION + "[a,b,c,d,e]", "f", "g", "h"]
    assert [message.role for message in context.messages[:2]] == ["system", "system"]
    assert (summarizer.received, summarizer.previous, summarizer.prompts) == ([list("abcde")], [None], ["in short"])
    summary_tokens = (len(INTRODUCTION + "[a,b,c,d,e]") + 3) // 4
    report = context.compression
    assert report is not None
    assert (report.strategy, report.summary, report.covered_messages, report.covered_tokens) == (
        "summarization",
        "[a,b,c,d,e]",
        5,
        25,
    )
    assert (report.summary_token_count, report.cached) == (summary_tokens, False)
    assert context.budget.used == 1 + summary_tokens + 15 + REPLY
    assert (context.budget.kept_messages, context.budget.dropped_messages, context.budget.dropped_tokens) == (4, 0, 0)
    assert manager.get_session(session.id).message_count == 9


def test_a_summary_is_read_not_made_again(
    variant: Variant, store: RecordingAdapter, summarizer: RecordingSummarizer
) -> None:
    manager = variant.manager(store, summarizer=summarizer)
    session = manager.create_session(token_budget=compressing(40), compression={"strategy": "summarization"})
    write(manager, session.id, "abcdefgh", tokens=6)
    first = manager.get_conversation_context_with_stats(session.id)
    store.messages_read = 0
    calls = store.calls_during(lambda: manager.get_conversation_context_with_stats(session.id))
    read = store.messages_read
    again = variant.manager(store, summarizer=summarizer).get_conversation_context_with_stats(session.id)
    assert again.messages == first.messages
    assert again.compression is not None
    assert again.compression.cached
    assert len(summarizer.received) == 1
    assert (calls, read) == (["get_conversation"], len(first.messages) - 1)


def test_a_fold_goes_on_from_the_last_one_and_never_reads_it_again(
    variant: Variant, clock: Clock, summarizer: RecordingSummarizer
) -> None:
    """Whatever the length of the conversation, a fold reads what came after the last one."""
    read: list[int] = []
    store = variant.store(clock=clock)
    manager = variant.manager(store, summarizer=summarizer)
    session = manager.create_session(token_budget=compressing(1000), compression={"strategy": "summarization"})
    for _ in range(5):
        write(manager, session.id, "abcdefghij", tokens=100)
        store.messages_read = 0
        manager.get_conversation_context(session.id)
        read.append(store.messages_read)
    assert (
        "".join("".join(given) for given in summarizer.received)
        == ("abcdefghij" * 5)[: sum(map(len, summarizer.received))]
    )
    assert summarizer.previous[0] is None
    assert all(
        previous and previous.endswith(f"[{','.join(given)}]")
        for previous, given in zip(summarizer.previous[1:], summarizer.received, strict=False)
    )
    assert len(summarizer.received) >= 4
    assert max(read[1:]) <= 60
    state = manager.get_session(session.id).compression_state
    assert state is not None
    assert state.covered_messages == sum(map(len, summarizer.received))
    assert state.covered_tokens == 100 * state.covered_messages


def test_a_window_is_folded_without_words(variant: Variant, store: RecordingAdapter) -> None:
    manager = variant.manager(store)
    session = manager.create_session(token_budget=compressing(4))
    write(manager, session.id, "abcdefgh")
    context = manager.get_conversation_context_with_stats(session.id)
    assert contents(context.messages) == list("fgh")
    assert context.compression is not None
    assert (context.compression.strategy, context.compression.summary) == ("sliding_window", None)
    assert (context.compression.covered_messages, context.budget.dropped_messages) == (5, 0)
    assert len(manager.get_messages(session.id)) == 8


def test_a_window_is_folded_rarely_and_begins_the_same_between_folds(variant: Variant, store: RecordingAdapter) -> None:
    manager = variant.manager(store)
    session = manager.create_session(token_budget=compressing(40))
    firsts: list[Any] = []
    for number in range(140):
        manager.add_message(session.id, **said(str(number), tokens=1))
        firsts.append(manager.get_conversation_context(session.id)[0].content)
    assert len(set(firsts)) == 11
    assert manager.get_session(session.id).version == 11


def test_compressing_by_hand_says_what_it_did_and_keeps_the_messages(
    variant: Variant, store: RecordingAdapter, clock: Clock, summarizer: RecordingSummarizer
) -> None:
    manager = variant.manager(store, summarizer=summarizer, compression={"strategy": "hybrid", "max_messages": 3})
    session = manager.create_session(token_budget=TokenBudget(max_tokens=100))
    told: list[CompressionApplied] = []
    manager.on(CompressionApplied, told.append)
    write(manager, session.id, "abcdefgh", tokens=2)
    clock.advance(seconds=9)
    result = manager.compress_context(session.id)
    summary_tokens = (len(INTRODUCTION + "[a,b,c,d,e]") + 3) // 4
    assert (result.strategy, result.compressed_messages, result.summary) == ("hybrid", 5, "[a,b,c,d,e]")
    assert (result.tokens_before, result.tokens_after) == (16, 6 + summary_tokens)
    last = manager.get_messages(session.id)[4]
    assert result.state == CompressionState(
        strategy="hybrid",
        summary="[a,b,c,d,e]",
        summary_token_count=summary_tokens,
        covered_until=last.id,
        covered_through=last.created_at,
        covered_messages=5,
        covered_tokens=10,
        updated_at=clock.now,
    )
    assert manager.get_session(session.id).compression_state == result.state
    assert [(e.strategy, e.messages, e.tokens_before, e.tokens_after) for e in told] == [
        ("hybrid", 5, 16, 6 + summary_tokens)
    ]
    assert len(manager.get_messages(session.id)) == 8
    again = manager.compress_context(session.id)
    assert (again.compressed_messages, again.state, again.tokens_before) == (0, result.state, result.tokens_after)
    assert len(told) == 1


def test_a_named_strategy_overrides_the_configured_one_with_its_parameters(
    variant: Variant, store: RecordingAdapter
) -> None:
    manager = variant.manager(store, summarizer=RecordingSummarizer())
    session = manager.create_session(compression={"strategy": "summarization", "max_messages": 2})
    write(manager, session.id, "abcd")
    result = manager.compress_context(session.id, "sliding_window")
    assert (result.strategy, result.compressed_messages, result.summary) == ("sliding_window", 2, None)
    assert manager.get_session(session.id).compression == session.compression


def test_a_tool_call_is_folded_with_its_results(
    variant: Variant, store: RecordingAdapter, summarizer: RecordingSummarizer
) -> None:
    manager = variant.manager(store, summarizer=summarizer)
    session = manager.create_session(
        token_budget=compressing(30), compression={"strategy": "hybrid", "max_messages": 2}
    )
    turn = [said("a", tokens=20), asked("x"), answered("x"), said("b"), said("c", tokens=9)]
    manager.add_messages(session.id, turn)
    context = manager.get_conversation_context(session.id)
    assert summarizer.received == [["a", "call x", "result x"]]
    assert contents(context)[1:] == ["b", "c"]


def test_nothing_to_fold_leaves_the_session_alone(
    variant: Variant, store: RecordingAdapter, summarizer: RecordingSummarizer
) -> None:
    manager = variant.manager(store, summarizer=summarizer)
    session = manager.create_session(compression={"strategy": "summarization"})
    for _ in range(2):
        result = manager.compress_context(session.id)
        assert (result.compressed_messages, result.state, result.summary) == (0, None, None)
    assert manager.get_session(session.id).version == 1
    assert summarizer.received == []


def test_without_a_budget_only_the_strategys_own_numbers_make_it_fold(manager: SessionManager) -> None:
    session = manager.create_session()
    manager.add_messages(session.id, [system("s", tokens=50), said("a", tokens=10), said("b", tokens=10)])
    assert manager.compress_context(session.id, "sliding_window").compressed_messages == 0
    manager.update_session(session.id, compression={"strategy": "sliding_window", "target_tokens": 10})
    assert manager.compress_context(session.id).compressed_messages == 1
    manager.update_session(session.id, compression={"strategy": "sliding_window", "max_messages": 1})
    manager.add_message(session.id, **said("c", tokens=10))
    assert manager.compress_context(session.id).compressed_messages == 1


def test_a_state_is_plain_data_that_another_process_can_use(
    variant: Variant, store: RecordingAdapter, summarizer: RecordingSummarizer
) -> None:
    manager = variant.manager(store, summarizer=summarizer)
    session = manager.create_session(token_budget=compressing(40), compression={"strategy": "summarization"})
    write(manager, session.id, "abcdefgh", tokens=6)
    expected = manager.get_conversation_context(session.id)
    held = manager.get_session(session.id).model_dump_json()
    assert "RecordingSummarizer" not in held
    assert json.loads(held)["compression_state"]["summary"] == "[a,b,c,d,e]"
    without_summarizer = variant.manager(store)
    assert without_summarizer.get_conversation_context(session.id) == expected


@pytest.mark.parametrize("error", [ValueError("secret"), SessionNotFoundError("other"), TimeoutError()])
def test_a_summarizer_that_fails_leaves_the_session_as_it_was(
    variant: Variant, store: RecordingAdapter, summarizer: RecordingSummarizer, error: Exception
) -> None:
    manager = variant.manager(store, summarizer=summarizer)
    session = manager.create_session(token_budget=compressing(40), compression={"strategy": "summarization"})
    write(manager, session.id, "abcdefgh", tokens=6)
    before = manager.get_session(session.id)
    summarizer.error = error
    with pytest.raises(CompressionError, match=type(error).__name__) as caught:
        manager.compress_context(session.id)
    assert caught.value.__cause__ is error
    assert "secret" not in str(caught.value)
    assert manager.get_session(session.id) == before
    summarizer.error = None
    assert manager.compress_context(session.id).compressed_messages == 5


@pytest.mark.parametrize("answer", ["", None, 5, b"x", "\ud800"])
def test_a_summary_that_is_no_text_is_refused(variant: Variant, store: RecordingAdapter, answer: Any) -> None:
    manager = variant.manager(store, summarizer=lambda *_, **__: answer)
    session = manager.create_session(compression={"strategy": "summarization"})
    write(manager, session.id, "abcd")
    with pytest.raises(CompressionError, match="summarizer"):
        manager.compress_context(session.id)
    assert manager.get_session(session.id).version == 1


def test_a_summary_longer_than_the_budget_is_refused(variant: Variant, store: RecordingAdapter) -> None:
    manager = variant.manager(store, summarizer=lambda *_, **__: "x" * 400)
    session = manager.create_session(token_budget=compressing(40), compression={"strategy": "summarization"})
    write(manager, session.id, "abcdefgh", tokens=6)
    with pytest.raises(CompressionError, match="the budget leaves 40"):
        manager.compress_context(session.id)
    assert len(manager.get_conversation_context(session.id)) == 6
    assert manager.get_session(session.id).compression_state is None


def test_a_kept_summary_that_no_longer_fits_is_left_out(variant: Variant, store: RecordingAdapter) -> None:
    summaries = iter(["x" * 80, "y"])
    manager = variant.manager(store, summarizer=lambda *_, **__: next(summaries))
    session = manager.create_session(compression={"strategy": "summarization"})
    write(manager, session.id, "abcdefgh", tokens=6)
    manager.compress_context(session.id)
    manager.update_session(session.id, token_budget=TokenBudget(max_tokens=12 + REPLY))
    context = manager.get_conversation_context_with_stats(session.id)
    assert (contents(context.messages), context.compression) == (["g", "h"], None)
    assert (context.budget.dropped_messages, context.budget.used) == (6, 12 + REPLY)
    manager.update_session(session.id, token_budget=compressing(24))
    context = manager.get_conversation_context_with_stats(session.id)
    assert contents(context.messages)[0] == INTRODUCTION + "y"


def test_a_strategy_with_words_needs_somebody_to_write_them(variant: Variant, store: RecordingAdapter) -> None:
    session = variant.manager(store, summarizer=RecordingSummarizer()).create_session(
        compression={"strategy": "summarization"}
    )
    manager = variant.manager(store)
    write(manager, session.id, "abcd")
    with pytest.raises(CompressionError, match="give the manager a summarizer"):
        manager.compress_context(session.id)


def test_without_a_strategy_there_is_nothing_to_do_by_hand(manager: SessionManager) -> None:
    session = manager.create_session()
    with pytest.raises(CompressionError, match="name a strategy"):
        manager.compress_context(session.id)
    with pytest.raises(CompressionError, match="hybrid, micro, sliding_window, summarization"):
        manager.compress_context(session.id, "no such thing")


async def suspending(messages: Sequence[Message], *, previous: str | None, prompt: str | None) -> str:
    del messages, previous, prompt
    await asyncio.sleep(0)
    await asyncio.sleep(0.001)
    return "summary"


def test_a_summarizer_that_suspends_works_where_there_is_a_loop_and_is_named_where_there_is_none(
    variant: Variant, store: RecordingAdapter
) -> None:
    manager = variant.manager(store, summarizer=suspending)
    session = manager.create_session(compression={"strategy": "summarization"})
    write(manager, session.id, "abcd")
    if variant.name != "blocking":
        assert manager.compress_context(session.id).summary == "summary"
        return
    with pytest.raises(CompressionError, match="awaits I/O") as caught:
        manager.compress_context(session.id)
    assert isinstance(caught.value.__cause__, WouldSuspendError)
    assert manager.get_session(session.id).version == 1
