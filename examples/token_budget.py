"""A long conversation for a small model: what fits the budget, and what becomes of the rest."""

from collections.abc import Sequence

from session_continuity import Message, SessionManager, TokenBudget, TokenBudgetExceededError


def summarize(messages: Sequence[Message], *, previous: str | None, prompt: str | None) -> str:
    """Stands for a call of a model; goes on from the previous summary where there is one."""
    beginning = previous or prompt or "So far:"
    return f"{beginning} {messages[0].content} … {messages[-1].content}"


def talk(manager: SessionManager, session_id: str) -> None:
    manager.add_message(session_id, role="system", content="You are a patient gardener.")
    for number in range(1, 41):
        manager.add_message(session_id, role="user", content=f"Plant {number}: how much water does it want?")


with SessionManager.open("memory://", summarizer=summarize) as manager:
    # Leave old messages out: the newest that fit, and system messages always.
    truncated = manager.create_session(token_budget={"max_tokens": 120, "reserve_tokens": 20})
    talk(manager, truncated.id)
    context = manager.get_conversation_context_with_stats(truncated.id)
    print(f"{context.budget.used} of {context.budget.limit} tokens")
    print(f"kept {context.budget.kept_messages}, left out {context.budget.dropped_messages}")
    print(f"first: {context.messages[0].content}")
    print(f"last:  {context.messages[-1].content}")

    # Fold them into words instead. The summary is kept, and later contexts only add to it.
    compressed = manager.create_session(
        token_budget=TokenBudget(max_tokens=120, reserve_tokens=20, overflow_strategy="compress"),
        compression={"strategy": "summarization", "summarization_prompt": "They talked:"},
    )
    talk(manager, compressed.id)
    context = manager.get_conversation_context_with_stats(compressed.id)
    assert context.compression is not None
    print(f"{context.compression.covered_messages} messages became: {context.compression.summary}")

    # Or refuse what does not fit; the store itself watches the limit, also for writers in parallel.
    strict = manager.create_session(token_budget=TokenBudget(max_tokens=40, overflow_strategy="error"))
    try:
        talk(manager, strict.id)
    except TokenBudgetExceededError as refused:
        print(f"refused {refused.requested} tokens at {refused.used} of {refused.limit}")
