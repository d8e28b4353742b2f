"""What a message consists of: `Text`, `Reasoning`, `Media`, `Call`, `Result`, `Other`."""

from __future__ import annotations

import base64
import binascii
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

__all__ = ["Block", "Call", "Media", "MediaKind", "Other", "Part", "Place", "Reasoning", "Result", "Text", "json_text"]

Block: TypeAlias = Mapping[str, Any]
Place: TypeAlias = tuple[str, int]
MediaKind = Literal["image", "audio", "video", "file"]

NOWHERE: Place = ("content", 0)
_HEADER_BYTES = 256 * 1024  # a JPEG's size stands behind its preview and its colour profile


@dataclass(frozen=True, slots=True)
class Text:
    """Words that are sent as such. `refusal` is True for the words of a refusal."""

    text: str
    place: Place = NOWHERE
    refusal: bool = False


@dataclass(frozen=True, slots=True)
class Reasoning:
    """A model's reasoning that is sent again. `opaque` is what only its provider reads: a signature, or the reasoning
    itself in encrypted form (then `text` is empty or a summary)."""

    text: str
    opaque: str = ""
    place: Place = NOWHERE


@dataclass(frozen=True, slots=True)
class Media:
    """An image, audio, video or other file: `data` in base64, or a `url`, or the provider's own `file_id`.

    `mime` is empty where it is not stated. `detail` is OpenAI's level of detail of an image.
    """

    kind: MediaKind
    mime: str = ""
    data: str = ""
    url: str = ""
    file_id: str = ""
    name: str = ""
    detail: str = ""
    place: Place = NOWHERE

    def size(self) -> tuple[int, int] | None:
        """The width and height of an image in pixels, read from the header of its data; None if it is not there."""
        if self.kind != "image" or not self.data:
            return None
        # Imported here, because most conversations have no image.
        import imagesize  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]

        width, height = imagesize.get(  # pyright: ignore[reportUnknownMemberType]
            io.BytesIO(_decoded(self.data, _HEADER_BYTES))
        )
        return (width, height) if width > 0 and height > 0 else None

    def data_bytes(self) -> int:
        """The length of the data in bytes; 0 without data."""
        return len(self.data) * 3 // 4 - self.data[-2:].count("=")


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a tool that the application runs. Tools that a provider runs itself are `Other`."""

    id: str
    name: str
    arguments: Any = ""
    place: Place = NOWHERE

    @property
    def arguments_text(self) -> str:
        """The arguments as JSON text, as the model wrote them if they are a string already."""
        return json_text(self.arguments)


@dataclass(frozen=True, slots=True)
class Result:
    """A tool's answer to the call `call_id`. `value` is what was stored; `parts_of_value` reads it."""

    call_id: str
    value: Any = None
    name: str = ""
    is_error: bool = False
    place: Place = NOWHERE


@dataclass(frozen=True, slots=True)
class Other:
    """A block that only its provider understands: a citation, a cache mark, a search, the run of a program."""

    block: Block
    place: Place = NOWHERE


Part: TypeAlias = Text | Reasoning | Media | Call | Result | Other


def json_text(value: Any) -> str:
    """The value as JSON text; a string as it is, and None as an empty one."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _decoded(data: str, limit: int) -> bytes:
    try:
        return base64.b64decode(data[: limit // 3 * 4].replace("-", "+").replace("_", "/") + "==")
    except binascii.Error:
        return b""
