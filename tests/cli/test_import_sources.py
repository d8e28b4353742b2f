"""`import --from`: kinds of sources that installed packages add."""

from __future__ import annotations

import pytest

from session_continuity import SessionManager

from ..kit.distributions import write_distribution
from .conftest import STORE, CommandLine

TAPES = """
    from session_continuity import ConfigError, ImportedConversation, NewMessage

    def conversations(source):
        if source == "none":
            raise ConfigError("there is no tape")
        for name in source.split(","):
            messages = [NewMessage(role="user", content=text, id=f"{name}-{text}") for text in ("one", "two")]
            yield ImportedConversation(id=name, fields={"user_id": "ada"}, messages=messages)
        yield ImportedConversation(id="state", fields={"metadata": {"custom": {"volume": 11}}})
        yield ImportedConversation(id="torn", fields=None, unreadable=["side B is torn"])
"""


LOSSY = """
    import os
    from dataclasses import replace
    from session_continuity import ForwardingAdapter, hookimpl

    class Lossy(ForwardingAdapter):
        async def append_messages(self, session_id, messages, **terms):
            match os.environ["LOSSY"]:
                case "loses": messages = messages[:-1]
                case "changes": messages = [each.model_copy(update={"content": "?"}) for each in messages]
                case "turns": messages = messages[::-1]
            return await super().append_messages(session_id, messages, **terms)

    @hookimpl
    def sc_wrap_adapter(adapter):
        return Lossy(adapter)
"""


def install(command: CommandLine, kind: str, source: str) -> None:
    """Install a package with a kind of sources."""
    points = {"session_continuity.imports": {kind: f"{kind}_module:conversations"}}
    write_distribution(command.plugins, kind, entry_points=points, modules={f"{kind}_module": source})


def test_a_kind_of_another_package_is_imported_once(command: CommandLine) -> None:
    install(command, "tapes", TAPES)
    first, second = (command("import", "--from", "tapes", "a,b", STORE) for _ in range(2))
    assert first.rows == [
        ["imported", "a", "0", "2", "0"],
        ["imported", "b", "0", "2", "0"],
        ["imported", "state", "0", "0", "0"],
        ["imported", "torn", "0", "0", "1"],
    ]
    assert (first.code, first.err) == (1, "problem: torn: side B is torn\n")
    assert [row[2:] for row in second.rows] == [["2", "0", "0"], ["2", "0", "0"], ["0", "0", "0"], ["0", "0", "1"]]
    with SessionManager.open(f"sqlite:///{command.folder}/chat.db") as manager:
        assert {session.id for session in manager.iter_sessions()} == {"a", "b", "state"}
        assert manager.get_session("state").metadata.custom == {"volume": 11}
        assert manager.get_session("a").user_id == "ada"


def test_an_import_is_json_too_and_shows_its_totals_on_a_terminal(command: CommandLine) -> None:
    install(command, "tapes", TAPES)
    done = command("import", "--from", "tapes", "a", STORE, "--json")
    assert done.json["sessions"][0] == {"id": "a", "found": 0, "added": 2, "different": 0, "problems": []}
    assert done.json["sessions"][2]["problems"] == ["side B is torn"]
    shown = command.on_terminal("import", "--from", "tapes", "a,b", STORE)
    assert "imported: 4 conversations, 2 new messages, 1 problem" in shown.out
    assert "b  2 of 2 messages" in shown.out  # how far it is, while it runs


def test_a_dry_run_creates_no_store(command: CommandLine) -> None:
    install(command, "tapes", TAPES)
    done = command("import", "--from", "tapes", "a", STORE, "--dry-run")
    assert done.rows[0] == ["readable", "a", "0", "2", "0"]
    assert not (command.folder / "chat.db").exists()


def test_what_cannot_be_read_is_told_with_what_to_install(command: CommandLine) -> None:
    install(command, "tapes", TAPES)
    install(command, "records", "import no_such_player")
    for kind, source, message in (
        ("tapes", "none", "error: there is no tape\n"),
        ("records", "a", "error: --from records needs the module no_such_player, which is not installed\n"),
        ("cds", "a", "error: --from cds is not known; the kinds are "),
    ):
        done = command("import", "--from", kind, source, STORE)
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith(message)
    assert not (command.folder / "chat.db").exists()


@pytest.mark.parametrize(
    ("fault", "problems"),
    [
        ("loses", ["message a-two is not stored"]),
        ("changes", [f"message a-{name} was changed while it was stored" for name in ("one", "two")]),
        ("turns", ["the messages are stored in another order than the source has"]),
    ],
)
def test_a_store_that_does_not_keep_what_it_got_is_found_out(
    command: CommandLine, fault: str, problems: list[str]
) -> None:
    install(command, "tapes", TAPES)
    command.install("lossy", LOSSY)
    done = command("import", "--from", "tapes", "a", STORE, "--json", environ={"LOSSY": fault})
    assert done.code == 1
    assert done.json["sessions"][0]["problems"] == problems


def test_options_of_files_are_not_for_sources(command: CommandLine) -> None:
    install(command, "tapes", TAPES)
    assert command("import", "--from", "tapes", "a", STORE, "--conversation", "2").code == 2
    assert command("import", "chat.json", STORE, "--dry-run").code == 2
