"""Turns the calls of an example into a program."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from session_continuity import URL_VARIABLE, Mode, Patch
from session_continuity_conformance.recording import Call, Log
from session_continuity_conformance.target import Target

HEAD = """\
import asyncio
from datetime import datetime, timedelta

from session_continuity import *


async def program(adapter):
    await adapter.setup()"""

TAIL = """\


{run}(program(default_registry().create({url!r}, {mode!r}))){where}"""


def written_url(target: Target) -> str | None:
    """The URL of a store as programs and commands may show it; None where it has a secret.

    Secrets that the URL takes from variables are not in its text.
    """
    url = (target.remote() or {}).get("url")
    hides = "***" in target.name or target.name.endswith("…")
    return target.name if url is None else None if hides else url


def script(log: Log, url: str | None, mode: Mode, complaint: str) -> str:
    """The calls of a log as a program for a new store at this URL, by default that of `SESSION_CONTINUITY_URL`. Its
    last line is the complaint."""
    where = "" if url is not None else f"  # the store of {URL_VARIABLE}"
    run = "run_now" if mode == "blocking" else "asyncio.run"
    body = [f"    {line}" for call in log.calls for line in statement(call)]
    return "\n".join([HEAD, *body, f"    # {complaint}", TAIL.format(run=run, url=url, mode=mode, where=where)])


def statement(call: Call) -> list[str]:
    """The lines of the program for one call."""
    if call.method == "clock":
        return [f"adapter.clock = lambda: {expression(call.args[0])}"]
    if call.method in ("setup", "close"):
        return []
    arguments = [expression(value) for value in call.args]
    arguments += [f"{name}={expression(value)}" for name, value in call.options.items() if value not in (None, ())]
    line = f"print(await adapter.{call.method}({', '.join(arguments)}))"
    if not call.failed:
        return [line]
    return [
        "try:",
        f"    {line}",
        "except SessionContinuityError as error:",
        '    print(f"{type(error).__name__}: {error}")',
    ]


def expression(value: Any) -> str:
    """A value as Python source."""
    if isinstance(value, BaseModel):
        return f"{type(value).__name__}.model_validate({value.model_dump(mode='json', exclude_defaults=True)!r})"
    if isinstance(value, Patch):
        clear = f", {expression(value.clear)}" if value.clear else ""
        return f"Patch({expression(value.set)}{clear})"
    if is_dataclass(value) and not isinstance(value, type):
        arguments = [(field.name, getattr(value, field.name)) for field in fields(value) if _is_stated(value, field)]
        return f"{type(value).__name__}({', '.join(f'{name}={expression(item)}' for name, item in arguments)})"
    if isinstance(value, datetime):
        return f"datetime.fromisoformat({value.isoformat()!r})"
    return _collection(value)


def _is_stated(value: Any, field: Any) -> bool:
    return bool(getattr(value, field.name) != field.default)


def _collection(value: Any) -> str:
    if isinstance(value, Mapping):
        return _mapping(value)  # pyright: ignore[reportUnknownArgumentType]  # of any types
    if isinstance(value, frozenset):
        return f"frozenset([{', '.join(sorted(_items(value)))}])"  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(value, list | tuple):
        return f"[{', '.join(_items(value))}]"  # pyright: ignore[reportUnknownArgumentType]  # of any types
    return repr(value)


def _mapping(values: Mapping[Any, Any]) -> str:
    return "{" + ", ".join(f"{name!r}: {expression(item)}" for name, item in values.items()) + "}"


def _items(values: Iterable[Any]) -> list[str]:
    return [expression(value) for value in values]
