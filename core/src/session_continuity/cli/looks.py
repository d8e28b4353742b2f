"""How messages and sessions look, for eyes and in a line."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from rich.table import Table
from rich.text import Text

from session_continuity import Message, NewMessage
from session_continuity.cli.output import styled

__all__ = ["ago", "excerpt", "message_text", "moment", "speaker", "spoken"]

_SPEAKER = 10
_LINE = 200
_STYLES = {"system": "dim", "user": "bold cyan", "assistant": "bold green", "tool": "magenta"}


def message_text(message: Message | NewMessage) -> str:
    """What a message says, in words: its text, a name for any other block, and its tool calls."""
    content = message.content
    blocks = [content] if isinstance(content, str) else [_block(block) for block in content]
    calls = [f"{call.name}({_arguments(call.arguments)})" for call in message.metadata.tool_calls]
    return " ".join(part for part in [*blocks, *calls] if part)


def excerpt(text: str, length: int) -> str:
    """The beginning of a text, on one line."""
    text = " ".join(text[: length * 4].split())
    return text if len(text) <= length else text[: length - 1] + "…"


def speaker(message: Message | NewMessage) -> str:
    """Who says it: the name on the message, or its role."""
    chat = message.metadata.annotations.get("openai")
    name = chat.get("name") if isinstance(chat, dict) else None
    return name if isinstance(name, str) and name else message.role


def spoken(message: Message | NewMessage, *, mark: Text | None = None) -> Table:
    """A message of a conversation, the speaker in a column of its own. With `mark` in front it is one line of a list:
    cut at the edge, and dim where the mark is."""
    look = Table.grid(padding=(0, 2, 0, 0))
    row: list[Text] = []
    if mark is not None:
        look.add_column(no_wrap=True)
        look.style = mark.style
        row.append(mark)
    look.add_column(width=_SPEAKER, no_wrap=True, overflow="ellipsis")
    look.add_column(no_wrap=mark is not None, overflow="fold" if mark is None else "ellipsis")
    arrow = {"assistant": "→ " if message.metadata.tool_calls else "", "tool": "← "}.get(message.role, "")
    text = message_text(message)
    said = styled(arrow + (text if mark is None else excerpt(text, _LINE)), "magenta" if arrow else "")
    look.add_row(*row, styled(speaker(message), _STYLES[message.role]), said)
    return look


def moment(value: datetime | None) -> str:
    """A time for eyes, to the minute, in UTC."""
    return "" if value is None else f"{value:%Y-%m-%d %H:%M}"


def ago(value: datetime, now: datetime) -> str:
    """How long ago a time is, in the largest unit that fits."""
    seconds = (now - value).total_seconds()
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:,.0f} {unit} ago"
    return "now"


def _block(block: dict[str, Any]) -> str:
    return str(block["text"]) if block["type"] == "text" else f"[{block['type']}]"


def _arguments(arguments: str | dict[str, Any]) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
