"""One conversation with four providers in turn: each gets the context in its own format, and its answer is stored as it
is. In place of the providers there are answers of the form that their packages return."""

from typing import Any

from session_continuity import (
    Message,
    SessionManager,
    convert,
    from_anthropic,
    from_bedrock_converse,
    from_gemini,
    from_openai,
)
from session_continuity.formats.conversion import FormatName

CLAUDE, GPT, NOVA, GEMINI = "claude-opus-4-5", "gpt-4o", "amazon.nova-pro-v1:0", "gemini-3-pro-preview"

asked = {"type": "tool_use", "id": "toolu_1", "name": "find_order", "input": {"number": 1042}}
thought = {"type": "thinking", "thinking": "I look it up.", "signature": "c2lnbmF0dXJl"}
found = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "paid twice", "is_error": False}


def request(context: list[Message], format: FormatName, model: str) -> Any:
    """What the provider is sent. Prints its messages and what could not go over."""
    conversion = convert(context, format, model=model)
    sent: Any = conversion.request
    items = sent if isinstance(sent, list) else sent.get("messages") or sent.get("contents")
    print(f"{model}: {[item['role'] for item in items]}")
    for loss in conversion.losses:
        print(f"  without {loss.part} of message {loss.message}: {loss.reason}")
    return sent


with SessionManager.open("memory://", token_budget=8_000) as manager:
    session = manager.create_session()
    manager.add_message(session.id, "user", "Was order 1042 paid twice?")

    request(manager.get_conversation_context(session.id), "anthropic", CLAUDE)
    answer = [{"role": "assistant", "content": [thought, asked]}, {"role": "user", "content": [found]}]
    manager.add_messages(session.id, from_anthropic(answer, model=CLAUDE))
    sent = request(manager.get_conversation_context(session.id), "anthropic", CLAUDE)
    print(f"  its own thinking comes back unchanged: {sent['messages'][1]['content'][0] == thought}")

    request(manager.get_conversation_context(session.id), "openai_chat", GPT)
    manager.add_messages(session.id, from_openai([{"role": "assistant", "content": "Yes, twice."}], model=GPT))

    manager.add_message(session.id, "user", "Give one back, please.")
    request(manager.get_conversation_context(session.id), "bedrock_converse", NOVA)
    answered = {"role": "assistant", "content": [{"text": "It is on its way."}]}
    manager.add_messages(session.id, from_bedrock_converse([answered], model=NOVA))

    manager.add_message(session.id, "user", "Thank you!")
    request(manager.get_conversation_context(session.id), "gemini", GEMINI)
    manager.add_messages(session.id, from_gemini([{"role": "model", "parts": [{"text": "Gladly."}]}], model=GEMINI))
    print([message.content or "…" for message in manager.get_conversation_context(session.id)][-4:])
