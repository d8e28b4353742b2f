"""Replaces the tail of a session, or forks the session, and is killed while it does so."""

from __future__ import annotations

import json
import sys

from session_continuity import Message, Session, run_now
from session_continuity_dynamodb import DynamoDBStorage


def main() -> None:
    told = json.loads(sys.argv[1])
    store = DynamoDBStorage(**told["store"])
    if told["fork"] is None:
        batch = [Message.model_validate(message) for message in told["batch"]]
        run_now(store.replace_tail(told["session"], told["after"], batch))
    else:
        fork = Session.model_validate(told["fork"])
        run_now(store.fork_session(told["session"], fork, through_id=told["through"]))


main()
