"""Changes, reads and deletes a session when the interpreter is about to end. Prints what it read."""

from __future__ import annotations

import atexit
import json
import sys
from typing import Any

from session_continuity import MessageQuery, Patch, SessionMetadata, run_now
from session_continuity_dynamodb import DynamoDBStorage


def end(store: DynamoDBStorage, session_id: str) -> None:
    run_now(store.update_session(session_id, Patch({"metadata": SessionMetadata(title="title")})))
    held = run_now(store.get_conversation(session_id, MessageQuery()))
    sys.stdout.write(f"{held.session.metadata.title} after {len(held.messages)} messages\n")
    run_now(store.delete_session(session_id))


told: dict[str, Any] = json.loads(sys.argv[1])
atexit.register(end, DynamoDBStorage(**told["store"]), told["session"])
