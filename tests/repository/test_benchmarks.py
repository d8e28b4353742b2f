"""The benchmarks run: what they print is for people, that they measure every operation is for this test."""

from __future__ import annotations

from importlib.metadata import distributions

import pytest

from ..kit.benchmark_program import benchmark, every_operation, small_run


@pytest.mark.parametrize(
    ("backend", "lines"),
    [("memory", ["dict"]), ("sqlite", ["sqlite3-orjson", "sqlite3-json"])],
    ids=["memory", "sqlite"],
)
def test_a_small_run_measures_every_operation_of_every_subject(backend: str, lines: list[str]) -> None:
    assert small_run(backend).keys() >= every_operation(*lines, "store", "manager")


def test_a_run_without_openai_agents_says_how_to_get_it() -> None:
    missing = "openai-agents" not in {distribution.name for distribution in distributions()}
    run = benchmark("sqlite", "--sizes", "")
    assert ("`nox -s bench -- --peers …` installs it" in run.stdout) == missing
    insisting = benchmark("sqlite", "--sizes", "", "--peers")
    assert ("pip install 'openai-agents[redis,sqlalchemy]'" in insisting.stderr, insisting.returncode != 0) == (
        missing,
        missing,
    )


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["oracle"], "no benchmark for oracle"),
        (["memory", "--latency", "5"], "--url and --latency go with one of redis, dynamodb, postgres"),
        (
            ["redis", "dynamodb", "--url", "redis://127.0.0.1"],
            "--url and --latency go with one of redis, dynamodb, postgres",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments: list[str], reason: str) -> None:
    run = benchmark(*arguments)
    assert run.returncode == 2
    assert reason in run.stderr
