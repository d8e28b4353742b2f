"""The loop of an agent on a model's API in the OpenAI chat format: the context goes out, the answer comes in, and a
tool call is stored in one turn with its results, so that no crash leaves it dangling."""

import json
from typing import Any

from session_continuity import SessionManager, TokenBudget, from_openai, to_openai

TOOLS = {"weather": lambda city: f"18 degrees in {city}"}


def model(chat: list[dict[str, Any]]) -> dict[str, Any]:
    """In place of `client.chat.completions.create(messages=chat, …).choices[0].message.model_dump()`."""
    last = chat[-1]
    if last["role"] == "tool":
        return {"role": "assistant", "content": f"It is {last['content']}."}
    city = last["content"].rstrip("?").split()[-1]
    function = {"name": "weather", "arguments": json.dumps({"city": city})}
    return {"role": "assistant", "content": None, "tool_calls": [{"id": f"call-{city}", "function": function}]}


def run(call: dict[str, Any]) -> dict[str, Any]:
    """The result of a tool call, as the model wants it."""
    function = call["function"]
    result = TOOLS[function["name"]](**json.loads(function["arguments"]))
    return {"role": "tool", "tool_call_id": call["id"], "content": result}


def answer(manager: SessionManager, session_id: str, question: str) -> str:
    manager.add_message(session_id, role="user", content=question)
    while True:
        said = model(to_openai(manager.get_conversation_context(session_id)))
        results = [run(call) for call in said.get("tool_calls", [])]
        manager.add_messages(session_id, from_openai([said, *results]))
        if not results:
            return str(said["content"])


with SessionManager.open("memory://", token_budget=TokenBudget(max_tokens=2000)) as manager:
    session = manager.create_session(user_id="ada")
    manager.add_message(session.id, role="system", content="You know the weather.")
    for city in ("Paris", "Oslo"):
        print(answer(manager, session.id, f"How is it in {city}?"))
    print([message["role"] for message in to_openai(manager.get_conversation_context(session.id))])
