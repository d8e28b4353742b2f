"""What a context must be, written the simplest way, and conversations with every damage that was reported."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from session_continuity import Message
from session_continuity.blocks.reader import calls_of, results_of

from ..kit.conversations import said, system

IDS = ("a", "b", "c")


def is_question(message: Message) -> bool:
    """Whether the message begins a turn."""
    return message.role == "user" and not results_of(message)


def problems(messages: Sequence[Message]) -> Iterator[str]:
    """Why a provider would refuse these messages: calls and results that do not belong together, or no beginning."""
    spoken = [message for message in messages if message.role != "system"]
    if any(map(is_question, spoken)) and not is_question(spoken[0]):
        yield "it does not begin with a question"
    waiting: list[str] = []
    used: set[str] = set()
    for message in messages:
        results = [result.call_id for result in results_of(message)]
        calls = [call.id for call in calls_of(message)]
        own = set(calls).intersection(results)
        for result in (result for result in results if result not in own):
            if result in waiting:
                waiting.remove(result)
            else:
                yield f"result {result} has no call before it"
        if waiting and not results:
            yield f"{message.role} stands between a call and the results {waiting}"
        if len(set(calls)) < len(calls) or not used.isdisjoint(calls):
            yield "an id of a call is used twice"
        used.update(calls)
        waiting += [call for call in calls if call not in own]
    if waiting:
        yield f"calls without a result: {waiting}"


def last_turn(messages: Sequence[Message]) -> list[Message]:
    """The user's last message and what comes after it; everything if the user said nothing."""
    start = max((place for place, message in enumerate(messages) if is_question(message)), default=0)
    return list(messages[start:])


def tool_use(call: str, arguments: Any = None) -> dict[str, Any]:
    """A call as a block of Anthropic's."""
    return {"type": "tool_use", "id": call, "name": "f", "input": {} if arguments is None else arguments}


def tool_result(call: str) -> dict[str, Any]:
    """A result as a block of Anthropic's."""
    return {"type": "tool_result", "tool_use_id": call, "content": "r"}


BLOCKS: Mapping[str, tuple[Callable[[str], dict[str, Any]], Callable[[str], dict[str, Any]], str]] = {
    "Anthropic": (tool_use, tool_result, "user"),
    "Responses": (
        lambda call: {"type": "function_call", "call_id": call, "name": "f", "arguments": "{}"},
        lambda call: {"type": "function_call_output", "call_id": call, "output": "r"},
        "tool",
    ),
    "Converse": (
        lambda call: {"type": "bedrock:toolUse", "toolUse": {"toolUseId": call, "name": "f", "input": {}}},
        lambda call: {"type": "bedrock:toolResult", "toolResult": {"toolUseId": call, "content": [{"text": "r"}]}},
        "user",
    ),
    "Gemini": (
        lambda call: {"type": "gemini:function_call", "function_call": {"id": call, "name": "f", "args": {}}},
        lambda call: {
            "type": "gemini:function_response",
            "function_response": {"id": call, "name": "f", "response": {"output": "r"}},
        },
        "user",
    ),
}
"""Of each provider a call of this id as a block, its result as a block, and whose message has the result."""


def in_blocks(role: str, blocks: list[dict[str, Any]], tokens: int) -> dict[str, Any]:
    """A message of these blocks."""
    return {"role": role, "content": blocks, "token_count": tokens}


_text = {"type": "text", "text": "words"}
_ids = st.lists(st.sampled_from(IDS), max_size=2)
_tokens = st.integers(1, 9)
_words = st.builds(said, st.just("words"), tokens=_tokens)
_answers = st.builds(said, st.just("answer"), role=st.just("assistant"), tokens=_tokens)
_calls = st.builds(said, st.sampled_from(["", "call"]), role=st.just("assistant"), calls=_ids, tokens=_tokens)
_results = st.builds(said, st.just("result"), role=st.just("tool"), results=_ids, tokens=_tokens)
_both = st.builds(said, st.just("both"), role=st.just("assistant"), calls=_ids, results=_ids, tokens=_tokens)
_forms = st.sampled_from(list(BLOCKS))
_call_blocks = st.builds(
    lambda form, ids, tokens: in_blocks("assistant", [_text, *map(BLOCKS[form][0], ids)], tokens), _forms, _ids, _tokens
)
_result_blocks = st.builds(
    lambda form, ids, words, tokens: in_blocks(BLOCKS[form][2], [*map(BLOCKS[form][1], ids), *words], tokens),
    _forms,
    _ids,
    st.sampled_from([[], [_text]]),
    _tokens,
)
_systems = st.builds(system, st.sampled_from(["rule", "other rule"]), tokens=st.integers(0, 3))

conversations = st.lists(
    st.one_of(_words, _answers, _calls, _results, _both, _call_blocks, _result_blocks, _systems), max_size=25
)
"""Any conversation: calls without results, results without calls, ids used again, pairs in metadata and in the
blocks of every provider."""


def repeated(turn: Sequence[dict[str, Any]], times: int) -> list[dict[str, Any]]:
    """The same turn so many times, for conversations of some length."""
    return [dict(message) for _ in range(times) for message in turn]
