"""Appends messages to one session, from a process of its own. Prints when it is ready, waits for a line, then prints
of each message as it is acknowledged: its content, and when the call began and ended by the machine's steady clock."""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from session_continuity import Message, run_now, utc_now
from session_continuity.ids import MessageIds
from session_continuity_dynamodb import DynamoDBStorage


def main() -> None:
    told = json.loads(sys.argv[1])
    skew = timedelta(seconds=told["skew"])
    store = DynamoDBStorage(**told["store"])
    ids = MessageIds(lambda: utc_now() + skew)
    run_now(store.get_session(told["session"]))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()

    def append(number: int) -> None:
        message_id, created_at = ids.mint()
        content = f"{told['name']}-{number}"
        message = Message(
            id=message_id,
            session_id=told["session"],
            role="user",
            content=content,
            token_count=1,
            created_at=created_at,
        )
        began = time.monotonic_ns()
        run_now(store.append_messages(told["session"], [message]))
        sys.stdout.write(f"{content} {began} {time.monotonic_ns()}\n")
        sys.stdout.flush()

    if told["threads"] == 1:
        for number in range(told["count"]):
            append(number)
            if told["in_turns"]:
                sys.stdin.readline()
    else:
        with ThreadPoolExecutor(told["threads"]) as threads:
            list(threads.map(append, range(told["count"])))
    run_now(store.close())


main()
