"""Transcripts that are none, and how what is said of each begins."""

from __future__ import annotations

import json

USER = {"role": "user", "content": "What is in this picture?"}
ONE = json.dumps(USER)

MALFORMED: dict[str, tuple[str | bytes, str]] = {
    "empty": (" \n\n", "it is empty"),
    "no messages": ("[]", "no messages in it"),
    "a number": ("3", "a transcript is a list of messages, an object with 'messages', or one message a line"),
    "messages no list": ('{"messages": {}}', "'messages' is not a list"),
    "array without a comma": (f"[{ONE},\n {ONE}\n {ONE}]", "line 3 column 2: not JSON: Expecting ',' delimiter"),
    "array cut off": (f'[{ONE},\n {{"role": "us', "line 2 column 11: not JSON: Unterminated string starting at"),
    "line cut off": (f'{ONE}\n{{"role": "us\n{ONE}', "line 2 column 10: not JSON: Unterminated string starting at"),
    "first line cut off": (f'{{"role": "user", "content":\n{ONE}', "line 1 column 28: not JSON: Expecting value"),
    "line that is no JSON": (f"{ONE}\n\noops\n", "line 3 column 1: not JSON: Expecting value"),
    "line that is no message": (f"{ONE}\n[]", "line 2: a message is a JSON object, not a list"),
    "several conversations": ('{"messages": []}\n{"messages": []}', "several conversations in one file"),
    "not UTF-8": (ONE.encode() + b'\n{"role": "user", "content": "\xff"}', "line 2: not UTF-8; save it as UTF-8"),
    "UTF-16": (json.dumps([USER]).encode("utf-16"), "line 1: not UTF-8; save it as UTF-8"),
    "unknown role": (f'{ONE}\n{{"role": "bot", "content": ""}}', "line 2: 'role' is one of"),
    "no content": (f'[{ONE}, {{"role": "user"}}]', "message 2: 'content' is a text or a list of blocks, not null"),
    "broken block": ('[{"role": "user", "content": [{"type": "text"}]}]', "message 1: content block 1 needs 'text'"),
    "tool without call": ('{"messages": [{"role": "tool", "content": ""}]}', "message 1: a tool message needs 'tool_c"),
    "lone surrogate": (f'{ONE}\n{{"role": "user", "content": "\\ud83d"}}', "line 2: content: text must be encodable"),
    "not a number": (f'[{ONE}, {{"role": "user", "content": "", "p": NaN}}]', "message 2: a number that is not finite"),
    "too large a number": (
        f'{ONE}\n{{"role": "user", "content": "", "p": 1e999}}',
        "line 2: a number that is not fini",
    ),
    "too long a number": (f'[{{"role": "user", "p": {"9" * 5000}}}]', "line 1: a number of more digits than can be re"),
    "infinity beside": (f'{{"messages": [{ONE}], "seed": Infinity}}', "beside the messages: a number that is not fi"),
    "too deep": (
        f'[{{"role": "user", "content": "", "p": {"[" * 150}{"]" * 150}}}]',
        "message 1: nested more than 100",
    ),
    "far too deep": ("[" * 200_000, "line 1: nested too deeply"),
}

TEN = (
    "empty",
    "array cut off",
    "line cut off",
    "line that is no JSON",
    "several conversations",
    "not UTF-8",
    "unknown role",
    "broken block",
    "tool without call",
    "not a number",
)
"""One of each kind."""
