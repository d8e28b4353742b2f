"""The stores that stand in the places of the frameworks' own: by the variable SC_STORE, which is a scheme or a URL."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from tempfile import mkdtemp
from uuid import uuid4

_folder = mkdtemp()


def url_of(path: str | Path | None = None) -> str:
    """The URL of the store for a file of theirs: the same for the same path. Without a path, or for `:memory:`, of an
    empty one."""
    stated = os.environ["SC_STORE"]
    is_new = path is None or str(path) == ":memory:"
    name = uuid4().hex if is_new else hashlib.blake2b(str(path).encode(), digest_size=16).hexdigest()
    if stated == "memory":
        return f"memory://{name}"
    if stated == "sqlite":
        return f"sqlite:///{_folder}/{name}.db" if is_new else f"sqlite:///{path}"
    return f"{stated}{'&' if '?' in stated else '?'}namespace={name}"
