"""The command: exit codes, the layout of the report, and the files it writes."""

from __future__ import annotations

import re
import sys
from importlib import import_module
from pathlib import Path
from xml.etree import ElementTree

import pytest

from session_continuity_conformance.clauses import all_clauses
from session_continuity_conformance.selection import argument_of
from session_continuity_conformance.target import UrlTarget, in_namespace

from ..kit.environments import run_program
from ..kit.verdicts import CONFORMANT, NOT_CONFORMANT, WITH_EXCEPTIONS
from .conftest import ConformanceCommand

MODES = ["async mode", "blocking mode", "portal mode"]
SHARED = [name for name, clause in all_clauses().items() if clause.capability == "shared"]


@pytest.mark.long("The whole suite in all modes: the only run of the command without a choice of clauses.")
def test_conformant_store_is_told_so(conformance: ConformanceCommand, tmp_path: Path) -> None:
    code, report = conformance("memory://test")
    assert code == 0, report
    assert f"{CONFORMANT} (costs: not counted)  " in report
    assert "backend  memory: session-continuity-memory " in report
    assert "modes    async, blocking, portal" in report
    assert re.search(r"examples of \d+ clauses; async \d+\.\d s, blocking \d+\.\d s, portal \d+\.\d s", report)
    assert list(tmp_path.iterdir()) == []


def test_broken_store_is_told_what_is_wrong(conformance: ConformanceCommand) -> None:
    code, report = conformance("--harness", "stores:broken", "--clause", "SC-SES", "--mode", "blocking")
    assert code == 1
    assert NOT_CONFORMANT in report
    lines = report.splitlines()
    start = next(
        place for place, line in enumerate(lines) if line.startswith("SC-SES-004 (MUST) create_session of an id")
    )
    told = [line.strip().partition(" ")[0] for line in lines[start + 1 :] if line.startswith("  ") and line[2] != " "]
    assert told[:7] == ["done:", "expected:", "observed:", "where:", "remedy:", "modes:", "again:"]


def test_failure_is_told_in_the_stores_own_terms(conformance: ConformanceCommand) -> None:
    _, report = conformance("--harness", "stores:broken", "--clause", "SC-SES-004", "--mode", "blocking")
    assert "expected: create_session of an existing id: SessionExistsError" in report
    assert "observed: no error, but Session(id='s1', user_id='second'" in report
    assert "reference/storage.py" in report
    assert "ReferenceStorage.create_session" in report
    assert "append_messages('s1', [Message(" in report
    again = "session-continuity conformance --harness stores:broken --clause SC-SES-004 --mode blocking"
    assert f"again:    {again}" in report


def test_error_of_the_store_is_told_with_its_place(conformance: ConformanceCommand) -> None:
    code, report = conformance("--harness", "stores:raising", "--clause", "SC-TTL-004", "--mode", "async")
    assert code == 1
    assert "cause:    RuntimeError: Attribute name is a reserved keyword" in report
    assert "mutants/expiry.py" in report
    assert "ExpirySweepFails.get_expired_sessions" in report


def test_broken_should_is_an_exception(conformance: ConformanceCommand) -> None:
    code, report = conformance("--harness", "stores:untidy", "--clause", "SC-TTL")
    assert code == 0, report
    assert re.search(rf"\n{re.escape(WITH_EXCEPTIONS)} \(only the \d+ clauses asked for\)", report)
    assert "SC-TTL-010 (SHOULD)" in report


def test_what_does_not_apply_is_told_with_its_reason(conformance: ConformanceCommand) -> None:
    code, report = conformance("memory://test", "--clause", "SC-FLT-01", "--mode", "blocking")
    assert code == 0, report
    assert (
        "  SC-FLT-010, SC-FLT-011 not applicable: the store has no server on loopback that a proxy could be put in"
        in report
    )


def test_several_stores_are_compared(conformance: ConformanceCommand, tmp_path: Path) -> None:
    table = tmp_path / "table.md"
    code, report = conformance(
        "memory://test", "--harness", "stores:broken", "--clause", "SC-SES-00", "--markdown", str(table)
    )
    assert code == 1
    rows = [re.split(r"\s{2,}", line) for line in report[report.rindex("memory ") :].splitlines()]
    assert rows[:2] == [["memory", "reference"], ["SES sessions", "✓ 9/9", "✗ 7/9"]]
    assert [row[0] for row in rows[2:]] == [*MODES, "SC-SES-004", "SC-SES-005", "verdict"]
    assert re.fullmatch(r"\d\d examples, \d+\.\d s", rows[2][1])
    assert re.fullmatch(r"\d\d examples, 3 failed, \d+\.\d s", rows[2][2])
    assert rows[5] == ["SC-SES-004", "passed", "failed"]
    assert rows[-1] == ["verdict", CONFORMANT, NOT_CONFORMANT]
    assert table.read_text().splitlines()[0] == "| clause | `memory` | `reference` |"
    assert "| SES sessions | ✓ 9/9 | ✗ 7/9: SC-SES-004, SC-SES-005 |" in table.read_text()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["memery://"], "no backend for memery:// is installed; did you mean memory://?"),
        (["memory://?nmespace=x"], "unknown option nmespace; did you mean namespace?"),
        (["memory"], "this is not a storage URL"),
        (["memory://t", "--clause", "SC-NO"], "no clause begins with SC-NO"),
        (["memory://t", "--contract", "one"], "a contract is written MAJOR.MINOR"),
        (["--harness", "stores"], "a harness is written MODULE:NAME"),
        (["--harness", "stores:absent"], "the harness stores:absent cannot be loaded"),
        (["--harness", "stores:old"], "nothing could run"),
    ],
)
def test_what_cannot_run_is_neither_good_nor_bad(
    conformance: ConformanceCommand, arguments: list[str], complaint: str
) -> None:
    code, report = conformance(*arguments)
    assert code == 2
    assert complaint in report


def test_harness_is_started_and_stopped(conformance: ConformanceCommand, tmp_path: Path) -> None:
    code, report = conformance("--harness", "stores:good", "--clause", "SC-CFG")
    assert code == 0, report
    assert tmp_path.joinpath("stopped").exists()


@pytest.mark.parametrize(("own", "other"), [("async", "blocking"), ("blocking", "async")])
def test_store_with_one_mode_is_tested_in_all(conformance: ConformanceCommand, own: str, other: str) -> None:
    arguments = ["--clause", "SC-SES-00", "--clause", "SC-LIF"]
    code, report, store = conformance.with_document("--harness", f"stores:{own}_only", *arguments)
    assert code == 0, report
    assert f"modes    async, blocking, portal; the store has no {other} mode, core bridges it" in report
    modes = {frozenset(result["mode"] for result in clause["results"]) for clause in store["clauses"]}
    assert modes == {frozenset({"async", "blocking", "portal"})}


def test_mode_that_was_not_asked_for_is_told(conformance: ConformanceCommand) -> None:
    _, report = conformance("memory://test", "--clause", "SC-SES-001", "--mode", "portal")
    assert "modes    async (not run), blocking (not run), portal" in report


def test_broken_store_is_broken_through_every_bridge(conformance: ConformanceCommand) -> None:
    code, report = conformance("--harness", "stores:broken_async", "--clause", "SC-SES-004")
    assert code == 1
    assert "  modes:    async, blocking, portal" in report


def test_results_are_written_for_programs(conformance: ConformanceCommand, tmp_path: Path) -> None:
    junit = tmp_path / "report.xml"
    arguments = ["--harness", "stores:broken", "--clause", "SC-SES-00", "--junit", str(junit)]
    _, _, store = conformance.with_document(*arguments)
    assert (store["conformant"], store["verdict"]) == (False, NOT_CONFORMANT)
    statuses = {clause["id"]: clause["status"] for clause in store["clauses"]}
    assert (statuses["SC-SES-001"], statuses["SC-SES-004"]) == ("passed", "failed")
    failed = next(clause for clause in store["clauses"] if clause["id"] == "SC-SES-004")
    finding = next(result["finding"] for result in failed["results"] if result["finding"])
    assert {"clause", "done", "expected", "observed", "cause", "where", "remedy", "program"} <= set(finding)
    suite = ElementTree.parse(junit).getroot().find("testsuite")
    assert suite is not None
    assert int(suite.attrib["failures"]) > 0
    assert any("SC-SES-004" in case.attrib["name"] for case in suite.findall("testcase"))


def test_password_of_the_url_stays_out_of_the_report(conformance: ConformanceCommand) -> None:
    code, report = conformance("memory://user:hunter2@host")
    assert code == 2
    assert "hunter2" not in report


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("memory://", "memory://?namespace=n"),
        ("memory://?", "memory://?namespace=n"),
        ("redis://h/0?a=1", "redis://h/0?a=1&namespace=n"),
        ("redis://h/0?namespace=team&a=1", "redis://h/0?a=1&namespace=teamn"),
    ],
)
def test_url_gets_a_namespace(url: str, expected: str) -> None:
    assert in_namespace(url, "n") == expected


def test_what_is_not_declared_and_works_is_told_and_no_fault(conformance: ConformanceCommand) -> None:
    arguments = ["--clause", "SC-LST", "--clause", "SC-APP", "--clause", "SC-CFG"]
    code, report, store = conformance.with_document("--harness", "stores:modest", *arguments)
    assert code == 0, report
    names = "max_batch, unscoped_listing, strong_listing, listing_totals, activity_listing, ascending_listing"
    sentence = f"not declared but supported here: {names}. Declare them if the store always supports them."
    assert sentence in report
    assert store["under_declared"] == names.split(", ")
    statuses = {clause["id"]: clause["status"] for clause in store["clauses"]}
    assert (statuses["SC-LST-008"], statuses["SC-CFG-005"]) == ("under-declared", "passed")


def test_what_is_not_declared_and_does_not_work_is_not_applicable(conformance: ConformanceCommand) -> None:
    code, report = conformance("memory://test", *[word for name in SHARED for word in ("--clause", name)])
    assert code == 2, report
    assert "NOTHING RUN" in report
    assert "under-declared" not in report


def test_what_is_left_open_at_the_end_is_told() -> None:
    arguments = ["--harness", "stores:leaking", "--clause", "SC-SES-001", "--mode", "blocking"]
    command = Path(sys.executable).with_name("session-continuity")
    end = run_program(command, "conformance", *arguments, cwd=Path(__file__).parent)
    assert (end.returncode, end.stderr) == (0, "")
    assert "warning: left open after the last example: ResourceWarning: unclosed file" in end.stdout


def test_what_the_store_complains_of_is_told_first(conformance: ConformanceCommand) -> None:
    arguments = ["--clause", "SC-SES-001", "--mode", "blocking"]
    _, report, store = conformance.with_document("--harness", "stores:unwell", *arguments)
    assert "  health   degraded: make the table\n" in report
    assert store["health"] == "degraded: make the table"
    _, report = conformance("--harness", "stores:good", *arguments)
    assert "health" not in report


def test_view_of_a_namespace_is_checked_in_the_namespace_of_the_url(
    conformance: ConformanceCommand, tmp_path: Path
) -> None:
    code, report = conformance(f"sqlite:///{tmp_path}/chat.db?namespace=team%2Fa", "--clause", "SC-ISO-008")
    assert code == 0, report


def test_error_of_the_client_is_told_once_with_all_clauses_that_it_broke(conformance: ConformanceCommand) -> None:
    code, report = conformance("--harness", "stores:refused", "--clause", "SC-APP-00", "--mode", "blocking")
    assert code == 1
    assert (
        report.count("\n  observed: StorageError: reference: append_messages: the server refused the statement\n") == 1
    )
    assert "\n  cause:    stores.ClientError: argument of NOT must be boolean\n" in report
    assert re.search(r"\n  same in:  SC-APP-002, .*SC-APP-009\n", report)


def test_store_that_cannot_be_set_up_is_told_once_and_closed(
    conformance: ConformanceCommand,
) -> None:
    code, report = conformance("--harness", "stores:unopened", "--clause", "SC-APP-00")
    assert code == 1
    assert report.count("  observed: StorageError: reference: setup: the encoding is not UTF8\n") == 1
    assert "  remedy:   The store could not be opened and set up, so no clause can be judged." in report
    assert "  modes:    async, blocking, portal\n" in report
    opened = import_module("stores").Unopened.opened
    assert len(opened) > 20
    assert all(adapter.closed for adapter in opened)


def test_cause_of_a_store_that_is_away_is_told_without_its_secrets(conformance: ConformanceCommand) -> None:
    code, report = conformance("--harness", "stores:away")
    assert code == 2
    assert "the cause says why; caused by stores.ClientError: no route for ***\n" in report


def test_what_is_left_open_again_and_again_is_one_finding() -> None:
    arguments = ["--harness", "stores:littering", "--clause", "SC-APP-00", "--mode", "blocking"]
    command = Path(sys.executable).with_name("session-continuity")
    end = run_program(command, "conformance", *arguments, cwd=Path(__file__).parent)
    assert end.returncode == 1
    assert len(re.findall(r"\n  observed: 100 × ResourceWarning: unclosed file .*stores.py", end.stdout)) == 1
    assert "\n  remedy:   Close every connection" in end.stdout
    assert len(end.stdout.splitlines()) < 30


def test_costs_that_were_counted_by_requests_only_are_told_in_the_verdict(conformance: ConformanceCommand) -> None:
    asked = ["--clause", "SC-COST-003", "--mode", "blocking"]
    code, report, store = conformance.with_document("--harness", "stores:counting_requests", *asked)
    assert code == 0
    assert f"\n{CONFORMANT} (only the one clause asked for; costs: requests only)  " in report
    assert "  costs: requests only: the cost meter tells no reads and no units. A call that looks through" in report
    assert [each["clauses"] for each in store["reservations"]] == [["SC-COST-003"]]
    _, report, store = conformance.with_document("--harness", "stores:good", *asked)
    assert "requests only" not in report
    assert store["reservations"] == []


def test_command_and_program_can_be_run_although_the_url_has_a_password(
    conformance: ConformanceCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = ["--clause", "SC-SES-019", "--mode", "blocking"]
    _, report = conformance("--harness", "stores:secretive", *program)
    assert "default_registry().create(None, 'blocking')))  # the store of SESSION_CONTINUITY_URL\n" in report
    assert "hush" not in report
    monkeypatch.setenv("WORD", "hush")
    assert command_of("postgresql://u:hush@localhost/x") == '"$SESSION_CONTINUITY_URL"'
    assert command_of("postgresql://u:${WORD}@localhost/x") == "'postgresql://u:${WORD}@localhost/x'"
    assert command_of("postgresql://u:${NO:-hush}@localhost/x") == '"$SESSION_CONTINUITY_URL"'
    assert command_of("sqlite:///a%20b.db") == "sqlite:///a%20b.db"


def command_of(url: str) -> str:
    return argument_of(UrlTarget(url))


def test_loopback_without_a_port_is_told(conformance: ConformanceCommand) -> None:
    _, report = conformance("--harness", "stores:portless", "--clause", "SC-FLT-010", "--mode", "blocking")
    assert "SC-FLT-010 not applicable: the URL states no port, and option port has no default;" in report
