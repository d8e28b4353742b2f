"""`Finding`: why an example failed, ready to be shown."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from traceback import walk_tb

import pytest

from session_continuity import SessionContinuityError, WouldSuspendError
from session_continuity_conformance.checks import ViolationError
from session_continuity_conformance.clauses import Clause, all_clauses
from session_continuity_conformance.recording import chain, layers, one_line, short, short_path, source_of
from session_continuity_conformance.reproducer import script, written_url
from session_continuity_conformance.store_fixture import StoreFixture
from session_continuity_conformance.target import native_mode

SHOWN_CAUSE = 400  # characters
SHOWN_LEFTOVERS = 3
NOT_OPENED = "The store could not be opened and set up, so no clause can be judged. Mend that first."
CLOSE_EVERYTHING = "Close every connection and every file in close(), and those that a failed call opened at its end."


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A broken clause, ready to be shown.

    `done` are the calls that the example made, `where` is the place in the store's code, `cause` the error of the
    client behind an error of the store. `remedy` replaces that of the clause. `program` repeats the calls where the
    example itself does not show them. `unexpected` says that a call raised what no clause is about: then other
    clauses fail in the same way. `unwritten` is the method that raised NotImplementedError, where that is the only
    reason.
    """

    clause: str
    done: tuple[str, ...] = ()
    expected: str
    observed: str
    cause: str = ""
    where: str = ""
    remedy: str = ""
    program: tuple[str, ...] = ()
    unexpected: bool = False
    unwritten: str = ""

    def lines(self) -> list[str]:
        """The finding for people."""
        clause = all_clauses()[self.clause]
        told = {
            "expected": self.expected,
            "observed": self.observed,
            "cause": self.cause,
            "where": self.where,
            "remedy": self.remedy or clause.remedy,
        }
        return [
            f"{clause.id} ({clause.level}) {clause.text}",
            *(["  done:", *(f"    {line}" for line in self.done)] if self.done else []),
            *(f"  {f'{name}:':<9} {text}" for name, text in told.items() if text),
            *(["  program:", *(f"    {line}".rstrip() for line in self.program)] if self.program else []),
        ]


def finding_of(clause: Clause, store: StoreFixture, error: Exception, *, scripted: bool) -> Finding:
    """The finding for an example that this error ended. It has a program if `scripted`."""
    expected, observed = _contrast(error)
    return Finding(
        clause=clause.id,
        done=tuple(store.log.lines()),
        expected=expected,
        observed=observed,
        cause=cause_of(error, store.target.secrets),
        where=_where(store, error),
        remedy="" if store.opened else NOT_OPENED,
        program=_program(store, f"expected {expected}; observed {observed}") if scripted else (),
        unexpected=not isinstance(error, ViolationError | WouldSuspendError),
        unwritten=_unwritten(store, error),
    )


def finding_of_leftovers(clause: str, errors: Sequence[BaseException]) -> Finding:
    """The finding for what Python complained of after an example: things that nobody closed, most often."""
    return Finding(
        clause=clause,
        expected="nothing is left open",
        observed="; ".join(folded(errors)),
        remedy=CLOSE_EVERYTHING,
        unexpected=True,
    )


def leftovers_in(error: BaseException | None) -> list[BaseException]:
    """The complaints that pytest has collected in this error. Empty where it is another error."""
    each: Sequence[object] = getattr(error, "exceptions", [error])
    found = [one.__cause__ or one for one in each if isinstance(one, pytest.PytestUnraisableExceptionWarning)]
    return found if len(found) == len(each) else []


def folded(errors: Sequence[BaseException]) -> list[str]:
    """The texts of errors, each kind once with its count. Errors of a kind differ in numbers only."""
    kinds = Counter[str]()
    texts: dict[str, str] = {}
    for error in errors:
        text = f"{type(error).__name__}: {one_line(str(error))}"
        kind = re.sub(r"0x[0-9a-f]+|\d+", "#", text)
        kinds[kind] += 1
        texts.setdefault(kind, text)
    shown = [f"{count} × {texts[kind]}" if count > 1 else texts[kind] for kind, count in kinds.most_common()]
    hidden = shown[SHOWN_LEFTOVERS:]
    return [*shown[:SHOWN_LEFTOVERS], *([f"and {len(hidden)} other kinds"] if hidden else [])]


def cause_of(error: BaseException, secrets: Sequence[str]) -> str:
    """The error of the client at the beginning of an error's chain, in one line, with the name of its class and
    without these secrets. "" where there is none."""
    first = chain(error)[-1]
    if first is error or isinstance(first, SessionContinuityError | ViolationError | NotImplementedError):
        return ""
    kind = type(first)
    text = one_line(f"{kind.__module__}.{kind.__qualname__}: {first}".removeprefix("builtins."))
    for secret in secrets:
        text = text.replace(secret, "***")
    return text if len(text) <= SHOWN_CAUSE else f"{text[: SHOWN_CAUSE - 1]}…"


def _program(store: StoreFixture, complaint: str) -> tuple[str, ...]:
    target = store.target
    return tuple(script(store.log, written_url(target), native_mode(target, "blocking"), complaint).splitlines())


def _unwritten(store: StoreFixture, error: BaseException) -> str:
    """The method that is not written yet, where the example failed only because of that."""
    last, first_cause = store.log.last, chain(error)[-1]
    return last.method if isinstance(first_cause, NotImplementedError) and last is not None else ""


def _contrast(error: Exception) -> tuple[str, str]:
    """What was expected and what was observed."""
    if isinstance(error, ViolationError):
        return f"{error.what}: {error.expected}", error.observed
    if isinstance(error, WouldSuspendError):
        return "in blocking mode the method never suspends (SC-LIF-006)", short(error)
    return "the call succeeds, or raises what the contract names", one_line(f"{type(error).__name__}: {error}")


def _where(store: StoreFixture, error: Exception) -> str:
    """The innermost line of the store that the error came through, or else the method that returned last."""
    last = store.log.last
    if not store.adapters or last is None:
        return f"opening {store.target.name}"
    places = [] if isinstance(error, ViolationError) else list(_places(store, error))
    return places[-1] if places else source_of(store.raw, last.method)


def _places(store: StoreFixture, error: Exception) -> Iterator[str]:
    """The lines of the store and of its wrappers that the error came through, those of its causes last."""
    homes = {Path(inspect.getfile(type(layer))).parent for layer in layers(store.raw)}
    for each in chain(error):
        for frame, line in walk_tb(each.__traceback__):
            if Path(frame.f_code.co_filename).parent in homes:
                yield f"{short_path(frame.f_code.co_filename)}:{line} {frame.f_code.co_qualname}"
