"""`session-continuity firestore …`: commands about the database. Imports none of Google's libraries until one runs."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from session_continuity import ConfigError, StorageError, parse_url, run_now
from session_continuity_firestore.config import BACKEND, FirestoreOptions


class IndexFormat(StrEnum):
    """What `indexes` prints."""

    json = "json"
    terraform = "terraform"
    gcloud = "gcloud"


class TemplateFormat(StrEnum):
    """What `template` prints."""

    terraform = "terraform"
    iam = "iam"


Url = Annotated[
    str | None,
    typer.Argument(help="firestore://PROJECT[/DATABASE]  Default: $SESSION_CONTINUITY_URL.", show_default=False),
]


def indexes(
    url: Url = None,
    format: Annotated[IndexFormat, typer.Option("--format", "-f")] = IndexFormat.json,
) -> None:
    """Print the indexes and the exemptions that the store's queries need: firestore.indexes.json, Terraform or gcloud.

    Nothing is created: indexes are the operator's.
    """
    from session_continuity_firestore.database import indexes as definitions, templates

    options = _options(url)
    if format is IndexFormat.json:
        text = definitions.as_json(options.collection)
    else:
        write = templates.gcloud if format is IndexFormat.gcloud else templates.terraform_indexes
        text = write(options.project, options.database, options.collection)
    typer.echo(text, nl=False)


def describe(url: Url = None) -> None:
    """Ask the database with each query that needs an index, and say which is missing and what needs it.

    The exit code is 1 if something is missing. An emulator needs no indexes, and so it misses none.
    """
    from session_continuity_firestore.database.check import Finding, missing_indexes
    from session_continuity_firestore.documents.names import Names
    from session_continuity_firestore.requests.client import Connection
    from session_continuity_firestore.requests.errors import translate

    options = _options(url)
    client = Connection.from_options(options, "blocking")

    async def ask() -> list[Finding]:
        try:
            return await missing_indexes(client, Names(client.database, options.collection, options.namespace))
        except Exception as error:
            translated = translate(error, client.database)
            if not isinstance(translated, StorageError):
                raise
            translated.locate(BACKEND, "describe")
            raise translated from error
        finally:
            await client.close()

    found = run_now(ask())
    typer.echo(f"database {client.database}, collection {options.collection}")
    for finding in found:
        fix = finding.link or f"session-continuity {BACKEND} indexes"
        typer.echo(f"missing: {finding.index}\n  needed by: {finding.needed_by}\n  fix: {fix}", err=True)
    if found:
        raise typer.Exit(1)
    typer.echo("no index is missing")


def template(
    url: Url = None,
    format: Annotated[TemplateFormat, typer.Option("--format", "-f")] = TemplateFormat.terraform,
) -> None:
    """Print the database, its indexes and a role as Terraform, or only the role with the least permissions."""
    from session_continuity_firestore.database import templates

    options = _options(url)
    if format is TemplateFormat.iam:
        text = templates.role()
    else:
        text = templates.terraform(options.project, options.database, options.collection)
    typer.echo(text, nl=False)


def _options(url: str | None) -> FirestoreOptions:
    parsed = parse_url(url)
    if parsed.scheme != BACKEND:
        raise ConfigError(f"this command needs a {BACKEND}:// URL, not {parsed.scheme}://")
    return FirestoreOptions.from_url(parsed)


def add_commands(app: typer.Typer) -> None:
    """Add the group `firestore` to the command line."""
    group = typer.Typer(help="Databases of the Firestore store.", no_args_is_help=True)
    group.command("indexes")(indexes)
    group.command("describe")(describe)
    group.command("template")(template)
    app.add_typer(group, name=BACKEND)
