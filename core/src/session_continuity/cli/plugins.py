"""The command `plugins`, and the commands that extensions add."""

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
from session_continuity.cli.output import Output, styled

__all__ = ["add_commands", "plugins"]

_STATE_STYLES = {"installed": "", "ok": "green", "disabled": "dim"}


@dataclass(frozen=True, slots=True)
class _Plugin:
    """An installed plugin. `state` is installed, disabled or conflict, and after a check ok, disabled or broken."""

    kind: str
    name: str
    distribution: str
    version: str
    target: str
    state: str = "installed"
    problem: str | None = None


def plugins(
    check: Annotated[bool, typer.Option("--check", help="Import each plugin and report the broken ones.")] = False,
    as_json: Json = False,
) -> None:
    """List the installed stores and extensions.

    Without --check, only metadata is read. With it, each plugin is imported, and the exit code is 1 if one is broken.
    Fields in a pipe, and keys in JSON: kind, name, distribution, version, target, state, problem.
    """
    found = [*_stores(check=check), *_extensions(check=check)]
    output = Output(as_json=as_json)
    output.rows((list(asdict(plugin).values()) for plugin in found), lambda: _table(found))
    output.document([asdict(plugin) for plugin in found])
    if check and any(plugin.problem for plugin in found):
        raise typer.Exit(1)


def _stores(*, check: bool) -> Iterator[_Plugin]:
    registry = default_registry()
    installed = registry.installed_backends()
    claims = Counter(plugin.name for plugin in installed)
    for plugin in installed:
        found = _Plugin("store", plugin.name, plugin.distribution, plugin.version, plugin.target)
        if check:
            found = _check(found, partial(registry.plugin, plugin.name))
        yield replace(found, state="conflict") if claims[plugin.name] > 1 else found


def _extensions(*, check: bool) -> Iterator[_Plugin]:
    entries = {entry.name: entry for entry in entry_points(group=EXTENSIONS)}
    for plugin in default_registry().installed_extensions():
        found = _Plugin("extension", plugin.name, plugin.distribution, plugin.version, plugin.target)
        if plugin.name in _disabled():
            found = replace(found, state="disabled")
        elif check:
            found = _check(found, partial(_load_alone, entries[plugin.name]))
        yield found


def _check(found: _Plugin, load: Callable[[], object]) -> _Plugin:
    try:
        load()
    except PluginError as error:
        return replace(found, state="broken", problem=error.message)
    except Exception as error:
        return replace(found, state="broken", problem=f"{type(error).__name__}: {error}")
    return replace(found, state="ok")


def _table(found: list[_Plugin]) -> Group:
    table = Table.grid(padding=(0, 3, 0, 0))
    for plugin in found:
        table.add_row(
            styled(f"{plugin.name}://" if plugin.kind == "store" else plugin.name, "bold"),
            styled(plugin.kind, "dim"),
            styled(f"{plugin.distribution} {plugin.version}"),
            styled(plugin.state, _STATE_STYLES.get(plugin.state, "bold red")),
        )
    broken = [plugin for plugin in found if plugin.problem]
    return Group(table, *(Text.assemble((f"{plugin.name}: ", "bold red"), styled(plugin.problem)) for plugin in broken))


def add_commands(app: typer.Typer) -> list[PluginError]:
    """Let every extension add its commands to `app`, and return the errors of those that cannot."""
    errors: list[PluginError] = []
    for entry in entry_points(group=EXTENSIONS):
        try:
            _add_commands_of(entry, app)
        except PluginError as error:
            errors.append(error)
        except (Exception, SystemExit) as error:
            problem = f"cannot add its commands ({type(error).__name__}: {error}); fix it"
            errors.append(_extension_error(entry, problem))
    return errors


def _add_commands_of(entry: EntryPoint, app: typer.Typer) -> None:
    # The commands are made in an application of their own first, so that broken ones do not damage the real one.
    section = typer.Typer()
    _registry_of(entry).hooks.sc_cli_commands(app=section)
    added = typer.main.get_group(section).commands.keys()
    if not added:
        return
    if taken := sorted(added & typer.main.get_group(app).commands.keys()):
        raise _extension_error(entry, f"adds commands that exist: {', '.join(taken)}; rename them")
    app.registered_commands.extend(section.registered_commands)
    app.registered_groups.extend(section.registered_groups)


def _extension_error(entry: EntryPoint, problem: str) -> PluginError:
    return PluginError(f"extension {entry.name} {problem}, or set {DISABLE_VARIABLE}={entry.name}")


def _registry_of(entry: EntryPoint) -> Registry:
    """A registry with one extension only, so that a broken one does not hide the others."""
    return Registry(entry_points=lambda group: [entry] if group == EXTENSIONS else [])


def _load_alone(entry: EntryPoint) -> object:
    return _registry_of(entry).hooks


def _disabled() -> set[str]:
    return {name.strip() for name in os.environ.get(DISABLE_VARIABLE, "").split(",")}
