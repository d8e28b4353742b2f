"""Messages, sessions and times as text and table rows."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from rich.table import Table
from rich.text import Text

from session_continuity import Message, NewMessage
from session_continuity.cli.output import styled, styled_lines

__all__ = ["ago", "count", "excerpt", "format_minute", "message_display", "message_text", "speaker"]

_SPEAKER_WIDTH = 10
_LINE_LENGTH = 200
_STYLES = {"system": "dim", "user": "bold cyan", "assistant": "bold green", "tool": "magenta"}


def message_text(message: Message | NewMessage) -> str:
    """A message as one text: its text blocks, the types of its other blocks, and its tool calls."""
    content = message.content
    blocks = [content] if isinstance(content, str) else [_block(block) for block in content]
    calls = [f"{call.name}({_arguments(call.arguments)})" for call in message.metadata.tool_calls]
    return " ".join(part for part in [*blocks, *calls] if part)


def excerpt(text: str, length: int) -> str:
    """The beginning of a text, on one line of at most `length` characters."""
    text = " ".join(text[: length * 4].split())
    return text if len(text) <= length else text[: length - 1] + "…"


def speaker(message: Message | NewMessage) -> str:
    """The name on the message, or its role."""
    chat = message.metadata.annotations.get("openai")
    name = chat.get("name") if isinstance(chat, dict) else None
    return name if isinstance(name, str) and name else message.role


def message_display(message: Message | NewMessage, *, mark: Text | None = None) -> Table:
    """A message with its speaker in a column, wrapped to the terminal.

    With a `mark` in front it is one line of a list: cut at the edge, and in the style of the mark.
    """
    display = Table.grid(padding=(0, 2, 0, 0))
    row: list[Text] = []
    if mark is not None:
        display.add_column(no_wrap=True)
        display.style = mark.style
        row.append(mark)
    display.add_column(width=_SPEAKER_WIDTH, no_wrap=True, overflow="ellipsis")
    display.add_column(no_wrap=mark is not None, overflow="fold" if mark is None else "ellipsis")
    arrow = {"assistant": "→ " if message.metadata.tool_calls else "", "tool": "← "}.get(message.role, "")
    text = message_text(message)
    body = styled_lines(arrow + (text if mark is None else excerpt(text, _LINE_LENGTH)), "magenta" if arrow else "")
    display.add_row(*row, styled(speaker(message), _STYLES[message.role]), body)
    return display


def format_minute(value: datetime | None) -> str:
    """A time in UTC, to the minute; empty for None."""
    return "" if value is None else f"{value:%Y-%m-%d %H:%M}"


def ago(value: datetime, now: datetime) -> str:
    """The time since `value`, in the largest unit that fits."""
    seconds = (now - value).total_seconds()
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:,.0f} {unit} ago"
    return "now"


def count(number: int, noun: str) -> str:
    """A number with its noun, in the plural unless it is 1."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _block(block: dict[str, Any]) -> str:
    return str(block["text"]) if block["type"] == "text" else f"[{block['type']}]"


def _arguments(arguments: str | dict[str, Any]) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
