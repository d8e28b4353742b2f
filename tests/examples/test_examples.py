"""Every program in examples/ runs, says what it should, and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

SAID = {
    "quickstart": """
        system    You answer questions about invoices.
        user      Why was I charged twice?
        assistant find_charges
        tool      2 charges of 12 EUR, 1 refunded
        assistant One of the two was refunded yesterday.
        5 messages, 40 tokens, version 1
        sessions of ada: ['Two charges']
        """,
    "agent_loop": """
        It is 18 degrees in Paris.
        It is 18 degrees in Oslo.
        ['system', 'user', 'assistant', 'tool', 'assistant', 'user', 'assistant', 'tool', 'assistant']
        """,
    "async_chats": """
        customer-0: 4 messages
        customer-1: 4 messages
        customer-2: 4 messages
        customer-3: 4 messages
        customer-4: 4 messages
        after 50 parallel notes: 54 messages
        """,
    "token_budget": """
        97 of 100 tokens
        kept 10, left out 31
        first: You are a patient gardener.
        last:  Plant 40: how much water does it want?
        36 messages became: They talked: Plant 1: how much water does it want? … Plant 36: how much water does it want?
        refused 10 tokens at 7 of 10
        """,
    "handoff": """
        front-desk → refunds: a refund {'order': 1042, 'amount': 12.5}
        the customer said: I want my money back for order 1042.
        refused: True
        waiting for refunds: 1
        present: customer, supervisor
        last word: Order 1042 is refunded.
        """,
    "safe_retry": """
        ['Cancel my order.', 'It is cancelled.']
        refused: message id 'request-17/question' is taken by another message
        """,
    "events": """
        session:created
        message:added
        message:added
        session:updated
        error by forgetful: no idea what to do about session:ended
        session:ended
        billed: 7 tokens
        """,
    "extension": """
        tokens: 24
        folded: 4
        context: ['this is message 4', 'this is message 5']
        trail: compression:applied, message:added, session:created
        """,
}


@pytest.mark.parametrize("name", SAID)
def test_an_example_says_what_it_should_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    environ = {key: value for key, value in os.environ.items() if not key.startswith("SESSION_CONTINUITY")}
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / f"{name}.py"],
        cwd=tmp_path,
        env={**environ, "TMPDIR": os.fspath(temporary), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == dedent(SAID[name]).strip().splitlines()
    assert [*tmp_path.rglob("*")] == [temporary]


def test_every_example_is_tried_and_short() -> None:
    programs = {path.stem: len(path.read_text().splitlines()) for path in EXAMPLES.glob("*.py")}
    assert programs.keys() == SAID.keys()
    assert {name: length for name, length in programs.items() if length >= 60} == {}
