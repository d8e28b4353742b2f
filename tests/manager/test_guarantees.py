"""The guarantees of a context, each as `docs/contexts.md` states it, over conversations with every damage."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from session_continuity import (
    BudgetExceeded,
    ContextRules,
    ConversationContext,
    CountingRule,
    Message,
    SessionManager,
    TokenBudget,
    TokenBudgetExceededError,
    estimate_tokens,
)
from session_continuity.blocks.reader import calls_of, results_of
from session_continuity.context.counting import MessageCounter
from session_continuity.context.pairs import INTERRUPTED

from ..kit.conversations import REPLY, answered, asked, said, system
from .context_oracle import BLOCKS, conversations, is_question, last_turn, problems, tool_result, tool_use

limits = st.none() | st.integers(1, 120)
COUNTER = MessageCounter(CountingRule(text=estimate_tokens))


def stored(turn: list[dict[str, Any]], limit: int | None, **options: Any) -> tuple[SessionManager, str, list[Message]]:
    """A conversation in memory: its manager, its id, and its messages."""
    manager = SessionManager.open("memory://", **options)
    session = manager.create_session(token_budget=None if limit is None else TokenBudget(max_tokens=limit))
    if turn:
        manager.add_messages(session.id, turn)
    return manager, session.id, list(manager.get_messages(session.id))


def context_of(turn: list[dict[str, Any]], limit: int | None, **options: Any) -> tuple[list[Message], Any]:
    """The stored messages, and the context or the error that there is instead."""
    manager, session_id, messages = stored(turn, limit, **options)
    try:
        context = manager.get_conversation_context_with_stats(session_id)
    except TokenBudgetExceededError as error:
        return messages, error
    assert list(manager.get_messages(session_id)) == messages  # the view is repaired, not the store
    return messages, context


def spoken(messages: list[Message]) -> list[Message]:
    return [message for message in messages if message.role != "system"]


# 1: never over the budget, never silently empty


@given(turn=conversations, limit=st.integers(1, 120))
def test_1_a_context_is_within_the_budget_or_an_error_names_the_largest_message(
    turn: list[dict[str, Any]], limit: int
) -> None:
    messages, context = context_of(turn, limit)
    if isinstance(context, TokenBudgetExceededError):
        assert context.requested > context.limit == limit
        sizes = {message.id: message.token_count for message in messages}
        assert context.message_id is not None
        assert context.message_id.partition("/")[0] in sizes
        return
    assert context.budget.used == sum(COUNTER.tokens(m) for m in context.messages) + (REPLY if context.messages else 0)
    assert context.budget.used <= limit
    if any(map(is_question, messages)):
        assert any(map(is_question, context.messages))


def test_1_a_question_alone_over_the_budget_is_an_error_and_an_event() -> None:
    manager, session_id, messages = stored([system(), said("a"), said("large", tokens=50)], 20)
    told: list[BudgetExceeded] = []
    manager.on(BudgetExceeded, told.append)
    with pytest.raises(TokenBudgetExceededError, match=f"{messages[-1].id!r} with 50") as caught:
        manager.get_conversation_context(session_id)
    for found in (caught.value, told[0]):
        assert (found.message_id, found.message_tokens) == (messages[-1].id, 50)
        assert (found.requested, found.limit) == (1 + 50 + REPLY, 20)


# 2: the last turn is always there


@given(turn=conversations, limit=limits)
def test_2_the_last_turn_is_always_in_the_context(turn: list[dict[str, Any]], limit: int | None) -> None:
    messages, context = context_of(turn, limit)
    if isinstance(context, TokenBudgetExceededError):
        return
    shown = {message.id.partition("/")[0] for message in context.messages}
    left_out = {report.message_id: report.reason for report in context.report if report.action == "left_out"}
    for message in last_turn(messages) if any(map(is_question, messages)) else []:
        assert message.id in shown or left_out[message.id]
        if not calls_of(message) and not results_of(message) and message.role != "system":
            assert message.id in shown


def long_result(call: str, words: int) -> dict[str, Any]:
    metadata = {"tool_results": [{"tool_call_id": call, "result": "word " * words}]}
    return {"role": "tool", "content": "", "metadata": metadata}


def test_2_results_of_tools_are_cut_before_anything_is_refused() -> None:
    turn = [
        said("u"),
        asked("x"),
        long_result("x", 5000),
        asked("y"),
        long_result("y", 300),
        said("v", role="assistant"),
    ]
    messages, context = context_of(turn, 500)
    first, second = (str(m.metadata.tool_results[0].result) for m in context.messages if m.role == "tool")
    assert first.startswith("word word")
    assert first.endswith("word ")
    assert "characters were left out" in first
    assert second == "word " * 300  # the newest keeps what there is room for
    assert [report.action for report in context.report].count("cut") == 1
    assert messages[2].metadata.tool_results[0].result == "word " * 5000


def test_2_the_newest_result_alone_is_cut_to_the_room_that_there_is() -> None:
    _, context = context_of([said("u"), asked("x"), long_result("x", 5000)], 500)
    assert 450 < context.budget.used <= 500


def test_2_every_result_may_be_cut_in_any_case() -> None:
    turn = [said("u"), asked("x"), long_result("x", 5000), said("v", role="assistant")]
    _, context = context_of(turn, None, context={"max_tool_result_tokens": 100})
    cut = context.messages[2]
    assert cut.token_count is not None
    assert 80 < cut.token_count < 110
    blocks: list[dict[str, Any]] = [{**tool_result("x"), "content": "word " * 5000}]
    turn = [said("u"), {"role": "assistant", "content": [tool_use("x")]}, {"role": "user", "content": blocks}]
    _, context = context_of(turn, None, context={"max_tool_result_tokens": 100})
    assert len(str(context.messages[2].content)) < 1000


# 3: calls and results


@given(turn=conversations, limit=limits, missing=st.sampled_from(["fill", "drop"]))
def test_3_every_call_has_exactly_one_result_behind_it(
    turn: list[dict[str, Any]], limit: int | None, missing: str
) -> None:
    _, context = context_of(turn, limit, context={"missing_results": missing})
    if not isinstance(context, TokenBudgetExceededError):
        assert list(problems(context.messages)) == []


def test_3_a_missing_result_is_filled_in_and_its_executed_sibling_stays() -> None:
    turn = [said("u"), asked("x", "y"), answered("x"), said("go on")]
    _, context = context_of(turn, None)
    assert [message.content for message in context.messages] == ["u", "call x y", "result x", "", "go on"]
    filled = context.messages[3].metadata.tool_results[0]
    assert (filled.tool_call_id, filled.result, filled.is_error) == ("y", INTERRUPTED, True)
    assert [report.action for report in context.report] == ["kept", "kept", "kept", "filled", "kept"]
    _, context = context_of(turn, None, context={"missing_results": "drop"})
    assert [call.id for call in context.messages[1].metadata.tool_calls] == ["x"]
    assert len(context.messages) == 4


@pytest.mark.parametrize("provider", BLOCKS)
def test_3_a_missing_result_has_the_form_of_its_call(provider: str) -> None:
    call, result, role = BLOCKS[provider]
    turn = [said("u"), {"role": "assistant", "content": [call("x")]}, said("v")]
    _, context = context_of(turn, None)
    [filled] = results_of(context.messages[2])
    assert (filled.call_id, filled.is_error or provider == "Responses") == ("x", True)
    assert context.messages[2].role == role
    assert context.messages[2].content[0]["type"] == result("x")["type"]  # type: ignore[index]


@pytest.mark.parametrize("provider", BLOCKS)
def test_3_ids_in_blocks_are_made_unique_with_their_results(provider: str) -> None:
    call, _, _ = BLOCKS[provider]
    turn = [said("u"), {"role": "assistant", "content": [call("x"), call("x")]}, said("v"), answered("x")]
    _, context = context_of(turn, None)
    assert list(problems(context.messages)) == []
    assert [call.id for call in calls_of(context.messages[1])] == ["x", "x-2"]


ARGUMENTS: list[tuple[Any, str]] = [
    ("", "{}"),
    ("  ", "{}"),
    ('{"a": 1', '{"arguments": "{\\"a\\": 1"}'),
    ("[1, 2]", '{"arguments": [1, 2]}'),
    ("null", "{}"),
    ('{"a": NaN}', '{"arguments": "{\\"a\\": NaN}"}'),
    ('{"a": 1}', '{"a": 1}'),
    ({"a": 1}, '{"a": 1}'),
]


@pytest.mark.parametrize(("arguments", "expected"), ARGUMENTS)
def test_3_arguments_are_shown_as_an_object(arguments: Any, expected: str) -> None:
    call = {"id": "x", "name": "f", "arguments": arguments}
    turn = [said("u"), {"role": "assistant", "content": "", "metadata": {"tool_calls": [call]}}, answered("x")]
    _, context = context_of(turn, None)
    shown = context.messages[1].metadata.tool_calls[0].arguments
    assert (shown if isinstance(shown, str) else json.dumps(shown)) == expected


# 4: the beginning


@given(turn=conversations, limit=limits, turns=st.none() | st.integers(1, 3))
def test_4_a_context_begins_with_a_question_and_has_the_last_turns(
    turn: list[dict[str, Any]], limit: int | None, turns: int | None
) -> None:
    messages, context = context_of(turn, limit, context={"max_turns": turns})
    if isinstance(context, TokenBudgetExceededError) or not any(map(is_question, messages)):
        return
    shown = spoken(context.messages)
    assert is_question(shown[0])
    questions = [message.id for message in messages if is_question(message)]
    kept = [message.id for message in shown if message.id in questions]
    assert kept == questions[len(questions) - len(kept) :]
    if turns is not None:
        assert len(kept) <= turns
    if limit is None and not any(message.role == "user" and results_of(message) for message in messages):
        assert len(kept) == min(len(questions), turns or len(questions))


# 5: system messages


@given(turn=conversations, limit=limits)
def test_5_equal_system_messages_are_shown_and_counted_once(turn: list[dict[str, Any]], limit: int | None) -> None:
    messages, context = context_of(turn, limit)
    if isinstance(context, TokenBudgetExceededError):
        return
    firsts: dict[Any, str] = {}
    for message in messages:
        if message.role == "system":
            firsts.setdefault(message.content, message.id)
    assert [m.id for m in context.messages if m.role == "system"] == list(firsts.values())


def test_5_a_prompt_stored_with_every_request_does_not_fill_the_budget() -> None:
    turn = [system("you are helpful", tokens=10), said("u"), said("a", role="assistant")] * 20
    messages, context = context_of(turn, 40)
    assert [message.role for message in context.messages].count("system") == 1
    assert context.messages[-1].id == messages[-1].id
    _, error = context_of(turn, 40, context={"system": "all"})
    assert isinstance(error, TokenBudgetExceededError)


# 6: the same head


@given(turn=conversations, limit=limits, rules=st.builds(ContextRules, max_turns=st.none() | st.integers(1, 3)))
def test_6_the_same_conversation_gives_the_same_context_whatever_was_read_before(
    turn: list[dict[str, Any]], limit: int | None, rules: ContextRules
) -> None:
    manager, session_id, _ = stored(turn, limit, context=rules)
    contexts: list[ConversationContext | str] = []
    for _ in range(2):
        try:
            contexts.append(manager.get_conversation_context_with_stats(session_id))
        except TokenBudgetExceededError as error:
            contexts.append(str(error))
    assert contexts[0] == contexts[1]


@given(turns=st.lists(st.integers(5, 20), min_size=30, max_size=60))
def test_6_between_two_compressions_each_context_begins_like_the_one_before(turns: list[int]) -> None:
    manager = SessionManager.open("memory://")
    session = manager.create_session(token_budget=TokenBudget(max_tokens=150, overflow_strategy="compress"))
    before: list[Message] = []
    version = session.version
    for number, tokens in enumerate(turns):
        manager.add_messages(session.id, [said("u"), asked(f"{number}"), answered(f"{number}", tokens=tokens)])
        context = manager.get_conversation_context(session.id)
        now = manager.get_session(session.id).version
        if now == version:
            assert context[: len(before)] == before
        before, version = context, now
    assert version > 1


# The report


@given(turn=conversations, limit=limits)
def test_the_report_says_of_each_message_what_became_of_it(turn: list[dict[str, Any]], limit: int | None) -> None:
    messages, context = context_of(turn, limit)
    if isinstance(context, TokenBudgetExceededError):
        return
    named = [report for report in context.report if report.message_id in {message.id for message in messages}]
    assert len({report.message_id for report in named}) == len(named)
    unread = sum(report.messages for report in context.report if report.message_id is None)
    assert len(named) + unread == len(messages)
    assert all(report.reason for report in context.report if report.action != "kept")
    assert context.budget.kept_messages + context.budget.dropped_messages == len(messages)


def test_3_results_of_two_calls_of_one_id_go_to_the_calls_of_their_names() -> None:
    names = ("charge", "mail")
    calls = [{"id": "x", "name": name, "arguments": "{}"} for name in names]
    results = [{"tool_call_id": "x", "name": name, "result": f"{name} done"} for name in reversed(names)]
    turn = [said("u"), {"role": "assistant", "content": "", "metadata": {"tool_calls": calls}}]
    turn += [{"role": "tool", "content": "", "metadata": {"tool_results": [result]}} for result in results]
    _, context = context_of(turn, None)
    assert list(problems(context.messages)) == []
    named = {call.id: call.name for call in calls_of(context.messages[1])}
    answers = [result for message in context.messages for result in results_of(message)]
    assert {named[answer.call_id]: answer.value for answer in answers} == {name: f"{name} done" for name in names}
