"""TAIL: the end of a conversation is replaced in one step."""

from __future__ import annotations

from typing import Any

from session_continuity import (
    ConversationChangedError,
    Message,
    MessageNotFoundError,
    MessageQuery,
    Patch,
    Replaced,
    Session,
    SessionClosedError,
    SessionNotFoundError,
    TokenBudget,
    TokenBudgetExceededError,
    ValidationError,
)
from session_continuity_conformance.cases import clause
from session_continuity_conformance.checks import holds, refused, results, same, same_models
from session_continuity_conformance.store_fixture import MILLISECOND, StoreFixture

HARD = TokenBudget(max_tokens=10, overflow_strategy="error")
LONG = 60
"""More messages than a store with small transactions removes in one."""


async def conversation(store: StoreFixture, *contents: str, **fields: Any) -> tuple[Session, list[Message]]:
    """A session with a message for each content."""
    session = await store.create_session(**fields)
    return session, list(await store.append(session.id, *contents))


async def check_unchanged(store: StoreFixture, before: Session, history: list[Message]) -> None:
    """Check that the session and its messages are as they were."""
    same("the session afterwards", await store.current(before.id), before)
    same_models("its messages afterwards", await store.history(before.id), history)


async def check_totals(store: StoreFixture, session_id: str) -> None:
    """Check that the totals are those of the messages."""
    found, history = await store.current(session_id), await store.history(session_id)
    observed = (found.message_count, found.token_count, found.system_message_ids)
    tokens = sum(message.token_count or 0 for message in history)
    system = [message.id for message in history if message.role == "system"]
    same("count, tokens and system messages", observed, (len(history), tokens, system))


@clause("SC-TAIL-001")
async def test_tail_is_replaced(store: StoreFixture) -> None:
    session, (first, *_) = await conversation(store, "a", "b")
    await store.append(session.id, "rule", role="system", tokens=5)
    before = await store.current(session.id)
    batch = [store.message(session.id, "B", tokens=2), store.message(session.id, "S", role="system", tokens=3)]
    replaced = await store.adapter.replace_tail(session.id, first.id, batch)
    same("the result", replaced, Replaced(messages=replaced.messages, removed_count=2))
    same_models("the batch as stored", replaced.messages, batch)
    same_models("conversation", await store.history(session.id), [first, *replaced.messages])
    await check_totals(store, session.id)
    found = await store.current(session.id)
    same("version", found.version, before.version)
    same("last_activity_at", found.last_activity_at, batch[-1].created_at)


@clause("SC-TAIL-001")
async def test_activity_does_not_go_back(store: StoreFixture) -> None:
    session, (first, *_) = await conversation(store, "a", "b", "c")
    before = await store.current(session.id)
    await store.adapter.replace_tail(session.id, first.id)
    same("last_activity_at", (await store.current(session.id)).last_activity_at, before.last_activity_at)
    same("get_message of a removed one", await store.adapter.get_message(session.id, "c"), None)


@clause("SC-TAIL-002")
async def test_everything_is_removed(store: StoreFixture) -> None:
    session, stored = await conversation(store, "a", "b", "c")
    replaced = await store.adapter.replace_tail(session.id, stored[0].id)
    same("messages removed", replaced.removed_count, 2)
    same("conversation", await store.texts(session.id), ["a"])
    await store.adapter.update_session(session.id, Patch({"status": "completed"}))
    replaced = await store.adapter.replace_tail(session.id, None)
    same("messages removed", replaced.removed_count, 1)
    same("conversation", await store.texts(session.id), [])
    await check_totals(store, session.id)


@clause("SC-TAIL-002")
async def test_everything_is_replaced(store: StoreFixture) -> None:
    session, _ = await conversation(store, "a", "b")
    await store.adapter.replace_tail(session.id, None, [store.message(session.id, "summary")])
    same("conversation", await store.texts(session.id), ["summary"])
    await check_totals(store, session.id)


@clause("SC-TAIL-003")
async def test_removed_messages_are_returned_on_request(store: StoreFixture) -> None:
    session, (first, *others) = await conversation(store, "a", "b", "c", "d")
    replaced = await store.adapter.replace_tail(session.id, first.id, return_removed=True)
    same("messages removed", replaced.removed_count, 3)
    same_models("removed", replaced.removed, others)
    await store.append(session.id, "e")
    replaced = await store.adapter.replace_tail(session.id, first.id)
    same("count and messages without asking", (replaced.removed_count, replaced.removed), (1, ()))


@clause("SC-TAIL-004")
async def test_unknown_message_is_refused(store: StoreFixture) -> None:
    session, history = await conversation(store, "a", "b")
    other, (foreign, *_) = await conversation(store, "x")
    before = await store.current(session.id)
    for after_id in ("absent", foreign.id):
        call = store.adapter.replace_tail(session.id, after_id, [store.message(session.id, "new")])
        await refused("a tail after an unknown message", call, MessageNotFoundError)
        await check_unchanged(store, before, history)
    await refused("a tail of no session", store.adapter.replace_tail("absent", None), SessionNotFoundError)
    same("the other session", await store.texts(other.id), ["x"])


@clause("SC-TAIL-005")
async def test_tail_behind_the_expected_message(store: StoreFixture) -> None:
    session, history = await conversation(store, "a", "b", "c")
    first, second, last = history
    before = await store.current(session.id)
    for expected in ("", second.id, "absent"):
        for batch in ([], [store.message(session.id, "new")]):
            call = store.adapter.replace_tail(session.id, first.id, batch, expected_last_id=expected)
            error = await refused("another last message", call, ConversationChangedError)
            same("the ids in the error", (error.expected_last_id, error.last_id), (expected, last.id))
            await check_unchanged(store, before, history)
    await store.adapter.replace_tail(session.id, first.id, expected_last_id=last.id)
    same("conversation", await store.texts(session.id), ["a"])


@clause("SC-TAIL-006")
async def test_refused_batch_leaves_the_old_tail(store: StoreFixture) -> None:
    session, history = await conversation(store, "a", "b", token_budget=HARD)
    before = await store.current(session.id)
    large = [store.message(session.id, "new", tokens=10)]
    call = store.adapter.replace_tail(session.id, history[0].id, large)
    await refused("too many tokens", call, TokenBudgetExceededError)
    await check_unchanged(store, before, history)
    closed = await store.adapter.update_session(session.id, Patch({"status": "completed"}))
    call = store.adapter.replace_tail(session.id, history[0].id, [store.message(session.id, "new")])
    await refused("a closed session", call, SessionClosedError)
    await check_unchanged(store, closed, history)


@clause("SC-TAIL-006")
async def test_limit_counts_without_the_tail(store: StoreFixture) -> None:
    session = await store.create_session(token_budget=HARD)
    (first,) = await store.append(session.id, "a", tokens=1)
    await store.append(session.id, "b", tokens=9)
    await store.adapter.replace_tail(session.id, first.id, [store.message(session.id, "new", tokens=9)])
    same("conversation", await store.texts(session.id), ["a", "new"])
    await check_totals(store, session.id)


@clause("SC-TAIL-007")
async def test_ids_of_removed_messages_are_free(store: StoreFixture) -> None:
    session = await store.create_session()
    batch = [store.message(session.id, text, id=f"m{text}") for text in ("a", "b", "c")]
    await store.append_with_ids(*batch)
    edited = [store.message(session.id, "C", id="mc"), store.message(session.id, "B", id="mb")]
    replaced = await store.adapter.replace_tail(session.id, "ma", edited, client_ids=["mb", "mc"])
    same("messages removed", replaced.removed_count, 2)
    same("conversation", await store.texts(session.id), ["a", "C", "B"])
    same_models("get_message", [await store.adapter.get_message(session.id, "mc") or batch[0]], replaced.messages[:1])
    await check_totals(store, session.id)


@clause("SC-TAIL-007")
async def test_ids_of_messages_that_stay_are_refused(store: StoreFixture) -> None:
    session = await store.create_session()
    await store.append_with_ids(*[store.message(session.id, text, id=f"m{text}") for text in ("a", "b", "c")])
    before, history = await store.current(session.id), await store.history(session.id)
    for taken in ("a", "other"):
        again = [store.message(session.id, taken, id="ma"), store.message(session.id, "d", id="md")]
        call = store.adapter.replace_tail(session.id, "mb", again, client_ids=["ma", "md"])
        await refused("an id of a message that stays", call, ValidationError)
        await check_unchanged(store, before, history)


@clause("SC-TAIL-008")
async def test_repeated_replacement_changes_nothing(store: StoreFixture) -> None:
    session, (first, *_, last) = await conversation(store, "a", "b", "c")
    batch = [store.message(session.id, "B", id="m1"), store.message(session.id, "C", id="m2")]
    terms: dict[str, Any] = {"client_ids": ["m1", "m2"], "expected_last_id": last.id}
    done = await store.adapter.replace_tail(session.id, first.id, batch, **terms)
    before, history = await store.current(session.id), await store.history(session.id)
    again = await store.adapter.replace_tail(session.id, first.id, batch, **terms)
    same("the result", again, Replaced(messages=again.messages, repeated=True))
    same_models("the stored messages", again.messages, done.messages)
    await check_unchanged(store, before, history)


@clause("SC-TAIL-008")
async def test_repeated_removal_changes_nothing(store: StoreFixture) -> None:
    session, (first, *_, last) = await conversation(store, "a", "b", "c")
    await store.adapter.replace_tail(session.id, first.id, expected_last_id=last.id)
    again = await store.adapter.replace_tail(session.id, first.id, expected_last_id=last.id)
    same("the result", again, Replaced(repeated=True))
    same("conversation", await store.texts(session.id), ["a"])


@clause("SC-TAIL-008")
async def test_batch_with_other_content_is_another(store: StoreFixture) -> None:
    session, (first, *_) = await conversation(store, "a")
    original = store.message(session.id, "B", id="m1")
    await store.adapter.replace_tail(session.id, first.id, [original], client_ids=["m1"])
    await store.append(session.id, "after")
    await store.adapter.replace_tail(session.id, first.id, [original], client_ids=["m1"])
    same("conversation", await store.texts(session.id), ["a", "B"])
    changed = original.model_copy(update={"content": "other"})
    await store.adapter.replace_tail(session.id, first.id, [changed], client_ids=["m1"])
    same("conversation", await store.texts(session.id), ["a", "other"])


@clause("SC-TAIL-009")
async def test_reader_sees_one_tail(store: StoreFixture) -> None:
    session, (first, *_) = await conversation(store, "0")
    size = min(store.capabilities.max_batch or 20, 20)
    await store.adapter.append_messages(session.id, [store.message(session.id, "1") for _ in range(size)])

    async def write() -> None:
        for number in range(2, 8):
            batch = [store.message(session.id, str(number)) for _ in range(size)]
            await store.adapter.replace_tail(session.id, first.id, batch)

    await check_beside(store, session.id, write, size)


@clause("SC-TAIL-009")
async def test_reader_beside_the_removal_of_a_long_tail(store: StoreFixture) -> None:
    session, (first, *_) = await conversation(store, "0")
    size = store.capabilities.max_batch or LONG
    for start in range(0, LONG, size):
        count = min(size, LONG - start)
        await store.adapter.append_messages(session.id, [store.message(session.id, "1") for _ in range(count)])

    async def write() -> None:
        await store.adapter.replace_tail(session.id, first.id, [store.message(session.id, "2")])

    await check_beside(store, session.id, write, LONG, 1)


async def check_beside(store: StoreFixture, session_id: str, write: Any, *sizes: int) -> None:
    """Check what readers see while tails of one content each and of one of these sizes are replaced."""

    async def read() -> None:
        for _ in range(12):
            page = await store.adapter.get_messages(session_id, MessageQuery(limit=1000))
            tail = [message.content for message in page][1:]
            holds(
                "a tail beside replacements", len(tail) in sizes and len(set(tail)) == 1, expected="one", observed=tail
            )
            count = (await store.current(session_id)).message_count
            holds("message_count beside replacements", count - 1 in sizes, expected="of one tail", observed=count)

    results("readers beside replacements", await store.driver.gather(write, read, read))


@clause("SC-TAIL-010")
async def test_appends_beside_replacements(store: StoreFixture) -> None:
    session, (first, *_) = await conversation(store, "0")

    async def append() -> None:
        for _ in range(8):
            batch = [store.message(session.id, "pair", role="system"), store.message(session.id, "pair", tokens=3)]
            await store.adapter.append_messages(session.id, batch)

    async def replace() -> None:
        for _ in range(8):
            await store.adapter.replace_tail(session.id, first.id, [store.message(session.id, "new", tokens=2)])

    async def read() -> None:
        for _ in range(20):
            texts = await store.texts(session.id, limit=1000)
            holds("pairs beside replacements", texts.count("pair") % 2 == 0, expected="whole ones", observed=texts)

    results("appends beside replacements", await store.driver.gather(append, replace, append, read))
    await check_totals(store, session.id)
    texts = await store.texts(session.id)
    same("pairs that are whole", texts.count("pair") % 2, 0)
    same("replacements that are left", texts.count("new"), 1)
    await store.append(session.id, "end")
    same("the last message", (await store.texts(session.id))[-1], "end")


@clause("SC-TAIL-011")
async def test_new_tail_is_in_order(store: StoreFixture) -> None:
    session, (first, second, _) = await conversation(store, "a", "b", "c")
    early = store.message(session.id, "early", at=first.created_at - MILLISECOND)
    replaced = await store.adapter.replace_tail(session.id, second.id, [early])
    (moved,) = replaced.messages
    holds("created_at", moved.created_at >= second.created_at, expected="not before its predecessor", observed=moved)
    await store.append(session.id, "later", at=first.created_at)
    history = await store.history(session.id)
    same("conversation", [message.content for message in history], ["a", "b", "early", "later"])
    times = [message.created_at for message in history]
    same("times", times, sorted(times))
    same("from the end", await store.texts(session.id, order="desc", limit=1), ["later", "early", "b", "a"])
