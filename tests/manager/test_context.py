"""What a model gets to see: the newest that fit, system messages always, tool calls whole or not at all."""

from __future__ import annotations

from typing import Any

import pytest

from session_continuity import (
    BudgetExceeded,
    BudgetReport,
    ConversationContext,
    ConversationPage,
    Message,
    MessageQuery,
    Patch,
    SessionManager,
    TokenBudget,
    TokenBudgetExceededError,
    conversation_of,
    run_now,
)

from ..kit.clocks import Clock
from ..kit.conversations import REPLY, answered, asked, said, system
from ..kit.recording import RecordingAdapter
from .variants import ON_MEMORY, Variant

pytestmark = pytest.mark.on(variant=ON_MEMORY)


def shown(manager: SessionManager, session_id: str, **rules: Any) -> list[Any]:
    return [message.content for message in manager.get_conversation_context(session_id, **rules)]


def talk(manager: SessionManager, turn: list[dict[str, Any]], **options: Any) -> str:
    session = manager.create_session(**options)
    for message in turn:
        manager.add_message(session.id, **message)
    return session.id


def budget(tokens: int, **options: Any) -> TokenBudget:
    return TokenBudget(max_tokens=tokens + REPLY, **options)


def test_without_a_budget_the_context_is_the_conversation(manager: SessionManager) -> None:
    session_id = talk(manager, [system(), said("a"), asked("x"), answered("x"), said("b")])
    context = manager.get_conversation_context_with_stats(session_id)
    assert context == ConversationContext(
        messages=list(manager.get_messages(session_id)),
        budget=BudgetReport(limit=None, used=5 + REPLY, kept_messages=5, dropped_messages=0, dropped_tokens=0),
        compression=None,
    )


def test_an_empty_conversation_has_an_empty_context(manager: SessionManager) -> None:
    context = manager.get_conversation_context_with_stats(talk(manager, [], token_budget=budget(5)))
    assert context.messages == []
    assert context.budget == BudgetReport(
        limit=5 + REPLY, used=0, kept_messages=0, dropped_messages=0, dropped_tokens=0
    )


def test_the_newest_that_fit_are_kept_and_the_rest_is_accounted_for(manager: SessionManager) -> None:
    session_id = talk(manager, [said(str(n), tokens=n) for n in range(1, 7)], token_budget=budget(20, reserve_tokens=5))
    context = manager.get_conversation_context_with_stats(session_id)
    assert [message.content for message in context.messages] == ["4", "5", "6"]
    assert context.budget == BudgetReport(
        limit=15 + REPLY, used=15 + REPLY, kept_messages=3, dropped_messages=3, dropped_tokens=6
    )


def test_a_message_that_does_not_fit_ends_the_context_without_gaps(manager: SessionManager) -> None:
    session_id = talk(manager, [said("small"), said("large", tokens=50), said("new")], token_budget=budget(10))
    assert shown(manager, session_id) == ["new"]


def test_a_message_that_just_fits_is_kept(manager: SessionManager) -> None:
    session_id = talk(manager, [said("a", tokens=4), said("b", tokens=6)], token_budget=budget(10))
    assert shown(manager, session_id) == ["a", "b"]


def test_system_messages_are_kept_wherever_they_are_and_in_their_places(manager: SessionManager) -> None:
    turn = [
        system("first"),
        *[said(f"old {n}") for n in range(30)],
        system("middle"),
        said("a"),
        system("last"),
        said("b"),
    ]
    session_id = talk(manager, turn, token_budget=budget(5))
    assert shown(manager, session_id) == ["first", "middle", "a", "last", "b"]


def test_more_system_messages_than_a_page_holds_are_all_kept(variant: Variant, store: RecordingAdapter) -> None:
    manager = variant.manager(store, token_budget=budget(1105))
    session = manager.create_session()
    manager.add_messages(session.id, [system(str(n)) for n in range(1100)])
    manager.add_messages(session.id, [said("word")] * 10)
    assert shown(manager, session.id) == [*(str(n) for n in range(1100)), *["word"] * 5]


def test_system_messages_that_do_not_fit_are_an_error_and_an_event(manager: SessionManager) -> None:
    session_id = talk(manager, [system("s", tokens=11), said("a")], token_budget=budget(10))
    told: list[BudgetExceeded] = []
    manager.on(BudgetExceeded, told.append)
    with pytest.raises(TokenBudgetExceededError) as caught:
        manager.get_conversation_context(session_id)
    first = manager.get_messages(session_id)[0].id
    expected = (session_id, 11 + REPLY, 10 + REPLY, first, 11)
    for found in (caught.value, told[0]):
        assert (found.session_id, found.requested, found.limit, found.message_id, found.message_tokens) == expected
    assert len(manager.get_messages(session_id)) == 2


TOOLS: dict[str, tuple[int, list[dict[str, Any]], list[str]]] = {
    "a turn that fits is kept": (3, [said("u"), asked("x"), answered("x")], ["u", "call x", "result x"]),
    "a turn that does not fit goes whole": (3, [said("u"), asked("x", tokens=3), answered("x"), said("v")], ["v"]),
    "several results": (
        9,
        [said("u"), asked("x", "y"), answered("y"), answered("x")],
        ["u", "call x y", "result y", "result x"],
    ),
    "one message with all results": (
        9,
        [said("u"), asked("x", "y"), answered("x", "y")],
        ["u", "call x y", "result x y"],
    ),
    "results to two calls in one message": (
        99,
        [said("u"), asked("x"), asked("y"), answered("x", "y"), said("v")],
        ["u", "call x", "", "call y", "", "v"],
    ),
    "a missing result": (
        99,
        [said("u"), asked("x", "y"), answered("x"), said("v")],
        ["u", "call x y", "result x", "", "v"],
    ),
    "a call in the air": (9, [said("u"), asked("x")], ["u"]),
    "a result without its call": (9, [said("u"), answered("x"), said("v")], ["u", "v"]),
    "a result before its call": (9, [said("u"), answered("x"), asked("x")], ["u"]),
    "words between call and result": (
        9,
        [said("u"), asked("x"), said("v"), answered("x"), said("w")],
        ["u", "call x", "result x", "v", "w"],
    ),
    "words between, and the call does not fit": (
        3,
        [said("u"), asked("x", tokens=2), said("v"), answered("x"), said("w")],
        ["v", "w"],
    ),
    "a result twice": (9, [said("u"), asked("x"), answered("x"), answered("x")], ["u", "call x", "result x"]),
    "an id used again": (
        9,
        [said("u"), asked("x"), answered("x"), asked("x"), answered("x")],
        ["u", "call x", "result x", "call x", "result x"],
    ),
    "an answer that asks on": (
        9,
        [said("u"), asked("x"), said("both", role="assistant", calls=["y"], results=["x"]), answered("y")],
        ["u", "call x", "both", "result y"],
    ),
    "an answer that asks on and gets none": (
        99,
        [said("u"), asked("x"), said("both", role="assistant", calls=["y"], results=["x"]), said("v")],
        ["u", "call x", "both", "", "v"],
    ),
    "a message that answers itself": (
        9,
        [said("u"), said("self", role="assistant", calls=["x"], results=["x"])],
        ["u", "self"],
    ),
    "words before the first question": (9, [said("hello", role="assistant"), said("u")], ["u"]),
    "no question at all": (2, [asked("x"), answered("x"), said("a", role="assistant")], ["a"]),
}


@pytest.mark.parametrize("case", TOOLS)
def test_a_tool_call_and_its_results_go_together(manager: SessionManager, case: str) -> None:
    limit, turn, expected = TOOLS[case]
    assert shown(manager, talk(manager, turn, token_budget=budget(limit))) == expected


def test_a_session_interrupted_in_a_tool_call_stays_usable(manager: SessionManager) -> None:
    session_id = talk(manager, [said("u"), asked("x")], token_budget=budget(9))
    assert shown(manager, session_id) == ["u"]
    manager.add_message(session_id, **said("what happened?"))
    assert shown(manager, session_id) == ["what happened?"]
    assert shown(manager, session_id, missing_results="drop") == ["u", "call x", "what happened?"]
    manager.update_session(session_id, token_budget=budget(99))
    assert shown(manager, session_id) == ["u", "call x", "", "what happened?"]
    manager.add_message(session_id, **answered("x"))
    assert shown(manager, session_id) == ["u", "call x", "result x", "what happened?"]


def test_the_sessions_budget_comes_before_the_managers(variant: Variant, store: RecordingAdapter) -> None:
    small = variant.manager(store, token_budget=budget(1))
    free = variant.manager(store)
    turn = [said("a"), said("b"), said("c")]
    own = talk(small, turn, token_budget=budget(2))
    none = talk(free, turn)
    assert (shown(small, own), shown(free, own)) == (["b", "c"], ["b", "c"])
    assert (shown(small, none), shown(free, none)) == (["c"], ["a", "b", "c"])
    free.update_session(own, token_budget=None)
    assert shown(free, own) == ["a", "b", "c"]


def test_a_stored_message_may_be_called_like_the_summary(manager: SessionManager) -> None:
    session = manager.create_session(token_budget=budget(5))
    manager.add_message(session.id, id="summary", **said("x"))
    report = manager.get_conversation_context_with_stats(session.id).budget
    assert (report.kept_messages, report.dropped_messages, report.dropped_tokens) == (1, 0, 0)


def test_messages_that_foreign_writers_left_uncounted_are_counted_for_the_budget(
    variant: Variant, store: RecordingAdapter
) -> None:
    manager = variant.manager(store, token_budget=budget(18), token_counter=len)
    session = manager.create_session()
    for _ in range(3):
        message = manager.add_message(session.id, role="user", content="x" * 5)
        run_now(store.update_message(session.id, message.id, Patch(clear=frozenset({"token_count"}))))
    context = manager.get_conversation_context_with_stats(session.id)
    assert (len(context.messages), context.budget.used) == (2, 18 + REPLY)
    assert (context.budget.dropped_messages, context.budget.dropped_tokens) == (1, 0)


def test_small_pages_are_followed_until_the_budget_is_full_and_no_further(variant: Variant, clock: Clock) -> None:
    store = variant.store(clock=clock)
    manager = variant.manager(store, token_budget=budget(100))
    session = manager.create_session()
    manager.add_messages(session.id, [said(f"old {n}", tokens=1) for n in range(200)])
    manager.add_messages(session.id, [said(f"long {n}", tokens=400) for n in range(50)])
    manager.add_messages(session.id, [said(f"new {n}", tokens=1) for n in range(30)])
    store.messages_read = 0
    assert len(manager.get_conversation_context(session.id)) == 30
    assert store.messages_read < 40


@pytest.fixture
def in_pieces(store: RecordingAdapter, monkeypatch: pytest.MonkeyPatch) -> RecordingAdapter:
    """A store that reads a session and its messages one after the other."""

    async def get_conversation(session_id: str, query: MessageQuery) -> ConversationPage:
        return await conversation_of(store, session_id, query)

    monkeypatch.setattr(store, "get_conversation", get_conversation)
    return store


def test_a_session_read_before_an_append_still_gives_a_whole_context(
    variant: Variant, in_pieces: RecordingAdapter
) -> None:
    """A system message that arrives between the read of the session and that of its messages is kept and paid for."""
    store = in_pieces
    manager = variant.manager(store, token_budget=budget(5))
    session = manager.create_session()
    manager.add_messages(session.id, [said(str(n)) for n in range(6)])

    async def append_meanwhile(session_id: str) -> None:
        del store.after["get_session"]
        late = Message(
            id="late", session_id=session_id, role="system", content="late", token_count=2, created_at=store.clock()
        )
        await store.inner.append_messages(session_id, [late], client_ids=["late"])

    store.after["get_session"] = append_meanwhile
    context = manager.get_conversation_context_with_stats(session.id)
    assert [message.content for message in context.messages] == ["3", "4", "5", "late"]
    assert context.budget.used == 5 + REPLY


def test_an_old_message_made_a_system_message_meanwhile_is_kept_and_paid_for(
    variant: Variant, in_pieces: RecordingAdapter
) -> None:
    store = in_pieces
    manager = variant.manager(store, token_budget=budget(28))
    session = manager.create_session()
    manager.add_messages(session.id, [said("large", tokens=400)] * 10)
    ids = [message.id for message in manager.add_messages(session.id, [said(str(n)) for n in range(30)])]

    async def edited_meanwhile(session_id: str) -> None:
        del store.after["get_session"]
        await store.inner.update_message(session_id, ids[5], Patch(set={"role": "system"}))

    store.after["get_session"] = edited_meanwhile
    context = manager.get_conversation_context_with_stats(session.id)
    assert [message.content for message in context.messages] == [str(n) for n in range(2, 30)]
    assert context.messages[3].role == "system"
    assert (context.budget.used, store.calls.count("get_messages") > 2) == (28 + REPLY, True)


def test_more_system_messages_than_a_page_holds_are_read_in_pages(
    variant: Variant, in_pieces: RecordingAdapter
) -> None:
    manager = variant.manager(in_pieces, token_budget=budget(2000))
    session = manager.create_session()
    manager.add_messages(session.id, [system(str(n)) for n in range(1100)])
    manager.add_messages(session.id, [said("hello")] * 20)
    contents = [message.content for message in manager.get_conversation_context(session.id)]
    assert contents == [*map(str, range(1100)), *["hello"] * 20]
