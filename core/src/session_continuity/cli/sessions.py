"""The commands `sessions list`, `sessions show`, `sessions search` and `sessions delete`."""

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
from session_continuity.cli.arguments import Json, Url, open_manager, split_url_and_ids
from session_continuity.cli.formatting import (
    ago,
    excerpt,
    format_minute,
    message_display,
    message_text,
    speaker,
)
from session_continuity.cli.output import Output, print_notice, styled

__all__ = ["delete_sessions", "list_sessions", "search_messages", "show_session"]

_STATUS_STYLES = {"active": "green", "paused": "yellow", "completed": "dim", "expired": "red"}

_WIDE_TERMINAL = 110
_TITLE_LENGTH = 200
_ID_WIDTH = 36  # the length of a generated id

Status = Literal["active", "paused", "completed", "expired"]
Order = Literal["newest", "oldest", "recent", "idle"]


def _time(text: str) -> datetime:
    """A time in ISO 8601, taken as UTC if it has no time zone."""
    value = datetime.fromisoformat(text)
    return value if value.tzinfo else value.replace(tzinfo=UTC)


Time = Annotated[
    datetime | None,
    typer.Option(parser=_time, metavar="TIME", help="Such as 2026-01-31 or 2026-01-31T09:30Z. Default zone: UTC."),
]


def list_sessions(
    url: Url = None,
    user: Annotated[str | None, typer.Option(metavar="ID", help="Only sessions of this user.")] = None,
    agent: Annotated[str | None, typer.Option(metavar="ID", help="Only sessions with this active agent.")] = None,
    status: Annotated[Status | None, typer.Option(help="Only sessions with this status.")] = None,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="TAG", help="Only sessions with this tag. Repeatable: any of the tags.")
    ] = None,
    created_after: Time = None,
    created_before: Time = None,
    title: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Only sessions with this text in their title, in any case.")
    ] = None,
    order: Annotated[
        Order, typer.Option(help="By creation: newest, oldest. By last activity: recent, idle.")
    ] = "newest",
    after: Annotated[str | None, typer.Option(metavar="ID", help="Start behind this session.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The most sessions to list.")] = 50,
    cursor: Annotated[str | None, typer.Option(metavar="TEXT", help="Continue after an earlier page.")] = None,
    as_json: Json = False,
) -> None:
    """List sessions, newest first.

    Fields in a pipe: id, status, user, agent, messages, tokens, created, last activity, title. JSON: sessions,
    next_cursor, stale_totals.
    """
    with open_manager(url) as manager:
        page = manager.list_sessions(
            user_id=user,
            active_agent_id=agent,
            status=status,
            tags=tag or None,
            created_after=created_after,
            created_before=created_before,
            title=title,
            order=order,
            after_id=after,
            limit=limit,
            cursor=cursor,
        )
    output = Output(as_json=as_json)
    output.rows(map(_fields, page), lambda: _table(page, output.width))
    sessions = [session.model_dump(mode="json") for session in page]
    output.document({"sessions": sessions, "next_cursor": page.next_cursor, "stale_totals": page.stale_totals})
    if page and page.stale_totals and not as_json:
        print_notice("old totals", "messages, tokens and last activity may be those of the creation")
    if page.next_cursor and not as_json:
        print_notice("more sessions", f"add --cursor {page.next_cursor}")


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


def _table(page: Page[Session], width: int) -> RenderableType:
    if not page:
        return styled("no sessions", "dim")
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", padding=(0, 1, 0, 0), pad_edge=False, expand=True)
    table.add_column("session", overflow="fold", width=min(max(7, *(len(session.id) for session in page)), _ID_WIDTH))
    for name in ("status", "user", "agent") if width > _WIDE_TERMINAL else ("status",):
        table.add_column(name, no_wrap=True)
    table.add_column("messages", justify="right", no_wrap=True)
    table.add_column("active", no_wrap=True)
    table.add_column("title", no_wrap=True, ratio=1)
    now = utc_now()
    for session in page:
        owners = [session.user_id or "", session.active_agent_id or ""] if width > _WIDE_TERMINAL else []
        table.add_row(
            styled(session.id, "bold"),
            styled(session.status, _STATUS_STYLES[session.status]),
            *map(styled, owners),
            f"{session.message_count:,}",
            ago(session.last_activity_at, now),
            styled(excerpt(session.metadata.title or "", _TITLE_LENGTH), "dim"),
        )
    return table


def show_session(
    session: Annotated[list[str], typer.Argument(metavar="[URL] ID", help="The store and the session.")],
    messages: Annotated[int, typer.Option(min=0, help="The number of newest messages to show.")] = 20,
    as_json: Json = False,
) -> None:
    """Show one session and its newest messages.

    In a pipe, each field of the session is a line. Then come lines of: message, id, role, speaker, tokens, created,
    text. JSON: session, messages.
    """
    url, ids = split_url_and_ids(session)
    if len(ids) > 1:
        raise typer.BadParameter("give one session at a time")
    with open_manager(url) as manager:
        found = manager.get_session(ids[0])
        newest = manager.get_messages(ids[0], order="desc", limit=messages) if messages else ()
    shown = list(reversed(newest))
    output = Output(as_json=as_json)
    document = found.model_dump(mode="json")
    output.rows([*document.items(), *map(_message_fields, shown)], lambda: _session_display(found, shown))
    output.document({"session": document, "messages": [message.model_dump(mode="json") for message in shown]})


def _message_fields(message: Message) -> list[object]:
    text = message_text(message)
    return ["message", message.id, message.role, speaker(message), message.token_count, message.created_at, text]


def _session_display(session: Session, shown: Sequence[Message]) -> RenderableType:
    facts = {
        "title": excerpt(session.metadata.title or "", _TITLE_LENGTH),
        "user": session.user_id,
        "agent": session.active_agent_id,
        "tags": ", ".join(session.metadata.tags),
        "created": format_minute(session.created_at),
        "last activity": format_minute(session.last_activity_at),
        "expires": format_minute(session.expires_at),
        "tokens": f"{session.token_count:,}",
        "handoffs": " → ".join(handoff.to_agent_id for handoff in session.handoffs),
    }
    head = Text.assemble(styled(session.id, "bold"), "  ", (session.status, _STATUS_STYLES[session.status]))
    lines = [styled(f"  {name:<15}{value}") for name, value in facts.items() if value]
    earlier = session.message_count - len(shown)
    gap = [styled(f"… {earlier:,} earlier", "dim")] if earlier > 0 else []
    return Group(head, *lines, Text(), *gap, *(message_display(message) for message in shown))


def search_messages(
    words: Annotated[list[str], typer.Argument(metavar="[URL] TEXT", help="The store and the words to search for.")],
    user: Annotated[str | None, typer.Option(metavar="ID", help="Only sessions of this user.")] = None,
    session: Annotated[str | None, typer.Option(metavar="ID", help="Only this session.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The most messages to show.")] = 20,
    cursor: Annotated[str | None, typer.Option(metavar="TEXT", help="Continue after an earlier page.")] = None,
    as_json: Json = False,
) -> None:
    """Search what users and assistants said. The last word may be the beginning of a longer one.

    The store must have text search: memory://, or sqlite:///FILE?search=true. Fields in a pipe: session, id, role,
    speaker, tokens, created, text. JSON: messages, next_cursor.
    """
    url, texts = split_url_and_ids(words, "the words to search for are")
    with open_manager(url) as manager:
        page = manager.search_messages(" ".join(texts), user_id=user, session_id=session, limit=limit, cursor=cursor)
    output = Output(as_json=as_json)
    output.rows([[each.session_id, *_message_fields(each)[1:]] for each in page], lambda: _matches_display(page))
    messages = [message.model_dump(mode="json") for message in page]
    output.document({"messages": messages, "next_cursor": page.next_cursor})
    if page.next_cursor and not as_json:
        print_notice("more messages", f"add --cursor {page.next_cursor}")


def _matches_display(page: Page[Message]) -> RenderableType:
    if not page:
        return styled("no messages", "dim")
    return Group(*(Group(styled(each.session_id, "bold"), message_display(each)) for each in page))


def delete_sessions(
    sessions: Annotated[list[str], typer.Argument(metavar="[URL] ID...", help="The store and the sessions.")],
    as_json: Json = False,
) -> None:
    """Delete sessions with everything in them.

    The exit code is 1 if a session does not exist. The others are deleted nevertheless. JSON: deleted, not_found.
    """
    url, ids = split_url_and_ids(sessions)
    outcomes: dict[str, list[str]] = {"deleted": [], "not_found": []}
    output = Output(as_json=as_json)
    with open_manager(url) as manager:
        for session_id in ids:
            outcome = _delete(manager, session_id)
            outcomes[outcome].append(session_id)
            output.line(outcome, session_id, display=styled(f"{outcome.replace('_', ' ')}  {session_id}"))
    output.document(outcomes)
    if outcomes["not_found"]:
        raise typer.Exit(1)


def _delete(manager: SessionManager, session_id: str) -> Literal["deleted", "not_found"]:
    try:
        manager.delete_session(session_id)
    except SessionNotFoundError:
        return "not_found"
    return "deleted"
