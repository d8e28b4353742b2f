"""Appends to session s of a store, forks, and appends in the child and then in the parent. Argument: the URL.

It is a process of its own. gRPC's asyncio clients do not survive a fork: what the tests before have left of them would
make a child hang.
"""

from __future__ import annotations

import os
import sys

from session_continuity import SessionManager

with SessionManager.open(sys.argv[1]) as manager:
    manager.create_session(id="s")
    manager.add_message("s", "user", "before")
    child = os.fork()
    if child == 0:
        try:
            manager.add_message("s", "user", "of the child")
        except BaseException:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    manager.add_message("s", "user", "of the parent")
sys.exit(os.waitstatus_to_exitcode(status))
