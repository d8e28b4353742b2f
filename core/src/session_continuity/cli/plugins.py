"""`plugins`, and the commands that extensions add."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated

import typer
import typer.main
from rich.console import Group
from rich.table import Table
from rich.text import Text

from session_continuity import DISABLE_VARIABLE, EXTENSIONS, PluginError, Registry, default_registry
from session_continuity.cli.arguments import Json
from session_continuity.cli.output import Answer, styled

__all__ = ["add_commands", "plugins"]

_STATE_STYLES = {"installed": "", "ok": "green", "disabled": "dim"}


@dataclass(frozen=True, slots=True)
class _Found:
    """An installed plugin. `state`: installed, disabled, conflict; after a check ok, disabled or broken."""

    kind: str
    name: str
    distribution: str
    version: str
    target: str
    state: str = "installed"
    problem: str | None = None


def plugins(
    check: Annotated[bool, typer.Option("--check", help="Import each one and say which are broken.")] = False,
    as_json: Json = False,
) -> None:
    """List the installed stores and extensions.

    Reads metadata only; with --check each plugin is imported, and the exit code is 1 when one is broken. Fields in a
    pipe, and keys in JSON: kind, name, distribution, version, target, state, problem.
    """
    found = [*_stores(check=check), *_extensions(check=check)]
    answer = Answer(as_json=as_json)
    answer.rows((list(asdict(plugin).values()) for plugin in found), lambda: _listing(found))
    answer.document([asdict(plugin) for plugin in found])
    if check and any(plugin.problem for plugin in found):
        raise typer.Exit(1)


def _stores(*, check: bool) -> Iterator[_Found]:
    registry = default_registry()
    installed = registry.installed_backends()
    claims = Counter(plugin.name for plugin in installed)
    for plugin in installed:
        found = _Found("store", plugin.name, plugin.distribution, plugin.version, plugin.target)
        if check:
            found = _checked(found, partial(registry.plugin, plugin.name))
        yield replace(found, state="conflict") if claims[plugin.name] > 1 else found


def _extensions(*, check: bool) -> Iterator[_Found]:
    entries = {entry.name: entry for entry in entry_points(group=EXTENSIONS)}
    for plugin in default_registry().installed_extensions():
        found = _Found("extension", plugin.name, plugin.distribution, plugin.version, plugin.target)
        if plugin.name in _disabled():
            found = replace(found, state="disabled")
        elif check:
            found = _checked(found, partial(_load_alone, entries[plugin.name]))
        yield found


def _checked(found: _Found, load: Callable[[], object]) -> _Found:
    try:
        load()
    except PluginError as error:
        return replace(found, state="broken", problem=error.message)
    except Exception as error:
        return replace(found, state="broken", problem=f"{type(error).__name__}: {error}")
    return replace(found, state="ok")


def _listing(found: list[_Found]) -> Group:
    look = Table.grid(padding=(0, 3, 0, 0))
    for plugin in found:
        look.add_row(
            styled(f"{plugin.name}://" if plugin.kind == "store" else plugin.name, "bold"),
            styled(plugin.kind, "dim"),
            styled(f"{plugin.distribution} {plugin.version}"),
            styled(plugin.state, _STATE_STYLES.get(plugin.state, "bold red")),
        )
    broken = [plugin for plugin in found if plugin.problem]
    return Group(look, *(Text.assemble((f"{plugin.name}: ", "bold red"), styled(plugin.problem)) for plugin in broken))


def add_commands(app: typer.Typer) -> list[str]:
    """Let every extension add its commands to `app`; return what is wrong with those that cannot."""
    problems: list[str] = []
    for entry in entry_points(group=EXTENSIONS):
        try:
            _adopt(app, entry)
        except PluginError as error:
            problems.append(error.message)
        except (Exception, SystemExit) as error:
            problems.append(
                f"extension {entry.name} cannot add its commands ({type(error).__name__}: {error}); "
                f"mend it, or set {DISABLE_VARIABLE}={entry.name}"
            )
    return problems


def _adopt(app: typer.Typer, entry: EntryPoint) -> None:
    """Take over an extension's commands, made apart first, so that bad ones spoil nothing."""
    section = typer.Typer()
    _alone(entry).hooks.sc_cli_commands(app=section)
    added = typer.main.get_group(section).commands.keys()
    if not added:
        return
    if taken := sorted(added & typer.main.get_group(app).commands.keys()):
        raise PluginError(
            f"extension {entry.name} adds commands that exist: {', '.join(taken)}; "
            f"rename them, or set {DISABLE_VARIABLE}={entry.name}"
        )
    app.registered_commands.extend(section.registered_commands)
    app.registered_groups.extend(section.registered_groups)


def _alone(entry: EntryPoint) -> Registry:
    """A registry that knows one extension, so that a broken one does not hide the others."""
    return Registry(entry_points=lambda group: [entry] if group == EXTENSIONS else [])


def _load_alone(entry: EntryPoint) -> object:
    return _alone(entry).extensions


def _disabled() -> set[str]:
    return {name.strip() for name in os.environ.get(DISABLE_VARIABLE, "").split(",")}
