"""Plays the steps of programs that take turns, replace tails and fork."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from session_continuity import (
    AppendTerms,
    ConcurrencyError,
    ConversationChangedError,
    ForkedFrom,
    Message,
    MessageNotFoundError,
    Patch,
    Role,
    SessionClosedError,
    SessionExistsError,
    TokenBudgetExceededError,
    ValidationError,
)
from session_continuity_conformance.checks import same, same_models
from session_continuity_conformance.programs import steps
from session_continuity_conformance.reference.model import SessionRecord
from session_continuity_conformance.store_fixture import MILLISECOND

if TYPE_CHECKING:
    from session_continuity_conformance.programs.player import Player

Expects = Literal["nothing", "present", "other"]

REFUSALS = (
    ConcurrencyError,
    ConversationChangedError,
    SessionClosedError,
    TokenBudgetExceededError,
    ValidationError,
    MessageNotFoundError,
    SessionExistsError,
)
"""What may refuse a call that the model refuses. The contract does not say which refusal comes first."""


async def play(player: Player, step: steps.Turn | steps.ReplaceTail | steps.ForkSession) -> None:
    """Play one step, unless the store does not declare what it needs."""
    declared = player.store.capabilities
    if isinstance(step, steps.Turn):
        if declared.atomic_turns and declared.overlapping_batches:
            await _take_turn(player, step)
    elif isinstance(step, steps.ReplaceTail):
        if declared.tail_replacement:
            await _replace_tail(player, step)
    elif declared.forks:
        await _fork(player, step)


async def _take_turn(player: Player, step: steps.Turn) -> None:
    name = player.session_at(step.slot)
    record = player.model.find_live(name)
    batch = _batch(player, name, step.batch, step.first_id)
    terms: AppendTerms = {"patch": Patch(dict(step.values)), "existing": "skip" if step.skip else "refuse"}
    terms["expected_last_id"] = _expected_last_id(record, step.expects)
    if record is not None and step.expects != "nothing":
        terms["expected_version"] = record.head.version + (step.expects == "other")
    ids = [] if step.first_id is None else [message.id for message in batch]
    answers = await player.answers(
        "append_messages",
        lambda: player.store.adapter.append_messages(name, batch, client_ids=ids, **terms),
        lambda: player.model.append_messages(name, batch, client_ids=ids, **terms),
        also=REFUSALS if record is not None else (),
    )
    if answers is not None:
        same("repeated", answers[0].repeated, answers[1].repeated)
        same_models("appended messages", answers[0].messages, answers[1].messages)


async def _replace_tail(player: Player, step: steps.ReplaceTail) -> None:
    name = player.session_at(step.slot)
    record = player.model.find_live(name)
    after_id = None if step.place is None else steps.pick(player.message_ids(name), step.place)
    batch = _batch(player, name, step.batch, step.first_id)
    options: dict[str, Any] = {
        "client_ids": [] if step.first_id is None else [message.id for message in batch],
        "expected_last_id": _expected_last_id(record, step.expects),
        "return_removed": True,
    }
    answers = await player.answers(
        "replace_tail",
        lambda: player.store.adapter.replace_tail(name, after_id, batch, **options),
        lambda: player.model.replace_tail(name, after_id, batch, **options),
        also=REFUSALS if record is not None else (),
    )
    if answers is not None:
        same("the result", answers[0], answers[1])


async def _fork(player: Player, step: steps.ForkSession) -> None:
    source, name = player.session_at(step.slot), f"s{step.to % steps.SLOTS}"
    through_id = None if step.place is None else steps.pick(player.message_ids(source), step.place)
    session = player.store.new_session(
        id=name, created_at=player.store.now(), forked_from=ForkedFrom(session_id=source, message_id=through_id)
    )
    answers = await player.answers(
        "fork_session",
        lambda: player.store.adapter.fork_session(source, session, through_id=through_id),
        lambda: player.model.fork_session(source, session, through_id=through_id),
        also=REFUSALS if player.model.find_live(source) is not None else (),
    )
    if answers is not None:
        same("the fork", *answers)


def _batch(player: Player, name: str, batch: Sequence[tuple[Role, int | None]], first_id: int | None) -> list[Message]:
    """The messages of a step. They are later than what is there, so that no store moves them."""
    record = player.model.find_live(name)
    moment = player.store.now() if record is None else max(player.store.now(), record.last_activity_at + MILLISECOND)
    size = player.store.capabilities.max_batch or len(batch)
    messages: list[Message] = []
    for number, (role, tokens) in enumerate(batch[:size]):
        player.count += 1
        message_id = None if first_id is None else f"m{first_id + number}"
        at = moment + number * MILLISECOND
        messages.append(player.store.message(name, f"c{player.count}", role=role, tokens=tokens, at=at, id=message_id))
    return messages


def _expected_last_id(record: SessionRecord | None, expects: Expects) -> str | None:
    if expects == "nothing":
        return None
    last = record.messages[-1].id if record is not None and record.messages else ""
    return last if expects == "present" else f"{last}-other"
