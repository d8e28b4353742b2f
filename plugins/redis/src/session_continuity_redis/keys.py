"""Names of keys, and of the entries in an index. Percent-encoding keeps apart what is written together, and braces and
colons out of hash tags."""

from __future__ import annotations

import json
from collections.abc import Iterable
from urllib.parse import quote
from zlib import crc32

from session_continuity import Session, SessionFilter, format_timestamp

TIMESTAMP = len("2026-01-01T00:00:00.000Z")


def escaped(text: str) -> str:
    """The text in letters, digits and `_.-~%`."""
    return quote(text, safe="")


class Keys:
    """The keys of one namespace. `parts` is how many keys its index has."""

    def __init__(self, prefix: str, namespace: str, parts: int) -> None:
        self._session = f"{prefix}:s:{{{escaped(namespace)}:"
        self._parts = [f"{prefix}:i:{{{escaped(namespace)}:{number}}}" for number in range(parts)]

    def session(self, session_id: str) -> str:
        return f"{self._session}{escaped(session_id)}}}"

    def index_of(self, session_id: str) -> str:
        """The part of the index that holds this session."""
        return self._parts[crc32(session_id.encode()) % len(self._parts)]

    def index(self) -> list[str]:
        """Every part of the index."""
        return self._parts


def entry_of(session: Session) -> str:
    """A session's place in every list."""
    return f"{format_timestamp(session.created_at)}|{session.id}"


def id_of(entry: str) -> str:
    return entry[TIMESTAMP + 1 :]


def facts_of(session: Session) -> str:
    """What the index has to know of a session: its entry, then the names under which the entry stands."""
    names = ["a", status_name(session.status), *map(tag_name, dict.fromkeys(session.metadata.tags))]
    if session.user_id is not None:
        names.append(user_name(session.user_id))
    if session.active_agent_id is not None:
        names.append(agent_name(session.active_agent_id))
    if session.expires_at is not None:
        names.append(f"x|{format_timestamp(session.expires_at)}")
    return json.dumps([entry_of(session), *names], ensure_ascii=False)


def user_name(user_id: str) -> str:
    return f"u|{escaped(user_id)}"


def agent_name(agent_id: str) -> str:
    return f"g|{escaped(agent_id)}"


def tag_name(tag: str) -> str:
    return f"t|{escaped(tag)}"


def status_name(status: str) -> str:
    return f"s|{status}"


def names_of(filter: SessionFilter) -> tuple[list[str], list[list[str]]]:
    """How to read a filter from the index: the names to walk, all of them, and for each further condition the names
    under one of which an entry must stand. The condition that fewest sessions meet, as a rule, is walked."""
    groups: list[list[str]] = []
    if filter.user_id is not None:
        groups.append([user_name(filter.user_id)])
    if filter.active_agent_id is not None:
        groups.append([agent_name(filter.active_agent_id)])
    if filter.tags:
        groups.append(sorted(map(tag_name, filter.tags)))
    if filter.status is not None:
        groups.append([status_name(filter.status)])
    return (groups[0], groups[1:]) if groups else (["a"], [])


def merged(lists: Iterable[Iterable[str]], horizon: str) -> list[str]:
    """The entries of several lists, newest first, each once, without those before `horizon`, up to which all lists
    were read."""
    return sorted({entry for entries in lists for entry in entries if entry >= horizon}, reverse=True)
