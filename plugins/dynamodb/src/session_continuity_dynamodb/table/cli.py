"""`session-continuity dynamodb …`: commands about the table. Imports no AWS library until a command runs."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from session_continuity import ConfigError, StorageError, parse_url, run_now
from session_continuity_dynamodb.config import DynamoDBOptions

if TYPE_CHECKING:
    from session_continuity_dynamodb.requests.sender import Sender

R = TypeVar("R")


class TemplateFormat(StrEnum):
    """What `template` prints."""

    cloudformation = "cloudformation"
    terraform = "terraform"
    iam = "iam"


class IndexProjection(StrEnum):
    """What the indexes hold."""

    ALL = "ALL"
    KEYS_ONLY = "KEYS_ONLY"


Url = Annotated[
    str | None,
    typer.Argument(help="dynamodb://TABLE?region=…  Default: $SESSION_CONTINUITY_URL.", show_default=False),
]
Projection = Annotated[
    IndexProjection,
    typer.Option(help="What the indexes hold. With KEYS_ONLY writes cost less, and listings read each session twice."),
]


def create_table(url: Url = None, projection: Projection = IndexProjection.ALL) -> None:
    """Create the table, turn its expiry on, and wait until it is active.

    An existing table is not changed. One of another form is refused. `describe` checks the rest.
    """
    from session_continuity_dynamodb.table import creation

    options = _options(url)
    created = _run(options, "create-table", lambda sender: creation.create_table(sender, projection=projection.value))
    state = "was created and is active" if created else "already exists and is active; it was not changed"
    typer.echo(f"table {options.table} {state}")


def describe(url: Url = None) -> None:
    """Check the table's keys, both indexes and its expiry, and say how to fix what is wrong.

    The exit code is 1 if something is wrong.
    """
    from session_continuity_dynamodb.table import check

    description, findings = _run(_options(url), "describe", check.examine_table)
    for line in check.summary(description):
        typer.echo(line)
    for finding in findings:
        typer.echo(f"problem: {finding.problem}\n  fix: {finding.remedy}", err=True)
    if findings:
        raise typer.Exit(1)
    typer.echo("the table matches")


def template(
    url: Url = None,
    format: Annotated[TemplateFormat, typer.Option("--format", "-f")] = TemplateFormat.cloudformation,
    projection: Projection = IndexProjection.ALL,
) -> None:
    """Print the table as CloudFormation or Terraform, or the least permissions that the store needs."""
    from session_continuity_dynamodb.table import templates

    typer.echo(templates.template(format.value, _options(url).table, projection=projection.value), nl=False)


def _options(url: str | None) -> DynamoDBOptions:
    parsed = parse_url(url)
    if parsed.scheme != "dynamodb":
        raise ConfigError(f"this command needs a dynamodb:// URL, not {parsed.scheme}://")
    return DynamoDBOptions.from_url(parsed)


def _run(options: DynamoDBOptions, command: str, work: Callable[[Sender], Coroutine[Any, Any, R]]) -> R:
    """The result of some requests. Errors of the client become errors of this project."""
    from session_continuity_dynamodb.requests.client import client_for
    from session_continuity_dynamodb.requests.errors import BACKEND, translate
    from session_continuity_dynamodb.requests.sender import Sender

    async def send() -> R:
        sender = Sender.from_options(client_for(options, "blocking"), options, "blocking")
        try:
            return await work(sender)
        except StorageError as error:
            error.locate(BACKEND, command)
            raise
        except Exception as error:
            translated = translate(error, options.table)
            if not isinstance(translated, StorageError):
                raise
            translated.locate(BACKEND, command)
            raise translated from error
        finally:
            await sender.close()

    return run_now(send())


def add_commands(app: typer.Typer) -> None:
    """Add the group `dynamodb` to the command line."""
    group = typer.Typer(help="Tables of the DynamoDB store.", no_args_is_help=True)
    group.command("create-table")(create_table)
    group.command("describe")(describe)
    group.command("template")(template)
    app.add_typer(group, name="dynamodb")
