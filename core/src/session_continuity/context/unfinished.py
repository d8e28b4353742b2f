"""The mark of a streamed answer that is not finished, and how a view shows one that was broken off."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from session_continuity.context.rewriting import changed
from session_continuity.models import Message

__all__ = ["ANNOTATION", "BROKEN_OFF", "UNFINISHED", "is_unfinished", "with_note"]

ANNOTATION = "session_continuity"
"""The annotation of a message in which this project keeps its own notes."""

UNFINISHED: Mapping[str, Any] = {"unfinished": True}
"""The note on an answer that is still being streamed, or was broken off."""

BROKEN_OFF = "[The answer was broken off here.]"


def is_unfinished(message: Message) -> bool:
    """Whether the message is an answer of which the end was not stored."""
    annotations = message.metadata.annotations
    return bool(annotations) and annotations.get(ANNOTATION) == UNFINISHED


def with_note(message: Message) -> Message:
    """The message with a note behind its words that it was broken off."""
    if isinstance(message.content, str):
        return changed(message, content=f"{message.content}\n{BROKEN_OFF}")
    return changed(message, content=[*message.content, {"type": "text", "text": BROKEN_OFF}])
