"""Every program in examples/ runs, prints what it should, and leaves no file behind."""

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
        5 messages, 80 tokens, version 1
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
        100 of 100 tokens
        kept 6, left out 35
        first: You are a patient gardener.
        last:  Plant 40: how much water does it want?
        38 messages became: They talked: Plant 1: how much water does it want? … Plant 38: how much water does it want?
        refused 17 tokens at 29 of 40
        """,
    "handoff": """
        front-desk → refunds: a refund {'order': 1042, 'amount': 12.5}
        the customer said: I want my money back for order 1042.
        refused: True
        waiting for refunds: 1
        present: customer, supervisor
        last word: Order 1042 is refunded.
        """,
    "formats": """
        claude-opus-4-5: ['user']
        claude-opus-4-5: ['user', 'assistant', 'user']
          its own thinking comes back unchanged: True
        gpt-4o: ['user', 'assistant', 'tool']
          without reasoning of message 2: no equivalent
        amazon.nova-pro-v1:0: ['user', 'assistant', 'user', 'assistant', 'user']
          without reasoning of message 2: no equivalent
        gemini-3-pro-preview: ['user', 'model', 'user', 'model', 'user', 'model', 'user']
          without reasoning of message 2: no equivalent
        ['Give one back, please.', 'It is on its way.', 'Thank you!', 'Gladly.']
        """,
    "safe_retry": """
        ['Cancel my order.', 'It is cancelled.']
        refused: message id 'request-17/question' belongs to another message
        """,
    "events": """
        session:created
        message:added
        message:added
        session:updated
        error by forgetful: no idea what to do about session:ended
        session:ended
        billed: 19 tokens
        """,
    "metrics": """
        refused: deleting a session is not supported by memory: this application keeps its sessions
        1 memory setup ok
        1 memory create_session ok
        1 memory append_messages ok
        1 memory close ok
        """,
    "extension": """
        tokens: 48
        compressed: 4
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


def test_a_long_conversation_keeps_its_promises_through_deaths_and_failures(tmp_path: Path) -> None:
    """It checks every context itself. Here it has twelve turns; `docs/contexts.md` has tables of 500."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / "long_conversation.py", f"sqlite:///{tmp_path}/long.db", "12"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    names, _, *rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines()]
    assert (names[:3], len(rows)) == (["turns", "requests", "contexts"], 12)
    assert all(int(row[2]) >= 2 and int(row[3]) <= 2500 for row in rows)


def test_every_example_is_tried_and_short() -> None:
    programs = {path.stem: len(path.read_text().splitlines()) for path in EXAMPLES.glob("*.py")}
    longer = {"long_conversation", "chat_service"}  # a trial of 500 turns, and a whole service
    assert programs.keys() == SAID.keys() | longer
    assert programs.pop("long_conversation") + programs.pop("chat_service") < 400
    assert {name: length for name, length in programs.items() if length >= 60} == {}
