"""A long conversation with tools, in processes that die at random moments. The summarizer fails one time in five.

`python long_conversation.py sqlite:///long.db 500` prints a table. Tables of such runs are in docs/contexts.md. Each
context is checked: it is within the budget, the question is in it, and each call has one result behind it.
"""

import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from session_continuity import Message, Registry, SessionManager, SessionNotFoundError, TokenBudget, hookimpl

BUDGET = TokenBudget(max_tokens=3000, reserve_tokens=500, overflow_strategy="compress")
DEATHS = 0.03
"""How likely a process dies after a step of a turn."""


class Requests:
    """Counts the calls of the store."""

    def __init__(self) -> None:
        self.count = 0

    @hookimpl
    def sc_on_storage_call(self, operation: str) -> None:
        self.count += operation not in ("setup", "close")


def summarize(messages: Sequence[Message], *, previous: str | None, prompt: str | None) -> str:
    """Stands for a call of a model that is down one time in five."""
    del prompt
    if random.random() < 0.2:
        raise ConnectionError
    return f"{len(messages)} messages more than: {(previous or 'nothing')[:200]}"


def check(manager: SessionManager, question: Message, facts: Counter[str]) -> None:
    """The context as a provider would check it. Adds what was seen to the facts."""
    context = manager.get_conversation_context_with_stats("long")
    waiting: list[str] = []
    for message in context.messages:
        for result in message.metadata.tool_results:
            waiting.remove(result.tool_call_id)
        assert not waiting or message.role in ("assistant", "tool")
        waiting += [call.id for call in message.metadata.tool_calls]
    assert not waiting
    assert question.id in [message.id for message in context.messages]
    assert next(message.role for message in context.messages if message.role != "system") == "user"
    assert context.budget.limit is not None
    assert context.budget.used <= context.budget.limit
    facts["contexts"] += 1
    facts["largest context"] = max(facts["largest context"], context.budget.used)
    facts["filled in"] += sum(entry.action == "filled" for entry in context.report)


def turn(manager: SessionManager, number: int, facts: Counter[str], *, given_up: bool) -> None:
    """One turn. Every message has an id, so a turn that was interrupted may be repeated."""
    words = random.Random(number)
    question = manager.add_message("long", "user", f"question {number} " * words.randrange(1, 12), id=f"{number}-q")
    check(manager, question, facts)
    calls = [{"id": f"{number}-{tool}", "name": "look_up", "arguments": {"n": number}} for tool in "ab"]
    steps = [("assistant", "", {"tool_calls": calls})]
    for call in calls:
        result = {"tool_call_id": call["id"], "result": "fact " * words.randrange(1, 150)}
        steps.append(("tool", "", {"tool_results": [result]}))
    for place, (role, content, metadata) in enumerate([] if given_up else steps):
        manager.add_message("long", role, content, metadata=metadata, id=f"{number}-{place}")  # type: ignore[arg-type]
        if random.random() < DEATHS:
            facts["deaths"] += 1
            raise SystemExit(9)
    check(manager, question, facts)
    manager.add_message("long", "assistant", f"answer {number}", id=f"{number}-end")


def work(url: str, turns: int, notes: Path) -> None:
    """The work of one process: turns from the first that has no answer yet. Writes a line of facts for each turn."""
    requests, registry = Requests(), Registry()
    registry.register_extension(requests)
    options = {"token_budget": BUDGET, "compression": "summarization", "summarizer_pause": 0.2, "registry": registry}
    with SessionManager.open(url, summarizer=summarize, **options) as manager:  # type: ignore[arg-type]
        try:
            last = manager.get_messages("long", order="desc", limit=1)[0].id
        except SessionNotFoundError:
            manager.create_session(id="long")
            manager.add_message("long", "system", "You look things up.", id="0-end")
            last = "0-end"
        number, _, step = last.partition("-")
        first = int(number) + (step == "end")
        failures: Counter[str] = Counter()
        manager.on("compression:failed", lambda _: failures.update(["summarizer failed"]))
        manager.on("compression:applied", lambda _: failures.update(["folds"]))
        for this in range(first, turns + 1):
            before, facts = requests.count, Counter({"turn": this})
            try:
                turn(manager, this, facts, given_up=this == first and step != "end" and random.random() < 0.5)
            finally:
                facts += failures
                facts["requests"] = requests.count - before
                failures.clear()
                with notes.open("a") as file:
                    file.write(json.dumps(facts) + "\n")


def table(lines: list[dict[str, int]], turns: int) -> None:
    """Print the facts of ten parts of the conversation."""
    names = ["requests", "contexts", "largest context", "folds", "summarizer failed", "deaths", "filled in"]
    print("| turns | " + " | ".join(names) + " |\n|" + "---|" * (len(names) + 1))
    step = max(turns // 10, 1)
    for start in range(1, turns + 1, step):
        part = [line for line in lines if start <= line["turn"] < start + step]
        cells = [(max if name.startswith("largest") else sum)(line.get(name, 0) for line in part) for name in names]
        print(f"| {start} to {start + step - 1} | " + " | ".join(map(str, cells)) + " |")


def run(url: str, turns: int) -> None:
    """Start processes until the conversation is complete."""
    with TemporaryDirectory() as folder:
        notes = Path(folder) / "notes"
        while True:
            code = subprocess.run([sys.executable, __file__, url, str(turns), str(notes)], check=False).returncode
            if code == 0:
                break
            assert code == 9, "a context was not as promised"
        table([json.loads(line) for line in notes.read_text().splitlines()], turns)


if __name__ == "__main__":
    if len(sys.argv) > 3:
        work(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
    else:
        with TemporaryDirectory() as own:
            target = sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{own}/long.db"
            run(target, int(sys.argv[2]) if len(sys.argv) > 2 else 20)
