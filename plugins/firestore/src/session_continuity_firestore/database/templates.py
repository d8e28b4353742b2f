"""Indexes and permissions as text: Terraform, `gcloud` commands, and a role with the least permissions."""

from __future__ import annotations

import json
import shlex
from typing import Any

from session_continuity_firestore.database.indexes import INDEXES, Index, overrides

PERMISSIONS = (
    "datastore.databases.get",
    "datastore.entities.create",
    "datastore.entities.delete",
    "datastore.entities.get",
    "datastore.entities.list",
    "datastore.entities.update",
)


def role() -> str:
    """A role for `gcloud iam roles create sessionContinuity --project=PROJECT --file=FILE`."""
    content = {"title": "session-continuity", "stage": "GA", "includedPermissions": list(PERMISSIONS)}
    return json.dumps(content, indent=2) + "\n"


def gcloud(project: str, database: str, sessions: str) -> str:
    """The commands that create the indexes and the exemptions."""
    where = [f"--project={project}", f"--database={database}"]
    lines = [_command(["indexes", "composite", "create", *where, *_composite(index, sessions)]) for index in INDEXES]
    for each in overrides(sessions):
        group, path = each["collectionGroup"], each["fieldPath"]
        stated = [f"--index=order={index['order'].lower()}" for index in each["indexes"]] or ["--disable-indexes"]
        lines.append(_command(["indexes", "fields", "update", path, *where, f"--collection-group={group}", *stated]))
    return "\n".join(lines) + "\n"


def _composite(index: Index, sessions: str) -> list[str]:
    arguments = [f"--collection-group={index.collection(sessions)}", "--query-scope=collection"]
    for field in index.fields():
        kind = "array-config=contains" if "arrayConfig" in field else f"order={field['order'].lower()}"
        arguments.append(f"--field-config=field-path={field['fieldPath']},{kind}")
    return arguments


def _command(words: list[str]) -> str:
    return shlex.join(["gcloud", "firestore", *words])


def terraform_indexes(project: str, database: str, sessions: str) -> str:
    """The indexes and the exemptions as Terraform resources."""
    place = {"project": project, "database": database}
    blocks: list[str] = []
    for index in INDEXES:
        group = index.collection(sessions)
        fields = [_block("fields", _snake(field)) for field in index.fields()]
        name = f"{group}_{index.field}_{index.order}".replace(".", "_").lower()
        blocks.append(_resource("google_firestore_index", name, {**place, "collection": group}, fields))
    for each in overrides(sessions):
        group, path = each["collectionGroup"], each["fieldPath"]
        entries = [_block("indexes", {"order": index["order"]}, 4) for index in each["indexes"]]
        config = "\n".join(["  index_config {", *entries, "  }"]) if entries else "  index_config {}"
        name = f"{group}_{'all' if path == '*' else path}".lower()
        blocks.append(
            _resource("google_firestore_field", name, {**place, "collection": group, "field": path}, [config])
        )
    return "\n".join(blocks)


def terraform(project: str, database: str, sessions: str) -> str:
    """The database, its indexes, and the role, as Terraform resources."""
    settings = {"project": project, "name": database, "location_id": "nam5", "type": "FIRESTORE_NATIVE"}
    own_role = {"project": project, "role_id": "sessionContinuity", "title": "session-continuity"}
    permissions = "  permissions = " + json.dumps(list(PERMISSIONS))
    return "\n".join(
        [
            _resource("google_firestore_database", "sessions", settings, []),
            _resource("google_project_iam_custom_role", "session_continuity", own_role, [permissions]),
            terraform_indexes(project, database, sessions),
        ]
    )


def _snake(field: dict[str, str]) -> dict[str, Any]:
    known = {"fieldPath": "field_path", "arrayConfig": "array_config", "order": "order"}
    return {known[name]: value for name, value in field.items()}


def _block(name: str, settings: dict[str, Any], indent: int = 2) -> str:
    inside = "\n".join(f"{' ' * (indent + 2)}{key} = {json.dumps(value)}" for key, value in settings.items())
    return f"{' ' * indent}{name} {{\n{inside}\n{' ' * indent}}}"


def _resource(kind: str, name: str, settings: dict[str, Any], blocks: list[str]) -> str:
    inside = "\n".join([*(f"  {key} = {json.dumps(value)}" for key, value in settings.items()), *blocks])
    return f'resource "{kind}" "{name}" {{\n{inside}\n}}\n'
