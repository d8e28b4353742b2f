"""The checks of the project, each in its own environment: `nox` runs those of CI on the Python that runs it.

- `nox -s tests -- tests/core -k config` runs a part of the tests.
- `nox -s tests-3.13` runs the tests on another Python, `nox -t pythons` on all that are supported. A Python that is not
  installed is fetched by uv; where that fails, the session is skipped, and in CI it fails.
- `nox -s conformance -- URL [URL…]` proves any store.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "types", "tests", "conformance", "agents"]

ROOT = Path(__file__).parent
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
PLUGINS = [f"plugins/{name}" for name in ("memory", "sqlite", "redis", "dynamodb", "postgres", "firestore")]
PACKAGES = ["core", *PLUGINS, "conformance"]
EXTRAS = {"core": "[cli,tiktoken]", "plugins/dynamodb": "[async,zstd]", "plugins/postgres": "[binary]"}
SOURCES = [f"{package}/src" for package in PACKAGES]
AGENT_EXTRAS = [
    "openai",
    "adk",
    "langchain",
    "claude",
    "pydantic",
    "strands",
    "agent-framework",
    "chatkit",
    "llama-index",
]
CODE = [*SOURCES, "agents/src", "tests", "benchmarks", "examples", "noxfile.py"]
CHECKERS = ["mypy", "pyright[nodejs]", "botocore-stubs", "types-grpcio", "types-protobuf"]
TESTERS = [
    "pytest",
    "pytest-timeout",
    "pytest-xdist",
    "hypothesis",
    "coverage[toml]",
    "moto[server]",
    "openai",
    "anthropic",
    "google-genai",
    "cfn-lint",
    "bpe-openai",
    "psycopg-pool",
    "python-hcl2",
    "ruff",
    "uv",
    "fastapi",
    "httpx",
    "uvicorn",
]


FOUR_AT_A_TIME = ["-n", "4", "--dist", "loadfile", "--no-loadscope-reorder"]
"""Four files at a time, because tests spend most of their time waiting for servers and other processes.

The files keep their own order. In that of xdist, files of few tests come last, and some take a minute.
"""


def install(session: nox.Session, *tools: str) -> None:
    """The workspace, editable, and the tools named, at the versions that constraints.txt states."""
    editable = [part for package in PACKAGES for part in ("-e", package + EXTRAS.get(package, ""))]
    session.install("-c", "constraints.txt", *editable, *tools)


@nox.session
def lint(session: nox.Session) -> None:
    """Style and formatting."""
    session.install("-c", "constraints.txt", "ruff")
    session.run("ruff", "check", *CODE)
    session.run("ruff", "format", "--check", *CODE)


@nox.session
@nox.parametrize("checker", ["mypy", "pyright"])
def types(session: nox.Session, checker: str) -> None:
    """One type checker, strict. The two are apart, so that the first does not hide what the second finds."""
    install(session, *CHECKERS)
    session.run(checker, *SOURCES)


def run_tests(session: nox.Session) -> None:
    """The tests that are not `long`, four files at a time. Arguments after `--` go to pytest instead."""
    install(session, *CHECKERS, *TESTERS)
    session.run("python", "-m", "pytest", *(session.posargs or [*FOUR_AT_A_TIME, "-m", "not long"]))


@nox.session
def tests(session: nox.Session) -> None:
    """The tests that are not `long`, with the branch coverage of core. With arguments after `--`, pytest runs those."""
    if session.posargs:
        run_tests(session)
        return
    install(session, *CHECKERS, *TESTERS, "pytest-cov")
    # pytest-cov saves what a worker measured before the worker ends: a worker that ends slowly is killed.
    session.run("python", "-m", "pytest", "--cov", "--cov-report=", *FOUR_AT_A_TIME, "-m", "not long")
    session.run("coverage", "report", "--fail-under=95")


for version in PYTHONS:
    nox.session(run_tests, python=version, name=f"tests-{version}", tags=["pythons"], default=False)


@nox.session
def long(session: nox.Session) -> None:
    """The tests that take longest, which CI leaves out. The marker of each says why it is worth its time.

    They are shared out one by one, because one file has several. One test may take 25 minutes before it counts as
    hanging: a busy machine has taken more than five for one.
    """
    install(session, *CHECKERS, *TESTERS)
    one_by_one = ["-n", "4", "--dist", "worksteal", "--timeout=1500"]
    session.run("python", "-m", "pytest", *(session.posargs or [*one_by_one, "-m", "long"]))


def apart_suite(folder: str) -> tuple[str, ...]:
    """The command that runs the suite, four examples at a time, apart from the configuration of our tests."""
    apart = ("-c", os.devnull, f"--rootdir={folder}", "--noconftest", "-p", "no:cacheprovider", "-W", "error", "-q")
    return ("python", "-m", "pytest", "-n", "4", "--pyargs", "session_continuity_conformance.suite", *apart)


@nox.session
def conformance(session: nox.Session) -> None:
    """The conformance suite on our own stores, four examples at a time, or on the stores whose URLs follow `--`."""
    install(session, "pytest-xdist")
    if session.posargs:
        session.run("session-continuity", "conformance", *session.posargs)
        return
    folder = session.create_tmp()
    suite = apart_suite(folder)
    files = (f"--sc-url=sqlite:///{folder}/plain.db", f"--sc-url=sqlite:///{folder}/searched.db?search=true")
    embedded = ("--sc-url=memory://conformance", *files)
    servers = ("--sc-harness=tests.kit.harnesses:redis", "--sc-harness=tests.kit.harnesses:postgres")
    session.run(*suite, *embedded, *servers)
    # One mode, because botocore pauses after every lost reply. The tests run its store in both modes.
    dynamodb = ("--sc-harness=tests.kit.harnesses:dynamodb", "--sc-mode=blocking")
    session.run(*suite, *dynamodb, success_codes=[0, 5])  # 5: no engine is installed; an error in CI
    firestore = ("--sc-harness=tests.kit.harnesses:firestore", "--sc-mode=blocking")
    session.run(*suite, *firestore, success_codes=[0, 5])


def install_with_frameworks(session: nox.Session, *tools: str) -> None:
    """The workspace with the agent frameworks, at the versions that agents/constraints.txt states.

    They are in an environment of their own: some of them need older versions of what the others use.
    """
    editable = [part for package in PACKAGES for part in ("-e", package + EXTRAS.get(package, ""))]
    frameworks = f"agents[{','.join(AGENT_EXTRAS)}]"
    session.install("-c", "agents/constraints.txt", *editable, "-e", frameworks, *tools)


@nox.session
def agents(session: nox.Session) -> None:
    """The adapters for agent frameworks: both type checkers, and their tests with the frameworks themselves.

    No other session collects tests/agents: `norecursedirs` in pyproject.toml leaves it out where it is not named.
    """
    install_with_frameworks(session, "mypy", "pyright[nodejs]", "pytest", "pytest-timeout", "pytest-xdist")
    session.run("mypy", "agents/src")
    session.run("pyright", "agents/src")
    session.run("python", "-m", "pytest", *(session.posargs or [*FOUR_AT_A_TIME, "tests/agents"]))


@nox.session(default=False)
def histories(session: nox.Session) -> None:
    """Random histories on our own stores: `-- 300 7` makes 300 per mode, chosen by seed 7."""
    install(session, "pytest-xdist")
    count, seed = [*session.posargs, *("300", "1")[len(session.posargs) :]]
    search = ("--sc-clause=SC-ORD-011", f"--sc-explore={count}", f"--sc-seed={seed}")
    folder = session.create_tmp()
    stores = ("--sc-url=memory://histories", f"--sc-url=sqlite:///{folder}/histories.db")
    session.run(*apart_suite(folder), *search, *stores, "--sc-harness=tests.kit.harnesses:redis")
    dynamodb = "--sc-harness=tests.kit.harnesses:dynamodb"
    session.run(*apart_suite(folder), *search, dynamodb, success_codes=[0, 5])  # 5: no engine is installed


@nox.session(default=False)
def upstream(session: nox.Session) -> None:
    """Tests of the frameworks' own repositories, with our classes in the place of theirs, and without as a comparison.

    They are in the source distributions, which pip downloads. `-- redis openai-agents` takes Redis instead of SQLite,
    and runs those of one framework.
    """
    install_with_frameworks(
        session,
        "pip",
        "pytest",
        "pytest-timeout",
        "pytest-xdist",
        "pytest-asyncio",
        "inline-snapshot",
        *("moto", "boto3"),  # of strands-agents
        *("blockbuster", "freezegun", "pytest-mock", "pytest-socket", "syrupy"),  # of langchain-core
    )
    session.run("python", "-m", "tests.agents.upstream", session.create_tmp(), *session.posargs)


@nox.session(default=False)
def extras(session: nox.Session) -> None:
    """Each extra of session-continuity-agents in a fresh environment, from wheels: the program of its page runs.

    `-- openai chatkit` tries these two.
    """
    session.install("uv")
    folder = session.create_tmp()
    shutil.rmtree(folder)
    session.run("python", "-m", "tests.agents.extras", folder, *session.posargs)


@nox.session(default=False)
def mutants(session: nox.Session) -> None:
    """Every store that is broken on purpose, and the clause that finds it. `-- --beside` names other clauses too."""
    install(session)
    session.run("python", "-m", "session_continuity_conformance.mutants", *session.posargs)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """The benchmarks: ratios to bare clients. `-- redis`, `-- dynamodb` and `-- postgres` start a server.

    `-- --peers` adds openai-agents.
    """
    install(session, *(["openai-agents[redis,sqlalchemy]"] if "--peers" in session.posargs else []))
    session.run("python", "-m", "benchmarks", *session.posargs, env={"PYTHONPATH": os.fspath(ROOT)})
