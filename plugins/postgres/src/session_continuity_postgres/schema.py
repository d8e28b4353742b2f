"""The tables and functions in the database, their versions, and how a database gets them.

Each migration is a list of files in `sql`. A released one is never changed. A migration only adds: functions have a
version in their names, so processes of an older version go on while one of a newer version migrates.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Final

MIGRATIONS: Final = (("tables", "patch", "turns", "sessions", "edits"),)
VERSION: Final = len(MIGRATIONS)

_FIXED = ("head", "created_at", "version")
CHANGEABLE: Final = (
    "user_id",
    "active_agent_id",
    "status",
    "tags",
    "expires_at",
    "hard_limit",
    "title",
    "metadata",
    "participants",
    "handoffs",
    "token_budget",
    "compression",
    "compression_state",
    "sliding_ttl",
)
"""The columns of a session that a patch may change."""

_COUNTED = "message_count, token_count, system_count, last_activity_at, last_created_at, next_place"

_UTC = "to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"


def milliseconds(column: str) -> str:
    """An expression for a time as milliseconds since 1970."""
    return f"(extract(epoch FROM {column}) * 1000)::bigint"


SESSION: Final = (
    "concat(s.head, ',\"user_id\":' || to_json(s.user_id)::text, "
    "',\"active_agent_id\":' || to_json(s.active_agent_id)::text, "
    "',\"status\":\"' || s.status || '\"', "
    + "".join(f"',\"{name}\":' || s.{name}, " for name in CHANGEABLE[7:])
    + f"',\"last_activity_at\":\"' || {_UTC.format('s.last_activity_at')} || '\"', "
    f"',\"expires_at\":\"' || {_UTC.format('s.expires_at')} || '\"', "
    "',\"version\":', s.version, ',\"message_count\":', s.message_count, ',\"token_count\":', s.token_count, "
    "CASE WHEN s.system_count > 0 THEN ',\"system_message_ids\":[' || ("
    "SELECT string_agg(to_json(y.id)::text, ',' ORDER BY y.created_at, y.place) FROM {schema}.messages y "
    "WHERE y.session_key = s.key AND y.role = 'system') || ']' END, '}')"
)
"""An expression for the JSON of a row s of the sessions. Its ids are as the columns hold them."""

ROW_COLUMNS: Final = (
    f"m.place, m.id, m.role, {milliseconds('m.created_at')}, m.tokens, m.content, m.blocks, m.metadata, "
    f"{milliseconds('m.updated_at')}"
)
"""The columns of a row m of the messages, as `codec.MessageRow` has them."""

_LIVE = (
    "t.namespace = p_namespace AND t.id = {} AND (t.expires_at IS NULL OR t.expires_at > p_now) "
    "AND (p_owner IS NULL OR t.user_id = p_owner)"
)

_INSERT = """INSERT INTO {schema}.messages
            (session_key, created_at, place, id, role, tokens, content, blocks, metadata, updated_at)
            SELECT old.key, b.created_at, old.next_place + b.n - 1, b.id, b.role, b.tokens, b.content, b.blocks,
                b.metadata, b.updated_at
            FROM ROWS FROM (json_to_recordset(p_batch) AS (
                id text, role text, tokens bigint, created_at timestamptz, content text, blocks text, metadata text,
                updated_at timestamptz
            )) WITH ORDINALITY AS b (id, role, tokens, created_at, content, blocks, metadata, updated_at, n)"""

_PARTS: Mapping[str, str] = {
    "{fixed}": ", ".join(_FIXED),
    "{n.fixed}": ", ".join(f"n.{name}" for name in _FIXED),
    "{changeable}": ", ".join(CHANGEABLE),
    "{n.changeable}": ", ".join(f"n.{name}" for name in CHANGEABLE),
    "{counted}": _COUNTED,
    "{session}": SESSION,
    "{row}": f"json_build_array({ROW_COLUMNS})",
    "{live}": _LIVE.format("p_session"),
    "{live_source}": _LIVE.format("p_source"),
    "{insert}": _INSERT,
    "{removed}": "count(*) AS messages, coalesce(sum(m.tokens), 0) AS tokens, "
    "count(*) FILTER (WHERE m.role = 'system') AS systems",
}
"""What stands in the files for parts that several functions, or Python, have in common."""

_LAYOUT = (
    "CREATE TABLE {schema}.layout (version integer NOT NULL, created_at timestamptz NOT NULL DEFAULT now())",
    "COMMENT ON TABLE {schema}.layout IS 'The migrations that this schema has had, by session-continuity'",
)
_END = re.compile(r";\n(?=\n|--|CREATE|COMMENT)")
"""The end of a statement in a file. What is inside of a function is indented."""

_OBJECT = re.compile(r"CREATE (?:UNIQUE )?(?P<kind>TABLE|INDEX|FUNCTION) (?:\{schema\}\.)?(?P<name>\w+)")


@cache
def migration(number: int, schema: str) -> Sequence[str]:
    """The statements that bring a database from version `number - 1` to `number`, the schema itself left out."""
    first = _LAYOUT if number == 1 else ()
    texts = [statement for name in MIGRATIONS[number - 1] for statement in _END.split(_file(name))]
    statements = [*first, *texts, f"INSERT INTO {{schema}}.layout (version) VALUES ({number})"]
    return [statement.replace("{schema}", schema).strip().removesuffix(";") for statement in statements]


def ddl(schema: str) -> str:
    """Every migration, for a database whose application may not create tables."""
    statements = [f"CREATE SCHEMA IF NOT EXISTS {schema}"]
    for number in range(1, VERSION + 1):
        statements += migration(number, schema)
    return ";\n\n".join(statements) + ";\n"


@cache
def expected_objects() -> frozenset[tuple[str, str]]:
    """The kind (table, index or function) and the name of everything that the migrations create."""
    texts = [*_LAYOUT, *(_file(name) for names in MIGRATIONS for name in names)]
    found = {(match["kind"].lower(), match["name"]) for text in texts for match in _OBJECT.finditer(text)}
    return frozenset({*found, ("index", "sessions_pkey"), ("index", "messages_in_order")})


def _file(name: str) -> str:
    text = (files("session_continuity_postgres") / "sql" / f"{name}.sql").read_text(encoding="utf-8")
    for mark, part in _PARTS.items():
        text = text.replace(mark, part)
    return text
