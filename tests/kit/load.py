"""Writers on one session, and a check of the conversation that they leave."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from session_continuity import SessionContinuityError, SessionManager

from .waiting import wait_until


class Load:
    """Writers that append to one session until `stop`, each message with an id, its content.

    After an error that may be retried they send the same message again. `acknowledged` lists the ids of the messages
    that were stored, `errors` the errors on the way.
    """

    def __init__(self, url: str, session_id: str, writers: int = 4) -> None:
        self.acknowledged: list[str] = []
        self.errors: list[SessionContinuityError] = []
        self.repeated = 0
        self._url, self._session_id = url, session_id
        self._done = threading.Event()
        self._pool = ThreadPoolExecutor(writers)
        self._running = [self._pool.submit(self._write, number) for number in range(writers)]

    def _write(self, writer: int) -> None:
        with SessionManager.open(self._url) as manager:
            number = 0
            while not self._done.is_set():
                name = f"{writer}-{number}"
                while True:
                    try:
                        manager.add_message(self._session_id, role="user", content=name, id=name)
                        break
                    except SessionContinuityError as error:
                        self.errors.append(error)
                        self.repeated += 1
                        if not error.retryable:
                            raise
                self.acknowledged.append(name)
                number += 1

    def wait_for(self, more: int) -> None:
        """Wait until so many more messages are acknowledged, or a writer has failed."""
        goal = len(self.acknowledged) + more
        wait_until(
            lambda: len(self.acknowledged) >= goal or any(each.done() for each in self._running), f"{more} appends"
        )

    def stop(self) -> list[str]:
        """Stop the writers, and return the acknowledged ids. Raises the error of a writer that failed."""
        self._done.set()
        for each in self._running:
            each.result(60)
        self._pool.shutdown()
        return self.acknowledged


def check_history(url: str, session_id: str, acknowledged: list[str]) -> None:
    """Assert that the acknowledged messages are stored, once each and in each writer's order, with exact totals."""
    with SessionManager.open(url) as manager:
        stored = [str(message.content) for message in manager.get_messages(session_id)]
        found = manager.get_session(session_id)
    assert len(stored) == len(set(stored))
    assert sorted(stored) == sorted(acknowledged)
    for writer in {name.split("-")[0] for name in stored}:
        own = [int(name.split("-")[1]) for name in stored if name.split("-")[0] == writer]
        assert own == sorted(own)
    assert found.message_count == len(stored)
