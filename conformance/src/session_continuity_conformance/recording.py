"""Records the calls of an example, and shows them when it fails."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

from pydantic import BaseModel

from session_continuity import ForwardingAdapter, Page, Session, StorageAdapter

P = ParamSpec("P")
R = TypeVar("R")

SHOWN_CHARACTERS = 160
SHOWN_CALLS = 12
SHOWN_ITEMS = 4


@dataclass(slots=True)
class Call:
    """One call, with its arguments and its outcome."""

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
    """The calls of one example.

    `calls` are in the order in which they began. `last` is the one that ended last, without calls of `close` that went
    well: they only follow what went wrong. `session_ids` are those of every
    session that a call was asked to create, or returned. Nothing but these ids is added once the log is stopped.
    """

    calls: list[Call] = field(default_factory=list[Call])
    last: Call | None = None
    notes: list[str] = field(default_factory=list[str])
    session_ids: set[str] = field(default_factory=set[str])
    stopped: bool = False

    def begin(self, call: Call) -> None:
        """Add a call that begins."""
        self.session_ids.update(session_ids_in(call.args))
        if not self.stopped:
            self.calls.append(call)

    def end(self, call: Call, result: object = None) -> None:
        """Note that a call ended, with this result or with an error."""
        self.session_ids.update(session_ids_in(result))
        if not self.stopped and (call.failed or call.method != "close"):
            self.last = call

    def note(self, text: str) -> None:
        """Add a line that is not a call."""
        self.notes.append(text)

    def lines(self) -> list[str]:
        """The newest calls, for people."""
        hidden = len(self.calls) - SHOWN_CALLS
        earlier = [f"… {hidden} earlier {'call' if hidden == 1 else 'calls'}"] if hidden > 0 else []
        return earlier + [str(call) for call in self.calls[-SHOWN_CALLS:]] + self.notes


class Recorder(ForwardingAdapter):
    """Records every call in a log. Before each it calls `yield_control`, so that concurrent work really mixes."""

    def __init__(self, inner: StorageAdapter, log: Log, yield_control: Callable[[], Awaitable[None]]) -> None:
        super().__init__(inner)
        self._log = log
        self._yield_control = yield_control
        self.closed = False

    async def forward(self, method: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
        call = Call(method.__name__, args, kwargs)
        self.closed = self.closed or call.method == "close"
        self._log.begin(call)
        await self._yield_control()
        result: object = None
        try:
            returned = await super().forward(method, *args, **kwargs)
            result, call.outcome = returned, short(returned)
            return returned
        except BaseException as error:
            call.outcome, call.failed = short(error), True
            raise
        finally:
            self._log.end(call, result)


def session_ids_in(value: object) -> Iterator[str]:
    """The ids of the sessions in an argument or a result: a session, a page or other values with sessions in them."""
    if isinstance(value, Session):
        yield value.id
    elif isinstance(value, list | tuple | Page):
        for item in cast("Iterable[object]", value):
            yield from session_ids_in(item)
    elif is_dataclass(value):
        for each in fields(value):
            yield from session_ids_in(getattr(value, each.name))


def short(value: Any) -> str:
    """A value for people: models and value types without fields at their defaults, long text cut."""
    text = _text(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 1]}…"


def one_line(text: str) -> str:
    """A text with one space for each of its line ends and other white space."""
    return " ".join(text.split())


def _text(value: Any) -> str:
    if isinstance(value, BaseModel):
        stated = value.model_dump(mode="json", exclude_defaults=True)
        return _fields(value, {name: repr(item) for name, item in stated.items()})
    if isinstance(value, BaseException):
        return one_line(" → ".join(f"{type(error).__name__}: {error}" for error in reversed(chain(value))))
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


def _fields(value: object, texts: Mapping[str, str]) -> str:
    return f"{type(value).__name__}({', '.join(f'{name}={text}' for name, text in texts.items())})"


def _stated(value: Any) -> dict[str, str]:
    """The fields of a dataclass that are not at their defaults, as text."""
    stated = {each.name: getattr(value, each.name) for each in fields(value)}
    defaults = {each.name: each.default for each in fields(value)}
    return {name: _text(item) for name, item in stated.items() if item != defaults[name]}


def _items(values: Sequence[Any]) -> str:
    shown = [_text(value) for value in values[:SHOWN_ITEMS]]
    return f"[{', '.join([*shown, '…'] if len(values) > len(shown) else shown)}]"


def chain(error: BaseException) -> list[BaseException]:
    """The error, its cause, the cause of that, and so on."""
    found = [error]
    while (cause := found[-1].__cause__) is not None:
        found.append(cause)
    return found


def layers(adapter: StorageAdapter) -> list[StorageAdapter]:
    """The adapter and those inside it, the outermost first, without core's own."""
    found = [adapter]
    while isinstance(last := found[-1], ForwardingAdapter):
        found.append(last.inner)
    return [layer for layer in found if not _is_cores(type(layer).__module__)]


def _is_cores(module: str) -> bool:
    return module.partition(".")[0] == "session_continuity"


def source_of(adapter: StorageAdapter, method: str) -> str:
    """Where a method stands: `package/file.py:line Class.method`. A wrapper counts where it overrides the method."""
    functions = [inspect.unwrap(getattr(type(layer), method)) for layer in layers(adapter)]
    function = next((each for each in functions if not _is_cores(each.__module__)), functions[-1])
    code = function.__code__
    return f"{short_path(code.co_filename)}:{code.co_firstlineno} {function.__qualname__}"


def short_path(path: str) -> str:
    """The last two parts of a path, enough to find a file."""
    return "/".join(Path(path).parts[-2:])
