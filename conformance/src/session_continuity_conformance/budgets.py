"""What a call costs in a short conversation and in one ten times as long, by the store's own probe."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from session_continuity import Cost, Message, Probe, Role, Session, StorageAdapter, TokenBudget
from session_continuity_conformance.checks import holds
from session_continuity_conformance.store import NotApplicableError, Store

SHORT, LONG = 30, 300
"""Messages of the two conversations."""

SLACK = 1.5
"""How much more a store may look at in the long one: its trees are a level deeper there."""

TOKENS = 5
CONTEXT = 12
"""Messages that the budget of these sessions has room for, next to the system message."""

TRIES = 3
"""Every call is measured so often, each time with another message, and its least cost counts: a store may clean up now
and then."""


@dataclass(frozen=True, slots=True)
class Talk:
    """A conversation. Each try, and each call, is about another of its messages, which the adapter has not seen yet."""

    session: Session
    messages: list[Message]
    turn: int = 0

    @property
    def early(self) -> Message:
        return self.messages[1 + self.turn]

    @property
    def middle(self) -> Message:
        return self.messages[len(self.messages) // 2 + self.turn]

    @property
    def late(self) -> Message:
        return self.messages[-1 - self.turn]


Call = Callable[[Talk], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Spent:
    """What one call costs in both conversations."""

    what: str
    short: Cost
    long: Cost

    def does_not_grow(self) -> None:
        """Raises ViolationError when the longer conversation makes the call dearer."""
        self._bounded("requests", self.short.requests, self.long.requests, self.short.requests)
        for measure in ("reads", "units"):
            short, long = getattr(self.short, measure), getattr(self.long, measure)
            if short is not None and long is not None:
                self._bounded(measure, short, long, SLACK * short + 1)

    def _bounded(self, measure: str, short: float, long: float, bound: float) -> None:
        holds(
            f"{measure} of {self.what} at {LONG} messages",
            long <= bound,
            expected=f"at most {bound:g}; it is {short:g} at {SHORT}",
            observed=long,
        )


@dataclass(frozen=True, slots=True)
class Budget:
    """Measures calls `on` an adapter that did not write the conversations, where the store has a second one: what it
    remembers of its own writes makes nothing cheaper."""

    store: Store
    on: StorageAdapter
    probe: Probe

    @classmethod
    async def of(cls, store: Store) -> Budget:
        """Raises NotApplicableError where the store has no probe."""
        probe = store.target.probe()
        if probe is None:
            raise NotApplicableError("the plugin offers no probe that would tell what a call costs")
        return cls(store, await store.second_or_first(), probe)

    async def spend(self, calls: Mapping[str, Call], role: Role = "user") -> list[Spent]:
        """What each of these calls costs, in conversations of this role. Each is made on a conversation of a few
        messages first, so that what a store does once only does not count."""
        fresh, short, long = [await _talk(self.store, length, role) for length in (2 * TRIES, SHORT, LONG)]
        raw = self.store.raw if self.on is self.store.adapter else self.store.adapters[-1]
        spent: list[Spent] = []
        with self.probe(raw) as meter:
            for what, call in calls.items():
                await call(fresh)
                spent.append(Spent(what, await _least(call, short, meter), await _least(call, long, meter)))
        return spent


async def _least(call: Call, talk: Talk, meter: Callable[[], Cost]) -> Cost:
    costs: list[Cost] = []
    for turn in range(TRIES):
        before = meter()
        await call(replace(talk, turn=turn))
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


async def _talk(store: Store, length: int, role: Role) -> Talk:
    budget = TokenBudget(max_tokens=TOKENS * (CONTEXT + 1))
    session = await store.session(token_budget=budget)
    messages = list(await store.append(session.id, "rules", role="system", tokens=TOKENS))
    size = min(store.capabilities.max_turn or 100, 100)
    while len(messages) < length:
        turn = [
            store.message(session.id, f"text {number}", role=role, tokens=TOKENS)
            for number in range(min(size, length - len(messages)))
        ]
        messages += (await store.adapter.append_messages(session.id, turn)).messages
    return Talk(session, messages)
