"""Transcripts that Claude Code writes.

The source is the folder of projects, such as ~/.claude/projects, or one project of it, or one transcript.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from session_continuity import ConfigError, ImportedConversation, NewMessage, replace_invalid_text
from session_continuity_agents.claude_entries import Entry, messages_of, transcript_fields, transcript_id
from session_continuity_agents.importers.reading import Ids, dated, moment, object_in, read_messages

__all__ = ["conversations"]


def conversations(source: str) -> Iterator[ImportedConversation]:
    """The transcripts of a source, those of subagents after that of their session."""
    path = Path(source).expanduser()
    if path.is_file():
        yield from _transcripts(path.resolve().parent, path.stem)
        return
    if not path.is_dir():
        raise ConfigError(f"there is no file or folder {source}")
    projects = (
        [path.resolve()] if any(path.glob("*.jsonl")) else sorted(each for each in path.iterdir() if each.is_dir())
    )
    for project in projects:
        names = {each.stem for each in project.glob("*.jsonl")}
        names |= {each.parent.name for each in project.glob("*/subagents")}
        for name in sorted(names):
            yield from _transcripts(project, name)


def _transcripts(project: Path, session_id: str) -> Iterator[ImportedConversation]:
    key = {"project_key": project.name, "session_id": session_id}
    main, folder = project / f"{session_id}.jsonl", project / session_id
    if main.is_file():
        yield _transcript(main, key)
    for file in sorted(folder.glob("subagents/**/*.jsonl")):
        subpath = file.relative_to(folder).with_suffix("").as_posix()
        yield _transcript(file, {**key, "subpath": subpath})


def _transcript(file: Path, key: dict[str, str]) -> ImportedConversation:
    ids = Ids()
    entries: list[Entry] = []

    def convert(line: bytes) -> Sequence[NewMessage]:
        entry = object_in(line)
        entries.append(entry)
        return _messages(entry, ids)

    found, unreadable = read_messages(_lines(file), convert)
    fields = transcript_fields(key, None if "subpath" in key else _summary(key, entries))
    times = (moment(entry.get("timestamp")) for entry in entries)
    fields["created_at"] = next(filter(None, times), None)
    return ImportedConversation(id=transcript_id(key), fields=fields, messages=found, unreadable=unreadable)


def _lines(file: Path) -> Iterator[tuple[str, bytes]]:
    """The lines of a transcript, and at the end what Claude Code keeps of a subagent in a file beside it."""
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield f"line {number}", line
    beside = file.with_suffix(".meta.json")
    if beside.is_file():
        try:
            yield beside.name, json.dumps({**object_in(beside.read_bytes()), "type": "agent_metadata"}).encode()
        except ValueError:
            yield beside.name, b""


def _messages(entry: Entry, ids: Ids) -> list[NewMessage]:
    """The messages of one entry. An entry without words is an empty message: so the transcript may grow behind it."""
    messages = [dated(message, entry.get("timestamp")) for message in messages_of([entry])]
    id = ids.of(entry)
    return [message if message.id else message.model_copy(update={"id": id}) for message in messages]


def _summary(key: dict[str, str], entries: list[Entry]) -> dict[str, Any] | None:
    """The summary that the SDK lists of a transcript; None if the SDK is not installed."""
    try:
        from claude_agent_sdk import fold_session_summary
    except ModuleNotFoundError:
        return None
    summary = fold_session_summary(None, cast("Any", key), cast("Any", entries))
    return cast("dict[str, Any]", replace_invalid_text(summary["data"]))
