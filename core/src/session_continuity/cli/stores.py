"""Commands on a store as a whole: `health`, `cleanup`."""

from __future__ import annotations

import json
from contextlib import closing

import typer
from rich.console import Group
from rich.text import Text

from session_continuity import HealthStatus, SessionManager, Storage, default_registry
from session_continuity.cli.arguments import Json, Url, opened
from session_continuity.cli.output import Answer, styled

__all__ = ["cleanup", "health"]

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
