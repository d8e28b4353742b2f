"""Strategies: pure plans, those of core and those that extensions bring."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, strategies as st

from session_continuity import (
    CompressionConfig,
    CompressionError,
    Message,
    PluginError,
    Registry,
    SessionManager,
    TokenBudget,
    ValidationError,
    hookimpl,
)
from session_continuity.compression import STRATEGIES, CompressionPlan, planned
from session_continuity.window import safe_cut

from .faces import Face, Watched
from .scribes import compressing, contents, write
from .talks import answered, asked, conversations, has_only_whole_pairs, said, system, with_ids_used_once


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


def test_a_configuration_may_be_the_name_of_its_strategy(face: Face, store: Watched) -> None:
    config = CompressionConfig(strategy="sliding_window")
    by_default = face.manager(store, compression="sliding_window").create_session()
    manager = face.manager(store, summarizer=lambda *_, **__: "summary")
    assert by_default.compression == manager.create_session(compression="sliding_window").compression == config
    renamed = manager.update_session(by_default.id, compression="hybrid")
    assert renamed.compression == CompressionConfig(strategy="hybrid")
    with pytest.raises(ValidationError, match="compression"):
        manager.create_session(compression=7)  # type: ignore[arg-type]  # the mistake


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
