"""APP: a batch is stored completely, once, under the conditions of its session, and counted."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

from session_continuity import (
    Message,
    MessageTooLargeError,
    Patch,
    Session,
    SessionClosedError,
    SessionContinuityError,
    SessionStatus,
    TokenBudget,
    TokenBudgetExceededError,
    ValidationError,
)
from session_continuity_conformance.cases import clause
from session_continuity_conformance.checks import holds, partition, present, refused, results, same, same_models
from session_continuity_conformance.samples import full_message
from session_continuity_conformance.store_fixture import NotApplicableError, StoreFixture

HARD = TokenBudget(max_tokens=110, reserve_tokens=10, overflow_strategy="error")


async def unchanged(store: StoreFixture, before: Session, history: list[Message]) -> None:
    """Check that the session and its messages are as they were."""
    same("the session afterwards", await store.current(before.id), before)
    same_models("its messages afterwards", await store.history(before.id), history)


async def changes_nothing(store: StoreFixture, what: str, call: Any, session_id: str, error: type[Any]) -> Any:
    """Check that a call is refused with this error, and that it changes nothing. Returns the error."""
    before, history = await store.current(session_id), await store.history(session_id)
    raised: SessionContinuityError = await refused(what, call(), error)
    await unchanged(store, before, history)
    return raised


@clause("SC-APP-001")
async def test_append_returns_what_is_stored(store: StoreFixture) -> None:
    session = await store.create_session()
    original = store.message(session.id, "hello", tokens=3)
    appended = await store.adapter.append_messages(session.id, [original])
    same("repeated", appended.repeated, False)
    same_models("the batch as stored", appended.messages, [original])
    same_models("conversation", await store.history(session.id), [original])


@clause("SC-APP-001")
async def test_append_keeps_every_field(store: StoreFixture) -> None:
    session = await store.create_session()
    original = full_message(store, session.id)
    appended = await store.adapter.append_messages(session.id, [original])
    same_models("the batch as stored", appended.messages, [original])
    same("get_message", present("get_message", await store.adapter.get_message(session.id, original.id)), original)


@clause("SC-APP-002")
async def test_totals_follow_every_append(store: StoreFixture) -> None:
    session = await store.create_session()
    system: list[str] = []
    for number, role in enumerate(("system", "user", "assistant", "system", "tool"), start=1):
        (message,) = await store.append(session.id, f"m{number}", role=role, tokens=number)
        system += [message.id] if role == "system" else []
        found = await store.current(session.id)
        counted = (found.message_count, found.token_count, found.last_activity_at, found.system_message_ids)
        same(
            "count, tokens, last activity and system ids",
            counted,
            (number, number * (number + 1) // 2, message.created_at, system),
        )


@clause("SC-APP-003")
async def test_batch_is_stored_whole(store: StoreFixture) -> None:
    session = await store.create_session()
    size = min(store.capabilities.max_batch or 50, 50)
    batch = [store.message(session.id, f"m{number}", tokens=2) for number in range(size)]
    appended = await store.adapter.append_messages(session.id, batch)
    same_models("the batch as stored", appended.messages, batch)
    same_models("conversation", await store.history(session.id), batch)
    found = await store.current(session.id)
    same("message_count and token_count", (found.message_count, found.token_count), (size, 2 * size))


@clause("SC-APP-023")
async def test_long_batch_is_stored_whole(store: StoreFixture) -> None:
    session = await store.create_session()
    size = max(200, (store.declared.max_batch or 0) + 1)
    batch = [store.message(session.id, f"m{number}", tokens=2) for number in range(size)]
    appended = await store.adapter.append_messages(session.id, batch)
    same_models("the batch as stored", appended.messages, batch)
    same_models("conversation", await store.history(session.id), batch)
    found = await store.current(session.id)
    same("message_count and token_count", (found.message_count, found.token_count), (size, 2 * size))


@clause("SC-APP-003")
async def test_refused_batch_leaves_no_part_behind(store: StoreFixture) -> None:
    session = await store.create_session(token_budget=HARD)
    size = min(store.capabilities.max_batch or 4, 4)
    batch = [store.message(session.id, f"m{number}", tokens=101 // size + 1) for number in range(size)]
    await changes_nothing(
        store,
        "a batch that only its last message takes over the limit",
        lambda: store.adapter.append_messages(session.id, batch),
        session.id,
        TokenBudgetExceededError,
    )


@clause("SC-APP-024")
async def test_batch_whose_times_decrease_is_refused(store: StoreFixture) -> None:
    if store.capabilities.max_batch == 1:
        raise NotApplicableError("the store takes one message per append")
    session = await store.create_session()
    later, earlier = store.tick() + timedelta(seconds=5), store.tick()
    batch = [store.message(session.id, "later", at=later), store.message(session.id, "earlier", at=earlier)]
    await refused("a batch whose times decrease", store.adapter.append_messages(session.id, batch), ValidationError)
    same("conversation", await store.texts(session.id), [])


@clause("SC-APP-004")
async def test_repeated_append_is_stored_once(store: StoreFixture) -> None:
    session = await store.create_session()
    size = min(store.capabilities.max_batch or 3, 3)
    batch = [store.message(session.id, f"m{number}", tokens=5, id=f"chosen {number}") for number in range(size)]
    first = await store.append_with_ids(*batch)
    same("repeated, the first time", first.repeated, False)
    await store.append(session.id, "another since")
    before, history = await store.current(session.id), await store.history(session.id)
    again = await store.append_with_ids(*batch)
    same("repeated, the second time", again.repeated, True)
    same_models("the batch as stored", again.messages, first.messages)
    await unchanged(store, before, history)


@clause("SC-APP-004")
async def test_append_repeated_later_keeps_the_first_times(store: StoreFixture) -> None:
    session = await store.create_session()
    first = await store.append_with_ids(store.message(session.id, "x", id="chosen"))
    await store.append(session.id, "another since")
    again = await store.append_with_ids(store.message(session.id, "x", id="chosen"))
    same("repeated", again.repeated, True)
    same_models("the batch as stored", again.messages, first.messages)
    same("conversation", await store.texts(session.id), ["x", "another since"])


@clause("SC-APP-005")
async def test_repeated_append_is_answered_by_a_closed_session(store: StoreFixture) -> None:
    session = await store.create_session()
    message = store.message(session.id, "x", id="chosen")
    first = await store.append_with_ids(message)
    for status in ("completed", "expired"):
        await store.adapter.update_session(session.id, Patch({"status": status}))
        again = await store.append_with_ids(message)
        same(f"repeated, when {status}", again.repeated, True)
        same_models("the batch as stored", again.messages, first.messages)


@clause("SC-APP-005")
async def test_repeated_append_is_answered_at_the_limit(store: StoreFixture) -> None:
    session = await store.create_session(token_budget=HARD)
    message = store.message(session.id, "x", tokens=100, id="chosen")
    first = await store.append_with_ids(message)
    again = await store.append_with_ids(message)
    same("repeated", again.repeated, True)
    same_models("the batch as stored", again.messages, first.messages)
    same("token_count", (await store.current(session.id)).token_count, 100)


@clause("SC-APP-006")
async def test_edited_message_is_not_taken_for_what_was_sent(store: StoreFixture) -> None:
    session = await store.create_session()
    message = store.message(session.id, "draft", id="chosen", tokens=1)
    await store.append_with_ids(message)
    edit = Patch({"content": "edited", "token_count": 4, "updated_at": store.tick()})
    edited = await store.adapter.update_message(session.id, "chosen", edit)
    for content in ("draft", "final"):
        sent = message.model_copy(update={"content": content})
        await refused(f"an append of {content!r} after the edit", store.append_with_ids(sent), ValidationError)
    again = await store.append_with_ids(message.model_copy(update={"content": "edited"}))
    same("repeated", again.repeated, True)
    same_models("the batch as stored", again.messages, [edited])
    same("conversation", await store.texts(session.id), ["edited"])
    same("token_count", (await store.current(session.id)).token_count, 4)


@clause("SC-APP-007")
async def test_taken_id_is_refused(store: StoreFixture) -> None:
    session = await store.create_session()
    await store.append_with_ids(store.message(session.id, "first", id="chosen"))
    for other in (
        store.message(session.id, "second", id="chosen"),
        store.message(session.id, "first", role="assistant", id="chosen"),
    ):
        await changes_nothing(
            store,
            "an append with the id of another message",
            partial(store.append_with_ids, other),
            session.id,
            ValidationError,
        )


@clause("SC-APP-008")
async def test_half_stored_batch_is_refused(store: StoreFixture) -> None:
    if store.capabilities.max_batch == 1:
        raise NotApplicableError("the store takes one message per append")
    session = await store.create_session()
    old = store.message(session.id, "old", id="old")
    await store.append_with_ids(old)
    new = store.message(session.id, "new", id="new")
    for batch in ([old, new], [new, old]):
        await changes_nothing(
            store,
            "a batch of which one message is stored already",
            partial(store.append_with_ids, *batch),
            session.id,
            ValidationError,
        )


@clause("SC-APP-021")
async def test_batch_with_one_id_twice_is_refused(store: StoreFixture) -> None:
    if store.capabilities.max_batch == 1:
        raise NotApplicableError("the store takes one message per append")
    session = await store.create_session()
    minted = store.message(session.id, "one")
    twins = {
        "a batch with one id twice": [store.message(session.id, text, id="twin") for text in ("same", "same")],
        "a batch with one id for two": [store.message(session.id, text, id="twin") for text in ("one", "other")],
        "a batch with one minted id for two": [minted, minted.model_copy(update={"content": "other"})],
    }
    for what, batch in twins.items():
        chosen = {"twin"} & {message.id for message in batch}
        append = partial(store.adapter.append_messages, session.id, batch, client_ids=chosen)
        await changes_nothing(store, what, append, session.id, ValidationError)


@clause("SC-APP-009")
async def test_closed_session_takes_no_messages(store: StoreFixture) -> None:
    statuses: tuple[SessionStatus, ...] = ("completed", "expired")
    for status in statuses:
        created = await store.create_session(status=status)
        updated = await store.create_session()
        await store.append(updated.id, "before")
        await store.adapter.update_session(updated.id, Patch({"status": status}))
        for session_id in (created.id, updated.id):
            message = store.message(session_id, "late", role="system", tokens=5)
            error = await changes_nothing(
                store,
                f"an append to a session that is {status}",
                lambda m=message: store.adapter.append_messages(m.session_id, [m]),
                session_id,
                SessionClosedError,
            )
            same("session and status in the error", (error.session_id, error.status), (session_id, status))


@clause("SC-APP-010")
async def test_paused_session_takes_messages(store: StoreFixture) -> None:
    session = await store.create_session(status="paused")
    await store.append(session.id, "a")
    same("conversation", await store.texts(session.id), ["a"])


@clause("SC-APP-010")
async def test_reopened_session_takes_messages(store: StoreFixture) -> None:
    session = await store.create_session(status="completed")
    await store.adapter.update_session(session.id, Patch({"status": "active"}))
    await store.append(session.id, "a")
    await store.adapter.update_session(session.id, Patch({"status": "completed"}))
    await store.adapter.update_session(session.id, Patch(clear=frozenset({"status"})))
    await store.append(session.id, "b")
    same("conversation", await store.texts(session.id), ["a", "b"])


@clause("SC-APP-011")
async def test_hard_limit_is_met_exactly(store: StoreFixture) -> None:
    session = await store.create_session(token_budget=HARD)
    await store.append(session.id, "sixty", tokens=60)
    error = await changes_nothing(
        store,
        "an append of 41 tokens where 40 are left",
        lambda: store.append(session.id, "over", tokens=41),
        session.id,
        TokenBudgetExceededError,
    )
    same(
        "session, request and limit in the error",
        (error.session_id, error.requested, error.limit),
        (session.id, 41, 100),
    )
    await store.append(session.id, "exactly", tokens=40)
    await store.append(session.id, "nothing more", tokens=0)
    same("token_count", (await store.current(session.id)).token_count, 100)
    await changes_nothing(
        store,
        "an append of 1 token where none is left",
        lambda: store.append(session.id, "over", tokens=1),
        session.id,
        TokenBudgetExceededError,
    )


@clause("SC-APP-011")
async def test_soft_budget_is_not_enforced_by_the_store(store: StoreFixture) -> None:
    session = await store.create_session(token_budget=TokenBudget(max_tokens=10, overflow_strategy="compress"))
    await store.append(session.id, "over", tokens=50)
    same("token_count", (await store.current(session.id)).token_count, 50)


@clause("SC-APP-012")
async def test_parallel_appends_do_not_pass_the_limit(store: StoreFixture) -> None:
    session = await store.create_session(token_budget=HARD)
    messages = [store.message(session.id, f"m{number}", tokens=30) for number in range(8)]
    works = [lambda m=message: store.adapter.append_messages(session.id, [m]) for message in messages]
    won, lost = partition("parallel appends", await store.driver.gather(*works), TokenBudgetExceededError)
    same("appends stored and refused", (len(won), len(lost)), (3, 5))
    found = await store.current(session.id)
    same("message_count and token_count", (found.message_count, found.token_count), (3, 90))
    same("messages stored", len(await store.history(session.id)), 3)


@clause("SC-APP-013")
async def test_limit_follows_an_update_of_the_budget(store: StoreFixture) -> None:
    session = await store.create_session(token_budget=HARD)
    await store.append(session.id, "full", tokens=100)
    await store.adapter.update_session(
        session.id, Patch({"token_budget": TokenBudget(max_tokens=150, overflow_strategy="error")})
    )
    await store.append(session.id, "more", tokens=50)
    await refused("an append over the new limit", store.append(session.id, "x", tokens=1), TokenBudgetExceededError)
    await store.adapter.update_session(session.id, Patch({"token_budget": HARD}))
    await refused("an append over the old limit", store.append(session.id, "x", tokens=1), TokenBudgetExceededError)
    await store.adapter.update_session(session.id, Patch(clear=frozenset({"token_budget"})))
    await store.append(session.id, "free", tokens=500)
    same("token_count", (await store.current(session.id)).token_count, 650)


@clause("SC-APP-013")
async def test_limit_follows_what_deletes_and_edits_free(store: StoreFixture) -> None:
    session = await store.create_session(token_budget=HARD)
    first, second = await store.append(session.id, "a", "b", tokens=50)
    await refused("an append over the limit", store.append(session.id, "x", tokens=1), TokenBudgetExceededError)
    await store.adapter.delete_message(session.id, first.id)
    await store.append(session.id, "c", tokens=50)
    await refused("an append over the limit", store.append(session.id, "x", tokens=1), TokenBudgetExceededError)
    await store.adapter.update_message(session.id, second.id, Patch({"token_count": 20}))
    await store.append(session.id, "d", tokens=30)
    await refused("an append over the limit", store.append(session.id, "x", tokens=1), TokenBudgetExceededError)
    await store.adapter.delete_all_messages(session.id)
    await store.append(session.id, "e", tokens=100)
    same("token_count", (await store.current(session.id)).token_count, 100)


@clause("SC-APP-015")
async def test_uncounted_message_counts_nothing(store: StoreFixture) -> None:
    session = await store.create_session(token_budget=HARD)
    (message,) = await store.append(session.id, "foreign", tokens=None)
    same("token_count of the message", message.token_count, None)
    found = await store.current(session.id)
    same("message_count and token_count", (found.message_count, found.token_count), (1, 0))
    await store.adapter.delete_message(session.id, message.id)
    same("token_count after its delete", (await store.current(session.id)).token_count, 0)


@clause("SC-APP-016")
async def test_twenty_five_parallel_appends_all_succeed(store: StoreFixture) -> None:
    session = await store.create_session()
    messages = [store.message(session.id, f"m{number}", tokens=2) for number in range(25)]
    works = [lambda m=message: store.adapter.append_messages(session.id, [m]) for message in messages]
    results("25 parallel appends", await store.driver.gather(*works))
    stored = sorted(str(text) for text in await store.texts(session.id))
    same("messages stored", stored, sorted(str(message.content) for message in messages))
    found = await store.current(session.id)
    same("message_count and token_count", (found.message_count, found.token_count), (25, 50))


@clause("SC-APP-016")
async def test_parallel_appends_through_two_adapters_all_succeed(store: StoreFixture) -> None:
    other = await store.open_second()
    session = await store.create_session()
    messages = [store.message(session.id, f"m{number}", tokens=2) for number in range(16)]
    works = [
        lambda m=message, a=(other if place % 2 else store.adapter): a.append_messages(session.id, [m])
        for place, message in enumerate(messages)
    ]
    results("16 parallel appends", await store.driver.gather(*works))
    found = await store.current(session.id)
    same("message_count and token_count", (found.message_count, found.token_count), (16, 32))
    same("messages stored", len(await store.history(session.id)), 16)


@clause("SC-APP-017")
async def test_reader_sees_messages_and_totals_together(store: StoreFixture) -> None:
    session = await store.create_session()
    rounds = 15

    async def write() -> None:
        for number in range(rounds):
            await store.append(session.id, f"m{number}", tokens=2)

    async def read() -> None:
        for _ in range(rounds):
            least = await store.current(session.id)
            messages = await store.history(session.id)
            most = await store.current(session.id)
            holds(
                "messages between two reads of message_count",
                least.message_count <= len(messages) <= most.message_count,
                expected=f"{least.message_count} to {most.message_count}",
                observed=len(messages),
            )
            same("token_count beside message_count", most.token_count, 2 * most.message_count)

    results("a reader beside a writer", await store.driver.gather(write, read, read))


@clause("SC-APP-018")
async def test_oversized_message_is_refused(store: StoreFixture) -> None:
    limit = store.capabilities.max_message_bytes or 0
    session = await store.create_session()
    await store.append(session.id, "small")
    error = await changes_nothing(
        store,
        "an append of a message over the limit",
        lambda: store.append(session.id, "x" * (limit + 1)),
        session.id,
        MessageTooLargeError,
    )
    holds("size in the error", error.size > limit, expected=f"over {limit}", observed=error.size)
    same("limit in the error", error.limit, limit)


@clause("SC-APP-018")
async def test_message_well_below_the_limit_is_stored(store: StoreFixture) -> None:
    limit = store.capabilities.max_message_bytes or 0
    session = await store.create_session()
    content = "x" * (limit * 3 // 4)
    await store.append(session.id, content)
    same("length stored", [len(text) for text in await store.texts(session.id)], [len(content)])


@clause("SC-APP-019")
async def test_repeated_minted_ids_are_stored_once(store: StoreFixture) -> None:
    session = await store.create_session()
    message = store.message(session.id, "x", tokens=5)
    first = await store.adapter.append_messages(session.id, [message])
    again = await store.adapter.append_messages(session.id, [message])
    same("repeated", again.repeated, True)
    same_models("the batch as stored", again.messages, first.messages)
    found = await store.current(session.id)
    same("message_count and token_count", (found.message_count, found.token_count), (1, 5))


@clause("SC-APP-019")
async def test_minted_ids_repeated_later_are_stored_once(store: StoreFixture) -> None:
    session = await store.create_session()
    message = store.message(session.id, "x", tokens=5)
    first = await store.adapter.append_messages(session.id, [message])
    await store.append(session.id, "another since")
    again = await store.adapter.append_messages(session.id, [message])
    same("repeated", again.repeated, True)
    same_models("the batch as stored", again.messages, first.messages)
    same("conversation", await store.texts(session.id), ["x", "another since"])


@clause("SC-APP-020")
async def test_overlapping_retries_are_stored_once(store: StoreFixture) -> None:
    session = await store.create_session()
    for number in range(5):
        message = store.message(session.id, f"m{number}", id=f"chosen {number}", tokens=3)
        works = [lambda m=message: store.append_with_ids(m)] * 5
        outcomes = results("overlapping retries", await store.driver.gather(*works))
        same("answers that say repeated", sorted(each.repeated for each in outcomes), [False, True, True, True, True])
        for each in outcomes:
            same_models("the batch as stored", each.messages, outcomes[0].messages)
    found = await store.current(session.id)
    same("message_count and token_count", (found.message_count, found.token_count), (5, 15))
    same("messages stored", len(await store.history(session.id)), 5)
