"""Mutants that append wrongly: totals, repetition, limits, races."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from session_continuity import (
    Appended,
    ConcurrencyError,
    Message,
    MessageQuery,
    Page,
    Patch,
    Session,
    TokenBudgetExceededError,
    move_to,
)
from session_continuity_conformance.mutants.registry import breaks
from session_continuity_conformance.reference.model import Model, SessionRecord
from session_continuity_conformance.reference.storage import ReferenceStorage

Chosen = Collection[str]


@breaks("SC-APP-001")
class AnswersAppendWithoutMetadata(Model):
    """append_messages returns messages without their metadata."""

    def appended(self, messages: Sequence[Message], *, repeated: bool) -> Appended:
        bare = [Patch(clear=frozenset({"metadata"})).apply(message) for message in messages]
        return super().appended(bare, repeated=repeated)


@breaks("SC-APP-002", "U41")
class ForgetsTheTokens(Model):
    """token_count of a session stays 0."""

    def get_session(self, session_id: str) -> Session | None:
        found = super().get_session(session_id)
        return None if found is None else found.model_copy(update={"token_count": 0})


@breaks("SC-APP-002")
class ForgetsTheActivity(Model):
    """last_activity_at stays at the time of creation."""

    def add(self, record: SessionRecord, batch: Sequence[Message]) -> None:
        before = record.last_activity_at
        super().add(record, batch)
        record.last_activity_at = before


@breaks("SC-APP-003")
class StoresTheFirst25(Model):
    """Only the first 25 messages of a batch are stored."""

    def append_messages(
        self, session_id: str, messages: Sequence[Message], *, client_ids: Chosen = (), **terms: Any
    ) -> Appended:
        return super().append_messages(session_id, messages[:25], client_ids=client_ids, **terms)


@breaks("SC-APP-003")
class RefusedBatchIsHalfStored(Model):
    """A batch whose last message exceeds the limit is stored without that message."""

    def check_accepts(self, record: SessionRecord, messages: Sequence[Message]) -> None:
        try:
            super().check_accepts(record, messages)
        except TokenBudgetExceededError:
            if len(messages) > 1:
                self.add(record, messages[:-1])
            raise


@breaks("SC-APP-004", "U8")
class RepeatedAppendDoubles(Model):
    """A repeated append with ids from the caller is stored again."""

    def append_messages(
        self, session_id: str, messages: Sequence[Message], *, client_ids: Chosen = (), **terms: Any
    ) -> Appended:
        record = self.require(session_id)
        if client_ids and all(record.find(message.id) is not None for message in messages):
            messages = move_to(messages[0].created_at, messages, client_ids=())
        return super().append_messages(session_id, messages, client_ids=client_ids, **terms)


@breaks("SC-APP-004")
class RepetitionIsNotReported(Model):
    """A repeated append is stored once, but the result does not say that it is repeated."""

    def appended(self, messages: Sequence[Message], *, repeated: bool) -> Appended:
        del repeated
        return super().appended(messages, repeated=False)


@breaks("SC-APP-005")
class ChecksStatusFirst(Model):
    """Status and limit are checked before an append is recognised as repeated."""

    def append_messages(
        self, session_id: str, messages: Sequence[Message], *, client_ids: Chosen = (), **terms: Any
    ) -> Appended:
        self.check_accepts(self.require(session_id), messages)
        return super().append_messages(session_id, messages, client_ids=client_ids, **terms)


@breaks("SC-APP-006")
class EditedMessageCountsAsSent(Model):
    """An append with the id of an edited message returns that message, whatever was sent."""

    def append_messages(
        self, session_id: str, messages: Sequence[Message], *, client_ids: Chosen = (), **terms: Any
    ) -> Appended:
        stored = [self.require(session_id).find(message.id) for message in messages]
        edited = tuple(message for message in stored if message is not None and message.updated_at is not None)
        if len(edited) == len(messages):
            return Appended(messages=edited, repeated=True)
        return super().append_messages(session_id, messages, client_ids=client_ids, **terms)


@breaks("SC-APP-007")
class TakenIdOverwrites(Model):
    """An append with the id of another message overwrites that message."""

    def append_messages(
        self, session_id: str, messages: Sequence[Message], *, client_ids: Chosen = (), **terms: Any
    ) -> Appended:
        record = self.require(session_id)
        for message in messages:
            old = record.find(message.id)
            if old is not None and len(messages) == 1 and old.updated_at is None:
                record.messages[record.messages.index(old)] = message.model_copy(update={"created_at": old.created_at})
        return super().append_messages(session_id, messages, client_ids=client_ids, **terms)


@breaks("SC-APP-008")
class StoresTheRestOfABatch(Model):
    """Of a batch that is stored in part, the rest is stored."""

    def append_messages(
        self, session_id: str, messages: Sequence[Message], *, client_ids: Chosen = (), **terms: Any
    ) -> Appended:
        record = self.require(session_id)
        fresh = [message for message in messages if record.find(message.id) is None]
        return super().append_messages(session_id, fresh or messages, client_ids=client_ids, **terms)


@breaks("SC-APP-021")
class TwinIdsOverwrite(Model):
    """Of two messages in a batch with the same id, the last is stored."""

    def append_messages(
        self, session_id: str, messages: Sequence[Message], *, client_ids: Chosen = (), **terms: Any
    ) -> Appended:
        last = {message.id: message for message in messages}
        return super().append_messages(session_id, list(last.values()), client_ids=client_ids, **terms)


@breaks("SC-APP-021")
class TwinsAreMintedAgain(Model):
    """Of two messages in a batch with the same minted id, one gets another id."""

    def append_messages(
        self, session_id: str, messages: Sequence[Message], *, client_ids: Chosen = (), **terms: Any
    ) -> Appended:
        batch: list[Message] = []
        for message in messages:
            is_twin = message.id in {each.id for each in batch} and message.id not in client_ids
            batch += move_to(message.created_at, [message], client_ids=()) if is_twin else [message]
        return super().append_messages(session_id, batch, client_ids=client_ids, **terms)


@breaks("SC-APP-009", "U21")
class ClosedSessionAccepts(Model):
    """A completed session accepts messages."""

    def check_accepts(self, record: SessionRecord, messages: Sequence[Message]) -> None:
        head = record.head
        record.head = head.model_copy(update={"status": "active"})
        try:
            super().check_accepts(record, messages)
        finally:
            record.head = head


@breaks("SC-APP-009")
class StatusIsThatAtCreation(Model):
    """An append checks the status at creation, not the current one."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.gates: dict[str, Any] = {}

    def create_session(self, session: Session) -> Session:
        self.gates[session.id] = session.status
        return super().create_session(session)

    def check_accepts(self, record: SessionRecord, messages: Sequence[Message]) -> None:
        head = record.head
        record.head = head.model_copy(update={"status": self.gates[head.id]})
        try:
            super().check_accepts(record, messages)
        finally:
            record.head = head


@breaks("SC-APP-010")
class OnlyActiveAccepts(Model):
    """A paused session refuses messages."""

    def check_accepts(self, record: SessionRecord, messages: Sequence[Message]) -> None:
        head = record.head
        if head.status == "paused":
            record.head = head.model_copy(update={"status": "completed"})
        try:
            super().check_accepts(record, messages)
        finally:
            record.head = head


@breaks("SC-APP-011")
class LimitIsOneLess(Model):
    """A batch that reaches the hard limit exactly is refused."""

    def check_accepts(self, record: SessionRecord, messages: Sequence[Message]) -> None:
        extra = messages[0].model_copy(update={"token_count": 1})
        used = sum(message.token_count or 0 for message in messages)
        super().check_accepts(record, [*messages, extra] if used else messages)


@breaks("SC-APP-011")
class SoftBudgetIsEnforced(Model):
    """The store refuses appends over a budget that is only for contexts."""

    def check_accepts(self, record: SessionRecord, messages: Sequence[Message]) -> None:
        super().check_accepts(record, messages)
        budget, used = record.head.token_budget, record.session().token_count
        more = sum(message.token_count or 0 for message in messages)
        if budget is not None and used + more > budget.available:
            raise TokenBudgetExceededError(record.head.id, requested=more, limit=budget.available, used=used)


@breaks("SC-APP-012", "U34")
class ChecksTheLimitThenActs(ReferenceStorage):
    """The hard limit is checked before the append, not together with it."""

    async def append_messages(
        self, session_id: str, messages: Sequence[Message], *, client_ids: Chosen = (), **terms: Any
    ) -> Appended:
        del client_ids, terms

        def check(model: Model) -> None:
            model.check_accepts(model.require(session_id), messages)

        self.work("append_messages", check)
        await self.pause()

        def store(model: Model) -> Appended:
            record = model.require(session_id)
            model.add(record, messages)
            return model.appended(messages, repeated=False)

        return self.work("append_messages", store)


@breaks("SC-APP-013")
class LimitIsTheFirstOne(Model):
    """The hard limit stays the one at creation."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.budgets: dict[str, Any] = {}

    def create_session(self, session: Session) -> Session:
        self.budgets[session.id] = session.token_budget
        return super().create_session(session)

    def check_accepts(self, record: SessionRecord, messages: Sequence[Message]) -> None:
        seen = replace(record, head=record.head.model_copy(update={"token_budget": self.budgets[record.head.id]}))
        super().check_accepts(seen, messages)


@breaks("SC-APP-013")
class LimitCountsWhatWasDeleted(Model):
    """Tokens of deleted messages still count against the hard limit."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.ever: dict[str, int] = {}

    def add(self, record: SessionRecord, batch: Sequence[Message]) -> None:
        super().add(record, batch)
        tokens = sum(message.token_count or 0 for message in batch)
        self.ever[record.head.id] = self.ever.get(record.head.id, 0) + tokens

    def check_accepts(self, record: SessionRecord, messages: Sequence[Message]) -> None:
        gone = self.ever.get(record.head.id, 0) - record.session().token_count
        ghost = messages[0].model_copy(update={"token_count": max(gone, 0)})
        super().check_accepts(record, [*messages, ghost])


@breaks("SC-APP-015")
class UncountedMessageCountsOne(Model):
    """A message without token_count is stored with a token_count of 1."""

    def add(self, record: SessionRecord, batch: Sequence[Message]) -> None:
        counted = [
            message if message.token_count is not None else message.model_copy(update={"token_count": 1})
            for message in batch
        ]
        super().add(record, counted)


@breaks("SC-APP-016", "U8")
class StoresThenConflicts(ReferenceStorage):
    """An append that conflicts with another is stored, and refused all the same."""

    busy = 0

    async def append_messages(self, session_id: str, messages: Sequence[Message], **options: Any) -> Appended:
        type(self).busy += 1
        try:
            appended = await super().append_messages(session_id, messages, **options)
            await self.pause()
            if type(self).busy > 1:
                raise ConcurrencyError(session_id, expected=None, actual=None)
            return appended
        finally:
            type(self).busy -= 1


@breaks("SC-APP-017")
class CountsBeforeItStores(ReferenceStorage):
    """The totals grow before the message can be read."""

    hidden: ClassVar[set[str]] = set()

    async def append_messages(self, session_id: str, messages: Sequence[Message], **options: Any) -> Appended:
        self.hidden.update(message.id for message in messages)
        try:
            appended = await super().append_messages(session_id, messages, **options)
            await self.pause()
            return appended
        finally:
            self.hidden.difference_update(message.id for message in messages)

    async def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        page = await super().get_messages(session_id, query, cursor=cursor)
        return Page(tuple(message for message in page if message.id not in self.hidden), page.next_cursor)


@breaks("SC-APP-018", "U31")
class SizeLimitIsNotChecked(ReferenceStorage):
    """A message over the declared limit is stored."""

    def check_size(self, batch: Sequence[Message]) -> None:
        """Accept every size."""


@breaks("SC-APP-018")
class SizeLimitIsHalfOfWhatIsDeclared(ReferenceStorage):
    """Messages are refused from half of the declared limit on."""

    def check_size(self, batch: Sequence[Message]) -> None:
        super().check_size([message.model_copy(update={"content": str(message.content) * 2}) for message in batch])


@breaks("SC-APP-019")
class MintedIdsAreNotLookedUp(Model):
    """Only ids from the caller are looked up, so a repeated append with minted ids is stored again."""

    def append_messages(
        self, session_id: str, messages: Sequence[Message], *, client_ids: Chosen = (), **terms: Any
    ) -> Appended:
        record = self.require(session_id)
        if not client_ids and all(record.find(message.id) is not None for message in messages):
            messages = move_to(messages[0].created_at, messages, client_ids=())
        return super().append_messages(session_id, messages, client_ids=client_ids, **terms)


@breaks("SC-APP-020")
class LooksUpThenStores(ReferenceStorage):
    """A repeated append is looked up before it is stored, not together with it."""

    async def append_messages(
        self, session_id: str, messages: Sequence[Message], *, client_ids: Chosen = (), **terms: Any
    ) -> Appended:
        known = self.work("append_messages", lambda m: [m.require(session_id).find(each.id) for each in messages])
        await self.pause()
        if any(known):
            return await super().append_messages(session_id, messages, client_ids=client_ids, **terms)

        def store(model: Model) -> Appended:
            record = model.require(session_id)
            model.add(record, messages)
            return model.appended(messages, repeated=False)

        return self.work("append_messages", store)


@breaks("SC-APP-023")
class StoresTheFirstHundred(ReferenceStorage):
    """Only the first 100 messages of a batch are stored, and no limit is declared."""

    async def append_messages(
        self, session_id: str, messages: Sequence[Message], *, client_ids: Collection[str] = (), **terms: Any
    ) -> Appended:
        return await super().append_messages(session_id, messages[:100], client_ids=client_ids, **terms)


@breaks("SC-APP-024")
class SortsTheBatch(Model):
    """A batch whose times decrease is stored in the order of its times."""

    def append_messages(self, session_id: str, messages: Sequence[Message], **options: Any) -> Appended:
        ordered = sorted(messages, key=lambda message: message.created_at)
        return super().append_messages(session_id, ordered, **options)
