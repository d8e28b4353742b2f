"""Harnesses: code that starts stores for a run, named by `--harness module:name`.

`name` is a function without arguments that returns a context manager, as `contextlib.contextmanager` makes it. It
yields a URL, a `Target`, or a list of them. The code after its `yield` runs after the last example.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from typing import cast

from session_continuity import ConfigError
from session_continuity_conformance.target import PortableTarget, Target, UrlTarget

Yielded = str | Target


class Harness:
    """One harness, started once in a run."""

    def __init__(self, name: str) -> None:
        module, colon, attribute = name.partition(":")
        if not (module and colon and attribute):
            raise ConfigError(f"a harness is written MODULE:NAME, not {name!r}")
        self._name, self._module, self._attribute = name, module, attribute
        self._context: AbstractContextManager[object] | None = None

    def start(self) -> list[Target]:
        """Start the stores, and return them."""
        here = str(Path.cwd())
        if here not in sys.path:
            sys.path.insert(0, here)
        try:
            harness = getattr(import_module(self._module), self._attribute)
        except (ImportError, AttributeError) as error:
            raise ConfigError(f"the harness {self._name} cannot be loaded: {error}") from error
        self._context = cast("AbstractContextManager[object]", harness())
        found = _several(self._context.__enter__())
        return [UrlTarget(each) if isinstance(each, str) else PortableTarget(each) for each in found]

    def stop(self) -> None:
        """Stop the stores. May be called again."""
        context, self._context = self._context, None
        if context is not None:
            context.__exit__(None, None, None)


def _several(yielded: object) -> Iterable[Yielded]:
    """The stores in what a harness yielded."""
    if isinstance(yielded, (list, tuple)):
        return cast("Iterable[Yielded]", yielded)
    return (cast("Yielded", yielded),)
