"""Containers that refuse to be changed, so that many models may share one.

They equal plain containers of the same items. Copies and pickles of them are plain containers. The empty ones have a
hash, because pydantic copies a default value that has none for each model.
"""

from __future__ import annotations

from typing import Any

__all__ = ["EMPTY_DICT", "EMPTY_LIST", "EmptyDict", "EmptyList", "FixedSet"]


def _refuse_change(*_: object, **__: object) -> Any:
    raise TypeError("models cannot be changed; make a changed copy with model_copy(update={…})")


class EmptyList(list[Any]):
    """An empty list. Every method that would add an item raises TypeError."""

    __slots__ = ()
    append = extend = insert = __setitem__ = __iadd__ = _refuse_change

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(())

    def __reduce__(self) -> tuple[Any, ...]:
        return list, ()


class EmptyDict(dict[str, Any]):
    """An empty dictionary. Every method that would add a key raises TypeError."""

    __slots__ = ()
    __setitem__ = setdefault = update = __ior__ = _refuse_change

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(())

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, ()


class FixedSet(set[str]):
    """A set. Every method that would change it raises TypeError."""

    __slots__ = ()
    add = clear = discard = pop = remove = update = _refuse_change
    difference_update = intersection_update = symmetric_difference_update = _refuse_change
    __iand__ = __ior__ = __isub__ = __ixor__ = _refuse_change

    def __reduce__(self) -> tuple[Any, ...]:
        return set, (list(self),)


EMPTY_LIST = EmptyList()
EMPTY_DICT = EmptyDict()
