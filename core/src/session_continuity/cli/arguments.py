"""Arguments that several commands have."""

from __future__ import annotations

import re
from contextlib import closing
from typing import Annotated

import typer

from session_continuity import URL_VARIABLE, SessionManager, Storage, open_storage

__all__ = ["Json", "Url", "open_manager", "open_store", "split_url_and_ids"]

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")

Url = Annotated[
    str | None,
    typer.Argument(metavar="URL", help=f"The store, such as sqlite:///chat.db. Default: {URL_VARIABLE}."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def open_store(url: str | None) -> closing[Storage]:
    """Open and set up the store of a URL, for a `with` that closes it."""
    return closing(open_storage(url))


def open_manager(url: str | None) -> SessionManager:
    """A manager for commands on what a store holds, for a `with` that closes it.

    It creates nothing: a mistyped path must not become an empty store.
    """
    return SessionManager.open(url, setup=False)


def split_url_and_ids(arguments: list[str], missing: str = "the id of a session is") -> tuple[str | None, list[str]]:
    """The parts of `[URL] ID…`. The first argument is the URL if it has a scheme.

    `missing` begins the message about a URL alone.
    """
    if not _URL.match(arguments[0]):
        return None, arguments
    if len(arguments) == 1:
        raise typer.BadParameter(f"{missing} missing after the URL")
    return arguments[0], arguments[1:]
