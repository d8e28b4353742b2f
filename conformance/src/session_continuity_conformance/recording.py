"""Remembers what an example did to the adapter, so that a failure can tell it."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from pydantic import BaseModel

from session_continuity import Page, StorageAdapter
from session_continuity_conformance.wrapping import Forwarding, Method

P = ParamSpec("P")
R = TypeVar("R")

SHOWN = 160
KEPT = 12


@dataclass(slots=True)
class Call:
    """One call: its arguments, and what came of it."""

    method: str
    args: tuple[Any, ...]
    options: Mapping[str, Any]
    outcome: str = "did not return"
    failed: bool = False

    def __str__(self) -> str:
        shown = [short(value) for value in self.args]
        shown += [f"{name}={short(value)}" for name, value in self.options.items() if value not in (None, ())]
        return f"{self.method}({', '.join(shown)}) → {self.outcome}"


@dataclass(slots=True)
class Log:
    """The calls of one example in the order in which they began, and the last one that ended."""

    calls: list[Call] = field(default_factory=list[Call])
    last: Call | None = None
    notes: list[str] = field(default_factory=list[str])
    stopped: bool = False

    def add(self, call: Call) -> None:
        """A call begins."""
        if not self.stopped:
            self.calls.append(call)

    def ended(self, call: Call) -> None:
        """A call ended, one way or another."""
        if not self.stopped:
            self.last = call

    def note(self, text: str) -> None:
        """Add what is not a call."""
        self.notes.append(text)

    def lines(self) -> list[str]:
        """The newest calls, for people."""
        left_out = len(self.calls) - KEPT
        earlier = [f"… {left_out} earlier {'call' if left_out == 1 else 'calls'}"] if left_out > 0 else []
        return earlier + [str(call) for call in self.calls[-KEPT:]] + self.notes


class Recorder(Forwarding):
    """Notes every call in a log, and gives way to concurrent work before each."""

    def __init__(self, inner: StorageAdapter, log: Log, give_way: Callable[[], Awaitable[None]]) -> None:
        super().__init__(inner)
        self._log = log
        self._give_way = give_way
        self.closed = False

    async def forward(self, method: Method[P, R], /, *args: P.args, **options: P.kwargs) -> R:
        call = Call(method.__name__, args, options)
        self.closed = self.closed or call.method == "close"
        self._log.add(call)
        await self._give_way()
        try:
            result = await super().forward(method, *args, **options)
        except BaseException as error:
            call.outcome, call.failed = short(error), True
            raise
        else:
            call.outcome = short(result)
            return result
        finally:
            self._log.ended(call)


def short(value: Any) -> str:
    """A value for people: models and value types without their defaults, long texts cut."""
    text = _text(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def _text(value: Any) -> str:
    if isinstance(value, BaseModel):
        told = value.model_dump(mode="json", exclude_defaults=True)
        return _fields(value, {name: repr(item) for name, item in told.items()})
    if isinstance(value, BaseException):
        return f"{type(value).__name__}: {value}"
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Page):
        more = "" if value.next_cursor is None else f" and next_cursor={value.next_cursor!r}"
        return f"{_items(value)}{more}"  # pyright: ignore[reportUnknownArgumentType]  # of any type
    if isinstance(value, (list, tuple)):
        return _items(value)  # pyright: ignore[reportUnknownArgumentType]  # of any type
    if is_dataclass(value) and not isinstance(value, type):
        return _fields(value, _stated(value))
    return repr(value)


def _fields(value: object, told: Mapping[str, str]) -> str:
    return f"{type(value).__name__}({', '.join(f'{name}={item}' for name, item in told.items())})"


def _stated(value: Any) -> dict[str, str]:
    """The fields of a dataclass that are not at their defaults."""
    stated = {each.name: getattr(value, each.name) for each in fields(value)}
    defaults = {each.name: each.default for each in fields(value)}
    return {name: _text(item) for name, item in stated.items() if item != defaults[name]}


def _items(values: Sequence[Any]) -> str:
    shown = [_text(value) for value in values[:4]]
    return f"[{', '.join([*shown, '…'] if len(values) > len(shown) else shown)}]"


def source_of(adapter: StorageAdapter, method: str) -> str:
    """Where a method of the adapter stands: `package/file.py:line Class.method`."""
    function = inspect.unwrap(getattr(type(adapter), method))
    code = function.__code__
    return f"{short_path(code.co_filename)}:{code.co_firstlineno} {function.__qualname__}"


def short_path(path: str) -> str:
    """The last two parts of a path, enough to find a file."""
    return "/".join(Path(path).parts[-2:])
