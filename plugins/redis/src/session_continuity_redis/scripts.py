"""The Lua scripts, each with the code that it shares with others, and the numbers that Lua and Python agree on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from importlib.resources import files

from session_continuity import MAX_PAGE, Role, SessionStatus

ROLES: tuple[Role, ...] = ("system", "user", "assistant", "tool")
STATUSES: tuple[SessionStatus, ...] = ("active", "paused", "completed", "expired")
FIELDS = (
    "id",
    "created_at",
    "user_id",
    "active_agent_id",
    "metadata",
    "participants",
    "handoffs",
    "token_budget",
    "compression",
    "compression_state",
    "expires_at",
    "sliding_ttl",
    "creation_token",
    "forked_from",
)
"""A field's number is its place here. It is in every stored session, so a new field must be added at the end."""

ROLE_CODES: Mapping[Role, int] = {role: code for code, role in enumerate(ROLES, 1)}
STATUS_CODES: Mapping[SessionStatus, int] = {status: code for code, status in enumerate(STATUSES, 1)}
FIELD_CODES: Mapping[str, int] = {name: code for code, name in enumerate(FIELDS, 1)}


class Reply(IntEnum):
    """The code of a script's reply: its first element, or the whole reply."""

    OK = 0
    MISSING = 1
    EXISTS = 2
    CONFLICT = 3
    STORED = 4
    CLOSED = 5
    FULL = 6
    BEHIND = 7
    NO_MESSAGE = 8
    KEPT = 9
    UNKNOWN = 10
    DONE = 11
    CHANGED = 12
    SAME = 13
    TAKEN = 14
    SLIDING = 15


@dataclass(frozen=True, slots=True)
class Script:
    """A script, and the digest under which a server keeps it."""

    source: str
    digest: str


def _constants() -> str:
    numbers = {
        **{reply.name: reply.value for reply in Reply},
        "ID_FIELD": FIELD_CODES["id"],
        "USER_FIELD": FIELD_CODES["user_id"],
        "SLIDING_FIELD": FIELD_CODES["sliding_ttl"],
        "SYSTEM": ROLE_CODES["system"],
        "LAST_ROLE": len(ROLES),
        "LAST_OPEN": STATUS_CODES["paused"],
        "FIELDS": len(FIELDS),
        "PLACES": 2**48,
        "NUMBERS": 2**52,
        "RECENT": -(2**52),
        "RESULTS": 2**20,
        "TRACES": 32,
        "TRACED": 8,
        "TRACE_LIFE": 50_000,
        "MOST": MAX_PAGE,
    }
    listed = ", ".join(repr(status) for status in STATUSES)
    return "".join(f"local {name} = {value}\n" for name, value in numbers.items()) + f"local STATUSES = {{{listed}}}\n"


def _read(name: str) -> str:
    return (files("session_continuity_redis") / "lua" / f"{name}.lua").read_text(encoding="utf-8")


def _script(name: str, shared: str) -> Script:
    source = shared + _read(name)
    return Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


_CONSTANTS = _constants()
_ACTIVITY = _CONSTANTS + _read("activity")
_SESSION = _ACTIVITY + _read("session")
_COLLECT = _SESSION + _read("collect")
_INDEX = _read("index")

_CHANGES = _SESSION + _INDEX + _read("changes")
_COPIES = _read("copies")

CREATE = _script("create", _CHANGES)
SESSIONS = _script("sessions", _COLLECT)
UPDATE = _script("update", _CHANGES)
TURN = _script("turn", _CHANGES)
FORK = _script("fork", _CHANGES + _COPIES)
FORK_READ = _script("fork_read", _SESSION + _COPIES)
FORK_WRITE = _script("fork_write", _CHANGES + _COPIES)
FORKS = _script("forks", _COLLECT + _COPIES)
BORN = _script("born", _SESSION + _COPIES)
DELETE = _script("delete", _SESSION + _INDEX)
APPEND = _script("append", _ACTIVITY)
MESSAGE = _script("message", _SESSION)
NAMES = _script("names", _SESSION)
PAGE = _script("page", _SESSION)
TAIL = _script("tail", _SESSION)
EDIT = _script("edit", _SESSION)
REMOVE = _script("remove", _SESSION)
CLEAR = _script("clear", _SESSION)
INDEX_ANNOUNCE = _script("index_announce", _ACTIVITY + _INDEX)
INDEX_PUT = _script("index_put", _ACTIVITY + _INDEX)
INDEX_FORGET = _script("index_forget", _ACTIVITY + _INDEX)
INDEX_LIST = _script("index_list", _COLLECT + _INDEX)
INDEX_FILL = _script("index_fill", _SESSION + _INDEX)
DAMAGE = _script("damage", _SESSION)
