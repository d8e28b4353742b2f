"""Session ids for conversations that a framework names by several texts."""

from __future__ import annotations

from urllib.parse import quote

from session_continuity import stable_id

__all__ = ["session_key"]


def session_key(*parts: str) -> str:
    """A session id from texts of any kind and length: the same for the same texts, another for any others.

    Each part is quoted as in a URL, so that a slash in one part does not look like the border between two. An id of
    more than 256 bytes is shortened by `stable_id`.
    """
    return stable_id("/".join(quote(part, safe="", errors="surrogatepass") for part in parts))
