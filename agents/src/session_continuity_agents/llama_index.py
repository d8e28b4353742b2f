"""`LlamaChatStore`: the chat store of LlamaIndex' `Memory`.

    memory = Memory.from_defaults(session_id="user-42", chat_store=LlamaChatStore(url="sqlite:///chat.db"))
    await agent.run("hi", memory=memory)

Tested with llama-index-core 0.14.25, and made for that version and later.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.storage.chat_store.base_db import AsyncDBChatStore, MessageStatus
from pydantic_core import to_jsonable_python

from session_continuity import (
    AsyncSessionManager,
    ConcurrencyError,
    Message,
    MessageMetadata,
    MessageNotFoundError,
    NewMessage,
    Role,
    Session,
    SessionFields,
    SessionNotFoundError,
    SessionQuery,
    ThrottledError,
    ValidationError,
    backoff,
    replace_invalid_text,
    sleeper,
    stable_id,
    to_ui_messages,
)
from session_continuity_agents.handles import HasManager, ManagerHandle
from session_continuity_agents.keeping import keep, kept, same_json
from session_continuity_agents.settling import settled

__all__ = ["FRAMEWORK", "LlamaChatStore", "llama_messages_of", "message_of"]

FRAMEWORK = "llama_index"
_DEADLINE = 10.0  # seconds
_PAGE = 1000
_REMEMBERED = 1000
_ACTIVE, _ARCHIVED = MessageStatus.ACTIVE, MessageStatus.ARCHIVED
_ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "chatbot": "assistant",
    "model": "assistant",
    "tool": "tool",
    "function": "tool",
}


class LlamaChatStore(HasManager, AsyncDBChatStore):
    """A chat store of LlamaIndex on any store.

    The key of a conversation, which is the `session_id` of a Memory, is also the id of the session for managers and the
    command line; one of more than 256 bytes is shortened by `stable_id`. `url` names the store, SESSION_CONTINUITY_URL
    if it is left out. `manager` is one that is open already. `user_id` is the user of new sessions.

    What is archived is the beginning of a conversation. Its last message is noted on the session, so archiving is one
    write, however many messages there are. A cancelled call raises its cancellation when its write has ended.
    """

    _handle: ManagerHandle = PrivateAttr()
    _user_id: str | None = PrivateAttr()
    _marks: OrderedDict[str, str | None] = PrivateAttr()

    def __init__(
        self, *, url: str | None = None, manager: AsyncSessionManager | None = None, user_id: str | None = None
    ) -> None:
        super().__init__()
        self._handle = ManagerHandle(url, manager)
        self._user_id = user_id
        self._marks = OrderedDict()  # the last message that is archived, by session, the one read last at the end

    # Reading

    async def get_messages(
        self,
        key: str,
        status: MessageStatus | None = _ACTIVE,
        limit: int | None = None,
        offset: int | None = None,
    ) -> list[ChatMessage]:
        """Messages from place `offset` on, oldest first, whoever wrote them; all with `status=None`."""
        start = offset or 0
        end = None if limit is None else start + limit
        return _made(await self._read(stable_id(key), status, end))[start:end]

    async def count_messages(self, key: str, status: MessageStatus | None = _ACTIVE) -> int:
        """How many messages there are. They are read for that."""
        return len(await self.get_messages(key, status))

    async def get_keys(self) -> list[str]:
        """The keys of all conversations of LlamaIndex, or of those of `user_id`.

        Every session is read for that, or every session of the user.
        """
        query: SessionQuery = {} if self._user_id is None else {"user_id": self._user_id}
        found = await self.manager.list_sessions(limit=None, **query)
        return [str(_entry(session)["key"]) for session in found if "key" in _entry(session)]

    # Writing

    async def add_message(self, key: str, message: ChatMessage, status: MessageStatus = _ACTIVE) -> None:
        """Store a message at the end."""
        await self.add_messages(key, [message], status)

    async def add_messages(self, key: str, messages: list[ChatMessage], status: MessageStatus = _ACTIVE) -> None:
        """Store messages at the end, all or none, if the store takes as many at once.

        Raises ValidationError for archived messages behind one that is not archived.
        """
        if messages:
            await settled(self._add(key, [message_of(message) for message in messages], status))

    async def set_messages(self, key: str, messages: list[ChatMessage], status: MessageStatus = _ACTIVE) -> None:
        """Replace all messages, in one step if the store takes as many at once and they are not archived."""
        await settled(self._set(key, [message_of(message) for message in messages], status))

    async def archive_oldest_messages(self, key: str, n: int) -> list[ChatMessage]:
        """Archive the oldest `n` messages, and return them.

        They are the oldest of those that were active when this store read the conversation last. So what another
        process has archived meanwhile is not archived twice.
        """
        return _made(await settled(self._archive(stable_id(key), n))) if n > 0 else []

    async def delete_message(self, key: str, idx: int) -> ChatMessage | None:
        """Delete the message at the place `idx` of all, from 0, and return it; None if there is none."""
        id = stable_id(key)
        found = await self._read(id, None, idx + 1) if idx >= 0 else []
        places = [place for place, message in enumerate(found) for _ in llama_messages_of(message)]
        if idx not in range(len(places)):
            return None
        place, made = places[idx], _made(found)[idx]
        return made if await settled(self._take_out(id, found[: place + 1])) else None

    async def delete_messages(self, key: str, status: MessageStatus | None = None) -> None:
        """Delete the session; with a status, its messages of that status."""
        await settled(self._delete(stable_id(key), status))

    async def delete_oldest_messages(self, key: str, n: int) -> list[ChatMessage]:
        """Delete the oldest `n` messages that are not archived, one by one, and return them."""
        id = stable_id(key)
        found = await self._read(id, _ACTIVE, n) if n > 0 else []
        return _made(await settled(self._remove(id, _first(found, n))))

    async def _read(self, id: str, status: MessageStatus | None, limit: int | None) -> list[Message]:
        if status is None:
            with suppress(SessionNotFoundError):
                return list(await self.manager.get_messages(id, limit=limit))
            return []
        if status == _ACTIVE:
            return (await self._active(id, limit))[1]
        active = (await self._active(id, 1))[1]
        mark = self._marks.get(id)
        if mark is None:
            return []
        bound: dict[str, Any] = {"before": active[0].id} if active else {}
        return list(await self.manager.get_messages(id, limit=limit, **bound))

    async def _active(self, id: str, limit: int | None) -> tuple[Session | None, list[Message]]:
        """The session, and its messages that are not archived: in one call, if the mark is the one read before."""
        mark = self._marks.get(id)
        size = _PAGE if limit is None else max(1, min(limit, _PAGE))
        try:
            found = await self.manager.get_conversation(id, after=mark, limit=size)
            if (stored := _mark(found.session)) != mark:
                mark = stored
                found = await self.manager.get_conversation(id, after=mark, limit=size)
        except SessionNotFoundError:
            self._marks.pop(id, None)
            return None, []
        except MessageNotFoundError:  # the last message that was archived is deleted
            mark = None
            found = await self.manager.get_conversation(id, limit=size)
        self._note(id, mark)
        messages, cursor = list(found.messages), found.messages.next_cursor
        if cursor is not None and (limit is None or limit > size):
            left = None if limit is None else limit - size
            messages += await self.manager.get_messages(id, after=mark, cursor=cursor, limit=left)
        return found.session, messages[:limit]

    async def _add(self, key: str, batch: Sequence[NewMessage], status: MessageStatus) -> None:
        id = stable_id(key)
        if status == _ARCHIVED and (await self._active(id, 1))[1]:
            raise ValidationError("an archived message cannot stand behind one that is not archived")
        metadata = {"source": FRAMEWORK, "custom": {FRAMEWORK: {"key": key}}}
        fields: SessionFields = {"user_id": self._user_id, "metadata": metadata}
        size = self.manager.capabilities.max_batch or len(batch)
        for start in range(0, len(batch), size):
            await self.manager.add_messages(id, batch[start : start + size], create=fields)
        if status == _ARCHIVED:
            await self._archive(id, len(batch))

    async def _set(self, key: str, batch: Sequence[NewMessage], status: MessageStatus) -> None:
        id, size = stable_id(key), self.manager.capabilities.max_batch
        try:
            if status == _ARCHIVED or (size is not None and len(batch) > size):
                await self.manager.delete_all_messages(id)
            else:
                await self.manager.replace_messages_after(id, None, batch)
                return
        except SessionNotFoundError:
            pass  # there is nothing to replace
        if batch:
            await self._add(key, batch, status)

    async def _archive(self, id: str, n: int) -> list[Message]:
        async for _ in backoff(sleeper("async"), deadline=_DEADLINE):
            session, behind = await self._behind(id, n)
            oldest = _first(behind, n)
            if session is None or not oldest:
                return []
            stored = _mark(session)
            if stored not in (self._marks.get(id), None, *(message.id for message in oldest)):
                await self._active(id, 1)
                if self._marks.get(id) == stored:  # somebody else has archived these and more
                    return oldest
            with suppress(ConcurrencyError):
                await self._set_mark(session, oldest[-1].id)
                return oldest
        raise ThrottledError(f"others changed session {id!r} for {_DEADLINE:g} seconds")

    async def _set_mark(self, session: Session, mark: str | None) -> None:
        """Note the last message that is archived. Raises ConcurrencyError if the session was changed since."""
        custom = {**session.metadata.custom, FRAMEWORK: {**_entry(session), "archived": mark}}
        metadata = session.metadata.model_copy(update={"custom": custom})
        await self.manager.update_session(session.id, metadata=metadata, expected_version=session.version)
        self._note(session.id, mark)

    async def _behind(self, id: str, n: int) -> tuple[Session | None, list[Message]]:
        """The session, and the `n` messages behind the mark that was read last."""
        if id not in self._marks or n > _PAGE:
            return await self._active(id, n)
        try:
            found = await self.manager.get_conversation(id, after=self._marks[id], limit=n)
        except (MessageNotFoundError, SessionNotFoundError):
            return await self._active(id, n)
        return found.session, list(found.messages)

    async def _delete(self, id: str, status: MessageStatus | None) -> None:
        if status == _ACTIVE:
            await self._active(id, 1)
        if status == _ACTIVE and (mark := self._marks.get(id)) is not None:
            with suppress(SessionNotFoundError, MessageNotFoundError):
                await self.manager.rewind(id, mark)
        elif status == _ARCHIVED:
            await self._remove(id, await self._read(id, _ARCHIVED, None))
        else:
            self._marks.pop(id, None)
            with suppress(SessionNotFoundError):
                await self.manager.delete_session(id)

    async def _take_out(self, id: str, until: Sequence[Message]) -> bool:
        """Delete the last of these messages, which are the first of the session. False if somebody else has done it."""
        async for _ in backoff(sleeper("async"), deadline=_DEADLINE):
            session, _active = await self._active(id, 1)
            if session is None:
                return False
            if self._marks.get(id) != until[-1].id:
                break
            with suppress(ConcurrencyError):  # the message before is the last that is archived then
                await self._set_mark(session, until[-2].id if len(until) > 1 else None)
        return bool(await self._remove(id, until[-1:]))

    async def _remove(self, id: str, messages: Sequence[Message]) -> list[Message]:
        """Delete messages one by one, and return those that nobody else has deleted."""
        removed: list[Message] = []
        for message in messages:
            with suppress(MessageNotFoundError, SessionNotFoundError):
                await self.manager.delete_message(id, message.id)
                removed.append(message)
        return removed

    def _note(self, id: str, mark: str | None) -> None:
        self._marks[id] = mark
        self._marks.move_to_end(id)
        if len(self._marks) > _REMEMBERED:
            self._marks.popitem(last=False)


def message_of(message: ChatMessage) -> NewMessage:
    """A message of LlamaIndex as one that everybody can read. `llama_messages_of` makes the same one again.

    A value that is not JSON becomes text.
    """
    data = _data(message)
    neutral = _neutral(replace_invalid_text(data))
    same = [_data(made) for made in _written(neutral)]
    return neutral if same_json(same, [data]) else keep(neutral, FRAMEWORK, data)


def llama_messages_of(message: Message | NewMessage) -> list[ChatMessage]:
    """The messages of LlamaIndex for a message, whoever wrote it: one, or one for each result of a tool."""
    item = kept(message, FRAMEWORK)
    return _written(message) if item is None else [ChatMessage.model_validate(item)]


def _made(messages: Sequence[Message]) -> list[ChatMessage]:
    return [made for message in messages for made in llama_messages_of(message)]


def _first(messages: Sequence[Message], n: int) -> list[Message]:
    """The first messages, which make at most `n` of LlamaIndex; at least one."""
    taken, count = list[Message](), 0
    for message in messages:
        count += len(llama_messages_of(message))
        if taken and count > n:
            break
        taken.append(message)
    return taken


def _entry(session: Session) -> dict[str, Any]:
    return cast("dict[str, Any]", session.metadata.custom.get(FRAMEWORK) or {})


def _mark(session: Session) -> str | None:
    """The id of the last message that is archived."""
    return _entry(session).get("archived")


def _data(message: ChatMessage) -> dict[str, Any]:
    data = to_jsonable_python(message.model_dump(), fallback=repr, inf_nan_mode="constants")
    return cast("dict[str, Any]", data)


def _neutral(data: Mapping[str, Any]) -> NewMessage:
    more = cast("dict[str, Any]", data["additional_kwargs"])
    blocks: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    for block in cast("list[dict[str, Any]]", data["blocks"]):
        if block["block_type"] == "tool_call":
            id = block["tool_call_id"] or f"call-{len(calls)}"
            calls.append({"id": id, "name": block["tool_name"], "arguments": block["tool_kwargs"]})
        elif (made := _neutral_block(block)) is not None:
            blocks.append(made)
    is_text = len(blocks) == 1 and blocks[0]["type"] == "text"
    content = blocks[0]["text"] if is_text else blocks or ""
    fields: dict[str, Any] = {"role": _ROLES[data["role"]], "content": content}
    results: list[dict[str, Any]] = []
    if fields["role"] == "tool" and more.get("tool_call_id"):
        results = [{"tool_call_id": str(more["tool_call_id"]), "name": more.get("name"), "result": content}]
        fields["content"] = ""
    return NewMessage.model_validate({**fields, "metadata": {"tool_calls": calls, "tool_results": results}})


def _neutral_block(block: Mapping[str, Any]) -> dict[str, Any] | None:
    """The block that others read; None for one that LlamaIndex reads only."""
    kind = block["block_type"]
    if kind == "text":
        return {"type": "text", "text": block["text"]}
    if kind == "thinking" and block.get("content"):
        return {"type": "reasoning", "text": block["content"]}
    if kind == "image" and (url := _url(block, "image", block.get("image_mimetype") or "image/png")):
        return {"type": "image_url", "image_url": {"url": url}}
    if kind == "document":
        mime = block.get("document_mimetype") or "application/octet-stream"
        if url := _url(block, "data", mime):
            return {"type": "file", "mediaType": mime, "url": url}
    return None


def _url(block: Mapping[str, Any], key: str, mime: str) -> str | None:
    """Where the bytes of a block are, or a data URL of them. LlamaIndex keeps them in base64."""
    return block.get("url") or (f"data:{mime};base64,{block[key]}" if block.get(key) else None)


def _written(message: Message | NewMessage) -> list[ChatMessage]:
    """The messages of LlamaIndex for what a message says."""
    metadata = message.metadata
    plain = MessageMetadata(annotations=metadata.annotations)
    shown = to_ui_messages([message.model_copy(update={"metadata": plain})])
    blocks = [block for each in shown for part in each["parts"] if (block := _block(part)) is not None]
    blocks += [
        {"block_type": "tool_call", "tool_call_id": call.id, "tool_name": call.name, "tool_kwargs": call.arguments}
        for call in metadata.tool_calls
    ]
    answers = [
        {
            "role": "tool",
            "additional_kwargs": {"tool_call_id": each.tool_call_id, **({"name": each.name} if each.name else {})},
            "blocks": [{"block_type": "text", "text": _text(each.result)}],
        }
        for each in metadata.tool_results
    ]
    said = [{"role": message.role, "blocks": blocks}] if blocks or not answers else []
    return [ChatMessage.model_validate(each) for each in (*said, *answers)]


def _block(part: Mapping[str, Any]) -> dict[str, Any] | None:
    if part["type"] == "text":
        return {"block_type": "text", "text": part["text"]}
    if part["type"] == "reasoning":
        return {"block_type": "thinking", "content": part["text"]}
    if part["type"] != "file":
        return None
    if str(part["mediaType"]).startswith("image/"):
        return {"block_type": "image", "url": part["url"]}
    return {"block_type": "document", "url": part["url"], "document_mimetype": part["mediaType"]}


def _text(result: Any) -> str:
    """The words of a result."""
    return result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)
