"""Random concurrent work of several clients on two sessions, some of whose answers are lost."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial

from session_continuity import (
    ConversationPage,
    ForkedFrom,
    Message,
    MessageQuery,
    Patch,
    SessionContinuityError,
    SessionMetadata,
    StorageAdapter,
)
from session_continuity_conformance.cases import Case
from session_continuity_conformance.checks import results
from session_continuity_conformance.clauses import Clause
from session_continuity_conformance.concurrency.orders import (
    UNKNOWN,
    History,
    Made,
    Step,
    answer_of,
    answer_of_error,
    check_one_order,
)
from session_continuity_conformance.faults.injection import FAIL_AFTER, FAIL_BEFORE, FaultyStorage, Random
from session_continuity_conformance.faults.proxied import ProxiedStore, behind_proxy
from session_continuity_conformance.store_fixture import NotApplicableError, StoreFixture

ALWAYS = 6
"""The histories of a run that asks for no more."""

TOGETHER = 10
"""The histories in one namespace."""

STEPS = 6
"""The calls of each worker."""

LOST = 0.15
"""The share of the calls whose answer is lost, for half of the workers."""


def search(case: Case, clause: Clause) -> None:
    """Make histories, the same in every run unless a seed was given, until one cannot be explained."""
    effort = case.effort
    count, seed = (ALWAYS, 0) if effort.seed is None else (effort.programs, effort.seed)
    for first in range(0, count, TOGETHER):
        numbers = range(first, min(first + TOGETHER, count))
        case.run(clause, partial(_check_histories, numbers=numbers, seed=seed))


async def _check_histories(store: StoreFixture, numbers: range, seed: int) -> None:
    """Make the histories with these numbers and check each."""
    other = await store.open_second_or_first()
    async with _behind_proxy_or_not(store) as proxied:
        for number in numbers:
            await _check_history(
                store, other, proxied, random.Random(f"{seed} {number}"), f"history {number} of {seed}"
            )


@asynccontextmanager
async def _behind_proxy_or_not(store: StoreFixture) -> AsyncGenerator[ProxiedStore | None]:
    try:
        proxied = behind_proxy(store)
        opened = await proxied.__aenter__()
    except NotApplicableError:
        yield None
        return
    try:
        yield opened
    finally:
        await proxied.__aexit__(None, None, None)


async def _check_history(
    store: StoreFixture, other: StorageAdapter, proxied: ProxiedStore | None, dice: random.Random, what: str
) -> None:
    history, ids = History(), _Ids(store)
    losing = Random(LOST, seed=dice.randrange(1 << 30), faults=(FAIL_AFTER, FAIL_AFTER, FAIL_BEFORE))
    clients = [store.adapter, other, FaultyStorage(store.adapter, losing), FaultyStorage(other, losing)]
    workers = [
        _Worker(f"w{number}", client, history, ids, random.Random(dice.random()))
        for number, client in enumerate(clients)
    ]
    if proxied is not None:
        loses = partial(_lose_a_reply, proxied, random.Random(dice.random()))
        workers.append(_Worker("proxied", proxied.adapter, history, ids, random.Random(dice.random()), loses))
    results(what, await store.driver.gather(*[worker.work for worker in workers]))
    if proxied is not None:
        proxied.proxy.unplan()
    for session_id in ids.sessions:
        await history.make("reader", store.adapter, Step("get_session", (session_id,)))
        await history.make("reader", store.adapter, Step("get_messages", (session_id, MessageQuery())))
    check_one_order(what, history.calls)


def _lose_a_reply(proxied: ProxiedStore, dice: random.Random) -> None:
    """Plan the loss of a reply in about every third call."""
    if dice.random() < 0.35:
        proxied.proxy.plan("lose the reply", after=dice.randrange(2), patience=proxied.patience)


class _Ids:
    """Two sessions, the second of which may become a fork of the first, and the messages that were sent to them."""

    def __init__(self, store: StoreFixture) -> None:
        self.store = store
        self.sessions = (store.new_id(), store.new_id())
        self.sent: list[str] = ["unknown"]


class _Worker:
    """One client, which chooses each of its calls by chance when the one before has ended."""

    def __init__(
        self,
        name: str,
        adapter: StorageAdapter,
        history: History,
        ids: _Ids,
        dice: random.Random,
        begin: Callable[[], None] | None = None,
    ) -> None:
        self._name = name
        self._adapter = adapter
        self._history = history
        self._ids = ids
        self._store = ids.store
        self._dice = dice
        self._begin = begin
        self._version = 1
        self._last: Step | None = None
        able = self._store.capabilities
        self._choices: dict[Callable[[str], Step], float] = {
            lambda of: Step("get_session", (of,)): 3,
            lambda of: Step("get_messages", (of, MessageQuery())): 3,
            lambda of: Step("get_conversation", (of, MessageQuery())): 3,
            self._create: 3,
            self._update: 4,
            self._append: 5,
            self._edit: 2,
            lambda of: Step("delete_message", (of, self._some_message())): 2,
            lambda of: Step("delete_all_messages", (of,)): 1,
            self._delete: 1.5,
            self._repeat: 2,
            self._turn: 3 * able.atomic_turns,
            self._first_turn: 2 * able.atomic_turns,
            self._replace: 2 * able.tail_replacement,
            self._fork: 1 * able.forks,
        }

    async def work(self) -> None:
        """Make the calls."""
        for _ in range(STEPS):
            if self._begin is not None:
                self._begin()
            await self._make(self._next())

    def _next(self) -> Step:
        (choose,) = self._dice.choices(list(self._choices), list(self._choices.values()))
        return choose(self._ids.sessions[self._dice.random() < 0.25])

    async def _make(self, step: Step) -> None:
        if step.method == "get_conversation":
            await self._read_conversation(step)
            return
        self._last = step
        made = await self._history.make(self._name, self._adapter, step, resent=self._begin is not None)
        if made.answer is not None and made.answer[0] == "session":
            self._version = int(made.answer[1].partition(" ")[2])

    async def _read_conversation(self, step: Step) -> None:
        """A session and a page, which may be of two moments."""
        session, page = Step("get_session", step.arguments[:1]), Step("get_messages", step.arguments)
        began = time.monotonic_ns()
        try:
            found: ConversationPage = await self._adapter.get_conversation(*step.arguments)
            parts = [(session, answer_of(found.session)), (page, answer_of(found.messages))]
        except UNKNOWN:
            return
        except SessionContinuityError as error:
            parts = [(page, answer_of_error(error))]
        ended = time.monotonic_ns()
        self._history.calls += [
            Made(step=part, worker=self._name, began=began, ended=ended, answer=answer) for part, answer in parts
        ]

    def _condition(self) -> dict[str, int]:
        return {"expected_version": self._version} if self._dice.random() < 0.5 else {}

    def _patch(self) -> Patch:
        title = self._store.new_id("title ")
        return Patch({"metadata": SessionMetadata(title=title), "status": self._dice.choice(["active", "paused"])})

    def _messages(self, session_id: str) -> tuple[Message, ...]:
        most = min(2, self._store.capabilities.max_batch or 2)
        names = [self._store.new_id("m") for _ in range(self._dice.randint(1, most))]
        self._ids.sent += names
        return tuple(
            self._store.message(session_id, f"text of {name}", id=name, tokens=self._dice.randint(1, 9))
            for name in names
        )

    def _some_message(self) -> str:
        return self._dice.choice(self._ids.sent[-6:])

    def _create(self, session_id: str) -> Step:
        return Step("create_session", (self._store.new_session(id=session_id, user_id="user"),))

    def _update(self, session_id: str) -> Step:
        return Step("update_session", (session_id, self._patch()), self._condition())

    def _append(self, session_id: str, **terms: object) -> Step:
        batch = self._messages(session_id)
        return Step("append_messages", (session_id, batch), {"client_ids": [each.id for each in batch], **terms})

    def _turn(self, session_id: str) -> Step:
        return self._append(session_id, patch=self._patch(), **self._condition())

    def _first_turn(self, session_id: str) -> Step:
        return self._append(session_id, create=self._store.new_session(id=session_id, user_id="user"))

    def _edit(self, session_id: str) -> Step:
        patch = Patch({"content": self._store.new_id("edit "), "token_count": 20, "updated_at": self._store.tick()})
        return Step("update_message", (session_id, self._some_message(), patch))

    def _delete(self, session_id: str) -> Step:
        condition = self._condition() if self._store.capabilities.conditional_delete else {}
        return Step("delete_session", (session_id,), condition)

    def _replace(self, session_id: str) -> Step:
        after, batch = self._dice.choice([None, self._some_message()]), self._messages(session_id)
        return Step("replace_tail", (session_id, after, batch), {"client_ids": [each.id for each in batch]})

    def _fork(self, _: str) -> Step:
        source, target = self._ids.sessions
        fork = self._store.new_session(id=target, user_id="user", forked_from=ForkedFrom(session_id=source))
        return Step("fork_session", (source, fork))

    def _repeat(self, session_id: str) -> Step:
        """The last call again, as an application repeats it, or another if there is none."""
        last = self._last
        return self._append(session_id) if last is None or last.method == "delete_session" else last
