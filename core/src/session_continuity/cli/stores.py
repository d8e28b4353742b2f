"""Commands on a store as a whole: `health`, `cleanup`, `conformance`."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group
from rich.text import Text

from session_continuity import URL_VARIABLE, ConfigError, HealthStatus, SessionManager, Storage, default_registry
from session_continuity.cli.arguments import Json, Url, opened
from session_continuity.cli.output import Answer, styled

__all__ = ["cleanup", "conformance", "health"]

_STATUS_STYLES = {"healthy": "bold green", "degraded": "bold yellow", "unhealthy": "bold red"}


def health(url: Url = None, as_json: Json = False) -> None:
    """Ask a store whether it serves.

    Says healthy, degraded (it answers, but lacks something) or unhealthy, and what to do. Exit code 0 means healthy.
    Nothing is created. JSON: store, status, latency_ms, remedy, details.
    """
    registry = default_registry()
    shown_url = registry.redacted(url)
    adapter = registry.create(url, "blocking")
    with closing(Storage(adapter) if adapter.mode == "blocking" else Storage.through_portal(adapter)) as storage:
        found = storage.health()
    details = json.loads(json.dumps(dict(found.details), default=str))
    facts = {"store": shown_url, "status": found.status, "latency_ms": found.latency_ms, "remedy": found.remedy}
    answer = Answer(as_json=as_json)
    lines = {**facts, **{f"details.{name}": value for name, value in details.items()}}
    answer.rows(lines.items(), lambda: _health_look(shown_url, found))
    answer.document({**facts, "details": details})
    if found.status != "healthy":
        raise typer.Exit(1)


def _health_look(shown_url: str, found: HealthStatus) -> Group:
    latency = "" if found.latency_ms is None else f"  {found.latency_ms:.1f} ms"
    head = Text.assemble((f"● {found.status}", _STATUS_STYLES[found.status]), f"  {shown_url}{latency}")
    details = [styled(f"  {name}: {value}", "dim") for name, value in found.details.items()]
    remedy = [styled(f"  {found.remedy}")] if found.remedy else []
    return Group(head, *details, *remedy)


def cleanup(url: Url = None, as_json: Json = False) -> None:
    """Remove every expired session.

    Expired sessions are invisible already; this frees their room. Run it now and then where the store does not do so
    by itself. JSON: removed.
    """
    with opened(url) as storage:
        removed = SessionManager(storage).cleanup_expired_sessions()
    answer = Answer(as_json=as_json)
    look = styled(f"removed {removed:,} expired session{'' if removed == 1 else 's'}")
    answer.line("removed", removed, look=look)
    answer.document({"removed": removed})


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
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the results as JUnit XML.")] = None,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a table for a README.")] = None,
    as_json: Json = False,
) -> None:
    """Prove that stores keep the contract.

    Every sentence of the contract is a clause; each is tried in every mode. Use a store that may be written to. Exit
    code 0: conformant, 1: not, 2: nothing could run.
    """
    try:
        from session_continuity_conformance.cli import run
    except ModuleNotFoundError as missing:
        if not (missing.name or "").startswith("session_continuity_conformance"):
            raise
        raise ConfigError("the suite is not installed: pip install 'session-continuity[conformance]'") from None
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
            junit=junit,
            markdown=markdown,
            json=report if as_json else None,
            output=sys.stderr if as_json else None,
        )
        if as_json and report.exists():
            Answer(as_json=True).document(json.loads(report.read_text("utf-8")))
    raise typer.Exit(code)
