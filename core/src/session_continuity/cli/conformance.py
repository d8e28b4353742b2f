"""The commands `conformance`, `new-backend` and `new-extension`, which need the conformance suite."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import GenericAlias
from typing import Annotated, Any

import typer

from session_continuity import URL_VARIABLE, ConfigError
from session_continuity.cli.arguments import Json
from session_continuity.cli.output import Output, styled

__all__ = ["conformance", "new_backend", "new_extension"]


def conformance(*, as_json: bool = False, **options: Any) -> None:
    """Test that stores conform to the contract.

    Each clause of the contract is tested in every mode of each store. The suite writes to the stores and removes what
    it wrote. Exit code 0: conformant, 1: not conformant, 2: nothing could run.
    """
    with _require_suite():
        from session_continuity_conformance.options import SuiteOptions
        from session_continuity_conformance.runner import run
    stated = {name: value for name, value in options.items() if value not in (None, [])}
    if not stated.keys() & {"urls", "harness"}:
        if not os.environ.get(URL_VARIABLE):
            raise typer.BadParameter(f"name a store, for example memory://test, or set {URL_VARIABLE}")
        stated["urls"] = [os.environ[URL_VARIABLE]]
    done = run(SuiteOptions(**stated), output=sys.stderr if as_json else None)
    if done.reports:
        Output(as_json=as_json).document(done.document())
    raise typer.Exit(done.exit_code)


def _parameters() -> Iterator[inspect.Parameter]:
    """The parameters of `conformance`: the options that the suite defines, and `--json`."""
    try:
        from session_continuity_conformance.options import options
    except ModuleNotFoundError:
        yield _parameter("urls", list[str], typer.Argument(None, metavar="URL"))
        return
    for option in options():
        is_url = option.name == "urls"
        info: Callable[..., Any] = typer.Argument if is_url else typer.Option
        more = f" Default: {URL_VARIABLE}." if is_url else " Repeatable." if option.repeatable else ""
        default = None if option.repeatable else option.default
        annotation = GenericAlias(list, (option.type,)) if option.repeatable else option.type
        yield _parameter(option.name, annotation, info(default, metavar=option.metavar, help=option.help + more))
    yield _parameter("as_json", Json, False)


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


# Typer reads the signature. It is built here, so that the options are defined once, in the suite.
conformance.__signature__ = inspect.Signature(list(_parameters()))  # type: ignore[attr-defined]


_Name = Annotated[str, typer.Argument(metavar="NAME", help="In lower case, such as mystore.")]
_Scheme = Annotated[str | None, typer.Option(metavar="SCHEME", help="The scheme of the URL. Default: NAME.")]
_Directory = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="The new directory. Default: session-continuity-NAME."),
]


def new_backend(name: _Name, directory: _Directory = None, scheme: _Scheme = None, as_json: Json = False) -> None:
    """Start a new backend.

    Writes a complete distribution with the methods of the contract to fill in. Beside each method are the clauses that
    test it. Its URLs are NAME://, or SCHEME://. JSON: directory, files.
    """
    with _require_suite():
        from session_continuity_conformance import scaffold
    _print_files(*scaffold.new_backend(name, directory, scheme=scheme), as_json=as_json)


def new_extension(name: _Name, directory: _Directory = None, as_json: Json = False) -> None:
    """Start a new extension.

    Writes a complete distribution with the most common hooks: a wrapper around every store, a token counter, and an
    observer of events. JSON: directory, files.
    """
    with _require_suite():
        from session_continuity_conformance import scaffold
    _print_files(*scaffold.new_extension(name, directory), as_json=as_json)


def _print_files(directory: Path, files: list[Path], *, as_json: bool) -> None:
    output = Output(as_json=as_json)
    display = styled(f"{len(files)} files written to {directory}; see its README.md for the next steps")
    output.rows([[str(path)] for path in files], lambda: display)
    output.document({"directory": str(directory), "files": [str(path) for path in files]})


@contextmanager
def _require_suite() -> Generator[None]:
    """Turn a failed import of the conformance distribution into a ConfigError with the command that installs it."""
    try:
        yield
    except ModuleNotFoundError as missing:
        if not (missing.name or "").startswith("session_continuity_conformance"):
            raise
        raise ConfigError(
            "the conformance suite is not installed: pip install 'session-continuity[conformance]'"
        ) from None
