"""From what a caller passes to what the contract takes; anything wrong becomes one typed error."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeVar, cast, get_args

from pydantic import BaseModel, ValidationError as PydanticError

from session_continuity.adapter import MESSAGE_FIELDS, SESSION_FIELDS, MessageQuery, Patch
from session_continuity.errors import ValidationError
from session_continuity.models import Message, Model, Role, Session, check_id, to_utc_milliseconds

__all__ = ["identifiers", "message_query", "moment", "names", "patch_for", "roles", "seconds", "validated"]

B = TypeVar("B", bound=BaseModel)

_ROLES = frozenset[str](get_args(Role))

_SOME_TIME = datetime(2000, 1, 1, tzinfo=UTC)
_SESSION = {"id": "-", "created_at": _SOME_TIME, "last_activity_at": _SOME_TIME}
_MESSAGE = {"id": "-", "session_id": "-", "role": "user", "content": "", "created_at": _SOME_TIME}
_PATCHABLE: Mapping[type[Model], tuple[frozenset[str], dict[str, Any]]] = {
    Session: (SESSION_FIELDS, _SESSION),
    Message: (MESSAGE_FIELDS - {"updated_at"}, _MESSAGE),
}


def validated(model: type[B], value: B | Mapping[str, Any]) -> B:
    """A model from its fields, or the model itself. Raises ValidationError that names every wrong field and echoes no
    value."""
    try:
        return model.model_validate(value)
    except PydanticError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, detail['loc'])) or model.__name__}: {detail['msg']}"
            for detail in error.errors(include_input=False, include_url=False)
        )
    raise ValidationError(problems)


def patch_for(model: type[Model], changes: Mapping[str, Any]) -> Patch:
    """A partial change from keyword arguments; None clears a field. Raises ValidationError for a field that cannot be
    changed, for a value that does not fit, and for no change at all."""
    allowed, rest = _PATCHABLE[model]
    unknown = sorted(changes.keys() - allowed)
    if unknown or not changes:
        named = f"cannot change {', '.join(unknown)}" if unknown else "no change given"
        raise ValidationError(f"{named}; the fields to change are {', '.join(sorted(allowed))}")
    values = {name: value for name, value in changes.items() if value is not None}
    required = [name for name in changes if name not in values and model.model_fields[name].is_required()]
    if required:
        raise ValidationError(f"{', '.join(required)} cannot be cleared")
    changed = validated(model, {**rest, **values})
    return Patch({name: getattr(changed, name) for name in values}, frozenset(changes.keys() - values.keys()))


def seconds(value: timedelta | float | None, name: str) -> float | None:
    """A duration in seconds. Raises ValidationError unless it is more than nothing."""
    if value is None:
        return None
    number = value.total_seconds() if isinstance(value, timedelta) else value
    if not isinstance(number, (int, float)) or isinstance(number, bool) or not 0 < number < 1e11:
        raise ValidationError(f"{name} must be a timedelta or a number of seconds above 0")
    return float(number)


def moment(value: datetime | None, name: str) -> datetime | None:
    """A time in UTC. Raises ValidationError for a naive one."""
    if value is None:
        return None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ValidationError(f"{name} must be an aware datetime, for example datetime.now(timezone.utc)")
    return to_utc_milliseconds(value)


def identifiers(*values: str) -> None:
    """Raises ValidationError for what cannot be an id, before a store is asked for it."""
    for value in values:
        if not isinstance(value, str):
            raise ValidationError(f"an id is a text, not {type(value).__name__}")
        try:
            check_id(value)
        except ValueError as error:
            raise ValidationError(str(error)) from None


def roles(value: Role | Iterable[Role] | None) -> frozenset[Role] | None:
    """One role or several as a set. Raises ValidationError for what is no role."""
    chosen = names(value)
    if chosen is not None and not chosen <= _ROLES:
        raise ValidationError(f"roles are {', '.join(sorted(_ROLES))}")
    return cast("frozenset[Role] | None", chosen)


def message_query(
    order: Literal["asc", "desc"],
    wanted_roles: Role | Iterable[Role] | None,
    after: datetime | str | None,
    before: datetime | str | None,
) -> Callable[[int], MessageQuery]:
    """The query, but for its page size. Raises ValidationError."""
    if order not in ("asc", "desc"):
        raise ValidationError("order must be 'asc' or 'desc'")
    bounds: dict[str, Any] = {}
    for name, bound in (("after", after), ("before", before)):
        if isinstance(bound, str):
            identifiers(bound)
            bounds[f"{name}_id"] = bound
        else:
            bounds[name] = moment(bound, name)
    query = MessageQuery(order=order, roles=roles(wanted_roles), **bounds)
    return lambda limit: replace(query, limit=limit)


def names(value: str | Iterable[str] | None) -> frozenset[str] | None:
    """One name or several as a set."""
    return None if value is None else frozenset([value] if isinstance(value, str) else value)
