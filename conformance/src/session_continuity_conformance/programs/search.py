"""Searches for a program on which a store and the model disagree, and shrinks it."""

from __future__ import annotations

import time
from collections.abc import Sequence

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings

from session_continuity_conformance.cases import BrokenClauseError, Case
from session_continuity_conformance.clauses import Clause
from session_continuity_conformance.programs.player import Player
from session_continuity_conformance.programs.steps import Step, programs
from session_continuity_conformance.store_fixture import StoreFixture


def search(case: Case, clause: Clause) -> None:
    """Try programs until one fails, the number of programs is reached or the time is over.

    Raises BrokenClauseError with the smallest program that fails.
    """
    effort = case.effort
    end = time.monotonic() + effort.seconds
    failed = False

    def attempt(program: Sequence[Step]) -> None:
        nonlocal failed
        if not failed and time.monotonic() > end:
            return
        try:
            case.run(clause, lambda store: _play(store, program), scripted=True)
        except BrokenClauseError:
            failed = True
            raise

    check = settings(
        max_examples=effort.programs,
        derandomize=effort.seed is None,
        database=None,
        deadline=None,
        print_blob=False,
        report_multiple_bugs=False,
        verbosity=Verbosity.quiet,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )(given(programs)(attempt))
    if effort.seed is not None:
        check = seed(effort.seed)(check)
    check()


async def _play(store: StoreFixture, program: Sequence[Step]) -> None:
    await Player(store).play(program)
