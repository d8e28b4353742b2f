"""Participants and handoffs: read, decide, write, and nobody is lost when many write at once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from session_continuity import (
    AgentHandoff,
    ConcurrencyError,
    HandoffError,
    Participant,
    ParticipantJoined,
    ParticipantLeft,
    Patch,
    Session,
    SessionManager,
    SessionNotFoundError,
    ValidationError,
    run_now,
)
from session_continuity.contract.changes import change_session
from session_continuity_memory import MemoryStorage

from ..kit.clocks import START, Clock
from ..kit.recording import RecordingAdapter
from .variants import ON_MEMORY, ON_SQLITE, Variant

pytestmark = pytest.mark.on(variant=ON_MEMORY + ON_SQLITE)


def ids(manager: SessionManager, session_id: str) -> list[str]:
    return [participant.id for participant in manager.get_participants(session_id)]


def test_somebody_joins_by_id_mapping_or_model(manager: SessionManager, clock: Clock) -> None:
    session = manager.create_session()
    clock.advance(seconds=5)
    joined = [
        manager.add_participant(session.id, "p", role="observer", metadata={"k": [1]}),
        manager.add_participant(session.id, {"id": "q", "role": "agent"}),
        manager.add_participant(session.id, Participant(id="r", joined_at=START)),
    ]
    assert joined == [
        Participant(id="p", role="observer", metadata={"k": [1]}, joined_at=clock.now),
        Participant(id="q", role="agent", joined_at=clock.now),
        Participant(id="r", joined_at=START),
    ]
    assert manager.get_participants(session.id) == joined


def test_who_leaves_keeps_an_entry_and_may_join_again(manager: SessionManager, clock: Clock) -> None:
    session = manager.create_session(participants=["p", "q"])
    clock.advance(seconds=5)
    manager.remove_participant(session.id, "p")
    left, staying = manager.get_participants(session.id)
    assert (left.id, left.joined_at, left.left_at) == ("p", START, clock.now)
    assert (staying.id, staying.left_at) == ("q", None)
    clock.advance(seconds=5)
    manager.remove_participant(session.id, "p")
    assert manager.get_participants(session.id)[0].left_at == left.left_at
    manager.add_participant(session.id, "p")
    again = manager.get_participants(session.id)
    assert [(p.id, p.left_at) for p in again] == [("q", None), ("p", None)]
    assert again[1].joined_at == clock.now


def test_everybody_is_replaced_by_what_a_creation_takes(manager: SessionManager, clock: Clock) -> None:
    session = manager.create_session(participants=["a", "b"])
    clock.advance(seconds=1)
    changed = manager.update_session(session.id, participants=[session.participants[0], "c"])
    assert [(known.id, known.joined_at) for known in changed.participants] == [
        ("a", session.created_at),
        ("c", session.created_at + timedelta(seconds=1)),
    ]


def test_nobody_of_that_id_is_said(manager: SessionManager) -> None:
    session = manager.create_session(participants=["p"])
    with pytest.raises(ValidationError, match="'ghost'"):
        manager.remove_participant(session.id, "ghost")
    assert manager.get_session(session.id) == session


def test_of_twenty_who_join_at_once_none_is_lost(variant: Variant, manager: SessionManager) -> None:
    session = manager.create_session()
    heard: list[ParticipantJoined] = []
    manager.on(ParticipantJoined, heard.append)
    works = [lambda m, n=number: m.add_participant(session.id, f"p{n}") for number in range(20)]
    outcomes = variant.run_together(manager, works)
    assert sorted(outcome.id for outcome in outcomes) == sorted(f"p{n}" for n in range(20))
    assert sorted(ids(manager, session.id)) == sorted(f"p{n}" for n in range(20))
    assert len(heard) == 20
    assert manager.get_session(session.id).version == 21


def test_joining_leaving_and_other_updates_at_once_all_count(variant: Variant, manager: SessionManager) -> None:
    session = manager.create_session(participants=["stays", "leaves"])
    heard: list[ParticipantLeft] = []
    manager.on(ParticipantLeft, heard.append)
    variant.run_together(
        manager,
        [
            lambda m: m.add_participant(session.id, "joins"),
            lambda m: m.remove_participant(session.id, "leaves"),
            lambda m: m.update_session(session.id, user_id="u"),
            lambda m: m.handoff_to_agent(session.id, "agent"),
            lambda m: m.remove_participant(session.id, "leaves"),
        ],
    )
    after = manager.get_session(session.id)
    assert {(p.id, p.left_at is None) for p in after.participants} == {
        ("stays", True),
        ("leaves", False),
        ("joins", True),
    }
    assert (after.user_id, after.active_agent_id, len(heard)) == ("u", "agent", 1)


# Handoffs


def test_a_handoff_keeps_what_was_handed_over(manager: SessionManager, clock: Clock) -> None:
    session = manager.create_session(active_agent_id="first")
    heard: list[AgentHandoff] = []
    manager.on(AgentHandoff, heard.append)
    context = {"order": 7, "notes": ["é", None, {"deep": [1.5]}]}
    clock.advance(seconds=5)
    after = manager.handoff_to_agent(session.id, "second", reason="billing", context=context)  # type: ignore[arg-type]
    assert after == manager.get_session(session.id)
    assert after.active_agent_id == "second"
    [handoff] = after.handoffs
    assert (handoff.from_agent_id, handoff.to_agent_id, handoff.reason, handoff.context, handoff.at) == (
        "first",
        "second",
        "billing",
        context,
        clock.now,
    )
    [event] = heard
    assert (event.from_agent_id, event.to_agent_id, event.reason, event.context) == (
        "first",
        "second",
        "billing",
        context,
    )
    context["notes"].append("changed")  # type: ignore[attr-defined]
    assert "changed" not in str(manager.get_session(session.id).handoffs)


def test_the_first_agent_takes_over_from_nobody(manager: SessionManager) -> None:
    session = manager.create_session()
    after = manager.handoff_to_agent(session.id, "first")
    assert (after.handoffs[0].from_agent_id, after.handoffs[0].reason, after.handoffs[0].context) == (None, None, None)


def test_the_newest_twenty_handoffs_are_kept(manager: SessionManager) -> None:
    session = manager.create_session()
    for number in range(23):
        manager.handoff_to_agent(session.id, f"a{number}")
    kept = manager.get_session(session.id).handoffs
    assert [handoff.to_agent_id for handoff in kept] == [f"a{number}" for number in range(3, 23)]


def test_a_session_is_found_under_its_new_agent(manager: SessionManager) -> None:
    session = manager.create_session(active_agent_id="old")
    manager.handoff_to_agent(session.id, "new")
    assert len(manager.list_sessions(active_agent_id="old")) == 0
    assert [found.id for found in manager.list_sessions(active_agent_id="new")] == [session.id]


@pytest.mark.parametrize("status", ["completed", "expired"])
def test_a_closed_session_is_not_handed_over(manager: SessionManager, status: str) -> None:
    session = manager.create_session(active_agent_id="a")
    before = manager.update_session(session.id, status=status)
    heard: list[AgentHandoff] = []
    manager.on(AgentHandoff, heard.append)
    with pytest.raises(HandoffError, match=status):
        manager.handoff_to_agent(session.id, "b")
    assert (manager.get_session(session.id), heard) == (before, [])


def test_a_paused_session_is_handed_over(manager: SessionManager) -> None:
    session = manager.create_session()
    manager.update_session(session.id, status="paused")
    assert manager.handoff_to_agent(session.id, "b").active_agent_id == "b"


def test_the_active_agent_is_not_handed_its_own_session(manager: SessionManager) -> None:
    session = manager.create_session(active_agent_id="a")
    with pytest.raises(HandoffError, match="'a'"):
        manager.handoff_to_agent(session.id, "a")
    assert manager.get_session(session.id) == session


def test_of_two_handoffs_at_once_each_starts_where_the_other_ended(variant: Variant, manager: SessionManager) -> None:
    session = manager.create_session(active_agent_id="start")
    works = [lambda m, n=number: m.handoff_to_agent(session.id, f"a{n}") for number in range(6)]
    variant.run_together(manager, works)
    after = manager.get_session(session.id)
    chain = ["start", *(handoff.to_agent_id for handoff in after.handoffs)]
    assert [handoff.from_agent_id for handoff in after.handoffs] == chain[:-1]
    assert (len(chain), after.active_agent_id) == (7, chain[-1])


# Conflicts


def conflicting(store: RecordingAdapter, times: int, *, attached: bool = True) -> None:
    """The next updates of the store meet somebody who was faster."""
    left = [times]

    async def conflict(session_id: str, *_: Any, expected_version: int | None = None) -> None:
        if left[0] > 0:
            left[0] -= 1
            current = await store.inner.update_session(session_id, Patch(set={"user_id": f"u{left[0]}"}))
            raise ConcurrencyError(
                session_id,
                expected=expected_version,
                actual=current.version,
                current=current if attached else None,
            )

    store.before["update_session"] = conflict


@pytest.mark.parametrize("attached", [True, False])
def test_a_conflict_is_retried_with_the_session_that_it_reports(
    manager: SessionManager, store: RecordingAdapter, attached: bool
) -> None:
    session = manager.create_session()
    conflicting(store, 3, attached=attached)
    calls = store.calls_during(lambda: manager.add_participant(session.id, "p"))
    reads = 1 if attached else 4
    assert (calls.count("get_session"), calls.count("update_session")) == (reads, 4)
    after = manager.get_session(session.id)
    assert (ids(manager, session.id), after.user_id, after.version) == (["p"], "u0", 5)


def waits_of(conflicts: int) -> list[float]:
    """What a change of a session waits for when it meets so many conflicts."""
    waited: list[float] = []
    session = Session(id="s", created_at=START, last_activity_at=START)
    left = iter(range(conflicts))

    class Busy(MemoryStorage):
        async def update_session(
            self, session_id: str, patch: Patch, *, expected_version: int | None = None
        ) -> Session:
            if next(left, None) is not None:
                raise ConcurrencyError(session_id, expected=expected_version, actual=2, current=session)
            return await super().update_session(session_id, patch, expected_version=expected_version)

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    busy = Busy()
    run_now(busy.create_session(session))
    run_now(change_session(busy, "s", lambda _: Patch(set={"user_id": "u"}), sleep=sleep))
    return waited


def test_waits_are_random_below_a_bound_that_doubles_and_ends() -> None:
    rounds = [waits_of(12) for _ in range(60)]
    for attempt in range(12):
        bound = min(0.5, 0.005 * 2**attempt)
        waited = [seconds[attempt] for seconds in rounds]
        assert all(0 <= seconds <= bound for seconds in waited)
        assert min(waited) < bound / 3 < bound * 2 / 3 < max(waited)
        assert len(set(waited)) > 50


def test_a_thousand_conflicts_in_no_time_are_no_arithmetic_problem() -> None:
    assert len(waits_of(1200)) == 1200


def test_a_change_gives_up_after_its_deadline_and_says_so(
    manager: SessionManager, store: RecordingAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("session_continuity.contract.changes.DEADLINE", 0.05)
    session = manager.create_session()
    conflicting(store, 10_000)
    heard: list[ParticipantJoined] = []
    manager.on(ParticipantJoined, heard.append)
    with pytest.raises(ConcurrencyError) as caught:
        manager.add_participant(session.id, "p")
    [note] = caught.value.__notes__
    attempts = store.calls.count("update_session")
    assert note == f"gave up after {attempts} attempts in 0.05 seconds"
    store.before.clear()
    assert (ids(manager, session.id), heard) == ([], [])


def test_a_session_that_vanishes_between_attempts_is_said_to_be_gone(
    manager: SessionManager, store: RecordingAdapter
) -> None:
    session = manager.create_session()

    async def gone(session_id: str, *_: Any, **__: Any) -> None:
        await store.inner.delete_session(session_id)
        raise ConcurrencyError(session_id, expected=1, actual=None)

    store.before["update_session"] = gone
    with pytest.raises(SessionNotFoundError):
        manager.add_participant(session.id, "p")


def test_the_callers_own_expected_version_is_never_retried(manager: SessionManager, store: RecordingAdapter) -> None:
    session = manager.create_session()
    manager.update_session(session.id, user_id="u")

    def stale() -> None:
        with pytest.raises(ConcurrencyError):
            manager.update_session(session.id, expected_version=1, user_id="v")

    assert store.calls_during(stale) == ["update_session"]
