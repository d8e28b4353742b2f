"""The commands together, and how a run ends.

Exit codes: 0 done; 1 the answer is no, or it failed; 2 the command line, the URL or the installation is not right, and
nothing was done; 130 interrupted.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import typer
import typer.main
from rich.console import Console

from session_continuity import (
    URL_VARIABLE,
    ConfigError,
    NotSupportedError,
    PluginError,
    SessionContinuityError,
    ValidationError,
    __version__,
)
from session_continuity.cli.demo import demo
from session_continuity.cli.output import complain
from session_continuity.cli.plugins import add_commands, plugins
from session_continuity.cli.proving import conformance, new_backend, new_extension
from session_continuity.cli.sessions import delete_sessions, list_sessions, show_session
from session_continuity.cli.stores import cleanup, health

__all__ = ["run"]

_FAILED, _USAGE = 1, 2
_USAGE_ERRORS = (ConfigError, NotSupportedError, PluginError, ValidationError)

_Command = tuple[str, Callable[..., None], Sequence[str]]
_COMMANDS: list[_Command] = [
    ("demo", demo, ["", "--url redis://localhost:6379/0", "--transcript chat.jsonl --max-tokens 2000"]),
    ("plugins", plugins, ["--check"]),
    ("health", health, ["sqlite:///chat.db"]),
    ("cleanup", cleanup, ["sqlite:///chat.db"]),
    ("conformance", conformance, ["memory://test sqlite:///test.db", "memory://test --mode async --clause SC-APP"]),
    ("new-backend", new_backend, ["mystore"]),
    ("new-extension", new_extension, ["mytrace --directory mytrace"]),
]
_SESSION_COMMANDS: list[_Command] = [
    ("list", list_sessions, ["sqlite:///chat.db --user u1 --limit 10"]),
    ("show", show_session, ["sqlite:///chat.db ID", "sqlite:///chat.db ID --messages 1000 --json"]),
    ("delete", delete_sessions, ["sqlite:///chat.db ID ID"]),
]


@dataclass
class _Settings:
    """What was said before the command."""

    with_traceback: bool = False


def run(arguments: Sequence[str], program: str) -> int:
    """Run one command and return the exit code. Errors are told on standard error, without a traceback."""
    code = _run(arguments, program)
    try:
        typer.echo(nl=False)
    except OSError as error:  # the answer did not leave this process; nor shall Python try again when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not code and not isinstance(error, BrokenPipeError):
            complain("error", str(error.strerror))
        return code or _FAILED
    return code


def _run(arguments: Sequence[str], program: str) -> int:
    settings = _Settings()
    app = _app(settings)
    problems = add_commands(app)
    for problem in problems:
        complain("warning", problem)
    try:
        typer.main.get_command(app)(args=list(arguments), prog_name=program)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except SessionContinuityError as error:
        _tell(error, error.message, settings, problems)
        return _USAGE if isinstance(error, _USAGE_ERRORS) else _FAILED
    except ModuleNotFoundError as error:
        _tell(error, f"this needs the module {error.name}, which is not installed", settings, problems)
        return _USAGE
    except OSError as error:
        _tell(error, error.strerror or type(error).__name__, settings, problems)
    except Exception as error:
        hint = f"{type(error).__name__}, which is a defect; see it with: {program} --traceback …"
        _tell(error, hint, settings, problems)
    return _FAILED


def _tell(error: Exception, message: str, settings: _Settings, told: Sequence[str]) -> None:
    if settings.with_traceback:
        traceback.print_exception(error)
    if message in told:
        message = "no store is opened while an extension is broken that may be meant to guard it"
    complain("error", message)


def _app(settings: _Settings) -> typer.Typer:
    is_rich = Console().is_terminal

    def options(
        version: Annotated[  # noqa: ARG001  # its callback does it all
            bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Say which version this is.")
        ] = False,
        with_traceback: Annotated[
            bool, typer.Option("--traceback", help="Show where an error comes from; may show secrets.")
        ] = False,
    ) -> None:
        settings.with_traceback = with_traceback

    app = _group(is_rich)
    app.callback(help=_flowing(_HELP), epilog=_examples(is_rich, "", ["demo", "sessions list sqlite:///chat.db"]))(
        options
    )
    sessions = _group(is_rich)
    for group, prefix, commands in ((app, "", _COMMANDS), (sessions, "sessions ", _SESSION_COMMANDS)):
        for name, function, examples in commands:
            explained = _flowing(function.__doc__ or "")
            group.command(name, help=explained, epilog=_examples(is_rich, f"{prefix}{name} ", examples))(function)
    app.add_typer(sessions, name="sessions", help="List, show and delete sessions.")
    return app


_HELP = f"""Durable conversations for AI agents.

A store is a URL, as in sqlite:///chat.db; where it is left out, {URL_VARIABLE} names it. On a terminal answers are for
eyes, in a pipe they are lines of tab-separated fields, and with --json they are JSON.

Exit codes: 0 done; 1 the answer is no, or it failed; 2 wrong command line, URL or installation; 130 interrupted.
"""


def _tell_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"session-continuity {__version__}")
        raise typer.Exit


def _group(is_rich: bool) -> typer.Typer:
    return typer.Typer(
        add_completion=False,
        invoke_without_command=False,
        no_args_is_help=True,
        rich_markup_mode="rich" if is_rich else None,
        pretty_exceptions_enable=False,
    )


def _flowing(text: str) -> str:
    """Paragraphs without line breaks of their own, so that they fill the terminal whatever its width."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _examples(is_rich: bool, command: str, arguments: Sequence[str]) -> str:
    lines = [f"session-continuity {command}{given}".rstrip() for given in arguments]
    if is_rich:
        return "\n".join(["[bold]For example[/bold]", *(f"  [cyan]{line}[/cyan]" for line in lines)])
    return "\n".join(["\b", "For example:", *(f"  {line}" for line in lines)])
