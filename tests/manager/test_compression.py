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

from .faces import Clock, Face, Watched
from .scribes import INTRODUCTION, Scribe, compressing, contents, write
from .talks import answered, asked, said, system


def test_an_overflowing_conversation_is_put_into_words_and_the_words_come_first(
    face: Face, store: Watched, scribe: Scribe
) -> None:
    manager = face.manager(store, summarizer=scribe)
    session = manager.create_session(
        token_budget=compressing(40), compression={"strategy": "summarization", "summarization_prompt": "in short"}
    )
    manager.add_message(session.id, **system("rule"))
    write(manager, session.id, "abcdefgh", tokens=5)
    context = manager.get_conversation_context_with_stats(session.id)
    assert contents(context.messages) == ["rule", INTRODUCTION + "[a,b,c,d,e]", "f", "g", "h"]
    assert [message.role for message in context.messages[:2]] == ["system", "system"]
    assert (scribe.given, scribe.previous, scribe.prompts) == ([list("abcde")], [None], ["in short"])
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
    assert context.budget.used == 1 + summary_tokens + 15
    assert (context.budget.kept_messages, context.budget.dropped_messages, context.budget.dropped_tokens) == (4, 0, 0)
    assert manager.get_session(session.id).message_count == 9


def test_a_summary_is_read_not_made_again(face: Face, store: Watched, scribe: Scribe) -> None:
    manager = face.manager(store, summarizer=scribe)
    session = manager.create_session(token_budget=compressing(40), compression={"strategy": "summarization"})
    write(manager, session.id, "abcdefgh", tokens=6)
    first = manager.get_conversation_context_with_stats(session.id)
    store.messages_read = 0
    calls = store.during(lambda: manager.get_conversation_context_with_stats(session.id))
    read = store.messages_read
    again = face.manager(store, summarizer=scribe).get_conversation_context_with_stats(session.id)
    assert again.messages == first.messages
    assert again.compression is not None
    assert again.compression.cached
    assert len(scribe.given) == 1
    assert (calls, read) == (["get_conversation"], len(first.messages) - 1)


def test_a_fold_goes_on_from_the_last_one_and_never_reads_it_again(face: Face, clock: Clock, scribe: Scribe) -> None:
    """Whatever the length of the conversation, a fold reads what came after the last one."""
    read: list[int] = []
    store = face.store(clock=clock)
    manager = face.manager(store, summarizer=scribe)
    session = manager.create_session(token_budget=compressing(1000), compression={"strategy": "summarization"})
    for _ in range(5):
        write(manager, session.id, "abcdefghij", tokens=100)
        store.messages_read = 0
        manager.get_conversation_context(session.id)
        read.append(store.messages_read)
    assert "".join("".join(given) for given in scribe.given) == ("abcdefghij" * 5)[: sum(map(len, scribe.given))]
    assert scribe.previous[0] is None
    assert all(
        previous and previous.endswith(f"[{','.join(given)}]")
        for previous, given in zip(scribe.previous[1:], scribe.given, strict=False)
    )
    assert len(scribe.given) >= 4
    assert max(read[1:]) <= 60
    state = manager.get_session(session.id).compression_state
    assert state is not None
    assert state.covered_messages == sum(map(len, scribe.given))
    assert state.covered_tokens == 100 * state.covered_messages


def test_a_window_is_folded_without_words(face: Face, store: Watched) -> None:
    manager = face.manager(store)
    session = manager.create_session(token_budget=compressing(4))
    write(manager, session.id, "abcdefgh")
    context = manager.get_conversation_context_with_stats(session.id)
    assert contents(context.messages) == list("fgh")
    assert context.compression is not None
    assert (context.compression.strategy, context.compression.summary) == ("sliding_window", None)
    assert (context.compression.covered_messages, context.budget.dropped_messages) == (5, 0)
    assert len(manager.get_messages(session.id)) == 8


def test_a_window_is_folded_rarely_and_begins_the_same_between_folds(face: Face, store: Watched) -> None:
    manager = face.manager(store)
    session = manager.create_session(token_budget=compressing(40))
    firsts: list[Any] = []
    for number in range(140):
        manager.add_message(session.id, **said(str(number), tokens=1))
        firsts.append(manager.get_conversation_context(session.id)[0].content)
    assert len(set(firsts)) == 11
    assert manager.get_session(session.id).version == 11


def test_compressing_by_hand_says_what_it_did_and_keeps_the_messages(
    face: Face, store: Watched, clock: Clock, scribe: Scribe
) -> None:
    manager = face.manager(store, summarizer=scribe, compression={"strategy": "hybrid", "max_messages": 3})
    session = manager.create_session(token_budget=TokenBudget(max_tokens=100))
    told: list[CompressionApplied] = []
    manager.on(CompressionApplied, told.append)
    write(manager, session.id, "abcdefgh", tokens=2)
    clock.advance(seconds=9)
    result = manager.compress_context(session.id)
    summary_tokens = (len(INTRODUCTION + "[a,b,c,d,e]") + 3) // 4
    assert (result.strategy, result.folded_messages, result.summary) == ("hybrid", 5, "[a,b,c,d,e]")
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
    assert (again.folded_messages, again.state, again.tokens_before) == (0, result.state, result.tokens_after)
    assert len(told) == 1


def test_a_named_strategy_overrides_the_configured_one_with_its_parameters(face: Face, store: Watched) -> None:
    manager = face.manager(store, summarizer=Scribe())
    session = manager.create_session(compression={"strategy": "summarization", "max_messages": 2})
    write(manager, session.id, "abcd")
    result = manager.compress_context(session.id, "sliding_window")
    assert (result.strategy, result.folded_messages, result.summary) == ("sliding_window", 2, None)
    assert manager.get_session(session.id).compression == session.compression


def test_a_tool_call_is_folded_with_its_results(face: Face, store: Watched, scribe: Scribe) -> None:
    manager = face.manager(store, summarizer=scribe)
    session = manager.create_session(
        token_budget=compressing(30), compression={"strategy": "hybrid", "max_messages": 2}
    )
    turn = [said("a", tokens=20), asked("x"), answered("x"), said("b"), said("c", tokens=9)]
    manager.add_messages(session.id, turn)
    context = manager.get_conversation_context(session.id)
    assert scribe.given == [["a", "call x", "result x"]]
    assert contents(context)[1:] == ["b", "c"]


def test_nothing_to_fold_leaves_the_session_alone(face: Face, store: Watched, scribe: Scribe) -> None:
    manager = face.manager(store, summarizer=scribe)
    session = manager.create_session(compression={"strategy": "summarization"})
    for _ in range(2):
        result = manager.compress_context(session.id)
        assert (result.folded_messages, result.state, result.summary) == (0, None, None)
    assert manager.get_session(session.id).version == 1
    assert scribe.given == []


def test_without_a_budget_only_the_strategys_own_numbers_make_it_fold(manager: SessionManager) -> None:
    session = manager.create_session()
    manager.add_messages(session.id, [system("s", tokens=50), said("a", tokens=10), said("b", tokens=10)])
    assert manager.compress_context(session.id, "sliding_window").folded_messages == 0
    manager.update_session(session.id, compression={"strategy": "sliding_window", "target_tokens": 10})
    assert manager.compress_context(session.id).folded_messages == 1
    manager.update_session(session.id, compression={"strategy": "sliding_window", "max_messages": 1})
    manager.add_message(session.id, **said("c", tokens=10))
    assert manager.compress_context(session.id).folded_messages == 1


def test_a_state_is_plain_data_that_another_process_can_use(face: Face, store: Watched, scribe: Scribe) -> None:
    manager = face.manager(store, summarizer=scribe)
    session = manager.create_session(token_budget=compressing(40), compression={"strategy": "summarization"})
    write(manager, session.id, "abcdefgh", tokens=6)
    expected = manager.get_conversation_context(session.id)
    held = manager.get_session(session.id).model_dump_json()
    assert "Scribe" not in held
    assert json.loads(held)["compression_state"]["summary"] == "[a,b,c,d,e]"
    without_summarizer = face.manager(store)
    assert without_summarizer.get_conversation_context(session.id) == expected


@pytest.mark.parametrize("error", [ValueError("secret"), SessionNotFoundError("other"), TimeoutError()])
def test_a_summarizer_that_fails_leaves_the_session_as_it_was(
    face: Face, store: Watched, scribe: Scribe, error: Exception
) -> None:
    manager = face.manager(store, summarizer=scribe)
    session = manager.create_session(token_budget=compressing(40), compression={"strategy": "summarization"})
    write(manager, session.id, "abcdefgh", tokens=6)
    before = manager.get_session(session.id)
    scribe.error = error
    for call in (manager.compress_context, manager.get_conversation_context):
        with pytest.raises(CompressionError, match=type(error).__name__) as caught:
            call(session.id)
        assert caught.value.__cause__ is error
        assert "secret" not in str(caught.value)
    assert manager.get_session(session.id) == before
    scribe.error = None
    assert manager.compress_context(session.id).folded_messages == 5


@pytest.mark.parametrize("answer", ["", None, 5, b"x", "\ud800"])
def test_a_summary_that_is_no_text_is_refused(face: Face, store: Watched, answer: Any) -> None:
    manager = face.manager(store, summarizer=lambda *_, **__: answer)
    session = manager.create_session(compression={"strategy": "summarization"})
    write(manager, session.id, "abcd")
    with pytest.raises(CompressionError, match="summarizer"):
        manager.compress_context(session.id)
    assert manager.get_session(session.id).version == 1


def test_a_summary_longer_than_the_budget_is_refused(face: Face, store: Watched) -> None:
    manager = face.manager(store, summarizer=lambda *_, **__: "x" * 400)
    session = manager.create_session(token_budget=compressing(40), compression={"strategy": "summarization"})
    write(manager, session.id, "abcdefgh", tokens=6)
    with pytest.raises(CompressionError, match="the budget leaves 40"):
        manager.get_conversation_context(session.id)
    assert manager.get_session(session.id).compression_state is None


def test_a_kept_summary_that_no_longer_fits_is_left_out(face: Face, store: Watched) -> None:
    summaries = iter(["x" * 80, "y"])
    manager = face.manager(store, summarizer=lambda *_, **__: next(summaries))
    session = manager.create_session(compression={"strategy": "summarization"})
    write(manager, session.id, "abcdefgh", tokens=6)
    manager.compress_context(session.id)
    manager.update_session(session.id, token_budget=TokenBudget(max_tokens=12))
    context = manager.get_conversation_context_with_stats(session.id)
    assert (contents(context.messages), context.compression) == (["g", "h"], None)
    assert (context.budget.dropped_messages, context.budget.used) == (6, 12)
    manager.update_session(session.id, token_budget=compressing(24))
    context = manager.get_conversation_context_with_stats(session.id)
    assert contents(context.messages)[0] == INTRODUCTION + "y"


def test_a_strategy_with_words_needs_somebody_to_write_them(face: Face, store: Watched) -> None:
    session = face.manager(store, summarizer=Scribe()).create_session(compression={"strategy": "summarization"})
    manager = face.manager(store)
    write(manager, session.id, "abcd")
    with pytest.raises(CompressionError, match="give the manager a summarizer"):
        manager.compress_context(session.id)


def test_without_a_strategy_there_is_nothing_to_do_by_hand(manager: SessionManager) -> None:
    session = manager.create_session()
    with pytest.raises(CompressionError, match="name a strategy"):
        manager.compress_context(session.id)
    with pytest.raises(CompressionError, match="hybrid, sliding_window, summarization"):
        manager.compress_context(session.id, "no such thing")


async def suspending(messages: Sequence[Message], *, previous: str | None, prompt: str | None) -> str:
    del messages, previous, prompt
    await asyncio.sleep(0)
    await asyncio.sleep(0.001)
    return "summary"


def test_a_summarizer_that_suspends_works_where_there_is_a_loop_and_is_named_where_there_is_none(
    face: Face, store: Watched
) -> None:
    manager = face.manager(store, summarizer=suspending)
    session = manager.create_session(compression={"strategy": "summarization"})
    write(manager, session.id, "abcd")
    if face.name != "blocking":
        assert manager.compress_context(session.id).summary == "summary"
        return
    with pytest.raises(CompressionError, match="awaits I/O") as caught:
        manager.compress_context(session.id)
    assert isinstance(caught.value.__cause__, WouldSuspendError)
    assert manager.get_session(session.id).version == 1
