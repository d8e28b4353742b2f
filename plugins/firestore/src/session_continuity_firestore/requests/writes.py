"""Writes of a Commit. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from session_continuity_firestore.documents.message_codec import document_of
from session_continuity_firestore.wire.messages import ArrayValue, DocumentMask, FieldTransform, Precondition, Write
from session_continuity_firestore.wire.values import encode


def create(name: str, fields: Mapping[str, Any], *, over: bool = False) -> Any:
    """Write a new document. It must not exist, unless it may be written `over`."""
    condition = None if over else Precondition(exists=False)
    return Write(update=document_of(name, fields), current_document=condition)


def change(
    name: str,
    fields: Mapping[str, Any],
    *,
    stamp: Any = None,
    added: Iterable[str] = (),
    removed: Iterable[str] = (),
    listed: str = "",
    counted: str = "",
) -> Any:
    """Write these fields of a document, and remove those that are None.

    With `stamp`, the document's `updateTime` must be that. It must exist in any case. `added` and `removed` are texts
    that are put into the array `listed`, and taken out of it. `counted` is a number that grows by one; the result of
    the write has the number after it.
    """
    condition = Precondition(exists=True) if stamp is None else Precondition(update_time=stamp)
    changed = Write(
        update=document_of(name, fields),
        update_mask=DocumentMask(field_paths=list(fields)),
        current_document=condition,
    )
    for texts, transform in ((removed, "remove_all_from_array"), (added, "append_missing_elements")):
        if values := [encode(text) for text in texts]:
            transformed = FieldTransform(field_path=listed, **{transform: ArrayValue(values=values)})
            changed.update_transforms.append(transformed)
    if counted:
        changed.update_transforms.append(FieldTransform(field_path=counted, increment=encode(1)))
    return changed


def absent(name: str) -> Any:
    """No change, on condition that there is no such document."""
    return Write(delete=name, current_document=Precondition(exists=False))


def delete(name: str, *, stamp: Any = None) -> Any:
    """Delete a document. With `stamp`, its `updateTime` must be that."""
    return Write(delete=name, current_document=None if stamp is None else Precondition(update_time=stamp))
