"""The hard limit holds whatever happens at once, and every caller counts by one rule."""

from __future__ import annotations

from typing import Any

import pytest

from session_continuity import (
    ConfigError,
    Registry,
    SessionManager,
    TokenBudget,
    TokenBudgetExceededError,
    ValidationError,
    hookimpl,
)

from ..kit.conversations import said
from ..kit.recording import RecordingAdapter
from .variants import ON_MEMORY, ON_SQLITE, Variant

pytestmark = pytest.mark.on(variant=ON_MEMORY + ON_SQLITE)


def strict(tokens: int, **options: Any) -> TokenBudget:
    return TokenBudget(max_tokens=tokens, overflow_strategy="error", **options)


def test_an_append_over_the_limit_stores_nothing_and_says_how_much_there_was(manager: SessionManager) -> None:
    session = manager.create_session(token_budget=strict(100, reserve_tokens=10))
    manager.add_message(session.id, **said("a", tokens=60))
    for add in (
        lambda: manager.add_message(session.id, **said("b", tokens=31)),
        lambda: manager.add_messages(session.id, [said("b", tokens=30), said("c", tokens=1)]),
    ):
        with pytest.raises(TokenBudgetExceededError) as caught:
            add()
        assert (caught.value.session_id, caught.value.requested, caught.value.limit) == (session.id, 31, 90)
    after = manager.get_session(session.id)
    assert (after.message_count, after.token_count) == (1, 60)
    manager.add_message(session.id, **said("b", tokens=30))
    assert manager.get_session(session.id).token_count == 90


def test_parallel_appends_never_pass_the_limit_together(variant: Variant, manager: SessionManager) -> None:
    session = manager.create_session(token_budget=strict(100))
    outcomes = variant.run_together(manager, [lambda m: m.add_message(session.id, **said("x", tokens=30))] * 12)
    refused = [outcome for outcome in outcomes if isinstance(outcome, TokenBudgetExceededError)]
    after = manager.get_session(session.id)
    assert (len(outcomes) - len(refused), len(refused)) == (3, 9)
    assert (after.message_count, after.token_count) == (3, 90)


def test_deleting_and_editing_makes_room(manager: SessionManager) -> None:
    session = manager.create_session(token_budget=strict(10))
    first = manager.add_message(session.id, **said("a", tokens=10))
    manager.update_message(session.id, first.id, content="short", token_count=4)
    second = manager.add_message(session.id, **said("b", tokens=6))
    manager.delete_message(session.id, second.id)
    manager.add_message(session.id, **said("c", tokens=6))
    assert manager.get_session(session.id).token_count == 10


def test_another_overflow_strategy_sets_no_limit_on_appends(manager: SessionManager) -> None:
    for strategy in ("truncate", "compress"):
        session = manager.create_session(token_budget={"max_tokens": 1, "overflow_strategy": strategy})
        manager.add_message(session.id, **said("a", tokens=60))
        assert manager.get_session(session.id).token_count == 60


def test_the_limit_follows_the_session(manager: SessionManager) -> None:
    session = manager.create_session()
    manager.add_message(session.id, **said("a", tokens=60))
    manager.update_session(session.id, token_budget=strict(70))
    with pytest.raises(TokenBudgetExceededError):
        manager.add_message(session.id, **said("b", tokens=11))
    manager.update_session(session.id, token_budget=None)
    manager.add_message(session.id, **said("b", tokens=11))


FRAME, CALL = 4, 8

COUNTED: list[tuple[Any, dict[str, Any], int]] = [
    ("", {}, 0),
    ("abcd", {}, 4),
    ([], {}, 0),
    ([{"type": "text", "text": "abc"}, {"type": "text", "text": "de"}], {}, 5),
    ([{"type": "image_url", "image_url": {"url": "https://example.org/" + "x" * 1000}}], {}, 85),
    ([{"type": "unknown", "n": 1}], {}, len('{"type":"unknown","n":1}')),
    ("ab", {"tool_calls": [{"id": "1", "name": "name", "arguments": '{"a":1}'}]}, 2 + CALL + 4 + 7),
    ("ab", {"tool_calls": [{"id": "1", "name": "n", "arguments": {"a": 1}}]}, 2 + CALL + 1 + 7),
    ("", {"tool_results": [{"tool_call_id": "1", "result": "four"}]}, 4),
    ("", {"tool_results": [{"tool_call_id": "1", "result": ["é"]}]}, 5),
    ("", {"annotations": {"long": "x" * 100}, "own": "x" * 100}, 0),
]


@pytest.mark.parametrize(("content", "metadata", "expected"), COUNTED, ids=range(len(COUNTED)))
def test_a_message_is_counted_by_one_rule(
    variant: Variant, store: RecordingAdapter, content: Any, metadata: dict[str, Any], expected: int
) -> None:
    manager = variant.manager(store, token_counter=len, image_token_cost=85)
    session = manager.create_session()
    added = manager.add_message(session.id, role="user", content=content, metadata=metadata)
    edited = manager.add_message(session.id, role="user", content="other")
    edited = manager.update_message(session.id, edited.id, content=content, metadata=metadata)
    expected += FRAME
    assert (added.token_count, edited.token_count) == (expected, expected)
    assert manager.get_session(session.id).token_count == 2 * expected


def test_a_count_that_the_caller_knows_is_taken(variant: Variant, store: RecordingAdapter) -> None:
    def never(_: str) -> int:
        raise AssertionError("counted")

    manager = variant.manager(store, token_counter=never)
    session = manager.create_session()
    assert manager.add_message(session.id, role="user", content="x", token_count=7).token_count == 7


@pytest.mark.parametrize("answer", [-1, 1.5, "3", True, None, 2**31 + 1])
def test_a_counter_that_answers_no_count_is_refused_before_the_store_is_asked(
    variant: Variant, store: RecordingAdapter, answer: Any
) -> None:
    manager = variant.manager(store, token_counter=lambda _: answer)
    session = manager.create_session()
    with pytest.raises(ValidationError, match="token counter"):
        manager.add_message(session.id, role="user", content="x")
    assert "append_messages" not in store.calls


def test_a_counter_that_fails_is_named_before_the_store_is_asked(variant: Variant, store: RecordingAdapter) -> None:
    def failing(text: str) -> int:
        raise LookupError(text)

    manager = variant.manager(store, token_counter=failing)
    session = manager.create_session()
    with pytest.raises(ValidationError, match="the token counter failed with LookupError") as caught:
        manager.add_message(session.id, role="user", content="secret")
    assert isinstance(caught.value.__cause__, LookupError)
    assert "secret" not in str(caught.value)
    assert "append_messages" not in store.calls


class Counters:
    @hookimpl
    def sc_token_counter(self, model: str) -> Any:
        return (lambda text: 2 * len(text)) if model == "double" else None


def test_a_counter_is_found_by_the_name_of_its_model(variant: Variant, store: RecordingAdapter) -> None:
    registry = Registry()
    registry.register_extension(Counters())
    manager = variant.manager(store, token_counter="double", registry=registry)
    session = manager.create_session()
    assert manager.add_message(session.id, role="user", content="abc").token_count == 6 + FRAME
    for option in ("token_counter", "summarizer"):
        with pytest.raises(ConfigError, match="extension"):
            variant.manager(store, **{option: "unknown"}, registry=registry)
