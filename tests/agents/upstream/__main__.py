"""Runs tests of a framework's own repository twice, without and with our classes, and compares: `nox -s upstream`.

`-- redis openai-agents` takes Redis as the store, and runs the tests of one framework; without, it is SQLite, and all.
The tests come from the source distribution of the version that is installed. A test that fails only with our classes is
an error, unless `LEFT_OUT` says why it cannot pass. So is one that is listed there and passes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

from tests.kit import harnesses

HERE = Path(__file__).parent
STORES = ("memory", "sqlite", "redis", "dynamodb", "postgres")


@dataclass(frozen=True)
class Selection:
    """Tests of one framework to run with the plugin `swap_…`, whose variable SC_SWAP is `kind`.

    `left_out` are the tests that cannot pass, by the reason, and `left_out_on` those of one store. `has_base` is False
    where the source distribution lacks what its tests need to run without the plugin: all of them must pass with it
    then.
    """

    distribution: str
    plugin: str
    kind: str
    files: tuple[str, ...]
    left_out: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    has_base: bool = True
    left_out_on: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict[str, dict[str, tuple[str, ...]]])


SELECTIONS = (
    Selection(
        "openai-agents",
        "swap_openai_agents",
        "sqlite",
        ("tests/memory/test_session.py", "tests/memory/test_session_limit.py"),
        {
            "it looks into the connections and locks of their class": (
                "test_sqlite_session_close_closes_worker_thread_connections",
                "test_sqlite_session_reaps_connections_from_exited_worker_threads",
                "test_sqlite_session_closes_retired_connections_before_the_next_allocation",
                "test_sqlite_session_keeps_connections_of_live_worker_threads",
                "test_sqlite_session_file_lock_is_shared_across_instances",
                "test_sqlite_session_failed_add_items_releases_write_lock",
                "test_sqlite_session_failed_clear_session_rolls_back",
                "test_sqlite_session_failed_pop_item_releases_write_lock",
                "test_sqlite_session_rollback_failure_evicts_connection",
                "test_sqlite_session_close_retries_quarantined_connection",
                "test_sqlite_session_post_commit_cancellation_propagates_after_known_outcome[add]",
                "test_sqlite_session_post_commit_cancellation_propagates_after_known_outcome[pop]",
                "test_sqlite_session_post_commit_cancellation_propagates_after_known_outcome[clear]",
            ),
            "it writes damaged rows into their table": (
                "test_sqlite_session_pop_item_skips_corrupt_most_recent",
                "test_sqlite_session_pop_item_returns_none_after_dropping_only_corrupt_rows",
                "test_sqlite_session_get_items_limit_skips_corrupt_newest_rows",
                "test_sqlite_session_get_items_session_settings_limit_skips_corrupt_rows",
            ),
            "ours opens its store again after it was closed": ("test_sqlite_session_closed_rejects_empty_add_items",),
        },
    ),
    Selection(
        "openai-agents",
        "swap_openai_agents",
        "sqlite",
        (
            "tests/memory/test_compaction_suffix.py",
            "tests/memory/test_compaction_model_visibility.py",
            "tests/memory/test_openai_responses_compaction_session.py",
        ),
        {
            "it looks into the connections and tables of their class": (
                "test_suffix_transaction_rolls_back_failed_insert[sqlite]",
                "test_cancelled_suffix_transaction_settles_before_newer_append[sqlite]",
                "test_failed_encrypted_suffix_transaction_preserves_original_tokens[sqlite-False]",
                "test_failed_encrypted_suffix_transaction_preserves_original_tokens[sqlite-True]",
                "test_settled_pop_failure_invalidates_response_chain[cancelled]",
                "test_settled_pop_failure_invalidates_response_chain[error]",
                "test_settled_clear_failure_invalidates_response_chain[cancelled]",
                "test_settled_clear_failure_invalidates_response_chain[error]",
            ),
        },
        left_out_on={
            "dynamodb": {
                "it adds more than the 48 items that DynamoDB takes at once": (
                    "test_automatic_compaction_does_not_reload_unbounded_hidden_history[none-False]",
                    "test_automatic_compaction_does_not_reload_unbounded_hidden_history[none-True]",
                    "test_automatic_compaction_does_not_reload_unbounded_hidden_history[outer-False]",
                    "test_automatic_compaction_does_not_reload_unbounded_hidden_history[outer-True]",
                    "test_automatic_compaction_does_not_reload_unbounded_hidden_history[inner-False]",
                    "test_automatic_compaction_does_not_reload_unbounded_hidden_history[inner-True]",
                    "test_manual_rollback_budget_rejects_before_api_or_writes[None]",
                    "test_manual_rollback_budget_rejects_before_api_or_writes[1]",
                )
            }
        },
    ),
    Selection(
        "openai-chatkit",
        "swap_chatkit",
        "store",
        ("tests/test_store.py", "tests/test_chatkit_server.py"),
        has_base=False,
    ),
    Selection(
        "strands-agents",
        "swap_strands",
        "repository",
        (
            "tests/strands/session/test_repository_session_manager.py",
            "tests/strands/agent/test_agent.py",
            "tests/strands/multiagent/test_graph.py",
            "tests/strands/multiagent/test_swarm.py",
        ),
        {
            "it compares times of its own with those of the store": (
                "test_initialize_skips_message_restore_for_server_managed_conversation",
            ),
        },
    ),
    Selection(
        "strands-agents",
        "swap_strands",
        "files",
        ("tests/strands/session/test_file_session_manager.py", "tests/strands/test_tracking_id_history_invariant.py"),
        {
            "it looks into the paths and files of their class": (
                "test_create_session",
                "test_delete_session",
                "test_delete_nonexistent_session",
                "test_create_agent",
                "test_create_message",
                "test_message_durable_id_persists",
                "test_corrupted_json_file",
                "test__get_session_path_invalid_session_id[a/../b]",
                "test__get_session_path_invalid_session_id[a/b]",
                "test__get_agent_path_invalid_agent_id[a/../b]",
                "test__get_agent_path_invalid_agent_id[a/b]",
                "test__get_message_path_invalid_message_id[../../../secret]",
                "test__get_message_path_invalid_message_id[../../attack]",
                "test__get_message_path_invalid_message_id[../escape]",
                "test__get_message_path_invalid_message_id[path/traversal]",
                "test__get_message_path_invalid_message_id[not_an_int]",
                "test__get_message_path_invalid_message_id[None]",
                "test__get_message_path_invalid_message_id[message_id6]",
                "test_create_multi_agent",
                "test_create_session_multi_agent_directory_structure",
            ),
        },
    ),
    Selection(
        "langchain-core",
        "swap_langchain",
        "history",
        ("tests/unit_tests/chat_history/test_chat_history.py", "tests/unit_tests/runnables/test_history.py"),
        {
            "it reads the docstring of their class": ("test_chat_history_deprecated[InMemoryChatMessageHistory]",),
            "it compares a message without an id, and the store gives it one": (
                "test_in_memory_history_initialization",
            ),
        },
    ),
)


def source_of(distribution: str, folder: Path) -> Path:
    """The unpacked source distribution of the version that is installed."""
    wanted = f"{distribution}=={version(distribution)}"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "-q",
        "--no-deps",
        "--no-binary",
        distribution,
        "-d",
        folder,
        wanted,
    ]
    subprocess.run(pip, check=True)
    [archive] = folder.glob(f"{distribution.replace('-', '_')}-*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


def outcomes(source: Path, selection: Selection, store: str, *, swapped: bool) -> dict[tuple[str, str], str]:
    """What became of each test, by its class and name: `passed`, `failed` or `skipped`."""
    report = source / f"{selection.kind}-{swapped}.xml"
    report.unlink(missing_ok=True)
    plugin = ["-p", selection.plugin] if swapped else []
    environ = {**os.environ, "SC_SWAP": selection.kind, "SC_STORE": store, "PYTHONPATH": os.fspath(HERE)}
    command = [sys.executable, "-m", "pytest", "-q", "--tb=no", "-W", "ignore", f"--junitxml={report}", *plugin]
    subprocess.run([*command, *selection.files], cwd=source, env=environ, check=False)
    found: dict[tuple[str, str], str] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        kinds = {child.tag for child in case}
        failed = bool(kinds & {"failure", "error"})
        found[str(case.get("classname")), str(case.get("name"))] = (
            "failed" if failed else "skipped" if "skipped" in kinds else "passed"
        )
    return found


def compare(source: Path, selection: Selection, store: str, scheme: str) -> list[str]:
    """The tests that fail only with our classes, and those that are listed and pass. Prints the numbers."""
    ours = outcomes(source, selection, store, swapped=True)
    base = outcomes(source, selection, store, swapped=False) if selection.has_base else dict.fromkeys(ours, "passed")
    left_out = {**selection.left_out, **selection.left_out_on.get(scheme, {})}
    listed = {name: reason for reason, names in left_out.items() for name in names}
    worse = {test[1] for test, outcome in base.items() if outcome == "passed" and ours.get(test) != "passed"}
    numbers = [f"{sum(outcome == 'passed' for outcome in run.values())} of {len(run)}" for run in (base, ours)]
    theirs = f"theirs {numbers[0]} passed, " if selection.has_base else ""
    sys.stdout.write(f"{selection.distribution} {selection.kind}: {theirs}with ours {numbers[1]}\n")
    for reason, names in left_out.items():
        sys.stdout.write(f"  {len(names)} left out: {reason}\n")
    new = [f"{name} fails with our classes" for name in sorted(worse - listed.keys())]
    return new + [f"{name} passes, and is listed as left out" for name in sorted(listed.keys() - worse)]


def main(folder: str, *arguments: str) -> int:
    """Run the selections of these distributions, or all, on a store, or on SQLite. Returns the exit code."""
    named = [each for each in SELECTIONS if each.distribution in arguments]
    [scheme] = [each for each in arguments if each in STORES] or ["sqlite"]
    problems: list[str] = []
    with store_of(scheme) as store:
        for distribution in dict.fromkeys(each.distribution for each in named or SELECTIONS):
            source = source_of(distribution, Path(folder).resolve())
            for selection in (each for each in SELECTIONS if each.distribution == distribution):
                problems += compare(source, selection, store, scheme)
    sys.stdout.write("".join(f"{problem}\n" for problem in problems))
    return 1 if problems else 0


@contextmanager
def store_of(scheme: str) -> Iterator[str]:
    """What SC_STORE must be for a store: its scheme, or the URL of a server that is started for it."""
    if scheme in ("memory", "sqlite"):
        yield scheme
        return
    with getattr(harnesses, scheme)() as found:
        if not isinstance(found, str):
            raise SystemExit(f"no server for {scheme} is installed")
        yield found


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
