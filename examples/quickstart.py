"""A conversation, stored and read back. Put any store's URL in place of memory://, for example sqlite:///chat.db."""

from session_continuity import SessionManager

with SessionManager.open("memory://") as manager:
    session = manager.create_session(user_id="ada", metadata={"title": "Two charges", "tags": ["billing"]})
    manager.add_message(session.id, role="system", content="You answer questions about invoices.")
    manager.add_message(session.id, role="user", content="Why was I charged twice?")

    # One turn of several messages is stored whole or not at all.
    manager.add_messages(
        session.id,
        [
            {
                "role": "assistant",
                "content": "",
                "metadata": {"tool_calls": [{"id": "call-1", "name": "find_charges", "arguments": {"user": "ada"}}]},
            },
            {
                "role": "tool",
                "content": "2 charges of 12 EUR, 1 refunded",
                "metadata": {"tool_results": [{"tool_call_id": "call-1", "result": {"charges": 2, "refunded": 1}}]},
            },
            {"role": "assistant", "content": "One of the two was refunded yesterday."},
        ],
    )

    for message in manager.iter_messages(session.id):
        print(f"{message.role:<10}{message.content or message.metadata.tool_calls[0].name}")

    session = manager.get_session(session.id)
    print(f"{session.message_count} messages, {session.token_count} tokens, version {session.version}")
    print("sessions of ada:", [found.metadata.title for found in manager.list_sessions(user_id="ada", tags="billing")])
