"""`demo`: a conversation that every new process continues, wherever the last one stopped."""

from __future__ import annotations

import signal
import subprocess
from typing import Any

import pytest

from session_continuity import Message, Session, SessionManager

from ..kit.conversations import REPLY
from .conftest import CommandLine
from .extensions import FAULTS

ROLES_OF_A_FIRST_VISIT = ["system", "user", "assistant", "tool", "assistant", "user", "assistant"]


def conversation(command: CommandLine, file: str = "session-continuity-demo.db") -> tuple[Session, list[Message]]:
    with SessionManager.open(f"sqlite:///{command.folder}/{file}") as manager:
        [session] = manager.iter_sessions()
        return session, list(manager.get_messages(session.id))


def test_the_first_run_holds_a_conversation_in_a_file_here(command: CommandLine) -> None:
    done = command("demo")
    assert (done.code, done.err) == (0, "")
    session, messages = conversation(command)
    assert [message.role for message in messages] == ROLES_OF_A_FIRST_VISIT
    asked, answered = messages[2].metadata, messages[3].metadata
    assert asked.tool_calls[0].id == answered.tool_results[0].tool_call_id
    assert [(handoff.from_agent_id, handoff.to_agent_id) for handoff in session.handoffs] == [
        ("concierge", "logistics")
    ]
    assert done.rows[0] == ["store", "sqlite:///session-continuity-demo.db"]
    assert done.rows[1] == ["session", session.id, "new", "0"]
    assert [row[1] for row in done.rows if row[0] == "message"] == [message.id for message in messages]
    assert ["handoff", "concierge", "logistics", "another delivery day for order 1042"] in done.rows
    assert done.rows[-1] == ["again", "session-continuity demo"]


def test_the_next_run_is_a_new_process_that_continues(command: CommandLine) -> None:
    command("demo")
    done = command("demo")
    session, messages = conversation(command)
    assert done.rows[1] == ["session", session.id, "found", "7"]
    assert [message.role for message in messages] == [
        *ROLES_OF_A_FIRST_VISIT,
        *ROLES_OF_A_FIRST_VISIT[1:5],
        "assistant",
    ]
    assert session.active_agent_id == "concierge"
    assert len({message.id for message in messages}) == 12


def test_the_context_fits_the_budget_and_says_what_was_left_out(command: CommandLine) -> None:
    done = command("demo")
    [context] = [row for row in done.rows if row[0] == "context"]
    used, limit, seen, unseen, unseen_tokens = map(int, context[1:])
    assert used <= limit == 140
    assert (seen, unseen) == (3, 4)
    listed = {state: [row for row in done.rows if row[0] == state] for state in ("seen", "unseen")}
    assert (len(listed["seen"]), len(listed["unseen"])) == (seen, unseen)
    assert sum(int(row[3]) for row in listed["seen"]) + REPLY == used
    assert sum(int(row[3]) for row in listed["unseen"]) == unseen_tokens
    assert listed["seen"][0][2] == "system"
    assert [row[2] for row in listed["unseen"]] == ["user", "assistant", "tool", "assistant"]


def test_a_larger_budget_sees_more(command: CommandLine) -> None:
    document = command("demo", "--max-tokens", "4000", "--json").json
    assert document["context"]["limit"] == 3500
    assert document["context"]["kept_messages"] == len(document["context"]["messages"]) == 7
    assert command("demo", "--json").json["context"]["limit"] == 140


def test_a_budget_below_the_system_message_is_an_error(command: CommandLine) -> None:
    done = command("demo", "--max-tokens", "16")
    assert done.code == 1
    assert done.err.startswith("error: 31 more tokens exceed the limit of 14 of session")


def test_the_whole_run_is_one_document(command: CommandLine) -> None:
    document: dict[str, Any] = command("demo", "--json").json
    assert document.keys() == {"store", "session", "found_messages", "added_messages", "context", "again"}
    assert (document["found_messages"], document["added_messages"]) == (0, 7)
    session, _ = conversation(command)
    assert document["session"]["id"] == session.id
    assert document["context"].keys() == {
        "limit",
        "used",
        "kept_messages",
        "dropped_messages",
        "dropped_tokens",
        "messages",
    }


def test_the_url_may_name_any_store(command: CommandLine) -> None:
    done = command("demo", "--url", "sqlite:///other.db")
    assert done.rows[-1] == ["again", "session-continuity demo --url sqlite:///other.db"]
    assert len(conversation(command, "other.db")[1]) == 7
    assert command("demo", environ={"SESSION_CONTINUITY_URL": "sqlite:///other.db"}).rows[1][2:] == ["found", "7"]


def test_a_store_that_is_not_durable_starts_over(command: CommandLine) -> None:
    command("demo", "--url", "memory://")
    done = command.on_terminal("demo", "--url", "memory://")
    assert "Run it again, and it starts over, because this store is not durable" in done.out
    assert list(command.folder.iterdir()) == []


def test_on_a_terminal_it_is_a_conversation_in_colours(command: CommandLine) -> None:
    done = command.on_terminal("demo")
    assert done.code == 0
    assert done.out.startswith("store    sqlite:///session-continuity-demo.db\nsession  session-continuity-demo  new\n")
    assert "\nconcierge   → find_order(" in done.out
    assert "⇢ handed over from concierge to logistics: another delivery day for order 1042\n" in done.out
    assert "A model with room for 140 tokens sees 3 of 7 messages, 74 tokens\n" in done.out
    assert "\n✗  tool        ← {" in done.out
    assert "\n✓  logistics   This is logistics" in done.out
    assert "\x1b[1;36muser" in done.escapes
    assert "\t" not in done.out
    assert done.out.endswith("Run it again, and it continues:  session-continuity demo\n")
    assert "session-continuity-demo  found, 7 messages since 20" in command.on_terminal("demo").out


def test_a_narrow_terminal_wraps_words_beside_the_speaker(command: CommandLine) -> None:
    done = command.on_terminal("demo", width=40)
    assert "\nuser        My order 1042 has not       \n            arrived. Can you find it?" in done.out
    assert max(map(len, done.out.splitlines())) <= 40


@pytest.mark.parametrize("moment", range(1, 10))
def test_a_run_killed_anywhere_is_finished_by_the_next(command: CommandLine, moment: int) -> None:
    """Nine events: the session, seven messages, the handoff."""
    command.install("faults", FAULTS)
    killed = command("demo", environ={"FAULT_KILL_AT": str(moment)})
    assert killed.code == -signal.SIGKILL
    _, before = conversation(command)
    done = command("demo")
    session, messages = conversation(command)
    whole = moment == 9
    assert [message.id for message in messages[: len(before)]] == [message.id for message in before]
    assert [message.id for message in messages[:7]] == [f"visit-0001-{place}" for place in range(1, 8)]
    assert len(messages) == (12 if whole else 7)
    assert [handoff.to_agent_id for handoff in session.handoffs] == (
        ["logistics", "concierge"] if whole else ["logistics"]
    )
    assert (["resumed", "1"] in done.rows) == (len(before) not in (0, 7))


def test_a_later_visit_is_finished_too(command: CommandLine) -> None:
    command.install("faults", FAULTS)
    command("demo")
    command("demo", environ={"FAULT_KILL_AT": "3"})
    assert ["resumed", "2"] in command("demo").rows
    assert len(conversation(command)[1]) == 12


def test_several_runs_at_once_play_each_visit_once(command: CommandLine) -> None:
    running = [command.start("demo", "--max-tokens", "4000", stdout=subprocess.DEVNULL) for _ in range(4)]
    assert [process.wait(60) for process in running] == [0] * 4
    session, messages = conversation(command)
    ids = [message.id for message in messages]
    assert len(set(ids)) == len(ids) == session.message_count
    visits = {id.rpartition("-")[0] for id in ids}
    assert len(ids) == 7 + 5 * (len(visits) - 1)


def test_it_ignores_messages_of_others(command: CommandLine) -> None:
    command("demo")
    with SessionManager.open(f"sqlite:///{command.folder}/session-continuity-demo.db") as manager:
        manager.add_message("session-continuity-demo", role="user", content="by hand")
    assert command("demo").rows[1] == ["session", "session-continuity-demo", "found", "8"]
    assert conversation(command)[1][-1].id == "visit-0002-5"
