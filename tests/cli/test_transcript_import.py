"""`demo --transcript`: the user's own conversation, stored whole or not at all, and only once."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
from typing import Any

import pytest

from session_continuity import Message, Session, SessionManager

from .conftest import STORE, CommandLine, Result
from .extensions import FAULTS
from .malformed import MALFORMED, TEN

CHAT: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}},
        ],
    },
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": "it"}'}}],
    },
    {"role": "tool", "tool_call_id": "c1", "content": "a cat"},
    {"role": "assistant", "content": "A cat.", "refusal": None},
]


def exchanges(number: int) -> list[dict[str, Any]]:
    return [{"role": ("user", "assistant")[place % 2], "content": f"message {place}"} for place in range(number)]


def import_chat(command: CommandLine, chat: Any, *options: str, **environ: str) -> Result:
    given = ["demo", "--url", STORE, "--transcript", "-", "--json", *options]
    return command(*given, stdin=json.dumps(chat).encode(), environ=environ)


def stored(command: CommandLine) -> list[tuple[Session, list[Message]]]:
    """Every session in the store, with its messages."""
    with SessionManager.open(f"sqlite:///{command.folder}/chat.db") as manager:
        return [(session, list(manager.get_messages(session.id))) for session in manager.iter_sessions()]


def texts(messages: list[Message]) -> list[Any]:
    return [message.content for message in messages]


def test_a_transcript_becomes_a_session_with_typed_calls_and_verbatim_blocks(command: CommandLine) -> None:
    done = import_chat(command, {"model": "m", "messages": CHAT})
    assert (done.code, done.err) == (0, "")
    [(session, messages)] = stored(command)
    assert [message.role for message in messages] == ["system", "user", "assistant", "tool", "assistant"]
    assert messages[1].content == CHAT[1]["content"]
    assert messages[2].metadata.tool_calls[0].name == "look"
    assert messages[3].metadata.tool_results[0].tool_call_id == "c1"
    assert (session.metadata.source, session.metadata.custom) == ("transcript", {"model": "m"})
    assert session.metadata.title == "What is this? [image_url]"
    assert session.active_agent_id == "reviewer"


def test_a_file_is_read_like_standard_input(command: CommandLine) -> None:
    (command.folder / "chat.jsonl").write_text("\n".join(map(json.dumps, CHAT)))
    assert import_chat(command, CHAT).json["added_messages"] == 5
    done = command("demo", "--url", STORE, "--transcript", "chat.jsonl", "--json")
    assert (done.json["found_messages"], done.json["added_messages"]) == (5, 0)
    assert done.json["again"] == "session-continuity demo --url sqlite:///chat.db --transcript chat.jsonl"


def test_the_same_transcript_again_adds_nothing(command: CommandLine) -> None:
    first, second = import_chat(command, CHAT), import_chat(command, CHAT)
    assert (first.json["found_messages"], first.json["added_messages"]) == (0, 5)
    assert (second.json["found_messages"], second.json["added_messages"]) == (5, 0)
    assert first.json["session"]["id"] == second.json["session"]["id"]
    [(session, messages)] = stored(command)
    assert len(messages) == 5
    assert [handoff.to_agent_id for handoff in session.handoffs] == ["reviewer"]


def test_a_longer_transcript_continues_the_shorter(command: CommandLine) -> None:
    import_chat(command, exchanges(3))
    done = import_chat(command, exchanges(7))
    assert (done.json["found_messages"], done.json["added_messages"]) == (3, 4)
    [(_, messages)] = stored(command)
    assert texts(messages) == [f"message {place}" for place in range(7)]


def test_conversations_with_the_same_beginning_are_separate_sessions(command: CommandLine) -> None:
    other = [*exchanges(2), {"role": "user", "content": "something else"}]
    third = [*exchanges(2), {"role": "user", "content": "a third thing"}]
    for chat in (exchanges(4), other, third, other, exchanges(4), third):
        assert import_chat(command, chat).code == 0
    found = sorted(texts(messages) for _, messages in stored(command))
    assert found == sorted([[raw["content"] for raw in chat] for chat in (exchanges(4), other, third)])


def test_a_conversation_that_was_changed_since_is_refused(command: CommandLine) -> None:
    session_id = import_chat(command, exchanges(1)).json["session"]["id"]
    with SessionManager.open(f"sqlite:///{command.folder}/chat.db") as manager:
        [message] = manager.get_messages(session_id)
        manager.add_message(session_id, role="user", content="by hand")
        manager.delete_message(session_id, message.id)
    done = import_chat(command, exchanges(1))
    assert done.code == 1
    assert done.err == ("error: this conversation was stored and has changed since; delete its session first\n")


@pytest.mark.parametrize("kind", TEN)
def test_a_malformed_transcript_touches_no_store(command: CommandLine, kind: str) -> None:
    text, reason = MALFORMED[kind]
    (command.folder / "bad.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    done = command("demo", "--url", STORE, "--transcript", "bad.json")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"error: bad.json: {reason}")
    assert done.err.count("\n") == 1
    assert [path.name for path in command.folder.iterdir()] == ["bad.json"]


@pytest.mark.parametrize(
    ("name", "reason"), [("none.json", "No such file or directory"), (".", "Is a directory"), ("", "Is a directory")]
)
def test_a_transcript_that_cannot_be_read_is_named(command: CommandLine, name: str, reason: str) -> None:
    done = command("demo", "--transcript", name)
    assert (done.code, done.err) == (1, f"error: {name}: {reason}\n")


def test_a_store_with_small_batches_gets_as_few_as_possible(command: CommandLine) -> None:
    command.install("faults", FAULTS)
    given = ["demo", "--url", STORE, "--transcript", "-"]
    done = command(*given, stdin=json.dumps(exchanges(10)).encode(), environ={"FAULT_MAX_BATCH": "4"})
    assert ["stored", "10", "3"] in done.rows
    [(_, messages)] = stored(command)
    assert texts(messages) == [f"message {place}" for place in range(10)]


@pytest.mark.parametrize("attempt", [1, 2, 3])
def test_a_failed_batch_removes_the_new_session(command: CommandLine, attempt: int) -> None:
    command.install("faults", FAULTS)
    done = import_chat(command, exchanges(10), FAULT_MAX_BATCH="4", FAULT_FAIL_APPEND=str(attempt))
    assert (done.code, done.out) == (1, "")
    assert done.err == "error: sqlite: append_messages: the disk is on fire\n"
    assert stored(command) == []
    assert import_chat(command, exchanges(10)).json["added_messages"] == 10


def test_a_failed_batch_leaves_the_earlier_messages(command: CommandLine) -> None:
    import_chat(command, exchanges(3))
    command.install("faults", FAULTS)
    done = import_chat(command, exchanges(10), FAULT_MAX_BATCH="2", FAULT_FAIL_APPEND="3")
    assert done.code == 1
    [(session, messages)] = stored(command)
    assert texts(messages) == ["message 0", "message 1", "message 2"]
    assert session.message_count == 3


def test_a_failed_undo_is_reported(command: CommandLine) -> None:
    command.install("faults", FAULTS)
    done = import_chat(command, exchanges(4), FAULT_MAX_BATCH="2", FAULT_FAIL_APPEND="2", FAULT_FAIL_REMOVAL="1")
    assert done.code == 1
    assert "a part of the transcript was stored and could not be removed" in done.err
    assert import_chat(command, exchanges(4)).json["found_messages"] == 2


def test_ctrl_c_undoes_the_import(command: CommandLine) -> None:
    command.install("faults", FAULTS)
    done = import_chat(command, exchanges(10), FAULT_MAX_BATCH="4", FAULT_INTERRUPT_AT="6")
    assert (done.code, done.out, done.err) == (130, "", "")
    assert stored(command) == []


@pytest.mark.parametrize("moment", [1, 2, 5, 6, 9])
def test_an_import_killed_in_the_middle_is_completed_by_the_next_run(command: CommandLine, moment: int) -> None:
    command.install("faults", FAULTS)
    killed = import_chat(command, exchanges(8), FAULT_MAX_BATCH="4", FAULT_KILL_AT=str(moment))
    assert killed.code == -signal.SIGKILL
    [(before, _)] = stored(command)
    assert before.message_count == (0 if moment == 1 else 4 if moment <= 5 else 8)
    done = import_chat(command, exchanges(8))
    assert (done.json["found_messages"], done.json["added_messages"]) == (
        before.message_count,
        8 - before.message_count,
    )
    [(session, messages)] = stored(command)
    assert texts(messages) == [f"message {place}" for place in range(8)]
    assert session.active_agent_id == "reviewer"


def test_the_same_transcript_imported_by_several_at_once_is_stored_once(command: CommandLine) -> None:
    (command.folder / "chat.json").write_text(json.dumps(exchanges(50)))
    given = ["demo", "--url", STORE, "--transcript", "chat.json"]
    running = [command.start(*given, stdout=subprocess.DEVNULL) for _ in range(4)]
    assert [process.wait(60) for process in running] == [0] * 4
    [(session, messages)] = stored(command)
    assert texts(messages) == [f"message {place}" for place in range(50)]
    assert session.message_count == 50


def test_ten_thousand_messages_take_one_write_and_few_seconds(command: CommandLine) -> None:
    text = "\n".join(map(json.dumps, exchanges(10_000)))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = command("demo", "--url", STORE, "--transcript", "-", stdin=text.encode())
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.code == 0
    assert ["stored", "10000", "1"] in done.rows
    assert ["context", "3567", "3584", "396", "9604", "86336"] in done.rows
    assert len(done.rows) <= 20
    assert after.ru_utime - before.ru_utime < 5
