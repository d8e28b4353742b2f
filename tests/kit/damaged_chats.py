"""Long conversations of an agent that calls tools, in which calls and results need every kind of repair."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count, islice
from typing import Any, Literal

from session_continuity import ContextRules, CountingRule, Message as StoredMessage, NewMessage, estimate_tokens
from session_continuity.context.counting import MessageCounter
from session_continuity.context.system import SystemMessages
from session_continuity.context.window import Selection, Window

from .conversations import Speaker

__all__ = ["Form", "damaged_chat", "plan", "stored"]

Form = Literal["typed", "blocks"]
Message = dict[str, Any]


def damaged_chat(messages: int, form: Form) -> list[Message]:
    """So many messages, oldest first, in turns of four or five: a question, two calls, their results, an answer.

    Calls and results lie in the metadata (`typed`), or as Anthropic's blocks in the content. Of the turns, every fifth
    lost a result, every sixth got one twice, every seventh uses the id of an earlier call, and in every tenth the
    arguments are cut off.
    """
    turns = (message for number in count(1) for message in _TURNS[form](number))
    return list(islice(turns, messages))


def _typed_turn(number: int) -> list[Message]:
    ids = _ids(number)
    written = '{"order": 1042, "deep": [1, 2' + ("" if number % 10 == 0 else "]}")
    calls = [{"id": id, "name": "look_up", "arguments": written} for id in ids]
    results = [
        {"tool_call_id": id, "result": value} for id, value in zip(ids, ({"rows": [1, 2, 3]}, _ROWS), strict=True)
    ]
    answers = [{"role": "tool", "content": "", "metadata": {"tool_results": [result]}} for result in results]
    return _turn(number, {"role": "assistant", "content": "", "metadata": {"tool_calls": calls}}, answers, _ANSWER)


def _turn_in_blocks(number: int) -> list[Message]:
    ids = _ids(number)
    written: Any = "cut off" if number % 10 == 0 else {"order": 1042}
    calls = [{"type": "tool_use", "id": id, "name": "look_up", "input": written} for id in ids]
    answers = [
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": id, "content": _ROWS}]} for id in ids
    ]
    words = {"type": "text", "text": "I will look it up."}
    asked = {"role": "assistant", "content": [words, *calls]}
    return _turn(number, asked, answers, [{"type": "text", "text": _ANSWER}])


_TURNS: Mapping[Form, Callable[[int], list[Message]]] = {"typed": _typed_turn, "blocks": _turn_in_blocks}
_ROWS = "some words of a result " * 5
_ANSWER = "It is on its way. " * 6


def _ids(number: int) -> tuple[str, str]:
    return f"call_{number}a", "call_same" if number % 7 == 0 else f"call_{number}b"


def _turn(number: int, asked: Message, answers: list[Message], answer: Any) -> list[Message]:
    if number % 5 == 0:
        answers = answers[:1]
    if number % 6 == 0:
        answers = [*answers, answers[-1]]
    question = {"role": "user", "content": f"What about order {number}, please? " * 4}
    return [question, asked, *answers, {"role": "assistant", "content": answer}]


COUNTER = MessageCounter(CountingRule(text=estimate_tokens))
MORE_THAN_ENOUGH = 10**9


def stored(form: Form, length: int) -> list[StoredMessage]:
    """A damaged conversation as a store returns it, newest first, with the tokens counted."""
    speaker = Speaker()
    chat = (NewMessage.model_validate(message) for message in damaged_chat(length, form))
    said = [
        speaker.says(new.content, role=new.role, metadata=new.metadata, token_count=COUNTER.count(new)) for new in chat
    ]
    return said[::-1]


def plan(messages: list[StoredMessage]) -> Selection:
    """What a context shows of these messages, which all fit."""
    shown = SystemMessages((), "once", COUNTER).is_shown
    window = Window(MORE_THAN_ENOUGH, ContextRules(), COUNTER, shown)
    for message in messages:
        window.offer(message)
    return window.select(is_whole=True)
