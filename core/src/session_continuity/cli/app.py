"""The commands, their common options, and the exit code of a run.

Exit codes: 0 done; 1 failed, or a negative result; 2 wrong command line, URL or installation, and nothing was done; 130
interrupted.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
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
from session_continuity.cli.branches import erase_user, show_forks
from session_continuity.cli.conformance import conformance, new_backend, new_extension
from session_continuity.cli.demo import demo
from session_continuity.cli.imports import import_conversations
from session_continuity.cli.output import print_notice
from session_continuity.cli.plugins import add_commands, plugins
from session_continuity.cli.sessions import delete_sessions, list_sessions, search_messages, show_session
from session_continuity.cli.stores import cleanup, health, setup

__all__ = ["run"]

_FAILED, _USAGE = 1, 2
_USAGE_ERRORS = (ConfigError, NotSupportedError, PluginError, ValidationError)

_Command = tuple[str, Callable[..., None], Sequence[str]]
_COMMANDS: list[_Command] = [
    ("demo", demo, ["", "--url redis://localhost:6379/0", "--transcript chat.jsonl --max-tokens 2000"]),
    (
        "import",
        import_conversations,
        ["conversations.json sqlite:///chat.db", "--from openai-agents old.db sqlite:///chat.db"],
    ),
    ("plugins", plugins, ["--check"]),
    ("setup", setup, ["sqlite:///chat.db"]),
    ("health", health, ["sqlite:///chat.db"]),
    ("cleanup", cleanup, ["sqlite:///chat.db"]),
    ("conformance", conformance, ["memory://test sqlite:///test.db", "memory://test --mode async --clause SC-APP"]),
    ("new-backend", new_backend, ["mystore"]),
    ("new-extension", new_extension, ["mytrace --directory mytrace"]),
]
_SESSION_COMMANDS: list[_Command] = [
    ("list", list_sessions, ["sqlite:///chat.db --user u1 --limit 10"]),
    ("search", search_messages, ["sqlite:///chat.db?search=true invoice --user u1"]),
    ("show", show_session, ["sqlite:///chat.db ID", "sqlite:///chat.db ID --messages 1000 --json"]),
    ("forks", show_forks, ["sqlite:///chat.db ID"]),
    ("delete", delete_sessions, ["sqlite:///chat.db ID ID"]),
    ("erase", erase_user, ["sqlite:///chat.db USER"]),
]


@dataclass
class _Run:
    """One run of the program: its name, the options before the command, and the extensions reported as broken."""

    program: str
    with_traceback: bool = False
    broken_extensions: set[str | None] = field(default_factory=set[str | None])

    def report(self, error: Exception) -> int:
        """Print an error to standard error, and return the exit code."""
        if self.with_traceback:
            traceback.print_exception(error)
        print_notice("error", self._message(error))
        return _USAGE if isinstance(error, (*_USAGE_ERRORS, ModuleNotFoundError)) else _FAILED

    def _message(self, error: Exception) -> str:
        match error:
            case PluginError(extension=str(name)) if name in self.broken_extensions:
                return "an extension failed to load, so no store was opened: the extension may be needed to protect it"
            case SessionContinuityError():
                return error.message
            case ModuleNotFoundError():
                return f"the module {error.name} is needed and not installed"
            case OSError():
                return error.strerror or type(error).__name__
            case _:
                kind = type(error).__name__
                return f"Internal error ({kind}). This is a bug; run `{self.program} --traceback …` to see where."


def run(arguments: Sequence[str], program: str) -> int:
    """Run one command and return the exit code. Errors are printed to standard error, without a traceback."""
    code = _run_command(arguments, _Run(program))
    try:
        typer.echo(nl=False)
    except OSError as error:
        # The output was not written. At exit Python would try again and print its own error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not code and not isinstance(error, BrokenPipeError):
            print_notice("error", str(error.strerror))
        return code or _FAILED
    return code


def _run_command(arguments: Sequence[str], run: _Run) -> int:
    app = _app(run)
    for error in add_commands(app):
        run.broken_extensions.add(error.extension)
        print_notice("warning", error.message)
    try:
        typer.main.get_command(app)(args=list(arguments), prog_name=run.program)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except Exception as error:
        return run.report(error)
    return 0


def _app(run: _Run) -> typer.Typer:
    is_rich = Console().is_terminal

    def options(
        version: Annotated[  # noqa: ARG001  # the callback does everything
            bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
        ] = False,
        with_traceback: Annotated[
            bool, typer.Option("--traceback", help="Show where an error was raised. May show secrets.")
        ] = False,
    ) -> None:
        run.with_traceback = with_traceback

    app = _group(is_rich)
    app.callback(help=_unwrap(_HELP), epilog=_examples(is_rich, "", ["demo", "sessions list sqlite:///chat.db"]))(
        options
    )
    sessions = _group(is_rich)
    for group, prefix, commands in ((app, "", _COMMANDS), (sessions, "sessions ", _SESSION_COMMANDS)):
        for name, function, examples in commands:
            text = _unwrap(function.__doc__ or "")
            group.command(name, help=text, epilog=_examples(is_rich, f"{prefix}{name} ", examples))(function)
    app.add_typer(sessions, name="sessions", help="List, show and delete sessions.")
    return app


_HELP = f"""Durable conversations for AI agents.

A store is named by a URL, such as sqlite:///chat.db. Without one, the URL in {URL_VARIABLE} is used. Output is
formatted on a terminal, lines of tab-separated fields in a pipe, and JSON with --json.

Exit codes: 0 done; 1 failed, or a negative result; 2 wrong command line, URL or installation; 130 interrupted.
"""


def _print_version(wanted: bool) -> None:
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


def _unwrap(text: str) -> str:
    """The text with each paragraph on one line, which then wraps at the width of the terminal."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _examples(is_rich: bool, command: str, arguments: Sequence[str]) -> str:
    lines = [f"session-continuity {command}{rest}".rstrip() for rest in arguments]
    if is_rich:
        return "\n".join(["[bold]For example[/bold]", *(f"  [cyan]{line}[/cyan]" for line in lines)])
    return "\n".join(["\b", "For example:", *(f"  {line}" for line in lines)])
