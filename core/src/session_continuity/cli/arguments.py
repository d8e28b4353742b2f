"""What several commands take."""

from __future__ import annotations

import re
from contextlib import closing
from typing import Annotated

import typer

from session_continuity import URL_VARIABLE, Storage, open_storage

__all__ = ["Json", "Url", "opened", "url_and_ids"]

_LOOKS_LIKE_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")

Url = Annotated[
    str | None,
    typer.Argument(metavar="URL", help=f"The store, as in sqlite:///chat.db. Default: {URL_VARIABLE}."),
]
Json = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]


def opened(url: str | None) -> closing[Storage]:
    """The store of a URL, set up, for a `with`."""
    return closing(open_storage(url))


def url_and_ids(given: list[str]) -> tuple[str | None, list[str]]:
    """`[URL] ID…` in its parts: the first is the URL where it looks like one."""
    if not _LOOKS_LIKE_URL.match(given[0]):
        return None, given
    if len(given) == 1:
        raise typer.BadParameter("the id of a session is missing after the URL")
    return given[0], given[1:]
