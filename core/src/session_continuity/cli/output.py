"""How commands answer: for eyes on a terminal, in lines of tab-separated fields in a pipe, as JSON where asked.

Text from a store or a file is made visible before it is written, so that it cannot steer a terminal.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

import typer
from rich.console import Console, RenderableType
from rich.text import Text

from session_continuity import format_timestamp

__all__ = ["Answer", "complain", "one_line", "styled", "visible"]

_STEERING = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    """The text with control characters and marks of writing direction spelled out; line breaks and tabs stay."""
    return _STEERING.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def one_line(value: object) -> str:
    """A value as one field of one line: `-` for nothing, JSON for what is no text, line breaks and tabs spelled out."""
    if value is None or value == "":
        return "-"
    if isinstance(value, datetime):
        return format_timestamp(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")


def styled(text: object, style: str = "") -> Text:
    """Text for a terminal in which nothing is taken for markup."""
    return Text(visible(str(text)), style=style)


class Answer:
    """The answer of one command, in the one form that fits."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._console = Console(highlight=False)

    @property
    def is_for_eyes(self) -> bool:
        """Whether the answer goes to a terminal."""
        return self._console.is_terminal and not self._as_json

    @property
    def console(self) -> Console:
        """The terminal."""
        return self._console

    def line(self, *fields: object, look: RenderableType | None = None) -> None:
        """One line of fields in a pipe; on a terminal `look`, or nothing."""
        if self._as_json:
            return
        if not self.is_for_eyes:
            typer.echo("\t".join(map(one_line, fields)))
        elif look is not None:
            self._console.print(look)

    def blank(self) -> None:
        """An empty line for eyes."""
        if self.is_for_eyes:
            self._console.print()

    def rows(self, rows: Iterable[Sequence[object]], look: Callable[[], RenderableType]) -> None:
        """Lines of fields in a pipe; on a terminal `look`."""
        if self.is_for_eyes:
            self._console.print(look())
        else:
            for row in rows:
                self.line(*row)

    def document(self, value: Any) -> None:
        """The whole answer where JSON was asked for, and nothing elsewhere."""
        if self._as_json:
            encoding = self._console.encoding
            typer.echo(json.dumps(value, indent=2, ensure_ascii=not encoding.startswith("utf")))


def complain(kind: str, message: str) -> None:
    """Say something on standard error, after what kind it is: `error`, `warning`."""
    style = {"error": "bold red", "warning": "bold yellow"}.get(kind, "bold")
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(Text.assemble((f"{kind}: ", style), visible(message)))
