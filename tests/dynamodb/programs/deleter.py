"""Deletes one session, from a process that is going to be killed."""

from __future__ import annotations

import json
import sys

from session_continuity import run_now
from session_continuity_dynamodb import DynamoDBStorage

told = json.loads(sys.argv[1])
store = DynamoDBStorage(**told["store"])
run_now(store.delete_session(told["session"]))
