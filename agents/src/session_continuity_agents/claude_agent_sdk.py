"""`ClaudeSessionStore`: the transcripts of the Claude Agent SDK.

    options = ClaudeAgentOptions(session_store=ClaudeSessionStore(url="sqlite:///chat.db"))
    async for message in query(prompt="hi", options=options): ...

Tested with claude-agent-sdk 0.2.189, and made for this version and later ones.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast
from uuid import NAMESPACE_URL, UUID, uuid5

from claude_agent_sdk import (
    SessionKey,
    SessionListSubkeysKey,
    SessionStore,
    SessionStoreEntry,
    SessionStoreListEntry,
    SessionSummaryEntry,
    fold_session_summary,
)
from pydantic import ValidationError as PydanticError

from session_continuity import (
    AsyncSessionManager,
    ConcurrencyError,
    Message,
    NewMessage,
    Session,
    SessionFields,
    SessionNotFoundError,
    ThrottledError,
    ValidationError,
    backoff,
    from_anthropic,
    replace_invalid_text,
    sleeper,
    stable_id,
    to_anthropic,
)
from session_continuity_agents.handles import HasManager, ManagerHandle
from session_continuity_agents.keeping import keep, kept, same_json
from session_continuity_agents.keys import session_key
from session_continuity_agents.settling import settled

__all__ = ["FRAMEWORK", "ClaudeSessionStore", "entries_of", "messages_of"]

FRAMEWORK = "claude_agent_sdk"

_DEADLINE = 10.0  # seconds
_REMEMBERED = 1000
_SURROUNDINGS = ("isSidechain", "userType", "entrypoint", "cwd", "sessionId", "version", "gitBranch")
"""What each entry of a transcript repeats."""

Entry = dict[str, Any]


class ClaudeSessionStore(HasManager, SessionStore):
    """The session store of the Claude Agent SDK on any store.

    `url` names the store, SESSION_CONTINUITY_URL if it is left out. `manager` is one that is open already.

    A transcript is a session, whose user is the `project_key`. An entry with a `uuid` is read once, however often it
    is appended. A cancelled call raises its cancellation when its write has ended.
    """

    def __init__(self, *, url: str | None = None, manager: AsyncSessionManager | None = None) -> None:
        self._handle = ManagerHandle(url, manager)
        self._known: OrderedDict[str, Session] = OrderedDict()  # main transcripts that were written to, the newest last

    @staticmethod
    def conversation_id(key: SessionKey) -> str:
        """The id of the session for managers, the command line and other frameworks."""
        subpath = key.get("subpath")
        return session_key("claude", key["project_key"], key["session_id"], *([subpath] if subpath else []))

    async def append(self, key: SessionKey, entries: list[SessionStoreEntry]) -> None:
        """Add entries at the end, with what they change of the summary: in one step if the store takes as many."""
        if entries:
            await settled(self._append(key, entries))

    async def load(self, key: SessionKey) -> list[SessionStoreEntry] | None:
        """All entries, oldest first; None if there is no such transcript.

        Messages that another framework wrote are entries too.
        """
        try:
            messages = await self.manager.get_messages(self.conversation_id(key))
        except SessionNotFoundError:
            return None
        return cast("list[SessionStoreEntry]", entries_of(messages, {"sessionId": key["session_id"]}))

    async def list_sessions(self, project_key: str) -> list[SessionStoreListEntry]:
        """The main transcripts of a project, with the time of the last write in milliseconds."""
        found = await self._transcripts(project_key)
        return [{"session_id": _entry(session)["key"]["session_id"], "mtime": _mtime(session)} for session in found]

    async def list_session_summaries(self, project_key: str) -> list[SessionSummaryEntry]:
        """The summaries of the main transcripts of a project."""
        found = await self._transcripts(project_key)
        return [_summary(session) for session in found]

    async def list_subkeys(self, key: SessionListSubkeysKey) -> list[str]:
        """The subpaths of a session: the transcripts of its subagents."""
        found = await self._transcripts(key["project_key"], key["session_id"])
        return [_entry(session)["key"]["subpath"] for session in found]

    async def delete(self, key: SessionKey) -> None:
        """Delete a transcript, if there is one, and with a main transcript those of its subagents."""
        await settled(self._delete(key))

    async def _append(self, key: SessionKey, entries: Sequence[SessionStoreEntry]) -> None:
        batch = messages_of(cast("Sequence[Entry]", entries))
        size = self.manager.capabilities.max_batch or len(batch)
        parts = [batch[start : start + size] for start in range(0, len(batch), size)]
        for part in parts[:-1]:
            await self._add(key, part, _fields(key))
        if key.get("subpath"):
            await self._add(key, parts[-1], _fields(key))
        else:
            await self._add_with_summary(key, parts[-1], list(entries))

    async def _add(self, key: SessionKey, batch: Sequence[NewMessage], create: SessionFields) -> None:
        await self.manager.add_messages(self.conversation_id(key), batch, create=create, existing="skip")

    async def _add_with_summary(
        self, key: SessionKey, batch: Sequence[NewMessage], entries: list[SessionStoreEntry]
    ) -> None:
        """Append the batch, and fold the entries into the summary that is stored then."""
        id = self.conversation_id(key)
        is_added = False
        async for _ in backoff(sleeper("async"), deadline=_DEADLINE):
            known = self._known.get(id)
            try:
                if known is None and not is_added:
                    await self._add(key, batch, _fields(key, _summary_after(None, key, entries)))
                    is_added = True
                if is_added:  # only now it is known who created the session
                    self._note(await self._folded(await self.manager.get_session(id), key, entries))
                elif known is not None:
                    self._note(await self._added_to(known, key, batch, entries))
                return
            except ConcurrencyError as conflict:
                self._known.pop(id, None)
                if conflict.current is not None:
                    self._note(conflict.current)
            except SessionNotFoundError:  # it was deleted meanwhile
                self._known.pop(id, None)
                if is_added:
                    return
        raise ThrottledError(f"others changed session {id!r} for {_DEADLINE:g} seconds")

    async def _added_to(
        self, known: Session, key: SessionKey, batch: Sequence[NewMessage], entries: list[SessionStoreEntry]
    ) -> Session:
        """Append the batch with its change of the summary in one step, and return the session after it."""
        changed = _with_summary(known, key, entries)
        update = None if changed is known else {"metadata": changed.metadata}
        await self.manager.add_messages(known.id, batch, existing="skip", expected_version=known.version, update=update)
        return changed

    async def _folded(self, stored: Session, key: SessionKey, entries: list[SessionStoreEntry]) -> Session:
        """Fold the entries into the summary of a session that somebody else may have created."""
        changed = _with_summary(stored, key, entries)
        if changed is stored:
            return stored
        return await self.manager.update_session(stored.id, metadata=changed.metadata, expected_version=stored.version)

    def _note(self, session: Session) -> None:
        self._known[session.id] = session
        self._known.move_to_end(session.id)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    async def _transcripts(self, *parts: str) -> list[Session]:
        """The main transcripts of a project, or the others of a session of it."""
        page = await self.manager.list_sessions(limit=None, user_id=stable_id(parts[0]), tags=[_tag(*parts)])
        return [session for session in page if FRAMEWORK in session.metadata.custom]

    async def _delete(self, key: SessionKey) -> None:
        ids = [self.conversation_id(key)]
        if not key.get("subpath"):  # the main transcript last, so that a delete that broke off can be repeated
            ids = [session.id for session in await self._transcripts(key["project_key"], key["session_id"])] + ids
        for id in ids:
            self._known.pop(id, None)
            try:
                await self.manager.delete_session(id)
            except SessionNotFoundError:
                continue


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


def _fields(key: SessionKey, summary: Mapping[str, Any] | None = None) -> SessionFields:
    """The fields of a new session for a transcript."""
    entry: dict[str, Any] = {"key": dict(key), "summary": summary}
    tag = _tag(key["project_key"], key["session_id"]) if key.get("subpath") else _tag(key["project_key"])
    metadata = {"source": FRAMEWORK, "tags": [tag], "custom": {FRAMEWORK: entry}}
    return {"user_id": stable_id(key["project_key"]), "metadata": metadata}


def _tag(*parts: str) -> str:
    """What listings find the main transcripts of a project by, and the others of a session."""
    return session_key("claude", *parts)


def _entry(session: Session) -> dict[str, Any]:
    return cast("dict[str, Any]", session.metadata.custom.get(FRAMEWORK) or {})


def _mtime(session: Session) -> int:
    return int(session.last_activity_at.timestamp() * 1000)


def _summary(session: Session) -> SessionSummaryEntry:
    entry = _entry(session)
    return {"session_id": entry["key"]["session_id"], "mtime": _mtime(session), "data": entry["summary"] or {}}


def _with_summary(session: Session, key: SessionKey, entries: list[SessionStoreEntry]) -> Session:
    """The session with the entries in its summary; the same one if that changes nothing."""
    entry = _entry(session)
    after = _summary_after(entry.get("summary"), key, entries)
    if after == entry.get("summary"):
        return session
    custom = {**session.metadata.custom, FRAMEWORK: {"key": dict(key), **entry, "summary": after}}
    metadata = session.metadata.model_copy(update={"custom": custom})
    return session.model_copy(update={"metadata": metadata, "version": session.version + 1})


def _summary_after(before: dict[str, Any] | None, key: SessionKey, entries: list[SessionStoreEntry]) -> dict[str, Any]:
    """The SDK's summary of a transcript with these entries at its end."""
    so_far: SessionSummaryEntry | None = None
    if before is not None:
        so_far = {"session_id": key["session_id"], "mtime": 0, "data": before}
    return cast("dict[str, Any]", replace_invalid_text(fold_session_summary(so_far, key, entries)["data"]))
