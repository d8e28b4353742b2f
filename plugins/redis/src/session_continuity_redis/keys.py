"""The names of keys and of entries in the index. Pure.

Texts of the application are percent-encoded in them. So they cannot run into what stands beside them, and hold neither
braces nor colons, which have a meaning in keys.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote
from zlib import crc32

from session_continuity import ListingPlace, Session, SessionFilter, SessionMetadata, format_timestamp

TIMESTAMP = len("2026-01-01T00:00:00.000Z")

_needs_no_escape = re.compile(r"[A-Za-z0-9_.~-]*").fullmatch


def escape(text: str) -> str:
    """The text in letters, digits and `_.-~%`."""
    # Most ids are such texts already. `quote` takes five times as long to find that out.
    return text if _needs_no_escape(text) else quote(text, safe="")


class Keys:
    """The keys of one namespace. Its index has `parts` keys. `session_parts` are the texts before and after an id.

    With `by_activity`, each part has sets of its sessions by activity: one for all, and one for each user.
    """

    def __init__(self, prefix: str, namespace: str, parts: int, *, by_activity: bool = False) -> None:
        self._by_activity = by_activity
        self.session_parts = f"{prefix}:s:{{{escape(namespace)}:", "}"
        self._parts = [f"{prefix}:i:{{{escape(namespace)}:{number}}}" for number in range(parts)]

    def session(self, session_id: str) -> str:
        """The key of a session."""
        before, after = self.session_parts
        return f"{before}{escape(session_id)}{after}"

    def index_of(self, session_id: str) -> str:
        """The part of the index that holds this session."""
        return self._parts[crc32(session_id.encode()) % len(self._parts)]

    def with_activity(self, part: str) -> list[str]:
        """The keys that scripts on a part of the index get: its own, and that of all its sessions by activity."""
        return [part, activity_key(part)] if self._by_activity else [part]

    def index(self) -> list[str]:
        """Every part of the index."""
        return self._parts


def activity_key(part: str) -> str:
    """The key of all sessions by activity in a part of the index. A user's is this, a colon and the escaped user."""
    return f"{part}:r"


def entry_of(session: Session) -> str:
    """A session's position in every list."""
    return f"{format_timestamp(session.created_at)}|{session.id}"


def id_of(entry: str) -> str:
    """The session's id in an entry."""
    return entry[TIMESTAMP + 1 :]


def place_of(entry: str) -> ListingPlace:
    """The place in a listing that an entry stands for. In a listing by activity, its time is that of the activity."""
    return ListingPlace(entry[:TIMESTAMP], id_of(entry))


def entry_at(place: ListingPlace) -> str:
    """The entry of a place."""
    return f"{place.moment}|{place.id}"


def facts_of(session: Session, *further: str) -> str:
    """What the index holds of a session, as a JSON list: its entry, then the names under which the entry stands.

    The names are those that its fields and `further` say.
    """
    _, names = names_of_change({field: getattr(session, field) for field in _INDEXED})
    return json.dumps([entry_of(session), "a", *names, *further], ensure_ascii=False)


def names_of_change(values: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The first letters of the names that depend on these fields of a session, and the names for these values."""
    letters, names = "", list[str]()
    for field, (letter, names_for) in _INDEXED.items():
        if field in values:
            letters += letter
            names += names_for(values[field])
    return letters, names


def user_name(user_id: str) -> str:
    """The name of the list of a user's sessions."""
    return f"u|{escape(user_id)}"


def agent_name(agent_id: str) -> str:
    """The name of the list of the sessions in which an agent is active."""
    return f"g|{escape(agent_id)}"


def tag_name(tag: str) -> str:
    """The name of the list of the sessions with a tag."""
    return f"t|{escape(tag)}"


def status_name(status: str) -> str:
    """The name of the list of the sessions with a status."""
    return f"s|{status}"


def fork_name(source_id: str, born: str) -> str:
    """The name of the list of the sessions that were forked from a session."""
    return f"k|{escape(source_id)}|{born}"


def lists_of(filter: SessionFilter) -> tuple[list[str], list[list[str]]]:
    """How the index answers a filter: the names of the lists to walk, and for each further condition the names of the
    lists of which one must hold the entry. The lists to walk are those that are shortest as a rule. By activity there
    are only those of all sessions and of a user's."""
    groups: list[list[str]] = []
    if filter.user_id is not None:
        groups.append([user_name(filter.user_id)])
    elif filter.is_by_activity:
        groups.append(["a"])
    if filter.active_agent_id is not None:
        groups.append([agent_name(filter.active_agent_id)])
    if filter.tags:
        groups.append(sorted(map(tag_name, filter.tags)))
    if filter.status is not None:
        groups.append([status_name(filter.status)])
    return (groups[0], groups[1:]) if groups else (["a"], [])


def merge(
    lists: Iterable[Iterable[str]], reached: Sequence[str], *, is_downwards: bool
) -> tuple[list[str], str | None]:
    """The entries of several lists, in order, each once, and the entry up to which all lists were read.

    `reached` are the entries up to which lists were read that go on. Entries behind the first of these are left out.
    """
    horizon = (max if is_downwards else min)(reached, default=None)
    found = {entry for entries in lists for entry in entries}
    if horizon is not None:
        found = {entry for entry in found if (entry >= horizon if is_downwards else entry <= horizon)}
    return sorted(found, reverse=is_downwards), horizon


def _names_of_tags(metadata: SessionMetadata | None) -> list[str]:
    return [] if metadata is None else [*map(tag_name, dict.fromkeys(metadata.tags))]


_INDEXED: Mapping[str, tuple[str, Callable[[Any], list[str]]]] = {
    "status": ("s", lambda status: [status_name(status or "active")]),
    "metadata": ("t", _names_of_tags),
    "user_id": ("u", lambda user_id: [] if user_id is None else [user_name(user_id)]),
    "active_agent_id": ("g", lambda agent_id: [] if agent_id is None else [agent_name(agent_id)]),
    "expires_at": ("x", lambda moment: [] if moment is None else [f"x|{format_timestamp(moment)}"]),
}
"""The fields of a session that the index depends on: the first letter of their names, and the names for a value."""
