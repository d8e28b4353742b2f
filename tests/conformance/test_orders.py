"""The search for an order of concurrent calls accepts what is possible and refuses what is not."""

from __future__ import annotations

from typing import Any

import pytest

from session_continuity import ForkedFrom, Message, MessageQuery, Patch, Session, SessionMetadata
from session_continuity_conformance.checks import ViolationError
from session_continuity_conformance.concurrency.orders import Answer, Made, Step, check_one_order
from session_continuity_conformance.reference.model import Model

from ..kit.clocks import FUTURE

SESSION = Session(id="s", created_at=FUTURE, last_activity_at=FUTURE, creation_token="first")
CREATE = Step("create_session", (SESSION,))
GET = Step("get_session", ("s",))
DELETE = Step("delete_session", ("s",))
READ = Step("get_messages", ("s", MessageQuery()))


def titled(title: str, **condition: int) -> Step:
    return Step("update_session", ("s", Patch({"metadata": SessionMetadata(title=title)})), condition)


def after(*steps: Step) -> Answer:
    """The model's answer to the last of these calls."""
    model = Model(lambda: FUTURE)
    *_, last = [step.on_model(model) for step in steps]
    return last


def made(began: int, ended: int, step: Step, answer: Answer | None, **more: Any) -> Made:
    return Made(step=step, worker="w", began=began, ended=ended, answer=answer, **more)


CREATED = made(0, 1, CREATE, after(CREATE))
MINE, THEIRS = titled("mine"), titled("theirs")
UPDATED = made(2, 9, MINE, after(CREATE, MINE))


@pytest.mark.parametrize(
    "calls",
    [
        [CREATED, made(2, 3, GET, after(CREATE, GET)), made(4, 5, DELETE, after(CREATE, DELETE))],
        [CREATED, UPDATED, made(3, 4, GET, after(CREATE, GET)), made(5, 6, GET, after(CREATE, MINE, GET))],
        [
            CREATED,
            made(2, 3, MINE, None),
            made(4, 5, GET, after(CREATE, GET)),
            made(6, 7, GET, after(CREATE, MINE, GET)),
        ],
        [
            CREATED,
            made(2, 3, MINE, None),
            made(4, 5, DELETE, after(CREATE, DELETE)),
            made(6, 7, GET, ("NoneType", None)),
        ],
        [
            CREATED,
            made(2, 9, MINE, after(CREATE, MINE, THEIRS), resent=True),
            made(3, 4, THEIRS, after(CREATE, MINE, THEIRS)),
        ],
    ],
    ids=["in turn", "overlapping", "unknown and late", "unknown and never", "answered with what was later"],
)
def test_possible_history_is_accepted(calls: list[Made]) -> None:
    check_one_order("the history", calls)


@pytest.mark.parametrize(
    "calls",
    [
        [CREATED, made(2, 3, MINE, after(CREATE, MINE)), made(4, 5, GET, after(CREATE, GET))],
        [CREATED, UPDATED, made(3, 4, GET, after(CREATE, MINE, GET)), made(5, 6, GET, after(CREATE, GET))],
        [CREATED, made(2, 3, DELETE, ("bool", False))],
        [CREATED, made(2, 3, MINE, ("SessionNotFoundError",))],
        [CREATED, UPDATED, made(3, 4, titled("theirs", expected_version=1), ("ConcurrencyError", 3))],
        [CREATED, UPDATED, made(3, 4, THEIRS, after(CREATE, THEIRS))],
        [
            CREATED,
            made(2, 3, DELETE, ("bool", True)),
            made(4, 5, MINE, None),
            made(6, 7, GET, after(CREATE, MINE, GET)),
        ],
        [CREATED, made(0, 1, CREATE, after(CREATE)), made(2, 3, READ, ("page", ("m", "user", "x", 1)))],
    ],
    ids=[
        "stale read",
        "back in time",
        "wrong result",
        "wrong error",
        "conflict with a version that never was",
        "two updates of one version",
        "brought back by a call of unknown outcome",
        "a message that nobody sent",
    ],
)
def test_impossible_history_is_refused(calls: list[Made]) -> None:
    with pytest.raises(ViolationError, match="one order of the calls"):
        check_one_order("the history", calls)


@pytest.mark.parametrize(("began", "is_possible"), [(4, True), (7, False)])
def test_a_fork_may_copy_before_it_appears_and_not_before_it_began(began: int, is_possible: bool) -> None:
    message = Message(id="m", session_id="s", role="user", content="x", token_count=1, created_at=FUTURE)
    append = Step("append_messages", ("s", (message,)), {"client_ids": ["m"]})
    copy = Session(
        id="f", created_at=FUTURE, last_activity_at=FUTURE, creation_token="f", forked_from=ForkedFrom(session_id="s")
    )
    fork = Step("fork_session", ("s", copy))
    calls = [
        CREATED,
        made(5, 6, append, after(CREATE, append)),
        made(6, 7, Step("get_session", ("f",)), ("NoneType", None)),
        made(began, 9, fork, after(CREATE, fork)),
    ]
    if is_possible:
        check_one_order("a fork of what was there before the append", calls)
    else:
        with pytest.raises(ViolationError):
            check_one_order("a fork of what was there before it began", calls)


def test_refusal_tells_which_calls_were_explained() -> None:
    stale = made(4, 5, GET, after(CREATE, GET))
    with pytest.raises(ViolationError) as refused:
        check_one_order("the history", [CREATED, made(2, 3, MINE, after(CREATE, MINE)), stale])
    lines = refused.value.observed.splitlines()
    assert [line.split(":")[0].strip() for line in lines] == ["none", "explained", "explained", "not"]
    assert "get_session('s')" in lines[-1]
