"""Values in a finding: short, and without fields at their defaults."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from session_continuity import Appended, Message, MessageQuery, Page, SessionFilter, SessionNotFoundError
from session_continuity_conformance.recording import SHOWN_CHARACTERS, Call, Log, short

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MESSAGE = Message(id="m1", session_id="s1", role="user", content="hi", created_at=NOON)
TOLD = "Message(id='m1', session_id='s1', role='user', content='hi', created_at='2026-01-01T12:00:00.000Z')"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (MESSAGE, TOLD),
        (Appended(messages=(MESSAGE,)), f"Appended(messages=[{TOLD}])"),
        (MessageQuery(limit=2, roles=frozenset({"user"})), "MessageQuery(limit=2, roles=frozenset({'user'}))"),
        (SessionFilter(user_id="u"), "SessionFilter(user_id='u')"),
        (SessionFilter(created_after=NOON), "SessionFilter(created_after=2026-01-01T12:00:00+00:00)"),
        ([NOON, None], "[2026-01-01T12:00:00+00:00, None]"),
        (Page((1, 2)), "[1, 2]"),
        (Page((1, 2), "abc"), "[1, 2] and next_cursor='abc'"),
        ([1, 2, 3, 4, 5], "[1, 2, 3, 4, …]"),
        (SessionNotFoundError("s1"), f"SessionNotFoundError: {SessionNotFoundError('s1')}"),
    ],
)
def test_a_value_is_told_without_its_defaults(value: object, told: str) -> None:
    assert short(value) == told


def test_a_long_text_is_cut() -> None:
    assert len(short("x" * 1000)) == SHOWN_CHARACTERS


def test_errors_of_several_lines_are_told_in_one() -> None:
    assert short(ValueError("argument of NOT\n  must be boolean")) == "ValueError: argument of NOT must be boolean"


def test_the_last_call_is_the_one_before_the_adapter_was_closed() -> None:
    log = Log()
    calls = [Call("get_session", (), {}), Call("close", (), {})]
    for call in calls:
        log.begin(call)
        log.end(call)
    assert log.last is calls[0]
    assert log.calls == calls
    calls[1].failed = True
    log.end(calls[1])
    assert log.last is calls[1]
