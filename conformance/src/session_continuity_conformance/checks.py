"""The checks of examples. A check that fails says what was expected and what was observed."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Iterable
from typing import Any, TypeVar

from pydantic import BaseModel

from session_continuity import SessionContinuityError
from session_continuity_conformance.recording import short

E = TypeVar("E", bound=SessionContinuityError)
M = TypeVar("M", bound=BaseModel)


class ViolationError(AssertionError):
    """A clause is broken. `what` names the value that was checked."""

    def __init__(self, what: str, *, expected: str, observed: str) -> None:
        super().__init__(f"{what}: expected {expected}, observed {observed}")
        self.what = what
        self.expected = expected
        self.observed = observed


def same(what: str, observed: object, expected: object) -> None:
    """Check that two values are equal. Models are compared field by field, and 1 is not 1.0."""
    if isinstance(observed, BaseModel) and isinstance(expected, BaseModel):
        _same_model(what, observed, expected)
    elif observed != expected:
        raise ViolationError(what, expected=short(expected), observed=short(observed))


def _same_model(what: str, observed: BaseModel, expected: BaseModel) -> None:
    left, right = _plain(observed), _plain(expected)
    if left == right:
        return
    names = [name for name in {**left, **right} if left.get(name) != right.get(name)]
    raise ViolationError(
        what,
        expected=", ".join(f"{name}={right.get(name, 'absent')}" for name in names),
        observed=", ".join(f"{name}={left.get(name, 'absent')}" for name in names),
    )


def _plain(model: BaseModel) -> dict[str, str]:
    """Each field as JSON text. There 1 and 1.0 differ, and the order of keys does not matter."""
    dumped = model.model_dump(mode="json")
    return {name: json.dumps(value, sort_keys=True) for name, value in dumped.items()}


def same_models(what: str, observed: Iterable[BaseModel], expected: Iterable[BaseModel]) -> None:
    """Check that these are equal models in the same order."""
    left, right = list(observed), list(expected)
    same(f"number of {what}", len(left), len(right))
    for place, pair in enumerate(zip(left, right, strict=True)):
        same(f"{what}[{place}]", *pair)


def holds(what: str, condition: bool, *, expected: str, observed: object) -> None:
    """Check a condition."""
    if not condition:
        raise ViolationError(what, expected=expected, observed=short(observed))


def present(what: str, value: M | None) -> M:
    """Check that a value is not None, and return it."""
    if value is None:
        raise ViolationError(what, expected="it is there", observed="None")
    return value


async def refused(what: str, call: Awaitable[Any], error: type[E]) -> E:
    """Check that a call raises an error of this class, and return the error."""
    try:
        result = await call
    except SessionContinuityError as raised:
        if not isinstance(raised, error):
            raise ViolationError(what, expected=error.__name__, observed=short(raised)) from raised
        return raised
    raise ViolationError(what, expected=error.__name__, observed=f"no error, but {short(result)}")


def results(what: str, outcomes: Iterable[Any]) -> list[Any]:
    """Check that concurrent calls all succeeded, and return their results."""
    found = list(outcomes)
    for outcome in found:
        if isinstance(outcome, ViolationError):
            raise outcome
        if isinstance(outcome, BaseException):
            raise ViolationError(what, expected="every call succeeds", observed=short(outcome)) from outcome
    return found


def partition(what: str, outcomes: Iterable[Any], error: type[E]) -> tuple[list[Any], list[E]]:
    """The results of concurrent calls, and the errors of this class that the others raised. Any other error is a
    violation."""
    won: list[Any] = []
    lost: list[E] = []
    for outcome in outcomes:
        if isinstance(outcome, ViolationError):
            raise outcome
        if isinstance(outcome, error):
            lost.append(outcome)
        elif isinstance(outcome, BaseException):
            raise ViolationError(what, expected=f"success or {error.__name__}", observed=short(outcome)) from outcome
        else:
            won.append(outcome)
    return won, lost
