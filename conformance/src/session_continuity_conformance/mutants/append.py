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
    ValidationError,
    move_to,
)
from session_continuity_conformance.mutants.registry import breaks
from session_continuity_conformance.reference.model import Kept, Model
from session_continuity_conformance.reference.storage import ReferenceStorage

Chosen = Collection[str]


@breaks("SC-APP-001")
class AnswersAppendWithoutMetadata(Model):
    """append_messages answers with messages that lack their metadata."""

    def appended(self, kept: Kept, messages: Sequence[Message], *, repeated: bool) -> Appended:
        bare = [Patch(clear=frozenset({"metadata"})).apply(message) for message in messages]
        return super().appended(kept, bare, repeated=repeated)


@breaks("SC-APP-002", "U41")
class ForgetsTheTokens(Model):
    """token_count of the session stays at nothing."""

    def get_session(self, session_id: str) -> Session | None:
        found = super().get_session(session_id)
        return None if found is None else found.model_copy(update={"token_count": 0})


@breaks("SC-APP-002")
class ForgetsTheActivity(Model):
    """last_activity_at stays at the creation."""

    def add(self, kept: Kept, turn: Sequence[Message]) -> None:
        before = kept.last_activity_at
        super().add(kept, turn)
        kept.last_activity_at = before


@breaks("SC-APP-003")
class CutsLongTurns(Model):
    """Only the first 25 messages of a turn are stored."""

    def append_messages(self, session_id: str, messages: Sequence[Message], *, chosen_ids: Chosen = ()) -> Appended:
        return super().append_messages(session_id, messages[:25], chosen_ids=chosen_ids)


@breaks("SC-APP-003")
class RefusedTurnIsHalfStored(Model):
    """A turn that its last message takes over the limit is stored up to there."""

    def check_gate(self, kept: Kept, messages: Sequence[Message]) -> None:
        try:
            super().check_gate(kept, messages)
        except TokenBudgetExceededError:
            if len(messages) > 1:
                self.add(kept, messages[:-1])
            raise


@breaks("SC-APP-004", "U8")
class RepeatedAppendDoubles(Model):
    """An append repeated with its chosen ids is stored again."""

    def append_messages(self, session_id: str, messages: Sequence[Message], *, chosen_ids: Chosen = ()) -> Appended:
        kept = self.needed(session_id)
        if chosen_ids and all(kept.find(message.id) is not None for message in messages):
            messages = move_to(messages[0].created_at, messages, chosen_ids=())
        return super().append_messages(session_id, messages, chosen_ids=chosen_ids)


@breaks("SC-APP-004")
class RepetitionIsNotTold(Model):
    """A repeated append is stored once, but answered like the first."""

    def appended(self, kept: Kept, messages: Sequence[Message], *, repeated: bool) -> Appended:
        del repeated
        return super().appended(kept, messages, repeated=False)


@breaks("SC-APP-005")
class JudgesTheGateFirst(Model):
    """Status and limit are judged before an append is recognised as repeated."""

    def append_messages(self, session_id: str, messages: Sequence[Message], *, chosen_ids: Chosen = ()) -> Appended:
        self.check_gate(self.needed(session_id), messages)
        return super().append_messages(session_id, messages, chosen_ids=chosen_ids)


@breaks("SC-APP-006")
class EditedMessageIsAConflict(Model):
    """An append repeated after an edit is refused as contradicting."""

    def append_messages(self, session_id: str, messages: Sequence[Message], *, chosen_ids: Chosen = ()) -> Appended:
        for message in messages:
            stored = self.needed(session_id).find(message.id)
            if stored is not None and stored.content != message.content:
                raise ValidationError(f"message id {message.id!r} is taken")
        return super().append_messages(session_id, messages, chosen_ids=chosen_ids)


@breaks("SC-APP-007")
class TakenIdOverwrites(Model):
    """An append with the id of another message overwrites that message."""

    def append_messages(self, session_id: str, messages: Sequence[Message], *, chosen_ids: Chosen = ()) -> Appended:
        kept = self.needed(session_id)
        for message in messages:
            old = kept.find(message.id)
            if old is not None and len(messages) == 1 and old.updated_at is None:
                kept.messages[kept.messages.index(old)] = message.model_copy(update={"created_at": old.created_at})
        return super().append_messages(session_id, messages, chosen_ids=chosen_ids)


@breaks("SC-APP-008")
class StoresTheRestOfATurn(Model):
    """A turn of which part is stored already gets its rest stored."""

    def append_messages(self, session_id: str, messages: Sequence[Message], *, chosen_ids: Chosen = ()) -> Appended:
        kept = self.needed(session_id)
        fresh = [message for message in messages if kept.find(message.id) is None]
        return super().append_messages(session_id, fresh or messages, chosen_ids=chosen_ids)


@breaks("SC-APP-021")
class TwinIdsOverwrite(Model):
    """Of two messages of a turn with the same id the last one wins."""

    def append_messages(self, session_id: str, messages: Sequence[Message], *, chosen_ids: Chosen = ()) -> Appended:
        last = {message.id: message for message in messages}
        return super().append_messages(session_id, list(last.values()), chosen_ids=chosen_ids)


@breaks("SC-APP-021")
class TwinsAreMintedAnew(Model):
    """Of two messages of a turn with the same minted id one gets another."""

    def append_messages(self, session_id: str, messages: Sequence[Message], *, chosen_ids: Chosen = ()) -> Appended:
        turn: list[Message] = []
        for message in messages:
            is_twin = message.id in {each.id for each in turn} and message.id not in chosen_ids
            turn += move_to(message.created_at, [message], chosen_ids=()) if is_twin else [message]
        return super().append_messages(session_id, turn, chosen_ids=chosen_ids)


@breaks("SC-APP-009", "U21")
class ClosedSessionAccepts(Model):
    """A completed session takes messages."""

    def check_gate(self, kept: Kept, messages: Sequence[Message]) -> None:
        head = kept.head
        kept.head = head.model_copy(update={"status": "active"})
        try:
            super().check_gate(kept, messages)
        finally:
            kept.head = head


@breaks("SC-APP-009")
class GateKnowsTheCreationOnly(Model):
    """The append's gate follows the status at creation, not that of an update."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.gates: dict[str, Any] = {}

    def create_session(self, session: Session) -> Session:
        self.gates[session.id] = session.status
        return super().create_session(session)

    def check_gate(self, kept: Kept, messages: Sequence[Message]) -> None:
        head = kept.head
        kept.head = head.model_copy(update={"status": self.gates[head.id]})
        try:
            super().check_gate(kept, messages)
        finally:
            kept.head = head


@breaks("SC-APP-010")
class OnlyActiveAccepts(Model):
    """A paused session refuses messages."""

    def check_gate(self, kept: Kept, messages: Sequence[Message]) -> None:
        head = kept.head
        if head.status == "paused":
            kept.head = head.model_copy(update={"status": "completed"})
        try:
            super().check_gate(kept, messages)
        finally:
            kept.head = head


@breaks("SC-APP-011")
class LimitIsOneLess(Model):
    """A turn that reaches the hard limit exactly is refused."""

    def check_gate(self, kept: Kept, messages: Sequence[Message]) -> None:
        extra = messages[0].model_copy(update={"token_count": 1})
        used = sum(message.token_count or 0 for message in messages)
        super().check_gate(kept, [*messages, extra] if used else messages)


@breaks("SC-APP-011")
class SoftBudgetIsEnforced(Model):
    """The store refuses appends over a budget that only the context should mind."""

    def check_gate(self, kept: Kept, messages: Sequence[Message]) -> None:
        super().check_gate(kept, messages)
        budget, used = kept.head.token_budget, kept.session().token_count
        more = sum(message.token_count or 0 for message in messages)
        if budget is not None and used + more > budget.available:
            raise TokenBudgetExceededError(kept.head.id, requested=more, limit=budget.available, used=used)


@breaks("SC-APP-012", "U34")
class ChecksTheLimitThenActs(ReferenceStorage):
    """The hard limit is checked before the append, not with it."""

    async def append_messages(
        self, session_id: str, messages: Sequence[Message], *, chosen_ids: Chosen = ()
    ) -> Appended:
        del chosen_ids

        def check(model: Model) -> None:
            model.check_gate(model.needed(session_id), messages)

        self.work("append_messages", check)
        await self.pause()

        def store(model: Model) -> Appended:
            kept = model.needed(session_id)
            model.add(kept, messages)
            return model.appended(kept, messages, repeated=False)

        return self.work("append_messages", store)


@breaks("SC-APP-013")
class LimitIsTheFirstOne(Model):
    """The hard limit stays the one given at creation."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.budgets: dict[str, Any] = {}

    def create_session(self, session: Session) -> Session:
        self.budgets[session.id] = session.token_budget
        return super().create_session(session)

    def check_gate(self, kept: Kept, messages: Sequence[Message]) -> None:
        seen = replace(kept, head=kept.head.model_copy(update={"token_budget": self.budgets[kept.head.id]}))
        super().check_gate(seen, messages)


@breaks("SC-APP-013")
class LimitCountsWhatWasDeleted(Model):
    """Tokens of deleted messages still count against the hard limit."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.ever: dict[str, int] = {}

    def add(self, kept: Kept, turn: Sequence[Message]) -> None:
        super().add(kept, turn)
        tokens = sum(message.token_count or 0 for message in turn)
        self.ever[kept.head.id] = self.ever.get(kept.head.id, 0) + tokens

    def check_gate(self, kept: Kept, messages: Sequence[Message]) -> None:
        gone = self.ever.get(kept.head.id, 0) - kept.session().token_count
        ghost = messages[0].model_copy(update={"token_count": max(gone, 0)})
        super().check_gate(kept, [*messages, ghost])


@breaks("SC-APP-014")
class AnswersWithOldTotals(Model):
    """append_messages answers with the totals before it."""

    def appended(self, kept: Kept, messages: Sequence[Message], *, repeated: bool) -> Appended:
        answer = super().appended(kept, messages, repeated=repeated)
        return replace(answer, message_count=len(kept.messages) - len(messages))


@breaks("SC-APP-015")
class UncountedMessageCountsOne(Model):
    """A message without token_count is stored with one of its own."""

    def add(self, kept: Kept, turn: Sequence[Message]) -> None:
        counted = [
            message if message.token_count is not None else message.model_copy(update={"token_count": 1})
            for message in turn
        ]
        super().add(kept, counted)


@breaks("SC-APP-016", "U8")
class StoresThenConflicts(ReferenceStorage):
    """An append that loses a race is stored and refused all the same."""

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

    def check_size(self, turn: Sequence[Message]) -> None:
        """Nothing is too large."""


@breaks("SC-APP-018")
class SizeLimitIsHalfOfWhatIsDeclared(ReferenceStorage):
    """Messages are refused from half of the declared limit on."""

    def check_size(self, turn: Sequence[Message]) -> None:
        super().check_size([message.model_copy(update={"content": str(message.content) * 2}) for message in turn])


@breaks("SC-APP-019")
class MintedIdsAreNotLookedUp(Model):
    """Only chosen ids are looked up, so that a repeated append with minted ones is stored again."""

    def append_messages(self, session_id: str, messages: Sequence[Message], *, chosen_ids: Chosen = ()) -> Appended:
        kept = self.needed(session_id)
        if not chosen_ids and all(kept.find(message.id) is not None for message in messages):
            messages = move_to(messages[0].created_at, messages, chosen_ids=())
        return super().append_messages(session_id, messages, chosen_ids=chosen_ids)


@breaks("SC-APP-020")
class LooksUpThenStores(ReferenceStorage):
    """Whether an append is repeated is looked up before it is stored, not with it."""

    async def append_messages(
        self, session_id: str, messages: Sequence[Message], *, chosen_ids: Chosen = ()
    ) -> Appended:
        known = self.work("append_messages", lambda m: [m.needed(session_id).find(each.id) for each in messages])
        await self.pause()
        if any(known):
            return await super().append_messages(session_id, messages, chosen_ids=chosen_ids)

        def store(model: Model) -> Appended:
            kept = model.needed(session_id)
            model.add(kept, messages)
            return model.appended(kept, messages, repeated=False)

        return self.work("append_messages", store)
