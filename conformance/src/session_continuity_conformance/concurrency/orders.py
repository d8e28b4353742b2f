"""Is there one order of concurrent calls that explains all their answers? The model of the contract says what each call
answers in an order.

This is a search for a linearization, after Wing and Gong, with the states remembered that were tried before (Lowe).
Times of messages and of sessions are left out, because the store chooses them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from session_continuity import (
    Appended,
    ConcurrencyError,
    ConversationChangedError,
    Message,
    Page,
    Replaced,
    Session,
    SessionContinuityError,
    StorageAdapter,
    ThrottledError,
    UnavailableError,
    utc_now,
)
from session_continuity_conformance.checks import ViolationError
from session_continuity_conformance.recording import short
from session_continuity_conformance.reference.model import Model, SessionRecord

UNKNOWN = (UnavailableError, ThrottledError)
"""The errors after which a write was made or not."""

NEVER = 1 << 63

Answer = tuple[Any, ...]
"""The part of a result or of an error that can be compared."""


@dataclass(frozen=True, slots=True)
class Step:
    """A call of a method of the contract, on an adapter or on the model, or on the view of an `owner`."""

    method: str
    arguments: tuple[Any, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    owner: str | None = None

    async def on(self, adapter: StorageAdapter) -> Answer | None:
        """Make the call on a store. None is an answer that leaves the outcome unknown."""
        if self.owner is not None:
            adapter = adapter.view(owner=self.owner)
        try:
            result = await getattr(adapter, self.method)(*self.arguments, **self.options)
        except UNKNOWN:
            return None
        except SessionContinuityError as error:
            return answer_of_error(error)
        return answer_of(result)

    def on_model(self, model: Model) -> Answer:
        """Make the call on the model."""
        model.owner = self.owner
        try:
            return answer_of(getattr(model, self.method)(*self.arguments, **self.options))
        except SessionContinuityError as error:
            return answer_of_error(error)

    def __str__(self) -> str:
        given = [*map(short, self.arguments), *(f"{name}={short(value)}" for name, value in self.options.items())]
        view = "" if self.owner is None else f"as {self.owner}: "
        return f"{view}{self.method}({', '.join(given)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A call that was made from `began` to `ended`, times of one clock. `answer` None: the outcome is unknown.

    The answer of a call that is `resent` is about the time of its end: its request may have been sent twice, and was
    made by the first one.
    """

    step: Step
    worker: str
    began: int
    ended: int
    answer: Answer | None
    resent: bool = False

    @property
    def latest(self) -> int:
        """The last moment at which the call can have taken effect."""
        return NEVER if self.answer is None else self.ended

    def is_answered_by(self, answer: Answer) -> bool:
        """Whether this answer explains what the caller got."""
        if self.answer is None:
            return True
        return answer[:1] == self.answer[:1] if self._is_about_its_end else answer == self.answer

    @property
    def _is_about_its_end(self) -> bool:
        return self.resent and self.answer is not None and self.answer[0] in ("session", "message", "appended")

    def __str__(self) -> str:
        answer = "outcome unknown" if self.answer is None else " ".join(map(str, self.answer))
        return f"{self.worker} [{self.began}, {self.ended}] {self.step} -> {answer}"


def answer_of(result: object) -> Answer:
    """What of a result of the contract can be compared. The first item is its kind."""
    match result:
        case Session():
            return ("session", *_session(result))
        case Message():
            return ("message", *_message(result))
        case Appended():
            return ("appended", *map(_message, result.messages))
        case Replaced():
            return ("replaced", *map(_message, result.messages))
        case Page():
            items = cast("Page[object]", result)
            return ("page", *(_message(item) if isinstance(item, Message) else item for item in items))
        case _:
            return (type(result).__name__, result)


def answer_of_error(error: SessionContinuityError) -> Answer:
    """What of an error can be compared."""
    match error:
        case ConcurrencyError():
            return ("ConcurrencyError", error.actual)
        case ConversationChangedError():
            return ("ConversationChangedError", error.last_id)
        case _:
            return (type(error).__name__,)


def _session(session: Session) -> Answer:
    return (
        f"version {session.version}",
        session.status,
        f"user {session.user_id}",
        f"title {session.metadata.title}",
        f"with {[each.id for each in session.participants]}",
        f"tags {session.metadata.tags}",
        f"count {session.message_count}",
        f"tokens {session.token_count}",
        f"system {session.system_message_ids}",
        f"until {session.expires_at and session.expires_at.isoformat()}",
    )


def _message(message: Message) -> Answer:
    return message.id, message.role, str(message.content), message.token_count


def check_one_order(what: str, calls: Sequence[Made], *, model: Model | None = None) -> None:
    """Check that one order of these calls explains all of their answers, from a model without sessions or this one.

    A call comes before another that began after it had ended. A call of unknown outcome comes anywhere after it began,
    or never.
    """
    search = _Search(sorted(calls, key=lambda call: call.began))
    if not search.explain(model or Model(utc_now)):
        raise ViolationError(what, expected="one order of the calls that explains every answer", observed=search.told())


@dataclass(frozen=True)
class _State:
    """The calls that came, as bits, in their order, and what the model has then.

    `sources` are those of forks that have not come yet, as they were at an earlier moment of the call: a store may copy
    first, and show the fork later.
    """

    model: Model
    came: int = 0
    order: tuple[int, ...] = ()
    sources: Mapping[int, SessionRecord] = field(default_factory=dict[int, SessionRecord])

    def key(self) -> Answer:
        """What two states have in common from which the same calls can follow."""
        copies = ((number, *map(_message, source.messages)) for number, source in sorted(self.sources.items()))
        return (self.came, _state_of(self.model), *copies)

    def after(self, number: int, model: Model) -> _State:
        """The state after a call, with the model that it leaves."""
        sources = {fork: source for fork, source in self.sources.items() if fork != number}
        return _State(model, self.came | 1 << number, (*self.order, number), sources)


class _Search:
    """Searches depth first."""

    def __init__(self, calls: Sequence[Made]) -> None:
        self._calls = calls
        self._all = sum(1 << number for number, call in enumerate(calls) if call.answer is not None)
        self._failed: set[Answer] = set()
        self._longest: Sequence[int] = ()

    def explain(self, model: Model) -> bool:
        """Whether there is an order that begins with what this model has."""
        waiting = [_State(model)]
        while waiting:
            state = waiting.pop()
            if state.came & self._all == self._all:
                return True
            key = state.key()
            if key in self._failed:
                continue
            self._failed.add(key)
            if len(state.order) > len(self._longest):
                self._longest = state.order
            waiting += self._next(state)
        return False

    def _next(self, state: _State) -> Iterator[_State]:
        """The states after each call that may come now and is explained, and after a look of a fork at its source."""
        left = [number for number in range(len(self._calls)) if not state.came >> number & 1]
        end = min(self._calls[number].latest for number in left)
        for number in left:
            call = self._calls[number]
            if call.began > end:
                break
            if call.step.method == "fork_session" and number not in state.sources:
                source = state.model.copy_records().get(call.step.arguments[0])
                if source is not None:
                    yield replace(state, sources={**state.sources, number: source})
            after = _copy_of(state.model)
            answer = _answer_from(after, call.step, state.sources.get(number))
            if call.is_answered_by(answer):
                yield state.after(number, after)

    def told(self) -> str:
        """The calls in the longest order that was explained, and those that were left."""
        rest = [number for number in range(len(self._calls)) if number not in self._longest]
        lines = [
            "none",
            *(f"  explained: {self._calls[number]}" for number in self._longest),
            *(f"  not:       {self._calls[number]}" for number in rest),
        ]
        return "\n".join(lines)


def _answer_from(model: Model, step: Step, source: SessionRecord | None) -> Answer:
    """Make a call on a model; a fork of a source that was looked at earlier with this one."""
    if source is None:
        return step.on_model(model)
    name = step.arguments[0]
    now = model.records.get(name)
    model.records[name] = source.copy()
    answer = step.on_model(model)
    if now is None:
        del model.records[name]
    else:
        model.records[name] = now
    return answer


def _copy_of(model: Model) -> Model:
    copy = type(model)(model.clock)
    copy.records, copy.created_count = model.copy_records(), model.created_count
    return copy


def _state_of(model: Model) -> Answer:
    return tuple(
        (session_id, record.head.creation_token, *_session(record.session()), *map(_message, record.messages))
        for session_id, record in sorted(model.records.items())
    )


class History:
    """Calls that workers make, as they were made."""

    def __init__(self) -> None:
        self.calls: list[Made] = []

    async def make(self, worker: str, adapter: StorageAdapter, step: Step, *, resent: bool = False) -> Made:
        """Make a call and add it. With `resent`, its request may be sent twice."""
        began = time.monotonic_ns()
        answer = await step.on(adapter)
        ended = time.monotonic_ns()
        call = Made(step=step, worker=worker, began=began, ended=ended, answer=answer, resent=resent)
        self.calls.append(call)
        return call

    def begin(self, worker: str, step: Step) -> Step:
        """Add a call that is about to be made and will be broken off, so that its outcome stays unknown."""
        now = time.monotonic_ns()
        self.calls.append(Made(step=step, worker=worker, began=now, ended=now, answer=None))
        return step
