"""Folding: pure plans, one summary that grows, never a summary of what is no longer there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, strategies as st

from session_continuity import (
    CompressionApplied,
    CompressionConfig,
    CompressionError,
    CompressionState,
    ConcurrencyError,
    Event,
    Message,
    MessageQuery,
    Patch,
    PluginError,
    Registry,
    SessionManager,
    SessionNotFoundError,
    TokenBudget,
    WouldSuspendError,
    hookimpl,
)
from session_continuity.compression import STRATEGIES, CompressionPlan, planned
from session_continuity.window import safe_cut

from .faces import START, Clock, Face, Watched
from .talks import answered, asked, conversations, has_only_whole_pairs, said, system, with_ids_used_once


class Scribe:
    """A summarizer that writes down what it was given; its summary says which messages it stands for."""

    def __init__(self) -> None:
        self.given: list[list[str]] = []
        self.previous: list[str | None] = []
        self.prompts: list[str | None] = []
        self.error: Exception | None = None

    def __call__(self, messages: Sequence[Message], *, previous: str | None, prompt: str | None) -> str:
        self.given.append([str(message.content) for message in messages])
        self.previous.append(previous)
        self.prompts.append(prompt)
        if self.error is not None:
            raise self.error
        return f"{previous or ''}[{','.join(self.given[-1])}]"


class AsyncScribe(Scribe):
    """The same as a coroutine function that does not suspend."""

    async def __call__(self, messages: Sequence[Message], *, previous: str | None, prompt: str | None) -> str:  # type: ignore[override]
        return super().__call__(messages, previous=previous, prompt=prompt)


@pytest.fixture(params=[Scribe, AsyncScribe])
def scribe(request: pytest.FixtureRequest) -> Scribe:
    made: Scribe = request.param()
    return made


def compressing(tokens: int, **options: Any) -> TokenBudget:
    return TokenBudget(max_tokens=tokens, overflow_strategy="compress", **options)


def contents(messages: Sequence[Message]) -> list[Any]:
    return [message.content for message in messages]


def write(manager: SessionManager, session_id: str, names: str, tokens: int = 1) -> None:
    manager.add_messages(session_id, [said(name, tokens=tokens) for name in names])


INTRODUCTION = "Summary of the conversation so far:\n"


# Strategies


def messages_of(turn: list[dict[str, Any]]) -> list[Message]:
    manager = SessionManager.open("memory://")
    session = manager.create_session()
    return manager.add_messages(session.id, turn) if turn else []


PLANS: list[tuple[str, dict[str, Any], list[int], int, tuple[int, bool]]] = [
    ("sliding_window", {}, [1] * 10, 4, (6, False)),
    ("sliding_window", {}, [1] * 10, 10, (0, False)),
    ("sliding_window", {}, [5] * 3, 4, (3, False)),
    ("sliding_window", {}, [], 4, (0, False)),
    ("sliding_window", {"target_tokens": 3}, [1] * 10, 8, (7, False)),
    ("sliding_window", {"target_tokens": 30}, [1] * 10, 8, (2, False)),
    ("sliding_window", {"target_tokens": 3, "min_messages": 5}, [1] * 10, 8, (5, False)),
    ("sliding_window", {"target_tokens": 3, "min_messages": 50}, [1] * 10, 8, (2, False)),
    ("sliding_window", {"max_messages": 2}, [1] * 10, 8, (8, False)),
    ("sliding_window", {"min_messages": 5, "max_messages": 2}, [1] * 10, 8, (8, False)),
    ("summarization", {}, [1] * 10, 8, (6, True)),
    ("summarization", {"target_tokens": 4}, [1] * 10, 8, (8, True)),
    ("summarization", {}, [1, 1, 9], 8, (3, True)),
    ("hybrid", {}, [1] * 30, 100, (10, True)),
    ("hybrid", {"max_messages": 3}, [1] * 10, 100, (7, True)),
    ("hybrid", {"max_messages": 30}, [1] * 30, 20, (20, True)),
    ("hybrid", {"target_tokens": 4}, [1] * 10, 100, (8, True)),
]


@pytest.mark.parametrize(("name", "parameters", "tokens", "room", "expected"), PLANS)
def test_a_strategy_folds_the_oldest_until_the_rest_fits(
    name: str, parameters: dict[str, Any], tokens: list[int], room: int, expected: tuple[int, bool]
) -> None:
    messages = messages_of([said("x", tokens=count) for count in tokens])
    plan = STRATEGIES[name](messages, tokens, room, CompressionConfig(strategy=name, **parameters))
    assert (plan.fold, plan.summary) == expected


@given(
    turn=conversations,
    room=st.integers(0, 60),
    name=st.sampled_from(sorted(STRATEGIES)),
    target=st.none() | st.integers(1, 40),
)
def test_a_plan_is_pure_and_possible(turn: list[dict[str, Any]], room: int, name: str, target: int | None) -> None:
    messages = messages_of([message for message in turn if message["role"] != "system"])
    tokens = [message.token_count or 0 for message in messages]
    before = [message.model_copy(deep=True) for message in messages], list(tokens)
    config = CompressionConfig(strategy=name, target_tokens=target)
    plan = STRATEGIES[name](messages, tokens, room, config)
    assert plan == STRATEGIES[name](messages, tokens, room, config)
    assert (messages, tokens) == before
    assert 0 <= plan.fold <= len(messages)
    assert sum(tokens[plan.fold :]) <= room


@given(turn=conversations.map(with_ids_used_once), cut=st.integers(0, 25))
def test_a_safe_cut_parts_no_pair_and_is_the_nearest_that_does_not(turn: list[dict[str, Any]], cut: int) -> None:
    messages = messages_of([*turn, said("the last word")])
    cut = min(cut, len(messages))

    def splits(at: int) -> bool:
        calls = {call.id for message in messages[:at] for call in message.metadata.tool_calls}
        results = {result.tool_call_id for message in messages[at:] for result in message.metadata.tool_results}
        return not calls.isdisjoint(results)

    earlier, later = safe_cut(messages, cut), safe_cut(messages, cut, later=True)
    assert earlier <= cut <= later
    assert not splits(earlier)
    assert not splits(later)
    assert all(splits(at) for at in range(earlier + 1, cut + 1))
    assert all(splits(at) for at in range(cut, later))


CUTS: dict[str, tuple[list[dict[str, Any]], int, int, int]] = {
    "between words": ([said("a"), said("b"), said("c")], 1, 1, 1),
    "in a pair": ([said("a"), asked("x"), answered("x"), said("b")], 2, 1, 3),
    "in one of two interleaved pairs": ([asked("x"), asked("y"), answered("x"), answered("y")], 3, 0, 4),
    "an id used again": ([asked("x"), answered("x"), asked("x"), answered("x")], 1, 0, 2),
    "between two uses of an id": ([asked("x"), answered("x"), asked("x"), answered("x")], 2, 2, 2),
    "a call that waits for its result": ([said("a"), asked("x")], 2, 1, 2),
    "a call that waits for one of two": ([said("a"), asked("x", "y"), answered("x")], 2, 1, 3),
    "a call that was given up": ([asked("x"), said("never mind"), said("b")], 1, 1, 1),
}


@pytest.mark.parametrize("case", CUTS)
def test_a_cut_leaves_a_call_with_its_results(case: str) -> None:
    turn, cut, earlier, later = CUTS[case]
    messages = messages_of(turn)
    assert (safe_cut(messages, cut), safe_cut(messages, cut, later=True)) == (earlier, later)


def plan_at(fold: Any) -> Callable[..., CompressionPlan]:
    return lambda *_: CompressionPlan(fold=fold, summary=False)


def test_a_plan_keeps_a_pair_that_fits_and_folds_one_that_does_not() -> None:
    turn = [said("a"), asked("x", tokens=2), answered("x", tokens=2), said("b")]
    messages = messages_of(turn)
    tokens = [message["token_count"] for message in turn]
    config = CompressionConfig(strategy="any")
    assert planned(plan_at(2), messages, tokens, 5, config).fold == 1
    assert planned(plan_at(2), messages, tokens, 4, config).fold == 3


# Folding


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
    again = face.manager(store, summarizer=scribe).get_conversation_context_with_stats(session.id)
    assert again.messages == first.messages
    assert again.compression is not None
    assert again.compression.cached
    assert len(scribe.given) == 1
    assert calls == ["get_session", "get_messages"]
    assert store.messages_read <= 2 * (len(first.messages) + 1)


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
    assert contents(context.messages) == list("efgh")
    assert context.compression is not None
    assert (context.compression.strategy, context.compression.summary) == ("sliding_window", None)
    assert (context.compression.covered_messages, context.budget.dropped_messages) == (4, 0)
    assert len(manager.get_messages(session.id)) == 8


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
    manager = face.manager(store)
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


# What a summary no longer stands for


@pytest.fixture
def folded(face: Face, store: Watched, scribe: Scribe) -> tuple[SessionManager, str, Scribe]:
    """Eight messages, m0 to m7, of which the first five are folded."""
    manager = face.manager(store, summarizer=scribe)
    session = manager.create_session(token_budget=compressing(40), compression={"strategy": "summarization"})
    for number in range(8):
        store.clock.advance(seconds=1)  # type: ignore[attr-defined]
        manager.add_message(session.id, id=f"m{number}", **said(str(number), tokens=6))
    manager.get_conversation_context(session.id)
    assert scribe.given == [list("01234")]
    return manager, session.id, scribe


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
    folded: tuple[SessionManager, str, Scribe], change: str
) -> None:
    manager, session_id, scribe = folded
    before = manager.get_session(session_id).compression_state
    work, folded_anew = CHANGES[change]
    work(manager, session_id)
    kept = manager.get_session(session_id).compression_state
    manager.get_conversation_context(session_id)
    if folded_anew is None:
        assert (kept, len(scribe.given)) == (before, 1)
    else:
        assert (kept, scribe.given[1:], scribe.previous[1:]) == (None, [folded_anew], [None])


def test_deleting_all_messages_drops_the_summary(folded: tuple[SessionManager, str, Scribe]) -> None:
    manager, session_id, _ = folded
    manager.delete_all_messages(session_id)
    assert manager.get_session(session_id).compression_state is None
    assert manager.get_conversation_context(session_id) == []


def test_a_chosen_id_that_looks_minted_later_does_not_save_a_summary_from_a_delete(
    face: Face, store: Watched, scribe: Scribe
) -> None:
    later = "0fffffff-ffff-7000-8000-000000000000"
    manager = face.manager(store, summarizer=scribe)
    session = manager.create_session(token_budget=compressing(40), compression={"strategy": "summarization"})
    manager.add_message(session.id, id=later, **said("secret", tokens=6))
    write(manager, session.id, "abcdefg", tokens=6)
    manager.get_conversation_context(session.id)
    manager.delete_message(session.id, later)
    assert manager.get_session(session.id).compression_state is None


def test_a_fold_whose_last_message_vanished_by_other_hands_is_left_aside(
    folded: tuple[SessionManager, str, Scribe], face: Face, store: Watched
) -> None:
    manager, session_id, scribe = folded
    foreign = face.manager(store)
    state = manager.get_session(session_id).compression_state
    foreign.delete_message(session_id, "m4")
    manager.update_session(session_id, compression_state=state)
    context = manager.get_conversation_context_with_stats(session_id)
    assert scribe.previous == [None, None]
    assert context.compression is not None
    assert "4" not in scribe.given[-1]


def while_summarizing(
    face: Face, store: Watched, work: Callable[[Watched, str], Any]
) -> tuple[SessionManager, str, Scribe]:
    """A session whose first fold is under way while `work` happens, straight in the store, as another process does."""
    scribe = Scribe()
    manager = face.manager(store, summarizer=scribe)
    session = manager.create_session(token_budget=compressing(40), compression={"strategy": "summarization"})
    for number in range(8):
        manager.add_message(session.id, id=f"m{number}", **said(str(number), tokens=6))

    async def meanwhile(session_id: str, patch: Patch, **_: Any) -> None:
        if patch.set.get("compression_state") is not None and "update_session" in store.before:
            del store.before["update_session"]
            await work(store, session_id)

    store.before["update_session"] = meanwhile
    return manager, session.id, scribe


async def edited(store: Watched, session_id: str) -> None:
    await store.inner.update_message(session_id, "m1", Patch(set={"content": "edited"}))


async def deleted(store: Watched, session_id: str) -> None:
    await store.inner.delete_message(session_id, "m1")


async def emptied(store: Watched, session_id: str) -> None:
    await store.inner.delete_all_messages(session_id)


@pytest.mark.parametrize("work", [edited, deleted, emptied])
def test_a_summary_of_what_changed_while_it_was_made_is_not_kept(
    face: Face, store: Watched, work: Callable[[Watched, str], Any]
) -> None:
    manager, session_id, _ = while_summarizing(face, store, work)
    told: list[Event] = []
    manager.on(CompressionApplied, told.append)
    result = manager.compress_context(session_id)
    assert (result.folded_messages, result.state, told) == (0, None, [])
    assert manager.get_session(session_id).compression_state is None


def test_a_context_made_meanwhile_holds_no_stale_summary(face: Face, store: Watched) -> None:
    manager, session_id, scribe = while_summarizing(face, store, edited)
    context = manager.get_conversation_context_with_stats(session_id)
    assert context.compression is None
    assert contents(context.messages) == list("234567")
    manager.get_conversation_context(session_id)
    assert "edited" in scribe.given[-1]


def test_an_update_of_other_fields_while_summarizing_does_not_waste_the_summary(face: Face, store: Watched) -> None:
    async def retitled(store: Watched, session_id: str) -> None:
        await store.inner.update_session(session_id, Patch(set={"user_id": "u"}))

    manager, session_id, scribe = while_summarizing(face, store, retitled)
    result = manager.compress_context(session_id)
    after = manager.get_session(session_id)
    assert (after.compression_state, after.user_id) == (result.state, "u")
    assert (result.folded_messages, len(scribe.given)) == (5, 1)


def test_of_two_that_fold_at_once_the_first_counts(face: Face, store: Watched) -> None:
    async def folded_by_another(store: Watched, session_id: str) -> None:
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

    manager, session_id, _ = while_summarizing(face, store, folded_by_another)
    told: list[Event] = []
    manager.on(CompressionApplied, told.append)
    context = manager.get_conversation_context_with_stats(session_id)
    assert contents(context.messages) == [INTRODUCTION + "theirs", "6", "7"]
    assert context.compression is not None
    assert (context.compression.strategy, context.compression.cached, told) == ("other", True, [])


def test_folding_in_parallel_leaves_one_whole_state(face: Face, store: Watched) -> None:
    scribe = Scribe()
    manager = face.manager(store, summarizer=scribe)
    session = manager.create_session(token_budget=compressing(40), compression={"strategy": "summarization"})
    write(manager, session.id, "abcdefgh", tokens=6)
    outcomes = face.together(manager, [lambda m: m.get_conversation_context(session.id)] * 6)
    assert all(contents(outcome) == contents(outcomes[0]) for outcome in outcomes)
    state = manager.get_session(session.id).compression_state
    assert state is not None
    assert (state.summary, state.covered_messages) == ("[a,b,c,d,e]", 5)


def test_a_session_deleted_while_summarizing_is_said_to_be_gone(face: Face, store: Watched) -> None:
    async def gone(store: Watched, session_id: str) -> None:
        await store.inner.delete_session(session_id)

    manager, session_id, _ = while_summarizing(face, store, gone)
    with pytest.raises(SessionNotFoundError):
        manager.compress_context(session_id)


def test_a_session_that_is_gone_after_a_conflict_is_said_to_be_gone(face: Face, store: Watched) -> None:
    manager, session_id, _ = while_summarizing(face, store, edited)

    async def conflict(*_: Any, **__: Any) -> None:
        await store.inner.delete_session(session_id)
        raise ConcurrencyError(session_id, expected=1, actual=None)

    store.before["update_session"] = conflict
    with pytest.raises(SessionNotFoundError):
        manager.compress_context(session_id)


def test_a_second_fold_whose_start_vanishes_meanwhile_is_not_kept(face: Face, store: Watched) -> None:
    async def start_deleted(store: Watched, session_id: str) -> None:
        state = (await store.inner.get_session(session_id)).compression_state  # type: ignore[union-attr]
        await store.inner.delete_message(session_id, state.covered_until)  # type: ignore[union-attr]

    manager, session_id, scribe = while_summarizing(face, store, start_deleted)
    hook = store.before.pop("update_session")
    manager.compress_context(session_id)
    write(manager, session_id, "abcdefgh", tokens=6)
    store.before["update_session"] = hook
    assert manager.compress_context(session_id).state is None
    assert manager.get_session(session_id).compression_state is None
    assert len(scribe.given) == 2


def test_a_conflict_that_hides_the_session_makes_the_fold_read_it(face: Face, store: Watched) -> None:
    manager, session_id, _ = while_summarizing(face, store, edited)

    async def conflict(*_: Any, **__: Any) -> None:
        del store.before["update_session"]
        raise ConcurrencyError(session_id, expected=1, actual=None)

    store.before["update_session"] = conflict
    assert manager.compress_context(session_id).folded_messages == 5


# Failures


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
    manager = face.manager(store)
    session = manager.create_session(compression={"strategy": "summarization"})
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


# Strategies of extensions


class Halving:
    """Folds the older half."""

    @hookimpl
    def sc_compression_strategies(self) -> dict[str, Any]:
        return {"halving": lambda messages, *_: CompressionPlan(fold=len(messages) // 2, summary=False)}


def extended(face: Face, store: Watched, strategy: Any = None, **options: Any) -> SessionManager:
    class Extension:
        @hookimpl
        def sc_compression_strategies(self) -> dict[str, Any]:
            return {"mine": strategy}

        @hookimpl
        def sc_summarizer(self, name: str) -> Any:
            return (lambda *_, **__: f"by {name}") if name == "poet" else None

    registry = Registry()
    registry.register_extension(Halving())
    registry.register_extension(Extension())
    return face.manager(store, registry=registry, **options)


def test_an_extension_brings_a_strategy_and_a_summarizer_by_name(face: Face, store: Watched) -> None:
    manager = extended(face, store, summarizer="poet")
    session = manager.create_session(compression={"strategy": "halving"})
    write(manager, session.id, "abcdef")
    assert manager.compress_context(session.id).folded_messages == 3
    assert manager.compress_context(session.id, "summarization").summary == "by poet"


def test_a_strategy_gets_the_room_that_system_messages_and_the_summary_leave(face: Face, store: Watched) -> None:
    rooms: list[tuple[list[Any], list[int], int, Any]] = []

    def strategy(
        messages: Sequence[Message], tokens: Sequence[int], room: int, config: CompressionConfig
    ) -> CompressionPlan:
        rooms.append((contents(messages), list(tokens), room, config["mine"]))
        return CompressionPlan(fold=1, summary=True)

    manager = extended(face, store, strategy, summarizer=lambda *_, **__: "x" * 4)
    session = manager.create_session(
        token_budget=TokenBudget(max_tokens=100), compression={"strategy": "mine", "mine": 7}
    )
    manager.add_messages(
        session.id, [system("s", tokens=9), said("a", tokens=2), system("t", tokens=1), said("b", tokens=3)]
    )
    summary_tokens = manager.compress_context(session.id).state.summary_token_count  # type: ignore[union-attr]
    manager.compress_context(session.id)
    assert rooms == [(["a", "b"], [2, 3], 90, 7), (["b"], [3], 90 - summary_tokens, 7)]


def raising(*_: Any) -> CompressionPlan:
    raise KeyError("secret")


@pytest.mark.parametrize("strategy", [plan_at(-1), plan_at(99), plan_at("1"), plan_at(0.5), lambda *_: None, raising])
def test_a_strategy_that_fails_or_plans_nonsense_changes_nothing(face: Face, store: Watched, strategy: Any) -> None:
    manager = extended(face, store, strategy)
    session = manager.create_session(compression={"strategy": "mine"})
    write(manager, session.id, "ab")
    with pytest.raises(CompressionError, match="'mine'") as caught:
        manager.compress_context(session.id)
    assert "secret" not in str(caught.value)
    assert manager.get_session(session.id).version == 1


def test_two_strategies_of_one_name_are_refused(face: Face, store: Watched) -> None:
    class Clash:
        @hookimpl
        def sc_compression_strategies(self) -> dict[str, Any]:
            return {"hybrid": plan_at(0)}

    registry = Registry()
    registry.register_extension(Clash(), "clash")
    with pytest.raises(PluginError, match=r"clash.*hybrid"):
        face.manager(store, registry=registry)


@given(turn=conversations.map(with_ids_used_once), limit=st.integers(1, 40), name=st.sampled_from(sorted(STRATEGIES)))
def test_a_folded_context_has_whole_pairs_and_fits(turn: list[dict[str, Any]], limit: int, name: str) -> None:
    manager = SessionManager.open("memory://", summarizer=lambda *_, **__: "s", token_counter=lambda _: 1)
    session = manager.create_session(
        token_budget=compressing(limit + 80), compression={"strategy": name, "target_tokens": limit}
    )
    for message in turn:
        manager.add_message(session.id, **message)
        context = manager.get_conversation_context_with_stats(session.id)
        assert has_only_whole_pairs(context.messages)
        assert context.budget.used <= limit + 80
    manager.compress_context(session.id)
    context = manager.get_conversation_context_with_stats(session.id)
    stored = [message for message in context.messages if message.id != "summary"]
    everything = list(manager.get_messages(session.id))
    assert stored == [message for message in everything if message in stored]
    assert [m for m in stored if m.role == "system"] == [m for m in everything if m.role == "system"]
    covered = context.compression.covered_messages if context.compression else 0
    assert context.budget.dropped_messages == len(everything) - len(stored) - covered
