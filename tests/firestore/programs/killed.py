"""Makes a call that takes several Commits, and stops before one of them until it is killed."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from session_continuity import ForkedFrom, Session, innermost, open_storage, utc_now
from session_continuity_firestore import FirestoreStorage

told = json.loads(sys.argv[1])

with open_storage(told["url"]) as storage:
    driver = innermost(storage.adapter)
    assert isinstance(driver, FirestoreStorage)
    client: Any = driver.context.client
    commit, made = client.commit, list[int]()

    async def stop_before(writes: Sequence[Any]) -> Any:
        if len(made) == told["commits"]:
            sys.stdout.write("stopped\n")
            sys.stdout.flush()
            time.sleep(600)  # noqa: ASYNC251  # blocking mode has no loop to block
        made.append(len(writes))
        return await commit(writes)

    client.commit = stop_before
    if told["call"] == "delete":
        storage.delete_session(told["session"])
    else:
        now = utc_now()
        origin = ForkedFrom(session_id=told["session"])
        storage.fork_session(
            told["session"], Session(id="fork", created_at=now, last_activity_at=now, forked_from=origin)
        )
