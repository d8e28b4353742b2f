"""Sessions that strands-agents keeps in files: a folder of `FileSessionManager`, such as ~/.strands/sessions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from session_continuity import ConfigError, ImportedConversation, NewMessage
from session_continuity_agents.importers.reading import dated, moment, object_in, read_messages
from session_continuity_agents.strands_messages import DEFAULT_AGENT, FRAMEWORK, conversation_id, decoded, message_of

__all__ = ["conversations"]

_SESSION, _AGENT, _GRAPH = "session_", "agent_", "multi_agent_"

Entry = dict[str, Any]


def conversations(source: str) -> Iterator[ImportedConversation]:
    """The sessions of a folder. Each agent beside the default one has a conversation of its own."""
    path = Path(source).expanduser()
    if not path.is_dir():
        raise ConfigError(f"there is no folder {source}")
    for folder in sorted(each for each in path.glob(f"{_SESSION}*") if each.is_dir()):
        session_id = folder.name.removeprefix(_SESSION)
        agents = {each.name.removeprefix(_AGENT): each for each in folder.glob(f"agents/{_AGENT}*") if each.is_dir()}
        unreadable: list[str] = []
        entry = _session(folder, unreadable)
        yield _conversation(session_id, DEFAULT_AGENT, agents.pop(DEFAULT_AGENT, None), entry, unreadable)
        for agent_id in sorted(agents):
            yield _conversation(session_id, agent_id, agents[agent_id], {}, [])


def _session(folder: Path, unreadable: list[str]) -> Entry:
    """What is kept of a session beside its agents: the session itself, and the states of its graphs and swarms."""
    entry: Entry = {}
    session = _object(folder / "session.json", unreadable)
    if session is not None:
        entry["session"] = session
    graphs = {
        each.parent.name.removeprefix(_GRAPH): _object(each, unreadable)
        for each in sorted(folder.glob(f"multi_agents/{_GRAPH}*/multi_agent.json"))
    }
    if known := {name: state for name, state in graphs.items() if state is not None}:
        entry["multi_agents"] = known
    return entry


def _conversation(
    session_id: str, agent_id: str, folder: Path | None, entry: Entry, unreadable: list[str]
) -> ImportedConversation:
    messages: list[NewMessage] = []
    if folder is not None:
        agent = _object(folder / "agent.json", unreadable)
        if agent is not None:
            entry = {**entry, "agent": agent}
        messages, damaged = read_messages(_files(folder / "messages"), _messages)
        unreadable = [*unreadable, *damaged]
    begun: Entry = entry.get("session") or entry.get("agent") or {}
    return ImportedConversation(
        id=conversation_id(session_id, agent_id),
        fields={
            "metadata": {"source": FRAMEWORK, "custom": {FRAMEWORK: entry}},
            "created_at": moment(begun.get("created_at")),
        },
        messages=messages,
        unreadable=unreadable,
    )


def _files(folder: Path) -> Iterator[tuple[str, tuple[int, Path]]]:
    """The files of messages by their index, in its order."""
    found = ((re.fullmatch(r"message_(\d+)\.json", each.name), each) for each in folder.glob("message_*.json"))
    for index, file in sorted((int(match[1]), file) for match, file in found if match):
        yield file.name, (index, file)


def _messages(record: tuple[int, Path]) -> list[NewMessage]:
    index, file = record
    stored = object_in(file.read_bytes())
    said = stored.get("redact_message") or stored["message"]
    message = dated(message_of(decoded(said)), stored.get("created_at"))
    return [message.model_copy(update={"id": f"{FRAMEWORK}-{index}"})]


def _object(file: Path, unreadable: list[str]) -> Entry | None:
    """The object in a file; None if it is missing or damaged, which is noted."""
    try:
        return object_in(file.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        unreadable.append(f"{file.name} {error}")
        return None
