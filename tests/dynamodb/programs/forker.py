"""Reads a session in this process, and one in each of the children that it forks after the first call, all through one
store. Prints how many answers were not the session that was asked for."""

from __future__ import annotations

import json
import os
import sys

import boto3

from session_continuity import run_now
from session_continuity_dynamodb import DynamoDBStorage

CALLS = 150


def wrong_answers(store: DynamoDBStorage, session_id: str) -> int:
    wrong = 0
    for _ in range(CALLS):
        try:
            held = run_now(store.get_session(session_id))
        except Exception:
            held = None
        wrong += held is None or held.id != session_id
    return wrong


def main() -> None:
    told = json.loads(sys.argv[1])
    options = told["store"]
    if told["given"]:
        options["client"] = boto3.client(
            "dynamodb", endpoint_url=options.pop("endpoint_url"), region_name=options.pop("region")
        )
    store = DynamoDBStorage(**options)
    own, *others = told["sessions"]
    run_now(store.get_session(own))
    children = []
    for session_id in others:
        child = os.fork()
        if child == 0:
            os._exit(min(255, wrong_answers(store, session_id)))
        children.append(child)
    wrong = wrong_answers(store, own)
    wrong += sum(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)
    sys.stdout.write(f"{wrong}\n")
    run_now(store.close())


main()
