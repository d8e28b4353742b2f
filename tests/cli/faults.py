"""An extension that kills or interrupts its process, or makes its store fail. Environment variables say when."""

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
MAX_BATCH = int(os.environ.get("FAULT_MAX_BATCH", "0"))

events = 0
appended = 0


@hookimpl
def sc_on_event() -> None:
    """Every event comes after a write, so each is a moment at which a process may be lost."""
    global events
    events += 1
    if events == KILL_AT:
        os.kill(os.getpid(), signal.SIGKILL)
    if events == INTERRUPT_AT:
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
    if MAX_BATCH:
        adapter.capabilities = replace(adapter.capabilities, max_batch=MAX_BATCH)
    return adapter  # type: ignore[no-any-return]
