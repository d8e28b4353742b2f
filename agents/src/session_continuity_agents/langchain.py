"""`ConversationMiddleware` for LangChain's `create_agent`, and `ConversationHistory` for its chains.

    agent = create_agent(model, tools, middleware=[ConversationMiddleware(url="sqlite:///chat.db")])
    agent.invoke({"messages": [("user", "hi")]}, {"configurable": {"thread_id": "user-42"}})

Tested with langchain 1.5.2, and made for 1.5 and later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any, NotRequired

from langchain.agents.middleware import AgentMiddleware, AgentState
from langchain.agents.middleware.types import PrivateStateAttr
from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import (
    BaseMessage,
    BaseMessageChunk,
    RemoveMessage,
    convert_to_messages,
    message_chunk_to_message,
    message_to_dict,
    messages_from_dict,
)
from langgraph.config import get_config
from langgraph.graph.message import REMOVE_ALL_MESSAGES  # pyright: ignore[reportMissingTypeStubs]
from langgraph.runtime import Runtime

from session_continuity import (
    AsyncSessionManager,
    ContextOptions,
    Message,
    NewMessage,
    SessionFields,
    SessionNotFoundError,
    TokenBudget,
    stable_id,
    to_openai,
)
from session_continuity_agents.handles import HasManager, ManagerHandle
from session_continuity_agents.langchain_dicts import FRAMEWORK, dict_of_message, message_of_dict
from session_continuity_agents.settling import settled

__all__ = ["FRAMEWORK", "ConversationHistory", "ConversationMiddleware", "langchain_messages_of", "message_of"]

UserId = str | Callable[[Runtime[Any]], str | None] | None


class _State(AgentState[Any]):
    """The state of a run, with the ids of the messages that are stored."""

    session_continuity_stored: NotRequired[Annotated[list[str], PrivateStateAttr]]


class _Conversation:
    """One session, read and written as messages of LangChain."""

    def __init__(self, manager: AsyncSessionManager, session_id: str, fields: SessionFields) -> None:
        self._manager = manager
        self._key = stable_id(session_id)
        self._fields = fields

    async def context(self, rules: ContextOptions) -> list[BaseMessage]:
        """What a model gets to see of the session."""
        try:
            context = await self._manager.get_conversation_context(self._key, **rules)
        except SessionNotFoundError:
            return []
        return [each for message in context for each in langchain_messages_of(message)]

    async def all(self) -> list[BaseMessage]:
        """Every message of the session."""
        try:
            stored = await self._manager.get_messages(self._key)
        except SessionNotFoundError:
            return []
        return [each for message in stored for each in langchain_messages_of(message)]

    async def append(self, messages: Sequence[BaseMessage]) -> None:
        """Store the messages that are not stored yet, in one step if the store takes as many at once."""
        batch = [message_of(message) for message in messages]
        size = self._manager.capabilities.max_batch or max(len(batch), 1)
        for start in range(0, len(batch), size):
            part = batch[start : start + size]
            await settled(self._manager.add_messages(self._key, part, create=self._fields, existing="skip"))

    async def clear(self) -> None:
        """Remove every message."""
        with suppress(SessionNotFoundError):
            await settled(self._manager.delete_all_messages(self._key))


class ConversationMiddleware(HasManager, AgentMiddleware[_State, Any, Any]):
    """Keeps the conversation of an agent of `create_agent` in a session. `thread_id` of the run's config names it.

    The context is read before a run. What was said is stored after each answer of the model, in one step with what came
    before it, so a model that fails leaves nothing behind. Both `invoke` and `ainvoke` work.

    `url` names the store, SESSION_CONTINUITY_URL if it is left out. `manager` is one that is open already. `user_id` is
    the user of a new session, or a function from the runtime to the user. `token_budget` is the budget of a new
    session. `context` are rules for every context, as `get_conversation_context` takes them.
    """

    state_schema = _State

    def __init__(
        self,
        *,
        url: str | None = None,
        manager: AsyncSessionManager | None = None,
        user_id: UserId = None,
        token_budget: TokenBudget | Mapping[str, Any] | int | None = None,
        context: ContextOptions | None = None,
    ) -> None:
        super().__init__()
        self._handle = ManagerHandle(url, manager)
        self._user_id = user_id
        self._budget = token_budget
        self._rules = context or ContextOptions()

    def close(self) -> None:
        """`aclose` for blocking code."""
        self._handle.run(self.aclose())

    def before_agent(self, state: _State, runtime: Runtime[Any]) -> dict[str, Any]:
        """Put what was said before in front of the messages of this run."""
        return self._handle.run(self._open(self._conversation(runtime), state))

    async def abefore_agent(self, state: _State, runtime: Runtime[Any]) -> dict[str, Any]:
        """`before_agent` for `ainvoke`."""
        return await self._open(self._conversation(runtime), state)

    def after_model(self, state: _State, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Store what was said since the last answer, and the answer."""
        return self._handle.run(self._store(self._conversation(runtime), state))

    async def aafter_model(self, state: _State, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """`after_model` for `ainvoke`."""
        return await self._store(self._conversation(runtime), state)

    def after_agent(self, state: _State, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Store what a tool returned directly."""
        return self.after_model(state, runtime)

    async def aafter_agent(self, state: _State, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """`after_agent` for `ainvoke`."""
        return await self.aafter_model(state, runtime)

    def _conversation(self, runtime: Runtime[Any]) -> _Conversation:
        thread = get_config().get("configurable", {}).get("thread_id")
        if not thread:
            raise ValueError("name the conversation in the config of the run: {'configurable': {'thread_id': …}}")
        user = self._user_id(runtime) if callable(self._user_id) else self._user_id
        fields: SessionFields = {"user_id": user, "metadata": {"source": FRAMEWORK}, "token_budget": self._budget}
        return _Conversation(self.manager, str(thread), fields)

    async def _open(self, conversation: _Conversation, state: _State) -> dict[str, Any]:
        history = await conversation.context(self._rules)
        known = [str(message.id) for message in history]
        given = [message for message in state["messages"] if message.id not in known]
        messages = [RemoveMessage(id=REMOVE_ALL_MESSAGES), *history, *given]
        return {"messages": messages, "session_continuity_stored": known}

    async def _store(self, conversation: _Conversation, state: _State) -> dict[str, Any] | None:
        known = state.get("session_continuity_stored") or []
        new = [message for message in state["messages"] if message.id not in known]
        if not new:
            return None
        await conversation.append(new)
        return {"session_continuity_stored": [*known, *(str(message.id) for message in new)]}


class ConversationHistory(HasManager, BaseChatMessageHistory):
    """A session as the history of a chain, for `RunnableWithMessageHistory`.

    LangChain has deprecated both, and removes them with langchain-core 2.0: new code takes `ConversationMiddleware`.
    `url`, `manager` and `user_id` are as there.
    """

    def __init__(
        self,
        session_id: str,
        *,
        url: str | None = None,
        manager: AsyncSessionManager | None = None,
        user_id: str | None = None,
    ) -> None:
        self._handle = ManagerHandle(url, manager)
        fields: SessionFields = {"user_id": user_id, "metadata": {"source": FRAMEWORK}}
        self._conversation = _Conversation(self._handle.manager, session_id, fields)

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]  # a field there, which is read only
        """Every message of the session."""
        return self._handle.run(self._conversation.all())

    async def aget_messages(self) -> list[BaseMessage]:
        """`messages` for async code."""
        return await self._conversation.all()

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Store messages at the end. The session is created with the first ones."""
        self._handle.run(self._conversation.append(messages))

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        """`add_messages` for async code."""
        await self._conversation.append(messages)

    def clear(self) -> None:
        """Remove every message. The session stays."""
        self._handle.run(self._conversation.clear())

    async def aclear(self) -> None:
        """`clear` for async code."""
        await self._conversation.clear()


def message_of(message: BaseMessage) -> NewMessage:
    """A message of LangChain as one that everybody can read. `langchain_messages_of` makes the same one again.

    An `artifact` of a tool that is not JSON becomes text.
    """
    whole = message_chunk_to_message(message) if isinstance(message, BaseMessageChunk) else message
    return message_of_dict(message_to_dict(whole))


def langchain_messages_of(message: Message | NewMessage) -> list[BaseMessage]:
    """The messages of LangChain for a message, whoever wrote it: one, or one for each result of a tool."""
    own = dict_of_message(message)
    if own is not None:
        return messages_from_dict([own])
    written = convert_to_messages(to_openai([message]))
    for place, each in enumerate(written):
        each.id = f"{message.id}#{place}" if place else message.id
    return written
