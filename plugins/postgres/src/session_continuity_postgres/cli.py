"""`session-continuity postgres …`: commands about the tables. Imports no psycopg until a command runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from session_continuity import ConfigError, StorageError, parse_url, run_now
from session_continuity_postgres import schema as layout
from session_continuity_postgres.config import BACKEND, PostgresOptions

if TYPE_CHECKING:
    from session_continuity_postgres.setup import State

Url = Annotated[
    str | None,
    typer.Argument(help="postgresql://HOST/DATABASE?schema=…  Default: $SESSION_CONTINUITY_URL.", show_default=False),
]


def schema(url: Url = None) -> None:
    """Print the statements that create the tables, for a database in which the application may not.

    Asks no server. Run them as the owner, grant the application USAGE on the schema and SELECT, INSERT, UPDATE and
    DELETE on its tables, and open the store with create=false.
    """
    typer.echo(layout.ddl(_options(url).schema), nl=False)


def describe(url: Url = None) -> None:
    """Compare the schema with what this version needs, and say how to fix what is wrong.

    The exit code is 1 if something is wrong.
    """
    from session_continuity_postgres.setup import problem

    options = _options(url)
    name = str(options.schema)
    found = _ask(options, name)
    version = "none" if found.version is None else str(found.version)
    typer.echo(f"PostgreSQL {found.server}, encoding {found.encoding}; schema {name}, version {version}")
    if (wrong := problem(found, name)) is not None:
        typer.echo(f"problem: {wrong}", err=True)
        raise typer.Exit(1)
    typer.echo("the schema matches")


def _options(url: str | None) -> PostgresOptions:
    parsed = parse_url(url)
    if parsed.scheme not in ("postgresql", "postgres"):
        raise ConfigError(f"this command needs a postgresql:// URL, not {parsed.scheme}://")
    return PostgresOptions.from_url(parsed)


def _ask(options: PostgresOptions, name: str) -> State:
    """The server's answer. Errors of psycopg become errors of this project."""
    from session_continuity_postgres.connections import OwnedConnections
    from session_continuity_postgres.errors import translate
    from session_continuity_postgres.setup import state

    connections = OwnedConnections(options, "blocking")
    try:
        return run_now(state(connections, name))
    except Exception as error:
        translated = translate(error)
        if not isinstance(translated, StorageError):
            raise
        translated.locate(BACKEND, "describe")
        raise translated from error
    finally:
        run_now(connections.close())


def add_commands(app: typer.Typer) -> None:
    """Add the group `postgres` to the command line."""
    group = typer.Typer(help="The tables of the PostgreSQL store.", no_args_is_help=True)
    group.command("schema")(schema)
    group.command("describe")(describe)
    app.add_typer(group, name="postgres")
