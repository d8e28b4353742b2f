"""Output of commands: formatted on a terminal, lines of tab-separated fields in a pipe, or JSON.

Control characters in text from a store, a file or a URL are escaped in all three forms, so that the text cannot control
the terminal. A value of one line keeps to its line, so that it cannot look like another value.
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

__all__ = ["Output", "escape_controls", "field_text", "print_notice", "styled", "styled_lines"]

_CONTROLS = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def escape_controls(text: str) -> str:
    """The text with control characters and direction marks as escapes. Line breaks and tabs stay."""
    return _CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def field_text(value: object) -> str:
    """A value as a field of a line: `-` for None and the empty string, JSON for other types than strings and times.

    Line breaks and tabs become escapes.
    """
    if value is None or value == "":
        return "-"
    if isinstance(value, datetime):
        return format_timestamp(value)
    return _in_one_line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def styled(text: object, style: str = "") -> Text:
    """One line for a terminal, shown literally: rich's markup in it has no effect, line breaks become escapes."""
    return Text(_in_one_line(str(text)), style=style)


def styled_lines(text: str, style: str = "") -> Text:
    """Text for a terminal as `styled` makes it, but with its line breaks and tabs."""
    return Text(escape_controls(text), style=style)


def _in_one_line(text: str) -> str:
    return escape_controls(text).replace("\n", "\\n").replace("\t", "\\t")


class Output:
    """The output of one command. Each method prints in one of the three forms and does nothing in the others."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._console = Console(highlight=False)

    @property
    def is_terminal(self) -> bool:
        """Whether the output is formatted for a terminal."""
        return self._console.is_terminal and not self._as_json

    @property
    def width(self) -> int:
        """The width of the terminal."""
        return self._console.width

    def line(self, *fields: object, display: RenderableType | None = None) -> None:
        """Print a line of fields in a pipe. On a terminal print `display`, if there is one."""
        if self._as_json:
            return
        if not self.is_terminal:
            typer.echo("\t".join(map(field_text, fields)))
        elif display is not None:
            self._console.print(display)

    def blank(self) -> None:
        """Print an empty line on a terminal."""
        if self.is_terminal:
            self._console.print()

    def summary(self, display: RenderableType) -> None:
        """Print something that is only for people, on a terminal."""
        if self.is_terminal:
            self._console.print(display)

    def rows(self, rows: Iterable[Sequence[object]], display: Callable[[], RenderableType]) -> None:
        """Print lines of fields in a pipe. On a terminal print what `display` returns."""
        if self.is_terminal:
            self._console.print(display())
        else:
            for row in rows:
                self.line(*row)

    def document(self, value: Any) -> None:
        """Print the whole output as JSON, if JSON was asked for."""
        if self._as_json:
            text = json.dumps(value, indent=2, ensure_ascii=not self._console.encoding.startswith("utf"))
            typer.echo(_CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def print_notice(kind: str, message: str) -> None:
    """Print a message to standard error, after its kind: `error`, `warning` or another label."""
    style = {"error": "bold red", "warning": "bold yellow"}.get(kind, "bold")
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(Text.assemble((f"{kind}: ", style), escape_controls(message)))
