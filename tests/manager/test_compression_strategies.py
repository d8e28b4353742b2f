"""Strategies: pure plans, those of core and those that extensions bring."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, strategies as st

from session_continuity import (
    CompressionConfig,
    CompressionError,
    CountingRule,
    Message,
    PluginError,
    Registry,
    SessionManager,
    TokenBudget,
    ValidationError,
    hookimpl,
)
from session_continuity.blocks.reader import calls_of, results_of
from session_continuity.compression.planning import make_plan
from session_continuity.compression.strategies import STRATEGIES, CompressionPlan
from session_continuity.context.turns import safe_cut

from ..kit.conversations import REPLY, answered, asked, contents, said, system
from ..kit.recording import RecordingAdapter
from .context_oracle import conversations, is_question, problems
from .summarizers import compressing, write
from .variants import ON_MEMORY, Variant

pytestmark = pytest.mark.on(variant=ON_MEMORY)


def messages_of(turn: list[dict[str, Any]]) -> list[Message]:
    manager = SessionManager.open("memory://")
    session = manager.create_session()
    return manager.add_messages(session.id, turn) if turn else []


PLANS: list[tuple[str, dict[str, Any], list[int], int, tuple[int, bool]]] = [
    ("sliding_window", {}, [1] * 10, 4, (7, False)),
    ("sliding_window", {}, [1] * 10, 9, (4, False)),
    ("sliding_window", {}, [1, 4], 4, (1, False)),
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
    assert (plan.count, plan.summarize) == expected


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
    assert 0 <= plan.count <= len(messages)
    assert 0 <= plan.shorten <= len(messages) - plan.count
    if name != "micro":
        assert sum(tokens[plan.count :]) <= room


@given(turn=conversations, cut=st.integers(0, 25))
def test_a_safe_cut_is_at_the_beginning_of_a_turn_and_parts_no_pair(turn: list[dict[str, Any]], cut: int) -> None:
    messages = messages_of([message for message in [*turn, said("the last word")] if message["role"] != "system"])
    cut = min(cut, len(messages) - 1)
    earlier, later = safe_cut(messages, cut), safe_cut(messages, cut, later=True)
    assert earlier <= cut <= later
    for at in (earlier, later):
        assert at == 0 or is_question(messages[at])
        asked_before: dict[str, bool] = {}
        for message in messages[:at]:
            asked_before.update((result.call_id, False) for result in results_of(message))
            asked_before.update((call.id, True) for call in calls_of(message))
        for message in messages[at:]:
            assert not any(asked_before.get(result.call_id) for result in results_of(message))
            asked_before.update((call.id, False) for call in calls_of(message))


CUTS: dict[str, tuple[list[dict[str, Any]], int, int, int]] = {
    "between turns": ([said("a"), said("b"), said("c")], 1, 1, 1),
    "in a turn": ([said("a"), asked("x"), answered("x"), said("b")], 2, 0, 3),
    "in the last turn": ([said("a"), said("b"), said("c", role="assistant")], 2, 1, 1),
    "where a result comes late": ([said("a"), asked("x"), said("b"), answered("x"), said("c")], 2, 0, 4),
    "where a call was given up": ([said("a"), asked("x"), said("never mind"), said("b")], 2, 2, 2),
    "without a question": ([asked("x"), answered("x"), asked("y"), answered("y")], 1, 0, 2),
}


@pytest.mark.parametrize("case", CUTS)
def test_a_cut_is_at_the_beginning_of_a_turn(case: str) -> None:
    turn, cut, earlier, later = CUTS[case]
    messages = messages_of(turn)
    assert (safe_cut(messages, cut), safe_cut(messages, cut, later=True)) == (earlier, later)


def plan_at(fold: Any) -> Callable[..., CompressionPlan]:
    return lambda *_: CompressionPlan(count=fold, summarize=False)


def test_a_plan_keeps_a_turn_that_fits_and_folds_one_that_does_not() -> None:
    turn = [said("a"), said("t"), asked("x", tokens=2), answered("x", tokens=2), said("b")]
    messages = messages_of(turn)
    tokens = [message["token_count"] for message in turn]
    config = CompressionConfig(strategy="any")
    assert make_plan({"any": plan_at(2)}, messages, tokens, 6, config).count == 1
    assert make_plan({"any": plan_at(2)}, messages, tokens, 5, config).count == 4
    assert make_plan({"any": plan_at(5)}, messages, tokens, 5, config).count == 4


class Halving:
    """Folds the older half."""

    @hookimpl
    def sc_compression_strategies(self) -> dict[str, Any]:
        return {"halving": lambda messages, *_: CompressionPlan(count=len(messages) // 2, summarize=False)}


def extended(variant: Variant, store: RecordingAdapter, strategy: Any = None, **options: Any) -> SessionManager:
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
    return variant.manager(store, registry=registry, **options)


def test_a_configuration_may_be_the_name_of_its_strategy(variant: Variant, store: RecordingAdapter) -> None:
    config = CompressionConfig(strategy="sliding_window")
    by_default = variant.manager(store, compression="sliding_window").create_session()
    manager = variant.manager(store, summarizer=lambda *_, **__: "summary")
    assert by_default.compression == manager.create_session(compression="sliding_window").compression == config
    renamed = manager.update_session(by_default.id, compression="hybrid")
    assert renamed.compression == CompressionConfig(strategy="hybrid")
    with pytest.raises(ValidationError, match="compression"):
        manager.create_session(compression=7)  # type: ignore[arg-type]  # the mistake


def test_an_extension_brings_a_strategy_and_a_summarizer_by_name(variant: Variant, store: RecordingAdapter) -> None:
    manager = extended(variant, store, summarizer="poet")
    session = manager.create_session(compression={"strategy": "halving"})
    write(manager, session.id, "abcdef")
    assert manager.compress_context(session.id).compressed_messages == 3
    assert manager.compress_context(session.id, "summarization").summary == "by poet"


def test_a_strategy_gets_the_room_that_system_messages_and_the_summary_leave(
    variant: Variant, store: RecordingAdapter
) -> None:
    rooms: list[tuple[list[Any], list[int], int, Any]] = []

    def strategy(
        messages: Sequence[Message], tokens: Sequence[int], room: int, config: CompressionConfig
    ) -> CompressionPlan:
        rooms.append((contents(messages), list(tokens), room, config["mine"]))
        return CompressionPlan(count=1, summarize=True)

    manager = extended(variant, store, strategy, summarizer=lambda *_, **__: "x" * 4)
    session = manager.create_session(
        token_budget=TokenBudget(max_tokens=100 + REPLY), compression={"strategy": "mine", "mine": 7}
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
def test_a_strategy_that_fails_or_plans_nonsense_changes_nothing(
    variant: Variant, store: RecordingAdapter, strategy: Any
) -> None:
    manager = extended(variant, store, strategy)
    session = manager.create_session(compression={"strategy": "mine"})
    write(manager, session.id, "ab")
    with pytest.raises(CompressionError, match="'mine'") as caught:
        manager.compress_context(session.id)
    assert "secret" not in str(caught.value)
    assert manager.get_session(session.id).version == 1


def test_two_strategies_of_one_name_are_refused(variant: Variant, store: RecordingAdapter) -> None:
    class Clash:
        @hookimpl
        def sc_compression_strategies(self) -> dict[str, Any]:
            return {"hybrid": plan_at(0)}

    registry = Registry()
    registry.register_extension(Clash(), "clash")
    with pytest.raises(PluginError, match=r"clash.*hybrid"):
        variant.manager(store, registry=registry)


@given(turn=conversations, limit=st.integers(1, 40), name=st.sampled_from(sorted(STRATEGIES)))
def test_a_folded_context_keeps_the_guarantees(turn: list[dict[str, Any]], limit: int, name: str) -> None:
    rule = CountingRule(text=lambda _: 1, per_message=0, per_call=0)
    manager = SessionManager.open("memory://", summarizer=lambda *_, **__: "s", token_counter=rule)
    session = manager.create_session(
        token_budget=compressing(limit + 200), compression={"strategy": name, "target_tokens": limit}
    )
    for message in turn:
        manager.add_message(session.id, **message)
        context = manager.get_conversation_context_with_stats(session.id)
        assert list(problems(context.messages)) == []
        assert context.budget.used <= limit + 200 + REPLY
    manager.compress_context(session.id)
    context = manager.get_conversation_context_with_stats(session.id)
    assert list(problems(context.messages)) == []
    covered = context.compression.covered_messages if context.compression else 0
    total = manager.get_session(session.id).message_count
    assert context.budget.kept_messages + context.budget.dropped_messages + covered == total
