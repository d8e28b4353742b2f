"""Two agents, one conversation: the second reads what the first did, and what it was told at the handoff."""

from session_continuity import HandoffError, SessionManager


def front_desk(manager: SessionManager, session_id: str) -> None:
    manager.add_message(session_id, role="user", content="I want my money back for order 1042.")
    manager.add_message(session_id, role="assistant", content="I will ask a colleague who can do that.")
    manager.handoff_to_agent(session_id, "refunds", reason="a refund", context={"order": 1042, "amount": 12.5})


def refunds(manager: SessionManager, session_id: str) -> None:
    session = manager.get_session(session_id)
    handed = session.handoffs[-1]
    assert isinstance(handed.context, dict), "any JSON may be handed over"
    wanted = manager.get_messages(session_id, roles="user")[-1].content
    print(f"{handed.from_agent_id} → {handed.to_agent_id}: {handed.reason} {handed.context}")
    print(f"the customer said: {wanted}")
    manager.add_message(session_id, role="assistant", content=f"Order {handed.context['order']} is refunded.")


with SessionManager.open("memory://") as manager:
    session = manager.create_session(active_agent_id="front-desk", participants=["customer"])
    manager.add_participant(session.id, "supervisor", role="observer")

    front_desk(manager, session.id)
    refunds(manager, session.id)

    try:
        manager.handoff_to_agent(session.id, "refunds")
    except HandoffError as refused:
        print("refused:", "is the active agent" in str(refused))

    print("waiting for refunds:", len(manager.list_sessions(active_agent_id="refunds", status="active")))
    print("present:", ", ".join(participant.id for participant in manager.get_participants(session.id)))
    print("last word:", manager.get_messages(session.id, order="desc", limit=1)[0].content)
