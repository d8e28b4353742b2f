"""`AgentFrameworkHistory`: the history of agents of Microsoft's agent-framework.

    agent = Agent(client, context_providers=[AgentFrameworkHistory(url="sqlite:///chat.db")])
    await agent.run("hi", session=AgentSession(session_id="user-42"))

Tested with agent-framework-core 1.23.0, and made for that version and later.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from agent_framework import Content, HistoryProvider, Message as AgentMessage
from pydantic_core import to_jsonable_python

from session_continuity import (
    AsyncSessionManager,
    ContextOptions,
    Message,
    MessageMetadata,
    NewMessage,
    Role,
    SessionFields,
    SessionNotFoundError,
    TokenBudget,
    replace_invalid_text,
    stable_id,
    to_ui_messages,
)
from session_continuity_agents.handles import HasManager, ManagerHandle
from session_continuity_agents.keeping import keep, kept, same_json
from session_continuity_agents.keys import session_key
from session_continuity_agents.settling import settled

__all__ = ["FRAMEWORK", "AgentFrameworkHistory", "agent_message_of", "message_of"]

FRAMEWORK = "agent_framework"
_DEFAULT_SOURCE = "session_continuity"
_DEFAULT_SESSION = "default"
_ROLES: Mapping[str, Role] = {"user": "user", "assistant": "assistant", "system": "system", "tool": "tool"}
_FAILED = "the tool failed"


class AgentFrameworkHistory(HasManager, HistoryProvider):
    """A history provider of agent-framework on any store.

    The `session_id` of an AgentSession is also the id of the session for managers and the command line; one of more
    than 256 bytes is shortened by `stable_id`. Without one, "default" is used, as agent-framework does. A provider with
    another `source_id` than the default keeps its messages in a session of its own: two providers of one agent, for
    example a history and an audit, do not share messages.

    `url` names the store, SESSION_CONTINUITY_URL if it is left out. `manager` is one that is open already. `user_id` is
    the user of a new session. `token_budget` is the budget of a new session. `context` are rules, as
    `get_conversation_context` takes them. With a budget or rules, a run reads the context; without, all messages.
    `options` are those of HistoryProvider: which messages are loaded and stored.
    """

    def __init__(
        self,
        source_id: str = _DEFAULT_SOURCE,
        *,
        url: str | None = None,
        manager: AsyncSessionManager | None = None,
        user_id: str | None = None,
        token_budget: TokenBudget | Mapping[str, Any] | int | None = None,
        context: ContextOptions | None = None,
        **options: Any,
    ) -> None:
        super().__init__(source_id, **options)
        self._handle = ManagerHandle(url, manager)
        self._rules = ContextOptions() if context is None and token_budget is not None else context
        self._fields: SessionFields = {
            "user_id": user_id,
            "metadata": {"source": FRAMEWORK},
            "token_budget": token_budget,
        }

    async def get_messages(
        self, session_id: str | None, *, state: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[AgentMessage]:
        """What a run gets to see of the session, oldest first, whoever wrote it."""
        key = self._key(session_id)
        try:
            if self._rules is None:
                stored = list(await self.manager.get_messages(key))
            else:
                stored = await self.manager.get_conversation_context(key, **self._rules)
        except SessionNotFoundError:
            return []
        return [agent_message_of(message) for message in stored]

    async def save_messages(
        self,
        session_id: str | None,
        messages: Sequence[AgentMessage],
        *,
        state: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Store messages at the end, in one step if the store takes as many at once.

        Messages at the beginning that the session ends with already are left out: agent-framework repeats them when it
        stores after each call of a model.
        """
        if not messages:
            return
        key = self._key(session_id)
        batch = [message_of(message) for message in _without_overlap(await self._tail(key, len(messages)), messages)]
        await settled(self._append(key, batch))

    async def _append(self, key: str, batch: list[NewMessage]) -> None:
        size = self.manager.capabilities.max_batch or max(len(batch), 1)
        for start in range(0, len(batch), size):
            await self.manager.add_messages(key, batch[start : start + size], create=self._fields)

    async def _tail(self, key: str, count: int) -> list[AgentMessage]:
        """The newest messages, oldest first: one more than `count`, which tells whether they are all."""
        try:
            page = await self.manager.get_messages(key, order="desc", limit=count + 1)
        except SessionNotFoundError:
            return []
        return [agent_message_of(message) for message in page][::-1]

    def _key(self, session_id: str | None) -> str:
        name = session_id or _DEFAULT_SESSION
        return stable_id(name) if self.source_id == _DEFAULT_SOURCE else session_key(FRAMEWORK, self.source_id, name)


def _without_overlap(stored: Sequence[AgentMessage], given: Sequence[AgentMessage]) -> Sequence[AgentMessage]:
    """The messages that are not stored, by the rule of agent-framework 1.18 and later.

    They are those behind the whole history, where `given` has it, else those behind its longest beginning that the
    history ends with. One user message without an id is not enough: the user may say the same thing twice.
    """
    old, new = [_identity(message) for message in stored], [_identity(message) for message in given]
    if not old:
        return given
    is_repeated = old[-1][0] != "id" and stored[-1].role == "user"
    for start in range(len(new) - len(old) + 1):
        if new[start : start + len(old)] == old:
            if start == 0 and len(old) == 1 and is_repeated:
                break
            return given[start + len(old) :]
    for overlap in range(min(len(old), len(new)), 0, -1):
        if old[-overlap:] == new[:overlap] and not (overlap == 1 and is_repeated):
            return given[overlap:]
    return given


def _identity(message: AgentMessage) -> tuple[str, ...]:
    if message.message_id is not None:
        return "id", message.message_id
    return "content", message.role, json.dumps(_data(message)["contents"], sort_keys=True)


def message_of(message: AgentMessage) -> NewMessage:
    """A message of agent-framework as one that everybody can read. `agent_message_of` makes the same one again.

    A value that is not JSON becomes text. agent-framework itself keeps of an exception only that there was one.
    """
    data = _data(message)
    neutral = _neutral(replace_invalid_text(data))
    return neutral if same_json(_data(_made(neutral)), data) else keep(neutral, FRAMEWORK, data)


def agent_message_of(message: Message | NewMessage) -> AgentMessage:
    """The message of agent-framework for a message, whoever wrote it: with its reasoning, images, calls and results."""
    item = kept(message, FRAMEWORK)
    return _made(message) if item is None else AgentMessage.from_dict(item)


def _data(message: AgentMessage) -> dict[str, Any]:
    return cast("dict[str, Any]", to_jsonable_python(message.to_dict(), fallback=repr, inf_nan_mode="constants"))


def _neutral(data: Mapping[str, Any]) -> NewMessage:
    blocks: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for content in cast("list[dict[str, Any]]", data["contents"]):
        kind, media = content["type"], str(content.get("media_type"))
        if kind == "text":
            blocks.append({"type": "text", "text": content["text"]})
        elif kind == "text_reasoning" and content.get("text"):
            blocks.append({"type": "reasoning", "text": content["text"]})
        elif kind in ("data", "uri") and media.startswith("image/"):
            blocks.append({"type": "image_url", "image_url": {"url": content["uri"]}})
        elif kind in ("data", "uri"):
            blocks.append({"type": "file", "mediaType": media, "url": content["uri"]})
        elif kind == "function_call":
            arguments: Any = content.get("arguments")
            calls.append({"id": content["call_id"], "name": content["name"], "arguments": arguments or {}})
        elif kind == "function_result":
            about = {"tool_call_id": content["call_id"], "is_error": content.get("exception") is not None}
            results.append({**about, "result": content.get("result")})
    is_text = len(blocks) == 1 and blocks[0]["type"] == "text"
    metadata = {"tool_calls": calls, "tool_results": results}
    fields = {"role": _ROLES.get(data["role"], "user"), "content": blocks[0]["text"] if is_text else blocks or ""}
    return NewMessage.model_validate({**fields, "metadata": metadata})


def _made(message: Message | NewMessage) -> AgentMessage:
    """The message of agent-framework for what a message says."""
    metadata = message.metadata
    contents = [
        Content.from_function_result(
            each.tool_call_id, result=each.result, exception=_FAILED if each.is_error else None
        )
        for each in metadata.tool_results
    ]
    plain = MessageMetadata(annotations=metadata.annotations)
    for shown in to_ui_messages([message.model_copy(update={"metadata": plain})]):
        contents += [made for part in shown["parts"] if (made := _content(part)) is not None]
    contents += [
        Content.from_function_call(each.id, each.name, arguments=cast("Any", each.arguments))
        for each in metadata.tool_calls
    ]
    return AgentMessage(message.role, contents)


def _content(part: Mapping[str, Any]) -> Content | None:
    if part["type"] == "text":
        return Content.from_text(part["text"])
    if part["type"] == "reasoning":
        return Content.from_text_reasoning(text=part["text"])
    return Content.from_uri(part["url"], media_type=part["mediaType"]) if part["type"] == "file" else None
