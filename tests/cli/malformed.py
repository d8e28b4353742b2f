"""Malformed transcripts, and the beginning of each error message."""

from __future__ import annotations

import json

USER = {"role": "user", "content": "What is in this picture?"}
ONE = json.dumps(USER)

MALFORMED: dict[str, tuple[str | bytes, str]] = {
    "empty": (" \n\n", "it is empty"),
    "no messages": ("[]", "it has no messages"),
    "a number": ("3", "it must be a list of messages, an object with 'messages', or a message per line"),
    "messages no list": ('{"messages": {}}', "'messages' must be a list"),
    "array without a comma": (f"[{ONE},\n {ONE}\n {ONE}]", "line 3 column 2 is not JSON: Expecting ',' delimiter"),
    "array cut off": (f'[{ONE},\n {{"role": "us', "line 2 column 11 is not JSON: Unterminated string starting at"),
    "line cut off": (f'{ONE}\n{{"role": "us\n{ONE}', "line 2 column 10 is not JSON: Unterminated string starting at"),
    "first line cut off": (f'{{"role": "user", "content":\n{ONE}', "line 1 column 28 is not JSON: Expecting value"),
    "line that is not JSON": (f"{ONE}\n\noops\n", "line 3 column 1 is not JSON: Expecting value"),
    "line that is not a message": (f"{ONE}\n[]", "line 2: a message must be an object, not a list"),
    "several conversations": ('{"messages": []}\n{"messages": []}', "it has several conversations"),
    "not UTF-8": (
        ONE.encode() + b'\n{"role": "user", "content": "\xff"}',
        "line 2 is not UTF-8; save the file as UTF-8",
    ),
    "UTF-16": (json.dumps([USER]).encode("utf-16"), "line 1 is not UTF-8; save the file as UTF-8"),
    "unknown role": (f'{ONE}\n{{"role": "bot", "content": ""}}', "line 2: 'role': 'bot' is called 'assistant' here"),
    "no content": (f'[{ONE}, {{"role": "user"}}]', "message 2: 'content' must be a string or a list of blocks"),
    "broken block": (
        '[{"role": "user", "content": [{"type": "text"}]}]',
        "message 1: content block 1 must have a",
    ),
    "tool without call": (
        '{"messages": [{"role": "tool", "content": ""}]}',
        "message 1: a tool message must have a",
    ),
    "lone surrogate": (f'{ONE}\n{{"role": "user", "content": "\\ud83d"}}', "line 2: content: has a lone surrogate"),
    "not a number": (f'[{ONE}, {{"role": "user", "content": "", "p": NaN}}]', "message 2: p: must be a finite number"),
    "too large a number": (
        f'{ONE}\n{{"role": "user", "content": "", "p": 1e999}}',
        "line 2: p: must be a finite number",
    ),
    "too long a number": (f'[{{"role": "user", "p": {"9" * 5000}}}]', "line 1 has a number with too many digits"),
    "infinity beside": (f'{{"messages": [{ONE}], "seed": Infinity}}', "outside of the messages: must be"),
    "too deep": (
        f'[{{"role": "user", "content": "", "p": {"[" * 150}{"]" * 150}}}]',
        "message 1: must not be nested more than 100",
    ),
    "far too deep": ("[" * 200_000, "line 1 is nested too deeply"),
}

TEN = (
    "empty",
    "array cut off",
    "line cut off",
    "line that is not JSON",
    "several conversations",
    "not UTF-8",
    "unknown role",
    "broken block",
    "tool without call",
    "not a number",
)
"""One of each kind."""
