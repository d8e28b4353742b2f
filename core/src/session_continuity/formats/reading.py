"""Taking a provider's message apart into a neutral one, so that it can be put together again.

The neutral message has the blocks that are neither calls nor results in its content, as the provider wrote them, and
the calls and results typed in its metadata. What remains stands in `metadata.annotations`, under the format's name:

- `order`: how blocks (b), calls (c) and results (r) followed each other, if not as results, blocks, calls
- `calls`, `results`: the further keys of a call or result, by its id; a list where several have the same id
- `message`: the further keys of the message
- `model`: the model that wrote the message, if it has reasoning, which only that model may read again
- further marks that each format describes

An annotation, although it may be empty, marks the blocks of a message as this format's own. A message that needs
nothing of this has no annotation.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, cast
from uuid import uuid4

from session_continuity.models import NewMessage

__all__ = ["ABSENT", "MessageReader", "difference", "minted_id", "restored", "result_runs", "same_json"]

ABSENT = "-"
"""The key in a difference that lists which keys the provider's object does not have."""


class MessageReader:
    """A provider's message, taken apart piece by piece."""

    def __init__(self, format: str, role: str, *, model: str | None = None, is_list: bool = False) -> None:
        """`is_list` is True where the format itself tells a list of one text from a text."""
        self.role = role
        self._is_list = is_list
        self.kept: dict[str, Any] = {}
        self._format = format
        self._model = model
        self._blocks: list[dict[str, Any]] = []
        self._calls: list[dict[str, Any]] = []
        self._results: list[dict[str, Any]] = []
        self._order = ""
        self._is_own = False

    def text(self, text: str) -> None:
        """Add words that need nothing of the format."""
        self._blocks.append({"type": "text", "text": text})
        self._order += "b"

    def block(self, block: dict[str, Any], *, bound: bool = False) -> None:
        """Add a block of the format's own. `bound` is True for reasoning that only this model may read again."""
        self._blocks.append(block)
        self._order += "b"
        self._is_own = True
        if bound and self._model:
            self.kept["model"] = self._model

    def call(self, call: dict[str, Any], extra: Mapping[str, Any], *, bound: bool = False) -> None:
        """Add a call by its fields, with the further keys that it has in the format."""
        self._calls.append(call)
        self._order += "c"
        self._keep("calls", call["id"], extra, self._calls, "id")
        if bound and self._model:
            self.kept["model"] = self._model

    def result(self, result: dict[str, Any], extra: Mapping[str, Any], *, is_own: bool) -> None:
        """Add a result by its fields, with its further keys. `is_own` is True if it has blocks of the format."""
        self._results.append(result)
        self._order += "r"
        self._is_own |= is_own
        self._keep("results", result["tool_call_id"], extra, self._results, "tool_call_id")

    def _keep(self, kind: str, id: str, extra: Mapping[str, Any], all_: list[dict[str, Any]], key: str) -> None:
        same = sum(item[key] == id for item in all_) if len(all_) > 1 else 1
        if not extra and same == 1:
            return
        kept = self.kept.get(kind, {})
        earlier: object = kept.get(id, [])
        if same == 1:
            self.kept[kind] = {**kept, id: dict(extra)}
        elif extra or earlier:
            listed = cast("list[object]", earlier) if isinstance(earlier, list) else [earlier]
            missing: list[Any] = [{} for _ in range(same - 1 - len(listed))]
            self.kept[kind] = {**kept, id: [*listed, *missing, dict(extra)]}

    def message(self) -> NewMessage:
        """The neutral message. Raises pydantic's ValidationError."""
        if self._order != "".join(sorted(self._order, key="rbc".index)):
            self.kept["order"] = self._order
        fields: dict[str, Any] = {"role": self.role, "content": self._content()}
        metadata: dict[str, Any] = {}
        if self._calls:
            metadata["tool_calls"] = self._calls
        if self._results:
            metadata["tool_results"] = self._results
        if self.kept or self._is_own:
            metadata["annotations"] = {self._format: self.kept}
        if metadata:
            fields["metadata"] = metadata
        return NewMessage(**fields)

    def _content(self) -> str | list[dict[str, Any]]:
        if self._is_list and not (self._calls or self._results):
            return self._blocks
        if not self._blocks:
            return ""
        first = self._blocks[0]
        is_text = len(self._blocks) == 1 and first.keys() == {"type", "text"} and first["type"] == "text"
        return first["text"] if is_text and not self._results else self._blocks


def result_runs(items: list[Any], is_result: Callable[[Any], bool]) -> Iterator[tuple[bool, list[Any]]]:
    """The items in runs of results and of others. An empty list is one run of others."""
    if not items:
        yield False, items
    for kind, run in groupby(items, is_result):
        yield kind, list(run)


def difference(raw: Mapping[str, Any], written: Mapping[str, Any], typed: Iterable[str] = ()) -> dict[str, Any]:
    """The entries of `raw` that differ from `written`, and under ABSENT the keys that only `written` has. The `typed`
    keys are stored elsewhere and may only be absent."""
    kept = {
        key: value
        for key, value in raw.items()
        if key not in typed and (key not in written or not same_json(written[key], value))
    }
    absent = [key for key in written if key not in raw]
    return {**kept, ABSENT: absent} if absent else kept


def restored(written: dict[str, Any], kept: Mapping[str, Any] | None) -> dict[str, Any]:
    """The object of which `kept` is the difference to `written`."""
    if not kept:
        return written
    whole = {**written, **kept}
    for key in whole.pop(ABSENT, ()):
        whole.pop(key, None)
    return whole


def same_json(one: Any, other: Any) -> bool:
    """Whether two values have the same JSON: 1, 1.0 and true differ there, although they are equal in Python."""
    if one != other:
        return False
    return isinstance(one, str) or json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def minted_id() -> str:
    """An id for a call that came without one."""
    return f"call_{uuid4().hex[:24]}"
