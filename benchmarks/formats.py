"""The time that reading and writing a message takes in each format of a provider."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, get_args

from session_continuity import (
    NewMessage,
    convert,
    from_anthropic,
    from_bedrock_converse,
    from_gemini,
    from_openai,
    from_openai_responses,
    from_ui_messages,
)
from session_continuity.formats.conversion import FormatName

READERS: dict[str, Callable[[Any], list[NewMessage]]] = {
    "openai_chat": from_openai,
    "openai_responses": lambda request: from_openai_responses(**request),
    "anthropic": lambda request: from_anthropic(**request),
    "bedrock_converse": lambda request: from_bedrock_converse(**request),
    "gemini": lambda request: from_gemini(**request),
    "ui_messages": from_ui_messages,
}
TURNS = 250
PNG = "iVBORw0KGgoAAAANSUhEUgAAAEAAAAAwCAYAAAChS3wf" + "A" * 400


def conversation() -> list[NewMessage]:
    """Turns of a question with an image, an answer that calls two tools, their results, and the final answer."""
    chat: list[dict[str, Any]] = []
    for number in range(TURNS):
        image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
        ids = [f"call_{number}_a", f"call_{number}_b"]
        calls = [{"id": id, "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}} for id in ids]
        chat += [
            {"role": "user", "content": [{"type": "text", "text": "What is on this picture? " * 8}, image]},
            {"role": "assistant", "content": "I will look at it twice. " * 4, "tool_calls": calls},
            *({"role": "tool", "tool_call_id": id, "content": "A cat and a dog. " * 8} for id in ids),
            {"role": "assistant", "content": "There is a cat, and there is a dog. " * 8},
        ]
    return from_openai(chat)


def costs(rounds: int) -> Iterator[tuple[str, float, float]]:
    """Each format with the microseconds of CPU that reading and writing a message takes: the best of the rounds."""
    messages = conversation()
    for format in get_args(FormatName):
        request = convert(messages, format).request
        read = READERS[format](request)
        reading = min(_spent(lambda: READERS[format](request)) for _ in range(rounds))  # noqa: B023  # called at once
        writing = min(_spent(lambda: convert(read, format)) for _ in range(rounds))  # noqa: B023
        yield format, reading / len(read) * 1e6, writing / len(read) * 1e6


def _spent(call: Callable[[], object]) -> float:
    before = time.process_time()
    call()
    return time.process_time() - before


def print_costs(rounds: int) -> None:
    """Print a line for each format."""
    for format, reading, writing in costs(rounds):
        print(f"{format}: {reading:.1f} µs to read a message, {writing:.1f} µs to write it; goal: ≤ 40 µs")
