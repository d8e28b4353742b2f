"""Stores that need code to start: `--sc-harness=module:name`.

`name` is a callable without arguments that returns a context manager (`contextlib.contextmanager` makes one). It
yields a URL, a `Target`, or several of them; what follows the `yield` runs after the last test.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from typing import cast

from session_continuity import ConfigError
from session_continuity_conformance.target import Target, UrlTarget

Given = str | Target


class Harness:
    """One harness, started once for a run."""

    def __init__(self, name: str) -> None:
        module, colon, attribute = name.partition(":")
        if not (module and colon and attribute):
            raise ConfigError(f"a harness is written MODULE:NAME, not {name!r}")
        self._name, self._module, self._attribute = name, module, attribute
        self._context: AbstractContextManager[object] | None = None

    def start(self) -> list[Target]:
        """Start the store and return what it can be reached by."""
        here = str(Path.cwd())
        if here not in sys.path:
            sys.path.insert(0, here)
        try:
            found = getattr(import_module(self._module), self._attribute)
        except (ImportError, AttributeError) as error:
            raise ConfigError(f"the harness {self._name} cannot be loaded: {error}") from error
        self._context = cast("AbstractContextManager[object]", found())
        return [UrlTarget(each) if isinstance(each, str) else each for each in _several(self._context.__enter__())]

    def stop(self) -> None:
        """Stop the store."""
        context, self._context = self._context, None
        if context is not None:
            context.__exit__(None, None, None)


def _several(given: object) -> Iterable[Given]:
    if isinstance(given, (list, tuple)):
        return cast("Iterable[Given]", given)
    return (cast("Given", given),)
