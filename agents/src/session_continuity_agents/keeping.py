"""A framework's own item, kept beside the message that everybody can read.

A message holds in its own fields what was said: role, text, blocks, calls and results of tools. What a framework has
beyond that stands in `metadata.annotations` under the framework's name:

- `item`: what the framework needs to make its item again
- `json`: the same as ASCII JSON text, where the item holds what messages refuse: lone surrogates, NaN, nesting of more
  than 100 levels
- `of`: a digest of the message's own fields

If the fields were changed since, by an edit or for a context, the digest is another, and the framework gets what the
message says now. So a text that was removed from a message does not live on in an item.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, cast

from pydantic import ValidationError as PydanticError

from session_continuity import Message, NewMessage

__all__ = ["keep", "kept", "plain_json", "same_json"]


def keep(message: NewMessage, framework: str, item: Any) -> NewMessage:
    """The message with the framework's item beside it. The item is JSON, or ASCII text can be made of it."""
    try:
        return _annotated(message, framework, {"item": item})
    except PydanticError:
        return _annotated(message, framework, {"json": json.dumps(item)})


def kept(message: Message | NewMessage, framework: str) -> Any | None:
    """The item that the framework kept beside this message; None if there is none, or if the message was changed
    since."""
    found = message.metadata.annotations.get(framework)
    if not isinstance(found, dict):
        return None
    entry = cast("dict[str, Any]", found)
    if entry.get("of") != _digest(message):
        return None
    return entry["item"] if "item" in entry else json.loads(entry["json"])


def plain_json(value: Any) -> Any:
    """A copy of the value as JSON holds it: a tuple becomes a list. Raises TypeError for what is not JSON."""
    return json.loads(json.dumps(value))


def same_json(one: Any, other: Any) -> bool:
    """Whether two values have the same JSON, whatever the order of their keys. 1, 1.0 and true are not the same."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _annotated(message: NewMessage, framework: str, entry: dict[str, Any]) -> NewMessage:
    annotations = {**message.metadata.annotations, framework: {**entry, "of": _digest(message)}}
    metadata = {**message.metadata.model_dump(), "annotations": annotations}
    return NewMessage.model_validate({**dict(message), "metadata": metadata})


def _digest(message: Message | NewMessage) -> str:
    metadata = message.metadata
    calls, results = ([each.model_dump() for each in all_] for all_ in (metadata.tool_calls, metadata.tool_results))
    said = json.dumps([message.role, message.content, calls, results], sort_keys=True)
    return hashlib.blake2b(said.encode(), digest_size=8).hexdigest()
