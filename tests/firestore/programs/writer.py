"""Appends to a session from several threads. Prints what it wrote, and how many requests that took."""

from __future__ import annotations

import json
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from session_continuity import Message, innermost, open_storage, utc_now
from session_continuity.ids import MessageIds
from session_continuity_firestore import FirestoreStorage

told = json.loads(sys.argv[1])
written: list[str] = []
lock = threading.Lock()

with open_storage(told["url"]) as storage:
    driver = innermost(storage.adapter)
    assert isinstance(driver, FirestoreStorage)

    def write(thread: int) -> None:
        ids = MessageIds(utc_now)
        for number in range(told["rounds"]):
            message_id, created_at = ids.mint()
            text = f"{os.getpid()}.{thread}.{number}"
            message = Message(
                id=message_id,
                session_id=told["session"],
                role="user",
                content=text,
                token_count=1,
                created_at=created_at,
            )
            storage.append_messages(told["session"], [message])
            with lock:
                written.append(text)

    with ThreadPoolExecutor(told["threads"]) as threads:
        list(threads.map(write, range(told["threads"])))
    sys.stdout.write(json.dumps({"written": written, "requests": driver.meter.requests}))
