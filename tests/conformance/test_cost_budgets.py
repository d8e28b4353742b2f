"""Cost budgets: what counts as growth, and what is counted."""

from __future__ import annotations

import pytest

from session_continuity import ConfigError, Cost, MessageQuery, Registry, SessionFilter, innermost, run_now
from session_continuity_conformance.checks import ViolationError
from session_continuity_conformance.cost_budgets import FEW, LONG, MANY, NOT_COUNTED, SHORT, Budget, Spent, Talk
from session_continuity_conformance.drivers import BlockingDriver
from session_continuity_conformance.reference import cost_meter
from session_continuity_conformance.reference.storage import ReferenceTarget
from session_continuity_conformance.store_fixture import NotApplicableError, StoreFixture
from session_continuity_conformance.target import UrlTarget


@pytest.mark.parametrize(
    ("short", "long"),
    [
        (Cost(requests=1), Cost(requests=1)),
        (Cost(requests=2), Cost(requests=1)),
        (Cost(requests=1, reads=20), Cost(requests=1, reads=31)),
        (Cost(requests=1, units=0), Cost(requests=1, units=1)),
        (Cost(requests=1, reads=20), Cost(requests=1)),
    ],
    ids=["the same", "less", "a level deeper", "a unit more", "untold"],
)
def test_cost_that_does_not_grow_passes(short: Cost, long: Cost) -> None:
    Spent("x", short, long).does_not_grow()


@pytest.mark.parametrize(
    ("short", "long", "what"),
    [
        (
            Cost(requests=1),
            Cost(requests=2),
            f"requests of x at {LONG} messages: expected at most 1; it is 1 at {SHORT}",
        ),
        (Cost(requests=1, reads=20), Cost(requests=1, reads=32), "reads of x"),
        (Cost(requests=1, units=4.0), Cost(requests=1, units=40.0), "units of x"),
    ],
)
def test_cost_that_grows_is_a_violation(short: Cost, long: Cost, what: str) -> None:
    with pytest.raises(ViolationError, match=what):
        Spent("x", short, long).does_not_grow()


def test_the_least_of_several_tries_counts_and_first_calls_do_not() -> None:
    store = StoreFixture(ReferenceTarget(), BlockingDriver())
    lengths: list[int] = []

    async def call(talk: Talk) -> None:
        lengths.append(len(talk.messages))
        for _ in range(3 if len(lengths) % 3 else 2):  # dearer than it has to be in two tries of three
            await store.adapters[-1].get_messages(talk.session.id, MessageQuery(limit=10))

    async def example() -> list[Spent]:
        await store.start()
        budget = await Budget.of(store)
        assert budget.on is not store.adapter
        return await budget.spend({"call": call})

    (spent,) = run_now(example())
    assert lengths == [6, *[SHORT] * 3, *[LONG] * 3]
    assert spent.short == spent.long == Cost(requests=2, reads=20)


def test_the_long_conversation_also_has_many_more_batches() -> None:
    store = StoreFixture(ReferenceTarget(), BlockingDriver())
    sessions: list[str] = []

    async def call(talk: Talk) -> None:
        sessions.append(talk.session.id)

    async def example() -> None:
        await store.start()
        await (await Budget.of(store)).spend({"call": call})

    run_now(example())
    appends = [each.args[0] for each in store.log.calls if each.method == "append_messages"]
    short, long = (appends.count(session_id) for session_id in dict.fromkeys(sessions[1:]))
    assert long > 7 * short


def test_a_listing_is_measured_among_few_and_among_many() -> None:
    store = StoreFixture(ReferenceTarget(), BlockingDriver())

    async def example() -> tuple[Spent, int]:
        await store.start()
        budget = await Budget.of(store)
        spent = await budget.spend_among(
            "a page", lambda: budget.on.list_sessions(SessionFilter(user_id="u"), limit=1000), user_id="u"
        )
        return spent, len(await store.listing(user_id="u"))

    spent, sessions = run_now(example())
    assert (spent.short, spent.long) == (Cost(requests=1, reads=FEW), Cost(requests=1, reads=MANY))
    assert sessions == MANY
    with pytest.raises(ViolationError, match=f"reads of a page at {MANY} sessions: expected at most 23.5; it is 15 at"):
        spent.does_not_grow()


def test_store_without_a_probe_is_not_judged() -> None:
    store = StoreFixture(UrlTarget("memory://"), BlockingDriver())
    with pytest.raises(NotApplicableError, match="no cost meter"):
        run_now(Budget.of(store))
    assert store.reservations == [NOT_COUNTED]


def test_probe_of_the_reference_stops_counting_at_its_end() -> None:
    storage = ReferenceTarget().open("blocking", "")
    with cost_meter.cost_meter(storage) as meter:
        run_now(storage.health())
    run_now(storage.health())
    assert meter() == Cost(requests=1, reads=1)
    with (
        pytest.raises(ConfigError, match="not MemoryStorage"),
        cost_meter.cost_meter(innermost(Registry().create("memory://", "blocking"))),
    ):
        pass
