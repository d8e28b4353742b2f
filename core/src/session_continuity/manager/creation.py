"""`SessionBuilder` makes the sessions that a manager creates: it adds ids, times and the manager's defaults."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, TypedDict, cast

from session_continuity.contract.adapter import StorageAdapter
from session_continuity.contract.patch import Patch
from session_continuity.contract.terms import AppendTerms
from session_continuity.errors import ValidationError
from session_continuity.ids import new_session_id, new_token
from session_continuity.manager import arguments
from session_continuity.manager.options import ManagerSettings
from session_continuity.manager.participants import new_participants
from session_continuity.models import CompressionConfig, Participant, Session, SessionMetadata, TokenBudget
from session_continuity.validation import validate

__all__ = ["SessionBuilder", "SessionFields"]


class SessionFields(TypedDict, total=False):
    """The fields of a new session, as keyword arguments. All are optional.

    `token_budget`, `compression` and `ttl` default to the manager's. `created_at` is the present by default; a session
    that is imported keeps its own. The `ttl` counts from the present in any case.
    """

    user_id: str | None
    active_agent_id: str | None
    metadata: SessionMetadata | Mapping[str, Any] | None
    participants: Iterable[Participant | Mapping[str, Any] | str] | None
    token_budget: TokenBudget | Mapping[str, Any] | int | None
    compression: CompressionConfig | Mapping[str, Any] | str | None
    ttl: timedelta | float | None
    created_at: datetime | None


class SessionBuilder:
    """Makes new sessions for one manager."""

    def __init__(self, storage: StorageAdapter, settings: ManagerSettings) -> None:
        self._storage = storage
        self._settings = settings

    def build(self, session_id: str | None, fields: SessionFields, **more: Any) -> Session:
        """A session with these fields, not stored yet. Without an id, one is minted. `more` are fields of the model.

        Raises ValidationError for wrong fields and for a compression that the manager does not have.
        """
        _check_names(fields)
        now = self._storage.clock()
        created_at = arguments.to_moment(fields.get("created_at"), "created_at") or now
        seconds = arguments.to_seconds(fields.get("ttl"), "ttl") or self._settings.ttl
        budget, compression = fields.get("token_budget"), fields.get("compression")
        values: dict[str, Any] = {
            "id": new_session_id(created_at) if session_id is None else session_id,
            "user_id": fields.get("user_id"),
            "active_agent_id": fields.get("active_agent_id"),
            "metadata": fields.get("metadata") or {},
            "participants": new_participants(fields.get("participants"), created_at),
            "token_budget": self._settings.budget if budget is None else budget,
            "compression": self._settings.compression if compression is None else compression,
            "created_at": created_at,
            "last_activity_at": created_at,
            "expires_at": None if seconds is None else now + timedelta(seconds=seconds),
            "sliding_ttl": seconds if self._settings.is_sliding else None,
            "creation_token": new_token(),
        }
        session = validate(Session, {**values, **more})
        self._check_compression(session.compression)
        return session

    def patch(self, changes: Mapping[str, Any]) -> Patch:
        """The change of a session, from keyword arguments of which None clears a field. Raises ValidationError."""
        if changes.get("participants") is not None:
            participants = new_participants(changes["participants"], self._storage.clock())
            changes = {**changes, "participants": participants}
        patch = arguments.patch_for(Session, changes)
        self._check_compression(patch.set.get("compression"))
        return patch

    def terms(self, session_id: str, update: Mapping[str, Any] | None, create: SessionFields | None) -> AppendTerms:
        """The terms of an append that changes or creates the session. Raises ValidationError."""
        terms: AppendTerms = {}
        if update is not None:
            terms["patch"] = self.patch(update)
        if create is not None:
            terms["create"] = self.build(session_id, create)
        return terms

    def _check_compression(self, config: CompressionConfig | None) -> None:
        if problem := self._settings.compression_problem(config):
            raise ValidationError(f"compression: {problem}")


def _check_names(fields: SessionFields) -> None:
    value = cast("object", fields)
    if not isinstance(value, Mapping):
        raise ValidationError(f"the fields of a session must be a mapping, not {type(value).__name__}")
    allowed = SessionFields.__annotations__.keys()
    if unknown := sorted(str(name) for name in cast("Mapping[object, Any]", value) if name not in allowed):
        raise ValidationError(f"a new session has no {', '.join(unknown)}; its fields are {', '.join(sorted(allowed))}")
