"""What the formats take as it comes, what they refuse by name, and what they leave out for whom."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from session_continuity import (
    ChatFormatError,
    Loss,
    NewMessage,
    ToolCall,
    ValidationError,
    convert,
    from_anthropic,
    from_bedrock_converse,
    from_gemini,
    from_openai,
    from_openai_responses,
    from_ui_messages,
    recognize,
    to_anthropic,
    to_bedrock_converse,
    to_gemini,
    to_openai,
    to_openai_responses,
)

CHAT_CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
CHAT = [{"role": "assistant", "content": None, "tool_calls": [CHAT_CALL]}]
ANTHROPIC = [{"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "look", "input": {}}]}]
RESPONSES = [{"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"}]
CONVERSE = [{"role": "assistant", "content": [{"toolUse": {"toolUseId": "c1", "name": "look", "input": {}}}]}]
GEMINI = [{"role": "model", "parts": [{"function_call": {"name": "look", "args": {}}}]}]
UI = [
    {"id": "m", "role": "assistant", "parts": [{"type": "tool-look", "toolCallId": "c1", "state": "input-available"}]}
]
UI_V4 = [{"role": "assistant", "content": "", "toolInvocations": [{"state": "call", "toolCallId": "c1"}]}]
SHAREGPT = [{"from": "human", "value": "hi"}]
LANGCHAIN = [{"type": "human", "data": {"content": "hi"}}]

READERS = {
    "openai_chat": (from_openai, CHAT),
    "anthropic": (from_anthropic, ANTHROPIC),
    "openai_responses": (from_openai_responses, RESPONSES),
    "bedrock_converse": (from_bedrock_converse, CONVERSE),
    "gemini": (from_gemini, GEMINI),
    "ui_messages": (from_ui_messages, UI),
}
OTHERS = {"ui_messages_v4": UI_V4, "sharegpt": SHAREGPT, "langchain": LANGCHAIN}
NAMES = {
    "openai_chat": "an OpenAI chat, which from_openai reads",
    "anthropic": "Anthropic messages, which from_anthropic reads",
    "openai_responses": "items of OpenAI Responses, which from_openai_responses reads",
    "bedrock_converse": "messages of Bedrock Converse, which from_bedrock_converse reads",
    "gemini": "Gemini contents, which from_gemini reads",
    "ui_messages": "UI messages of the Vercel AI SDK 5, which from_ui_messages reads",
    "ui_messages_v4": "UI messages of the Vercel AI SDK 4",
    "sharegpt": "a ShareGPT conversation",
    "langchain": "dumped messages of LangChain",
}
CHATS: dict[str, list[Any]] = {**{name: chat for name, (_, chat) in READERS.items()}, **OTHERS}


@pytest.mark.parametrize("format", READERS)
@pytest.mark.parametrize("seems", CHATS)
def test_a_chat_of_another_format_is_refused_by_the_name_of_that_format(format: str, seems: str) -> None:
    reader = READERS[format][0]
    if format == seems:
        assert len(reader(CHATS[seems])) == 1
        return
    with pytest.raises(ChatFormatError) as refused:
        reader(CHATS[seems])
    assert refused.value.number == 1
    assert str(refused.value).endswith(f"; this seems to be {NAMES[seems]}")
    assert recognize(CHATS[seems]) == seems


@pytest.mark.parametrize(
    "block",
    [
        {"type": "tool_result", "tool_use_id": "c", "content": "ok"},
        {"type": "image", "source": {"type": "url", "url": "https://x"}},
        {"type": "input_text", "text": "hi"},
    ],
)
def test_a_block_of_another_format_in_a_chat_is_refused(block: dict[str, Any]) -> None:
    with pytest.raises(ChatFormatError, match=f"message 1: content block 1 has the type '{block['type']}'; this seems"):
        from_openai([{"role": "user", "content": [block]}])


def called(*messages: Any) -> list[tuple[str, str]]:
    calls = [("call", call.id) for message in messages for call in message.metadata.tool_calls]
    return calls + [("result", result.tool_call_id) for message in messages for result in message.metadata.tool_results]


def test_a_chats_answer_is_taken_as_it_comes() -> None:
    [only_reasoning] = from_openai(
        [{"role": "assistant", "content": None, "reasoning_content": "hm", "tool_calls": []}]
    )
    assert only_reasoning.content == ""
    assert to_openai([only_reasoning]) == [{"role": "assistant", "content": "", "reasoning_content": "hm"}]
    [no_arguments] = from_openai(
        [{"role": "assistant", "tool_calls": [{**CHAT_CALL, "function": {"name": "look", "arguments": None}}]}]
    )
    assert no_arguments.metadata.tool_calls == [ToolCall(id="c1", name="look")]
    nothing = {"role": "tool", "tool_call_id": "c1", "content": None}
    assert to_openai(from_openai([nothing])) == [{**nothing, "content": ""}]
    long_id = "x" * 4096
    [message] = from_openai([{"role": "assistant", "tool_calls": [{**CHAT_CALL, "id": long_id}]}])
    assert called(message) == [("call", long_id)]


@pytest.mark.parametrize("missing", [{}, {"id": ""}, {"id": None}])
def test_a_call_without_an_id_gets_one_that_its_answer_finds(missing: dict[str, Any]) -> None:
    call = {"type": "function", "function": {"name": "look", "arguments": "{}"}, **missing}
    answer = {"role": "tool", "content": "a cat"}
    messages = from_openai([{"role": "assistant", "content": None, "tool_calls": [call, call]}, answer, answer])
    (_, first), (_, second), *answered = called(*messages)
    assert first != second
    assert answered == [("result", first), ("result", second)]
    chat = to_openai(messages)
    assert [call["id"] for call in chat[0]["tool_calls"]] == [first, second]
    assert [message["tool_call_id"] for message in chat[1:]] == [first, second]


def test_two_calls_with_one_id_keep_their_further_keys_apart() -> None:
    calls = [{**CHAT_CALL, "index": 0}, CHAT_CALL, {**CHAT_CALL, "index": 2}]
    chat = [{"role": "assistant", "content": None, "tool_calls": calls}]
    assert to_openai(from_openai(chat)) == chat
    uses = [{**ANTHROPIC[0]["content"][0], "cache_control": {"type": "ephemeral"}}, ANTHROPIC[0]["content"][0]]
    for listed in (uses, uses[::-1]):
        native = [{"role": "assistant", "content": listed}]
        assert to_anthropic(from_anthropic(native))["messages"] == native


THINKING = {"type": "thinking", "thinking": "hm", "signature": "S"}
REASONING = {"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "E"}
SAID = {"type": "message", "id": "msg", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]}
BEDROCK_REASONING = {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "S"}}}


def test_reasoning_is_sent_to_the_model_that_wrote_it_only() -> None:
    claude = from_anthropic(
        [{"role": "assistant", "model": "a", "content": [THINKING, {"type": "text", "text": "hi"}]}]
    )
    assert to_anthropic(claude, model="a")["messages"][0]["content"][0] == THINKING
    assert to_anthropic(claude)["messages"][0]["content"][0] == THINKING
    other = convert(claude, "anthropic", model="b")
    assert other.request == {"messages": [{"role": "assistant", "content": [{"type": "text", "text": "hi"}]}]}
    assert other.losses == [Loss(1, "thinking", "other model")]

    items = from_openai_responses([REASONING, SAID], model="a")
    assert to_openai_responses(items, model="a")["input"] == [REASONING, SAID]
    without_id = {key: value for key, value in SAID.items() if key != "id"}
    assert to_openai_responses(items, model="b")["input"] == [without_id]

    nova = from_bedrock_converse([{"role": "assistant", "content": [BEDROCK_REASONING, {"text": "hi"}]}], model="a")
    assert to_bedrock_converse(nova, model="b")["messages"][0]["content"] == [{"text": "hi"}]

    signed = {"function_call": {"name": "look", "args": {}}, "thought_signature": "U0lH"}
    gemini = from_gemini([{"role": "model", "parts": [signed]}], model="a")
    assert to_gemini(gemini, model="a")["contents"][0]["parts"] == [signed]
    assert to_gemini(gemini, model="b")["contents"][0]["parts"] == [{"function_call": {"name": "look", "args": {}}}]

    chat = [{"role": "assistant", "content": "hi", "reasoning_details": [{"type": "reasoning.encrypted", "data": "E"}]}]
    assert to_openai(from_openai(chat, model="a"), model="a") == chat
    assert to_openai(from_openai(chat, model="a"), model="b") == [{"role": "assistant", "content": "hi"}]


def test_reasoning_that_nothing_follows_is_left_out() -> None:
    conversion = convert(from_openai_responses([{"role": "user", "content": "hi"}, REASONING]), "openai_responses")
    assert conversion.request == {"input": [{"role": "user", "content": "hi"}]}
    assert conversion.losses == [Loss(2, "reasoning", "incomplete"), Loss(2, "message", "empty")]


def test_ids_of_calls_get_the_form_that_the_provider_takes_on_both_sides() -> None:
    id = "call_1|fc_2" + "x" * 300
    call = {"id": id, "type": "function", "function": {"name": "look", "arguments": "{}"}}
    messages = from_openai(
        [{"role": "assistant", "tool_calls": [call]}, {"role": "tool", "content": "", "tool_call_id": id}]
    )
    asked, answered = to_anthropic(messages)["messages"]
    assert asked["content"][0]["id"] == answered["content"][0]["tool_use_id"] != id
    asked, answered = to_bedrock_converse(messages)["messages"]
    assert asked["content"][0]["toolUse"]["toolUseId"] == answered["content"][0]["toolResult"]["toolUseId"] != id
    asked, answered = to_openai_responses(messages)["input"]
    assert asked["call_id"] == answered["call_id"] != id
    assert to_openai(messages)[1]["tool_call_id"] == id


def test_blocks_that_an_application_stored_by_hand_are_calls_and_results_elsewhere() -> None:
    messages = [
        NewMessage(role="user", content="look"),
        NewMessage(role="assistant", content=ANTHROPIC[0]["content"]),
        NewMessage(role="user", content=[{"type": "tool_result", "tool_use_id": "c1", "content": "a cat"}]),
    ]
    assert to_openai(messages)[1:] == [
        {"role": "assistant", "content": "", "tool_calls": [CHAT_CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "a cat"},
    ]
    assert to_bedrock_converse(messages)["messages"][1:] == [
        *CONVERSE,
        {"role": "user", "content": [{"toolResult": {"toolUseId": "c1", "content": [{"text": "a cat"}]}}]},
    ]


def test_results_that_a_tool_gave_as_json_are_words_for_a_model() -> None:
    metadata = {"tool_results": [{"tool_call_id": "c1", "result": {"cats": 2}, "is_error": True}]}
    messages = [*from_openai(CHAT), NewMessage(role="tool", content="", metadata=metadata)]
    answer = to_anthropic(messages)["messages"][1]["content"][0]
    assert answer == {"type": "tool_result", "tool_use_id": "c1", "content": '{"cats":2}', "is_error": True}
    answer = to_gemini(messages)["contents"][1]["parts"][0]["function_response"]
    assert answer == {"name": "look", "id": "c1", "response": {"error": {"cats": 2}}}


def test_system_prompts_come_back_at_the_top_and_in_the_middle() -> None:
    middle = {"role": "system", "content": "In German now."}
    request = {"system": "Be brief.", "messages": [{"role": "user", "content": "hi"}, middle]}
    assert to_anthropic(from_anthropic(**request)) == request
    several = [NewMessage(role="system", content="One."), NewMessage(role="system", content="Two.")]
    assert to_anthropic(several)["system"] == [{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}]
    assert to_gemini(several)["system_instruction"] == {"parts": [{"text": "One."}, {"text": "Two."}]}
    assert to_bedrock_converse(several)["system"] == [{"text": "One."}, {"text": "Two."}]


def test_a_late_answer_moves_behind_its_call_in_every_format() -> None:
    hurry = {"role": "user", "content": "Are you there?"}
    messages = from_openai([*CHAT, hurry, {"role": "tool", "content": "a cat", "tool_call_id": "c1"}])
    assert [message["role"] for message in to_openai(messages)] == ["assistant", "tool", "user"]
    assert to_anthropic(messages)["messages"][1]["content"][0]["type"] == "tool_result"
    assert [item.get("type") for item in to_openai_responses(messages)["input"]][1] == "function_call_output"


def test_gemini_finds_the_calls_of_answers_among_stored_messages() -> None:
    [asked] = from_gemini(GEMINI)
    answer = {"role": "user", "parts": [{"functionResponse": {"name": "look", "response": {"output": "a cat"}}}]}
    [answered] = from_gemini([answer], previous=[asked])
    assert called(asked, answered)[0][1] == called(asked, answered)[1][1]
    assert to_gemini([asked, answered])["contents"] == [*GEMINI, answer]


def test_a_response_is_read_with_its_model() -> None:
    response = {"object": "response", "model": "a", "output": [REASONING, SAID]}
    [message] = from_openai_responses([response])
    assert message.metadata.annotations["openai_responses"]["model"] == "a"  # type: ignore[call-overload,index]
    assert from_openai_responses("hi") == [NewMessage(role="user", content="hi")]


class Block(BaseModel):
    type: str = "text"
    text: str = "hi"
    citations: list[str] | None = None


class Answer(BaseModel):
    id: str = "msg_1"
    role: str = "assistant"
    content: list[Block] = [Block()]
    usage: dict[str, int] = {"input_tokens": 3}


def test_objects_of_a_client_library_are_read() -> None:
    [message] = from_anthropic([Answer()])
    assert message == NewMessage(role="assistant", content=[{"type": "text", "text": "hi"}])


@pytest.mark.parametrize(
    ("reader", "chat", "reason"),
    [
        (from_anthropic, [3], "message 1: a message must be an object, not a number"),
        (from_anthropic, [{"role": "user"}], "message 1: 'content' must be a list, not null or missing"),
        (
            from_anthropic,
            [{"role": "user", "content": [{"text": "x"}]}],
            "message 1: content block 1 must have a string",
        ),
        (
            from_anthropic,
            [{"role": "assistant", "content": [{"type": "tool_use"}]}],
            "message 1: content block 1, a tool_",
        ),
        (from_openai_responses, [{}], "item 1: an item must have a string as its 'type' or 'role'"),
        (
            from_openai_responses,
            [{"role": "user", "content": 3}],
            "item 1: 'content' must be a string or a list of parts",
        ),
        (from_openai_responses, [{"type": "function_call_output", "call_id": "c"}], "item 1: 'output' must be"),
        (
            from_openai_responses,
            [{"type": "function_call", "call_id": "c"}],
            "item 1: a function_call must have a string",
        ),
        (from_bedrock_converse, [{"role": "user", "content": [{}]}], "message 1: content block 1 must have one key"),
        (
            from_bedrock_converse,
            [{"role": "user", "content": "hi"}],
            "message 1: 'content' must be a list, not a string",
        ),
        (
            from_bedrock_converse,
            [{"role": "user", "content": [{"toolResult": {"toolUseId": "c"}}]}],
            "message 1: 'content'",
        ),
        (from_gemini, [{"role": "bot", "parts": []}], "content 1: 'role': must be one of user, model"),
        (from_gemini, [{"role": "user", "parts": [{"text": 3}]}], "content 1: part 1 must have a string as its 'text'"),
        (from_gemini, [{"parts": [{"function_call": {}}]}], "content 1: 'function_call' of part 1 must have a string"),
        (from_ui_messages, [{"role": "user", "parts": [{}]}], "message 1: part 1 must have a string as its 'type'"),
        (
            from_ui_messages,
            [{"role": "user", "parts": [{"type": "tool-x"}]}],
            "message 1: part 1 must have a string as its",
        ),
        (from_anthropic, [{"role": "user", "content": "\ud800"}], "message 1: content: has a lone surrogate"),
    ],
)
def test_an_error_names_the_message_and_the_field(reader: Any, chat: list[Any], reason: str) -> None:
    with pytest.raises(ChatFormatError) as refused:
        reader(chat)
    assert str(refused.value).startswith(reason)


@pytest.mark.parametrize("reader", [reader for reader, _ in READERS.values()])
def test_a_chat_is_a_list(reader: Any) -> None:
    with pytest.raises(ValidationError, match="the chat must be a list"):
        reader({"role": "user"})


def test_a_format_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValidationError, match="to: must be one of openai_chat, openai_responses"):
        convert([], "cohere")  # type: ignore[arg-type]


@pytest.mark.parametrize("read", [from_openai, from_openai_responses, from_anthropic])
def test_an_id_that_is_too_long_is_refused_in_plain_words(read: Any) -> None:
    id = "x" * 5000
    items: dict[Any, list[dict[str, Any]]] = {
        from_openai: [{"role": "tool", "tool_call_id": id, "content": [{"type": "text", "text": "r"}]}],
        from_openai_responses: [{"type": "function_call_output", "call_id": id, "output": "r"}],
        from_anthropic: [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": id, "content": "r"}]}],
    }
    with pytest.raises(ChatFormatError) as caught:
        read(items[read])
    assert "must be 1 to 4096 bytes of UTF-8, not 5000" in str(caught.value)
    assert "validation error" not in str(caught.value)
