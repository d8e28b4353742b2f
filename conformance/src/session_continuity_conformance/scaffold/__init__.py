"""The commands `new-backend` and `new-extension`: they write a distribution to start from.

They copy the files under `templates`, and fill in `$name`, `$package`, `$prefix` and so on, also in paths (`PACKAGE`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, distribution, version
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

from session_continuity import CONTRACT, ConfigError, InstalledPlugin, default_registry
from session_continuity_conformance._version import __version__
from session_continuity_conformance.scaffold.tasks import tasks

__all__ = ["new_backend", "new_extension"]

LONGEST_NAME = 40
SUFFIX = ".tmpl"

Written = tuple[Path, list[Path]]


def new_backend(name: str, directory: Path | None = None, *, scheme: str | None = None) -> Written:
    """Write the distribution of a new store for `scheme://`, and return its directory and its files. The scheme is the
    name, unless another is given.

    Raises ConfigError for a name or a scheme that is malformed or taken, and for a directory that exists. Then nothing
    is written.
    """
    scheme = name if scheme is None else scheme
    _check_name(name)
    if not re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme):
        raise ConfigError(
            f"the scheme {scheme!r} is not valid: a scheme begins with a letter, and has lower-case letters, digits "
            "and the characters +-. only, for example mystore"
        )
    _check_free(scheme, default_registry().installed_backends(), "scheme")
    _check_not_installed(name)
    return _write("backend", name, directory, {"scheme": scheme, **tasks()})


def new_extension(name: str, directory: Path | None = None) -> Written:
    """Write the distribution of a new extension, and return its directory and its files. Raises ConfigError as
    `new_backend` does."""
    _check_name(name)
    _check_free(name, default_registry().installed_extensions(), "extension")
    _check_not_installed(name)
    return _write("extension", name, directory, {})


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or len(name) > LONGEST_NAME:
        raise ConfigError(
            f"the name {name!r} is not valid: a name begins with a letter, has lower-case letters, digits and single "
            f"hyphens, and up to {LONGEST_NAME} characters, for example mystore"
        )


def _check_not_installed(name: str) -> None:
    try:
        distribution(f"session-continuity-{name}")
    except PackageNotFoundError:
        return
    raise ConfigError(f"a distribution session-continuity-{name} is installed already; choose another name")


def _check_free(name: str, installed: list[InstalledPlugin], kind: str) -> None:
    claims = [plugin.distribution for plugin in installed if plugin.name == name]
    if claims:
        raise ConfigError(f"the {kind} {name} is taken by {claims[0]}; choose another")


def _write(kind: str, name: str, directory: Path | None, tasks: Mapping[str, str]) -> Written:
    home = directory or Path(f"session-continuity-{name}")
    words = {**_words(name), **tasks}
    root = files("session_continuity_conformance").joinpath("scaffold", "templates")
    texts = {
        home / path.replace("PACKAGE", words["package"]): Template(text).substitute(words)
        for folder in ("common", kind)
        for path, text in _templates(root.joinpath(folder))
    }
    try:
        home.mkdir(parents=True)
    except FileExistsError:
        raise ConfigError(f"{home} exists; name another place with --directory") from None
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return home, sorted(texts)


def _templates(folder: Traversable, inside: str = "") -> Iterator[tuple[str, str]]:
    """The path and the text of every template below a folder."""
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _templates(entry, f"{inside}{entry.name}/")
        elif entry.name.endswith(SUFFIX):
            yield f"{inside}{entry.name.removesuffix(SUFFIX)}", entry.read_text("utf-8")


def _words(name: str) -> dict[str, str]:
    core = version("session-continuity")
    return {
        "name": name,
        "package": f"session_continuity_{name.replace('-', '_')}",
        "prefix": "".join(part.capitalize() for part in name.split("-")),
        "variable": f"{name.replace('-', '_').upper()}_URL",
        "year": str(datetime.now(UTC).year),
        "contract": ".".join(map(str, CONTRACT)),
        "api_version": repr(CONTRACT),
        "core": _pinned(core),
        "suite": _pinned(__version__),
    }


def _pinned(installed: str) -> str:
    """A requirement for the versions that are compatible with this one."""
    major, minor = (int(part) for part in installed.split(".")[:2])
    return f">={major}.{minor},<{major + 1}" if major else f">=0.{minor},<0.{minor + 1}"
