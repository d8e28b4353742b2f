"""Subtle bugs, each written into a copy of a real plugin, and the clause that the suite has to name."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from session_continuity import Mode


@dataclass(frozen=True)
class Plant:
    """A bug in a package, the clause that it breaks, and the mode of the suite in which it always shows.

    An edit replaces a text of a file, in which it occurs once, by another.
    """

    clause: str
    package: str
    edits: tuple[tuple[str, str, str], ...]
    mode: Mode = "blocking"

    def write(self, directory: Path) -> None:
        """Copy the package into this directory, with the bug in it."""
        spec = find_spec(self.package)
        assert spec is not None
        (source,) = spec.submodule_search_locations or ()
        copy = directory / self.package
        shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
        for file, old, new in self.edits:
            text = (copy / file).read_text("utf-8")
            assert text.count(old) == 1, f"{self.package}/{file} does not have this text once:\n{old}"
            (copy / file).write_text(text.replace(old, new), "utf-8")


MEMORY = {
    "a cursor forgets sessions that expire at the same moment": Plant(
        "SC-PAG-008",
        "session_continuity_memory",
        (
            (
                "adapter.py",
                "if (key := conversation.expiry_key) > start)",
                "if (key := conversation.expiry_key)[0] > start[0])",
            ),
        ),
    ),
}

SQLITE = {
    "a listing cuts its page before it looks at tags": Plant(
        "SC-PAG-001",
        "session_continuity_sqlite",
        (
            ("session_rows.py", "        conditions.append(_any_tag(filter.tags, parameters))\n", "        pass\n"),
            (
                "session_rows.py",
                "    return Page(tuple(session for session in sessions if session is not None), more, unreadable)\n",
                "    listed = tuple(session for session in sessions if session and filter.matches(session))\n"
                "    return Page(listed, more if len(listed) == limit else None, unreadable)\n",
            ),
        ),
    ),
    "a cursor skips a message": Plant(
        "SC-PAG-005",
        "session_continuity_sqlite",
        (("message_pages.py", "encode_cursor(rows[query.limit - 1][0]", "encode_cursor(rows[query.limit][0]"),),
    ),
    "a session lives on at the very moment of its expiry": Plant(
        "SC-TTL-001",
        "session_continuity_sqlite",
        (("session_rows.py", "sessions.expires_at > :now", "sessions.expires_at >= :now"),),
    ),
    "a new session inherits the messages of an expired one of its id": Plant(
        "SC-TTL-006",
        "session_continuity_sqlite",
        (
            (
                "session_rows.py",
                "    connection.execute(_DELETE_EXPIRED, parameters)\n",
                '    mine = "namespace = :namespace AND id = :session_id"\n'
                '    revive = f"UPDATE sessions SET expires_at = :end WHERE {mine}"\n'
                "    end = codec.time_text(session.expires_at)\n"
                '    if connection.execute(f"{revive} AND NOT {LIVE}", {**parameters, "end": end}).rowcount:\n'
                "        return codec.detach(session)\n",
            ),
        ),
    ),
    "an edited role is not known to queries": Plant(
        "SC-MSG-004",
        "session_continuity_sqlite",
        (("message_rows.py", "    if changed.role != current.role:", "    if current.role == changed.role:"),),
    ),
    "times may go back after a removal": Plant(
        "SC-ORD-003",
        "session_continuity_sqlite",
        (
            (
                "message_rows.py",
                "last_message_at = (SELECT max(created_at) FROM messages WHERE session = :key)",
                "last_message_at = NULL",
            ),
        ),
    ),
    "two adapters lose an update": Plant(
        "SC-OCC-007",
        "session_continuity_sqlite",
        (
            (
                "adapter.py",
                "        return await self._write(session_rows.update, session_id, patch, expected_version)\n",
                "        current = await self._read(session_rows.get, session_id)\n"
                "        if current is not None and expected_version not in (None, current.version):\n"
                "            raise ConcurrencyError(\n"
                "                session_id, expected=expected_version, actual=current.version, current=current\n"
                "            )\n"
                "        return await self._write(session_rows.update, session_id, patch, None)\n",
            ),
            ("adapter.py", "    Appended,\n", "    Appended,\n    ConcurrencyError,\n"),
        ),
        mode="async",  # there a read and a write are two turns of a thread, and other updates come between them
    ),
}

REDIS = {
    "an update compares versions before the script, not in it": Plant(
        "SC-OCC-003",
        "session_continuity_redis",
        (
            (
                "sessions.py",
                '        expected = "" if expected_version is None else expected_version\n',
                '        expected = ""\n',
            ),
            (
                "sessions.py",
                "        code, (document, number, *is_behind) = await self._runner.write(\n",
                "        current = await self.get(session_id)\n"
                "        if current is not None and expected_version not in (None, current.version):\n"
                "            raise ConcurrencyError(\n"
                "                session_id, expected=expected_version, actual=current.version, current=current\n"
                "            )\n"
                "        code, (document, number, *is_behind) = await self._runner.write(\n",
            ),
        ),
    ),
    "a message is visible before it is counted": Plant(
        "SC-APP-017",
        "session_continuity_redis",
        (
            ("lua/append.lua", "= found[4] + #names - facts, '#count'", "= found[4], '#count'"),
            (
                "messages.py",
                "        return Appended(messages=tuple(batch), repeated=code == Reply.DONE, slides=slides)\n",
                "        count = Command('ZINCRBY', self._runner.keys.session(session_id), (len(batch), '#count'))\n"
                "        await self._runner.client.send_all([count])\n"
                "        return Appended(messages=tuple(batch))\n",
            ),
            ("messages.py", "import Age, Argument\n", "import Age, Argument, Command\n"),
        ),
    ),
    "messages after a moment include those of the moment": Plant(
        "SC-MSG-011",
        "session_continuity_redis",
        (("lua/page.lua", "first_later(packed(ARGV[5]), false)", "first_later(packed(ARGV[5]), true)"),),
    ),
    "namespaces that begin alike share an index": Plant(
        "SC-ISO-006",
        "session_continuity_redis",
        (("keys.py", "{{{escape(namespace)}:{number}}}", "{{{escape(namespace)[:-1]}:{number}}}"),),
    ),
}
