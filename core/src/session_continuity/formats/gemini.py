"""Conversion between Gemini's contents and this project's messages. Pure; Google's package is not needed.

    messages = from_gemini([response.candidates[0].content], previous=stored)
    request = to_gemini(context, model=model)
    client.models.generate_content(model=model, contents=request["contents"],
                                   config={"system_instruction": request.get("system_instruction")})

A part has no type in Gemini: `{"inline_data": …}` is stored as `{"type": "gemini:inline_data", "inline_data": …}`, and
bytes in it as `{"$bytes": base64}`. Keys may be written in either style, as the client (`inline_data`) or as the API
(`inlineData`) does. A content with function responses becomes a `tool` message, and a user message with what stands
beside them. A call without an id gets one here, and an answer without an id belongs to the oldest open call of its
name.

In annotations, `role` is the content's own role, where it has an unusual one; `joined` marks what stood in one content
with the message before; `apart` marks a content that is not to be joined with the answers before it, if all calls have
one; `camel` says that
calls and answers had the keys of the API; `top` is the form of the system instruction.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from session_continuity.blocks.parts import Call, Media, Result, Text, json_text
from session_continuity.blocks.providers import parts_of_value
from session_continuity.formats.bytes_in_json import pack, unpack
from session_continuity.formats.checks import list_at, numbered, object_from, string_at
from session_continuity.formats.reading import MessageReader, difference, minted_id, restored, result_runs
from session_continuity.formats.recognition import hint
from session_continuity.formats.writing import (
    NO_WORDS,
    AnyMessage,
    MessageWriter,
    Report,
    arguments_object,
    asks_without_words,
    to_write,
)
from session_continuity.models import NewMessage

__all__ = ["from_gemini", "to_gemini"]

FORMAT = "gemini"

_PREFIX = "gemini:"
_CALL, _RESPONSE = ("function_call", "functionCall"), ("function_response", "functionResponse")
_SIGNATURES = ("thought_signature", "thoughtSignature")
_UNSIGNED = base64.b64encode(b"skip_thought_signature_validator").decode()
"""What Google's documentation gives as the signature of a call that this model did not make. From Gemini 3 on, the API
refuses a model's content whose first call has no signature."""
_GENERATION = re.compile(r"gemini-(\d+)")
_FIRST_STRICT = 3
_KINDS: Mapping[str, str] = {
    "inlineData": "inline_data",
    "fileData": "file_data",
    "executableCode": "executable_code",
    "codeExecutionResult": "code_execution_result",
}


def from_gemini(
    contents: Iterable[object],
    system_instruction: object = None,
    *,
    previous: Iterable[AnyMessage] = (),
    model: str | None = None,
) -> list[NewMessage]:
    """The messages of a conversation with Gemini, ready for `add_messages`; they have no ids.

    Each item is a dict, or a `Content` of Google's client. `system_instruction` is a text or a content. `previous` are
    messages that were stored before, among which answers may find their calls. `model` is the model that wrote the
    answers; only that one may read its thought signatures again.

    Raises ChatFormatError for a content that is not in the format, and ValidationError if `contents` is not a list.
    """
    read: list[NewMessage] = []
    if system_instruction:
        read.extend(numbered([system_instruction], lambda _, raw: _system(raw)))
    reader = _Reader(model, previous)
    read.extend(numbered(contents, lambda _, raw: reader.read(raw), what="content"))
    return read


def _system(raw: object) -> Iterator[NewMessage]:
    if isinstance(raw, str):
        yield NewMessage(role="system", content=raw)
        return
    reader = MessageReader(FORMAT, "system")
    if isinstance(raw, list):
        fields, parts = {}, cast("list[object]", raw)
        reader.kept["top"] = "parts"
    else:
        fields = object_from(raw, "a system instruction")
        parts = list_at(fields, "parts")
        reader.kept["top"] = {key: value for key, value in fields.items() if key != "parts"}
    for place, part in enumerate(parts, 1):
        _read_block(reader, _checked({"text": part} if isinstance(part, str) else part, f"part {place}"))
    yield reader.message()


class _Reader:
    def __init__(self, model: str | None, previous: Iterable[AnyMessage]) -> None:
        self._model = model
        self._open: dict[str, list[str]] = {}
        self._after_answers = False
        for message in previous:
            for call in message.metadata.tool_calls:
                self._open.setdefault(call.name, []).append(call.id)
            for result in message.metadata.tool_results:
                self._close(result.tool_call_id)

    def read(self, raw: object) -> Iterator[NewMessage]:
        fields = object_from(raw, "a content")
        try:
            parts = list_at(fields, "parts") if fields.get("parts") is not None or "role" not in fields else []
            checked = [_checked(part, f"part {place}") for place, part in enumerate(parts, 1)]
            role = fields.get("role")
            if role not in (None, "user", "model", "function"):
                raise ValueError("'role': must be one of user, model")
        except ValueError as error:
            raise ValueError(f"{error}{hint(raw, FORMAT)}") from None
        extra = {key: pack(value) for key, value in fields.items() if key not in ("role", "parts")}
        runs = list(result_runs(checked, _is_answer))
        for place, (are_answers, run) in enumerate(runs):
            plain = "tool" if are_answers else "assistant" if role == "model" else "user"
            reader = MessageReader(FORMAT, plain, model=self._model)
            usual = {"assistant": "model"}.get(plain, "user")
            if role != usual:
                reader.kept["role"] = role
            if place:
                reader.kept["joined"] = True
            elif are_answers and self._after_answers:
                reader.kept["apart"] = True
            if "parts" not in fields:
                reader.kept["no_parts"] = True
            if extra and not place:
                reader.kept["message"] = extra
            for part in run:
                self._read_part(reader, part)
            yield reader.message()
        self._after_answers = any(are_answers for are_answers, _ in runs)

    def _read_part(self, reader: MessageReader, part: dict[str, Any]) -> None:
        if key := _key(part, _CALL):
            self._call(reader, part, key)
        elif key := _key(part, _RESPONSE):
            self._answer(reader, part, key)
        else:
            _read_block(reader, part)

    def _call(self, reader: MessageReader, part: dict[str, Any], key: str) -> None:
        call = part[key]
        id = call.get("id") or minted_id()
        self._open.setdefault(call["name"], []).append(id)
        arguments = call.get("args")
        typed: dict[str, Any] = {
            "id": id,
            "name": call["name"],
            "arguments": arguments if isinstance(arguments, dict) else {},
        }
        extra = _extra(part, key, difference(call, {"id": id, "name": call["name"], "args": {}}, ("name", "args")))
        _note_style(reader, key, _CALL)
        reader.call(typed, extra, bound=_key(part, _SIGNATURES) is not None)

    def _answer(self, reader: MessageReader, part: dict[str, Any], key: str) -> None:
        answer = part[key]
        name, response = answer["name"], answer.get("response")
        waiting = self._open.get(name) or [f"call-{name}"]
        id = answer.get("id") or waiting[0]
        self._close(id)
        result = {"tool_call_id": id, "result": response, "name": name}
        if isinstance(response, dict) and "error" in response:
            result["is_error"] = True
        lacking = difference(answer, {"id": id, "name": name, "response": {}}, ("name", "response"))
        _note_style(reader, key, _RESPONSE)
        reader.result(result, _extra(part, key, lacking), is_own=True)

    def _close(self, id: str) -> None:
        for ids in self._open.values():
            if id in ids:
                ids.remove(id)
                return


def _extra(part: Mapping[str, Any], key: str, inner: dict[str, Any]) -> dict[str, Any]:
    """The further keys of a part and, under `in`, those of the call or answer in it."""
    extra = {name: value for name, value in part.items() if name != key}
    return {**extra, "in": inner} if inner else extra


def _note_style(reader: MessageReader, key: str, keys: tuple[str, str]) -> None:
    if key == keys[1]:
        reader.kept["camel"] = True


def _is_answer(part: Mapping[str, Any]) -> bool:
    return _key(part, _RESPONSE) is not None


def _key(part: Mapping[str, Any], keys: tuple[str, str]) -> str | None:
    """The one of two styles of a key that a part has."""
    return next((key for key in keys if part.get(key) is not None), None)


def _checked(raw: object, where: str) -> dict[str, Any]:
    part = object_from(raw, where)
    if "type" in part:
        raise ValueError(f"{where} must have no 'type'")
    for keys in (_CALL, _RESPONSE):
        if key := _key(part, keys):
            string_at(object_from(part[key], f"'{key}' of {where}"), "name", f"'{key}' of {where}")
    if "text" in part and len(part) == 1:
        string_at(part, "text", where)
    packed: dict[str, Any] = pack(part)
    return packed


def _read_block(reader: MessageReader, part: dict[str, Any]) -> None:
    if part.keys() == {"text"}:
        reader.text(part["text"])
        return
    kind = next((key for key in part if key not in ("thought", *_SIGNATURES)), "part")
    kind = "text" if isinstance(part.get("text"), str) else _KINDS.get(kind, kind)
    reader.block({"type": _PREFIX + kind, **part}, bound=_key(part, _SIGNATURES) is not None)


def to_gemini(context: Iterable[AnyMessage], *, model: str | None = None) -> dict[str, Any]:
    """The messages as `contents`, and `system_instruction` where there is a system prompt.

    Contents from `from_gemini` come back as they were. Thought signatures of another model than `model` are left out.
    If `model` is Gemini 3 or later, a content whose first call has no signature gets the one that Google documents for
    calls from elsewhere. `convert` tells what is left out.
    """
    return write(context, Report(), model)


def write(context: Iterable[AnyMessage], report: Report, model: str | None) -> dict[str, Any]:
    """The request of `to_gemini`, with an account of what it leaves out."""
    messages = list(context)
    writer = _Writer(report, model)
    writer.names = {call.id: call.name for message in messages for call in message.metadata.tool_calls}
    system: list[Any] = []
    contents: list[dict[str, Any]] = []
    for message, kept in to_write(messages, report, FORMAT):
        writer.is_camel = bool(kept and kept.get("camel"))
        parts = writer.items(message, kept)
        if message.role == "system":
            system.append(_instruction(message, parts, kept))
        elif not parts and not (kept and kept.get("no_parts")):
            report.lose("message", "empty")
            if asks_without_words(message, contents):
                _append(contents, message, [{"text": NO_WORDS}], kept or {})
        else:
            _append(contents, message, parts, kept or {})
    if _wants_signatures(model):
        for content in contents:
            _sign(content.get("parts", ()))
    request: dict[str, Any] = {"contents": contents}
    if len(system) == 1:
        request["system_instruction"] = system[0]
    elif system:
        request["system_instruction"] = {"parts": [part for one in system for part in _instruction_parts(one)]}
    return request


def _wants_signatures(model: str | None) -> bool:
    generation = _GENERATION.search(model or "")
    return generation is not None and int(generation[1]) >= _FIRST_STRICT


def _sign(parts: Iterable[dict[str, Any]]) -> None:
    """Sign the first call of a content, if it has no signature."""
    call = next((part for part in parts if _key(part, _CALL)), None)
    if call is not None and not _key(call, _SIGNATURES):
        call[_SIGNATURES[_key(call, _CALL) == _CALL[1]]] = _UNSIGNED


def _instruction(message: AnyMessage, parts: list[Any], kept: Mapping[str, Any] | None) -> Any:
    top: object = kept.get("top") if kept else None
    if isinstance(top, dict):
        return {**cast("dict[str, Any]", top), "parts": parts}
    if top == "parts":
        return parts
    return message.content if isinstance(message.content, str) else {"parts": parts}


def _instruction_parts(instruction: Any) -> Any:
    if isinstance(instruction, str):
        return [{"text": instruction}] if instruction else []
    return cast("dict[str, Any]", instruction)["parts"] if isinstance(instruction, dict) else instruction


def _append(contents: list[dict[str, Any]], message: AnyMessage, parts: list[Any], kept: Mapping[str, Any]) -> None:
    role = kept.get("role", "model" if message.role == "assistant" else "user")
    joins = kept.get("joined") or (message.role == "tool" and _continues_answers(contents, kept))
    if joins and contents and contents[-1].get("role") == role:
        contents[-1]["parts"] = [*contents[-1]["parts"], *parts]
        return
    content: dict[str, Any] = {} if role is None else {"role": role}
    if not kept.get("no_parts"):
        content["parts"] = parts
    contents.append({**content, **unpack(kept.get("message", {}))})


def _continues_answers(contents: list[dict[str, Any]], kept: Mapping[str, Any]) -> bool:
    """Whether answers belong to the last content: it has answers, and these stood in it or a call still waits for
    one."""
    calls, answers = (_number(contents[-back:][:1], keys) for back, keys in ((2, _CALL), (1, _RESPONSE)))
    return answers > 0 and (not kept.get("apart") or answers < calls)


def _number(contents: list[dict[str, Any]], keys: tuple[str, str]) -> int:
    """How many parts of the contents have one of these keys."""
    return sum(_key(part, keys) is not None for content in contents for part in content.get("parts", ()))


class _Writer(MessageWriter):
    format = FORMAT
    names: dict[str, str]
    is_camel = False
    """Whether the present message has the keys of the API."""

    def own(self, block: dict[str, Any]) -> Any:
        return {key: unpack(value) for key, value in block.items() if key != "type"}

    def part(self, part: Text | Media) -> Any:
        if isinstance(part, Text):
            if part.text:
                return {"text": part.text}
            self.report.lose("text", "empty")
            return None
        mime = part.mime
        if part.data and mime:
            return {"inline_data": {"mime_type": mime, "data": part.data}}
        if part.url:
            return {"file_data": {"file_uri": part.url, **({"mime_type": mime} if mime else {})}}
        self.report.lose(part.kind, "no equivalent")
        return None

    def unbound(self, extra: Mapping[str, Any]) -> Mapping[str, Any]:
        if _key(extra, _SIGNATURES):
            self.report.lose("thought_signature", "other model")
        return {key: value for key, value in extra.items() if key not in _SIGNATURES}

    def _block(self, block: dict[str, Any], kept: Mapping[str, Any] | None) -> list[Any]:
        if kept is not None and self.is_other_model(kept):
            block = dict(self.unbound(block))
        return super()._block(block, kept)

    def call(self, call: Call, extra: Mapping[str, Any]) -> Any:
        written = {"name": call.name, "id": call.id, "args": arguments_object(call.arguments)}
        return self._wrapped(_CALL, written, extra)

    def result(self, result: Result, extra: Mapping[str, Any]) -> Any:
        response = result.value
        if not self.is_own or not isinstance(response, (dict, type(None))):
            response = {"error" if result.is_error else "output": self._output(response)}
        name = self.names.get(result.call_id) or result.name or "tool"
        return self._wrapped(_RESPONSE, {"name": name, "id": result.call_id, "response": response}, extra)

    def _wrapped(self, keys: tuple[str, str], written: dict[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
        rest = {key: unpack(value) for key, value in extra.items() if key != "in"}
        return {keys[self.is_camel]: restored(written, extra.get("in")), **rest}

    def _output(self, value: Any) -> Any:
        if isinstance(value, (dict, int, float)):
            return cast("object", value)
        items = self.result_items(value)
        texts = [item["text"] for item in items if "text" in item]
        for part in parts_of_value(value):
            if isinstance(part, Media):
                self.report.lose(part.kind, "not allowed here")
        return "\n".join(texts) if texts or not value else json_text(value) if isinstance(value, str) else ""
