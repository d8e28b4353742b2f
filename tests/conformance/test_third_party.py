"""A store of a third party, from `new-backend` to CONFORMANT, with wheels in a new environment."""

from __future__ import annotations

import ast
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from session_continuity import ConfigError
from session_continuity_conformance.clauses import all_clauses
from session_continuity_conformance.operations import OPERATIONS
from session_continuity_conformance.scaffold import new_backend, new_extension

from ..kit.environments import FreshEnvironment, check_project
from ..kit.verdicts import CONFORMANT, THIS_CONTRACT

WRITTEN = Path(__file__).parent / "third_party/adapter.py"
BEYOND = WRITTEN.with_name("beyond.py")
URL = "shelf://localhost/test"
KEPT = {"SC-CFG-002", "SC-CFG-003", "SC-CFG-004", "SC-CFG-007", "SC-CFG-008", "SC-SEC-002"}
"""What the skeleton keeps before anything is written."""

Named = dict[str, set[str]]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> FreshEnvironment:
    return FreshEnvironment.with_suite(tmp_path_factory.mktemp("environment"))


@pytest.fixture(scope="module")
def project(fresh: FreshEnvironment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The distribution that `new-backend` wrote."""
    folder = tmp_path_factory.mktemp("work")
    end = fresh.run("session-continuity", "new-backend", "shelf", cwd=folder)
    assert (end.returncode, end.stderr) == (0, "")
    files = [folder / line for line in end.stdout.splitlines()]
    home = folder / "session-continuity-shelf"
    assert files == sorted(path for path in home.rglob("*") if path.is_file())
    return home


def named(adapter: Path) -> Named:
    """The clauses in the docstrings of the adapter, by method; those of the class under its name."""
    (cls,) = (node for node in ast.parse(adapter.read_text()).body if isinstance(node, ast.ClassDef))
    nodes = [cls, *(node for node in cls.body if isinstance(node, ast.AsyncFunctionDef))]
    return {node.name: set(re.findall(r"^(SC-[A-Z]+-\d+)", ast.get_docstring(node) or "", re.M)) for node in nodes}


def statuses(document: str) -> Iterator[tuple[str, str]]:
    (store,) = json.loads(document)["stores"]
    yield from ((clause["id"], clause["status"]) for clause in store["clauses"])


def of_status(document: str, *wanted: str) -> set[str]:
    return {name for name, status in statuses(document) if status in wanted}


def test_the_skeleton_names_every_clause_once(project: Path) -> None:
    by_method = named(project / "src/session_continuity_shelf/adapter.py")
    assert by_method.keys() == {"ShelfStorage", *OPERATIONS}
    assert sorted(name for names in by_method.values() for name in names) == sorted(all_clauses())
    assert "SC-SES-004" in by_method["create_session"]
    assert "SC-APP-001" in by_method["append_messages"]
    assert all(by_method.values())


def test_the_generated_project_is_clean(project: Path) -> None:
    check_project(project)


def test_the_skeleton_fails_with_what_is_to_be_written_and_nothing_else(fresh: FreshEnvironment, project: Path) -> None:
    fresh.install(fresh.wheel(project))
    end = fresh.run("session-continuity", "conformance", URL, "--json", cwd=project)
    assert end.returncode == 1
    to_keep = {name for names in named(project / "src/session_continuity_shelf/adapter.py").values() for name in names}
    failed, passed = of_status(end.stdout, "failed"), of_status(end.stdout, "passed")
    assert passed == KEPT
    assert failed == to_keep - KEPT - of_status(end.stdout, "not applicable")
    waiting = re.search(r"\nnot written yet \(NotImplementedError\):\n(.*?)\n\n", end.stderr, re.DOTALL)
    assert waiting is not None
    assert set(re.findall(r"SC-[A-Z]+-\d+", waiting[1])) == failed
    assert "expected:" not in end.stderr


@pytest.mark.long("The whole suite three times on the store that the authors' guide leads to.")
def test_the_written_store_is_conformant(fresh: FreshEnvironment, project: Path) -> None:
    shutil.copy(WRITTEN, project / "src/session_continuity_shelf/adapter.py")
    fresh.install(fresh.wheel(project), again=True)
    end = fresh.run("session-continuity", "conformance", URL, "--contract", THIS_CONTRACT, "--json", cwd=project)
    assert end.returncode == 0, end.stderr
    assert f"\n{CONFORMANT} (costs: not counted)  " in end.stderr
    (store,) = json.loads(end.stdout)["stores"]
    assert (store["distribution"], store["partial"]) == ("session-continuity-shelf 0.1.0", False)
    modes = {result["mode"] for clause in store["clauses"] for result in clause["results"]}
    assert modes == {"async", "blocking", "portal"}
    own = fresh.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=project)
    assert own.returncode == 0, own.stdout
    assert "4 passed" in own.stdout


def test_what_a_store_declares_beyond_the_contract_has_to_be_written(fresh: FreshEnvironment, project: Path) -> None:
    home = project / "src/session_continuity_shelf"
    shutil.copy(WRITTEN, home / "adapter.py")
    config, plugin = home / "config.py", home / "entry_point.py"
    asked = [f"--clause={name}" for name in ("SC-SRC", "SC-SES-021", "SC-CFG-008")]

    def prove() -> Any:
        fresh.install(fresh.wheel(project), again=True)
        return fresh.run("session-continuity", "conformance", URL, *asked, "--json", cwd=project)

    assert {status for _, status in statuses(prove().stdout)} == {"not applicable", "passed"}
    declared = "Capabilities(conditional_delete=True, text_search=True)"
    config.write_text(config.read_text().replace("Capabilities()", declared))
    end = prove()
    missing = of_status(end.stdout, "failed")
    assert missing == {"SC-SES-021", "SC-CFG-008"}
    assert "text_search" in end.stderr
    shutil.copy(BEYOND, home)
    written = plugin.read_text().replace("adapter import ShelfStorage", "beyond import SearchedShelfStorage")
    plugin.write_text(written.replace("return ShelfStorage(", "return SearchedShelfStorage("))
    end = prove()
    assert end.returncode == 0, end.stderr
    assert {"SC-SRC-001", *missing} <= of_status(end.stdout, "passed")


def test_the_noxfile_pins_the_contract_and_names_the_stores_url(project: Path) -> None:
    text = (project / "noxfile.py").read_text()
    assert f'CONTRACT = "{THIS_CONTRACT}"\n' in text
    assert '"--contract", CONTRACT' in text
    assert "api_version = (1, 0)\n" in (project / "src/session_continuity_shelf/entry_point.py").read_text()


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("Shelf", "lower-case letters"),
        ("my_store", "lower-case letters"),
        ("9lives", "begins with a letter"),
        ("a--b", "single hyphens"),
        ("../x", "lower-case letters"),
        ("", "lower-case letters"),
        ("x" * 41, "up to 40 characters"),
        ("memory", "the scheme memory is taken by session-continuity-memory"),
        ("conformance", "session-continuity-conformance is installed already"),
    ],
)
def test_a_name_that_cannot_be_is_refused(tmp_path: Path, name: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        new_backend(name, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch])
def test_what_exists_is_not_touched(tmp_path: Path, make: Any) -> None:
    home = tmp_path / "mine"
    make(home)
    with pytest.raises(ConfigError, match="exists; name another place with --directory"):
        new_backend("shelf", home)
    assert not home.is_dir() or list(home.iterdir()) == []


def test_an_extension_is_named_by_the_same_rules(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="lower-case letters"):
        new_extension("My Extension", tmp_path / "new")
    with pytest.raises(ConfigError, match="session-continuity-memory is installed already"):
        new_extension("memory", tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_the_scheme_may_have_another_name_than_the_distribution(tmp_path: Path) -> None:
    home, _ = new_backend("shelf", tmp_path / "new", scheme="book+shelf")
    texts = {path.name: path.read_text() for path in home.rglob("*.*") if path.is_file()}
    assert '\n"book+shelf" = "session_continuity_shelf.entry_point:plugin"\n' in texts["pyproject.toml"]
    assert '    scheme = "book+shelf"\n' in texts["entry_point.py"]
    assert '    backend = "book+shelf"\n' in texts["adapter.py"]
    assert [name for name, text in texts.items() if "shelf://" in text.replace("book+shelf://", "")] == []


@pytest.mark.parametrize(
    ("scheme", "complaint"),
    [
        ("Shelf", "a scheme begins with a letter"),
        ("9lives", "a scheme begins with a letter"),
        ("a/b", "a scheme begins with a letter"),
        ("memory", "the scheme memory is taken by session-continuity-memory"),
    ],
)
def test_a_scheme_that_cannot_be_is_refused(tmp_path: Path, scheme: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        new_backend("shelf", tmp_path / "new", scheme=scheme)
    assert not (tmp_path / "new").exists()


def test_both_type_checkers_run_when_the_first_fails(project: Path) -> None:
    sessions = [
        node for node in ast.parse((project / "noxfile.py").read_text()).body if isinstance(node, ast.FunctionDef)
    ]
    (types,) = (node for node in sessions if node.name == "types")
    assert [ast.unparse(each) for each in types.decorator_list][1:] == [
        "nox.parametrize('checker', ['mypy', 'pyright'])"
    ]
    assert len([line for line in ast.unparse(types).splitlines() if "session.run(" in line]) == 1


def test_a_hyphen_becomes_an_underscore_where_python_wants_it(tmp_path: Path) -> None:
    _, files = new_backend("my-store", tmp_path / "deep/er")
    adapter = tmp_path / "deep/er/src/session_continuity_my_store/adapter.py"
    assert adapter in files
    assert "class MyStoreStorage(StorageAdapter):" in adapter.read_text()
