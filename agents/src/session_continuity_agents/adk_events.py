"""Events and state of google-adk as messages and sessions. The framework is not needed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast
from uuid import uuid4

from pydantic import ValidationError as PydanticError
from pydantic_core import to_jsonable_python

from session_continuity import (
    Message,
    NewMessage,
    SessionFields,
    ValidationError,
    from_gemini,
    replace_invalid_text,
    stable_id,
    to_gemini,
)
from session_continuity_agents.keeping import keep, same_json
from session_continuity_agents.keys import session_key

__all__ = [
    "FRAMEWORK",
    "State",
    "app_state_id",
    "contents_of",
    "conversation_id",
    "message_of_event",
    "owner_of",
    "scoped",
    "session_fields",
    "user_state_id",
]

FRAMEWORK = "google_adk"

State = dict[str, Any]


def message_of_event(event: Mapping[str, Any]) -> NewMessage:
    """The message of an event, which is given as its JSON without fields that are None."""
    raw = dict(event)
    content = raw.get("content")
    message = _said(content)
    if content is not None and same_json(contents_of(message), [content]):
        del raw["content"]
    created_at = datetime.fromtimestamp(raw["timestamp"], UTC)
    id = stable_id(raw.get("id") or str(uuid4()))
    return keep(message, FRAMEWORK, raw).model_copy(update={"id": id, "created_at": created_at})


def contents_of(message: Message | NewMessage) -> list[dict[str, Any]]:
    """What a message says in the format of Gemini."""
    return cast("list[dict[str, Any]]", to_gemini([message])["contents"])


def _said(content: dict[str, Any] | None) -> NewMessage:
    """The message of what an event says; an empty one if it says nothing."""
    if content is not None:
        try:
            read = from_gemini([replace_invalid_text(content)])
        except (ValidationError, PydanticError):
            read = []
        if read and (read[0].content or read[0].metadata.tool_calls or read[0].metadata.tool_results):
            return read[0]
    return NewMessage(role="assistant", content="")


def session_fields(entry: Mapping[str, Any], created_at: datetime | None) -> SessionFields:
    """The fields of a new session. `entry` is what google-adk has of it: app, user, id, state, updated and events."""
    return {
        "user_id": owner_of(entry["user"]),
        "active_agent_id": stable_id(entry["app"]),
        "metadata": {"source": FRAMEWORK, "custom": {FRAMEWORK: dict(entry)}},
        "created_at": created_at,
    }


def conversation_id(app_name: str, user_id: str, session_id: str) -> str:
    """The id of the session for a session of google-adk."""
    return session_key("adk", app_name, user_id, session_id)


def scoped(changes: Mapping[str, Any]) -> tuple[State, State, State]:
    """Changes of the state of a session, of the user and of the app, as JSON. A value that is not JSON becomes text."""
    own, user, app = State(), State(), State()
    plain = cast("State", to_jsonable_python(dict(changes), fallback=str))
    for key, value in plain.items():
        if key.startswith("app:"):
            app[key.removeprefix("app:")] = value
        elif key.startswith("user:"):
            user[key.removeprefix("user:")] = value
        elif not key.startswith("temp:"):
            own[key] = value
    return own, user, app


def owner_of(user_id: str) -> str | None:
    """The user of a session, as managers name it."""
    return stable_id(user_id) if user_id else None


def app_state_id(app_name: str) -> str:
    """The id of the session with the state of an app."""
    return session_key("adk-app-state", app_name)


def user_state_id(app_name: str, user_id: str) -> str:
    """The id of the session with the state of a user in an app."""
    return session_key("adk-user-state", app_name, user_id)
