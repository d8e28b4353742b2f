"""The commands about the database, and the indexes that they print."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO
from typing import Any

import hcl2
import pytest
import typer
from typer.testing import CliRunner, Result

from session_continuity_firestore.database.cli import add_commands
from session_continuity_firestore.database.indexes import INDEXES, definition

from .bench import Bench

Says = Callable[..., Result]


@pytest.fixture
def says() -> Says:
    def run(*words: str) -> Result:
        app = typer.Typer()
        app.callback()(lambda: None)
        add_commands(app)
        return CliRunner().invoke(app, ["firestore", *words])

    return run


def test_indexes_are_printed_as_a_file(says: Says) -> None:
    done = says("indexes", "firestore://p?collection=talks")
    assert json.loads(done.stdout) == definition("talks")
    groups = {index["collectionGroup"] for index in json.loads(done.stdout)["indexes"]}
    assert groups == {"talks", "messages"}


def test_indexes_are_printed_as_terraform(says: Says) -> None:
    done = says("indexes", "firestore://p", "--format", "terraform")
    kinds = [next(iter(resource)) for resource in read(done.stdout)]
    assert [kind.strip('"') for kind in kinds] == ["google_firestore_index"] * len(INDEXES) + [
        "google_firestore_field"
    ] * 5


def test_indexes_are_printed_as_commands(says: Says) -> None:
    lines = says("indexes", "firestore://p/chat", "--format", "gcloud").stdout.splitlines()
    assert len(lines) == len(INDEXES) + 5
    assert all(line.startswith("gcloud firestore indexes ") and "--database=chat" in line for line in lines)


def test_a_template_has_the_database_and_a_role(says: Says) -> None:
    done = says("template", "firestore://p")
    kinds = {next(iter(resource)).strip('"') for resource in read(done.stdout)}
    assert {"google_firestore_database", "google_project_iam_custom_role", "google_firestore_index"} <= kinds
    role = json.loads(says("template", "firestore://p", "--format", "iam").stdout)
    assert "datastore.entities.update" in role["includedPermissions"]


def test_describe_asks_the_database(bench: Bench, says: Says) -> None:
    done = says("describe", bench.url)
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, "no index is missing")


def test_another_scheme_is_refused(says: Says) -> None:
    assert "needs a firestore:// URL" in str(says("indexes", "memory://").exception)


def read(text: str) -> list[dict[str, Any]]:
    parsed: dict[str, Any] = hcl2.load(StringIO(text))  # type: ignore[attr-defined]
    return list(parsed["resource"])
