"""An extension that ends or hinders the process it is loaded into, as the environment says. Tests install its text."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from typing import Any

from session_continuity import StorageAdapter, UnavailableError, hookimpl

KILL_AT = int(os.environ.get("FAULT_KILL_AT", "0"))
INTERRUPT_AT = int(os.environ.get("FAULT_INTERRUPT_AT", "0"))
FAIL_APPEND = int(os.environ.get("FAULT_FAIL_APPEND", "0"))
FAIL_REMOVAL = "FAULT_FAIL_REMOVAL" in os.environ
MAX_TURN = int(os.environ.get("FAULT_MAX_TURN", "0"))

told = 0
appended = 0


@hookimpl
def sc_on_event() -> None:
    """Events are told after the write, so that every one of them is a moment at which a process may be lost."""
    global told
    told += 1
    if told == KILL_AT:
        os.kill(os.getpid(), signal.SIGKILL)
    if told == INTERRUPT_AT:
        signal.raise_signal(signal.SIGINT)


@hookimpl
def sc_wrap_adapter(adapter: Any) -> StorageAdapter:
    append = adapter.append_messages

    async def failing_append(*arguments: Any, **options: Any) -> Any:
        global appended
        appended += 1
        if appended == FAIL_APPEND:
            raise UnavailableError("the disk is on fire", backend="sqlite", operation="append_messages")
        return await append(*arguments, **options)

    async def failing_removal(*_: Any, **__: Any) -> Any:
        raise UnavailableError("the disk is on fire", backend="sqlite", operation="delete")

    adapter.append_messages = failing_append
    if FAIL_REMOVAL:
        adapter.delete_session = adapter.delete_message = failing_removal
    if MAX_TURN:
        adapter.capabilities = replace(adapter.capabilities, max_turn=MAX_TURN)
    return adapter  # type: ignore[no-any-return]
