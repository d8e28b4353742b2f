"""What a store says on a read-only file system, one JSON object: DIRECTORY, an empty one, in a mount namespace."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

from session_continuity import SessionContinuityError, SessionManager

directory = sys.argv[1]
url, missing = f"sqlite:///{directory}/chat.db", f"sqlite:///{directory}/missing.db"


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments, directory], check=True)


def told(call: Callable[[], object]) -> object:
    try:
        return call()
    except SessionContinuityError as error:
        return [type(error).__name__, error.retryable, str(error)]


def opened(at: str) -> int:
    with SessionManager.open(at) as manager:
        return len(manager.get_messages("s"))


mount("-t", "tmpfs", "tmpfs")
with SessionManager.open(url) as manager:
    manager.create_session(id="s")
    manager.add_message("s", "user", "hello")
mount("-o", "remount,ro")
answers = {"open": told(lambda: opened(url)), "open a missing file": told(lambda: opened(missing))}
with SessionManager.open(url, setup=False) as manager:
    answers["read"] = told(lambda: len(manager.get_messages("s")))
    answers["write"] = told(lambda: manager.add_message("s", "user", "more"))
    health = manager.health()
    answers["health"] = [health.status, health.remedy]
print(json.dumps(answers))  # noqa: T201
