"""`ChatKitStore`: the threads of a ChatKit server.

    server = MyChatKitServer(ChatKitStore(url="sqlite:///chat.db"))

Tested with openai-chatkit 1.6.5, and made for 1.6 and later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Generic, Literal, TypeVar, cast

from chatkit.store import NotFoundError, Store
from chatkit.types import Attachment, ClientToolCallItem, Page, ThreadItem, ThreadMetadata
from pydantic import TypeAdapter

from session_continuity import (
    AsyncSessionManager,
    Message,
    MessageNotFoundError,
    NewMessage,
    Session,
    SessionExistsError,
    SessionFields,
    SessionNotFoundError,
    SessionQuery,
    ValidationError,
    backoff,
    replace_invalid_text,
    sleeper,
    stable_id,
)
from session_continuity_agents.handles import HasManager, ManagerHandle
from session_continuity_agents.keeping import keep, kept, same_json
from session_continuity_agents.keys import session_key
from session_continuity_agents.settling import settled

__all__ = ["FRAMEWORK", "ChatKitStore", "items_of", "messages_of", "user_of"]

FRAMEWORK = "chatkit"
_THREADS, _ATTACHMENTS = "threads", "attachments"
_DEADLINE = 10.0  # seconds
_ITEM: TypeAdapter[Any] = TypeAdapter(ThreadItem)
_ATTACHMENT: TypeAdapter[Any] = TypeAdapter(Attachment)

C = TypeVar("C")
R = TypeVar("R")
Item = dict[str, Any]


def user_of(context: Any) -> str:
    """The user of a request: `user_id` of its context, which is an object or a mapping.

    Raises ValidationError without one, because the threads of all users would be one user's.
    """
    if isinstance(context, Mapping):
        found = cast("Mapping[str, Any]", context).get("user_id")
    else:
        found = getattr(context, "user_id", None)
    if not isinstance(found, str) or not found:
        raise ValidationError("the context has no user_id; give ChatKitStore a function: user_of=lambda context: …")
    return found


class ChatKitStore(HasManager, Store[C], Generic[C]):
    """The store of a ChatKit server on any store.

    A thread is a session of its user, and an item is a message. `conversation_id` gives the id of the session for
    managers, the command line and other frameworks. The attachments of a user, without their bytes, are messages of one
    more session.

    `url` names the store, SESSION_CONTINUITY_URL if it is left out. `manager` is one that is open already. `user_of` is
    a function from the context of a request to its user. A user's threads do not exist for others.

    Items stand in the order in which they were added. A cancelled call raises its cancellation when its write has
    ended.
    """

    def __init__(
        self,
        *,
        url: str | None = None,
        manager: AsyncSessionManager | None = None,
        user_of: Callable[[C], str] = user_of,
    ) -> None:
        self._handle = ManagerHandle(url, manager)
        self._user_of = user_of

    @staticmethod
    def conversation_id(user: str, thread_id: str) -> str:
        """The id of the session for managers, the command line and other frameworks."""
        return session_key(FRAMEWORK, user, _THREADS, thread_id)

    # Threads

    async def load_thread(self, thread_id: str, context: C) -> ThreadMetadata:
        """A thread without its items. Raises NotFoundError, also for the thread of another user."""
        try:
            return _thread(await self.manager.get_session(self._key(thread_id, context)))
        except SessionNotFoundError:
            raise NotFoundError(f"Thread {thread_id} not found") from None

    async def save_thread(self, thread: ThreadMetadata, context: C) -> None:
        """Create a thread, or replace its title, status and metadata."""
        await settled(self._save_thread(self._key(thread.id, context), thread, self._user_of(context)))

    async def load_threads(self, limit: int, after: str | None, order: str, context: C) -> Page[ThreadMetadata]:
        """The user's threads by the time when they were created, from behind the thread `after`.

        The oldest first are read with all threads of the user, where the store does not declare `ascending_listing`.
        """
        is_oldest = order == "asc"
        query: SessionQuery = {"user_id": stable_id(self._user_of(context)), "tags": [FRAMEWORK]}
        behind = self._key(after, context) if after else None
        try:
            if is_oldest and not self.manager.capabilities.ascending_listing:
                found = await _oldest(self.manager, query, behind)
            else:
                query["order"] = "oldest" if is_oldest else "newest"
                found = await self.manager.list_sessions(after_id=behind, limit=limit + 1, **query)
        except SessionNotFoundError:
            raise NotFoundError(f"Thread {after} not found") from None
        return _page([_thread(session) for session in found], limit)

    async def delete_thread(self, thread_id: str, context: C) -> None:
        """Delete a thread with its items, if there is one."""
        with suppress(SessionNotFoundError):
            await settled(self.manager.delete_session(self._key(thread_id, context)))

    # Items

    async def load_thread_items(
        self, thread_id: str, after: str | None, limit: int, order: str, context: C
    ) -> Page[ThreadItem]:
        """Items from behind the item `after`. What another framework wrote is read as items too, but for its calls of
        tools, which ChatKit does not show."""
        key = self._key(thread_id, context)
        toward: Literal["asc", "desc"] = "asc" if order == "asc" else "desc"
        bound: dict[str, Any] = {("after" if order == "asc" else "before"): stable_id(after)} if after else {}
        messages, count, cursor = list[Message](), 0, None
        try:
            while count <= limit:
                page = await self.manager.get_messages(
                    key, order=toward, limit=limit + 1 - count, cursor=cursor, **bound
                )
                messages += page
                count = len(items_of(messages, thread_id))
                if (cursor := page.next_cursor) is None:
                    break
            found = await _answered(self.manager, key, messages, thread_id)
        except SessionNotFoundError:
            return Page()
        except MessageNotFoundError:
            raise NotFoundError(f"Item {after} not found") from None
        return _page(found, limit)

    async def load_item(self, thread_id: str, item_id: str, context: C) -> ThreadItem:
        """One item. Raises NotFoundError."""
        key, found = self._key(thread_id, context), list[ThreadItem]()
        with suppress(MessageNotFoundError, SessionNotFoundError):
            found = await _answered(
                self.manager, key, [await self.manager.get_message(key, stable_id(item_id))], thread_id
            )
        if not found:
            raise NotFoundError(f"Item {item_id} not found")
        return found[0]

    async def add_thread_item(self, thread_id: str, item: ThreadItem, context: C) -> None:
        """Add an item at the end of a thread. Raises NotFoundError without the thread."""
        try:
            await settled(self.manager.add_messages(self._key(thread_id, context), messages_of(item, thread_id)))
        except SessionNotFoundError:
            raise NotFoundError(f"Thread {thread_id} not found") from None

    async def save_item(self, thread_id: str, item: ThreadItem, context: C) -> None:
        """Replace an item at its place, or add it at the end. Raises NotFoundError without the thread."""
        try:
            await settled(_save_item(self.manager, self._key(thread_id, context), messages_of(item, thread_id)))
        except SessionNotFoundError:
            raise NotFoundError(f"Thread {thread_id} not found") from None

    async def delete_thread_item(self, thread_id: str, item_id: str, context: C) -> None:
        """Delete an item, if there is one."""
        await settled(self._delete_item(self._key(thread_id, context), item_id))

    # Attachments

    async def save_attachment(self, attachment: Attachment, context: C) -> None:
        """Store what there is to know of an attachment, without its bytes."""
        await settled(self._save_attachment(attachment, self._user_of(context)))

    async def load_attachment(self, attachment_id: str, context: C) -> Attachment:
        """What there is to know of an attachment of the user. Raises NotFoundError."""
        try:
            message = await self.manager.get_message(_drawer(self._user_of(context)), stable_id(attachment_id))
        except (MessageNotFoundError, SessionNotFoundError):
            raise NotFoundError(f"Attachment {attachment_id} not found") from None
        return cast("Attachment", _ATTACHMENT.validate_python(kept(message, FRAMEWORK)))

    async def delete_attachment(self, attachment_id: str, context: C) -> None:
        """Forget an attachment of the user, if there is one."""
        with suppress(MessageNotFoundError, SessionNotFoundError):
            await settled(self.manager.delete_message(_drawer(self._user_of(context)), stable_id(attachment_id)))

    def _key(self, thread_id: str, context: C) -> str:
        return self.conversation_id(self._user_of(context), thread_id)

    async def _save_thread(self, key: str, thread: ThreadMetadata, user: str) -> None:
        data = replace_invalid_text(thread.model_dump(mode="json", exclude={"items"}))
        async for _ in backoff(sleeper("async"), deadline=_DEADLINE):
            try:
                await self.manager.update_metadata(key, title=data["title"], custom={FRAMEWORK: data})
                return
            except SessionNotFoundError:
                metadata = {
                    "title": data["title"],
                    "source": FRAMEWORK,
                    "tags": [FRAMEWORK],
                    "custom": {FRAMEWORK: data},
                }
                with suppress(SessionExistsError):
                    created_at = thread.created_at.astimezone()  # ChatKit's times are local, without a zone
                    fields: SessionFields = {"user_id": stable_id(user), "metadata": metadata, "created_at": created_at}
                    await self.manager.create_session(id=key, **fields)
                    return

    async def _delete_item(self, key: str, item_id: str) -> None:
        id = stable_id(item_id)
        await _delete(self.manager, key, _answer_id(id))
        await _delete(self.manager, key, id)

    async def _save_attachment(self, attachment: Attachment, user: str) -> None:
        blank = NewMessage(role="user", content="", id=stable_id(attachment.id), token_count=0)
        new = keep(blank, FRAMEWORK, _ATTACHMENT.dump_python(attachment, mode="json"))
        try:
            await self.manager.update_message(_drawer(user), str(new.id), metadata=new.metadata, token_count=0)
        except (MessageNotFoundError, SessionNotFoundError):
            fields: SessionFields = {"user_id": stable_id(user), "metadata": {"source": FRAMEWORK}}
            await self.manager.add_messages(_drawer(user), [new], create=fields)


async def _oldest(manager: AsyncSessionManager, query: SessionQuery, behind: str | None) -> Sequence[Session]:
    """The sessions behind one, the oldest first, from a store that lists the newest first."""
    found = list(await manager.list_sessions(limit=None, **query))[::-1]
    if behind is None:
        return found
    place = next((place for place, session in enumerate(found) if session.id == behind), None)
    if place is None:
        raise SessionNotFoundError(behind)
    return found[place + 1 :]


async def _answered(
    manager: AsyncSessionManager, key: str, messages: Sequence[Message], thread_id: str
) -> list[ThreadItem]:
    """The items for messages. A call whose answer is not among them may have one elsewhere in the thread."""
    known = {message.id for message in messages}
    elsewhere: list[Message] = []
    for message in messages:
        id = _answer_id(message.id)
        if isinstance(_item_of(message, thread_id), ClientToolCallItem) and id not in known:
            with suppress(MessageNotFoundError):
                elsewhere.append(await manager.get_message(key, id))
    return items_of([*messages, *elsewhere], thread_id)


async def _save_item(manager: AsyncSessionManager, key: str, messages: Sequence[NewMessage]) -> None:
    first, *answers = messages
    if not await _replace(manager, key, first):
        await manager.add_messages(key, messages)
    elif answers and not await _replace(manager, key, answers[0]):
        await manager.add_messages(key, answers)
    elif first.metadata.tool_calls and not answers:
        await _delete(manager, key, _answer_id(str(first.id)))


async def _replace(manager: AsyncSessionManager, key: str, new: NewMessage) -> bool:
    """Replace a message at its place. False if there is none."""
    changes = {"role": new.role, "content": new.content, "metadata": new.metadata, "token_count": new.token_count}
    try:
        await manager.update_message(key, str(new.id), **changes)
    except MessageNotFoundError:
        return False
    return True


async def _delete(manager: AsyncSessionManager, key: str, id: str) -> None:
    """Delete a message, if there is one."""
    with suppress(MessageNotFoundError, SessionNotFoundError):
        await manager.delete_message(key, id)


def _drawer(user: str) -> str:
    """The id of the session that holds a user's attachments."""
    return session_key(FRAMEWORK, user, _ATTACHMENTS)


def _thread(session: Session) -> ThreadMetadata:
    data = cast("Item", session.metadata.custom[FRAMEWORK])
    return ThreadMetadata.model_validate({**data, "title": session.metadata.title})


def _page(found: list[R], limit: int) -> Page[R]:
    """The first `limit` of what was found, and whether there is more."""
    has_more = len(found) > limit
    return Page(data=found[:limit], has_more=has_more, after=cast("Any", found[limit - 1]).id if has_more else None)


def messages_of(item: ThreadItem, thread_id: str) -> list[NewMessage]:
    """An item of a thread as messages that everybody can read: one, or for a call that was answered, its answer too.

    Words, calls of tools in the browser and images are what others read. Of a widget they read the text to copy. What
    else there is, such as tasks and hidden context, is kept beside a message without words, which no model gets.
    """
    data = item.model_dump(mode="json")
    said = replace_invalid_text({"role": "assistant", "content": "", **_said(data)})
    is_silent = not said["content"] and "metadata" not in said
    neutral = NewMessage(**said, id=stable_id(item.id), token_count=0 if is_silent else None)
    shown = {**_shown(neutral, item.type), "id": neutral.id, "thread_id": thread_id}
    of_answer = {"status", "output"} if isinstance(item, ClientToolCallItem) else set[str]()
    rest = {name: value for name, value in data.items() if name not in shown or not same_json(value, shown[name])}
    first = keep(neutral, FRAMEWORK, {name: value for name, value in rest.items() if name not in of_answer})
    return [first, *_answers(item)]


def _answers(item: ThreadItem) -> list[NewMessage]:
    """The answer of a call in the browser, which is the item's output."""
    if not isinstance(item, ClientToolCallItem) or item.status != "completed":
        return []
    output = replace_invalid_text(item.model_dump(mode="json")["output"])
    metadata = {"tool_results": [{"tool_call_id": item.call_id, "name": item.name, "result": output}]}
    id = _answer_id(stable_id(item.id))
    return [NewMessage.model_validate({"role": "tool", "content": "", "id": id, "metadata": metadata})]


def _answer_id(id: str) -> str:
    """The id of the message that answers a call."""
    return stable_id(f"{id}#answer")


def items_of(messages: Iterable[Message], thread_id: str) -> list[ThreadItem]:
    """The items for messages of a thread, whoever wrote them.

    There are none for what ChatKit does not show, such as calls of tools in a server. A call in the browser gets its
    answer from another of the messages.
    """
    given = list(messages)
    answers = {message.id: message.metadata.tool_results for message in given if message.role == "tool"}
    items = [item for message in given if (item := _item_of(message, thread_id)) is not None]
    for item in items:
        if (
            isinstance(item, ClientToolCallItem)
            and (results := answers.get(_answer_id(stable_id(item.id)))) is not None
        ):
            item.status, item.output = "completed", results[0].result if results else None
    return items


def _item_of(message: Message, thread_id: str) -> ThreadItem | None:
    """The item for a message, a call without its answer; None for what ChatKit does not show."""
    rest = kept(message, FRAMEWORK)
    data = _made(message) if rest is None else {**_shown(message, rest["type"]), **rest}
    if data is None:
        return None
    return cast("ThreadItem", _ITEM.validate_python({"id": message.id, "thread_id": thread_id, **data}))


def _said(data: Item) -> dict[str, Any]:
    """The fields of the message for what an item says; none if it says nothing."""
    kind = data["type"]
    if kind in ("user_message", "assistant_message"):
        texts = [part["text"] for part in data["content"]]
        if data.get("quoted_text"):
            texts.insert(0, "\n".join(f"> {line}" for line in data["quoted_text"].splitlines()))
        blocks = [{"type": "text", "text": text} for text in texts]
        return {"role": kind.removesuffix("_message"), "content": texts[0] if len(texts) == 1 else blocks or ""}
    if kind == "client_tool_call":
        call = {"id": data["call_id"], "name": data["name"], "arguments": data["arguments"]}
        return {"metadata": {"tool_calls": [call]}}
    if kind == "sdk_hidden_context":  # what ChatKit tells the model: that the user cancelled the answer before
        return {"role": "user", "content": data["content"]}
    if kind == "generated_image" and data["image"]:
        return {"content": [{"type": "image_url", "image_url": {"url": data["image"]["url"]}}]}
    return {"content": data.get("copy_text") or ""}


def _shown(message: Message | NewMessage, kind: str) -> Item:
    """The fields of an item that are in the fields of its message."""
    if kind == "user_message":
        return {"content": [{"type": "input_text", "text": text} for text in _texts(message)]}
    if kind == "assistant_message":
        return {"content": [{"type": "output_text", "text": text, "annotations": []} for text in _texts(message)]}
    if kind == "sdk_hidden_context":
        return {"content": message.content}
    if kind == "client_tool_call":
        [call] = message.metadata.tool_calls
        return {"call_id": call.id, "name": call.name, "arguments": call.arguments}
    return {}


def _texts(message: Message | NewMessage) -> list[str]:
    content = message.content
    if isinstance(content, str):
        return [content] if content else []
    return [str(block["text"]) for block in content if block["type"] == "text"]


def _made(message: Message) -> Item | None:
    """The item for the words of a message that another framework wrote, or that was changed since."""
    if message.role not in ("user", "assistant") or not _texts(message):
        return None
    created_at = message.created_at.astimezone().replace(tzinfo=None)  # local, as ChatKit writes it
    kind = f"{message.role}_message"
    return {"type": kind, "created_at": created_at, "inference_options": {}, **_shown(message, kind)}
