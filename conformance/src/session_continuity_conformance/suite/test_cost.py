"""COST: a call costs no more in a long conversation. Costs are counted, not timed."""

from __future__ import annotations

from datetime import timedelta

from session_continuity import Appended, MessageQuery, Patch, Role, SessionFilter, conversation_of
from session_continuity_conformance.cases import clause
from session_continuity_conformance.checks import holds, same
from session_continuity_conformance.cost_budgets import CONTEXT, SHORT, Budget, Talk
from session_continuity_conformance.manager_in_mode import Application
from session_continuity_conformance.store_fixture import StoreFixture

LAST = 20
PAGE = 10


async def append(budget: Budget, talk: Talk, size: int = 1, role: Role = "user") -> Appended:
    """Append one batch with minted ids."""
    batch = [budget.store.message(talk.session.id, role=role) for _ in range(size)]
    return await budget.on.append_messages(talk.session.id, batch)


async def append_with_ids(budget: Budget, talk: Talk) -> Appended:
    """Append one message with an id that the caller chose."""
    message = budget.store.message(talk.session.id, id=budget.store.new_id("m"))
    return await budget.on.append_messages(talk.session.id, [message], client_ids=[message.id])


@clause("SC-COST-001")
async def test_append_costs_the_same_in_a_long_conversation(store: StoreFixture) -> None:
    budget = await Budget.of(store)
    spent = await budget.spend(
        {
            "append_messages": lambda talk: append(budget, talk),
            "append_messages with a chosen id": lambda talk: append_with_ids(budget, talk),
        }
    )
    for each in spent:
        each.does_not_grow()


@clause("SC-COST-002")
async def test_append_is_one_request(store: StoreFixture) -> None:
    budget = await Budget.of(store)
    size = min(store.capabilities.max_batch or 3, 3)
    spent = await budget.spend(
        {
            "append_messages": lambda talk: append(budget, talk),
            "append_messages of a batch": lambda talk: append(budget, talk, size),
        }
    )
    for each in spent:
        same(f"requests of {each.what}", each.short.requests, 1)


@clause("SC-COST-003")
async def test_last_messages_cost_the_same_in_a_long_conversation(store: StoreFixture) -> None:
    budget = await Budget.of(store)
    query = MessageQuery(order="desc", limit=LAST)
    (spent,) = await budget.spend(
        {f"the last {LAST} messages": lambda talk: budget.on.get_messages(talk.session.id, query)}
    )
    spent.does_not_grow()


@clause("SC-COST-004")
async def test_context_costs_the_same_in_a_long_conversation(store: StoreFixture) -> None:
    budget = await Budget.of(store)
    application = Application(budget.on)
    lengths: set[int] = set()

    async def read(talk: Talk) -> None:
        lengths.add(len(await application.context(talk.session.id)))

    (spent,) = await budget.spend({"get_conversation_context": read})
    spent.does_not_grow()
    same(f"messages of a context, at {SHORT} messages and more", max(lengths), CONTEXT + 1)


@clause("SC-COST-005")
async def test_message_by_id_costs_the_same_in_a_long_conversation(store: StoreFixture) -> None:
    budget = await Budget.of(store)
    patch = Patch({"content": "edited", "token_count": 2})
    spent = await budget.spend(
        {
            "get_message": lambda talk: budget.on.get_message(talk.session.id, talk.middle.id),
            "update_message": lambda talk: budget.on.update_message(talk.session.id, talk.early.id, patch),
            "delete_message": lambda talk: budget.on.delete_message(talk.session.id, talk.late.id),
        }
    )
    for each in spent:
        each.does_not_grow()


@clause("SC-COST-006")
async def test_session_costs_the_same_with_a_long_conversation(store: StoreFixture) -> None:
    budget = await Budget.of(store)
    patch = Patch({"status": "paused"})
    spent = await budget.spend(
        {
            "get_session": lambda talk: budget.on.get_session(talk.session.id),
            "update_session": lambda talk: budget.on.update_session(talk.session.id, patch),
        }
    )
    for each in spent:
        each.does_not_grow()


@clause("SC-COST-007")
async def test_conversation_costs_the_same_in_a_long_one(store: StoreFixture) -> None:
    budget = await Budget.of(store)
    query = MessageQuery(order="desc", limit=LAST)
    whole, parts = await budget.spend(
        {
            "get_conversation": lambda talk: budget.on.get_conversation(talk.session.id, query),
            "its parts": lambda talk: conversation_of(budget.on, talk.session.id, query),
        }
    )
    whole.does_not_grow()
    holds(
        "requests of get_conversation",
        whole.short.requests <= parts.short.requests,
        expected=f"at most {parts.short.requests}, as its parts take",
        observed=whole.short.requests,
    )


@clause("SC-COST-008")
async def test_append_costs_the_same_among_many_system_messages(store: StoreFixture) -> None:
    budget = await Budget.of(store)
    spent = await budget.spend(
        {
            "append_messages": lambda talk: append(budget, talk),
            "append_messages of a system message": lambda talk: append(budget, talk, role="system"),
        },
        role="system",
    )
    for each in spent:
        each.does_not_grow()


@clause("SC-COST-009")
async def test_page_of_a_user_costs_the_same_among_many_sessions(store: StoreFixture) -> None:
    budget = await Budget.of(store)
    spent = await budget.spend_among(
        "list_sessions of a user", lambda: budget.on.list_sessions(SessionFilter(user_id="u"), limit=PAGE), user_id="u"
    )
    spent.does_not_grow()


@clause("SC-COST-010")
async def test_finding_what_has_expired_costs_the_same_among_many_sessions(store: StoreFixture) -> None:
    budget = await Budget.of(store)
    now = store.now()
    await store.create_session(expires_at=now + timedelta(hours=1))
    before = now + timedelta(hours=2)
    spent = await budget.spend_among(
        "get_expired_sessions",
        lambda: budget.on.get_expired_sessions(before, limit=PAGE),
        expires_at=now + timedelta(hours=3),
    )
    spent.does_not_grow()
