"""What a context costs: requests, messages read, calls of the summarizer, and work that grows with what is read."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from session_continuity import CountingRule, SessionManager, TokenBudget, TokenBudgetExceededError

from ..kit.conversations import answered, asked, said, system
from ..kit.damaged_chats import Form, plan, stored
from ..kit.recording import RecordingAdapter
from ..kit.steps import counted_steps
from .summarizers import RecordingSummarizer
from .variants import Variant

pytestmark = pytest.mark.on(variant=("blocking-memory", "async-memory"))


class Short(RecordingSummarizer):
    """A recording summarizer with a short answer."""

    def __call__(self, *args: Any, **options: Any) -> str:
        super().__call__(*args, **options)
        return "summary"


def turn(number: int) -> list[dict[str, Any]]:
    words = said(f"question {number}", tokens=10)
    return [words, asked(f"call-{number}"), answered(f"call-{number}", tokens=20), said("a", role="assistant")]


def test_a_context_of_10000_messages_takes_at_most_three_requests_and_reads_little_more_than_it_returns(
    variant: Variant, store: RecordingAdapter
) -> None:
    summarizer = Short()
    manager = variant.manager(store, summarizer=summarizer)
    budget = TokenBudget(max_tokens=2000, overflow_strategy="compress")
    session = manager.create_session(token_budget=budget, compression="summarization")
    manager.add_message(session.id, **system())
    for start in range(0, 2500, 125):
        manager.add_messages(session.id, [message for number in range(start, start + 125) for message in turn(number)])
    manager.get_conversation_context(session.id)
    assert len(summarizer.received) == 1
    for number in range(2500, 2600):
        manager.add_messages(session.id, turn(number))
        folds, store.messages_read = len(summarizer.received), 0
        requests = store.calls_during(lambda: manager.get_conversation_context(session.id))
        if len(summarizer.received) > folds:
            assert len(summarizer.received) == folds + 1
            continue
        read, folds = store.messages_read, len(summarizer.received)
        context = manager.get_conversation_context(session.id)
        assert len(requests) <= 3
        assert read <= 2 * len(context)
        assert len(summarizer.received) == folds
    assert 1 < len(summarizer.received) < 8


def test_the_requests_are_the_same_with_max_turns_and_without_a_budget(
    variant: Variant, store: RecordingAdapter
) -> None:
    manager = variant.manager(store)
    session = manager.create_session()
    manager.add_messages(session.id, [message for number in range(250) for message in turn(number)])
    store.messages_read = 0
    assert len(manager.get_conversation_context(session.id, max_turns=5)) == 20
    assert store.messages_read <= 40


@pytest.mark.parametrize("kind", ["results without a call", "results delivered twice", "one id for every call"])
def test_the_work_is_linear_in_what_is_read(kind: str) -> None:
    """A text is counted at most a few times for each message, and messages are read only while they may fit."""
    damage = {
        "results without a call": [answered("ghost")],
        "results delivered twice": [answered("x")],
        "one id for every call": [asked("x"), answered("x")],
    }[kind]
    work: list[int] = []
    for length in (500, 1000, 2000):
        counted: list[str] = []

        def count(text: str, counted: list[str] = counted) -> int:
            counted.append(text)
            return 1

        manager = SessionManager.open("memory://", token_counter=CountingRule(text=count))
        session = manager.create_session()
        manager.add_messages(session.id, [said("u"), asked("x"), answered("x"), *damage * length])
        counted.clear()
        assert manager.get_conversation_context(session.id)
        work.append(len(counted))
        manager.update_session(session.id, token_budget=TokenBudget(max_tokens=40))
        counted.clear()
        with pytest.raises(TokenBudgetExceededError):
            manager.get_conversation_context(session.id)
        assert len(counted) < 200
    assert work[2] <= 4 * max(work[0], 100)


@pytest.mark.parametrize("form", get_args(Form))
def test_planning_takes_a_bounded_number_of_steps_for_each_message(form: Form) -> None:
    steps: list[int] = []
    for length in (500, 1000, 2000):
        messages = stored(form, length)
        with counted_steps() as count:
            selection = plan(messages)
            steps.append(count())
        assert {entry.action for entry in selection.entries} == {"kept", "changed", "filled"}
    assert steps[1] <= 50 * 1000
    assert steps[2] <= 2.1 * steps[1] <= 4.4 * steps[0]
