"""The Lua scripts, each complete with what it shares with the others, and the numbers that both sides agree on."""

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
)
"""A field's number is its place here, and is in every stored session: a new field goes to the end."""

ROLE_CODES: Mapping[Role, int] = {role: code for code, role in enumerate(ROLES, 1)}
STATUS_CODES: Mapping[SessionStatus, int] = {status: code for code, status in enumerate(STATUSES, 1)}
FIELD_CODES: Mapping[str, int] = {name: code for code, name in enumerate(FIELDS, 1)}


class Answer(IntEnum):
    """The first element of what a script on a session answers."""

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


@dataclass(frozen=True, slots=True)
class Script:
    """A script and the digest by which a server that has seen it knows it."""

    source: str
    digest: str


def _constants() -> str:
    numbers = {
        **{answer.name: answer.value for answer in Answer},
        "SYSTEM": ROLE_CODES["system"],
        "LAST_ROLE": len(ROLES),
        "LAST_OPEN": STATUS_CODES["paused"],
        "FIELDS": len(FIELDS),
        "PLACES": 2**48,
        "NUMBERS": 2**52,
        "RECENT": -(2**52),
        "ANSWERS": 2**24,
        "MOST": MAX_PAGE,
    }
    listed = ", ".join(repr(status) for status in STATUSES)
    return "".join(f"local {name} = {value}\n" for name, value in numbers.items()) + f"local STATUSES = {{{listed}}}\n"


def _read(name: str) -> str:
    return (files("session_continuity_redis") / "lua" / f"{name}.lua").read_text(encoding="utf-8")


def _script(name: str, shared: str) -> Script:
    source = shared + _read(name)
    return Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


_SESSION = _constants() + _read("session")
_INDEX = _read("index")

CREATE = _script("create", _SESSION)
SESSIONS = _script("sessions", _SESSION)
UPDATE = _script("update", _SESSION)
DELETE = _script("delete", _SESSION)
DELETED = _script("deleted", _SESSION)
APPEND = _script("append", _constants())
MESSAGE = _script("message", _SESSION)
PAGE = _script("page", _SESSION)
EDIT = _script("edit", _SESSION)
REMOVE = _script("remove", _SESSION)
CLEAR = _script("clear", _SESSION)
INDEX_PUT = _script("index_put", _INDEX)
INDEX_FORGET = _script("index_forget", _INDEX)
INDEX_LIST = _script("index_list", _INDEX)
