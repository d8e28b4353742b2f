"""An adapter around the model: the smallest thing that keeps the contract, for the suite's own tests.

Mutants inherit from it and break one thing each. Applications use `memory://`.
"""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import ClassVar, TypeVar

from session_continuity import (
    CONTRACT,
    Appended,
    Capabilities,
    ConversationPage,
    HealthStatus,
    Message,
    MessageQuery,
    MessageTooLargeError,
    Mode,
    Page,
    Patch,
    Probe,
    Session,
    SessionFilter,
    StorageAdapter,
    StorageClosedError,
    conversation_of,
    sleeper,
    utc_now,
)
from session_continuity_conformance.clauses import Contract
from session_continuity_conformance.faults.endpoints import Endpoint
from session_continuity_conformance.reference import metering
from session_continuity_conformance.reference.model import Model
from session_continuity_conformance.target import Target

T = TypeVar("T")


@dataclass
class World:
    """What the adapters of one store share: a model per namespace, and the lock over them."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    models: dict[str, Model] = field(default_factory=dict[str, Model])

    @contextmanager
    def opened(self) -> Generator[dict[str, Model]]:
        """The models, for one alone."""
        with self.lock:
            yield self.models


class FileWorld(World):
    """A world in a file, shared by processes."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    @contextmanager
    def opened(self) -> Generator[dict[str, Model]]:
        """The models, for one process alone."""
        with self.lock, self.locked():
            held = self.path.read_bytes() if self.path.exists() else pickle.dumps({})
            models: dict[str, Model] = pickle.loads(held)
            try:
                yield models
            finally:
                if (left := pickle.dumps(models)) != held:  # to replace a file costs a write to the disk
                    self.save(left)

    @contextmanager
    def locked(self) -> Generator[None]:
        """No other process is in here."""
        import fcntl

        with self.path.with_suffix(".lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def save(self, models: bytes) -> None:
        """Replace the file at once, so that a killed process leaves the old one or the new one."""
        fresh = self.path.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
        fresh.write_bytes(models)
        fresh.replace(self.path)


class ReferenceStorage(StorageAdapter):
    """The contract, kept by a `Model` under a lock; copies go in and out."""

    backend = "reference"
    model_class: ClassVar[type[Model]] = Model
    declared: ClassVar[Capabilities] = Capabilities(
        max_turn=None,
        unscoped_listing=True,
        strong_listing=True,
        listing_totals=True,
        durable=True,
        max_message_bytes=200_000,
    )

    def __init__(self, world: World, namespace: str, mode: Mode) -> None:
        self.world = world
        self.namespace = namespace
        self.mode = mode
        self.capabilities = self.declared
        self.clock = utc_now
        self.closed = False

    def work(self, operation: str, action: Callable[[Model], T]) -> T:
        """Run one step on the model, alone. Answers are copied by whoever hands them out."""
        self.check_open(operation)
        with self.world.opened() as models:
            model = models.setdefault(self.namespace, self.model_class(self.clock))
            model.clock = self.clock
            return action(model)

    def check_open(self, operation: str) -> None:
        if self.closed:
            raise StorageClosedError(backend=self.backend, operation=operation)

    def check_size(self, turn: Sequence[Message]) -> None:
        limit = self.declared.max_message_bytes
        for message in turn:
            size = len(message.model_dump_json().encode())
            if limit is not None and size > limit:
                raise MessageTooLargeError(backend=self.backend, operation="append_messages", size=size, limit=limit)

    async def pause(self) -> None:
        """Let others run: where a mutant is not atomic."""
        await sleeper(self.mode)(0.0005)

    async def setup(self) -> None:
        self.work("setup", lambda _: None)

    async def close(self) -> None:
        self.closed = True

    async def health(self) -> HealthStatus:
        return self.work("health", lambda _: HealthStatus(status="healthy"))

    async def create_session(self, session: Session) -> Session:
        return self.work("create_session", lambda model: copied(model.create_session(copied(session))))

    async def get_session(self, session_id: str) -> Session | None:
        return self.work("get_session", lambda model: copied(model.get_session(session_id)))

    async def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        return self.work(
            "update_session",
            lambda model: copied(
                model.update_session(session_id, copied_patch(patch), expected_version=expected_version)
            ),
        )

    async def delete_session(self, session_id: str, *, expired_before: datetime | None = None) -> bool:
        return self.work("delete_session", lambda m: m.delete_session(session_id, expired_before=expired_before))

    async def list_sessions(self, filter: SessionFilter, *, limit: int, cursor: str | None = None) -> Page[Session]:
        return self.work(
            "list_sessions", lambda model: model.list_sessions(filter, limit=limit, cursor=cursor).map(copied)
        )

    async def append_messages(
        self, session_id: str, messages: Sequence[Message], *, chosen_ids: Collection[str] = ()
    ) -> Appended:
        turn = [copied(message) for message in messages]
        self.check_size(turn)
        return self.work(
            "append_messages",
            lambda model: copied_turn(model.append_messages(session_id, turn, chosen_ids=chosen_ids)),
        )

    async def get_message(self, session_id: str, message_id: str) -> Message | None:
        return self.work("get_message", lambda model: copied(model.get_message(session_id, message_id)))

    async def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        return self.work("get_messages", lambda model: model.get_messages(session_id, query, cursor=cursor).map(copied))

    async def get_conversation(self, session_id: str, query: MessageQuery) -> ConversationPage:
        self.check_open("get_conversation")
        return await conversation_of(self, session_id, query)

    async def update_message(self, session_id: str, message_id: str, patch: Patch) -> Message:
        return self.work(
            "update_message",
            lambda model: copied(model.update_message(session_id, message_id, copied_patch(patch))),
        )

    async def delete_message(self, session_id: str, message_id: str) -> bool:
        return self.work("delete_message", lambda model: model.delete_message(session_id, message_id))

    async def delete_all_messages(self, session_id: str) -> int:
        return self.work("delete_all_messages", lambda model: model.delete_all_messages(session_id))

    async def get_expired_sessions(self, before: datetime, *, limit: int, cursor: str | None = None) -> Page[str]:
        return self.work(
            "get_expired_sessions", lambda model: model.get_expired_sessions(before, limit=limit, cursor=cursor)
        )


class SharedStorage(ReferenceStorage):
    """The reference in a file, shared by processes."""

    declared: ClassVar[Capabilities] = replace(ReferenceStorage.declared, shared=True)
    world_class: ClassVar[type[FileWorld]] = FileWorld


def copied(value: T) -> T:
    """The value, sharing nothing with it."""
    copy: Callable[..., T] | None = getattr(value, "model_copy", None)
    return value if copy is None else copy(deep=True)


def copied_patch(patch: Patch) -> Patch:
    """A patch whose values share nothing with the given one."""
    return Patch(deepcopy(dict(patch.set)), patch.clear)


def copied_turn(appended: Appended) -> Appended:
    """The answer to an append, with messages of its own."""
    return replace(appended, messages=tuple(copied(message) for message in appended.messages))


@dataclass
class ReferenceTarget:
    """One store of a reference class, as the suite wants it. Each target is a store of its own."""

    storage: type[ReferenceStorage] = ReferenceStorage
    name: str = "reference"
    scheme: str = "reference"
    distribution: str = "the suite's own reference"
    modes: frozenset[Mode] = frozenset({"async", "blocking"})
    contract: Contract = CONTRACT
    secrets: tuple[str, ...] = ("reference-password",)
    world: World = field(default_factory=World)

    def remote(self) -> dict[str, str] | None:
        if not isinstance(self.world, FileWorld):
            return None
        argument = f"{self.storage.__name__}:{self.world.path}"
        return {"factory": "session_continuity_conformance.mutants:shared_target", "argument": argument}

    def endpoint(self) -> Endpoint[Target] | None:
        return None

    def probe(self) -> Probe | None:
        return metering.probe

    def open(self, mode: Mode, namespace: str) -> StorageAdapter:
        return self.storage(self.world, namespace, mode)
