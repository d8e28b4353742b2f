"""Every check of the project, each in an environment of its own making: `nox` runs them all.

`nox -s conformance -- URL [URL…]` proves any store; `nox -s tests -- tests/core -k config` runs a part of the tests.
"""

from __future__ import annotations

import os
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "types", "tests", "conformance"]

ROOT = Path(__file__).parent
PACKAGES = ["core", "plugins/memory", "plugins/sqlite", "plugins/redis", "plugins/dynamodb", "conformance"]
EXTRAS = {"core": "[cli]", "plugins/dynamodb": "[async,zstd]"}
SOURCES = [f"{package}/src" for package in PACKAGES]
CODE = [*SOURCES, "tests", "benchmarks", "examples", "noxfile.py"]
CHECKERS = ["mypy", "pyright[nodejs]", "botocore-stubs"]
TESTERS = [
    "pytest",
    "pytest-timeout",
    "pytest-xdist",
    "hypothesis",
    "coverage[toml]",
    "moto[server]",
    "cfn-lint",
    "python-hcl2",
    "ruff",
    "uv",
]


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
def types(session: nox.Session) -> None:
    """Both type checkers, strict."""
    install(session, *CHECKERS)
    session.run("mypy", *SOURCES)
    session.run("pyright", *SOURCES)


@nox.session
def tests(session: nox.Session) -> None:
    """The repository's tests, two files at a time, with the branch coverage of core."""
    install(session, *CHECKERS, *TESTERS)
    session.run("coverage", "erase")
    # in their own order, because xdist's leaves the files of few tests, some of which take a minute, to the end
    parts = session.posargs or ["-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"]
    session.run("coverage", "run", "-m", "pytest", *parts)
    session.run("coverage", "combine", "--quiet")
    if not session.posargs:
        session.run("coverage", "report", "--fail-under=95")


@nox.session
def conformance(session: nox.Session) -> None:
    """The conformance suite on our own stores, two examples at a time, or on the stores whose URLs follow `--`."""
    install(session, "pytest-xdist")
    if session.posargs:
        session.run("session-continuity", "conformance", *session.posargs)
        return
    folder = session.create_tmp()
    apart = ("-c", os.devnull, f"--rootdir={folder}", "--noconftest", "-p", "no:cacheprovider", "-W", "error", "-q")
    suite = ("python", "-m", "pytest", "-n", "2", "--pyargs", "session_continuity_conformance.suite", *apart)
    embedded = ("--sc-url=memory://conformance", f"--sc-url=sqlite:///{folder}/conformance.db")
    session.run(*suite, *embedded, "--sc-harness=tests.redis.harness:server")
    # one mode, because every lost reply costs a pause of botocore's; the tests have its stores in both
    dynamodb = ("--sc-harness=tests.dynamodb.harness:local", "--sc-mode=blocking")
    session.run(*suite, *dynamodb, success_codes=[0, 5])  # 5: no engine here, which is told, and an error in CI


@nox.session(default=False)
def mutants(session: nox.Session) -> None:
    """Every store that is broken on purpose, and the clause that kills it. `-- --beside` tells the others too."""
    install(session)
    session.run("python", "-m", "session_continuity_conformance.mutants", *session.posargs)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """The benchmarks: ratios to hand-written limit lines. `-- redis` and `-- dynamodb` start a server for them."""
    install(session)
    session.run("python", "-m", "benchmarks", *session.posargs, env={"PYTHONPATH": os.fspath(ROOT)})
