"""The commands `sessions forks` and `sessions erase`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer
from rich.tree import Tree

from session_continuity import Erased, ErasureReceipt, Fork, SessionManager
from session_continuity.cli.arguments import Json, open_manager, split_url_and_ids
from session_continuity.cli.formatting import format_minute
from session_continuity.cli.output import Output, styled

__all__ = ["erase_user", "show_forks"]

_Branch = tuple[int, str, Fork]
"""The depth of a fork, its source, and the fork."""


def show_forks(
    session: Annotated[list[str], typer.Argument(metavar="[URL] ID", help="The store and the session.")],
    as_json: Json = False,
) -> None:
    """Show the sessions that were forked from one, and those forked from them, as a tree.

    Fields in a pipe: depth, id, source, last message copied, created. JSON: session, forks.
    """
    url, ids = split_url_and_ids(session)
    if len(ids) > 1:
        raise typer.BadParameter("give one session at a time")
    with open_manager(url) as manager:
        found = list(_branches(manager, ids[0]))
    output = Output(as_json=as_json)
    rows = [(depth, fork.session_id, source, fork.message_id, fork.created_at) for depth, source, fork in found]
    output.rows(rows, lambda: _tree(ids[0], found))
    output.document({"session": ids[0], "forks": [_document(*branch) for branch in found]})


def _branches(manager: SessionManager, session_id: str, depth: int = 1) -> Iterator[_Branch]:
    """Every fork below a session, each behind its source."""
    for fork in manager.list_forks(session_id):
        yield depth, session_id, fork
        yield from _branches(manager, fork.session_id, depth + 1)


def _document(depth: int, source: str, fork: Fork) -> dict[str, object]:
    return {
        "depth": depth,
        "id": fork.session_id,
        "source": source,
        "message_id": fork.message_id,
        "created_at": fork.created_at.isoformat(),
    }


def _tree(session_id: str, branches: list[_Branch]) -> Tree:
    tree = Tree(styled(session_id, "bold"))
    nodes = {session_id: tree}
    for _, source, fork in branches:
        through = f"  through {fork.message_id}" if fork.message_id else ""
        label = styled(fork.session_id, "bold") + styled(f"  {format_minute(fork.created_at)}{through}", "dim")
        label.no_wrap, label.overflow = True, "ellipsis"
        nodes[fork.session_id] = nodes[source].add(label)
    return tree


def erase_user(
    user: Annotated[list[str], typer.Argument(metavar="[URL] USER", help="The store and the user.")],
    as_json: Json = False,
) -> None:
    """Delete every session of a user, and print a receipt that was verified by reading back.

    Fields in a pipe: erased, session, messages, time; then left, session. The exit code is 1 if something is left: run
    the command again. JSON: user_id, started_at, finished_at, sessions, left.
    """
    url, users = split_url_and_ids(user, "the id of the user is")
    if len(users) > 1:
        raise typer.BadParameter("give one user at a time")
    output = Output(as_json=as_json)
    with open_manager(url) as manager:
        receipt = manager.erase_user(users[0], progress=lambda erased: _print_erased(output, erased))
    for session_id in receipt.left:
        output.line("left", session_id, display=styled(f"left    {session_id}", "red"))
    total = f"{len(receipt.sessions):,} sessions, {receipt.message_count:,} messages"
    output.summary(styled(total, "bold"))
    output.document(_receipt(receipt))
    if receipt.left:
        raise typer.Exit(1)


def _print_erased(output: Output, erased: Erased) -> None:
    display = styled(f"erased  {erased.session_id}  {erased.message_count:,} messages")
    output.line("erased", erased.session_id, erased.message_count, erased.at, display=display)


def _receipt(receipt: ErasureReceipt) -> dict[str, object]:
    sessions = [
        {"session_id": each.session_id, "message_count": each.message_count, "at": each.at.isoformat()}
        for each in receipt.sessions
    ]
    return {
        "user_id": receipt.user_id,
        "started_at": receipt.started_at.isoformat(),
        "finished_at": receipt.finished_at.isoformat(),
        "sessions": sessions,
        "left": list(receipt.left),
    }
