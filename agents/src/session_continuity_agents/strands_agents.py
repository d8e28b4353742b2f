"""`StrandsSessionManager`: messages and state of the agents of strands-agents.

    agent = Agent(session_manager=StrandsSessionManager("user-42", url="sqlite:///chat.db"))
    agent("hi")

Tested with strands-agents 1.62.0, and made for that version and later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from strands.hooks import (
    AfterInvocationEvent,
    AfterMultiAgentInvocationEvent,
    AfterNodeCallEvent,
    AgentInitializedEvent,
    HookCallback,
    HookRegistry,
    MessageAddedEvent,
    MultiAgentInitializedEvent,
)
from strands.session import RepositorySessionManager
from strands.session.session_repository import SessionRepository
from strands.types.content import Message as StrandsMessage
from strands.types.exceptions import SessionException
from strands.types.session import (
    Session as StrandsSession,
    SessionAgent,
    SessionMessage,
    SessionType,
    decode_bytes_values,
    encode_bytes_values,
)

from session_continuity import (
    AsyncSessionManager,
    ConcurrencyError,
    Message,
    MessageNotFoundError,
    NewMessage,
    Session,
    SessionExistsError,
    SessionNotFoundError,
    ThrottledError,
    backoff,
    sleeper,
)
from session_continuity_agents.handles import HasManager, ManagerHandle
from session_continuity_agents.keeping import same_json
from session_continuity_agents.settling import settled
from session_continuity_agents.strands_messages import (
    DEFAULT_AGENT,
    FRAMEWORK,
    conversation_id,
    message_of,
    runs,
    strands_messages_of,
)

__all__ = ["FRAMEWORK", "StrandsRepository", "StrandsSessionManager", "message_of", "strands_messages_of"]

_DEADLINE = 10.0  # seconds
_PAGE = 100

State = dict[str, Any]


class StrandsSessionManager(HasManager, RepositorySessionManager):
    """The session manager of an agent, or of a graph or swarm, on any store.

    The conversation of an agent without an `agent_id` is the session `session_id`, for managers and the command line
    too. `conversation_id` tells that of another agent. `url` names the store, SESSION_CONTINUITY_URL if it is left out.
    `manager` is one that is open already. `user_id` is the user of a new session.

    A message and the agent's state at that time are stored in one step. A cancelled run ends the write that is under
    way. What several processes add to one conversation is all stored; of their agents' states the last one counts.
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
        self._repository = StrandsRepository(self._handle, user_id=user_id)
        super().__init__(session_id, self._repository)

    def close(self) -> None:
        """`aclose` for blocking code."""
        self._handle.run(self.aclose())

    @staticmethod
    def conversation_id(session_id: str, agent_id: str = DEFAULT_AGENT) -> str:
        """The id of the session with an agent's messages."""
        return conversation_id(session_id, agent_id)

    def register_hooks(self, registry: HookRegistry, **_: Any) -> None:
        """Call this manager when something happens that is to be stored. No store keeps the event loop waiting."""
        registry.add_callback(AgentInitializedEvent, lambda event: self.initialize(event.agent))
        registry.add_callback(MultiAgentInitializedEvent, lambda event: self.initialize_multi_agent(event.source))
        registry.add_callback(MessageAddedEvent, _beside(self._add))
        registry.add_callback(AfterInvocationEvent, _beside(lambda event: self.sync_agent(event.agent)))
        registry.add_callback(AfterNodeCallEvent, _beside(lambda event: self.sync_multi_agent(event.source)))
        registry.add_callback(
            AfterMultiAgentInvocationEvent, _beside(lambda event: self.sync_multi_agent(event.source))
        )

    def append_message(self, message: StrandsMessage, agent: Any, **kwargs: Any) -> None:
        """Store a message, and the state of the agent with it if that has changed."""
        self._repository.change_with_next_message(self.session_id, SessionAgent.from_agent(agent))
        super().append_message(message, agent, **kwargs)

    def initialize(self, agent: Any, **kwargs: Any) -> None:
        """Restore an agent, or store a new one with its messages. Restoring takes one request.

        An agent that is new to a conversation of another framework goes on with its messages.
        """
        with self._repository.restoring(self.session_id, SessionAgent.from_agent(agent)):
            super().initialize(agent, **kwargs)

    def _add(self, event: MessageAddedEvent) -> None:
        self.append_message(event.message, event.agent)
        self.sync_agent(event.agent)


def _beside(call: Callable[[Any], None]) -> HookCallback[Any]:
    """A callback that runs the blocking call in a thread, beside the event loop, to its end."""

    async def callback(event: Any) -> None:
        await settled(asyncio.to_thread(call, event))

    return callback


class _Records:
    """The sessions of the store, and what strands keeps in their metadata. `known` has them as last read or written."""

    def __init__(self, handle: ManagerHandle, user_id: str | None) -> None:
        self._handle = handle
        self._user_id = user_id
        self.known: dict[str, Session] = {}

    def create(self, key: str, entry: State, exists: str) -> None:
        """Create a session. Raises SessionException with the text `exists`."""
        fields: Any = {"user_id": self._user_id, "metadata": {"source": FRAMEWORK, "custom": {FRAMEWORK: entry}}}
        try:
            self.known[key] = self._handle.run(settled(self._handle.manager.create_session(id=key, **fields)))
        except SessionExistsError:
            raise SessionException(exists) from None

    def read(self, key: str) -> Session:
        """Read a session."""
        self.known[key] = self._handle.run(self._handle.manager.get_session(key))
        return self.known[key]

    def entry(self, key: str, missing: str) -> State:
        """What strands keeps in the session, as of the last read or write."""
        try:
            return _entry(self.known.get(key) or self.read(key))
        except SessionNotFoundError:
            raise SessionException(missing) from None

    def merge(self, key: str, changes: State, missing: str) -> None:
        """Change what strands keeps in the session. Raises SessionException with the text `missing`."""
        try:
            self._handle.run(settled(self._store(key, changes, None)))
        except SessionNotFoundError:
            raise SessionException(missing) from None

    async def append(self, key: str, message: NewMessage, changes: State | None) -> Message:
        """Append a message, in one step with changes of what strands keeps in the session."""
        if changes is not None:
            return (await self._store(key, changes, message))[0]
        return (await self._handle.manager.add_messages(key, [message]))[0]

    async def _store(self, key: str, changes: State, message: NewMessage | None) -> Sequence[Message]:
        """Change what strands keeps in the session, and append the message in the same step. Other changes stay."""
        known = self.known.get(key) or await self._handle.manager.get_session(key)
        async for _ in backoff(sleeper("async"), deadline=_DEADLINE):
            changed = _with(known, changes)
            terms: Any = {"expected_version": known.version}
            try:
                if message is None:
                    added: Sequence[Message] = []
                    await self._handle.manager.update_session(key, metadata=changed.metadata, **terms)
                else:
                    update = {"metadata": changed.metadata}
                    added = await self._handle.manager.add_messages(key, [message], update=update, **terms)
                self.known[key] = changed
                return added
            except ConcurrencyError as conflict:
                known = conflict.current or await self._handle.manager.get_session(key)
        raise ThrottledError(f"others changed session {key!r} for {_DEADLINE:g} seconds")


class StrandsRepository(SessionRepository):
    """The repository under `StrandsSessionManager`.

    The index of a message in strands is its place in the conversation. Messages have ids of the store's own beside it,
    so that two processes do not claim one index.
    """

    def __init__(self, handle: ManagerHandle, *, user_id: str | None = None) -> None:
        self._handle = handle
        self._records = _Records(handle, user_id)
        self._pages: dict[str, list[Message]] = {}
        self._changes: dict[str, State] = {}
        self._ids: dict[tuple[str, int], str] = {}

    @property
    def _manager(self) -> AsyncSessionManager:
        return self._handle.manager

    # Sessions

    def create_session(self, session: StrandsSession, **_: Any) -> StrandsSession:
        """Store a new session. Raises SessionException if it is there."""
        entry = {"session": {**session.to_dict(), "session_type": str(session.session_type.value)}}
        self._records.create(conversation_id(session.session_id), entry, f"Session {session.session_id} already exists")
        return session

    def read_session(self, session_id: str, **_: Any) -> StrandsSession | None:
        """The session; None if there is none. A conversation of another framework is a session too."""
        try:
            stored = self._records.read(conversation_id(session_id))
        except SessionNotFoundError:
            return None
        entry = _entry(stored).get("session") or {
            "session_id": session_id,
            "session_type": SessionType.AGENT.value,
            "created_at": stored.created_at.isoformat(),
            "updated_at": stored.last_activity_at.isoformat(),
        }
        session = StrandsSession.from_dict(entry)
        session.session_type = SessionType(session.session_type)
        return session

    # Agents

    def create_agent(self, session_id: str, session_agent: SessionAgent, **_: Any) -> None:
        """Store a new agent of a session. Raises SessionException if there is no such session."""
        key, entry = conversation_id(session_id, session_agent.agent_id), session_agent.to_dict()
        if key != conversation_id(session_id):
            self._records.create(
                key, {"agent": entry}, f"Agent {session_agent.agent_id} already exists in {session_id}"
            )
        else:
            self._records.merge(key, {"agent": entry}, f"Session {session_id} does not exist")

    def read_agent(self, session_id: str, agent_id: str, **_: Any) -> SessionAgent | None:
        """The agent; None if there is none."""
        key = conversation_id(session_id, agent_id)
        try:
            stored = self._records.known[key] if key in self._pages else self._records.read(key)
        except SessionNotFoundError:
            return None
        entry = _entry(stored).get("agent")
        return None if entry is None else SessionAgent.from_dict(entry)

    def update_agent(self, session_id: str, session_agent: SessionAgent, **_: Any) -> None:
        """Store the state of an agent, if it has changed."""
        key = conversation_id(session_id, session_agent.agent_id)
        missing = f"Agent {session_agent.agent_id} does not exist in session {session_id}"
        before = self._records.entry(key, missing).get("agent")
        if before is None:
            raise SessionException(missing)
        session_agent.created_at = before["created_at"]
        if _is_changed(before, session_agent):
            self._records.merge(key, {"agent": session_agent.to_dict()}, missing)

    def change_with_next_message(self, session_id: str, session_agent: SessionAgent) -> None:
        """Store this state of the agent in one step with its next message, if it has changed."""
        key = conversation_id(session_id, session_agent.agent_id)
        before = self._records.entry(key, f"Agent {session_agent.agent_id} does not exist").get("agent")
        self._changes.pop(key, None)
        if before is not None and _is_changed(before, session_agent):
            self._changes[key] = {"agent": {**session_agent.to_dict(), "created_at": before["created_at"]}}

    # Messages

    def create_message(self, session_id: str, agent_id: str, session_message: SessionMessage, **_: Any) -> None:
        """Store a message at the end of an agent's conversation."""
        key = conversation_id(session_id, agent_id)
        message, changes = message_of(session_message.to_message()), self._changes.pop(key, None)
        try:
            stored = self._handle.run(self._records.append(key, message, changes))
        except SessionNotFoundError:
            raise SessionException(f"Agent {agent_id} does not exist in session {session_id}") from None
        self._ids[key, session_message.message_id] = stored.id

    def read_message(self, session_id: str, agent_id: str, message_id: int, **_: Any) -> SessionMessage | None:
        """The message with this index; None if there is none."""
        key = conversation_id(session_id, agent_id)
        try:
            id = self._ids.get((key, message_id)) or self._id_at(key, message_id)
            stored = self._handle.run(self._manager.get_message(key, id))
        except (SessionNotFoundError, MessageNotFoundError):
            return None
        return next(iter(self._session_messages(key, [stored], message_id)), None)

    def update_message(self, session_id: str, agent_id: str, session_message: SessionMessage, **_: Any) -> None:
        """Replace a message. What was redacted is not stored any more."""
        key, index = conversation_id(session_id, agent_id), session_message.message_id
        message = message_of(session_message.to_message())
        fields = {"role": message.role, "content": message.content, "metadata": message.metadata}
        try:
            id = self._ids.get((key, index)) or self._id_at(key, index)
            self._handle.run(settled(self._manager.update_message(key, id, **fields)))
        except (SessionNotFoundError, MessageNotFoundError):
            raise SessionException(f"Message {index} does not exist in session {session_id}") from None

    def list_messages(
        self, session_id: str, agent_id: str, limit: int | None = None, offset: int = 0, **_: Any
    ) -> list[SessionMessage]:
        """The messages of an agent, oldest first, without the `offset` oldest; at most `limit`."""
        key = conversation_id(session_id, agent_id)
        try:
            stored = self._handle.run(self._newest(key, offset, self._pages.pop(key, None)))
        except SessionNotFoundError:
            return []
        found = self._session_messages(key, stored, offset)
        return found if limit is None else found[:limit]

    # Graphs and swarms

    def create_multi_agent(self, session_id: str, multi_agent: Any, **_: Any) -> None:
        """Store the state of a graph or swarm."""
        state = cast("State", encode_bytes_values(multi_agent.serialize_state()))
        missing = f"Session {session_id} does not exist"
        states = _multi_agents(self._records.entry(conversation_id(session_id), missing))
        if states.get(multi_agent.id) != state:
            self._records.merge(conversation_id(session_id), {"multi_agents": {multi_agent.id: state}}, missing)

    def read_multi_agent(self, session_id: str, multi_agent_id: str, **_: Any) -> State | None:
        """The state of a graph or swarm; None if there is none."""
        try:
            states = _multi_agents(_entry(self._records.read(conversation_id(session_id))))
        except SessionNotFoundError:
            return None
        return cast("State | None", decode_bytes_values(states.get(multi_agent_id)))

    def update_multi_agent(self, session_id: str, multi_agent: Any, **_: Any) -> None:
        """Store the state of a graph or swarm that is stored already, if it has changed."""
        missing = f"MultiAgent {multi_agent.id} does not exist in session {session_id}"
        if multi_agent.id not in _multi_agents(self._records.entry(conversation_id(session_id), missing)):
            raise SessionException(missing)
        self.create_multi_agent(session_id, multi_agent)

    # The store

    @contextmanager
    def restoring(self, session_id: str, session_agent: SessionAgent) -> Generator[None]:
        """A block in which `read_agent` and `list_messages` need no more than one request together.

        A conversation of another framework gets this agent.
        """
        key = conversation_id(session_id, session_agent.agent_id)
        known = self._records.known.get(key)
        if known is None or known.message_count or "agent" in _entry(known):
            try:
                found = self._handle.run(self._manager.get_conversation(key, order="desc", limit=_PAGE))
                self._records.known[key], self._pages[key] = found.session, list(found.messages)
                if found.session.message_count and "agent" not in _entry(found.session):
                    self._records.merge(key, {"agent": session_agent.to_dict()}, f"Session {session_id} does not exist")
            except SessionNotFoundError:
                pass
        try:
            yield
        finally:
            self._pages.clear()

    async def _newest(self, key: str, offset: int, page: list[Message] | None) -> list[Message]:
        """The messages behind the `offset` oldest. `page` are the newest ones, if they were read a moment ago."""
        known = self._records.known.get(key)
        if page is None or known is None or known.message_count - offset > len(page):
            stored = await self._manager.get_messages(key)
            return list(stored)[offset:]
        return page[: max(0, known.message_count - offset)][::-1]

    def _id_at(self, key: str, index: int) -> str:
        """The id of the message at this place. Raises MessageNotFoundError."""
        stored = list(self._handle.run(self._manager.get_messages(key, limit=index + 1))) if index >= 0 else []
        if index < 0 or len(stored) <= index:
            raise MessageNotFoundError(key, str(index))
        return stored[index].id

    def _session_messages(self, key: str, stored: Sequence[Message], first: int) -> list[SessionMessage]:
        """The messages as strands keeps them. `first` is the index of the first one."""
        found: list[SessionMessage] = []
        place = 0
        for run in runs(stored):
            messages = strands_messages_of(run)
            for behind, message in zip(run[-len(messages) :], messages, strict=False):
                index = first + place + run.index(behind)
                self._ids[key, index] = behind.id
                times = (behind.created_at.isoformat(), (behind.updated_at or behind.created_at).isoformat())
                found.append(SessionMessage(message, index, None, *times))
            place += len(run)
        return found


def _is_changed(before: State, after: SessionAgent) -> bool:
    ignored = ("created_at", "updated_at")
    one, other = ({key: each[key] for key in each if key not in ignored} for each in (before, after.to_dict()))
    return not same_json(one, other)


def _entry(session: Session) -> State:
    """What strands keeps in a session's metadata; empty for a session that another framework created."""
    found = session.metadata.custom.get(FRAMEWORK)
    return cast("State", found) if isinstance(found, dict) else {}


def _multi_agents(entry: State) -> State:
    return cast("State", entry.get("multi_agents") or {})


def _with(stored: Session, changes: State) -> Session:
    """The session after a change of what strands keeps in it, at the next version."""
    before = _entry(stored)
    if "multi_agents" in changes:
        changes = {"multi_agents": {**_multi_agents(before), **changes["multi_agents"]}}
    custom = {**stored.metadata.custom, FRAMEWORK: {**before, **changes}}
    metadata = stored.metadata.model_copy(update={"custom": custom})
    return stored.model_copy(update={"metadata": metadata, "version": stored.version + 1})
