"""The benchmark runs: what it prints is for people, that it measures every operation is for this test."""

from __future__ import annotations

from ..kit.benchmark_program import every_operation, small_run


def test_the_benchmark_measures_every_operation_of_every_subject() -> None:
    asynchronous = ["psycopg.async-orjson", "psycopg.async-json", "async-store", "async-manager"]
    subjects = ["psycopg-orjson", "psycopg-json", "store", "manager", *asynchronous]
    assert small_run("postgres").keys() >= every_operation(*subjects)
