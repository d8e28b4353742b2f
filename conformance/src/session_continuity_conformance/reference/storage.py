"""An adapter around the model: the smallest store that keeps the contract, for the suite's own tests.

Mutants inherit from it, and each breaks one thing. Applications use `memory://`.
"""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import contextmanager
from copy import copy, deepcopy
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, TypeVar, Unpack

from session_continuity import (
    CONTRACT,
    Appended,
    AppendTerms,
    Capabilities,
    ConversationPage,
    CostMeter,
    Damager,
    Fork,
    HealthStatus,
    Message,
    MessageQuery,
    MessageTooLargeError,
    Mode,
    Page,
    Patch,
    Replaced,
    Session,
    SessionContinuityError,
    SessionFilter,
    StorageAdapter,
    StorageClosedError,
    UnreadableError,
    conversation_of,
    sleeper,
    utc_now,
)
from session_continuity_conformance.clauses import Contract
from session_continuity_conformance.faults.endpoints import Endpoint
from session_continuity_conformance.reference import cost_meter
from session_continuity_conformance.reference.model import Model
from session_continuity_conformance.target import Target

T = TypeVar("T")
S = TypeVar("S", Session, Message)


@dataclass
class World:
    """What the adapters of a store share: a model for each namespace, and a lock."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    models: dict[str, Model] = field(default_factory=dict[str, Model])
    damaged: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    """The namespaces and ids of what cannot be read."""

    @contextmanager
    def exclusive(self) -> Generator[dict[str, Model]]:
        """The models, for one thread at a time."""
        with self.lock:
            yield self.models


class FileWorld(World):
    """A world in a file, shared by processes."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    @contextmanager
    def exclusive(self) -> Generator[dict[str, Model]]:
        """The models, for one process at a time."""
        with self.lock, self.locked():
            before = self.path.read_bytes() if self.path.exists() else pickle.dumps({})
            models: dict[str, Model] = pickle.loads(before)
            try:
                yield models
            finally:
                if (after := pickle.dumps(models)) != before:  # replacing the file costs a write to the disk
                    self.save(after)

    @contextmanager
    def locked(self) -> Generator[None]:
        """Keep other processes out."""
        import fcntl

        with self.path.with_suffix(".lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def save(self, models: bytes) -> None:
        """Replace the file in one step, so that a killed process leaves the old one or the new one."""
        fresh = self.path.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
        fresh.write_bytes(models)
        fresh.replace(self.path)


class ReferenceStorage(StorageAdapter):
    """Keeps the contract with a `Model` under a lock. Values are copied in and out."""

    backend = "reference"
    contract = CONTRACT
    model_class: ClassVar[type[Model]] = Model
    declared: ClassVar[Capabilities] = Capabilities(
        max_batch=None,
        unscoped_listing=True,
        strong_listing=True,
        listing_totals=True,
        ascending_listing=True,
        activity_listing=True,
        text_search=True,
        durable=True,
        max_message_bytes=200_000,
        atomic_turns=True,
        overlapping_batches=True,
        tail_replacement=True,
        forks=True,
        conditional_delete=True,
        owner_guard=True,
        namespace_views=True,
    )

    def __init__(self, world: World, namespace: str, mode: Mode) -> None:
        self.world = world
        self.namespace = namespace
        self.mode = mode
        self.capabilities = self.declared
        self.clock = utc_now
        self.owner: str | None = None
        self.closed = False

    def view(self, *, namespace: str | None = None, owner: str | None = None) -> StorageAdapter:
        view = copy(self)
        view.namespace = self.namespace if namespace is None else namespace
        view.owner = self.owner if owner is None else owner
        return view

    def work(self, operation: str, action: Callable[[Model], T]) -> T:
        """Run one step on the model, without others. The caller copies the result."""
        self.check_open(operation)
        with self.world.exclusive() as models:
            model = models.setdefault(self.namespace, self.model_class(self.clock))
            model.clock, model.owner = self.clock, self.owner
            return self.keep(model, action)

    def keep(self, model: Model, action: Callable[[Model], T]) -> T:
        """Run a step, and take back what it did when a signal handler interrupts it."""
        before = model.copy_records()
        try:
            return action(model)
        except SessionContinuityError:
            raise
        except BaseException:
            model.records = before
            raise

    def check_open(self, operation: str) -> None:
        """Raise StorageClosedError after `close`."""
        if self.closed:
            raise StorageClosedError(backend=self.backend, operation=operation)

    def check_readable(self, name: str) -> None:
        """Raise UnreadableError for the id of something damaged."""
        if (self.namespace, name) in self.world.damaged:
            raise UnreadableError(repr(name))

    def readable(self, page: Page[S]) -> Page[S]:
        """The page without what is damaged."""
        damaged = tuple(item.id for item in page if (self.namespace, item.id) in self.world.damaged)
        return replace(page, items=tuple(item for item in page if item.id not in damaged), unreadable=damaged)

    def check_size(self, batch: Sequence[Message]) -> None:
        """Raise MessageTooLargeError for a message over the limit."""
        limit = self.declared.max_message_bytes
        for message in batch:
            size = len(message.model_dump_json().encode())
            if limit is not None and size > limit:
                raise MessageTooLargeError(backend=self.backend, operation="append_messages", size=size, limit=limit)

    async def pause(self) -> None:
        """Let others run, in a mutant whose write is not atomic."""
        await sleeper(self.mode)(0.0005)

    async def setup(self) -> None:
        self.work("setup", lambda _: None)

    async def close(self) -> None:
        self.closed = True

    async def health(self) -> HealthStatus:
        return self.work("health", lambda _: HealthStatus(status="healthy"))

    async def create_session(self, session: Session) -> Session:
        return self.work("create_session", lambda model: copy_of(model.create_session(copy_of(session))))

    async def get_session(self, session_id: str) -> Session | None:
        found = self.work("get_session", lambda model: copy_of(model.get_session(session_id)))
        if found is not None:
            self.check_readable(session_id)
        return found

    async def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        return self.work(
            "update_session",
            lambda model: copy_of(
                model.update_session(session_id, copy_of_patch(patch), expected_version=expected_version)
            ),
        )

    async def delete_session(
        self, session_id: str, *, expired_before: datetime | None = None, expected_version: int | None = None
    ) -> bool:
        return self.work(
            "delete_session",
            lambda model: model.delete_session(
                session_id, expired_before=expired_before, expected_version=expected_version
            ),
        )

    async def list_sessions(self, filter: SessionFilter, *, limit: int, cursor: str | None = None) -> Page[Session]:
        return self.readable(
            self.work(
                "list_sessions", lambda model: model.list_sessions(filter, limit=limit, cursor=cursor).map(copy_of)
            )
        )

    async def append_messages(
        self,
        session_id: str,
        messages: Sequence[Message],
        *,
        client_ids: Collection[str] = (),
        **terms: Unpack[AppendTerms],
    ) -> Appended:
        batch = [copy_of(message) for message in messages]
        self.check_size(batch)
        own = deepcopy(terms)
        return self.work(
            "append_messages",
            lambda model: copy_of_batch(model.append_messages(session_id, batch, client_ids=client_ids, **own)),
        )

    async def replace_tail(
        self,
        session_id: str,
        after_id: str | None,
        messages: Sequence[Message] = (),
        *,
        client_ids: Collection[str] = (),
        expected_last_id: str | None = None,
        return_removed: bool = False,
    ) -> Replaced:
        batch = [copy_of(message) for message in messages]
        self.check_size(batch)
        return self.work(
            "replace_tail",
            lambda model: deepcopy(
                model.replace_tail(
                    session_id,
                    after_id,
                    batch,
                    client_ids=client_ids,
                    expected_last_id=expected_last_id,
                    return_removed=return_removed,
                )
            ),
        )

    async def fork_session(self, source_id: str, session: Session, *, through_id: str | None = None) -> Session:
        return self.work(
            "fork_session",
            lambda model: copy_of(model.fork_session(source_id, copy_of(session), through_id=through_id)),
        )

    async def list_forks(self, source_id: str, *, limit: int, cursor: str | None = None) -> Page[Fork]:
        return self.work("list_forks", lambda model: model.list_forks(source_id, limit=limit, cursor=cursor))

    async def search_messages(
        self,
        text: str,
        *,
        user_id: str | None = None,
        session_id: str | None = None,
        limit: int,
        cursor: str | None = None,
    ) -> Page[Message]:
        return self.readable(
            self.work(
                "search_messages",
                lambda model: model.search_messages(
                    text, user_id=user_id, session_id=session_id, limit=limit, cursor=cursor
                ).map(copy_of),
            )
        )

    async def get_message(self, session_id: str, message_id: str) -> Message | None:
        found = self.work("get_message", lambda model: copy_of(model.get_message(session_id, message_id)))
        if found is not None:
            self.check_readable(message_id)
        return found

    async def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        return self.readable(
            self.work("get_messages", lambda model: model.get_messages(session_id, query, cursor=cursor).map(copy_of))
        )

    async def get_conversation(self, session_id: str, query: MessageQuery) -> ConversationPage:
        self.check_open("get_conversation")
        return await conversation_of(self, session_id, query)

    async def update_message(self, session_id: str, message_id: str, patch: Patch) -> Message:
        return self.work(
            "update_message",
            lambda model: copy_of(model.update_message(session_id, message_id, copy_of_patch(patch))),
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


def copy_of(value: T) -> T:
    """A copy that shares nothing with the value."""
    copy: Callable[..., T] | None = getattr(value, "model_copy", None)
    return value if copy is None else copy(deep=True)


def copy_of_patch(patch: Patch) -> Patch:
    """A patch whose values share nothing with those of this one."""
    return Patch(deepcopy(dict(patch.set)), patch.clear, deepcopy(dict(patch.merge)))


def copy_of_batch(appended: Appended) -> Appended:
    """The result of an append, with copies of the messages."""
    return replace(appended, messages=tuple(copy_of(message) for message in appended.messages))


@dataclass
class ReferenceTarget:
    """A store of a reference class. Each target is another store."""

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

    def cost_meter(self) -> CostMeter | None:
        return cost_meter.cost_meter

    def damager(self) -> Damager | None:
        def damage(adapter: Any, session_id: str, message_id: str | None) -> None:
            self.world.damaged.add((adapter.namespace, message_id or session_id))

        return damage

    def full_namespace(self, namespace: str) -> str:
        return namespace

    def open(self, mode: Mode, namespace: str) -> StorageAdapter:
        return self.storage(self.world, namespace, mode)
