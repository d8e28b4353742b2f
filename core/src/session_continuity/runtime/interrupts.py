"""Exceptions that signal handlers raise, such as KeyboardInterrupt or that of a time limit."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from traceback import walk_tb
from types import CodeType, FunctionType
from typing import Any

from pydantic_core import PydanticSerializationError

__all__ = ["interrupt_in", "is_broken_off"]

_LOST = re.compile(r": (?P<name>KeyboardInterrupt|SystemExit): ?(?P<text>[^)\n]*)")
_FROM_PYTHON = re.compile(r": (?!Unicode)[A-Z]\w*:")


def interrupt_in(error: BaseException) -> BaseException | None:
    """The exception of a signal handler that is this error or its cause, None if there is none.

    Python runs a signal handler between two steps of the program, and its exception comes out of that code. A library
    that meets it inside of a callback may have wrapped it.

    pydantic keeps only the text of an exception that is raised while it writes JSON. From that, KeyboardInterrupt and
    SystemExit are made anew.
    """
    if isinstance(error, PydanticSerializationError):
        return _made_anew(str(error))
    handlers: set[CodeType] | None = None
    cause: BaseException | None = error
    while cause is not None:
        if not isinstance(cause, Exception):
            return cause
        handlers = _handlers() if handlers is None else handlers
        if handlers and any(frame.f_code in handlers for frame, _ in walk_tb(cause.__traceback__)):
            return cause
        cause = cause.__cause__
    return None


def is_broken_off(error: Exception) -> bool:
    """Whether an exception that pydantic dropped broke the writing of JSON off."""
    return isinstance(error, PydanticSerializationError) and _FROM_PYTHON.search(str(error)) is not None


def _made_anew(text: str) -> BaseException | None:
    found = _LOST.search(text)
    if found is None:
        return None
    if found["name"] == "KeyboardInterrupt":
        return KeyboardInterrupt()
    code = found["text"]
    return SystemExit(int(code) if code.lstrip("-").isdecimal() else code)


def _handlers() -> set[CodeType]:
    """The code of every signal handler of this process that is written in Python."""
    found = (_code_of(signal.getsignal(number)) for number in signal.valid_signals())
    return {code for code in found if code is not None}


def _code_of(handler: Callable[..., Any] | int | None) -> CodeType | None:
    function = getattr(handler, "func", handler)  # of a partial
    function = getattr(function, "__func__", function)  # of a bound method
    if not isinstance(function, FunctionType) and callable(function):
        function = type(function).__call__  # of an object
    code = getattr(function, "__code__", None)
    return code if isinstance(code, CodeType) else None
