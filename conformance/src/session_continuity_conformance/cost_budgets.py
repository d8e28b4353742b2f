"""Costs of calls in a short conversation and in one ten times as long, counted by the store's own cost meter."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from session_continuity import Cost, CostMeter, Message, Role, Session, StorageAdapter, TokenBudget, innermost
from session_continuity_conformance.checks import holds
from session_continuity_conformance.store_fixture import NotApplicableError, Reservation, StoreFixture

SHORT, LONG = 30, 300
"""The messages of the two conversations."""

SLACK = 1.5
"""The factor by which reads and units may grow: trees are a level deeper in the long conversation."""

NOT_COUNTED = Reservation(
    "costs: not counted",
    "the plugin names no cost meter. A store that looks through a whole conversation in every call passes.",
)

REQUESTS_ONLY = Reservation(
    "costs: requests only",
    "the cost meter tells no reads and no units. A call that looks through a whole conversation in one request passes.",
)

TOKENS = 5
CONTEXT = 12
"""The messages that fit into the token budget of these sessions, beside the system message."""

BATCH = 10
"""The messages of one append of these conversations. A store that keeps a batch in one place shall not look as if it
read little."""

FEW, MANY = 15, 150
"""The sessions among which a listing is measured."""

TRIES = 3
"""The measurements of each call, each with another message. The smallest counts, because a store may clean up now and
then."""


@dataclass(frozen=True, slots=True)
class Talk:
    """A conversation. Each attempt and each kind of call uses another of its messages, which the adapter has not read
    before."""

    session: Session
    messages: list[Message]
    attempt: int = 0

    @property
    def early(self) -> Message:
        """A message near the beginning."""
        return self.messages[1 + self.attempt]

    @property
    def middle(self) -> Message:
        """A message in the middle."""
        return self.messages[len(self.messages) // 2 + self.attempt]

    @property
    def late(self) -> Message:
        """A message near the end."""
        return self.messages[-1 - self.attempt]


Call = Callable[[Talk], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Spent:
    """The costs of one call in both conversations, or among few sessions and many. `few` and `many` say which."""

    what: str
    short: Cost
    long: Cost
    few: str = str(SHORT)
    many: str = f"{LONG} messages"

    def does_not_grow(self) -> None:
        """Check that the call costs no more in the longer conversation."""
        self._bounded("requests", self.short.requests, self.long.requests, self.short.requests)
        for measure in ("reads", "units"):
            short, long = getattr(self.short, measure), getattr(self.long, measure)
            if short is not None and long is not None:
                self._bounded(measure, short, long, SLACK * short + 1)

    def _bounded(self, measure: str, short: float, long: float, bound: float) -> None:
        holds(
            f"{measure} of {self.what} at {self.many}",
            long <= bound,
            expected=f"at most {bound:g}; it is {short:g} at {self.few}",
            observed=long,
        )


@dataclass(frozen=True, slots=True)
class Budget:
    """Measures calls.

    They are made `on` an adapter that did not write the conversations, where the store can have a second one: then a
    cache of its own writes does not make them cheaper.
    """

    store: StoreFixture
    on: StorageAdapter
    cost_meter: CostMeter

    @classmethod
    async def of(cls, store: StoreFixture) -> Budget:
        """The budget of a store. Raises NotApplicableError where it has no cost meter."""
        cost_meter = store.target.cost_meter()
        if cost_meter is None:
            store.reservations.append(NOT_COUNTED)
            raise NotApplicableError("the plugin has no cost meter")
        return cls(store, await store.open_second_or_first(), cost_meter)

    async def spend(self, calls: Mapping[str, Call], role: Role = "user") -> list[Spent]:
        """Measure calls in conversations whose messages have this role.

        Each call is made on a third, tiny conversation first, so that what a store does only once is not counted.
        """
        fresh, short, long = [await _talk(self.store, length, role) for length in (2 * TRIES, SHORT, LONG)]
        raw = self.store.raw if self.on is self.store.adapter else self.store.adapters[-1]
        spent: list[Spent] = []
        with self.cost_meter(innermost(raw)) as meter:
            for what, call in calls.items():
                await call(fresh)
                spent.append(Spent(what, await _least(call, short, meter), await _least(call, long, meter)))
        self._reserve(spent)
        return spent

    async def spend_among(self, what: str, call: Callable[[], Awaitable[object]], **fields: Any) -> Spent:
        """Measure a call among few sessions with these fields, and again among many."""

        costs: list[Cost] = []
        raw = self.store.raw if self.on is self.store.adapter else self.store.adapters[-1]
        with self.cost_meter(innermost(raw)) as meter:
            for more in (FEW, MANY - FEW):
                sessions = [await self.store.create_session(**fields) for _ in range(more)]
                await call()
                costs.append(await _least(lambda _: call(), Talk(sessions[-1], []), meter))
        spent = Spent(what, costs[0], costs[1], f"{FEW}", f"{MANY} sessions")
        self._reserve([spent])
        return spent

    def _reserve(self, spent: Sequence[Spent]) -> None:
        if all(each.short.reads is None and each.short.units is None for each in spent):
            self.store.reservations.append(REQUESTS_ONLY)


async def _least(call: Call, talk: Talk, meter: Callable[[], Cost]) -> Cost:
    costs: list[Cost] = []
    for attempt in range(TRIES):
        before = meter()
        await call(replace(talk, attempt=attempt))
        costs.append(_between(before, meter()))
    return Cost(
        requests=min(cost.requests for cost in costs),
        reads=min((cost.reads for cost in costs if cost.reads is not None), default=None),
        units=min((cost.units for cost in costs if cost.units is not None), default=None),
    )


def _between(before: Cost, after: Cost) -> Cost:
    return Cost(
        requests=after.requests - before.requests,
        reads=None if after.reads is None else after.reads - (before.reads or 0),
        units=None if after.units is None else after.units - (before.units or 0),
    )


async def _talk(store: StoreFixture, length: int, role: Role) -> Talk:
    # The answer of the model takes a few tokens of the budget besides the messages.
    budget = TokenBudget(max_tokens=TOKENS * (CONTEXT + 2) - 1)
    session = await store.create_session(token_budget=budget)
    messages = list(await store.append(session.id, "rules", role="system", tokens=TOKENS))
    size = min(store.capabilities.max_batch or BATCH, BATCH)
    while len(messages) < length:
        batch = [
            store.message(session.id, f"text {number}", role=role, tokens=TOKENS)
            for number in range(min(size, length - len(messages)))
        ]
        messages += (await store.adapter.append_messages(session.id, batch)).messages
    return Talk(session, messages)
