"""The steps of random programs, and the strategies that draw them.

A step names sessions and messages by small numbers, so that programs shrink well. What a number means is decided when
the step is played, from the model's present state.
"""

from __future__ import annotations

from dataclasses import dataclass
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
"""The number of a living session, counted round and round. For a create, one of three names. `GONE` means a session
that was there once."""

SLOTS = 3
GONE = 9

LIMITED = TokenBudget(max_tokens=20, overflow_strategy="error")


@dataclass(frozen=True)
class Create:
    """Create the session of a slot, with `life` seconds to live."""

    slot: Slot
    user: str | None = None
    agent: str | None = None
    status: SessionStatus = "active"
    tags: tuple[str, ...] = ()
    life: int | None = None
    limited: bool = False
    version: int = 1


@dataclass(frozen=True)
class RepeatCreate:
    """Repeat the last create of a slot."""

    slot: Slot


@dataclass(frozen=True)
class Update:
    """Change fields of a session. `expected` is the present version plus this, None for any. `life` sets `expires_at`
    so many seconds from now."""

    slot: Slot
    values: tuple[tuple[str, Any], ...] = ()
    clear: frozenset[str] = frozenset()
    life: int | None = None
    expected: int | None = None


@dataclass(frozen=True)
class Delete:
    """Delete a session; with `within`, only if it expires within so many seconds."""

    slot: Slot
    within: int | None = None


@dataclass(frozen=True)
class Append:
    """Append a batch: role and tokens of each message. With `first_id`, the caller chooses their ids, m0, m1 and so on
    from that number. `late` is how many seconds the writer's clock is behind the last message."""

    slot: Slot
    batch: tuple[tuple[Role, int | None], ...]
    first_id: int | None = None
    late: int | None = None


@dataclass(frozen=True)
class Turn:
    """Append a batch with a patch of the session. `expects` is what the append expects of version and last message:
    nothing, what is there, or something else. With `skip`, what is stored already is left out."""

    slot: Slot
    batch: tuple[tuple[Role, int | None], ...]
    values: tuple[tuple[str, Any], ...]
    first_id: int | None = None
    expects: Literal["nothing", "present", "other"] = "nothing"
    skip: bool = False


@dataclass(frozen=True)
class ReplaceTail:
    """Replace everything after the message at a place, None for everything, by a batch, which may be empty."""

    slot: Slot
    place: int | None
    batch: tuple[tuple[Role, int | None], ...] = ()
    first_id: int | None = None
    expects: Literal["nothing", "present", "other"] = "nothing"


@dataclass(frozen=True)
class ForkSession:
    """Fork a session through the message at a place, None for all, to the name of slot `to`."""

    slot: Slot
    to: Slot
    place: int | None = None


@dataclass(frozen=True)
class RepeatAppend:
    """Repeat an append of a slot; the newest with `back` 0."""

    slot: Slot
    back: int = 0


@dataclass(frozen=True)
class Edit:
    """Edit the message at a place, or one that does not exist."""

    slot: Slot
    place: int
    role: Role | None = None
    tokens: int | None = None
    clear: frozenset[str] = frozenset()


@dataclass(frozen=True)
class DeleteMessage:
    """Delete the message at a place, or one that does not exist."""

    slot: Slot
    place: int


@dataclass(frozen=True)
class DeleteAll:
    """Delete all messages of a session."""

    slot: Slot


@dataclass(frozen=True)
class ReadMessages:
    """Read messages page by page. Bounds and ids are places. `meanwhile` is played after the first page."""

    slot: Slot
    order: Literal["asc", "desc"] = "asc"
    limit: int = 100
    roles: frozenset[Role] | None = None
    after: int | None = None
    before: int | None = None
    only: frozenset[int] | None = None
    meanwhile: Step | None = None

    def query(self, ids: list[str]) -> MessageQuery:
        """The query that this means in a conversation with these ids."""
        return MessageQuery(
            order=self.order,
            limit=self.limit,
            roles=self.roles,
            after_id=None if self.after is None else pick(ids, self.after),
            before_id=None if self.before is None else pick(ids, self.before),
            ids=None if self.only is None else frozenset(pick(ids, place) for place in self.only),
        )


@dataclass(frozen=True)
class Get:
    """Read the session, and the message at a place."""

    slot: Slot
    place: int = 0


@dataclass(frozen=True)
class ListSessions:
    """List sessions page by page, `behind` the session of a slot. `meanwhile` is played after the first page.

    A store that does not declare the order lists the newest first.
    """

    filter: SessionFilter
    limit: int = 100
    behind: Slot | None = None
    meanwhile: Step | None = None


@dataclass(frozen=True)
class FindExpired:
    """Find the sessions that expire within so many seconds."""

    within: int = 0
    limit: int = 100


@dataclass(frozen=True)
class Wait:
    """Let seconds pass."""

    seconds: int


Step = (
    Create
    | RepeatCreate
    | Get
    | Update
    | Delete
    | ListSessions
    | Append
    | Turn
    | ReplaceTail
    | ForkSession
    | RepeatAppend
    | ReadMessages
    | Edit
    | DeleteMessage
    | DeleteAll
    | FindExpired
    | Wait
)


def pick(ids: list[str], place: int) -> str:
    """The id at a place, counted round and round; for `GONE` an id that does not exist."""
    return ids[place % len(ids)] if ids and place != GONE else "absent"


slots = st.sampled_from([0, 1, 2, 0, 1, 0, GONE])
places = st.sampled_from([0, 1, 2, 3, 4, 5, GONE])
users = st.sampled_from([None, "u", "v"])
roles = st.sampled_from(["user", "assistant", "system", "tool"])
statuses = st.sampled_from(["active", "paused", "completed", "expired"])
tags = st.sampled_from([(), ("t",), ("t", "w"), ("w",)])
lives = st.sampled_from([None, None, None, None, None, 60, 3600])
tokens = st.sampled_from([1, 7, None, 0, 15])
role_sets = st.frozensets(roles, min_size=1, max_size=2)


def rarely(values: st.SearchStrategy[T]) -> st.SearchStrategy[T | None]:
    """Mostly None, and these values now and then."""
    return st.one_of(st.none(), st.none(), st.none(), values)


VALUES: dict[str, list[Any]] = {
    "user_id": ["u", "v"],
    "active_agent_id": ["a", "b"],
    "status": ["active", "paused", "active", "completed", "expired"],
    "metadata": [
        SessionMetadata(tags=["t"]),
        SessionMetadata(title="Straße"),
        SessionMetadata(tags=["w"]),
        SessionMetadata(),
    ],
    "token_budget": [LIMITED, TokenBudget(max_tokens=9, overflow_strategy="error"), TokenBudget(max_tokens=5), LIMITED],
}


changes = st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in VALUES.items()}).map(
    lambda chosen: tuple(sorted(chosen.items()))
)


clearable = st.frozensets(
    st.sampled_from(["user_id", "active_agent_id", "status", "metadata", "token_budget"]), max_size=2
)


def listing(conditions: dict[str, Any], more: dict[str, Any]) -> SessionFilter:
    """A filter with an order or a title."""
    return SessionFilter(**conditions, **more)


conditions: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "user_id": users,
        "active_agent_id": st.sampled_from([None, "a", "b"]),
        "status": rarely(statuses),
        "tags": st.sampled_from([frozenset(), frozenset(), frozenset({"t"}), frozenset({"t", "w"})]),
    }
)
listings: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [{}, {}, {"order": "recent"}, {"order": "oldest"}, {"order": "idle"}, {"title": "STRASSE"}]
)
filters = st.builds(listing, conditions, listings).filter(
    lambda each: each.user_id is not None or each.active_agent_id is not None
)


def creates(slot: st.SearchStrategy[Slot]) -> st.SearchStrategy[Create]:
    """Creates of these slots. Most of them create a session that accepts messages."""
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
batches = st.lists(st.tuples(roles, tokens), min_size=1, max_size=3).map(tuple)
appends = st.builds(
    Append,
    slot=slots,
    batch=batches,
    first_id=st.none() | st.integers(0, 4),
    late=st.sampled_from([None, None, 0, 2]),
)
expectations = st.sampled_from(["nothing", "present", "nothing", "other"])
turns = st.builds(
    Turn,
    slot=slots,
    batch=batches,
    values=changes,
    first_id=st.none() | st.integers(0, 4),
    expects=expectations,
    skip=st.booleans(),
)
tails = st.builds(
    ReplaceTail,
    slot=slots,
    place=st.none() | places,
    batch=st.just(()) | batches,
    first_id=st.none() | st.integers(0, 4),
    expects=expectations,
)
forks = st.builds(ForkSession, slot=slots, to=slots, place=st.none() | places)
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
    st.builds(DeleteMessage, slot=slots, place=places),
    st.builds(RepeatAppend, slot=slots, back=st.integers(0, 2)),
    st.builds(RepeatAppend, slot=slots, back=st.integers(0, 2)),
    creates(slots),
    deletes,
    turns,
    tails,
    forks,
    st.builds(DeleteAll, slot=slots),
    st.builds(RepeatCreate, slot=slots),
)
reads = st.one_of(
    st.builds(Get, slot=slots, place=places),
    st.builds(
        ReadMessages,
        slot=slots,
        order=st.sampled_from(["asc", "desc"]),
        limit=st.integers(1, 4),
        roles=rarely(role_sets),
        after=rarely(places),
        before=rarely(places),
        only=rarely(st.frozensets(places, max_size=3)),
        meanwhile=rarely(appends | st.builds(DeleteMessage, slot=slots, place=places)),
    ),
    st.builds(
        ListSessions,
        filter=filters,
        limit=st.integers(1, 3),
        behind=rarely(slots),
        meanwhile=rarely(creates(slots) | deletes),
    ),
    st.builds(FindExpired, within=st.sampled_from([0, 1, 60, 4000]), limit=st.integers(1, 3)),
)
waits = st.builds(Wait, seconds=st.sampled_from([1, 59, 60, 3600]))

some = st.lists(st.one_of(*[writes] * 8, *[reads] * 5, waits), max_size=10)
programs = st.tuples(creates(st.just(0)), some, some, some).map(
    lambda parts: [parts[0], *parts[1], *parts[2], *parts[3]]
)
"""Lists of lists, because hypothesis rarely draws a long list."""
