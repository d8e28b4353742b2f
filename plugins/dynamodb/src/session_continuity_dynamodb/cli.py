"""`session-continuity dynamodb …`: the table from the command line. Imports no AWS library until a command runs."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from session_continuity import ConfigError, SessionContinuityError, parse_url, run_now
from session_continuity_dynamodb.config import DynamoDBOptions

if TYPE_CHECKING:
    from session_continuity_dynamodb.wire import Wire

R = TypeVar("R")


class TemplateFormat(StrEnum):
    cloudformation = "cloudformation"
    terraform = "terraform"
    iam = "iam"


class IndexProjection(StrEnum):
    ALL = "ALL"
    KEYS_ONLY = "KEYS_ONLY"


Url = Annotated[
    str | None, typer.Argument(help="dynamodb://TABLE?region=…; else $SESSION_CONTINUITY_URL.", show_default=False)
]
Projection = Annotated[
    IndexProjection, typer.Option(help="What the indexes hold; KEYS_ONLY writes less and reads each session twice.")
]


def create_table(url: Url = None, projection: Projection = IndexProjection.ALL) -> None:
    """Make the table, wait until it serves, and switch its expiry on.

    A table that is there already stays as it is; `describe` says whether it fits.
    """
    from session_continuity_dynamodb import table

    options = _options(url)
    made = _with_wire(options, lambda wire: table.create_table(wire, projection=projection.value))
    typer.echo(f"table {options.table} {'is made' if made else 'was there already'}, and serves")


def describe(url: Url = None) -> None:
    """Check the table's keys, both indexes and its expiry, and say how to mend what is wrong.

    The exit code is 1 when something is.
    """
    from session_continuity_dynamodb import table

    options = _options(url)
    description, findings = _with_wire(options, table.examine)
    for line in table.summary(description):
        typer.echo(line)
    for finding in findings:
        typer.echo(f"wrong: {finding.problem}\n  mend: {finding.remedy}", err=True)
    if findings:
        raise typer.Exit(1)
    typer.echo("fits")


def template(
    url: Url = None,
    format: Annotated[TemplateFormat, typer.Option("--format", "-f")] = TemplateFormat.cloudformation,
    projection: Projection = IndexProjection.ALL,
) -> None:
    """Print the table as CloudFormation or Terraform, or the least permissions that this store needs."""
    from session_continuity_dynamodb import templates

    typer.echo(templates.template(format.value, _options(url).table, projection=projection.value), nl=False)


def _options(url: str | None) -> DynamoDBOptions:
    parsed = parse_url(url)
    if parsed.scheme != "dynamodb":
        raise ConfigError(f"this command is about a dynamodb:// URL, not one of {parsed.scheme}://")
    return DynamoDBOptions.from_url(parsed)


def _with_wire(options: DynamoDBOptions, work: Callable[[Wire], Coroutine[Any, Any, R]]) -> R:
    from session_continuity_dynamodb.adapter import wire_of
    from session_continuity_dynamodb.clients import client_for
    from session_continuity_dynamodb.errors import translate

    async def done() -> R:
        wire = wire_of(client_for(options, "blocking"), options, "blocking")
        try:
            return await work(wire)
        except SessionContinuityError:
            raise
        except Exception as error:
            raise translate(error, "table", options.table) from error
        finally:
            await wire.close()

    return run_now(done())


def add_commands(app: typer.Typer) -> None:
    """Add the group `dynamodb` to the command line."""
    group = typer.Typer(help="Tables of the DynamoDB store.", no_args_is_help=True)
    group.command("create-table")(create_table)
    group.command("describe")(describe)
    group.command("template")(template)
    app.add_typer(group, name="dynamodb")
