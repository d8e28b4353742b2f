"""Patches: partial changes of sessions and messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from session_continuity.errors import ValidationError
from session_continuity.model_base import Model

__all__ = ["MESSAGE_FIELDS", "SESSION_FIELDS", "Patch", "merge_keys"]

M = TypeVar("M", bound=Model)


SESSION_FIELDS = frozenset(
    {
        "user_id",
        "active_agent_id",
        "status",
        "metadata",
        "participants",
        "handoffs",
        "token_budget",
        "compression",
        "compression_state",
        "expires_at",
        "sliding_ttl",
    }
)
"""The fields that `update_session` can change."""


MESSAGE_FIELDS = frozenset(["role", "content", "metadata", "token_count", "updated_at"])
"""The fields that `update_message` can change."""


@dataclass(frozen=True, slots=True)
class Patch:
    """A partial change: fields to set, with values of the model's own types, and fields to reset to their default.

    `merge` changes single keys of a message's metadata and keeps the others, also under concurrent edits. It is only
    for `update_message`. None removes a key. A mapping is merged into a mapping by its own keys.

    Raises ValidationError for a field that is in two of them.
    """

    set: Mapping[str, Any] = field(default_factory=dict[str, Any])
    clear: frozenset[str] = frozenset()
    merge: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        if both := sorted(self.clear & self.set.keys()):
            raise ValidationError(f"{', '.join(both)} cannot be set and cleared at once")
        if self.merge and "metadata" in {*self.set, *self.clear}:
            raise ValidationError("metadata cannot be merged, and set or cleared, at once")

    @property
    def fields(self) -> frozenset[str]:
        """The names of the fields that the patch changes."""
        return frozenset({*self.set, *self.clear, *(["metadata"] if self.merge else ())})

    def apply(self, model: M) -> M:
        """A copy of the model with this change. Raises ValidationError if a field to clear has no default."""
        fields = type(model).model_fields
        if required := sorted(name for name in self.clear if fields[name].is_required()):
            raise ValidationError(f"{', '.join(required)} cannot be cleared")
        changed = {name: fields[name].get_default(call_default_factory=True) for name in self.clear}
        if self.merge:
            metadata: Model = getattr(model, "metadata")  # noqa: B009  # of a model that has it, a message
            changed["metadata"] = type(metadata).model_validate(merge_keys(metadata.model_dump(), self.merge))
        return model.model_copy(update={**changed, **self.set})


def merge_keys(before: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The mapping with these keys changed. None removes a key. A mapping is merged into a mapping by its own keys."""
    after = dict(before)
    for name, value in changes.items():
        old = before.get(name)
        if value is None:
            after.pop(name, None)
        elif isinstance(value, Mapping) and isinstance(old, Mapping):
            kept = {key: item for key, item in old.items() if key not in value}  # pyright: ignore[reportUnknownVariableType]
            after[name] = {**kept, **{key: item for key, item in value.items() if item is not None}}  # pyright: ignore[reportUnknownVariableType]
        else:
            after[name] = value
    return after
