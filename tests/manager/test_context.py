"""What a model gets to see: the newest that fit, system messages always, tool calls whole or not at all."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from hypothesis import given, reject, strategies as st

from session_continuity import (
    BudgetExceeded,
    BudgetReport,
    ConversationContext,
    Message,
    Patch,
    SessionManager,
    TokenBudget,
    TokenBudgetExceededError,
    conversation_of,
    run_now,
)
from session_continuity.window import Window

from .faces import Clock, Face, Watched
from .talks import (
    answered,
    asked,
    conversations,
    expected_context,
    has_only_whole_pairs,
    said,
    system,
    with_ids_used_once,
)


def shown(manager: SessionManager, session_id: str) -> list[Any]:
    return [message.content for message in manager.get_conversation_context(session_id)]


def talk(manager: SessionManager, turn: list[dict[str, Any]], **options: Any) -> str:
    session = manager.create_session(**options)
    for message in turn:
        manager.add_message(session.id, **message)
    return session.id


def budget(tokens: int, **options: Any) -> TokenBudget:
    return TokenBudget(max_tokens=tokens, **options)


def test_without_a_budget_the_context_is_the_conversation(manager: SessionManager) -> None:
    session_id = talk(manager, [system(), said("a"), asked("x"), answered("x"), said("b")])
    context = manager.get_conversation_context_with_stats(session_id)
    assert context == ConversationContext(
        messages=list(manager.get_messages(session_id)),
        budget=BudgetReport(limit=None, used=5, kept_messages=5, dropped_messages=0, dropped_tokens=0),
        compression=None,
    )


def test_an_empty_conversation_has_an_empty_context(manager: SessionManager) -> None:
    context = manager.get_conversation_context_with_stats(talk(manager, [], token_budget=budget(5)))
    assert context.messages == []
    assert context.budget == BudgetReport(limit=5, used=0, kept_messages=0, dropped_messages=0, dropped_tokens=0)


def test_the_newest_that_fit_are_kept_and_the_rest_is_accounted_for(manager: SessionManager) -> None:
    session_id = talk(manager, [said(str(n), tokens=n) for n in range(1, 7)], token_budget=budget(20, reserve_tokens=5))
    context = manager.get_conversation_context_with_stats(session_id)
    assert [message.content for message in context.messages] == ["4", "5", "6"]
    assert context.budget == BudgetReport(limit=15, used=15, kept_messages=3, dropped_messages=3, dropped_tokens=6)


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


def test_more_system_messages_than_a_page_holds_are_all_kept(face: Face, store: Watched) -> None:
    manager = face.manager(store, token_budget=budget(1105))
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
    assert (caught.value.session_id, caught.value.requested, caught.value.limit) == (session_id, 11, 10)
    assert [(event.session_id, event.requested, event.limit) for event in told] == [(session_id, 11, 10)]
    assert len(manager.get_messages(session_id)) == 2


TOOLS: dict[str, tuple[int, list[dict[str, Any]], list[str]]] = {
    "a pair that fits is kept": (3, [said("u"), asked("x"), answered("x")], ["u", "call x", "result x"]),
    "a pair that does not fit goes whole": (3, [asked("x", tokens=3), answered("x"), said("u")], ["u"]),
    "several results": (9, [asked("x", "y"), answered("y"), answered("x")], ["call x y", "result y", "result x"]),
    "one message with all results": (9, [asked("x", "y"), answered("x", "y")], ["call x y", "result x y"]),
    "results to two calls in one message": (
        9,
        [asked("x"), asked("y"), answered("x", "y"), said("u")],
        ["call x", "call y", "result x y", "u"],
    ),
    "results to two calls, of which one is out of reach": (
        4,
        [asked("x", tokens=3), asked("y"), answered("x", "y"), said("u")],
        ["u"],
    ),
    "a missing result": (9, [said("u"), asked("x", "y"), answered("x"), said("v")], ["u", "v"]),
    "a call in the air": (9, [said("u"), asked("x")], ["u"]),
    "a result without its call": (9, [said("u"), answered("x"), said("v")], ["u", "v"]),
    "a result before its call": (9, [said("u"), answered("x"), asked("x")], ["u"]),
    "words between call and result": (
        9,
        [asked("x"), said("u"), answered("x"), said("v")],
        ["call x", "u", "result x", "v"],
    ),
    "words between, and the pair does not fit": (
        3,
        [asked("x", tokens=2), said("u"), answered("x"), said("v")],
        ["u", "v"],
    ),
    "a result twice": (9, [asked("x"), answered("x"), answered("x")], ["call x", "result x", "result x"]),
    "an id used again": (
        2,
        [asked("x"), answered("x"), asked("x"), answered("x")],
        ["call x", "result x"],
    ),
    "an answer that asks on": (
        9,
        [asked("x"), said("both", role="assistant", calls=["y"], results=["x"]), answered("y")],
        ["call x", "both", "result y"],
    ),
    "an answer that asks on and gets none": (
        9,
        [said("u"), asked("x"), said("both", role="assistant", calls=["y"], results=["x"]), said("v")],
        ["u", "v"],
    ),
    "a message that answers itself": (9, [said("self", role="assistant", calls=["x"], results=["x"])], ["self"]),
    "half a pair leaves room for older words": (2, [said("old"), answered("x", tokens=50), said("u")], ["old", "u"]),
}


@pytest.mark.parametrize("case", TOOLS)
def test_a_tool_call_and_its_results_go_together(manager: SessionManager, case: str) -> None:
    limit, turn, expected = TOOLS[case]
    assert shown(manager, talk(manager, turn, token_budget=budget(limit))) == expected


def test_a_session_interrupted_in_a_tool_call_stays_usable(manager: SessionManager) -> None:
    session_id = talk(manager, [said("u"), asked("x")], token_budget=budget(9))
    assert shown(manager, session_id) == ["u"]
    manager.add_message(session_id, **said("what happened?"))
    assert shown(manager, session_id) == ["u", "what happened?"]
    manager.add_message(session_id, **answered("x"))
    assert shown(manager, session_id) == ["u", "call x", "what happened?", "result x"]


def test_the_sessions_budget_comes_before_the_managers(face: Face, store: Watched) -> None:
    small = face.manager(store, token_budget=budget(1))
    free = face.manager(store)
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


def test_messages_that_foreign_writers_left_uncounted_are_counted_for_the_budget(face: Face, store: Watched) -> None:
    manager = face.manager(store, token_budget=budget(10))
    session = manager.create_session()
    for _ in range(3):
        message = manager.add_message(session.id, role="user", content="x" * 20)
        run_now(store.update_message(session.id, message.id, Patch(clear=frozenset({"token_count"}))))
    context = manager.get_conversation_context_with_stats(session.id)
    assert (len(context.messages), context.budget.used) == (2, 10)
    assert (context.budget.dropped_messages, context.budget.dropped_tokens) == (1, 0)


def test_small_pages_are_followed_until_the_budget_is_full_and_no_further(face: Face, clock: Clock) -> None:
    store = face.store(clock=clock)
    manager = face.manager(store, token_budget=budget(100))
    session = manager.create_session()
    manager.add_messages(session.id, [said(f"old {n}", tokens=1) for n in range(200)])
    manager.add_messages(session.id, [said(f"long {n}", tokens=400) for n in range(50)])
    manager.add_messages(session.id, [said(f"new {n}", tokens=1) for n in range(30)])
    store.messages_read = 0
    assert len(manager.get_conversation_context(session.id)) == 30
    assert store.messages_read < 40


@pytest.fixture
def in_pieces(store: Watched, monkeypatch: pytest.MonkeyPatch) -> Watched:
    """A store that reads a session and its messages one after the other."""
    monkeypatch.setattr(store, "get_conversation", partial(conversation_of, store))
    return store


def test_a_session_read_before_an_append_still_gives_a_whole_context(face: Face, in_pieces: Watched) -> None:
    """A system message that arrives between the read of the session and that of its messages is kept and paid for."""
    store = in_pieces
    manager = face.manager(store, token_budget=budget(5))
    session = manager.create_session()
    manager.add_messages(session.id, [said(str(n)) for n in range(6)])

    async def append_meanwhile(session_id: str) -> None:
        del store.after["get_session"]
        late = Message(
            id="late", session_id=session_id, role="system", content="late", token_count=2, created_at=store.clock()
        )
        await store.inner.append_messages(session_id, [late], chosen_ids=["late"])

    store.after["get_session"] = append_meanwhile
    context = manager.get_conversation_context_with_stats(session.id)
    assert [message.content for message in context.messages] == ["3", "4", "5", "late"]
    assert context.budget.used == 5


def test_an_old_message_made_a_system_message_meanwhile_is_kept_and_paid_for(face: Face, in_pieces: Watched) -> None:
    store = in_pieces
    manager = face.manager(store, token_budget=budget(28))
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
    assert (context.budget.used, store.calls.count("get_messages") > 2) == (28, True)


def test_more_system_messages_than_a_page_holds_are_read_in_pages(face: Face, in_pieces: Watched) -> None:
    manager = face.manager(in_pieces, token_budget=budget(2000))
    session = manager.create_session()
    manager.add_messages(session.id, [system(str(n)) for n in range(1100)])
    manager.add_messages(session.id, [said("hello")] * 20)
    contents = [message.content for message in manager.get_conversation_context(session.id)]
    assert contents == [*map(str, range(1100)), *["hello"] * 20]


# Properties


def stored(turn: list[dict[str, Any]], limit: int | None) -> tuple[SessionManager, str, list[Message]]:
    manager = SessionManager.open("memory://")
    session = manager.create_session(token_budget=None if limit is None else budget(limit))
    if turn:
        manager.add_messages(session.id, turn)
    return manager, session.id, list(manager.get_messages(session.id))


limits = st.none() | st.integers(1, 40)


def context_of(turn: list[dict[str, Any]], limit: int | None) -> tuple[list[Message], ConversationContext]:
    """A conversation and its context, of which everything is checked that holds for any."""
    manager, session_id, messages = stored(turn, limit)
    fixed = sum(m.token_count or 0 for m in messages if m.role == "system")
    if limit is not None and fixed > limit:
        with pytest.raises(TokenBudgetExceededError):
            manager.get_conversation_context(session_id)
        reject()
    context = manager.get_conversation_context_with_stats(session_id)
    shown = {m.id for m in context.messages}
    assert context.messages == [m for m in messages if m.id in shown]
    assert shown.issuperset(m.id for m in messages if m.role == "system")
    assert has_only_whole_pairs(context.messages)
    assert context.budget == BudgetReport(
        limit=limit,
        used=sum(m.token_count or 0 for m in context.messages),
        kept_messages=len(context.messages),
        dropped_messages=len(messages) - len(context.messages),
        dropped_tokens=sum(m.token_count or 0 for m in messages if m.id not in shown),
    )
    assert limit is None or context.budget.used <= limit
    return messages, context


@given(turn=conversations, limit=limits)
def test_any_context_fits_is_whole_and_is_accounted_for(turn: list[dict[str, Any]], limit: int | None) -> None:
    context_of(turn, limit)


@given(turn=conversations.map(with_ids_used_once), limit=limits)
def test_a_context_is_the_one_worked_out_the_long_way(turn: list[dict[str, Any]], limit: int | None) -> None:
    messages, context = context_of(turn, limit)
    assert context.messages == expected_context(messages, limit)


def test_a_full_window_takes_nothing_more() -> None:
    window = Window(1)
    message = stored([said("a")], None)[2][0]
    window.offer(message, 2)
    assert window.is_full
    window.offer(message, 0)
    window.keep(message)
    assert window.messages() == [message]
