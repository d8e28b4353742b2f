"""Input that somebody made large on purpose costs what it is long, not its square."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from session_continuity import SessionFilter, SessionManager

from ..kit.conversations import said
from ..kit.steps import counted_steps

LENGTHS = (200, 400, 800)


def calls_in_one_message(manager: SessionManager, length: int) -> Callable[[], object]:
    calls = [{"id": f"c{number}", "name": "look", "arguments": {}} for number in range(length)]
    results = [{"tool_call_id": f"c{number}", "result": "x"} for number in reversed(range(length))]
    asked = {"role": "assistant", "content": "", "metadata": {"tool_calls": calls}}
    told = {"role": "tool", "content": "", "metadata": {"tool_results": results}}
    session = manager.create_session()
    manager.add_messages(session.id, [said("u"), asked, told])
    return lambda: manager.get_conversation_context(session.id)


def calls_of_one_id(manager: SessionManager, length: int) -> Callable[[], object]:
    call = {"id": "c", "name": "look", "arguments": {}}
    session = manager.create_session()
    asked = {"role": "assistant", "content": "", "metadata": {"tool_calls": [call] * length}}
    manager.add_messages(session.id, [said("u"), asked])
    return lambda: manager.get_conversation_context(session.id)


def results_without_a_call(manager: SessionManager, length: int) -> Callable[[], object]:
    results = [{"tool_call_id": f"c{number}", "result": "x"} for number in range(length)]
    session = manager.create_session()
    ghosts: dict[str, Any] = {"role": "tool", "content": "", "metadata": {"tool_results": results}}
    manager.add_messages(session.id, [said("u"), ghosts, said("v")])
    return lambda: manager.get_conversation_context(session.id)


def participants(manager: SessionManager, length: int) -> Callable[[], object]:
    session = manager.create_session(participants=[f"p{number}" for number in range(length)])
    return lambda: [manager.add_participant(session.id, "new"), manager.remove_participant(session.id, "new")]


def tags_of_sessions(manager: SessionManager, length: int) -> Callable[[], object]:
    session = manager.create_session(metadata={"tags": [f"t{number}" for number in range(length)]})
    wanted = SessionFilter(tags=frozenset(f"other{number}" for number in range(100)))
    return lambda: [wanted.matches(session), manager.list_sessions(tags=[f"t{length - 1}"])]


@pytest.mark.parametrize(
    "make",
    [calls_in_one_message, calls_of_one_id, results_without_a_call, participants, tags_of_sessions],
    ids=lambda make: make.__name__,
)
def test_the_steps_grow_no_faster_than_the_input(make: Callable[[SessionManager, int], Callable[[], object]]) -> None:
    steps: list[int] = []
    for length in LENGTHS:
        with SessionManager.open("memory://") as manager:
            call = make(manager, length)
            call()
            with counted_steps() as count:
                call()
                steps.append(count())
    assert steps[0] > 0
    assert steps[2] <= 2.2 * steps[1] <= 4.9 * steps[0]
