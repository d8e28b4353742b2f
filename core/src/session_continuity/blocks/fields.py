"""Reading the fields of a block that may be malformed: an empty value in place of what is not there."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, cast

from session_continuity.blocks.parts import Block, Media, MediaKind, Place

__all__ = ["items_at", "media_at_url", "media_kind", "object_at", "string_at"]

_KINDS: Mapping[str, MediaKind] = {"image": "image", "audio": "audio", "video": "video"}


def string_at(block: Any, *keys: str) -> str:
    """The first string at these keys; empty if there is none, or if the block is not an object."""
    if not isinstance(block, Mapping):
        return ""
    values = (cast("Block", block).get(key) for key in keys)
    return next((value for value in values if isinstance(value, str)), "")


def object_at(block: Any, *keys: str) -> Block:
    """The first object at these keys; empty if there is none."""
    if isinstance(block, Mapping):
        for value in map(cast("Block", block).get, keys):
            if isinstance(value, Mapping):
                return cast("Block", value)
    return {}


def items_at(block: Block, key: str) -> list[Any]:
    """The list at this key; empty if there is none."""
    value = block.get(key)
    return value if isinstance(value, list) else []  # pyright: ignore[reportUnknownVariableType]


def media_at_url(url: str, kind: MediaKind, place: Place, **fields: str) -> Media:
    """Media at a URL, or in a `data:` URL."""
    if not url.startswith("data:"):
        return Media(kind, url=url, place=place, **fields)
    head, _, data = url[5:].partition(",")
    mime = head.partition(";")[0] or fields.get("mime", "")
    if not head.endswith(";base64"):
        data = base64.b64encode(data.encode(errors="replace")).decode()
    return Media(kind, data=data, place=place, **{**fields, "mime": mime})


def media_kind(mime: str) -> MediaKind:
    """What media of this MIME type are."""
    return _KINDS.get(mime.partition("/")[0], "file")
