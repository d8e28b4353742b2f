"""Commands of the conformance suite: `conformance`, `new-backend`, `new-extension`."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from session_continuity import URL_VARIABLE, ConfigError
from session_continuity.cli.arguments import Json
from session_continuity.cli.output import Answer, styled

__all__ = ["conformance", "new_backend", "new_extension"]


def conformance(
    urls: Annotated[
        list[str] | None, typer.Argument(metavar="URL", help=f"Stores to prove. Default: {URL_VARIABLE}.")
    ] = None,
    mode: Annotated[
        list[str] | None, typer.Option(metavar="MODE", help="Run only async, blocking or portal; repeatable.")
    ] = None,
    clause: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Run clauses whose id begins so; repeatable.")
    ] = None,
    harness: Annotated[
        list[str] | None, typer.Option(metavar="MODULE:NAME", help="Code that starts a store; repeatable.")
    ] = None,
    contract: Annotated[str | None, typer.Option(metavar="MAJOR.MINOR", help="Judge by this contract.")] = None,
    explore: Annotated[int, typer.Option(metavar="N", min=0, help="Try N other random programs per mode.")] = 0,
    seed: Annotated[int | None, typer.Option(metavar="N", help="The seed of a search, to repeat it.")] = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the results as JUnit XML.")] = None,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a table for a README.")] = None,
    as_json: Json = False,
) -> None:
    """Prove that stores keep the contract.

    Every sentence of the contract is a clause; each is tried in every mode, and several stores are compared. Use a
    store that may be written to. Exit code 0: conformant, 1: not, 2: nothing could run.
    """
    with _needing_the_suite():
        from session_continuity_conformance.cli import run
    known = [os.environ[URL_VARIABLE]] if os.environ.get(URL_VARIABLE) else []
    if not (urls or harness or known):
        raise typer.BadParameter(f"name a store, as in memory://test, or set {URL_VARIABLE}")
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        code = run(
            urls or ([] if harness else known),
            harness=harness or [],
            mode=mode or [],
            clause=clause or [],
            contract=contract,
            explore=explore,
            seed=seed,
            junit=junit,
            markdown=markdown,
            json=report if as_json else None,
            output=sys.stderr if as_json else None,
        )
        if as_json and report.exists():
            Answer(as_json=True).document(json.loads(report.read_text("utf-8")))
    raise typer.Exit(code)


_Name = Annotated[str, typer.Argument(metavar="NAME", help="In lower case, as in mystore.")]
_Directory = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Where to write it; must not exist. Default: session-continuity-NAME."),
]


def new_backend(name: _Name, directory: _Directory = None, as_json: Json = False) -> None:
    """Begin a store of your own.

    Writes a complete distribution for NAME:// whose methods are yours to write; the clauses of the conformance suite
    stand beside each. JSON: directory, files.
    """
    with _needing_the_suite():
        from session_continuity_conformance import scaffold
    _tell(*scaffold.new_backend(name, directory), as_json=as_json)


def new_extension(name: _Name, directory: _Directory = None, as_json: Json = False) -> None:
    """Begin an extension of your own.

    Writes a complete distribution with the hooks that most need: a wrapper around every store, a token counter, an
    observer of events. JSON: directory, files.
    """
    with _needing_the_suite():
        from session_continuity_conformance import scaffold
    _tell(*scaffold.new_extension(name, directory), as_json=as_json)


def _tell(home: Path, files: list[Path], *, as_json: bool) -> None:
    answer = Answer(as_json=as_json)
    look = styled(f"{len(files)} files in {home}; its README.md says how to go on")
    answer.rows([[str(path)] for path in files], lambda: look)
    answer.document({"directory": str(home), "files": [str(path) for path in files]})


@contextmanager
def _needing_the_suite() -> Generator[None]:
    """Imports from the conformance distribution. Raises ConfigError where that is not installed."""
    try:
        yield
    except ModuleNotFoundError as missing:
        if not (missing.name or "").startswith("session_continuity_conformance"):
            raise
        raise ConfigError("the suite is not installed: pip install 'session-continuity[conformance]'") from None
