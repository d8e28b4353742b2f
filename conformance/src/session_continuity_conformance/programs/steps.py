"""What a program may do. A step names sessions and messages by small numbers, so that programs shrink well; what the
numbers mean is settled when the step is played, against the model's present state."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, TypeVar

from hypothesis import strategies as st

from session_continuity import (
    MessageQuery,
    Role,
    SessionFilter,
    SessionMetadata,
    SessionStatus,
    TokenBudget,
)

T = TypeVar("T")

Slot = int
"""A living session, counted round and round; for a create one of three names. `ANY` is one that was there once."""

SLOTS = 3
ANY = 9

LIMITED = TokenBudget(max_tokens=20, overflow_strategy="error")


@dataclass(frozen=True)
class Step:
    """One thing that a program does."""


@dataclass(frozen=True)
class Create(Step):
    """Create the session of a slot; `life` is its seconds to live."""

    slot: Slot
    user: str | None = None
    agent: str | None = None
    status: SessionStatus = "active"
    tags: tuple[str, ...] = ()
    life: int | None = None
    limited: bool = False
    version: int = 1


@dataclass(frozen=True)
class CreateAgain(Step):
    """Repeat the last create of a slot."""

    slot: Slot


@dataclass(frozen=True)
class Update(Step):
    """Change fields. `expected` is the present version plus this, None for any; `life` sets or clears the expiry."""

    slot: Slot
    values: tuple[tuple[str, Any], ...] = ()
    clear: frozenset[str] = frozenset()
    life: int | None = None
    expected: int | None = None


@dataclass(frozen=True)
class Delete(Step):
    """Delete a session, or only when it expires within `within` seconds."""

    slot: Slot
    within: int | None = None


@dataclass(frozen=True)
class Append(Step):
    """Append a turn: role and tokens of each message. With `chosen`, their ids are m0, m1, … from that number on.
    `late` is how many seconds before the last message the writer's clock stands."""

    slot: Slot
    turn: tuple[tuple[Role, int | None], ...]
    chosen: int | None = None
    late: int | None = None


@dataclass(frozen=True)
class AppendAgain(Step):
    """Repeat an append of a slot, the newest with `back` 0."""

    slot: Slot
    back: int = 0


@dataclass(frozen=True)
class Edit(Step):
    """Edit the message at a place, or one that does not exist."""

    slot: Slot
    place: int
    role: Role | None = None
    tokens: int | None = None
    clear: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Remove(Step):
    """Delete the message at a place, or one that does not exist."""

    slot: Slot
    place: int


@dataclass(frozen=True)
class Clear(Step):
    """Delete all messages of a session."""

    slot: Slot


@dataclass(frozen=True)
class Read(Step):
    """Read messages page by page; bounds and ids are places. `meanwhile` happens after the first page."""

    slot: Slot
    order: Literal["asc", "desc"] = "asc"
    limit: int = 100
    roles: frozenset[Role] | None = None
    after: int | None = None
    before: int | None = None
    only: frozenset[int] | None = None
    meanwhile: Step | None = None

    def query(self, ids: list[str]) -> MessageQuery:
        """The query that this means in a conversation of these ids."""
        return MessageQuery(
            order=self.order,
            limit=self.limit,
            roles=self.roles,
            after_id=None if self.after is None else pick(ids, self.after),
            before_id=None if self.before is None else pick(ids, self.before),
            ids=None if self.only is None else frozenset(pick(ids, place) for place in self.only),
        )


@dataclass(frozen=True)
class Look(Step):
    """Read the session, and the message at a place."""

    slot: Slot
    place: int = 0


@dataclass(frozen=True)
class Listing(Step):
    """List sessions page by page. `meanwhile` happens after the first page."""

    filter: SessionFilter
    limit: int = 100
    meanwhile: Step | None = None


@dataclass(frozen=True)
class Expired(Step):
    """Find the sessions that expire within so many seconds."""

    within: int = 0
    limit: int = 100


@dataclass(frozen=True)
class Pass(Step):
    """Let seconds pass."""

    seconds: int


def pick(ids: list[str], place: int) -> str:
    """The id at a place, counted round and round; one that does not exist for `ANY`."""
    return ids[place % len(ids)] if ids and place != ANY else "absent"


slots = st.sampled_from([0, 1, 2, 0, 1, 0, ANY])
places = st.sampled_from([0, 1, 2, 3, 4, 5, ANY])
users = st.sampled_from([None, "u", "v"])
roles = st.sampled_from(["user", "assistant", "system", "tool"])
statuses = st.sampled_from(["active", "paused", "completed", "expired"])
tags = st.sampled_from([(), ("t",), ("t", "w"), ("w",)])
lives = st.sampled_from([None, None, None, None, None, 60, 3600])
tokens = st.sampled_from([1, 7, None, 0, 15])
role_sets = st.frozensets(roles, min_size=1, max_size=2)


def seldom(values: st.SearchStrategy[T]) -> st.SearchStrategy[T | None]:
    """Mostly nothing."""
    return st.one_of(st.none(), st.none(), st.none(), values)


MEANINGS: dict[str, list[Any]] = {
    "user_id": ["u", "v"],
    "active_agent_id": ["a", "b"],
    "status": ["active", "paused", "active", "completed", "expired"],
    "metadata": [
        SessionMetadata(tags=["t"]),
        SessionMetadata(title="x"),
        SessionMetadata(tags=["w"]),
        SessionMetadata(),
    ],
    "token_budget": [LIMITED, TokenBudget(max_tokens=9, overflow_strategy="error"), TokenBudget(max_tokens=5), LIMITED],
}


changes = st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in MEANINGS.items()}).map(
    lambda chosen: tuple(sorted(chosen.items()))
)


clearable = st.frozensets(
    st.sampled_from(["user_id", "active_agent_id", "status", "metadata", "token_budget"]), max_size=2
)

filters = st.builds(
    SessionFilter,
    user_id=users,
    active_agent_id=st.sampled_from([None, "a", "b"]),
    status=seldom(statuses),
    tags=st.sampled_from([frozenset(), frozenset(), frozenset({"t"}), frozenset({"t", "w"})]),
).filter(lambda each: each.user_id is not None or each.active_agent_id is not None)


def creates(slot: st.SearchStrategy[Slot]) -> st.SearchStrategy[Create]:
    """Creates of these slots, most of which make a session that takes messages."""
    return st.builds(
        Create,
        slot=slot,
        user=users,
        agent=st.sampled_from([None, "a", "b"]),
        status=st.sampled_from(["active", "active", "active", "active", "active", "paused", "completed"]),
        tags=tags,
        life=lives,
        limited=st.sampled_from([False, False, False, False, True]),
        version=st.sampled_from([1, 1, 7]),
    )


updates = st.builds(
    Update,
    slot=slots,
    values=changes,
    clear=clearable,
    life=lives,
    expected=st.sampled_from([0, None, 0, None, 0, 1]),
)
appends = st.builds(
    Append,
    slot=slots,
    turn=st.lists(st.tuples(roles, tokens), min_size=1, max_size=3).map(tuple),
    chosen=st.none() | st.integers(0, 4),
    late=st.sampled_from([None, None, 0, 2]),
)
deletes = st.builds(Delete, slot=slots, within=st.sampled_from([0, None, 100]))
edits = st.builds(
    Edit,
    slot=slots,
    place=places,
    role=st.none() | roles,
    tokens=tokens,
    clear=st.sampled_from([frozenset(), frozenset(), frozenset({"token_count"}), frozenset({"metadata"})]),
)
writes = st.one_of(
    *[appends] * 5,
    *[updates] * 3,
    *[edits] * 2,
    st.builds(Remove, slot=slots, place=places),
    st.builds(AppendAgain, slot=slots, back=st.integers(0, 2)),
    st.builds(AppendAgain, slot=slots, back=st.integers(0, 2)),
    creates(slots),
    deletes,
    st.builds(Clear, slot=slots),
    st.builds(CreateAgain, slot=slots),
)
reads = st.one_of(
    st.builds(Look, slot=slots, place=places),
    st.builds(
        Read,
        slot=slots,
        order=st.sampled_from(["asc", "desc"]),
        limit=st.integers(1, 4),
        roles=seldom(role_sets),
        after=seldom(places),
        before=seldom(places),
        only=seldom(st.frozensets(places, max_size=3)),
        meanwhile=seldom(appends | st.builds(Remove, slot=slots, place=places)),
    ),
    st.builds(Listing, filter=filters, limit=st.integers(1, 3), meanwhile=seldom(creates(slots) | deletes)),
    st.builds(Expired, within=st.sampled_from([0, 1, 60, 4000]), limit=st.integers(1, 3)),
)
passes = st.builds(Pass, seconds=st.sampled_from([1, 59, 60, 3600]))

some = st.lists(st.one_of(*[writes] * 8, *[reads] * 5, passes), max_size=10)
programs = st.tuples(creates(st.just(0)), some, some, some).map(
    lambda parts: [parts[0], *parts[1], *parts[2], *parts[3]]
)
"""Lists of lists, because one long list is rarely drawn long."""


def within(seconds: int) -> timedelta:
    """A step's seconds."""
    return timedelta(seconds=seconds)
