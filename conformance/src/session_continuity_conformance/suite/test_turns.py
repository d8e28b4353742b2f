"""TRN: an append and what comes with it are one step: a change of the session, conditions, a new session."""

from __future__ import annotations

from typing import Any

from session_continuity import (
    ConcurrencyError,
    ConversationChangedError,
    Message,
    Patch,
    Session,
    SessionClosedError,
    SessionMetadata,
    TokenBudget,
    TokenBudgetExceededError,
    ValidationError,
)
from session_continuity_conformance.cases import clause
from session_continuity_conformance.checks import holds, partition, present, refused, results, same, same_models
from session_continuity_conformance.store_fixture import StoreFixture

HARD = TokenBudget(max_tokens=10, overflow_strategy="error")
RACERS = 6


def titled(title: str) -> Patch:
    """A patch that changes the session's title and its agent."""
    return Patch({"metadata": SessionMetadata(title=title), "active_agent_id": title})


async def turn(store: StoreFixture, session_id: str, *contents: str, **terms: Any) -> tuple[Message, ...]:
    """Append one batch of these contents on these terms, and return it as stored."""
    batch = [store.message(session_id, content) for content in contents]
    return (await store.adapter.append_messages(session_id, batch, **terms)).messages


async def check_unchanged(store: StoreFixture, before: Session, history: list[Message]) -> None:
    """Check that the session and its messages are as they were."""
    same("the session afterwards", await store.current(before.id), before)
    same_models("its messages afterwards", await store.history(before.id), history)


@clause("SC-TRN-001")
async def test_append_with_a_patch_does_both(store: StoreFixture) -> None:
    session = await store.create_session(user_id="u")
    batch = [store.message(session.id, "a", tokens=2), store.message(session.id, "b", tokens=3)]
    appended = await store.adapter.append_messages(session.id, batch, patch=titled("t"))
    same_models("the batch as stored", appended.messages, batch)
    same_models("conversation", await store.history(session.id), batch)
    found = await store.current(session.id)
    expected = session.model_copy(
        update={
            "metadata": SessionMetadata(title="t"),
            "active_agent_id": "t",
            "version": session.version + 1,
            "message_count": 2,
            "token_count": 5,
            "last_activity_at": batch[-1].created_at,
        }
    )
    same("the session afterwards", found, expected)
    await store.check_listing("listing by the agent of the patch", [session.id], active_agent_id="t")


@clause("SC-TRN-001")
async def test_patch_of_an_append_clears_too(store: StoreFixture) -> None:
    session = await store.create_session(active_agent_id="a", metadata=SessionMetadata(title="t"))
    await turn(store, session.id, "x", patch=Patch(clear=frozenset({"active_agent_id", "metadata"})))
    found = await store.current(session.id)
    values = (found.active_agent_id, found.metadata, found.version)
    same("cleared fields and version", values, (None, SessionMetadata(), session.version + 1))


@clause("SC-TRN-002")
async def test_refused_append_does_not_patch(store: StoreFixture) -> None:
    session = await store.create_session(token_budget=HARD)
    await turn(store, session.id, "a")
    before, history = await store.current(session.id), await store.history(session.id)
    large = [store.message(session.id, "b", tokens=100)]
    call = store.adapter.append_messages(session.id, large, patch=titled("t"))
    await refused("too many tokens", call, TokenBudgetExceededError)
    await check_unchanged(store, before, history)
    closed = await store.adapter.update_session(session.id, Patch({"status": "completed"}))
    await refused("a closed session", turn(store, session.id, "b", patch=titled("t")), SessionClosedError)
    await check_unchanged(store, closed, history)


@clause("SC-TRN-003")
async def test_append_at_the_expected_version(store: StoreFixture) -> None:
    session = await store.create_session()
    await turn(store, session.id, "a", expected_version=session.version)
    await turn(store, session.id, "b", expected_version=session.version, patch=titled("t"))
    before, history = await store.current(session.id), await store.history(session.id)
    for expected in (session.version, session.version + 2):
        for patch in (None, titled("other")):
            call = turn(store, session.id, "c", expected_version=expected, patch=patch)
            error = await refused("another version", call, ConcurrencyError)
            versions = (error.expected, error.actual)
            same("the versions in the error", versions, (expected, session.version + 1))
            await check_unchanged(store, before, history)


@clause("SC-TRN-004")
async def test_append_behind_the_expected_message(store: StoreFixture) -> None:
    session = await store.create_session()
    (first,) = await turn(store, session.id, "a", expected_last_id="")
    (second,) = await turn(store, session.id, "b", expected_last_id=first.id)
    before, history = await store.current(session.id), await store.history(session.id)
    for expected in ("", first.id, "absent"):
        call = turn(store, session.id, "c", expected_last_id=expected, patch=titled("t"))
        error = await refused("another last message", call, ConversationChangedError)
        same("the ids in the error", (error.expected_last_id, error.last_id), (expected, second.id))
        await check_unchanged(store, before, history)


@clause("SC-TRN-004")
async def test_last_message_is_the_last_that_is_left(store: StoreFixture) -> None:
    session = await store.create_session()
    first, second = await turn(store, session.id, "a", "b")
    await store.adapter.delete_message(session.id, second.id)
    call = turn(store, session.id, "c", expected_last_id=second.id)
    await refused("a message that is gone", call, ConversationChangedError)
    await turn(store, session.id, "c", expected_last_id=first.id)
    await store.adapter.delete_all_messages(session.id)
    await turn(store, session.id, "d", expected_last_id="")
    same("conversation", await store.texts(session.id), ["d"])


@clause("SC-TRN-005")
async def test_repeated_append_looks_at_no_term(store: StoreFixture) -> None:
    session = await store.create_session()
    batch = [store.message(session.id, "a", id="m1"), store.message(session.id, "b", id="m2")]
    terms: dict[str, Any] = {"patch": titled("t"), "expected_version": session.version, "expected_last_id": ""}
    await store.adapter.append_messages(session.id, batch, client_ids=["m1", "m2"], **terms)
    await store.adapter.update_session(session.id, titled("later"))
    await turn(store, session.id, "c")
    before, history = await store.current(session.id), await store.history(session.id)
    again = await store.adapter.append_messages(session.id, batch, client_ids=["m1", "m2"], **terms)
    same("repeated", again.repeated, True)
    same_models("the stored messages", again.messages, history[:2])
    await check_unchanged(store, before, history)


@clause("SC-TRN-006")
async def test_batch_is_judged_before_the_patch(store: StoreFixture) -> None:
    session = await store.create_session()
    await turn(store, session.id, "last", patch=Patch({"status": "completed", "token_budget": HARD}))
    same("status", (await store.current(session.id)).status, "completed")
    same("conversation", await store.texts(session.id), ["last"])
    reopening = turn(store, session.id, "more", patch=Patch({"status": "active"}))
    await refused("a patch that reopens", reopening, SessionClosedError)
    limited = await store.create_session()
    large = [store.message(limited.id, "x", tokens=100)]
    await store.adapter.append_messages(limited.id, large, patch=Patch({"token_budget": HARD}))
    await refused("an append after the patch", turn(store, limited.id, "y"), TokenBudgetExceededError)


@clause("SC-TRN-007")
async def test_one_of_several_turns_wins(store: StoreFixture) -> None:
    for terms in ({"expected_last_id": ""}, {"expected_version": 1, "patch": titled("t")}):
        session = await store.create_session()
        error = ConversationChangedError if "expected_last_id" in terms else ConcurrencyError
        works = [lambda n=number, i=session.id, t=terms: turn(store, i, str(n), **t) for number in range(RACERS)]
        won, lost = partition("racing turns", await store.driver.gather(*works), error)
        same("turns that succeeded and that were refused", (len(won), len(lost)), (1, RACERS - 1))
        same_models("conversation", await store.history(session.id), won[0])


@clause("SC-TRN-008")
async def test_reader_sees_a_turn_whole(store: StoreFixture) -> None:
    session = await store.create_session(active_agent_id="0")

    async def write() -> None:
        for number in range(1, 13):
            await turn(store, session.id, "x", patch=Patch({"active_agent_id": str(number)}))

    async def read() -> None:
        for _ in range(20):
            found = present("get_session beside turns", await store.adapter.get_session(session.id))
            same("messages, agent and version", (found.message_count, found.version), _turns(found))

    def _turns(found: Session) -> tuple[int, int]:
        count = int(found.active_agent_id or 0)
        return count, count + session.version

    results("readers beside turns", await store.driver.gather(write, read, read))


@clause("SC-TRN-009")
async def test_what_is_missing_of_a_batch_is_stored(store: StoreFixture) -> None:
    session = await store.create_session()
    batch = [store.message(session.id, text, id=f"m{text}") for text in ("a", "b", "c", "d")]
    ids = [message.id for message in batch]
    await store.adapter.append_messages(session.id, [batch[0], batch[2]], client_ids=ids)
    call = store.adapter.append_messages(session.id, batch, client_ids=ids)
    await refused("a batch that overlaps, without existing", call, ValidationError)
    appended = await store.adapter.append_messages(session.id, batch, client_ids=ids, existing="skip")
    same("repeated", appended.repeated, False)
    same("the order of the result", [message.content for message in appended.messages], ["a", "b", "c", "d"])
    same("the conversation", await store.texts(session.id), ["a", "c", "b", "d"])
    found = {message.id: message for message in await store.history(session.id)}
    same_models("the batch as stored", appended.messages, [found[message_id] for message_id in ids])
    current = await store.current(session.id)
    same("message_count and token_count", (current.message_count, current.token_count), (4, 4))


@clause("SC-TRN-010")
async def test_skipping_compares_what_is_stored(store: StoreFixture) -> None:
    session = await store.create_session()
    batch = [store.message(session.id, "a", id="m1"), store.message(session.id, "b", id="m2")]
    await store.adapter.append_messages(session.id, batch, client_ids=["m1", "m2"])
    before, history = await store.current(session.id), await store.history(session.id)
    other = [store.message(session.id, "other", id="m2"), store.message(session.id, "c", id="m3")]
    call = store.adapter.append_messages(session.id, other, client_ids=["m2", "m3"], existing="skip")
    await refused("an id of another message", call, ValidationError)
    again = await store.adapter.append_messages(session.id, batch, client_ids=["m1", "m2"], existing="skip")
    same("repeated", again.repeated, True)
    same_models("the stored messages", again.messages, history)
    await check_unchanged(store, before, history)


@clause("SC-TRN-011")
async def test_append_creates_the_session(store: StoreFixture) -> None:
    new = store.new_session(user_id="u", metadata=SessionMetadata(title="new", tags=["t"]))
    batch = [store.message(new.id, "a"), store.message(new.id, "b")]
    appended = await store.adapter.append_messages(new.id, batch, create=new)
    same("created and repeated", (appended.created, appended.repeated), (True, False))
    same_models("the batch as stored", appended.messages, batch)
    totals = {"message_count": 2, "token_count": 2, "last_activity_at": batch[-1].created_at}
    same("the session", await store.current(new.id), new.model_copy(update=totals))
    await store.check_listing("listing by user", [new.id], user_id="u")


@clause("SC-TRN-011")
async def test_created_session_is_patched(store: StoreFixture) -> None:
    new = store.new_session(version=3)
    await turn(store, new.id, "a", create=new, patch=titled("t"))
    found = await store.current(new.id)
    same("title and version", (found.metadata.title, found.version), ("t", 4))


@clause("SC-TRN-011")
async def test_append_creates_in_place_of_an_expired_session(store: StoreFixture) -> None:
    expired = await store.expiring_session(id="same")
    await store.append(expired.id, "old", role="system")
    await store.expire(expired)
    new = store.new_session(id="same")
    message = store.message("same", "new", at=new.created_at)
    appended = await store.adapter.append_messages("same", [message], create=new)
    same("created", appended.created, True)
    same("conversation", await store.texts("same"), ["new"])
    found = await store.current("same")
    same("count and system messages", (found.message_count, len(found.system_message_ids)), (1, 0))


@clause("SC-TRN-012")
async def test_create_has_no_effect_on_a_session_that_exists(store: StoreFixture) -> None:
    session = await store.create_session(user_id="u")
    other = store.new_session(id=session.id, user_id="v", metadata=SessionMetadata(title="other"))
    message = store.message(session.id, "a")
    appended = await store.adapter.append_messages(session.id, [message], create=other)
    same("created", appended.created, False)
    totals = {"message_count": 1, "token_count": 1, "last_activity_at": message.created_at}
    same("the session", await store.current(session.id), session.model_copy(update=totals))


@clause("SC-TRN-013")
async def test_refused_batch_creates_no_session(store: StoreFixture) -> None:
    for fields, error in (
        ({"token_budget": HARD}, TokenBudgetExceededError),
        ({"status": "completed"}, SessionClosedError),
    ):
        new = store.new_session(user_id="u", **fields)
        batch = [store.message(new.id, "a", tokens=100)]
        await refused("a batch", store.adapter.append_messages(new.id, batch, create=new), error)
        same("get_session afterwards", await store.adapter.get_session(new.id), None)
    await store.check_listing("listing by user", [], user_id="u")


@clause("SC-TRN-014")
async def test_several_first_turns(store: StoreFixture) -> None:
    for _ in range(3):
        session_id = store.new_id()
        news = [store.new_session(id=session_id, user_id=str(number)) for number in range(RACERS)]
        works = [
            lambda s=new: store.adapter.append_messages(s.id, [store.message(s.id, "x")], create=s) for new in news
        ]
        outcomes = results("racing first turns", await store.driver.gather(*works))
        same("turns that created the session", [each.created for each in outcomes].count(True), 1)
        same("messages stored", len(await store.history(session_id)), RACERS)


@clause("SC-TRN-015")
async def test_terms_that_contradict_each_other_are_refused(store: StoreFixture) -> None:
    new = store.new_session()
    wrong: list[dict[str, Any]] = [
        {"existing": "replace"},
        {"create": store.new_session()},
        {"create": new, "expected_version": 1},
        {"create": new, "expected_last_id": ""},
    ]
    calls = len(store.log.calls)
    for terms in wrong:
        await refused(f"an append with {', '.join(terms)}", turn(store, new.id, "x", **terms), ValidationError)
    holds("sessions created", len(store.log.calls) == calls + len(wrong), expected="none", observed=store.log.calls)
    same("get_session afterwards", await store.adapter.get_session(new.id), None)
