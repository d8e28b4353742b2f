"""`sessions list`, `show` and `delete`: on a terminal, in a pipe and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from session_continuity import SessionManager

from .conftest import STORE, CommandLine

FROM_ENVIRON = {"SESSION_CONTINUITY_URL": STORE}


@pytest.fixture
def manager(command: CommandLine) -> Iterator[SessionManager]:
    with SessionManager.open(f"sqlite:///{command.folder}/chat.db") as manager:
        yield manager


@pytest.fixture
def three(manager: SessionManager) -> None:
    """Three sessions, `c` the newest."""
    manager.create_session(id="a", user_id="u1", metadata={"title": "Billing\tand\nmore", "tags": ["vip"]})
    manager.create_session(id="b", user_id="u2", active_agent_id="helper", metadata={"tags": ["new", "vip"]})
    manager.create_session(id="c", user_id="u1")
    manager.end_session("c")
    manager.add_message("a", role="user", content="one\nline\tand \x1b[31mred")
    manager.add_messages("a", [{"role": "assistant", "content": f"answer {place}"} for place in range(30)])


@pytest.mark.usefixtures("three")
def test_a_listing_in_a_pipe_is_a_line_a_session(command: CommandLine) -> None:
    done = command("sessions", "list", STORE)
    assert (done.code, done.err) == (0, "")
    assert [row[0] for row in done.rows] == ["c", "b", "a"]
    now = f"{datetime.now(UTC):%Y-%m-%d}"
    assert done.rows[2][:6] == ["a", "active", "u1", "-", "31", "251"]
    assert done.rows[2][6].startswith(now)
    assert done.rows[2][8] == "Billing\\tand\\nmore"
    assert done.rows[1][1:4] == ["active", "u2", "helper"]


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(
    ("options", "ids"),
    [
        (["--user", "u1"], ["c", "a"]),
        (["--agent", "helper"], ["b"]),
        (["--status", "completed"], ["c"]),
        (["--tag", "vip"], ["b", "a"]),
        (["--title", "BILLING"], ["a"]),
        (["--order", "oldest"], ["a", "b", "c"]),
        (["--order", "recent"], ["a", "c", "b"]),
        (["--order", "idle", "--user", "u1"], ["c", "a"]),
        (["--after", "c"], ["b", "a"]),
        (["--order", "recent", "--after", "a", "--limit", "1"], ["c"]),
        (["--tag", "new", "--tag", "none"], ["b"]),
        (["--created-after", "2999-01-01"], []),
        (["--created-before", "2999-01-01T10:00Z", "--created-after", "2020-01-01"], ["c", "b", "a"]),
    ],
)
def test_conditions_narrow_a_listing(command: CommandLine, options: list[str], ids: list[str]) -> None:
    done = command("sessions", "list", *options, "--json", environ=FROM_ENVIRON)
    assert [session["id"] for session in done.json["sessions"]] == ids
    assert done.code == 0


@pytest.mark.usefixtures("three")
def test_a_cursor_continues_after_a_page(command: CommandLine) -> None:
    first = command("sessions", "list", STORE, "--limit", "2", "--json")
    assert [session["id"] for session in first.json["sessions"]] == ["c", "b"]
    cursor = first.json["next_cursor"]
    rest = command("sessions", "list", STORE, "--cursor", cursor, "--json").json
    assert ([session["id"] for session in rest["sessions"]], rest["next_cursor"]) == (["a"], None)
    plain = command("sessions", "list", STORE, "--limit", "2")
    assert plain.err == f"more sessions: add --cursor {cursor}\n"
    assert len(plain.rows) == 2


@pytest.mark.usefixtures("three")
def test_a_listing_on_a_terminal_is_a_table_that_keeps_the_ids_whole(command: CommandLine) -> None:
    narrow, wide = (command.on_terminal("sessions", "list", STORE, width=width) for width in (80, 140))
    assert "session  status     messages  active  title" in narrow.out
    assert "\n a        active           31  now     Billing" in narrow.out
    assert "helper" not in narrow.out
    assert "helper" in wide.out
    assert "\x1b[1;31m" not in wide.escapes.replace("\\x1b", "")


@pytest.mark.usefixtures("three")
def test_messages_are_searched(command: CommandLine) -> None:
    store = f"{STORE}?search=true"
    assert "setup" in command("sessions", "search", store, "answer").err, "the index of words is built by setup alone"
    assert command("setup", store).rows == [["ready", store]]
    done = command("sessions", "search", store, "answer", "12")
    assert (done.code, done.err) == (0, "")
    assert [(row[0], row[2], row[6]) for row in done.rows] == [("a", "assistant", "answer 12")]
    page = command("sessions", "search", store, "answer", "--limit", "2", "--user", "u1", "--json").json
    assert [message["content"] for message in page["messages"]] == ["answer 29", "answer 28"]
    rest = command(
        "sessions", "search", store, "answer", "--user", "u1", "--limit", "1", "--cursor", page["next_cursor"]
    )
    assert [row[6] for row in rest.rows] == ["answer 27"]
    assert command.on_terminal("sessions", "search", store, "nothing").out == "no messages\n"
    refused = command("sessions", "search", STORE, "answer")
    assert refused.code != 0
    assert "search_messages" in refused.err


@pytest.mark.parametrize(
    "words",
    [
        "sessions list URL",
        "sessions show URL a",
        "sessions forks URL a",
        "sessions delete URL a",
        "sessions erase URL u",
        "sessions search URL?search=true hello",
        "cleanup URL",
    ],
)
def test_a_mistyped_path_creates_nothing(command: CommandLine, words: str) -> None:
    done = command(*words.replace("URL", STORE).split())
    assert (done.code, done.out) == (1, "")
    assert "there is no file" in done.err
    assert list(command.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("command_name", "missing"),
    [("search", "the words to search for are"), ("erase", "the id of the user is"), ("show", "the id of a session is")],
)
def test_a_url_alone_tells_what_is_missing(command: CommandLine, command_name: str, missing: str) -> None:
    done = command("sessions", command_name, STORE)
    assert (done.code, f"{missing} missing after the URL" in done.err) == (2, True)


def test_an_empty_store_lists_nothing(command: CommandLine) -> None:
    command("setup", STORE)
    assert (command("sessions", "list", STORE).code, command("sessions", "list", STORE).out) == (0, "")
    assert command("sessions", "list", STORE, "--json").json == {
        "sessions": [],
        "next_cursor": None,
        "stale_totals": False,
    }
    assert command.on_terminal("sessions", "list", STORE).out == "no sessions\n"


@pytest.mark.usefixtures("three")
def test_a_session_is_shown_with_its_newest_messages(command: CommandLine) -> None:
    done = command("sessions", "show", STORE, "a")
    fields = {row[0]: row[1] for row in done.rows if row[0] != "message"}
    assert (fields["id"], fields["message_count"], fields["user_id"]) == ("a", "31", "u1")
    assert fields["metadata"] == '{"title": "Billing\\tand\\nmore", "tags": ["vip"], "source": null, "custom": {}}'
    messages = [row for row in done.rows if row[0] == "message"]
    assert [row[6] for row in messages] == [f"answer {place}" for place in range(10, 30)]
    everything = command("sessions", "show", STORE, "a", "--messages", "100")
    first = next(row for row in everything.rows if row[0] == "message")
    assert first[2:5] == ["user", "user", "11"]
    assert first[6] == "one\\nline\\tand \\x1b[31mred"


@pytest.mark.usefixtures("three")
def test_a_session_as_json_is_what_the_models_write(command: CommandLine, manager: SessionManager) -> None:
    document = command("sessions", "show", "a", "--messages", "100", "--json", environ=FROM_ENVIRON).json
    assert document["session"] == manager.get_session("a").model_dump(mode="json")
    assert document["messages"] == [message.model_dump(mode="json") for message in manager.get_messages("a")]
    assert command("sessions", "show", STORE, "a", "--messages", "0", "--json").json["messages"] == []


@pytest.mark.usefixtures("three")
def test_stored_text_cannot_control_the_terminal(command: CommandLine) -> None:
    done = command.on_terminal("sessions", "show", STORE, "a", "--messages", "100")
    assert "user        one" in done.out
    assert "\\x1b[31mred" in done.out
    assert "\x1b[31mred" not in done.escapes
    assert "… 11 earlier" in command.on_terminal("sessions", "show", STORE, "a").out


@pytest.mark.usefixtures("three")
def test_sessions_are_deleted_and_the_missing_are_named(command: CommandLine, manager: SessionManager) -> None:
    done = command("sessions", "delete", STORE, "a", "nope", "b")
    assert done.code == 1
    assert done.rows == [["deleted", "a"], ["not_found", "nope"], ["deleted", "b"]]
    assert [session.id for session in manager.list_sessions()] == ["c"]
    gone = command("sessions", "delete", "c", "--json", environ=FROM_ENVIRON)
    assert (gone.code, gone.json) == (0, {"deleted": ["c"], "not_found": []})


def test_a_missing_session_is_an_error(command: CommandLine) -> None:
    command("setup", STORE)
    done = command("sessions", "show", STORE, "nope")
    assert (done.code, done.out) == (1, "")
    assert done.err == "error: session 'nope' does not exist, or it has expired\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show", STORE], "the id of a session is missing after the URL"),
        (["show", STORE, "a", "b"], "give one session at a time"),
        (["delete"], "Missing argument"),
        (["list", STORE, "--limit", "0"], "--limit"),
        (["list", STORE, "--created-after", "yesterday"], "yesterday"),
        (["list", STORE, "--status", "asleep"], "asleep"),
        (["list", "memory://cli", "--cursor", "x"], "the cursor is malformed"),
        (["show", "a"], "no storage URL: pass one, or set SESSION_CONTINUITY_URL"),
    ],
)
def test_wrong_arguments_are_a_usage_error(command: CommandLine, arguments: list[str], words: str) -> None:
    done = command("sessions", *arguments)
    assert (done.code, done.out) == (2, "")
    assert words in done.err
    assert "Traceback" not in done.err
