"""Conversion between the UI messages of the Vercel AI SDK 5 and this project's messages. Pure.

    messages = from_ui_messages(request["messages"])
    return to_ui_messages(context)

An assistant's UI message holds whole steps: text, calls and what the tools answered. Here each step is an assistant
message, and a `tool` message with the answers, if there are any. Their ids are that of the UI message, for the further
ones with a number behind it. In annotations, `of` is the id of the UI message that a further message belongs to.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from session_continuity.blocks.parts import Call, Media, Part, Reasoning, Result, Text
from session_continuity.blocks.providers import parts_of_value
from session_continuity.formats.checks import choice_at, list_at, numbered, object_from, string_at
from session_continuity.formats.reading import MessageReader, difference, minted_id, restored
from session_continuity.formats.recognition import foreign_block, hint
from session_continuity.formats.writing import (
    AnyMessage,
    MessageWriter,
    Report,
    arguments_object,
    kept_by,
    result_value,
)
from session_continuity.models import NewMessage

__all__ = ["from_ui_messages", "to_ui_messages"]

FORMAT = "ui_messages"

_TYPED = ("toolCallId", "output", "errorText")
_STEP: Mapping[str, str] = {"type": "step-start"}


def from_ui_messages(messages: Iterable[object]) -> list[NewMessage]:
    """The messages of a chat of the AI SDK, ready for `add_messages`; they have the ids of the UI messages.

    Raises ChatFormatError for a message that is not in the format, and ValidationError if `messages` is not a list.
    """
    return list(numbered(messages, lambda _, raw: _read(raw)))


def _read(raw: object) -> Iterator[NewMessage]:
    fields = object_from(raw, "a message")
    try:
        role = choice_at(fields, "role", ("system", "user", "assistant"))
        parts = [_checked(part, f"part {place}") for place, part in enumerate(list_at(fields, "parts"), 1)]
        if "toolInvocations" in fields:
            raise ValueError("'toolInvocations' is not a field of a message")
    except ValueError as error:
        raise ValueError(f"{error}{hint(raw, FORMAT)}") from None
    about = {key: value for key, value in fields.items() if key not in ("id", "role", "parts")}
    ui_id = fields.get("id") if isinstance(fields.get("id"), str) else None
    number = 0
    for step in _steps(parts) if role == "assistant" else [parts]:
        for reader in _step(step, role):
            if number:
                reader.kept["of"] = ui_id or ""
            elif about:
                reader.kept["message"] = about
            message = reader.message()
            yield message.model_copy(update={"id": f"{ui_id}#{number}" if number else ui_id}) if ui_id else message
            number += 1


def _checked(raw: object, where: str) -> dict[str, Any]:
    part = object_from(raw, where)
    kind = string_at(part, "type", where)
    if kind == "tool-invocation" or foreign_block(kind, FORMAT):
        raise ValueError(f"{where} has the type {kind!r}")
    if kind == "text":
        string_at(part, "text", where)
    if _is_tool(part):
        string_at(part, "toolCallId", where)
        string_at(part, "state", where)
        if kind == "dynamic-tool":
            string_at(part, "toolName", where)
    return part


def _is_tool(part: Mapping[str, Any]) -> bool:
    return (part["type"].startswith("tool-") or part["type"] == "dynamic-tool") and not part.get("providerExecuted")


def _steps(parts: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    steps: list[list[dict[str, Any]]] = [[]]
    for part in parts:
        if part["type"] == "step-start" and steps[-1]:
            steps.append([])
        steps[-1].append(part)
    return steps


def _step(parts: list[dict[str, Any]], role: str) -> list[MessageReader]:
    """The message of a step, and a message of what its tools answered."""
    said, answered = MessageReader(FORMAT, role), MessageReader(FORMAT, "tool")
    has_answer = False
    for part in parts:
        if part.keys() == {"type", "text"} and part["type"] == "text":
            said.text(part["text"])
        elif not _is_tool(part):
            said.block(part)
        else:
            has_answer |= _read_tool(said, answered, part)
    return [said, answered] if has_answer else [said]


def _read_tool(said: MessageReader, answered: MessageReader, part: dict[str, Any]) -> bool:
    """Add a call to what was said, and its answer to what was answered. Returns whether there is one."""
    is_dynamic = part["type"] == "dynamic-tool"
    name = part["toolName"] if is_dynamic else part["type"].removeprefix("tool-")
    arguments = part.get("input")
    is_typed = isinstance(arguments, dict)
    text = "" if arguments is None else json.dumps(arguments, ensure_ascii=False)
    call: dict[str, Any] = {
        "id": part["toolCallId"] or minted_id(),
        "name": name,
        "arguments": arguments if is_typed else text,
    }
    has_answer = part["state"] in ("output-available", "output-error")
    is_error = part["state"] == "output-error"
    result: dict[str, Any] = {
        "tool_call_id": call["id"],
        "result": part.get("errorText" if is_error else "output"),
        "name": name,
    }
    written = _part(
        Call(call["id"], name, arguments), Result("", result["result"], name, is_error) if has_answer else None
    )
    said.call(call, difference(part, written, (*_TYPED, "input") if is_typed else _TYPED))
    if has_answer:
        answered.result({**result, "is_error": is_error}, {}, is_own=True)
    return has_answer


def _part(call: Call, result: Result | None) -> dict[str, Any]:
    """The part for a call and its result."""
    part: dict[str, Any] = {"type": f"tool-{call.name}", "toolCallId": call.id, "state": "input-available"}
    part["input"] = call.arguments
    if result is not None and result.is_error:
        part |= {"state": "output-error", "errorText": result.value}
    elif result is not None:
        part |= {"state": "output-available", "output": result.value}
    return part


def to_ui_messages(context: Iterable[AnyMessage], *, model: str | None = None) -> list[dict[str, Any]]:
    """The messages as UI messages: those from `from_ui_messages` as they were, others with the stored ids.

    `convert` tells what is left out. `model` has no effect: a front end shows the reasoning of any model.
    """
    return write(context, Report(), model)


def write(context: Iterable[AnyMessage], report: Report, model: str | None) -> list[dict[str, Any]]:
    """The UI messages of `to_ui_messages`, with an account of what they leave out."""
    messages = list(context)
    writer = _Writer(report, model)
    writer.results = {
        result.tool_call_id: (
            result_value(message, result.result),
            result.is_error,
            kept_by(message, FORMAT) is not None,
        )
        for message in messages
        for result in message.metadata.tool_results
    }
    called = {call.id for message in messages for call in message.metadata.tool_calls}
    written: list[dict[str, Any]] = []
    for report.message, message in enumerate(messages, 1):
        for result in message.metadata.tool_results:
            if result.tool_call_id not in called:
                report.lose("tool_result", "incomplete")
        if message.metadata.tool_results and message.role == "tool":
            continue
        kept = kept_by(message, FORMAT)
        parts = writer.items(_without_results(message), kept)
        if parts or kept is not None:
            _append(written, message, parts, kept, report.message)
        else:
            report.lose("message", "empty")
    return written


def _without_results(message: AnyMessage) -> AnyMessage:
    """The message without its results, which are in the parts of their calls."""
    if not message.metadata.tool_results:
        return message
    return message.model_copy(update={"metadata": message.metadata.model_copy(update={"tool_results": []})})


def _append(
    written: list[dict[str, Any]], message: AnyMessage, parts: list[Any], kept: Mapping[str, Any] | None, number: int
) -> None:
    last: dict[str, Any] = written[-1] if written else {"role": "", "id": ""}
    if message.role == "assistant" == last["role"] and kept is not None and "of" in kept:
        last["parts"] += parts
    elif message.role == "assistant" == last["role"] and kept is None and parts:
        last["parts"] += [dict(_STEP), *parts]
    else:
        id = message.id or f"message-{number}"
        about = (kept or {}).get("message", {})
        written.append({"id": id, "role": "user" if message.role == "tool" else message.role, **about, "parts": parts})


class _Writer(MessageWriter):
    format = FORMAT
    results: dict[str, tuple[Any, bool, bool]]
    """The value of each call's result, whether it is an error, and whether it is of this format."""

    def part(self, part: Text | Media) -> Any:
        if isinstance(part, Text):
            return {"type": "text", "text": part.text}
        mime = part.mime or {"image": "image/*", "audio": "audio/*", "video": "video/*"}.get(part.kind, "")
        url = part.url or (f"data:{part.mime};base64,{part.data}" if part.data else "")
        if not url or not mime:
            self.report.lose(part.kind, "no equivalent")
            return None
        return {"type": "file", "mediaType": mime, "url": url, **({"filename": part.name} if part.name else {})}

    def call(self, call: Call, extra: Mapping[str, Any]) -> Any:
        value, is_error, is_own = self.results.get(call.id, (None, False, True))
        result = None
        if call.id in self.results:
            result = Result(call.id, value if is_own else self._output(value, is_error), call.name, is_error)
        return restored(_part(Call(call.id, call.name, arguments_object(call.arguments)), result), extra)

    def result(self, result: Result, extra: Mapping[str, Any]) -> Any:
        del result, extra  # the part of the call has it
        self.report.lose("tool_result", "incomplete")

    def _output(self, value: object, is_error: bool) -> object:
        """The value of a result from elsewhere: its words, or the value itself if it has none."""
        is_list = isinstance(value, list)
        parts = list(parts_of_value(value)) if is_list or is_error else []
        texts = [part.text for part in parts if isinstance(part, Text)]
        if texts or is_error:
            return "\n".join(texts)
        return value

    def _foreign(self, part: Part) -> Any:
        if isinstance(part, Reasoning) and part.text:
            return {"type": "reasoning", "text": part.text}
        return super()._foreign(part)
