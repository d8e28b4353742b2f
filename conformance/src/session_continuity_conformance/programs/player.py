"""Plays a program on a store and on the model at once, and sees that both answer alike."""

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
from session_continuity_conformance.programs import steps
from session_continuity_conformance.recording import short
from session_continuity_conformance.reference.model import Kept, Model
from session_continuity_conformance.store import MILLISECOND, Store

T = TypeVar("T")

Errors = tuple[type[SessionContinuityError], ...]
BEHIND_A_SERVER = timedelta(minutes=10)


@dataclass
class Sent:
    """An append that was sent, so that it can be repeated."""

    messages: tuple[Message, ...]
    chosen: tuple[str, ...]


@dataclass
class Player:
    """One program in progress."""

    store: Store
    sent: dict[str, list[Sent]] = field(default_factory=dict[str, list[Sent]])
    created: dict[str, Session] = field(default_factory=dict[str, Session])
    count: int = 0

    def __post_init__(self) -> None:
        self.model = Model(self.store.now)
        self.by_suite = not self.store.capabilities.server_clock
        if self.by_suite:
            self.store.stop_clock(self.store.now())

    async def play(self, program: Sequence[steps.Step]) -> None:
        """Every step, and then everything that can be read."""
        for step in program:
            await self.step(step)
        for slot in range(steps.SLOTS):
            await self.step(steps.Look(slot))
            await self.step(steps.Read(slot))
        for user in ("u", "v"):
            await self.step(steps.Listing(SessionFilter(user_id=user)))
        await self.step(steps.Expired(within=10_000))

    async def step(self, step: steps.Step) -> None:
        """One step."""
        await getattr(self, f"_{type(step).__name__.lower()}")(step)

    async def both(
        self,
        what: str,
        ask: Callable[[], Coroutine[Any, Any, T]],
        model: Callable[[], T],
        *,
        also: Errors = (),
    ) -> tuple[T, T] | None:
        """The answers of store and model; None where both refuse. `also` are refusals that are as good as the
        model's own."""
        theirs = await _outcome(ask)
        try:
            mine = model()
        except SessionContinuityError as refusal:
            allowed = (type(refusal), *also)
            if not isinstance(theirs, allowed):
                expected = " or ".join(sorted({error.__name__ for error in allowed}))
                raise ViolationError(what, expected=expected, observed=short(theirs)) from None
            return None
        if isinstance(theirs, SessionContinuityError):
            raise ViolationError(what, expected=short(mine), observed=short(theirs)) from theirs
        return theirs, mine

    async def agree(
        self, what: str, ask: Callable[[], Coroutine[Any, Any, T]], model: Callable[[], T], *, also: Errors = ()
    ) -> None:
        """Store and model answer the same."""
        answers = await self.both(what, ask, model, also=also)
        if answers is not None:
            same(what, *answers)

    async def _create(self, step: steps.Create) -> None:
        name = f"s{step.slot % steps.SLOTS}"
        session = self.store.new_session(
            id=name,
            created_at=self.moment(),
            user_id=step.user,
            active_agent_id=step.agent,
            status=step.status,
            metadata=SessionMetadata(tags=list(step.tags)),
            expires_at=self.end(step.life),
            token_budget=steps.LIMITED if step.limited else None,
            version=step.version,
        )
        self.created[name] = session
        await self._send(session)

    async def _createagain(self, step: steps.CreateAgain) -> None:
        name = f"s{step.slot % steps.SLOTS}"
        if name in self.created:
            await self._send(self.created[name])

    async def _send(self, session: Session) -> None:
        await self.agree(
            "create_session",
            lambda: self.store.adapter.create_session(session),
            lambda: self.model.create_session(session),
        )

    async def _update(self, step: steps.Update) -> None:
        name = self.session_at(step.slot)
        kept = self.model.live(name)
        present = 1 if kept is None else kept.head.version
        expected = None if step.expected is None else present + step.expected
        values = dict(step.values)
        if step.life is not None:
            values["expires_at"] = self.end(step.life)
        patch = Patch(values, step.clear - set(values))
        await self.agree(
            "update_session",
            lambda: self.store.adapter.update_session(name, patch, expected_version=expected),
            lambda: self.model.update_session(name, patch, expected_version=expected),
        )

    async def _delete(self, step: steps.Delete) -> None:
        name = self.session_at(step.slot)
        before = None if step.within is None else self.store.now() + steps.within(step.within)
        await self.agree(
            "delete_session",
            lambda: self.store.adapter.delete_session(name, expired_before=before),
            lambda: self.model.delete_session(name, expired_before=before),
        )

    async def _append(self, step: steps.Append) -> None:
        name = self.session_at(step.slot)
        size = self.store.capabilities.max_turn or len(step.turn)
        moment = self.writers_clock(name, step.late)
        turn: list[Message] = []
        for number, (role, tokens) in enumerate(step.turn[:size]):
            self.count += 1
            message_id = None if step.chosen is None else f"m{step.chosen + number}"
            at = moment + number * MILLISECOND
            turn.append(self.store.message(name, f"c{self.count}", role=role, tokens=tokens, at=at, id=message_id))
        chosen = () if step.chosen is None else tuple(message.id for message in turn)
        sent = Sent(tuple(turn), chosen)
        self.sent.setdefault(name, []).append(sent)
        await self._put(name, sent)

    async def _appendagain(self, step: steps.AppendAgain) -> None:
        name = self.session_at(step.slot)
        sent = self.sent.get(name, [])
        if sent:
            await self._put(name, sent[-1 - step.back % len(sent)])

    async def _put(self, name: str, sent: Sent) -> None:
        kept = self.model.live(name)
        before = None if kept is None else (kept.last_activity_at, kept.messages[-1:])
        answers = await self.both(
            "append_messages",
            lambda: self.store.adapter.append_messages(name, sent.messages, chosen_ids=sent.chosen),
            lambda: self.model.append_messages(name, sent.messages, chosen_ids=sent.chosen),
            also=() if kept is None else self.refusals(kept, sent.messages),
        )
        if answers is not None:
            theirs, mine = answers
            if before is not None and not mine.repeated and sent.messages[0].created_at <= before[0]:
                mine = self.adopt(name, theirs, sent, *before)
            _same_append(theirs, mine)

    def refusals(self, kept: Kept, turn: Sequence[Message]) -> Errors:
        """Every error by which this append may be refused: the contract does not say which comes first."""

        def repeated() -> object:
            return is_repeated_append([kept.find(message.id) for message in turn], turn)

        checks: tuple[Callable[[], object], ...] = (
            repeated,
            lambda: self.model.check_status(kept),
            lambda: self.model.check_limit(kept, turn),
        )
        found: list[type[SessionContinuityError]] = []
        for check in checks:
            try:
                check()
            except SessionContinuityError as error:
                found.append(type(error))
        return tuple(found)

    def adopt(
        self, name: str, theirs: Appended, sent: Sent, last_activity_at: datetime, last: Sequence[Message]
    ) -> Appended:
        """Take over the times and minted ids that the store gave a turn which was not later than the last activity,
        once they are seen to be right."""
        kept = self.model.needed(name)
        floor = max(message.created_at for message in (*last, sent.messages[0]))
        for place, (stored, given) in enumerate(zip(theirs.messages, sent.messages, strict=True)):
            holds("created_at of a late turn", stored.created_at >= floor, expected=f"≥ {floor}", observed=stored)
            floor = stored.created_at
            if given.id in sent.chosen or stored.id == given.id:
                same("id of a late turn", stored.id, given.id)
            else:
                same("time in the id of a late turn", minted_at(stored.id), stored.created_at)
            mine = kept.messages[place - len(sent.messages)]
            kept.places[stored.id] = kept.places.pop(mine.id)
            kept.messages[place - len(sent.messages)] = given.model_copy(
                update={"id": stored.id, "created_at": stored.created_at}
            )
        kept.last_activity_at = max(last_activity_at, floor)
        return self.model.appended(kept, kept.messages[-len(sent.messages) :], repeated=False)

    async def _edit(self, step: steps.Edit) -> None:
        name = self.session_at(step.slot)
        message_id = steps.pick(self.ids(name), step.place)
        self.count += 1
        values: dict[str, Any] = {"content": f"e{self.count}", "updated_at": self.store.now()}
        if step.role is not None:
            values["role"] = step.role
        if "token_count" not in step.clear:
            values["token_count"] = step.tokens
        patch = Patch(values, step.clear)
        await self.agree(
            "update_message",
            lambda: self.store.adapter.update_message(name, message_id, patch),
            lambda: self.model.update_message(name, message_id, patch),
        )

    async def _remove(self, step: steps.Remove) -> None:
        name = self.session_at(step.slot)
        message_id = steps.pick(self.ids(name), step.place)
        await self.agree(
            "delete_message",
            lambda: self.store.adapter.delete_message(name, message_id),
            lambda: self.model.delete_message(name, message_id),
        )

    async def _clear(self, step: steps.Clear) -> None:
        name = self.session_at(step.slot)
        await self.agree(
            "delete_all_messages",
            lambda: self.store.adapter.delete_all_messages(name),
            lambda: self.model.delete_all_messages(name),
        )

    async def _look(self, step: steps.Look) -> None:
        name = self.session_at(step.slot)
        message_id = steps.pick(self.ids(name), step.place)
        await self.agree(
            "get_session", lambda: self.store.adapter.get_session(name), lambda: self.model.get_session(name)
        )
        await self.agree(
            "get_message",
            lambda: self.store.adapter.get_message(name, message_id),
            lambda: self.model.get_message(name, message_id),
        )

    async def _read(self, step: steps.Read) -> None:
        name = self.session_at(step.slot)
        query = step.query(self.ids(name))

        async def page(cursor: str | None) -> Page[Message]:
            return await self.store.adapter.get_messages(name, query, cursor=cursor)

        def expected() -> list[Message]:
            return list(self.model.get_messages(name, replace(query, limit=1000)))

        await self.agree(
            "get_conversation",
            lambda: _parts(self.store.adapter, name, query),
            lambda: self._conversation(name, query),
        )
        await self._pages("get_messages", page, expected, step.meanwhile)

    def _conversation(self, name: str, query: MessageQuery) -> list[Session | Message]:
        """What the model says to `get_conversation`."""
        kept = self.model.needed(name)
        page = self.model.get_messages(name, query)
        system = [message for message in kept.messages if message.role == "system" and message not in page]
        return [kept.session(), *page, *system]

    async def _listing(self, step: steps.Listing) -> None:
        async def page(cursor: str | None) -> Page[Session]:
            page = await self.store.adapter.list_sessions(step.filter, limit=step.limit, cursor=cursor)
            return page.map(self.as_listed)

        def expected() -> list[Session]:
            return list(self.model.list_sessions(step.filter, limit=1000).map(self.as_listed))

        await self.store.settles(lambda: self.store.follow(page), expected())
        await self._pages("list_sessions", page, expected, step.meanwhile)

    def as_listed(self, session: Session) -> Session:
        """The session without what a listing may have wrong."""
        if self.store.capabilities.listing_totals:
            return session
        moved: dict[str, Any] = {
            "message_count": 0,
            "token_count": 0,
            "system_message_ids": [],
            "last_activity_at": session.created_at,
        }
        return session.model_copy(update=moved)

    async def _pages(
        self,
        what: str,
        read: Callable[[str | None], Coroutine[Any, Any, Page[Any]]],
        expected: Callable[[], list[Any]],
        meanwhile: steps.Step | None,
    ) -> None:
        """All pages. What something changes meanwhile may be there or not; the rest is there once, in order."""
        first = await self.both(what, lambda: read(None), lambda: Page(tuple(expected())))
        if first is None:
            return
        page, before = first
        cursor = page.next_cursor

        async def to_the_end() -> list[Any]:
            return [*page, *(await self.store.follow(lambda given: read(given or cursor)) if cursor else [])]

        if cursor is None or meanwhile is None:
            same_models(what, await to_the_end(), before)
            return
        await self.step(meanwhile)
        try:
            after = {item.id for item in expected()}
        except MessageNotFoundError:
            return
        _met_once(what, [item.id for item in await to_the_end()], [item.id for item in before if item.id in after])

    async def _expired(self, step: steps.Expired) -> None:
        before = self.store.now() + steps.within(step.within)
        if not self.by_suite:
            before += BEHIND_A_SERVER
        expected = sorted(self.model.get_expired_sessions(before, limit=1000))

        async def found() -> list[str]:
            return sorted(await self.store.expired(before, limit=step.limit))

        await self.store.settles(found, expected)
        same("get_expired_sessions", await found(), expected)

    async def _pass(self, step: steps.Pass) -> None:
        if self.by_suite:
            self.store.stop_clock(self.store.now() + steps.within(step.seconds))

    def end(self, life: int | None) -> Any:
        """The expiry of a life of so many seconds; where a server judges it, far enough away not to matter."""
        if life is None:
            return None
        return self.store.now() + (steps.within(life) if self.by_suite else timedelta(days=1 + life))

    def moment(self) -> Any:
        """When a session is created: now, to the millisecond, so that two creates may meet."""
        return self.store.now()

    def writers_clock(self, name: str, late: int | None) -> Any:
        """When a turn is written: now, or by a clock that is behind the last message."""
        kept = self.model.live(name)
        if late is None or kept is None or not kept.messages:
            return self.store.now()
        return kept.messages[-1].created_at - steps.within(late)

    def session_at(self, slot: int) -> str:
        """The session that a step means: one that lives, or with `ANY` one that was there once."""
        living = sorted(name for name in self.model.kept if self.model.live(name) is not None)
        if living and slot != steps.ANY:
            return living[slot % len(living)]
        return next((name for name in sorted(self.created) if name not in living), f"s{steps.SLOTS - 1}")

    def ids(self, name: str) -> list[str]:
        """The ids of a conversation, in order."""
        kept = self.model.live(name)
        return [] if kept is None else [message.id for message in kept.messages]


async def _parts(adapter: StorageAdapter, name: str, query: MessageQuery) -> list[Session | Message]:
    """The answer of `get_conversation`, piece by piece."""
    read = await adapter.get_conversation(name, query)
    return [read.session, *read.messages, *read.system_messages]


async def _outcome(ask: Callable[[], Coroutine[Any, Any, T]]) -> T | SessionContinuityError:
    try:
        return await ask()
    except SessionContinuityError as error:
        return error


def _met_once(what: str, ids: list[str], throughout: list[str]) -> None:
    """Nothing is met twice, and what was there throughout is met, in order."""
    same(f"{what}: met more than once", sorted({each for each in ids if ids.count(each) > 1}), [])
    same(f"{what}: there throughout", [each for each in ids if each in set(throughout)], throughout)


def _same_append(theirs: Appended, mine: Appended) -> None:
    same("repeated", theirs.repeated, mine.repeated)
    same_models("appended messages", theirs.messages, mine.messages)
    for name in ("message_count", "token_count", "expires_at"):
        if getattr(theirs, name) is not None:
            same(f"{name} after append_messages", getattr(theirs, name), getattr(mine, name))
