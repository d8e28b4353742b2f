"""`ClaudeSessionStore`: the transcripts of the Claude Agent SDK.

    options = ClaudeAgentOptions(session_store=ClaudeSessionStore(url="sqlite:///chat.db"))
    async for message in query(prompt="hi", options=options): ...

Tested with claude-agent-sdk 0.2.189, and made for this version and later ones.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, cast

from claude_agent_sdk import (
    SessionKey,
    SessionListSubkeysKey,
    SessionStore,
    SessionStoreEntry,
    SessionStoreListEntry,
    SessionSummaryEntry,
    fold_session_summary,
)

from session_continuity import (
    AsyncSessionManager,
    ConcurrencyError,
    NewMessage,
    Session,
    SessionFields,
    SessionNotFoundError,
    ThrottledError,
    backoff,
    replace_invalid_text,
    sleeper,
    stable_id,
)
from session_continuity_agents.claude_entries import (
    FRAMEWORK,
    Entry,
    entries_of,
    messages_of,
    transcript_fields,
    transcript_id,
    transcript_tag,
)
from session_continuity_agents.handles import HasManager, ManagerHandle
from session_continuity_agents.settling import settled

__all__ = ["FRAMEWORK", "ClaudeSessionStore", "entries_of", "messages_of"]

_DEADLINE = 10.0  # seconds
_REMEMBERED = 1000


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
        return transcript_id(key)

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
            await self._add(key, part, transcript_fields(key))
        if key.get("subpath"):
            await self._add(key, parts[-1], transcript_fields(key))
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
                    await self._add(key, batch, transcript_fields(key, _summary_after(None, key, entries)))
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
        page = await self.manager.list_sessions(limit=None, user_id=stable_id(parts[0]), tags=[transcript_tag(*parts)])
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
