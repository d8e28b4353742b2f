"""From what a caller passes to what the contract takes; anything wrong becomes one typed error that names the
argument and echoes nothing of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeVar, cast, get_args

from pydantic import BaseModel, ValidationError as PydanticError
from pydantic_core import ErrorDetails

from session_continuity.adapter import MESSAGE_FIELDS, SESSION_FIELDS, MessageQuery, Patch, SessionFilter
from session_continuity.errors import ValidationError
from session_continuity.models import (
    MAX_SECONDS,
    Model,
    NewMessage,
    Role,
    Session,
    SessionStatus,
    check_id,
    check_text,
    to_utc_milliseconds,
)

__all__ = [
    "identifiers",
    "message_query",
    "patch_for",
    "seconds",
    "session_filter",
    "several",
    "turn",
    "validated",
    "version",
]

A = TypeVar("A")
R = TypeVar("R")
B = TypeVar("B", bound=BaseModel)

_SOME_TIME = datetime(2000, 1, 1, tzinfo=UTC)
_SESSION = {"id": "-", "created_at": _SOME_TIME, "last_activity_at": _SOME_TIME}
_MESSAGE = {"role": "user", "content": ""}
_PATCHABLE: Mapping[type[Model], tuple[frozenset[str], dict[str, Any]]] = {
    Session: (SESSION_FIELDS, _SESSION),
    NewMessage: (MESSAGE_FIELDS - {"updated_at"}, _MESSAGE),
}
_OPENAI_KEYS = frozenset(["tool_calls", "tool_call_id", "function_call"])
_PROBLEMS_SHOWN = 3
_STEPS_SHOWN = 4
_PATH_SHOWN = 80


def validated(model: type[B], value: B | Mapping[str, Any] | str, *, at: str = "") -> B:
    """A model from its fields, or the model itself. Raises ValidationError that names the first wrong fields; `at` is
    where the model lies in what the caller gave."""
    try:
        return model.model_validate(value)
    except PydanticError as error:
        details = error.errors(include_input=False, include_url=False, include_context=False)
    problems = list(dict.fromkeys(f"{_path(detail, at) or model.__name__}: {_said(detail)}" for detail in details))
    more = f"; and {len(problems) - _PROBLEMS_SHOWN} more" if len(problems) > _PROBLEMS_SHOWN else ""
    raise ValidationError("; ".join(problems[:_PROBLEMS_SHOWN]) + more)


def _said(detail: ErrorDetails) -> str:
    """The message in the words of the check that made it."""
    return detail["msg"].removeprefix("Value error, ")


def _path(detail: ErrorDetails, at: str) -> str:
    """Where in a caller's value, as far as it can be shown; pydantic's names of its own schemas hold brackets."""
    steps = [step for step in map(str, detail["loc"]) if "[" not in step]
    path = ".".join([at, *steps[:_STEPS_SHOWN]]) if at else ".".join(steps[:_STEPS_SHOWN])
    return path[:_PATH_SHOWN].encode(errors="backslashreplace").decode()


def turn(messages: Iterable[NewMessage | Mapping[str, Any]]) -> list[NewMessage]:
    """The messages of a turn. Raises ValidationError that says which of them, counted from 0, is wrong."""
    checked: list[NewMessage] = []
    for place, message in enumerate(several(messages, "messages")):
        if key := _openai_key(message):
            hint = f"{key} is of the OpenAI chat format, from which from_openai makes messages"
            raise ValidationError(f"messages.{place}: {hint}")
        checked.append(validated(NewMessage, message, at=f"messages.{place}"))
    return checked


def _openai_key(message: object) -> str | None:
    keys = cast("Mapping[str, Any]", message) if isinstance(message, Mapping) else ()
    return next(iter(sorted(_OPENAI_KEYS.intersection(keys))), None)


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
    if not isinstance(number, (int, float)) or isinstance(number, bool) or not 0 < number < MAX_SECONDS:
        raise ValidationError(f"{name} must be a timedelta or a number of seconds above 0")
    return float(number)


def identifiers(**values: str | None) -> None:
    """Raises ValidationError for what cannot be an id, before a store is asked for it."""
    for name, value in values.items():
        if not isinstance(value, str):
            raise ValidationError(f"{name} is a text, not {type(value).__name__}")
        _made(name, check_id, value)


def version(value: int | None, name: str) -> int | None:
    """A version, or none. Raises ValidationError for what equals no version."""
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise ValidationError(f"{name} is the session's version, a whole number")
    return value


def several(values: Iterable[Any], name: str) -> list[Any]:
    """The values of a list, or of anything like one. Raises ValidationError for a single text or mapping, which
    Python would take apart."""
    if not isinstance(values, Iterable) or isinstance(values, (str, bytes, Mapping)):
        kind = type(cast("object", values)).__name__
        raise ValidationError(f"{name} must be a list, not {kind}")
    return list(values)


def session_filter(
    *,
    user_id: str | None,
    active_agent_id: str | None,
    status: SessionStatus | None,
    tags: str | Iterable[str] | None,
    created_after: datetime | None,
    created_before: datetime | None,
) -> SessionFilter:
    """The filter of a listing. Raises ValidationError."""
    owners = {"user_id": user_id, "active_agent_id": active_agent_id}
    identifiers(**{name: value for name, value in owners.items() if value is not None})
    if status is not None:
        _one_of(get_args(SessionStatus), [status], "status")
    return SessionFilter(
        user_id=None if user_id is None else _plain(user_id),
        active_agent_id=None if active_agent_id is None else _plain(active_agent_id),
        status=None if status is None else cast("SessionStatus", _plain(status)),
        tags=_names(tags, "tags") or frozenset(),
        created_after=_moment(created_after, "created_after"),
        created_before=_moment(created_before, "created_before"),
    )


def message_query(
    order: Literal["asc", "desc"],
    roles: Role | Iterable[Role] | None,
    after: datetime | str | None,
    before: datetime | str | None,
) -> Callable[[int], MessageQuery]:
    """The query, but for its page size. Raises ValidationError."""
    _one_of(("asc", "desc"), [order], "order")
    wanted = _names(roles, "roles")
    _one_of(get_args(Role), wanted or (), "roles")
    bounds: dict[str, Any] = {}
    for name, bound in (("after", after), ("before", before)):
        if isinstance(bound, str):
            identifiers(**{name: bound})
            bounds[f"{name}_id"] = _plain(bound)
        else:
            bounds[name] = _moment(bound, name)
    query = MessageQuery(order=order, roles=cast("frozenset[Role] | None", wanted), **bounds)
    return lambda limit: replace(query, limit=limit)


def _one_of(known: tuple[str, ...], given: Iterable[object], name: str) -> None:
    if any(value not in known for value in given):
        raise ValidationError(f"{name}: choose from {', '.join(known)}")


def _names(value: str | Iterable[str] | None, name: str) -> frozenset[str] | None:
    """One name or several as a set."""
    if value is None:
        return None
    listed = [value] if isinstance(value, str) else several(value, name)
    if not all(isinstance(item, str) for item in listed):
        raise ValidationError(f"{name} must be texts")
    for item in listed:
        _made(name, check_text, item)
    return frozenset(map(_plain, listed))


def _plain(text: str) -> str:
    """The text that a member of an enumeration is; in a key of a store it would be written by its name."""
    return str.__str__(text)


def _moment(value: datetime | None, name: str) -> datetime | None:
    """A time in UTC. Raises ValidationError for a naive one."""
    if value is None:
        return None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ValidationError(f"{name} must be an aware datetime, for example datetime.now(timezone.utc)")
    return _made(name, to_utc_milliseconds, value)


def _made(name: str, make: Callable[[A], R], value: A) -> R:
    """What `make` returns. Its error becomes one that names the argument and chains nothing."""
    try:
        return make(value)
    except ValueError as error:
        problem = str(error)
    raise ValidationError(f"{name}: {problem}")
