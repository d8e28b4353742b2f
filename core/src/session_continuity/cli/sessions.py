"""`sessions list`, `sessions show`, `sessions delete`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal

import typer
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from session_continuity import Message, Page, Session, SessionManager, SessionNotFoundError, utc_now
from session_continuity.cli.arguments import Json, Url, opened, url_and_ids
from session_continuity.cli.looks import ago, excerpt, message_text, moment, speaker, spoken
from session_continuity.cli.output import Answer, complain, styled, visible

__all__ = ["delete_sessions", "list_sessions", "show_session"]

_STATUS_STYLES = {"active": "green", "paused": "yellow", "completed": "dim", "expired": "red"}

_WIDE = 110
_TITLE = 200
_ID = 36  # the length of a minted id

Status = Literal["active", "paused", "completed", "expired"]


def _time(text: str) -> datetime:
    """ISO 8601, in UTC where it names no zone."""
    value = datetime.fromisoformat(text)
    return value if value.tzinfo else value.replace(tzinfo=UTC)


Time = Annotated[
    datetime | None, typer.Option(parser=_time, metavar="TIME", help="As 2026-01-31 or 2026-01-31T09:30Z; UTC.")
]


def list_sessions(
    url: Url = None,
    user: Annotated[str | None, typer.Option(metavar="ID", help="Of this user.")] = None,
    agent: Annotated[str | None, typer.Option(metavar="ID", help="With this active agent.")] = None,
    status: Annotated[Status | None, typer.Option(help="In this status.")] = None,
    tag: Annotated[list[str] | None, typer.Option(metavar="TAG", help="With this tag, or any of several.")] = None,
    created_after: Time = None,
    created_before: Time = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    cursor: Annotated[str | None, typer.Option(metavar="TEXT", help="Go on after an earlier page.")] = None,
    as_json: Json = False,
) -> None:
    """List sessions, newest first.

    Fields in a pipe: id, status, user, agent, messages, tokens, created, last activity, title. JSON: sessions,
    next_cursor.
    """
    with opened(url) as storage:
        page = SessionManager(storage).list_sessions(
            user_id=user,
            active_agent_id=agent,
            status=status,
            tags=tag or None,
            created_after=created_after,
            created_before=created_before,
            limit=limit,
            cursor=cursor,
        )
    answer = Answer(as_json=as_json)
    answer.rows(map(_fields, page), lambda: _listing(page, answer.console.width))
    sessions = [session.model_dump(mode="json") for session in page]
    answer.document({"sessions": sessions, "next_cursor": page.next_cursor})
    if page.next_cursor and not as_json:
        complain("there are more", f"--cursor {page.next_cursor}")


def _fields(session: Session) -> list[object]:
    return [
        session.id,
        session.status,
        session.user_id,
        session.active_agent_id,
        session.message_count,
        session.token_count,
        session.created_at,
        session.last_activity_at,
        session.metadata.title,
    ]


def _listing(page: Page[Session], width: int) -> RenderableType:
    if not page:
        return styled("no sessions", "dim")
    look = Table(box=box.SIMPLE_HEAD, header_style="bold", padding=(0, 1, 0, 0), pad_edge=False, expand=True)
    look.add_column("session", overflow="fold", width=min(max(7, *(len(session.id) for session in page)), _ID))
    for name in ("status", "user", "agent") if width > _WIDE else ("status",):
        look.add_column(name, no_wrap=True)
    look.add_column("messages", justify="right", no_wrap=True)
    look.add_column("active", no_wrap=True)
    look.add_column("title", no_wrap=True, ratio=1)
    now = utc_now()
    for session in page:
        who = [session.user_id or "", session.active_agent_id or ""] if width > _WIDE else []
        look.add_row(
            styled(session.id, "bold"),
            styled(session.status, _STATUS_STYLES[session.status]),
            *map(styled, who),
            f"{session.message_count:,}",
            ago(session.last_activity_at, now),
            styled(excerpt(session.metadata.title or "", _TITLE), "dim"),
        )
    return look


def show_session(
    session: Annotated[list[str], typer.Argument(metavar="[URL] ID", help="The store and the session.")],
    messages: Annotated[int, typer.Option(min=0, help="Show so many of the newest messages.")] = 20,
    as_json: Json = False,
) -> None:
    """Show one session and its newest messages.

    In a pipe, one line a field, then lines of: message, id, role, speaker, tokens, created, text. JSON: session,
    messages.
    """
    url, ids = url_and_ids(session)
    if len(ids) > 1:
        raise typer.BadParameter("one session at a time")
    with opened(url) as storage:
        manager = SessionManager(storage)
        found = manager.get_session(ids[0])
        newest = manager.get_messages(ids[0], order="desc", limit=messages) if messages else ()
    shown = list(reversed(newest))
    answer = Answer(as_json=as_json)
    document = found.model_dump(mode="json")
    answer.rows([*document.items(), *map(_message_fields, shown)], lambda: _session_look(found, shown))
    answer.document({"session": document, "messages": [message.model_dump(mode="json") for message in shown]})


def _message_fields(message: Message) -> list[object]:
    said = message_text(message)
    return ["message", message.id, message.role, speaker(message), message.token_count, message.created_at, said]


def _session_look(session: Session, shown: Sequence[Message]) -> RenderableType:
    facts = {
        "title": excerpt(session.metadata.title or "", _TITLE),
        "user": session.user_id,
        "agent": session.active_agent_id,
        "tags": ", ".join(session.metadata.tags),
        "created": moment(session.created_at),
        "last activity": moment(session.last_activity_at),
        "expires": moment(session.expires_at),
        "tokens": f"{session.token_count:,}",
        "handoffs": " → ".join(handoff.to_agent_id for handoff in session.handoffs),
    }
    head = Text.assemble((visible(session.id), "bold"), "  ", (session.status, _STATUS_STYLES[session.status]))
    lines = [styled(f"  {name:<15}{value}") for name, value in facts.items() if value]
    earlier = session.message_count - len(shown)
    gap = [styled(f"… {earlier:,} earlier", "dim")] if earlier > 0 else []
    return Group(head, *lines, Text(), *gap, *(spoken(message) for message in shown))


def delete_sessions(
    sessions: Annotated[list[str], typer.Argument(metavar="[URL] ID...", help="The store and the sessions.")],
    as_json: Json = False,
) -> None:
    """Delete sessions with everything in them.

    Exit code 1 when one of them did not exist; the others are deleted. JSON: deleted, not_found.
    """
    url, ids = url_and_ids(sessions)
    gone: dict[str, list[str]] = {"deleted": [], "not_found": []}
    answer = Answer(as_json=as_json)
    with opened(url) as storage:
        manager = SessionManager(storage)
        for session_id in ids:
            outcome = _deleted(manager, session_id)
            gone[outcome].append(session_id)
            answer.line(outcome, session_id, look=styled(f"{outcome.replace('_', ' ')}  {session_id}"))
    answer.document(gone)
    if gone["not_found"]:
        raise typer.Exit(1)


def _deleted(manager: SessionManager, session_id: str) -> Literal["deleted", "not_found"]:
    try:
        manager.delete_session(session_id)
    except SessionNotFoundError:
        return "not_found"
    return "deleted"
