"""`PydanticConversationStore`: the conversations of pydantic-ai.

    store = PydanticConversationStore(url="sqlite:///chat.db")
    conversation = await store.load("user-42") or Conversation(conversation_id="user-42")
    await store.save(await agent.run("hi", conversation=conversation))

Tested with pydantic-ai-slim 2.68.0, and made for 2.66 and later.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, cast

from pydantic import TypeAdapter
from pydantic_ai.conversation_store import (
    ConversationConflict,
    ConversationEntry,
    ConversationRecord,
    ConversationStore,
)
from pydantic_ai.messages import (
    BinaryContent,
    DocumentUrl,
    ImageUrl,
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
    SystemPromptPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserContent,
    UserPromptPart,
)

from session_continuity import (
    AsyncSessionManager,
    ConcurrencyError,
    ConversationChangedError,
    Message,
    MessageMetadata,
    NewMessage,
    Role,
    Session,
    SessionExistsError,
    SessionNotFoundError,
    replace_invalid_text,
    stable_id,
    to_ui_messages,
)
from session_continuity_agents.handles import HasManager, ManagerHandle
from session_continuity_agents.keeping import keep, kept
from session_continuity_agents.settling import settled

__all__ = ["FRAMEWORK", "PydanticConversationStore", "entry_of", "message_of"]

FRAMEWORK = "pydantic_ai"

_RECORD = TypeAdapter(ConversationRecord)
_REMEMBERED = 10_000


class PydanticConversationStore(HasManager, ConversationStore):
    """The conversation store of pydantic-ai on any store.

    `url` names the store, SESSION_CONTINUITY_URL if it is left out. `manager` is one that is open already.

    A conversation is a session, and its `scope` the user. The messages of a save and its record are stored in one step,
    or not at all. A fork gets copies, so that `delete` erases a conversation and no other. Messages that another
    framework adds at the end belong to the history.
    """

    def __init__(self, *, url: str | None = None, manager: AsyncSessionManager | None = None) -> None:
        self._handle = ManagerHandle(url, manager)
        self._seen: OrderedDict[str, tuple[str, Session, str]] = OrderedDict()  # revision, session, last message's id
        self._where: OrderedDict[str, str] = OrderedDict()  # the session of an entry: pydantic-ai asks by entry only

    async def read_record(self, conversation_id: str) -> ConversationRecord | None:
        """The record of a conversation; None if there is none."""
        key = stable_id(conversation_id)
        try:
            found = await self.manager.get_conversation(key, order="desc", limit=1)
        except SessionNotFoundError:
            return None
        newest = found.messages.items[0] if found.messages.items else None
        record = _record_of(found.session, conversation_id, newest)
        if record is not None:
            last = "" if newest is None else newest.id
            _remember(self._seen, key, (record.revision, found.session, last))
            self._locate(record)
        return record

    async def read_records(self, *, scope: str | None = None, limit: int | None = None) -> Sequence[ConversationRecord]:
        """The records of a scope, or all, the one that was saved last first."""
        owner = None if scope is None else stable_id(scope)
        page = await self.manager.list_sessions(limit=None, user_id=owner)
        records = [_RECORD.validate_python(raw) for each in page if (raw := each.metadata.custom.get(FRAMEWORK))]
        records = [self._locate(record) for record in records if scope is None or record.scope == scope]
        return sorted(records, key=lambda record: record.updated_at, reverse=True)[:limit]

    async def write_record(
        self,
        record: ConversationRecord,
        *,
        new_entries: Sequence[ConversationEntry] = (),
        expected_revision: str | None,
    ) -> None:
        """Store a record with the entries that it adds, in one step. Raises ConversationConflict."""
        await settled(self._write(record, list(new_entries), expected_revision))

    async def delete_record(self, conversation_id: str, *, expected_revision: str) -> None:
        """Delete a conversation with all its entries. Raises ConversationConflict."""
        key = stable_id(conversation_id)
        session, _ = await self._expected(conversation_id, expected_revision)
        try:
            await settled(self.manager.delete_session(key, expected_version=session.version))
        except (ConcurrencyError, SessionNotFoundError):
            raise ConversationConflict(conversation_id) from None
        finally:
            self._seen.pop(key, None)

    async def read_entry(self, entry_id: str) -> ConversationEntry:
        """An entry of a conversation that was read before. Raises LookupError."""
        return (await self.read_history(entry_id, limit=1))[0]

    async def read_history(self, head_id: str | None, *, limit: int | None = None) -> list[ConversationEntry]:
        """The newest `limit` entries up to `head_id`, oldest first. Raises LookupError."""
        if head_id is None or limit == 0:
            return []
        key = self._where.get(head_id)
        line = [] if key is None else await self._line(key, head_id, limit)
        if not line or (line[-1].parent_id is not None and len(line) != limit):
            raise LookupError(f"there is no entry {head_id!r} with all that is before it")
        for entry in line:
            _remember(self._where, entry.id, cast("str", key))
        return line[::-1]

    async def _line(self, key: str, head_id: str, limit: int | None) -> list[ConversationEntry]:
        """The entries from the head backwards. What is between them belongs to branches."""
        line: list[ConversationEntry] = []
        wanted: str | None = head_id
        later: Message | None = None
        size = 1000 if limit is None else min(limit + 1, 1000)
        try:
            async for message in _backwards(self.manager, key, size):
                before = None if message is None else message.id
                if later is not None and later.id == wanted:
                    line.append(entry_of(later, before))
                    wanted = line[-1].parent_id
                if wanted is None or len(line) == limit:
                    break
                later = message
        except SessionNotFoundError:
            return []
        return line

    async def _write(
        self, record: ConversationRecord, entries: list[ConversationEntry], expected_revision: str | None
    ) -> None:
        id = record.conversation_id
        if expected_revision is None:
            if record.head_id is not None and record.head_id not in {entry.id for entry in entries}:
                entries = [*await self._copied(record), *entries]
            session, last = await self._created(record), ""
        else:
            session, last = await self._expected(id, expected_revision)
        raw = replace_invalid_text(_RECORD.dump_python(record, mode="json"))
        changes = {
            "metadata": session.metadata.model_copy(update={"custom": {**session.metadata.custom, FRAMEWORK: raw}}),
            "user_id": None if record.scope is None else stable_id(record.scope),
        }
        try:
            if entries:
                await self.manager.add_messages(
                    session.id,
                    [message_of(entry) for entry in entries],
                    update=changes,
                    expected_version=session.version,
                    expected_last_id=last,
                )
            else:
                await self.manager.update_session(session.id, expected_version=session.version, **changes)
        except (ConcurrencyError, ConversationChangedError, SessionNotFoundError):
            raise ConversationConflict(id) from None
        finally:
            self._seen.pop(session.id, None)
        self._locate(record)
        for entry in entries:
            _remember(self._where, entry.id, session.id)

    async def _created(self, record: ConversationRecord) -> Session:
        """A new session without a record yet, or one that was left so."""
        key = stable_id(record.conversation_id)
        try:
            return await self.manager.create_session(id=key, metadata={"source": FRAMEWORK})
        except SessionExistsError:
            if await self.read_record(record.conversation_id) is not None:
                raise ConversationConflict(record.conversation_id) from None
            return await self.manager.get_session(key)

    async def _expected(self, id: str, revision: str) -> tuple[Session, str]:
        """The session of a conversation at this revision, and the id of its last message."""
        known = self._seen.get(stable_id(id))
        if known is None or known[0] != revision:
            await self.read_record(id)
            known = self._seen.get(stable_id(id))
        if known is None or known[0] != revision:
            raise ConversationConflict(id)
        return known[1], known[2]

    async def _copied(self, record: ConversationRecord) -> list[ConversationEntry]:
        try:
            return await self.read_history(record.head_id)
        except LookupError:
            raise ConversationConflict(record.conversation_id) from None

    def _locate(self, record: ConversationRecord) -> ConversationRecord:
        for tip in (record.head_id, *record.branches):
            if tip is not None:
                _remember(self._where, tip, stable_id(record.conversation_id))
        return record


async def _backwards(manager: AsyncSessionManager, key: str, size: int) -> AsyncIterator[Message | None]:
    """The messages of a session, the newest first, and None at the end."""
    cursor = None
    while True:
        page = await manager.get_messages(key, order="desc", limit=size, cursor=cursor)
        for message in page:
            yield message
        if (cursor := page.next_cursor) is None:
            yield None
            return


def _remember(values: OrderedDict[str, Any], key: str, value: Any) -> None:
    values[key] = value
    values.move_to_end(key)
    if len(values) > _REMEMBERED:
        values.popitem(last=False)


def _record_of(session: Session, id: str, newest: Message | None) -> ConversationRecord | None:
    """The record of a session; one that ends with the newest message, if another framework wrote that."""
    raw = session.metadata.custom.get(FRAMEWORK)
    if raw is None and newest is None:
        return None
    record = _RECORD.validate_python(raw) if raw else ConversationRecord(conversation_id=id, head_id=None, revision="")
    if newest is not None and FRAMEWORK not in newest.metadata.annotations:
        record.head_id = newest.id
        record.revision = f"{record.revision}+{newest.id}"
    return record


def message_of(entry: ConversationEntry) -> NewMessage:
    """An entry as a message that everybody can read. `entry_of` makes the same one again."""
    [raw] = ModelMessagesTypeAdapter.dump_python([entry.message], mode="json")
    blocks: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    kinds: set[str] = set()
    for part in raw["parts"]:
        kind, content = part["part_kind"], part.get("content")
        kinds.add(kind)
        if kind in ("text", "user-prompt", "system-prompt", "file"):
            pieces = cast("Iterable[Any]", content if isinstance(content, list) else [content])
            blocks += [block for piece in pieces if (block := _block(piece)) is not None]
        elif kind == "thinking" and content:
            blocks.append({"type": "reasoning", "text": content})
        elif kind == "tool-call":
            calls.append({"id": part["tool_call_id"], "name": part["tool_name"], "arguments": part.get("args") or {}})
        elif kind in ("tool-return", "retry-prompt") and part.get("tool_name"):
            is_error = kind == "retry-prompt" or part.get("outcome") in ("failed", "denied")
            about = {"tool_call_id": part["tool_call_id"], "name": part["tool_name"]}
            results.append({**about, "result": content, "is_error": is_error})
    role: Role = "user"
    if isinstance(entry.message, ModelResponse):
        role = "assistant"
    elif results:
        role = "tool"
    elif kinds == {"system-prompt"}:
        role = "system"
    said = {"role": role, "content": _content(blocks), "metadata": {"tool_calls": calls, "tool_results": results}}
    message = NewMessage.model_validate(
        {"id": stable_id(entry.id), **cast("dict[str, Any]", replace_invalid_text(said))}
    )
    return keep(message, FRAMEWORK, {"parent": entry.parent_id, "kind": entry.kind, "message": raw})


def entry_of(message: Message, before: str | None) -> ConversationEntry:
    """The entry of a message, whoever wrote it. `before` is the id of the message before it."""
    item = kept(message, FRAMEWORK)
    if item is None:
        annotation = cast("dict[str, Any]", message.metadata.annotations.get(FRAMEWORK) or {})
        parent = annotation.get("item", {}).get("parent", before)
        return ConversationEntry(id=message.id, parent_id=parent, message=_made(message))
    [model_message] = ModelMessagesTypeAdapter.validate_python([item["message"]])
    return ConversationEntry(id=message.id, parent_id=item["parent"], message=model_message, kind=item["kind"])


def _block(piece: Any) -> dict[str, Any] | None:
    """The block for a piece of content: words, or the address or bytes of a file."""
    if isinstance(piece, str):
        return {"type": "text", "text": piece}
    if not isinstance(piece, dict):
        return None
    fields = cast("dict[str, Any]", piece)
    if isinstance(fields.get("content"), str):
        return {"type": "text", "text": fields["content"]}
    mime = str(fields.get("media_type"))
    url = fields.get("url") or (f"data:{mime};base64,{fields['data']}" if fields.get("data") else None)
    if url is None:
        return None
    if mime.startswith("image/"):
        return {"type": "image_url", "image_url": {"url": url}}
    return {"type": "file", "mediaType": mime, "url": url}


def _content(blocks: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """The blocks, or their words if they are nothing else."""
    if all(block["type"] == "text" for block in blocks):
        return "\n".join(block["text"] for block in blocks)
    return blocks


def _made(message: Message) -> ModelMessage:
    """A message of pydantic-ai for one that another framework wrote."""
    at, said = message.created_at, _parts(message)
    if message.role == "assistant":
        calls = [
            ToolCallPart(tool_name=each.name, args=cast("Any", each.arguments), tool_call_id=each.id)
            for each in message.metadata.tool_calls
        ]
        thoughts = [ThinkingPart(content=part["text"]) for part in said if part["type"] == "reasoning"]
        text = _words(said)
        return ModelResponse(parts=[*thoughts, *([TextPart(content=text)] if text else []), *calls], timestamp=at)
    if message.role == "system":
        return ModelRequest(parts=[SystemPromptPart(content=_words(said), timestamp=at)])
    results = [
        ToolReturnPart(tool_name=each.name or "tool", content=each.result, tool_call_id=each.tool_call_id, timestamp=at)
        for each in message.metadata.tool_results
    ]
    files = [_file(part) for part in said if part["type"] == "file"]
    content = [*(part["text"] for part in said if part["type"] == "text"), *files] if files else _words(said)
    words = [UserPromptPart(content=content, timestamp=at)] if content or not results else []
    return ModelRequest(parts=[*results, *words])


def _parts(message: Message) -> list[dict[str, Any]]:
    """What a message says, without its calls and results: texts, reasoning and files."""
    plain = MessageMetadata(annotations=message.metadata.annotations)
    shown = to_ui_messages([message.model_copy(update={"metadata": plain})])
    return [part for each in shown for part in each["parts"]]


def _words(parts: Sequence[dict[str, Any]]) -> str:
    return "\n".join(part["text"] for part in parts if part["type"] == "text")


def _file(part: dict[str, Any]) -> UserContent:
    url, mime = part["url"], str(part["mediaType"])
    if url.startswith("data:"):
        return BinaryContent.from_data_uri(url)
    return ImageUrl(url=url) if mime.startswith("image/") else DocumentUrl(url=url, media_type=mime)
