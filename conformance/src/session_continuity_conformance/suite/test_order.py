"""ORD: messages are returned in the order in which their appends were acknowledged."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

from session_continuity import minted_at
from session_continuity_conformance.cases import clause
from session_continuity_conformance.checks import holds, results, same, same_models
from session_continuity_conformance.store_fixture import MILLISECOND, NotApplicableError, StoreFixture


@clause("SC-ORD-001")
async def test_desc_is_asc_reversed(store: StoreFixture) -> None:
    session = await store.create_session()
    stored = await store.append(session.id, *(f"m{number}" for number in range(15)))
    same_models("asc", await store.history(session.id), stored)
    same_models("desc", await store.history(session.id, order="desc"), reversed(stored))


@clause("SC-ORD-002")
async def test_alternating_adapters_keep_the_order_of_acknowledgement(store: StoreFixture) -> None:
    other = await store.open_second()
    session = await store.create_session()
    for number in range(20):
        adapter = other if number % 2 else store.adapter
        await adapter.append_messages(session.id, [store.message(session.id, f"m{number}")])
    same("conversation", await store.texts(session.id), [f"m{number}" for number in range(20)])


@clause("SC-ORD-002")
async def test_order_holds_when_every_other_writer_is_behind(store: StoreFixture) -> None:
    session = await store.create_session()
    for number in range(8):
        behind = timedelta(seconds=2) if number % 2 else timedelta()
        await store.append(session.id, f"m{number}", at=store.tick() - behind)
    same("conversation", await store.texts(session.id), [f"m{number}" for number in range(8)])


@clause("SC-ORD-003")
async def test_times_never_decrease(store: StoreFixture) -> None:
    session = await store.create_session()
    (first,) = await store.append(session.id, "question")
    (second,) = await store.append(session.id, "answer", at=first.created_at - timedelta(seconds=2))
    holds(
        "created_at of the batch moved up",
        second.created_at >= first.created_at,
        expected=f"not before {first.created_at}",
        observed=second.created_at,
    )
    found = await store.history(session.id)
    same_models("conversation", found, [first, second])
    session = await store.current(session.id)
    same("last_activity_at", session.last_activity_at, second.created_at)


@clause("SC-ORD-003")
async def test_times_never_decrease_among_many(store: StoreFixture) -> None:
    session = await store.create_session()
    start = store.tick()
    for number in (5, 0, 9, 3, 9, 1):
        await store.append(session.id, str(number), at=start + timedelta(seconds=number))
    times = [message.created_at for message in await store.history(session.id)]
    holds(
        "created_at along the conversation", all(a <= b for a, b in pairwise(times)), expected="rising", observed=times
    )


@clause("SC-ORD-003")
async def test_times_never_decrease_after_a_removal(store: StoreFixture) -> None:
    session = await store.create_session()
    start = store.tick()
    kept, *removed = await store.append(session.id, "first", "second", "third", at=start + timedelta(seconds=5))
    for message in reversed(removed):
        await store.adapter.delete_message(session.id, message.id)
        (late,) = await store.append(session.id, "late", at=start)
        holds(
            "created_at of a batch older than the messages that are left",
            late.created_at >= kept.created_at,
            expected=f"not before {kept.created_at}",
            observed=late.created_at,
        )


@clause("SC-ORD-004")
async def test_moved_batch_mints_ids_anew(store: StoreFixture) -> None:
    session = await store.create_session()
    (first,) = await store.append(session.id, "question")
    late = store.message(session.id, "answer", at=first.created_at - timedelta(seconds=2))
    (second,) = (await store.adapter.append_messages(session.id, [late])).messages
    same("the time in the new id", minted_at(second.id), second.created_at)
    same("get_message of the old id", await store.adapter.get_message(session.id, late.id), None)


@clause("SC-ORD-004")
async def test_moved_batch_mints_ids_of_any_shape_anew(store: StoreFixture) -> None:
    session = await store.create_session()
    (first,) = await store.append(session.id, "question")
    for name in ("m", "00000000-0000-0000-0000-000000000000", "n" * 256, 'é👍\x00"\\'):
        late = store.message(session.id, f"answer {name}", at=first.created_at - timedelta(seconds=2), id=name)
        (moved,) = (await store.adapter.append_messages(session.id, [late])).messages
        same("the time in the new id", minted_at(moved.id), moved.created_at)
        same("get_message of the old id", await store.adapter.get_message(session.id, name), None)
        changed = late.model_copy(update={"id": moved.id, "created_at": moved.created_at})
        same("the message by its new id", await store.adapter.get_message(session.id, moved.id), changed)


@clause("SC-ORD-004")
async def test_moved_batch_keeps_chosen_ids(store: StoreFixture) -> None:
    session = await store.create_session()
    (first,) = await store.append(session.id, "question")
    late = store.message(session.id, "answer", at=first.created_at - timedelta(seconds=2), id="chosen")
    (second,) = (await store.append_with_ids(late)).messages
    same("the id", second.id, "chosen")
    same_models("conversation", await store.history(session.id), [first, second])
    repeated = await store.append_with_ids(late)
    same("the append repeated", (repeated.repeated, repeated.messages[0].created_at), (True, second.created_at))


@clause("SC-ORD-005")
async def test_same_millisecond_keeps_the_order_of_appends(store: StoreFixture) -> None:
    session = await store.create_session()
    moment = store.tick()
    names = ["m", "z", "a", "Z", "é", "0", "~"]
    for name in names:
        await store.append_with_ids(store.message(session.id, name, at=moment, id=name))
    same("conversation", await store.texts(session.id), names)
    same("conversation, newest first", await store.texts(session.id, order="desc", limit=2), names[::-1])


@clause("SC-ORD-006")
async def test_batches_stay_together(store: StoreFixture) -> None:
    size = min(store.capabilities.max_batch or 3, 3)
    if size == 1:
        raise NotApplicableError("the store takes one message per append")
    session = await store.create_session()

    async def write(writer: int) -> None:
        for batch in range(4):
            texts = [f"{writer}.{batch}.{number}" for number in range(size)]
            messages = [store.message(session.id, text) for text in texts]
            await store.adapter.append_messages(session.id, messages)

    works = [lambda writer=writer: write(writer) for writer in range(4)]
    results("parallel batches", await store.driver.gather(*works))
    texts = [str(text) for text in await store.texts(session.id)]
    same("messages stored", len(texts), 16 * size)
    for start in range(0, len(texts), size):
        batch = texts[start].rpartition(".")[0]
        same("one batch in the conversation", texts[start : start + size], [f"{batch}.{n}" for n in range(size)])


@clause("SC-ORD-007")
async def test_parallel_writers_lose_and_double_nothing(store: StoreFixture) -> None:
    session = await store.create_session()

    async def write(writer: str) -> None:
        for number in range(8):
            await store.append(session.id, f"{writer}{number}")

    works = [lambda writer=writer: write(writer) for writer in "abcd"]
    results("parallel appends", await store.driver.gather(*works))
    texts = [str(text) for text in await store.texts(session.id)]
    for writer in "abcd":
        mine = [text for text in texts if text[0] == writer]
        same(f"messages of writer {writer}", mine, [f"{writer}{number}" for number in range(8)])
    same("messages in all", len(texts), 32)


@clause("SC-ORD-008")
async def test_batch_in_time_is_kept_as_given(store: StoreFixture) -> None:
    session = await store.create_session()
    start = store.tick()
    ahead = [store.message(session.id, str(number), at=start + number * 700 * MILLISECOND) for number in range(4)]
    for message in ahead:
        appended = await store.adapter.append_messages(session.id, [message])
        same_models("the batch as stored", appended.messages, [message])
    same_models("conversation", await store.history(session.id), ahead)
