"""Calls in a form that providers accept: arguments that are an object, and ids that are used once. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from pydantic_core import from_json

from session_continuity.blocks.parts import Call, Result
from session_continuity.context.counting import MessageCounter
from session_continuity.context.entries import Entry
from session_continuity.context.rewriting import with_call, with_result
from session_continuity.models import Message

__all__ = ["make_ids_unique", "take_named", "wrap_arguments"]

_ARGUMENTS = "arguments of a call were put into an object"
_IDS = "the id of a call was used before"

_RAW = "arguments"
"""The key under which arguments are shown that are not an object."""


def wrap_arguments(entry: Entry, counter: MessageCounter) -> None:
    """Show the arguments of the entry's calls as objects, whatever they are."""
    message, more = entry.message, 0
    for call in entry.calls:
        if (arguments := _acceptable(message, call)) is not None:
            message = with_call(message, call.place, arguments=arguments)
            shown = replace(call, arguments=arguments)
            more += counter.count_text(shown.arguments_text) - counter.count_text(call.arguments_text)
    if message is not entry.message:
        entry.change(message, max(entry.tokens + more, 0), "changed", _ARGUMENTS)


def make_ids_unique(entries: Iterable[Entry]) -> None:
    """Show each call with an id that no other call of the entries has. Each call's results stand directly behind it.

    Ids are not counted, so the tokens stay.
    """
    used = _UsedIds()
    renamed: dict[str, list[Call]] = {}
    for entry in entries:
        calls = entry.calls
        if renamed and entry.results:
            _change_ids(entry, _with_renamed_results(entry.message, entry.results, renamed))
        if calls:
            renamed = _rename_calls(entry, calls, used)


def _acceptable(message: Message, call: Call) -> Any:
    """Arguments to show in place of the call's; None if its own are accepted."""
    arguments = call.arguments
    if isinstance(arguments, dict):
        return None
    is_typed, index = call.place[0] == "tool_calls", call.place[1]
    kind = "" if is_typed else str(message.content[index].get("type", ""))  # type: ignore[union-attr]
    if kind.endswith("_call") and kind != "function_call":
        return None  # a tool that takes any text
    if isinstance(arguments, str) and (is_typed or kind == "function_call"):
        return None if _is_object(arguments) else json.dumps(_as_object(arguments), ensure_ascii=False)
    return _as_object(arguments)


def _is_object(text: str) -> bool:
    try:
        return isinstance(from_json(text, allow_inf_nan=False), dict)
    except ValueError:
        return isinstance(_parsed(text), dict)  # Python also takes the escape of half a character


def _as_object(arguments: Any) -> dict[str, Any]:
    value = _parsed(arguments) if isinstance(arguments, str) else arguments
    if isinstance(value, dict):
        return value  # pyright: ignore[reportUnknownVariableType]
    return {} if value in (None, "", [], {}) else {_RAW: value}


def _parsed(text: str) -> Any:
    """The JSON value; the text itself if it is not JSON."""
    try:
        return _DECODER.decode(text) if text.strip() else None
    except (ValueError, RecursionError):
        return text


def _refuse(constant: str) -> Any:
    raise ValueError(constant)  # NaN and Infinity are not JSON


_DECODER = json.JSONDecoder(parse_constant=_refuse)


class _UsedIds:
    """The ids of calls that are used, and a way to new ones."""

    def __init__(self) -> None:
        self._used: set[str] = set()
        self._numbers: dict[str, int] = {}

    def take(self, calls: Sequence[Call]) -> bool:
        """Whether the calls have ids that are not used and differ from each other. These are used from now on."""
        ids = {call.id for call in calls if call.id}
        if len(ids) < len(calls) or not self._used.isdisjoint(ids):
            return False
        self._used |= ids
        return True

    def unique(self, call_id: str) -> str:
        """The id, with a number behind it if it is used. It is used from now on."""
        new = call_id
        while new in self._used:
            number = self._numbers[call_id] = self._numbers.get(call_id, 1) + 1
            new = f"{call_id}-{number}"
        self._used.add(new)
        return new


def take_named(calls: list[Call], name: str) -> Call:
    """The first of these calls with this name, which is taken off the list; the first of all if none has it."""
    place = next((place for place, call in enumerate(calls) if call.name == name), 0) if name else 0
    return calls.pop(place)


def _rename_calls(entry: Entry, calls: Sequence[Call], used: _UsedIds) -> dict[str, list[Call]]:
    """Give calls whose id is used another one. Returns the calls with their new ids, by the old ones."""
    if used.take(calls):
        return {}
    message, renamed = entry.message, dict[str, list[Call]]()
    for call in calls:
        if call.id:
            new = used.unique(call.id)
            renamed.setdefault(call.id, []).append(replace(call, id=new))
            if new != call.id:
                message = with_call(message, call.place, call_id=new)
    _change_ids(entry, _with_renamed_results(message, entry.results, renamed))
    return renamed


def _change_ids(entry: Entry, message: Message) -> None:
    if message is not entry.message:
        entry.change(message, entry.tokens, "changed", _IDS)


def _with_renamed_results(message: Message, results: Sequence[Result], renamed: dict[str, list[Call]]) -> Message:
    for result in results:
        if waiting := renamed.get(result.call_id):
            new = take_named(waiting, result.name).id
            message = message if new == result.call_id else with_result(message, result.place, call_id=new)
    return message
