"""The built-in conversation of the demo.

Every run adds one visit of a customer. Each message has a fixed id, so an interrupted visit can be stored again from
its beginning without duplicates.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from session_continuity import NewMessage

__all__ = ["FIRST_AGENT", "SESSION_ID", "TITLE", "HandOver", "Step", "last_id", "visit", "visit_of"]

SESSION_ID = "session-continuity-demo"
TITLE = "Where is order 1042?"

_AGENTS = ("concierge", "logistics")
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday")
_ID = re.compile(r"visit-(\d{4,9})-\d")

FIRST_AGENT = _AGENTS[0]


@dataclass(frozen=True, slots=True)
class HandOver:
    """A handoff to another agent."""

    to: str
    reason: str


Step = Sequence[NewMessage] | HandOver
"""Messages that are stored together, or a handoff."""


def visit(number: int) -> list[Step]:
    """The steps of a visit, counted from 1. It begins with the agent with whom the last one ended."""
    now, then = _AGENTS[(number - 1) % 2], _AGENTS[number % 2]
    return _first_visit(_Script(number), now, then) if number == 1 else _later_visit(_Script(number), now, then)


def last_id(steps: Sequence[Step]) -> str:
    """The id of the last message of a visit."""
    return [message.id or "" for step in steps if not isinstance(step, HandOver) for message in step][-1]


def visit_of(message_id: str) -> int | None:
    """The number of the visit that a message belongs to, or None if the message is not from the script."""
    match = _ID.fullmatch(message_id)
    return None if match is None else int(match[1])


@dataclass
class _Script:
    """Makes the messages of one visit, with numbered ids."""

    number: int
    _written: int = field(default=0, init=False)

    def system(self, text: str) -> NewMessage:
        return self._message("system", text)

    def user(self, text: str) -> NewMessage:
        return self._message("user", text)

    def agent(self, name: str, text: str, **more: Any) -> NewMessage:
        return self._message("assistant", text, annotations={"openai": {"name": name}}, **more)

    def tool(self, agent: str, name: str, arguments: dict[str, Any], answer: dict[str, Any]) -> list[NewMessage]:
        """An agent's call of a tool, and the tool's answer."""
        call_id = f"{name}-{self.number}"
        call = {"id": call_id, "name": name, "arguments": json.dumps(arguments)}
        text = json.dumps(answer)
        result = {"tool_call_id": call_id, "name": name, "result": text}
        return [self.agent(agent, "", tool_calls=[call]), self._message("tool", text, tool_results=[result])]

    def _message(self, role: str, text: str, **metadata: Any) -> NewMessage:
        self._written += 1
        fields = {"role": role, "content": text, "metadata": metadata}
        return NewMessage.model_validate({**fields, "id": f"visit-{self.number:04}-{self._written}"})


def _first_visit(say: _Script, now: str, then: str) -> list[Step]:
    return [
        [say.system("You help the customers of a bookshop. Be brief, and look things up before you answer.")],
        [say.user("My order 1042 has not arrived. Can you find it?")],
        [
            *say.tool(now, "find_order", {"order": 1042}, {"place": "Lyon", "due": "Friday"}),
            say.agent(now, "It left Lyon this morning and is due on Friday."),
        ],
        [say.user("I am away on Friday. Can it come later?")],
        HandOver(then, "another delivery day for order 1042"),
        [say.agent(then, f"This is {then}; I have read it all. Which day suits you?")],
    ]


def _later_visit(say: _Script, now: str, then: str) -> list[Step]:
    day = _DAYS[(say.number - 2) % len(_DAYS)]
    return [
        [say.user(f"Here I am again. {day} would be best.")],
        [
            *say.tool(now, "move_delivery", {"order": 1042, "day": day}, {"moved": True, "day": day}),
            say.agent(now, f"Done: your order comes on {day}."),
        ],
        HandOver(then, f"the delivery is moved to {day}"),
        [say.agent(then, f"This is {then}. Is there anything else?")],
    ]
