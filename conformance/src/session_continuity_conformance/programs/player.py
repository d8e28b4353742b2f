"""Plays a program on a store and on the model, and checks that both give the same answers."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from session_continuity import (
    Appended,
    Message,
    MessageNotFoundError,
    MessageQuery,
    Page,
    Patch,
    Session,
    SessionContinuityError,
    SessionFilter,
    SessionMetadata,
    StorageAdapter,
    is_repeated_append,
    minted_at,
)
from session_continuity_conformance.checks import ViolationError, holds, same, same_models
from session_continuity_conformance.programs import steps, turns
from session_continuity_conformance.recording import short
from session_continuity_conformance.reference.model import Model, SessionRecord
from session_continuity_conformance.store_fixture import MILLISECOND, StoreFixture

T = TypeVar("T")

Errors = tuple[type[SessionContinuityError], ...]
Call = Callable[[], Coroutine[Any, Any, T]]

SERVER_CLOCK_ERROR = timedelta(minutes=10)
"""How far the clock of a server may be from the suite's."""


@dataclass
class Append:
    """An append that was made, so that it can be repeated."""

    messages: tuple[Message, ...]
    client_ids: tuple[str, ...]


@dataclass
class Player:
    """One program in progress. `appends` and `created` hold what was sent, by session id."""

    store: StoreFixture
    appends: dict[str, list[Append]] = field(default_factory=dict[str, list[Append]])
    created: dict[str, Session] = field(default_factory=dict[str, Session])
    count: int = 0

    def __post_init__(self) -> None:
        self.model = Model(self.store.now)
        self.has_suite_clock = not self.store.capabilities.server_clock
        if self.has_suite_clock:
            self.store.set_clock(self.store.now())

    async def play(self, program: Sequence[steps.Step]) -> None:
        """Play every step, and then read everything that can be read."""
        for step in program:
            await self.step(step)
        for slot in range(steps.SLOTS):
            await self.step(steps.Get(slot))
            await self.step(steps.ReadMessages(slot))
        for user in ("u", "v"):
            await self.step(steps.ListSessions(SessionFilter(user_id=user)))
        await self.step(steps.FindExpired(within=10_000))
        if self.store.capabilities.text_search:
            await self._search("text")
            await self._search("e", user_id="u")  # the beginning of what an edit writes

    async def step(self, step: steps.Step) -> None:
        """Play one step."""
        match step:
            case steps.Create():
                await self._create(step)
            case steps.RepeatCreate():
                await self._repeat_create(step)
            case steps.Get():
                await self._get(step)
            case steps.Update():
                await self._update(step)
            case steps.Delete():
                await self._delete(step)
            case steps.ListSessions():
                await self._list_sessions(step)
            case steps.Append():
                await self._append(step)
            case steps.Turn() | steps.ReplaceTail() | steps.ForkSession():
                await turns.play(self, step)
            case steps.RepeatAppend():
                await self._repeat_append(step)
            case steps.ReadMessages():
                await self._read_messages(step)
            case steps.Edit():
                await self._edit(step)
            case steps.DeleteMessage():
                await self._delete_message(step)
            case steps.DeleteAll():
                await self._delete_all(step)
            case steps.FindExpired():
                await self._find_expired(step)
            case steps.Wait():
                self._wait(step)

    async def answers(
        self, what: str, call: Call[T], model: Callable[[], T], *, also: Errors = ()
    ) -> tuple[T, T] | None:
        """The answers of the store and of the model; None where both refuse.

        `also` are errors that the store may raise in place of the model's.
        """
        actual = await _outcome(call)
        try:
            expected = model()
        except SessionContinuityError as refusal:
            allowed = (type(refusal), *also)
            if not isinstance(actual, allowed):
                names = " or ".join(sorted({error.__name__ for error in allowed}))
                raise ViolationError(what, expected=names, observed=short(actual)) from None
            return None
        if isinstance(actual, SessionContinuityError):
            raise ViolationError(what, expected=short(expected), observed=short(actual)) from actual
        return actual, expected

    async def compare(self, what: str, call: Call[T], model: Callable[[], T]) -> None:
        """Check that the store and the model give the same answer."""
        answers = await self.answers(what, call, model)
        if answers is not None:
            same(what, *answers)

    async def _create(self, step: steps.Create) -> None:
        name = f"s{step.slot % steps.SLOTS}"
        self.created[name] = self.store.new_session(
            id=name,
            # to the millisecond, and not later each time: so two creates may have the same time
            created_at=self.store.now(),
            user_id=step.user,
            active_agent_id=step.agent,
            status=step.status,
            metadata=SessionMetadata(tags=list(step.tags)),
            expires_at=self.expiry(step.life),
            token_budget=steps.LIMITED if step.limited else None,
            version=step.version,
        )
        await self._send_create(self.created[name])

    async def _repeat_create(self, step: steps.RepeatCreate) -> None:
        name = f"s{step.slot % steps.SLOTS}"
        if name in self.created:
            await self._send_create(self.created[name])

    async def _send_create(self, session: Session) -> None:
        await self.compare(
            "create_session",
            lambda: self.store.adapter.create_session(session),
            lambda: self.model.create_session(session),
        )

    async def _update(self, step: steps.Update) -> None:
        name = self.session_at(step.slot)
        record = self.model.find_live(name)
        version = 1 if record is None else record.head.version
        expected = None if step.expected is None else version + step.expected
        values = dict(step.values)
        if step.life is not None:
            values["expires_at"] = self.expiry(step.life)
        patch = Patch(values, step.clear - set(values))
        await self.compare(
            "update_session",
            lambda: self.store.adapter.update_session(name, patch, expected_version=expected),
            lambda: self.model.update_session(name, patch, expected_version=expected),
        )

    async def _delete(self, step: steps.Delete) -> None:
        name = self.session_at(step.slot)
        before = None if step.within is None else self.store.now() + timedelta(seconds=step.within)
        await self.compare(
            "delete_session",
            lambda: self.store.adapter.delete_session(name, expired_before=before),
            lambda: self.model.delete_session(name, expired_before=before),
        )

    async def _append(self, step: steps.Append) -> None:
        name = self.session_at(step.slot)
        size = self.store.capabilities.max_batch or len(step.batch)
        moment = self.writers_clock(name, step.late)
        batch: list[Message] = []
        for number, (role, tokens) in enumerate(step.batch[:size]):
            self.count += 1
            message_id = None if step.first_id is None else f"m{step.first_id + number}"
            at = moment + number * MILLISECOND
            batch.append(self.store.message(name, f"c{self.count}", role=role, tokens=tokens, at=at, id=message_id))
        append = Append(tuple(batch), () if step.first_id is None else tuple(message.id for message in batch))
        self.appends.setdefault(name, []).append(append)
        await self._send_append(name, append)

    async def _repeat_append(self, step: steps.RepeatAppend) -> None:
        name = self.session_at(step.slot)
        appends = self.appends.get(name, [])
        if appends:
            await self._send_append(name, appends[-1 - step.back % len(appends)])

    async def _send_append(self, name: str, append: Append) -> None:
        record = self.model.find_live(name)
        before = None if record is None else (record.last_activity_at, record.messages[-1:])
        answers = await self.answers(
            "append_messages",
            lambda: self.store.adapter.append_messages(name, append.messages, client_ids=append.client_ids),
            lambda: self.model.append_messages(name, append.messages, client_ids=append.client_ids),
            also=() if record is None else self.possible_refusals(record, append.messages),
        )
        if answers is None:
            return
        actual, expected = answers
        if before is not None and not expected.repeated and append.messages[0].created_at <= before[0]:
            expected = self.adopt(name, actual, append, *before)
        same("repeated", actual.repeated, expected.repeated)
        same_models("appended messages", actual.messages, expected.messages)

    def possible_refusals(self, record: SessionRecord, batch: Sequence[Message]) -> Errors:
        """Every error that may refuse this append. The contract does not say which of them comes first."""

        def check_repeated() -> object:
            return is_repeated_append([record.find(message.id) for message in batch], batch)

        checks: tuple[Callable[[], object], ...] = (
            check_repeated,
            lambda: self.model.check_status(record),
            lambda: self.model.check_limit(record, batch),
        )
        found: list[type[SessionContinuityError]] = []
        for check in checks:
            try:
                check()
            except SessionContinuityError as error:
                found.append(type(error))
        return tuple(found)

    def adopt(
        self, name: str, actual: Appended, append: Append, last_activity_at: datetime, last: Sequence[Message]
    ) -> Appended:
        """Check the times and minted ids that the store gave a batch which was not later than the last activity, and
        give them to the model's messages. Return the model's answer with them."""
        record = self.model.require(name)
        floor = max(message.created_at for message in (*last, append.messages[0]))
        for place, (stored, sent) in enumerate(zip(actual.messages, append.messages, strict=True)):
            holds("created_at of a late batch", stored.created_at >= floor, expected=f"≥ {floor}", observed=stored)
            floor = stored.created_at
            if sent.id in append.client_ids or stored.id == sent.id:
                same("id of a late batch", stored.id, sent.id)
            else:
                same("time in the id of a late batch", minted_at(stored.id), stored.created_at)
            models = record.messages[place - len(append.messages)]
            record.places[stored.id] = record.places.pop(models.id)
            record.messages[place - len(append.messages)] = sent.model_copy(
                update={"id": stored.id, "created_at": stored.created_at}
            )
        record.last_activity_at = max(last_activity_at, floor)
        return self.model.appended(record.messages[-len(append.messages) :], repeated=False)

    async def _edit(self, step: steps.Edit) -> None:
        name = self.session_at(step.slot)
        message_id = steps.pick(self.message_ids(name), step.place)
        self.count += 1
        values: dict[str, Any] = {"content": f"e{self.count}", "updated_at": self.store.now()}
        if step.role is not None:
            values["role"] = step.role
        if "token_count" not in step.clear:
            values["token_count"] = step.tokens
        patch = Patch(values, step.clear)
        await self.compare(
            "update_message",
            lambda: self.store.adapter.update_message(name, message_id, patch),
            lambda: self.model.update_message(name, message_id, patch),
        )

    async def _delete_message(self, step: steps.DeleteMessage) -> None:
        name = self.session_at(step.slot)
        message_id = steps.pick(self.message_ids(name), step.place)
        await self.compare(
            "delete_message",
            lambda: self.store.adapter.delete_message(name, message_id),
            lambda: self.model.delete_message(name, message_id),
        )

    async def _delete_all(self, step: steps.DeleteAll) -> None:
        name = self.session_at(step.slot)
        await self.compare(
            "delete_all_messages",
            lambda: self.store.adapter.delete_all_messages(name),
            lambda: self.model.delete_all_messages(name),
        )

    async def _get(self, step: steps.Get) -> None:
        name = self.session_at(step.slot)
        message_id = steps.pick(self.message_ids(name), step.place)
        await self.compare(
            "get_session", lambda: self.store.adapter.get_session(name), lambda: self.model.get_session(name)
        )
        await self.compare(
            "get_message",
            lambda: self.store.adapter.get_message(name, message_id),
            lambda: self.model.get_message(name, message_id),
        )

    async def _read_messages(self, step: steps.ReadMessages) -> None:
        name = self.session_at(step.slot)
        query = step.query(self.message_ids(name))

        async def page(cursor: str | None) -> Page[Message]:
            return await self.store.adapter.get_messages(name, query, cursor=cursor)

        def expected() -> list[Message]:
            return list(self.model.get_messages(name, replace(query, limit=1000)))

        await self.compare(
            "get_conversation",
            lambda: _conversation(self.store.adapter, name, query),
            lambda: self.conversation(name, query),
        )
        await self._read_pages("get_messages", page, expected, step.meanwhile)

    def conversation(self, name: str, query: MessageQuery) -> list[Session | Message]:
        """The model's answer to `get_conversation`: session, page, other system messages."""
        record = self.model.require(name)
        page = self.model.get_messages(name, query)
        system = [message for message in record.messages if message.role == "system" and message not in page]
        return [record.session(), *page, *system]

    async def _list_sessions(self, step: steps.ListSessions) -> None:
        wanted = self.listing_of(step)
        bound = self.with_totals if wanted.is_by_activity else self.as_listed

        async def page(cursor: str | None) -> Page[Session]:
            page = await self.store.adapter.list_sessions(wanted, limit=step.limit, cursor=cursor)
            return page.map(bound)

        def expected() -> list[Session]:
            return list(self.model.list_sessions(wanted, limit=1000).map(bound))

        await self.store.settle(lambda: self.store.read_pages(page), expected())
        await self._read_pages("list_sessions", page, expected, step.meanwhile)

    def listing_of(self, step: steps.ListSessions) -> SessionFilter:
        """The filter of a step, in an order that the store declares, behind the session of its slot if there is one."""
        declared = self.store.capabilities
        orders = {
            "newest": True,
            "oldest": declared.ascending_listing,
            "recent": declared.activity_listing,
            "idle": declared.activity_listing,
        }
        wanted = step.filter if orders[step.filter.order] else replace(step.filter, order="newest")
        start = None if step.behind is None else self.model.find_live(self.session_at(step.behind))
        return wanted if start is None else replace(wanted, behind=wanted.place_of(start.session()))

    def with_totals(self, session: Session) -> Session:
        """The session as it is."""
        return session

    def as_listed(self, session: Session) -> Session:
        """The session without the fields that a listing of this store may show late."""
        if self.store.capabilities.listing_totals:
            return session
        late: dict[str, Any] = {
            "message_count": 0,
            "token_count": 0,
            "system_message_ids": [],
            "last_activity_at": session.created_at,
        }
        return session.model_copy(update=late)

    async def _read_pages(
        self,
        what: str,
        read: Callable[[str | None], Coroutine[Any, Any, Page[Any]]],
        expected: Callable[[], list[Any]],
        meanwhile: steps.Step | None,
    ) -> None:
        """Check all pages of an answer. `meanwhile` is played after the first page.

        An item that `meanwhile` changes may be there or not. Every other item is there once, in order.
        """
        first = await self.answers(what, lambda: read(None), lambda: Page(tuple(expected())))
        if first is None:
            return
        page, before = first
        cursor = page.next_cursor

        async def read_rest() -> list[Any]:
            return [*page, *(await self.store.read_pages(lambda each: read(each or cursor)) if cursor else [])]

        if cursor is None or meanwhile is None:
            same_models(what, await read_rest(), before)
            return
        await self.step(meanwhile)
        try:
            after = {item.id for item in expected()}
        except MessageNotFoundError:
            return
        _check_met_once(what, [item.id for item in await read_rest()], [item.id for item in before if item.id in after])

    async def _search(self, text: str, user_id: str | None = None) -> None:
        found = await self.store.read_pages(
            lambda cursor: self.store.adapter.search_messages(text, user_id=user_id, limit=3, cursor=cursor)
        )
        expected = self.model.search_messages(text, user_id=user_id, limit=1000)
        ids, expected_ids = ([(each.session_id, each.id) for each in messages] for messages in (found, expected))
        same("search_messages", sorted(ids), sorted(expected_ids))

    async def _find_expired(self, step: steps.FindExpired) -> None:
        before = self.store.now() + timedelta(seconds=step.within)
        if not self.has_suite_clock:
            before += SERVER_CLOCK_ERROR
        expected = sorted(self.model.get_expired_sessions(before, limit=1000))

        async def found() -> list[str]:
            return sorted(await self.store.expired_ids(before, limit=step.limit))

        await self.store.settle(found, expected)
        same("get_expired_sessions", await found(), expected)

    def _wait(self, step: steps.Wait) -> None:
        if self.has_suite_clock:
            self.store.set_clock(self.store.now() + timedelta(seconds=step.seconds))

    def expiry(self, life: int | None) -> datetime | None:
        """`expires_at` for a life of so many seconds. Where a server judges expiry it is days away, so that the session
        does not expire during the program."""
        if life is None:
            return None
        return self.store.now() + (timedelta(seconds=life) if self.has_suite_clock else timedelta(days=1 + life))

    def writers_clock(self, name: str, late: int | None) -> datetime:
        """The time of an append: now, or so many seconds before the last message."""
        record = self.model.find_live(name)
        if late is None or record is None or not record.messages:
            return self.store.now()
        return record.messages[-1].created_at - timedelta(seconds=late)

    def session_at(self, slot: int) -> str:
        """The session that a step means: one that is there, or with `GONE` one that was there once."""
        living = sorted(name for name in self.model.records if self.model.find_live(name) is not None)
        if living and slot != steps.GONE:
            return living[slot % len(living)]
        return next((name for name in sorted(self.created) if name not in living), f"s{steps.SLOTS - 1}")

    def message_ids(self, name: str) -> list[str]:
        """The ids of a conversation, in order."""
        record = self.model.find_live(name)
        return [] if record is None else [message.id for message in record.messages]


async def _conversation(adapter: StorageAdapter, name: str, query: MessageQuery) -> list[Session | Message]:
    """The store's answer to `get_conversation`: session, page, other system messages."""
    page = await adapter.get_conversation(name, query)
    return [page.session, *page.messages, *page.system_messages]


async def _outcome(call: Call[T]) -> T | SessionContinuityError:
    try:
        return await call()
    except SessionContinuityError as error:
        return error


def _check_met_once(what: str, ids: list[str], throughout: list[str]) -> None:
    """No id comes twice, and those that were there throughout come in order."""
    same(f"{what}: met more than once", sorted({each for each in ids if ids.count(each) > 1}), [])
    same(f"{what}: there throughout", [each for each in ids if each in set(throughout)], throughout)
