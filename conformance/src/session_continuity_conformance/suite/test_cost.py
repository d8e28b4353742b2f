"""COST: what a call costs does not grow with the conversation. Counted, never timed."""

from __future__ import annotations

from session_continuity import MessageQuery, Patch
from session_continuity_conformance.budgets import CONTEXT, SHORT, spend
from session_continuity_conformance.cases import clause
from session_continuity_conformance.checks import same
from session_continuity_conformance.managing import Application
from session_continuity_conformance.store import Store

LAST = 20


@clause("SC-COST-001")
async def test_append_costs_the_same_in_a_long_conversation(store: Store) -> None:
    spent = await spend(
        store,
        {
            "append_messages": lambda talk: store.append(talk.session.id, "more"),
            "append_messages with a chosen id": lambda talk: store.append_chosen(
                store.message(talk.session.id, "more", id=store.new_id("m"))
            ),
        },
    )
    for each in spent:
        each.does_not_grow()


@clause("SC-COST-002")
async def test_append_is_one_request(store: Store) -> None:
    size = min(store.capabilities.max_turn or 3, 3)
    turn = "append_messages of a turn"
    spent = await spend(
        store,
        {
            "append_messages": lambda talk: store.append(talk.session.id, "more"),
            turn: lambda talk: store.adapter.append_messages(
                talk.session.id, [store.message(talk.session.id) for _ in range(size)]
            ),
        },
    )
    for each in spent:
        same(f"requests of {each.what}", each.short.requests, 1)


@clause("SC-COST-003")
async def test_last_messages_cost_the_same_in_a_long_conversation(store: Store) -> None:
    query = MessageQuery(order="desc", limit=LAST)
    (spent,) = await spend(
        store, {f"the last {LAST} messages": lambda talk: store.adapter.get_messages(talk.session.id, query)}
    )
    spent.does_not_grow()


@clause("SC-COST-004")
async def test_context_costs_the_same_in_a_long_conversation(store: Store) -> None:
    lengths: set[int] = set()
    application = Application(store.adapter)

    async def read(session_id: str) -> None:
        lengths.add(len(await application.context(session_id)))

    (spent,) = await spend(store, {"get_conversation_context": lambda talk: read(talk.session.id)})
    spent.does_not_grow()
    same(f"messages of a context, at {SHORT} messages and more", max(lengths), CONTEXT + 1)


@clause("SC-COST-005")
async def test_message_by_id_costs_the_same_in_a_long_conversation(store: Store) -> None:
    patch = Patch({"content": "edited", "token_count": 2})
    spent = await spend(
        store,
        {
            "get_message": lambda talk: store.adapter.get_message(talk.session.id, talk.message.id),
            "update_message": lambda talk: store.adapter.update_message(talk.session.id, talk.message.id, patch),
            "delete_message": lambda talk: store.adapter.delete_message(talk.session.id, talk.message.id),
        },
    )
    for each in spent:
        each.does_not_grow()


@clause("SC-COST-006")
async def test_session_costs_the_same_with_a_long_conversation(store: Store) -> None:
    spent = await spend(
        store,
        {
            "get_session": lambda talk: store.adapter.get_session(talk.session.id),
            "update_session": lambda talk: store.adapter.update_session(talk.session.id, Patch({"status": "paused"})),
        },
    )
    for each in spent:
        each.does_not_grow()
