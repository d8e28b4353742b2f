"""The commands `setup`, `health` and `cleanup`, for a store as a whole."""

from __future__ import annotations

import json
from contextlib import closing

import typer
from rich.console import Group
from rich.text import Text

from session_continuity import HealthStatus, Storage, default_registry
from session_continuity.cli.arguments import Json, Url, open_manager, open_store
from session_continuity.cli.formatting import count
from session_continuity.cli.output import Output, styled, styled_lines

__all__ = ["cleanup", "health", "setup"]

_STATUS_STYLES = {"healthy": "bold green", "degraded": "bold yellow", "unhealthy": "bold red"}


def setup(url: Url = None, as_json: Json = False) -> None:
    """Create what a store needs, and migrate what an older version has created.

    Programs do this when they open a store. Commands that read or delete do not. Changes nothing if nothing is missing.
    JSON: store.
    """
    shown_url = default_registry().redacted(url)
    with open_store(url):
        output = Output(as_json=as_json)
        output.line("ready", shown_url, display=styled(f"ready  {shown_url}"))
        output.document({"store": shown_url})


def health(url: Url = None, as_json: Json = False) -> None:
    """Check whether a store works.

    Prints healthy, degraded (it answers, but something is missing) or unhealthy, and what to do. The exit code is 0 for
    healthy. Nothing is created. JSON: store, status, latency_ms, remedy, details.
    """
    registry = default_registry()
    shown_url = registry.redacted(url)
    adapter = registry.create(url, "blocking")
    with closing(Storage(adapter) if adapter.mode == "blocking" else Storage.through_portal(adapter)) as storage:
        status = storage.health()
    details = json.loads(json.dumps(dict(status.details), default=str))
    facts = {"store": shown_url, "status": status.status, "latency_ms": status.latency_ms, "remedy": status.remedy}
    output = Output(as_json=as_json)
    lines = {**facts, **{f"details.{name}": value for name, value in details.items()}}
    output.rows(lines.items(), lambda: _health_display(shown_url, status))
    output.document({**facts, "details": details})
    if status.status != "healthy":
        raise typer.Exit(1)


def _health_display(shown_url: str, status: HealthStatus) -> Group:
    latency = "" if status.latency_ms is None else f"  {status.latency_ms:.1f} ms"
    head = Text.assemble((f"● {status.status}", _STATUS_STYLES[status.status]), styled(f"  {shown_url}{latency}"))
    details = [styled(f"  {name}: {value}", "dim") for name, value in status.details.items()]
    remedy = [styled_lines(f"  {status.remedy}")] if status.remedy else []
    return Group(head, *details, *remedy)


def cleanup(url: Url = None, as_json: Json = False) -> None:
    """Remove every expired session.

    Expired sessions are hidden already. This frees their space, for stores that do not do so themselves. JSON: removed.
    """
    with open_manager(url) as manager:
        removed = manager.cleanup_expired_sessions()
    output = Output(as_json=as_json)
    output.line("removed", removed, display=styled(f"removed {count(removed, 'expired session')}"))
    output.document({"removed": removed})
