"""Entries of transcripts of Claude as messages, and back. The SDK is not needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast
from uuid import NAMESPACE_URL, UUID, uuid5

from pydantic import ValidationError as PydanticError

from session_continuity import (
    Message,
    NewMessage,
    SessionFields,
    ValidationError,
    from_anthropic,
    replace_invalid_text,
    stable_id,
    to_anthropic,
)
from session_continuity_agents.keeping import keep, kept, same_json
from session_continuity_agents.keys import session_key

__all__ = [
    "FRAMEWORK",
    "Entry",
    "entries_of",
    "messages_of",
    "transcript_fields",
    "transcript_id",
    "transcript_tag",
]

FRAMEWORK = "claude_agent_sdk"

_SURROUNDINGS = ("isSidechain", "userType", "entrypoint", "cwd", "sessionId", "version", "gitBranch")
"""What each entry of a transcript repeats."""

Entry = dict[str, Any]


def transcript_id(key: Mapping[str, Any]) -> str:
    """The id of the session of a transcript."""
    subpath = key.get("subpath")
    return session_key("claude", key["project_key"], key["session_id"], *([subpath] if subpath else []))


def messages_of(entries: Iterable[Entry]) -> list[NewMessage]:
    """Entries as messages that everybody can read. `entries_of` makes the same entries of them again.

    What was said is a message under the entry's uuid. Entries without words are kept beside the next message, or
    beside an empty one at the end.
    """
    batch: dict[str | int, NewMessage] = {}
    silent: list[Entry] = []
    for entry in entries:
        said = _said(entry)
        if not said:
            silent.append(entry)
        elif said[0].id not in batch:
            batch |= {str(message.id): message for message in _kept_beside(said, silent, entry)}
            silent = []
    if silent:
        empty = NewMessage(role="assistant", content="", token_count=0, id=_joint_id(silent))
        batch[len(batch)] = keep(empty, FRAMEWORK, {"before": silent})
    return list(batch.values())


def entries_of(messages: Iterable[Message | NewMessage], surroundings: Mapping[str, Any] | None = None) -> list[Entry]:
    """The entries of messages, whoever wrote them, each uuid once. `surroundings` are fields of entries that are made
    of a message which has none, until another entry has others."""
    entries: dict[str | int, Entry] = {}
    last: Entry = dict(surroundings or {})
    for group in _groups(messages):
        first, *others = (kept(message, FRAMEWORK) for message in group)
        is_changed = first is None or None in others
        made = [_made(group, last)] if is_changed else _unpacked(group, cast("Entry", first))
        for entry in filter(None, made):
            entries.setdefault(entry.get("uuid") or len(entries), entry)
            if entry.get("uuid"):
                last = {**{name: entry[name] for name in _SURROUNDINGS if name in entry}, "uuid": entry["uuid"]}
    return list(entries.values())


def _said(entry: Entry) -> list[NewMessage]:
    """The messages of what an entry says: one, or two if words stand beside results of tools. None if it says
    nothing, or not in Anthropic's format."""
    uuid, message = entry.get("uuid"), entry.get("message")
    if not uuid or not isinstance(uuid, str) or not isinstance(message, dict):
        return []
    try:
        said = from_anthropic([replace_invalid_text(message)])
    except (ValidationError, PydanticError):
        return []
    ids = [stable_id(uuid if place == 0 else f"{uuid}#{place}") for place in range(len(said))]
    return [part.model_copy(update={"id": id}) for part, id in zip(said, ids, strict=True)]


def _kept_beside(said: Sequence[NewMessage], silent: list[Entry], entry: Entry) -> list[NewMessage]:
    rest: Entry = {**entry, "message": {name: value for name, value in entry["message"].items() if name != "content"}}
    if not same_json(_filled(rest, said), entry):
        rest = entry
    first = keep(said[0], FRAMEWORK, {"before": silent, "entry": rest})
    return [first, *(keep(part, FRAMEWORK, {"part": True}) for part in said[1:])]


def _filled(rest: Entry, said: Sequence[Message | NewMessage]) -> Entry | None:
    """The entry with its content made of messages; None if they are not one message of Anthropic's."""
    written = to_anthropic(said, model=rest["message"].get("model"))["messages"]
    return {**rest, "message": {**rest["message"], "content": written[0]["content"]}} if len(written) == 1 else None


def _groups(messages: Iterable[Message | NewMessage]) -> list[list[Message | NewMessage]]:
    """The messages, those of one entry together."""
    groups: list[list[Message | NewMessage]] = []
    for message in messages:
        annotation = message.metadata.annotations.get(FRAMEWORK)
        is_part = isinstance(annotation, dict) and annotation.get("item") == {"part": True}
        if is_part and groups and message.id == stable_id(f"{groups[-1][0].id}#{len(groups[-1])}"):
            groups[-1].append(message)
        else:
            groups.append([message])
    return groups


def _unpacked(group: Sequence[Message | NewMessage], item: Mapping[str, Any]) -> list[Entry | None]:
    """The entries that are kept beside the messages of one entry."""
    entry = item.get("entry")
    before = item.get("before", [])
    if entry is None or "content" in entry["message"]:
        return [*before, entry]
    return [*before, _filled(entry, group)]


def _made(group: Sequence[Message | NewMessage], last: Entry) -> Entry | None:
    """An entry for messages that another framework wrote or that were changed; None if they are not for a model."""
    written = to_anthropic(group)["messages"]
    if not written:
        return None
    message, first = cast("Entry", written[0]), group[0]
    if message["role"] == "assistant":
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        answer = {"id": f"msg_{first.id}", "type": "message", "model": "other", "stop_reason": "end_turn"}
        usage = {"input_tokens": 0, "output_tokens": 0}
        message = {**answer, "role": "assistant", "content": blocks, "stop_sequence": None, "usage": usage}
    made: Entry = {
        "parentUuid": last.get("uuid"),
        "isSidechain": False,
        "userType": "external",
        **{name: value for name, value in last.items() if name != "uuid"},
        "type": message["role"],
        "message": message,
        "uuid": _uuid(str(first.id)),
    }
    if first.created_at is not None:
        made["timestamp"] = first.created_at.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    return made


def _uuid(id: str) -> str:
    """The id of a message as the uuid of an entry."""
    try:
        return str(UUID(id))
    except ValueError:
        return str(uuid5(NAMESPACE_URL, id))


def _joint_id(entries: Sequence[Entry]) -> str | None:
    """An id for entries that are kept together; None if they have no uuids, and so may be appended again."""
    uuids = [str(entry["uuid"]) for entry in entries if entry.get("uuid")]
    return session_key(*uuids) if uuids else None


def transcript_fields(key: Mapping[str, Any], summary: Mapping[str, Any] | None = None) -> SessionFields:
    """The fields of a new session for a transcript."""
    entry: dict[str, Any] = {"key": dict(key), "summary": summary}
    tag = (
        transcript_tag(key["project_key"], key["session_id"])
        if key.get("subpath")
        else transcript_tag(key["project_key"])
    )
    metadata = {"source": FRAMEWORK, "tags": [tag], "custom": {FRAMEWORK: entry}}
    return {"user_id": stable_id(key["project_key"]), "metadata": metadata}


def transcript_tag(*parts: str) -> str:
    """What listings find the main transcripts of a project by, and the others of a session."""
    return session_key("claude", *parts)
