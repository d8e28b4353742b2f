"""Random concurrent histories of one session, and the search for an order of the calls that explains every answer.

`SessionState` is the contract in a few lines: what each call of a history returns when one call follows the other. A
history is linearizable if some order of its calls, in which no call comes before one that ended earlier, gives the
answers that were seen.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from session_continuity import (
    ConcurrencyError,
    ConversationChangedError,
    Message,
    MessageNotFoundError,
    MessageQuery,
    Patch,
    SessionExistsError,
    SessionFilter,
    SessionMetadata,
    SessionNotFoundError,
    StorageAdapter,
    ThrottledError,
    UnavailableError,
    run_now,
)

from .conversations import Speaker, new_session, read_messages
from .threads import run_in_threads

UNKNOWN = "unknown"
"""The answer of a call that may have been made."""

SESSION = "s"
USER = "ada"

_REFUSALS = {
    SessionNotFoundError: "no session",
    SessionExistsError: "exists",
    ConcurrencyError: "conflict",
    ConversationChangedError: "changed",
    MessageNotFoundError: "no message",
    UnavailableError: UNKNOWN,
    ThrottledError: UNKNOWN,
}


@dataclass(frozen=True)
class Call:
    """One call: its name and arguments, when it began and ended, and its answer."""

    name: str
    arguments: tuple[Any, ...]
    began: int
    ended: int
    answer: Any

    def __str__(self) -> str:
        return f"{self.name}{self.arguments} -> {self.answer!r}"


@dataclass(frozen=True)
class SessionState:
    """A session: its version, its title, and the texts of its messages. Version 0 stands for no session."""

    version: int = 0
    title: str | None = None
    texts: tuple[str, ...] = ()

    def after(self, call: Call) -> Iterator[tuple[SessionState, Any]]:
        """The state after a call, and the answer to it."""
        if call.name == "create":
            yield (self, "exists") if self.version else (SessionState(1), "created")
        elif call.name == "delete":
            yield SessionState(), bool(self.version)
        elif call.name in ("get", "list"):
            yield self, self._facts() if self.version else None
        elif not self.version:
            yield self, "no session"
        elif call.name == "clear":  # what is appended during the call may stay
            for count in range(len(self.texts) + 1):
                yield replace(self, texts=self.texts[count:]), count
        else:
            yield getattr(self, f"_{call.name}")(*call.arguments)

    def _facts(self) -> tuple[int, str | None, int]:
        return self.version, self.title, len(self.texts)

    def _update(self, title: str, expected: int | None) -> tuple[SessionState, Any]:
        if expected not in (None, self.version):
            return self, "conflict"
        after = replace(self, version=self.version + 1, title=title)
        return after, after._facts()

    def _append(self, texts: tuple[str, ...], title: str | None, expected_last: str | None) -> tuple[SessionState, Any]:
        if expected_last is not None and self.texts[-1:] != (expected_last,):
            return self, "changed"
        after = replace(self, texts=self.texts + texts)
        return (after if title is None else replace(after, version=self.version + 1, title=title)), "added"

    def _replace(self, after: str | None, texts: tuple[str, ...]) -> tuple[SessionState, Any]:
        if after is not None and after not in self.texts:
            return self, "no message"
        kept = 0 if after is None else self.texts.index(after) + 1
        return replace(self, texts=self.texts[:kept] + texts), len(self.texts) - kept

    def _remove(self, text: str) -> tuple[SessionState, Any]:
        return replace(self, texts=tuple(each for each in self.texts if each != text)), text in self.texts

    def _oldest(self) -> tuple[SessionState, Any]:
        return self, self.texts

    def _newest(self, limit: int) -> tuple[SessionState, Any]:
        return self, self.texts[::-1][:limit]

    def _chosen(self, texts: tuple[str, ...]) -> tuple[SessionState, Any]:
        return self, tuple(text for text in self.texts if text in texts)

    def _one(self, text: str) -> tuple[SessionState, Any]:
        return self, text if text in self.texts else None


def is_linearizable(calls: Sequence[Call]) -> bool:
    """Whether an order of the calls explains every answer. A call with an unknown answer may have been made or not,
    and at any time after it began."""
    calls = sorted(calls, key=lambda call: call.began)
    certain = sum(1 << number for number, call in enumerate(calls) if call.answer != UNKNOWN)
    seen: set[tuple[int, SessionState]] = set()
    waiting = [(0, SessionState())]
    while waiting:
        done, state = waiting.pop()
        if done & certain == certain:
            return True
        if (done, state) in seen:
            continue
        seen.add((done, state))
        open_calls = [number for number in range(len(calls)) if not done >> number & 1]
        first_end = min(calls[number].ended for number in open_calls if calls[number].answer != UNKNOWN)
        for number in open_calls:
            if calls[number].began > first_end:
                break
            for after, answer in state.after(calls[number]):
                if calls[number].answer in (answer, UNKNOWN):
                    waiting.append((done | 1 << number, after))
    return False


@dataclass
class History:
    """Workers that call one session's operations at random, each with a store of its own in blocking mode.

    `listed` says that listings of the store have current totals, and are calls of the history too.
    """

    stores: Sequence[StorageAdapter]
    seed: int
    rounds: int = 7
    listed: bool = False
    calls: list[Call] = field(default_factory=list[Call])
    _ids: dict[str, str] = field(default_factory=dict[str, str])
    """The message ids of texts that were stored."""

    def run(self) -> list[Call]:
        """The calls of all workers. An error that the contract does not name for a call is raised."""
        workers: list[Callable[[], None]] = [
            lambda store=store, number=number: self._work(store, number) for number, store in enumerate(self.stores)
        ]
        for outcome in run_in_threads(workers):
            if isinstance(outcome, Exception):
                raise outcome
        return self.calls

    def _work(self, store: StorageAdapter, number: int) -> None:
        chance = random.Random(f"{self.seed}/{number}")
        speaker = Speaker(SESSION, clock=store.clock)
        kinds = _WEIGHTS if self.listed else {kind: weight for kind, weight in _WEIGHTS.items() if kind != "list"}
        for turn in range(self.rounds):
            name = "create" if (number, turn) == (0, 0) else chance.choices([*kinds], [*kinds.values()])[0]
            self._call(store, name, chance, speaker, f"w{number}.{turn}")

    def _call(self, store: StorageAdapter, name: str, chance: random.Random, speaker: Speaker, label: str) -> None:
        arguments, act = getattr(self, f"_{name}")(store, chance, speaker, label)
        began = time.monotonic_ns()
        try:
            answer = run_now(act())
        except tuple(_REFUSALS) as refused:
            answer = _REFUSALS[type(refused)]
        self.calls.append(Call(name, arguments, began, time.monotonic_ns(), answer))

    def _known(self, chance: random.Random) -> str | None:
        known = [*self._ids]
        return chance.choice(known[-6:]) if known else None

    def _batch(self, chance: random.Random, speaker: Speaker, label: str) -> tuple[tuple[str, ...], list[Message]]:
        texts = tuple(f"{label}.{place}" for place in range(chance.choice((1, 1, 2))))
        is_chosen = chance.random() < 0.5
        messages = [speaker.says(text, **({"id": text} if is_chosen else {})) for text in texts]
        return texts, messages

    def _remember(self, messages: Sequence[Message]) -> None:
        self._ids.update({str(message.content): message.id for message in messages})

    def _create(self, store: StorageAdapter, _: random.Random, __: Speaker, label: str) -> Any:
        async def act() -> Any:
            await store.create_session(new_session(SESSION, now=store.clock(), user_id=USER, creation_token=label))
            return "created"

        return (label,), act

    def _delete(self, store: StorageAdapter, *_: Any) -> Any:
        return (), lambda: store.delete_session(SESSION)

    def _get(self, store: StorageAdapter, *_: Any) -> Any:
        async def act() -> Any:
            session = await store.get_session(SESSION)
            return session and (session.version, session.metadata.title, session.message_count)

        return (), act

    def _list(self, store: StorageAdapter, *_: Any) -> Any:
        async def act() -> Any:
            for session in await store.list_sessions(SessionFilter(user_id=USER), limit=10):
                return session.version, session.metadata.title, session.message_count
            return None

        return (), act

    def _update(self, store: StorageAdapter, chance: random.Random, _: Speaker, label: str) -> Any:
        expected = chance.choice((None, 1, 2))
        patch = Patch({"metadata": SessionMetadata(title=label)})

        async def act() -> Any:
            after = await store.update_session(SESSION, patch, expected_version=expected)
            return after.version, after.metadata.title, after.message_count

        return (label, expected), act

    def _append(self, store: StorageAdapter, chance: random.Random, speaker: Speaker, label: str) -> Any:
        texts, messages = self._batch(chance, speaker, label)
        terms: dict[str, Any] = {}
        if chance.random() < 0.5:
            terms["patch"] = Patch({"metadata": SessionMetadata(title=label)})
        expected = self._known(chance) if chance.random() < 0.25 else None
        if expected is not None:
            terms["expected_last_id"] = self._ids[expected]
        own = [message.id for message in messages if message.id == message.content]

        async def act() -> Any:
            added = await store.append_messages(SESSION, messages, client_ids=own, **terms)
            self._remember(added.messages)
            return "added"

        return (texts, label if "patch" in terms else None, expected), act

    def _replace(self, store: StorageAdapter, chance: random.Random, speaker: Speaker, label: str) -> Any:
        texts, messages = self._batch(chance, speaker, label)
        after = self._known(chance)
        after_id = None if after is None else self._ids[after]
        own = [message.id for message in messages if message.id == message.content]

        async def act() -> Any:
            replaced = await store.replace_tail(SESSION, after_id, messages, client_ids=own)
            self._remember(replaced.messages)
            return replaced.removed_count

        return (after, texts), act

    def _remove(self, store: StorageAdapter, chance: random.Random, *_: Any) -> Any:
        text = self._known(chance) or "none"
        return (text,), lambda: store.delete_message(SESSION, self._ids.get(text, text))

    def _clear(self, store: StorageAdapter, *_: Any) -> Any:
        return (), lambda: store.delete_all_messages(SESSION)

    def _oldest(self, store: StorageAdapter, *_: Any) -> Any:
        async def act() -> Any:
            return tuple(message.content for message in await read_messages(store, SESSION))

        return (), act

    def _newest(self, store: StorageAdapter, *_: Any) -> Any:
        async def act() -> Any:
            page = await store.get_messages(SESSION, MessageQuery(order="desc", limit=4))
            return tuple(message.content for message in page)

        return (4,), act

    def _chosen(self, store: StorageAdapter, chance: random.Random, *_: Any) -> Any:
        texts = tuple(dict.fromkeys(self._known(chance) or "none" for _ in range(3)))
        ids = [self._ids.get(text, text) for text in texts]

        async def act() -> Any:
            page = await store.get_messages(SESSION, MessageQuery(ids=ids))
            return tuple(message.content for message in page)

        return (texts,), act

    def _one(self, store: StorageAdapter, chance: random.Random, *_: Any) -> Any:
        text = self._known(chance) or "none"

        async def act() -> Any:
            message = await store.get_message(SESSION, self._ids.get(text, text))
            return None if message is None else message.content

        return (text,), act


_WEIGHTS = {
    "create": 2,
    "delete": 1,
    "get": 5,
    "list": 3,
    "update": 3,
    "append": 6,
    "replace": 4,
    "remove": 1,
    "clear": 1,
    "oldest": 2,
    "newest": 2,
    "chosen": 2,
    "one": 1,
}
"""How often the kinds of calls are made, beside each other."""
