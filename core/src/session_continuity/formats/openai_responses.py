"""Conversion between the items of OpenAI's Responses API and this project's messages. Pure; OpenAI's package is not
needed.

    messages = from_openai_responses(response.output, model=response.model)
    client.responses.create(model=model, store=False, **to_openai_responses(context, model=model))

What a model puts out between two inputs is one assistant message here: a call and the reasoning that led to it must
not be separated. Its texts are the content, its function calls are calls, and every other item is a block. In
annotations, `items` describes the message items of such a turn: `of` how many blocks each has, `text` that its content
is a string, `item` and `parts` the further keys of it and of its parts. `instructions` marks the instructions, `whole`
an input that is an item of its own, and `one` an output that is a single object.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, cast

from pydantic import ValidationError as PydanticError

from session_continuity.blocks.parts import Call, Media, Result, Text
from session_continuity.formats.checks import (
    kind_of,
    list_at,
    numbered,
    object_from,
    refuse_keys,
    string_at,
    without_library,
)
from session_continuity.formats.reading import MessageReader, difference, minted_id, restored
from session_continuity.formats.recognition import foreign_block, hint, recognize
from session_continuity.formats.writing import (
    AnyMessage,
    MessageWriter,
    Report,
    safe_id,
    to_write,
)
from session_continuity.models import NewMessage

__all__ = ["from_openai_responses", "to_openai_responses"]

FORMAT = "openai_responses"

_ROLES = {"user": "user", "system": "system", "developer": "system", "assistant": "assistant"}
_ARGUMENTS: Mapping[str, str] = {"function_call": "arguments", "custom_tool_call": "input"}
"""The calls that have a name, and the key of their arguments."""
_ALONE: Mapping[str, str] = {
    "mcp_approval_response": "user",
    "configuration_update": "system",
    "additional_tools": "system",
}
"""Inputs that are neither messages nor outputs of calls, and the role of the message for each."""
_TEXTS = ("text", "input_text", "output_text")
_PARTS = frozenset((*_TEXTS, "refusal", "input_image", "input_file", "input_audio"))
"""The blocks that stand in a message item. Any other block is an item."""
_REASONING = "reasoning"
_ANY = " -~\u00a0-\U0010ffff"


def from_openai_responses(
    input: Iterable[object] | str, instructions: str | None = None, *, model: str | None = None
) -> list[NewMessage]:
    """The messages of a conversation in Responses items, ready for `add_messages`; they have no ids.

    Each item is a dict, or an object of OpenAI's client: also a whole response, of which the output is read. A string
    in place of the items is what the user says. `model` is the model that wrote the answers, if no response says so;
    only that one may read its reasoning again.

    Raises ChatFormatError for an item that is not in the format, and ValidationError if `input` is not a list.
    """
    read: list[NewMessage] = []
    if instructions:
        about = {"annotations": {FORMAT: {"instructions": True}}}
        read.append(NewMessage.model_validate({"role": "system", "content": instructions, "metadata": about}))
    items = [{"role": "user", "content": input}] if isinstance(input, str) else input
    reader = _Reader(model)
    read.extend(numbered(items, reader.read, what="item"))
    read.extend(reader.end())
    return read


class _Reader:
    def __init__(self, model: str | None) -> None:
        self._model = model
        self._turn: MessageReader | None = None
        self._entries: list[dict[str, Any]] = []

    def read(self, number: int, raw: object) -> Iterator[NewMessage]:
        item = object_from(raw, "an item")
        if item.get("object") == "response":
            self._model = item["model"] if isinstance(item.get("model"), str) else self._model
            for part in list_at(item, "output"):
                yield from self.read(number, without_library(part))
            return
        try:
            kind = self._kind(item)
            yield from self._item(item, kind)
        except PydanticError:
            raise  # a field of the message is wrong, not the format
        except ValueError as error:
            raise ValueError(f"{error}{hint(raw, FORMAT)}") from None

    def end(self) -> Iterator[NewMessage]:
        """The turn that is still open."""
        if self._turn is not None:
            entries = [entry for entry in self._entries if entry["of"]]
            if entries and entries != [{"of": 1, "text": True}]:
                self._turn.kept["items"] = entries
            turn, self._turn, self._entries = self._turn, None, []
            yield turn.message()

    def _kind(self, item: dict[str, Any]) -> str:
        kind = item.get("type")
        if kind is None and "role" in item:
            kind = "message"
        if not isinstance(kind, str):
            raise ValueError(f"an item must have a string as its 'type' or 'role', not {kind_of(kind)}")
        if kind == "message":
            role = string_at(item, "role", "a message")
            refuse_keys(item, "tool_calls", "function_call", "parts", "toolInvocations")
            if role not in _ROLES:
                raise ValueError(f"'role': must be one of {', '.join(_ROLES)}")
        elif "role" in item and "content" in item:
            raise ValueError("an item with 'role' and 'content' must have the type 'message'")
        return kind

    def _item(self, item: dict[str, Any], kind: str) -> Iterator[NewMessage]:
        is_input = kind in _ALONE or kind.endswith("_output")
        if is_input or (kind == "message" and item["role"] != "assistant"):
            message = _output(item, kind) if is_input else _input(item)
            yield from self.end()
            yield message
            return
        turn = self._turn = self._turn or MessageReader(FORMAT, "assistant", model=self._model)
        if kind == "message":
            self._entries.append(_message(turn, item))
        elif kind.endswith("_call") and isinstance(item.get("call_id"), str):
            _call(turn, item, kind)
        elif recognize(item) not in (None, FORMAT):
            raise ValueError(f"an item must not have the type {kind!r}")
        else:
            turn.block(item, bound=kind == _REASONING)


def _content(item: Mapping[str, Any]) -> str | list[dict[str, Any]]:
    content = item.get("content")
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise ValueError(f"'content' must be a string or a list of parts, not {kind_of(content)}")
    parts: list[dict[str, Any]] = []
    for place, raw in enumerate(cast("list[object]", content), 1):
        part = object_from(raw, f"content part {place}")
        kind = string_at(part, "type", f"content part {place}")
        if kind == "text" or (foreign_block(kind, FORMAT) and kind != "input_audio"):
            raise ValueError(f"content part {place} has the type {kind!r}")
        if kind in _TEXTS:
            string_at(part, "text", f"content part {place}")
        parts.append(part)
    return parts


def _input(item: dict[str, Any]) -> NewMessage:
    """The message of a user or developer."""
    content, about = _content(item), {key: value for key, value in item.items() if key not in ("role", "content")}
    if item["role"] == "developer":
        about["role"] = "developer"
    reader = MessageReader(FORMAT, _ROLES[item["role"]], is_list=not isinstance(content, str))
    if about:
        reader.kept["message"] = about
    if isinstance(content, str):
        reader.text(content)
    else:
        for part in content:
            if part.keys() == {"type", "text"} and part["type"] == "input_text":
                reader.text(part["text"])
            else:
                reader.block(part)
    return reader.message()


def _output(item: dict[str, Any], kind: str) -> NewMessage:
    """The message of an output of a call, or of another input that stands alone."""
    call_id, output = item.get("call_id"), item.get("output")
    if kind in _ALONE or not isinstance(call_id, str) or output is None:
        if kind == "function_call_output":
            string_at(item, "call_id", "a function_call_output")
            raise ValueError(f"'output' must be a string or a list of parts, not {kind_of(output)}")
        alone = MessageReader(FORMAT, _ALONE.get(kind, "user"), is_list=True)
        alone.kept["whole"] = True
        alone.block(item)
        return alone.message()
    reader = MessageReader(FORMAT, "tool")
    extra = difference(item, {"type": "function_call_output", "call_id": "", "output": ""}, ("call_id", "output"))
    result: dict[str, Any] = {"tool_call_id": call_id or minted_id(), "result": output}
    if isinstance(output, dict):
        result["result"], extra["one"] = [output], True
    if isinstance(item.get("name"), str):
        result["name"] = item["name"]
    if item.get("status") == "incomplete":
        result["is_error"] = True
    reader.result(result, extra, is_own=not isinstance(output, str))
    return reader.message()


def _message(turn: MessageReader, item: dict[str, Any]) -> dict[str, Any]:
    """Add the blocks of an assistant's message item to the turn. Returns its description."""
    content = _content(item)
    about = {key: value for key, value in item.items() if key not in ("role", "content")}
    entry: dict[str, Any] = {"of": 1 if isinstance(content, str) else len(content)}
    if about:
        entry["item"] = about
    if isinstance(content, str):
        turn.text(content)
        return {**entry, "text": True}
    extras: list[dict[str, Any]] = []
    for part in content:
        if part["type"] == "output_text":
            turn.text(part["text"])
            extras.append({key: value for key, value in part.items() if key not in ("type", "text")})
        else:
            turn.block(part)
            extras.append({})
    return {**entry, "parts": extras} if any(extras) else entry


def _call(turn: MessageReader, item: dict[str, Any], kind: str) -> None:
    key = _ARGUMENTS.get(kind)
    if key is None:  # a call of one of OpenAI's tools that the application runs, such as a computer
        arguments: Any = next((item[name] for name in ("action", "operation", "arguments") if name in item), "")
        name, typed = kind, ["call_id"]
    else:
        arguments, name = item.get(key), string_at(item, "name", f"a {kind}")
        typed = ["call_id", "name", key]
        if not isinstance(arguments, (str, dict, type(None))):
            raise ValueError(f"'{key}' must be a string, not {kind_of(arguments)}")
    written = {"type": "function_call", "call_id": "", "name": "", key or "arguments": ""}
    if not isinstance(arguments, (str, dict)):
        arguments = "" if arguments is None else json.dumps(arguments, ensure_ascii=False)
    call: dict[str, Any] = {"id": item["call_id"] or minted_id(), "name": name, "arguments": arguments}
    turn.call(call, difference(item, written, typed))


def to_openai_responses(context: Iterable[AnyMessage], *, model: str | None = None) -> dict[str, Any]:
    """The messages as `input`, and `instructions` where there are any: arguments of `client.responses.create`.

    Items from `from_openai_responses` come back as they were. Reasoning that another model than `model` wrote is left
    out, and so is reasoning that nothing follows, because OpenAI refuses it. `convert` tells what is left out.
    """
    return write(context, Report(), model)


def write(context: Iterable[AnyMessage], report: Report, model: str | None) -> dict[str, Any]:
    """The request of `to_openai_responses`, with an account of what it leaves out."""
    writer = _Writer(report, model)
    items: list[Any] = []
    instructions: list[str] = []
    for message, kept in to_write(context, report, FORMAT):
        if kept and kept.get("instructions") and isinstance(message.content, str):
            instructions.append(message.content)
            continue
        written = _items(writer, message, kept)
        if not written:
            report.lose("message", "empty")
        items.extend(written)
    return {"input": items, **({"instructions": "\n\n".join(instructions)} if instructions else {})}


def _items(writer: _Writer, message: AnyMessage, kept: dict[str, Any] | None) -> list[Any]:
    if kept and kept.get("whole"):
        return list(message.content)
    pieces = writer.items(message, kept)
    if message.role == "assistant":
        return _usable(list(_turn(pieces, kept.get("items") if kept else None)), writer, kept)
    results = [piece for piece in pieces if piece["type"] not in _PARTS]
    parts = [piece for piece in pieces if piece["type"] in _PARTS]
    if not parts:
        return results
    content = message.content if isinstance(message.content, str) else parts
    return [*results, {"role": _role(message), "content": content, **(kept or {}).get("message", {})}]


def _role(message: AnyMessage) -> str:
    return "user" if message.role == "tool" else message.role


def _turn(pieces: Sequence[dict[str, Any]], entries: object) -> Iterator[dict[str, Any]]:
    """The items of an assistant's turn, with its texts in message items as they were, or each in one of its own."""
    texts = sum(piece["type"] in _PARTS for piece in pieces)
    if not isinstance(entries, list) or sum(entry["of"] for entry in cast("list[Mapping[str, int]]", entries)) != texts:
        entries = [{"of": 1, "text": True}] * texts
    queue, rest = iter(cast("list[dict[str, Any]]", entries)), iter(pieces)
    for piece in rest:
        if piece["type"] in _PARTS:
            entry = next(queue)
            yield _message_item([piece, *islice(rest, entry["of"] - 1)], entry)
        else:
            yield piece


def _message_item(parts: Sequence[dict[str, Any]], entry: Mapping[str, Any]) -> dict[str, Any]:
    if entry.get("text"):
        content: Any = parts[0].get("text", parts[0].get("refusal"))
    else:
        extras: list[dict[str, Any]] = entry.get("parts") or [{} for _ in parts]
        content = [{**part, **extra} for part, extra in zip(parts, extras, strict=False)]
    return {"role": "assistant", "content": content, **entry.get("item", {})}


def _usable(turn: list[dict[str, Any]], writer: _Writer, kept: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The items without reasoning that nothing follows, and without ids that refer to reasoning that was left out."""
    while turn and turn[-1].get("type") == _REASONING:
        turn.pop()
        writer.report.lose(_REASONING, "incomplete")
    if writer.is_other_model(kept):
        return [{key: value for key, value in item.items() if key != "id"} for item in turn]
    return turn


class _Writer(MessageWriter):
    format = FORMAT
    bound = frozenset((_REASONING,))

    def part(self, part: Text | Media) -> Any:
        if isinstance(part, Text):
            return {"type": "output_text" if self.role == "assistant" else "input_text", "text": part.text}
        if self.role not in ("user", "tool"):
            self.report.lose(part.kind, "not allowed here")
            return None
        url = part.url or (f"data:{part.mime};base64,{part.data}" if part.data and part.mime else "")
        if part.kind not in ("image", "file") or not url:
            self.report.lose(part.kind, "no equivalent")
            return None
        if part.kind == "image":
            detail = part.detail if part.detail in ("low", "high") else "auto"
            return {"type": "input_image", "image_url": url, "detail": detail}
        if part.url:
            return {"type": "input_file", "file_url": url}
        return {"type": "input_file", "file_data": url, "filename": part.name or "file"}

    def call(self, call: Call, extra: Mapping[str, Any]) -> Any:
        kind = extra.get("type", "function_call")
        arguments = call.arguments
        if not isinstance(arguments, str):
            arguments = json.dumps(arguments, ensure_ascii=False)
        key = _ARGUMENTS.get(kind, "arguments")
        written = {"type": kind, "call_id": safe_id(call.id, _ANY), "name": call.name, key: arguments}
        return restored(written, extra)

    def result(self, result: Result, extra: Mapping[str, Any]) -> Any:
        output: Any = result.value
        if self.is_own and extra.get("one") and output:
            output = output[0]
        elif not isinstance(output, str) and not (self.is_own and isinstance(output, list)):
            output = self._parts(output)
        rest = {key: value for key, value in extra.items() if key != "one"}
        written: dict[str, Any] = {
            "type": "function_call_output",
            "call_id": safe_id(result.call_id, _ANY),
            "output": output,
        }
        if result.is_error and "status" not in rest:
            self.report.lose("is_error", "no equivalent")
        return restored(written, rest)

    def _parts(self, value: Any) -> Any:
        items = self.result_items(value)
        if all(item["type"] == "input_text" for item in items):
            return "\n".join(item["text"] for item in items)
        return items
