"""The contract grows by a minor version: what a released backend of contract 1.0 does beside a core of contract 1.1.

Contract 1.1 is made up here: a copy of core (and of the suite) with a field more in `SessionFilter` and `MessageQuery`,
and with an optional operation, `pin_session`. The backend is the SQLite plugin as it is, written for 1.0. Programs run
beside the copy in a process of their own, outside the coverage of the run, which would count the copy as core.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from tests.kit.environments import run_program

START = "from __future__ import annotations\n"
MARKS = f"{START}\nfrom dataclasses import field\n\nfrom session_continuity.contract.growth import since\n"

PIN_SESSION = """
    @optional(since=(1, 1), capability="pinning")
    async def pin_session(self, session_id: str) -> Session:
        raise NotSupportedError("pin_session", self.backend)
"""

FORWARD = """
    async def pin_session(self, session_id: str) -> Session:
        return await self.forward(self.inner.pin_session, session_id)
"""


def inserted_before(text: str, insertion: str) -> tuple[str, str]:
    return text, f"{insertion}\n{text}"


def inserted_after(text: str, insertion: str) -> tuple[str, str]:
    return text, f"{text}\n{insertion}"


CORE_EDITS = {
    "contract/growth.py": [("CONTRACT: Final[Version] = (1, 0)", "CONTRACT: Final[Version] = (1, 1)")],
    "contract/queries.py": [
        (START, MARKS),
        inserted_after("class SessionFilter:", "    headline: str | None = field(default=None, metadata=since(1, 1))"),
        inserted_after("class MessageQuery:", "    pinned: bool = field(default=False, metadata=since(1, 1))"),
    ],
    "contract/capabilities.py": [
        (START, MARKS),
        inserted_after("class Capabilities:", "    pinning: bool = field(default=False, metadata=since(1, 1))"),
    ],
    "contract/adapter.py": [
        inserted_before("    @abstractmethod\n    async def setup(", PIN_SESSION),
        inserted_after(
            START,
            "from session_continuity.contract.growth import optional\n"
            "from session_continuity.errors import NotSupportedError",
        ),
    ],
    "backends/forwarding.py": [inserted_before("    async def setup(", FORWARD)],
}
"""What the maintainers of contract 1.1 write in core."""

NEWER_CLAUSES = """
[[clause]]
id = "SC-LST-099"
level = "MUST"
since = "1.1"
text = "A headline selects sessions."
source = []
rationale = "."
remedy = "."

[[clause]]
id = "SC-SES-099"
level = "MUST"
since = "1.1"
text = "pin_session returns the session."
capability = "pinning"
source = []
rationale = "."
remedy = "."
"""

NEWER_EXAMPLES = """
from session_continuity import SessionFilter
from session_continuity_conformance.cases import clause
from session_continuity_conformance.checks import same


@clause("SC-LST-099")
async def test_listing_by_headline(store):
    session = await store.create_session(user_id="u", metadata={"title": "Billing"})
    await store.create_session(user_id="u", metadata={"title": "Travel"})
    page = await store.adapter.list_sessions(SessionFilter(user_id="u", headline="Bill"), limit=9)
    same("sessions of this headline", [each.id for each in page], [session.id])


@clause("SC-SES-099")
async def test_pinning(store):
    session = await store.create_session()
    same("the answer", (await store.adapter.pin_session(session.id)).id, session.id)
"""

STORES = """
from dataclasses import replace

from session_continuity import Page, Registry, Session, SessionFilter, StorageAdapter
from session_continuity import hookimpl, portable, run_now, utc_now
from session_continuity_sqlite.adapter import SqliteStorage
from session_continuity_sqlite.entry_point import SqlitePlugin


class NewerStorage(SqliteStorage):
    contract = (1, 1)

    def __init__(self, **options):
        super().__init__(**options)
        self.capabilities = replace(self.capabilities, pinning=True)

    async def list_sessions(self, filter, *, limit, cursor=None):
        page = await super().list_sessions(filter, limit=limit, cursor=cursor)
        titled = [each for each in page if filter.headline is None or filter.headline in (each.metadata.title or "")]
        return Page(tuple(titled), page.next_cursor)

    async def pin_session(self, session_id):
        return await self.get_session(session_id)


class NewerPlugin(SqlitePlugin):
    scheme = "newer"
    api_version = (1, 1)
    cost_meter = None

    def create(self, options, mode):
        return NewerStorage(**dict(options), mode=mode)


plugin = NewerPlugin()


def forwarded(name):
    async def method(self, *args, **kwargs):
        return await getattr(self.inner, name)(*args, **kwargs)

    return method


class HandWritten(StorageAdapter):
    '''A wrapper of contract 1.0 that is not a ForwardingAdapter: it forwards what 1.0 has, and copies capabilities.'''

    def __init__(self, inner):
        self.inner = inner
        self.backend, self.mode, self.clock = inner.backend, inner.mode, inner.clock
        self.capabilities = inner.capabilities

    locals().update({name: forwarded(name) for name in StorageAdapter.__abstractmethods__})


class Wrapping:
    def __init__(self, wrapper):
        self.wrapper = wrapper

    @hookimpl
    def sc_wrap_adapter(self, adapter):
        return self.wrapper(adapter)


def opened(url, *, wrapper=None):
    registry = Registry()
    if wrapper is not None:
        registry.register_extension(Wrapping(wrapper), "wrapping")
    store = registry.create(url, "blocking")
    run_now(store.setup())
    for name in ("Billing", "Travel"):
        times = {"created_at": utc_now(), "last_activity_at": utc_now()}
        run_now(store.create_session(Session(id=name, user_id="u", metadata={"title": name}, **times)))
    return store


def show(coroutine):
    '''Print what a call returns or raises.'''
    try:
        result = run_now(coroutine)
    except Exception as error:
        print(f"{type(error).__name__}: {error}")
    else:
        print([each.id for each in result] if isinstance(result, Page) else result.id)


BILLING = SessionFilter(user_id="u", headline="Bill")
ALL = SessionFilter(user_id="u")
"""
"""A backend of contract 1.1, a wrapper of contract 1.0, and what the programs share."""


def edit(copy: Path, edits: dict[str, list[tuple[str, str]]]) -> None:
    for file, changes in edits.items():
        text = (copy / file).read_text("utf-8")
        for old, new in changes:
            assert text.count(old) == 1, f"{file} does not have this once:\n{old}"
            text = text.replace(old, new)
        (copy / file).write_text(text, "utf-8")


def copied(package: str, folder: Path) -> Path:
    spec = find_spec(package)
    assert spec is not None
    (source,) = spec.submodule_search_locations or ()
    return shutil.copytree(source, folder / package, ignore=shutil.ignore_patterns("__pycache__"))


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with core and suite of contract 1.1, and an installed backend for `newer://`."""
    folder = tmp_path_factory.mktemp("grown")
    edit(copied("session_continuity", folder), CORE_EDITS)
    suite = copied("session_continuity_conformance", folder)
    with (suite / "clauses.toml").open("a") as clauses:
        clauses.write(NEWER_CLAUSES)
    (suite / "suite/test_newer.py").write_text(NEWER_EXAMPLES)
    (folder / "stores.py").write_text(STORES)
    metadata = folder / "newer_store-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: newer-store\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[session_continuity.storage]\nnewer = stores:plugin\n")
    return folder


def run(grown: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_program(sys.executable, *arguments, cwd=folder, environ={"PYTHONPATH": os.fspath(grown)})


def printed(grown: Path, folder: Path, program: str) -> list[str]:
    """The lines that a program prints, which must not fail."""
    end = run(grown, folder, "-c", f"from stores import *\n{program}")
    assert end.returncode == 0, end.stderr
    return end.stdout.splitlines()


REFUSED = "is not supported by sqlite: it implements contract 1.0; upgrade its distribution"


def test_a_field_that_an_older_backend_would_ignore_is_refused(grown: Path, tmp_path: Path) -> None:
    program = """
from session_continuity import MessageQuery
store = opened("sqlite:///test.db")
show(store.list_sessions(ALL, limit=9))
show(store.list_sessions(BILLING, limit=9))
show(store.get_messages("Billing", MessageQuery(pinned=True)))
show(store.get_conversation("Billing", MessageQuery(pinned=True)))
"""
    assert printed(grown, tmp_path, program) == [
        "['Travel', 'Billing']",
        f"NotSupportedError: headline {REFUSED}",
        f"NotSupportedError: pinned {REFUSED}",
        f"NotSupportedError: pinned {REFUSED}",
    ]


def test_an_adapter_that_was_handed_in_is_held_to_its_own_contract(grown: Path, tmp_path: Path) -> None:
    program = """
store = portable(SqliteStorage("test.db", mode="blocking"))
run_now(store.setup())
show(store.list_sessions(BILLING, limit=9))
"""
    assert printed(grown, tmp_path, program) == [f"NotSupportedError: headline {REFUSED}"]


def test_an_operation_that_an_older_backend_lacks_is_refused(grown: Path, tmp_path: Path) -> None:
    program = """
store = opened("sqlite:///test.db")
print(store.capabilities.pinning)
show(store.pin_session("Billing"))
"""
    refusal = "NotSupportedError: pin_session is not supported by sqlite: its capabilities do not declare it"
    assert printed(grown, tmp_path, program) == ["False", refusal]


def test_a_backend_of_the_newer_contract_has_both(grown: Path, tmp_path: Path) -> None:
    program = """
store = opened("newer:///test.db")
print(store.capabilities.pinning)
show(store.pin_session("Billing"))
show(store.list_sessions(BILLING, limit=9))
"""
    assert printed(grown, tmp_path, program) == ["True", "Billing", "['Billing']"]


def test_an_older_wrapper_does_not_declare_what_it_cannot_forward(grown: Path, tmp_path: Path) -> None:
    program = """
store = opened("newer:///test.db", wrapper=HandWritten)
for wrapped in (store, portable(HandWritten(store.inner))):
    print(wrapped.capabilities.pinning)
    show(wrapped.pin_session("Billing"))
    show(wrapped.list_sessions(ALL, limit=9))
"""
    refusal = "NotSupportedError: pin_session is not supported by sqlite: its capabilities do not declare it"
    assert printed(grown, tmp_path, program) == ["False", refusal, "['Travel', 'Billing']"] * 2


def test_a_forwarding_wrapper_of_the_older_contract_forwards_the_newer_operation(grown: Path, tmp_path: Path) -> None:
    program = """
from session_continuity import ForwardingAdapter
store = opened("newer:///test.db", wrapper=ForwardingAdapter)
print(store.capabilities.pinning)
show(store.pin_session("Billing"))
"""
    assert printed(grown, tmp_path, program) == ["True", "Billing"]


def test_a_backend_that_lacks_a_method_of_the_contract_is_refused_as_a_plugin(grown: Path, tmp_path: Path) -> None:
    program = """
from session_continuity import PluginError

class Incomplete(StorageAdapter):
    backend = "incomplete"

class IncompletePlugin(SqlitePlugin):
    scheme = "incomplete"

    def create(self, options, mode):
        return Incomplete()

registry = Registry()
registry.register_backend(IncompletePlugin())
try:
    registry.create("incomplete:///test.db", "blocking")
except PluginError as error:
    print(error)
"""
    (line,) = printed(grown, tmp_path, program)
    assert line.startswith("the adapter of incomplete:// does not implement the whole contract")
    assert "append_messages" in line
    assert "pin_session" not in line


def verdict(grown: Path, folder: Path, url: str) -> tuple[int, str]:
    """The exit code and the report of the suite of contract 1.1."""
    clauses = ("--clause", "SC-LST-0", "--clause", "SC-SES-0")
    end = run(grown, folder, "-m", "session_continuity", "conformance", url, "--mode", "blocking", *clauses)
    assert end.stderr == ""
    return end.returncode, end.stdout


def test_the_suite_names_the_clauses_that_do_not_apply_to_an_older_backend(grown: Path, tmp_path: Path) -> None:
    code, report = verdict(grown, tmp_path, "sqlite:///test.db")
    assert code == 0, report
    assert "\nCONFORMANT 1.0 " in report
    assert "2 clauses of contract 1.1 do not apply to a 1.0 backend: SC-LST-099, SC-SES-099\n" in report


def test_the_suite_tests_a_newer_backend_with_the_newer_clauses(grown: Path, tmp_path: Path) -> None:
    code, report = verdict(grown, tmp_path, "newer:///test.db")
    assert code == 0, report
    assert "\nCONFORMANT 1.1 " in report
    assert "not apply" not in report
