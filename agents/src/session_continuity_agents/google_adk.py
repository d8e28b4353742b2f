"""`AdkSessionService`: sessions, events and state of google-adk.

    service = AdkSessionService("sqlite:///chat.db")
    runner = Runner(app_name="shop", agent=agent, session_service=service)

Tested with google-adk 2.13.0, and made for 2.0 and later.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Literal, cast
from uuid import uuid4

from google.adk.errors import StaleSessionError
from google.adk.errors.already_exists_error import AlreadyExistsError
from google.adk.errors.session_not_found_error import SessionNotFoundError as AdkSessionNotFoundError
from google.adk.events import Event
from google.adk.sessions import BaseSessionService, Session as AdkSession
from google.adk.sessions.base_session_service import GetSessionConfig, ListSessionsResponse
from pydantic import PrivateAttr

from session_continuity import (
    AsyncSessionManager,
    ConcurrencyError,
    Message,
    NewMessage,
    Session,
    SessionExistsError,
    SessionNotFoundError,
    ThrottledError,
    backoff,
    gather,
    sleeper,
    stable_id,
)
from session_continuity_agents.adk_events import (
    FRAMEWORK,
    State,
    app_state_id,
    contents_of,
    conversation_id,
    message_of_event,
    owner_of,
    scoped,
    session_fields,
    user_state_id,
)
from session_continuity_agents.handles import HasManager, ManagerHandle
from session_continuity_agents.keeping import kept
from session_continuity_agents.settling import settled

__all__ = ["FRAMEWORK", "AdkSessionService", "event_of", "message_of"]

PREFIX = "sc+"
"""What a URI begins with in services.yaml: google-adk has its own services for `sqlite` and other schemes."""

_DEADLINE = 10.0  # seconds
_PAGE = 1000
_TICK = timedelta(milliseconds=2)  # more than a stored time may differ from an event's timestamp


class _Session(AdkSession):
    """A session of google-adk that knows the stored session which it was made of."""

    _stored: Session | None = PrivateAttr(default=None)

    @property
    def stored(self) -> Session | None:
        """The stored session as of the last read or event."""
        return self._stored

    def note(self, stored: Session) -> None:
        """Replace what is known of the stored session."""
        self._stored = stored


class AdkSessionService(HasManager, BaseSessionService):
    """The session service of google-adk on any store.

    `uri` is a storage URL, also with `sc+` before it, as services.yaml gives it; SESSION_CONTINUITY_URL if it is left
    out. `manager` is one that is open already. `agents_dir` is given by google-adk's command line and not needed.

    An event and the session's state that it changes are stored in one step. State of the app and of the user is shared
    by sessions, and is stored right after it.

    `stale` says what happens to an event of a session that somebody else has changed since it was read. `raise` is
    google-adk's rule: StaleSessionError, and nothing is stored. With `merge` the event is stored, and its state is
    merged into what is stored now, key by key.

    `author` is the agent whose messages those count as that another framework wrote.
    """

    def __init__(
        self,
        uri: str | None = None,
        *,
        manager: AsyncSessionManager | None = None,
        stale: Literal["raise", "merge"] = "raise",
        author: str = "assistant",
        agents_dir: str | None = None,
    ) -> None:
        if stale not in ("raise", "merge"):
            raise ValueError("stale must be 'raise' or 'merge'")
        self._handle = ManagerHandle(None if uri is None else uri.removeprefix(PREFIX), manager)
        self._stale = stale
        self._author = author

    async def close(self) -> None:
        """Release the store. It is closed when nothing else in this process uses its URL."""
        await self.aclose()

    @staticmethod
    def conversation_id(app_name: str, user_id: str, session_id: str) -> str:
        """The id of the session for managers, the command line and other frameworks."""
        return conversation_id(app_name, user_id, session_id)

    async def create_session(
        self, *, app_name: str, user_id: str, state: State | None = None, session_id: str | None = None
    ) -> AdkSession:
        """Create a session with this state and return it. Raises AlreadyExistsError."""
        name = (session_id or "").strip() or str(uuid4())
        own, user, app = scoped(state or {})
        now = datetime.now(UTC)
        entry = {"app": app_name, "user": user_id, "id": name, "state": own, "updated": now.timestamp(), "events": 0}
        create = self.manager.create_session(
            id=self.conversation_id(app_name, user_id, name),
            **session_fields(entry, now),
        )
        try:
            stored = await settled(create)
        except SessionExistsError:
            raise AlreadyExistsError(f"Session with id {name} already exists.") from None
        await settled(self._store_shared(app_name, user_id, user, app))
        return _session(stored, *await self._read_shared(app_name, user_id))

    async def get_session(
        self, *, app_name: str, user_id: str, session_id: str, config: GetSessionConfig | None = None
    ) -> AdkSession | None:
        """The session with its events, or those that `config` selects, and its state; None if there is none.

        Messages that another framework wrote are events too.
        """
        key = self.conversation_id(app_name, user_id, session_id.strip())
        recent = config.num_recent_events if config else None
        since = config.after_timestamp if config else None
        reads: list[Callable[[], Any]] = [
            partial(self._read, key, recent, since),
            partial(self._read_state, user_state_id(app_name, user_id)),
            partial(self._read_state, app_state_id(app_name)),
        ]
        try:
            (stored, messages), user, app = await gather("async", reads)
        except SessionNotFoundError:
            return None
        session = _session(stored, user, app)
        events = [event_of(message, self._author) for message in messages]
        session.events = [event for event in events if since is None or event.timestamp >= since]
        return session

    async def list_sessions(self, *, app_name: str, user_id: str | None = None) -> ListSessionsResponse:
        """The sessions of an app, or of one user of it, without events, the one that was changed last at the end."""
        owner = None if user_id is None else owner_of(user_id)
        page = await self.manager.list_sessions(limit=None, active_agent_id=stable_id(app_name), user_id=owner)
        found = [session for session in page if _is_of(session, app_name, user_id)]
        users = sorted({_entry(session)["user"] for session in found})
        keys = [app_state_id(app_name), *(user_state_id(app_name, user) for user in users)]
        reads: list[Callable[[], Any]] = [partial(self._read_state, key) for key in keys]
        app, *states = await gather("async", reads)
        by_user = dict(zip(users, states, strict=True))
        sessions: list[AdkSession] = [_session(session, by_user[_entry(session)["user"]], app) for session in found]
        sessions.sort(key=lambda session: (session.last_update_time, session.user_id, session.id))
        return ListSessionsResponse(sessions=sessions)

    async def delete_session(self, *, app_name: str, user_id: str, session_id: str) -> None:
        """Delete a session and its events, if there is one. State of the app and the user stays."""
        try:
            await settled(self.manager.delete_session(self.conversation_id(app_name, user_id, session_id.strip())))
        except SessionNotFoundError:
            return

    async def get_user_state(self, *, app_name: str, user_id: str) -> State:
        """The state of a user in an app, by keys without `user:`."""
        return await self._read_state(user_state_id(app_name, user_id))

    async def append_event(self, session: AdkSession, event: Event) -> Event:
        """Store an event and the state that it changes, and update the session object.

        A partial event is not stored. State with `temp:` is for the session object only. Raises StaleSessionError and
        google-adk's SessionNotFoundError; then nothing is stored.
        """
        if event.partial:
            return event
        changes = event.actions.state_delta
        session.state.update({key: value for key, value in changes.items() if key.startswith("temp:")})
        event.actions.state_delta = {key: value for key, value in changes.items() if not key.startswith("temp:")}
        own, user, app = scoped(event.actions.state_delta)
        await settled(self._store(session, event, own, user, app))
        session.last_update_time = event.timestamp
        session.state.update(event.actions.state_delta)
        session.events.append(event)
        return event

    async def _store(self, session: AdkSession, event: Event, own: State, user: State, app: State) -> None:
        try:
            stored = await self._append(session, event, own)
        except SessionNotFoundError:
            raise AdkSessionNotFoundError(f"Session {session.id} not found.") from None
        if isinstance(session, _Session):
            session.note(stored)
        await self._store_shared(session.app_name, session.user_id, user, app)

    async def _append(self, session: AdkSession, event: Event, own: State) -> Session:
        """Append the event with the session's state, and return the stored session after it."""
        message = message_of(event)
        key = self.conversation_id(session.app_name, session.user_id, session.id)
        known = session.stored if isinstance(session, _Session) else None
        if known is None:
            known = await self.manager.get_session(key)
            if _entry(known)["updated"] > session.last_update_time:
                self._check_stale(session)
        async for _ in backoff(sleeper("async"), deadline=_DEADLINE):
            entry = _entry(known)
            changed = _with_event(known, own, event.timestamp)
            try:
                await self.manager.add_messages(
                    key, [message], update={"metadata": changed.metadata}, expected_version=known.version
                )
                return changed
            except ConcurrencyError as conflict:
                known = conflict.current or await self.manager.get_session(key)
            if _entry(known)["events"] != entry["events"]:  # else only something else of the session was changed
                self._check_stale(session)
        raise ThrottledError(f"others changed session {key!r} for {_DEADLINE:g} seconds")

    def _check_stale(self, session: AdkSession) -> None:
        if self._stale == "raise":
            raise StaleSessionError(
                f"Session {session.id} was changed since it was read. Read it again, or give the service stale='merge'."
            )

    async def _read(self, key: str, recent: int | None, since: float | None) -> tuple[Session, list[Message]]:
        """The stored session and the messages of the events that are asked for, oldest first."""
        order: Literal["asc", "desc"] = "asc" if recent is None else "desc"
        after = None if since is None else datetime.fromtimestamp(since, UTC) - _TICK
        limit = _PAGE if recent is None else max(1, min(recent, _PAGE))
        first = await self.manager.get_conversation(key, order=order, limit=limit, after=after)
        messages, cursor = list(first.messages), first.messages.next_cursor
        if cursor is not None and (recent is None or recent > len(messages)):
            left = None if recent is None else recent - len(messages)
            messages += await self.manager.get_messages(key, order=order, limit=left, after=after, cursor=cursor)
        if recent is not None:
            messages = messages[:recent][::-1]
        return first.session, messages

    async def _read_shared(self, app_name: str, user_id: str) -> tuple[State, State]:
        keys = (user_state_id(app_name, user_id), app_state_id(app_name))
        user, app = await gather("async", [partial(self._read_state, key) for key in keys])
        return user, app

    async def _read_state(self, key: str) -> State:
        try:
            return cast("State", _entry(await self.manager.get_session(key))["state"])
        except SessionNotFoundError:
            return {}

    async def _store_shared(self, app_name: str, user_id: str, user: State, app: State) -> None:
        """Merge changes into the state of the user and of the app."""
        if user:
            await self._merge(user_state_id(app_name, user_id), owner_of(user_id), user)
        if app:
            await self._merge(app_state_id(app_name), None, app)

    async def _merge(self, key: str, owner: str | None, changes: State) -> None:
        async for _ in backoff(sleeper("async"), deadline=_DEADLINE):
            try:
                stored = await self.manager.get_session(key)
                entry = {"state": {**_entry(stored)["state"], **changes}}
                metadata = {**stored.metadata.model_dump(), "custom": {FRAMEWORK: entry}}
                await self.manager.update_session(key, metadata=metadata, expected_version=stored.version)
                return
            except ConcurrencyError:
                continue
            except SessionNotFoundError:
                metadata = {"source": FRAMEWORK, "custom": {FRAMEWORK: {"state": changes}}}
            try:
                await self.manager.create_session(id=key, user_id=owner, metadata=metadata)
                return
            except SessionExistsError:
                continue
        raise ThrottledError(f"others changed the state {key!r} for {_DEADLINE:g} seconds")


def message_of(event: Event) -> NewMessage:
    """An event as a message that everybody can read. `event_of` makes the same event of it again."""
    return message_of_event(event.model_dump(mode="json", exclude_none=True))


def event_of(message: Message, author: str = "assistant") -> Event:
    """The event of a message, whoever wrote it. `author` is the agent that the answers of others are attributed to."""
    raw = kept(message, FRAMEWORK)
    contents = contents_of(message)
    if raw is not None:
        return Event.model_validate({"content": contents[0] if contents else None, **raw})
    return Event.model_validate(
        {
            "id": message.id,
            "author": "user" if message.role == "user" else author,
            "content": contents[0] if contents else None,
            "timestamp": message.created_at.timestamp(),
        }
    )


def _entry(session: Session) -> dict[str, Any]:
    """What google-adk keeps in a session's metadata; empty for a session that another framework created."""
    empty: dict[str, Any] = {
        "app": "",
        "user": "",
        "id": session.id,
        "state": {},
        "updated": session.last_activity_at.timestamp(),
    }
    found = session.metadata.custom.get(FRAMEWORK)
    return {**empty, "events": 0, **(cast("dict[str, Any]", found) if isinstance(found, dict) else {})}


def _with_event(stored: Session, own: State, updated: float) -> Session:
    """The stored session after an event: at the next version, with the event's changes of its state."""
    entry = _entry(stored)
    state = {**entry["state"], **own}
    changed = {**entry, "state": state, "updated": updated, "events": entry["events"] + 1}
    custom = {**stored.metadata.custom, FRAMEWORK: changed}
    metadata = stored.metadata.model_copy(update={"custom": custom})
    return stored.model_copy(update={"metadata": metadata, "version": stored.version + 1})


def _session(stored: Session, user: State, app: State) -> _Session:
    """The session object of google-adk, without events."""
    entry = _entry(stored)
    session = _Session(
        id=entry["id"],
        app_name=entry["app"],
        user_id=entry["user"],
        state={
            **entry["state"],
            **{f"app:{key}": value for key, value in app.items()},
            **{f"user:{key}": value for key, value in user.items()},
        },
        last_update_time=entry["updated"],
    )
    session.note(stored)
    return session


def _is_of(session: Session, app_name: str, user_id: str | None) -> bool:
    """Whether a session was created by this service for the app and user; two long names may have one listing."""
    entry = _entry(session)
    return entry["app"] == app_name and user_id in (None, entry["user"])
