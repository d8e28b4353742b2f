"""The guarantees of a context over conversations in each provider's form: after every message, at many budgets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from session_continuity import (
    ConversationContext,
    CountingRule,
    Message,
    SessionManager,
    TokenBudget,
    TokenBudgetExceededError,
    estimate_tokens,
)
from session_continuity.context.counting import MessageCounter

from ..kit.conversations import REPLY
from ..kit.recorded_chats import RECORDED
from .context_oracle import is_question, last_turn, problems

COUNTER = MessageCounter(CountingRule(text=estimate_tokens))
SHARES = (1.0, 0.75, 0.5, 0.3, 0.15, 0.05)
"""Of the whole conversation's tokens: the budgets."""


def broken_guarantees(messages: Sequence[Message], context: ConversationContext, limit: int) -> Iterator[str]:
    """The numbers of the guarantees that a context breaks, each with what is wrong."""
    shown = context.messages
    used = sum(COUNTER.tokens(message) for message in shown) + REPLY
    if used > limit or context.budget.used != used:
        yield f"1: {used} of {limit} tokens, said to be {context.budget.used}"
    spoken = [message for message in shown if message.role != "system"]
    if not spoken:
        yield "1: nothing but system messages"
    ids = {message.id.partition("/")[0] for message in shown}
    told = {report.message_id for report in context.report if report.action == "left_out" and report.reason}
    for message in last_turn(messages):
        if message.id not in ids | told or (is_question(message) and message.id not in ids):
            yield f"2: {message.role} of the last turn is not there"
    yield from (f"3: {problem}" for problem in problems(shown))
    if spoken and not is_question(spoken[0]):
        yield f"4: it begins with {spoken[0].role}"
    prompts = [str(message.content) for message in shown if message.role == "system"]
    if len(set(prompts)) < len(prompts):
        yield "5: a system message is there twice"


def context_of(manager: SessionManager, session_id: str) -> ConversationContext | TokenBudgetExceededError:
    """The context, or the error that there is instead."""
    try:
        return manager.get_conversation_context_with_stats(session_id)
    except TokenBudgetExceededError as error:
        return error


@pytest.mark.parametrize("name", RECORDED)
def test_every_guarantee_holds_after_every_message_at_many_budgets(name: str) -> None:
    chat = RECORDED[name]()
    contexts, refused = 0, 0
    with SessionManager.open("memory://") as manager:
        session = manager.create_session()
        for number, new in enumerate(chat, 1):
            manager.add_messages(session.id, [new.model_copy(update={"id": None})])
            messages = manager.get_messages(session.id)
            if not any(map(is_question, messages)):
                continue
            total = manager.get_session(session.id).token_count + REPLY
            for limit in {max(int(total * share), 1) for share in SHARES}:
                manager.update_session(session.id, token_budget=TokenBudget(max_tokens=limit))
                context, again = (context_of(manager, session.id) for _ in range(2))
                if isinstance(context, TokenBudgetExceededError):
                    assert context.message_id in {message.id for message in messages}
                    assert context.requested > context.limit == limit
                    refused += 1
                    continue
                contexts += 1
                assert list(broken_guarantees(messages, context, limit)) == [], (number, limit)
                assert again == context  # 6
    assert contexts > 2 * len(chat) > 0
    assert refused < contexts


@pytest.mark.parametrize("name", RECORDED)
def test_a_whole_recorded_conversation_fits_half_of_its_tokens(name: str) -> None:
    """So a budget leaves turns out or cuts results, and does not refuse, where real conversations are over it."""
    with SessionManager.open("memory://") as manager:
        session = manager.create_session()
        manager.add_messages(session.id, [new.model_copy(update={"id": None}) for new in RECORDED[name]()])
        half = manager.get_session(session.id).token_count // 2
        manager.update_session(session.id, token_budget=half)
        context = manager.get_conversation_context_with_stats(session.id)
        assert {"cut", "left_out"} & {report.action for report in context.report}
