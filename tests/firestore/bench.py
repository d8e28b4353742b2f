"""A bench: the stores of one test in one project, counted, on a clock that the test moves."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from session_continuity import Message, Mode, Role, Session, StorageAdapter, innermost, portable, run_now
from session_continuity.ids import new_session_id
from session_continuity_firestore import FirestoreStorage
from session_continuity_firestore.documents import names
from session_continuity_firestore.requests.client import Connection, Meter
from session_continuity_firestore.requests.queries import unordered
from session_continuity_firestore.requests.writes import create
from session_continuity_firestore.wire.values import decode, encode

from ..kit.clocks import FUTURE, Clock
from ..kit.conversations import Speaker, new_session
from ..kit.firestore_emulator import new_project
from ..kit.modes import ModeRunner

R = TypeVar("R")


def driver_of(store: StorageAdapter) -> FirestoreStorage:
    """The Firestore store inside core's layer."""
    driver = innermost(store)
    assert isinstance(driver, FirestoreStorage)
    return driver


class Bench:
    """Opens stores in a project that nobody has used, and reads and writes its documents directly."""

    def __init__(self, emulator: str, mode: Mode) -> None:
        self.emulator = emulator
        self.mode: Mode = mode
        self.project = new_project()
        self.clock = Clock(FUTURE)
        self._speaker = Speaker(clock=self.clock)
        self._runner = ModeRunner(mode)
        self._opened: list[StorageAdapter] = []
        self.direct = FirestoreStorage(project=self.project, emulator_host=emulator)

    @property
    def url(self) -> str:
        """The URL of the stores."""
        return f"firestore://{self.project}?emulator_host={self.emulator}"

    def run(self, coroutine: Coroutine[Any, Any, R]) -> R:
        """The result of a store's call."""
        return self._runner.run(coroutine)

    def run_together(self, *calls: Callable[[], Coroutine[Any, Any, R]]) -> list[R | BaseException]:
        """What the calls return or raise when they run at once: as tasks, or in threads."""
        return self._runner.run_together(*calls)

    def open(self, **options: Any) -> StorageAdapter:
        """Another store."""
        stated = {"project": self.project, "emulator_host": self.emulator, **options}
        store = portable(FirestoreStorage(mode=self.mode, **stated))
        self._opened.append(store)
        store.clock = self.clock
        return store

    def create(self, store: StorageAdapter, **fields: Any) -> Session:
        """A new session."""
        return self.run(store.create_session(new_session(new_session_id(self.clock()), now=self.clock(), **fields)))

    def says(self, session: Session, content: Any = "hello", *, role: Role = "user", **fields: Any) -> Message:
        """The next message."""
        return self._speaker.says(content, role=role, session_id=session.id, **fields)

    def append(self, store: StorageAdapter, session: Session, count: int, **fields: Any) -> list[Message]:
        """So many messages, appended 100 at a time."""
        stored: list[Message] = []
        for start in range(0, count, 100):
            batch = [self.says(session, str(start + n), **fields) for n in range(min(100, count - start))]
            stored += self.run(store.append_messages(session.id, batch)).messages
        return stored

    def spent(self, store: StorageAdapter, coroutine: Coroutine[Any, Any, object]) -> Meter:
        """What one call has sent."""
        meter = driver_of(store).meter
        before = replace(meter)
        self.run(coroutine)
        return Meter(
            requests=meter.requests - before.requests,
            reads=meter.reads - before.reads,
            writes=meter.writes - before.writes,
            deletes=meter.deletes - before.deletes,
        )

    @property
    def client(self) -> Connection:
        """A client in blocking mode, for documents themselves."""
        return self.direct.context.client

    def document(self, name: str) -> dict[str, Any] | None:
        """The fields of a document, as JSON values."""
        found = run_now(self.client.get(name))
        return None if found is None else {field: decode(value) for field, value in found.fields.items()}

    def write(self, name: str, fields: Mapping[str, Any]) -> None:
        """Write a document, as another program would."""
        values = {field: encode(value) for field, value in fields.items()}
        run_now(self.client.commit([create(name, values, over=True)]))

    def left_of(self, session_id: str) -> int:
        """How many documents there are in a session's collection of messages."""
        name = self.direct.context.names.session(session_id)
        answers = run_now(self.client.query(name, unordered(names.MESSAGES, limit=5000)))
        return sum(answer.HasField("document") for answer in answers)

    def close(self) -> None:
        """Close everything that was opened."""
        for store in self._opened:
            self.run(store.close())
        run_now(self.direct.close())
        self._runner.close()
