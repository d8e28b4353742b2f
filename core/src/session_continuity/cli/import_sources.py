"""`import --from KIND`: conversations from the store of another program, which an entry point reads."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from itertools import chain, islice
from typing import cast

import typer
from rich.console import Console

from session_continuity import (
    IMPORTS,
    ConfigError,
    ImportedConversation,
    ImportSource,
    SessionManager,
    SessionNotFoundError,
    StorageError,
)
from session_continuity.cli.arguments import open_store
from session_continuity.cli.conversation_import import StoredConversation, compare_conversation, store_conversation
from session_continuity.cli.formatting import count
from session_continuity.cli.output import Output, print_notice, styled

__all__ = ["import_from"]


def import_from(kind: str, source: str, url: str | None, output: Output, *, dry_run: bool) -> None:
    """Import what a source holds, or say in a dry run what that would do. Exit with 1 if something was left out."""
    conversations = _opened(_source(kind)(source))
    report = _Report(output, "readable" if dry_run else "imported")
    if dry_run:
        with _opened_to_compare(url) as manager:
            for conversation in conversations:
                report.tell(conversation.id, compare_conversation(manager, conversation))
    else:
        with open_store(url) as storage:
            manager, max_batch = SessionManager(storage), storage.adapter.capabilities.max_batch
            for conversation in conversations:
                report.tell(conversation.id, _store(manager, conversation, max_batch))
    report.end()


def _opened(conversations: Iterable[ImportedConversation]) -> Iterator[ImportedConversation]:
    """The conversations, of which the first is read at once: a wrong source is told before a store is created."""
    found = iter(conversations)
    return chain(list(islice(found, 1)), found)


def _source(kind: str) -> ImportSource:
    """The function that reads sources of this kind. Raises ConfigError, which says what to install."""
    kinds = {entry.name: entry for entry in entry_points(group=IMPORTS)}
    if kind in kinds:
        try:
            return cast("ImportSource", kinds[kind].load())
        except ModuleNotFoundError as error:
            raise ConfigError(f"--from {kind} needs the module {error.name}, which is not installed") from error
    if kinds:
        raise ConfigError(f"--from {kind} is not known; the kinds are {', '.join(sorted(kinds))}")
    raise ConfigError(f"--from {kind} needs a package that reads it: pip install session-continuity-agents")


@contextmanager
def _opened_to_compare(url: str | None) -> Generator[SessionManager | None]:
    """A manager that creates nothing; None if the store does not exist yet. Raises ConfigError for a wrong URL."""
    with SessionManager.open(url, setup=False) as manager:
        try:
            manager.get_session("any")
        except SessionNotFoundError:
            pass
        except StorageError as error:
            print_notice("note", f"every message counts as new, because the store cannot be read: {error.message}")
            yield None
            return
        yield manager


def _store(manager: SessionManager, conversation: ImportedConversation, max_batch: int | None) -> StoredConversation:
    """Store a conversation. On a terminal, a line on standard error shows how far it is."""
    with Console(stderr=True).status("") as status:

        def report(stored: int, of: int) -> None:
            status.update(styled(f"{conversation.id}  {stored:,} of {count(of, 'message')}"))

        return store_conversation(manager, conversation, max_batch=max_batch, report=report)


@dataclass(slots=True)
class _Report:
    """What is printed: a line for each conversation, its problems on standard error, and the totals on a terminal."""

    output: Output
    word: str
    sessions: list[dict[str, object]] = field(default_factory=list[dict[str, object]])
    added: int = 0
    problems: int = 0

    def tell(self, session_id: str, done: StoredConversation) -> None:
        """Print a conversation."""
        for problem in done.problems:
            print_notice("problem", f"{session_id}: {problem}")
        if done.different:
            what = count(done.different, "stored record")
            print_notice("note", f"{session_id}: {what} changed since, here or in the source; stays as it is here")
        left_out = f", {count(len(done.problems), 'problem')}" if done.problems else ""
        display = styled(f"{session_id}  {count(done.added, 'new message')}, {done.found} found{left_out}")
        self.output.line(self.word, session_id, done.found, done.added, len(done.problems), display=display)
        self.added += done.added
        self.problems += len(done.problems)
        counts = {"found": done.found, "added": done.added, "different": done.different, "problems": done.problems}
        self.sessions.append({"id": session_id, **counts})

    def end(self) -> None:
        """Print the totals. Exits with 1 if there were problems."""
        total = f"{count(len(self.sessions), 'conversation')}, {count(self.added, 'new message')}"
        self.output.summary(styled(f"{self.word}: {total}, {count(self.problems, 'problem')}"))
        self.output.document({"sessions": self.sessions})
        if self.problems:
            raise typer.Exit(1)
