"""The table: making it, checking it, its health, its templates, and the commands about it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import cfnlint
import hcl2
import pytest
import typer
from typer.testing import CliRunner

from session_continuity import ConfigError, MessageQuery, Patch, SessionFilter, SessionMetadata, StorageError
from session_continuity_dynamodb import DynamoDBStorage, table, templates
from session_continuity_dynamodb.cli import add_commands
from session_continuity_dynamodb.codec import LOOKS_WHOLE

from .bench import Bench
from .meter import Request


@pytest.fixture
def empty(anywhere: Bench) -> Iterator[Bench]:
    """A bench whose table does not exist yet."""
    anywhere.table = f"table-{anywhere.mode}"
    yield anywhere
    anywhere.raw("delete_table")


def url(bench: Bench) -> str:
    return f"dynamodb://{bench.table}?region=us-east-1&endpoint_url={bench.engine.url.replace('/', '%2F')}"


def command(*arguments: str) -> Any:
    app = typer.Typer()
    app.callback()(lambda: None)
    add_commands(app)
    return CliRunner().invoke(app, ["dynamodb", *arguments], catch_exceptions=False)


def test_setup_makes_a_table_that_is_healthy_and_repeats(empty: Bench) -> None:
    store = empty.open()
    empty.run(store.setup())
    health = empty.run(store.health())
    assert (health.status, health.remedy) == ("healthy", None)
    assert health.latency_ms is not None
    assert all(isinstance(outcome, type(None)) for outcome in empty.together(*[store.setup] * 4))


def test_setup_leaves_a_missing_table_to_its_owner(quick: Bench) -> None:
    store = DynamoDBStorage(table="missing", endpoint_url=quick.engine.url, region="us-east-1")
    quick.run(store.setup())
    health = quick.run(store.health())
    assert health.status == "degraded"
    assert health.remedy is not None
    assert "create-table" in health.remedy
    quick.run(store.close())


def test_health_names_what_a_table_lacks(quick: Bench) -> None:
    bare = {
        **table.definition("bare"),
        "GlobalSecondaryIndexes": table.definition("bare")["GlobalSecondaryIndexes"][:1],
    }
    bare["AttributeDefinitions"] = bare["AttributeDefinitions"][:4]
    bare.pop("TableName")
    quick.table = "bare"
    quick.raw("create_table", **bare)
    store = DynamoDBStorage(table="bare", endpoint_url=quick.engine.url, region="us-east-1")
    health = quick.run(store.health())
    assert health.status == "degraded"
    assert health.details["problems"] == ["index GSI2 is missing"]
    described = command("describe", url(quick))
    assert described.exit_code == 1
    assert "GSI2PK (hash)" in described.output
    assert "its expiry (TTL) is off" in described.output
    quick.run(store.close())
    quick.raw("delete_table")


def test_health_of_a_table_with_other_keys_says_so(quick: Bench) -> None:
    quick.table = "foreign"
    quick.raw(
        "create_table",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
    )
    store = DynamoDBStorage(table="foreign", endpoint_url=quick.engine.url, region="us-east-1")
    health = quick.run(store.health())
    assert health.status == "degraded"
    assert "the table has other keys than PK (hash) and SK (range), both of type S" in health.details["problems"]
    assert "use another table name" in str(health.remedy)
    with pytest.raises(StorageError, match="dynamodb describe"):
        quick.run(store.get_session("any"))
    quick.run(store.close())
    quick.raw("delete_table")


@contextmanager
def projecting(bench: Bench, *attributes: str) -> Iterator[DynamoDBStorage]:
    """A store on a table whose second index projects these attributes."""
    bench.table = "partial"
    partial = table.definition("partial")
    some = {"ProjectionType": "INCLUDE", "NonKeyAttributes": list(attributes)}
    partial["GlobalSecondaryIndexes"][1]["Projection"] = some
    partial.pop("TableName")
    bench.raw("create_table", **partial)
    yield bench.open()
    bench.raw("delete_table")


def test_index_that_projects_a_few_attributes_serves(quick: Bench) -> None:
    with projecting(quick, "id", "createdAt", "status") as store:
        session = quick.create(store, active_agent_id="a", metadata=SessionMetadata(title="whole"))
        quick.create(store, active_agent_id="a", expires_at=quick.clock() + timedelta(seconds=1))
        quick.clock.forward(seconds=2)
        listed = quick.run(store.list_sessions(SessionFilter(active_agent_id="a"), limit=10))
        assert list(listed) == [session]
        assert "problems" not in quick.run(store.health()).details


def test_index_that_projects_most_of_a_session_does_not_fit(quick: Bench) -> None:
    with projecting(quick, *LOOKS_WHOLE) as store:
        health = quick.run(store.health())
    assert (health.status, health.remedy) == ("degraded", "make it anew with ALL or KEYS_ONLY")
    assert health.details["problems"] == ["index GSI2 projects most of a session"]


def test_commands_make_and_describe_a_table(quick: Bench) -> None:
    quick.table = "commanded"
    assert "there is no table" in command("describe", url(quick)).output
    assert "is made" in command("create-table", url(quick), "--projection", "KEYS_ONLY").output
    assert "was there already" in command("create-table", url(quick)).output
    described = command("describe", url(quick))
    assert described.exit_code == 0
    assert "index GSI1: ACTIVE, projection KEYS_ONLY" in described.output
    quick.raw("delete_table")


def test_commands_refuse_another_scheme() -> None:
    with pytest.raises(ConfigError, match="dynamodb://"):
        command("describe", "memory://")


def test_listing_reads_what_a_narrow_index_leaves_out(quick: Bench) -> None:
    quick.table = "narrow"
    command("create-table", url(quick), "--projection", "KEYS_ONLY")
    for listing in ("exact", "index"):
        store = quick.open(listing=listing)
        session = quick.create(store, user_id=listing, metadata=SessionMetadata(title="whole", tags=["x"]))
        [found] = quick.run(store.list_sessions(SessionFilter(user_id=listing, tags=frozenset({"x"})), limit=5))
        assert found == session
    quick.raw("delete_table")


def test_cloudformation_template_passes_its_linter(tmp_path: Path) -> None:
    file = tmp_path / "table.json"
    file.write_text(command("template", "dynamodb://sessions").output)
    found = cfnlint.lint_file(file)
    assert [str(match) for match in found] == []


def test_terraform_template_states_the_table() -> None:
    [resource] = hcl2.loads(command("template", "dynamodb://sessions", "--format", "terraform").output)["resource"]
    [[kind, named]] = resource.items()
    [[name, held]] = named.items()
    assert (kind.strip('"'), name.strip('"')) == ("aws_dynamodb_table", "sessions")
    keys = {index["hash_key"].strip('"') for index in held["global_secondary_index"]}
    assert keys == {"GSI1PK", "GSI2PK"}
    assert {each["name"].strip('"') for each in held["attribute"]} == {
        name for names in table.KEYS.values() for name in names
    }
    assert held["ttl"][0]["attribute_name"].strip('"') == "ttl"


IN_TRANSACTIONS = {
    "ConditionCheck": "ConditionCheckItem",
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
}
"""A transaction needs the permissions of its actions."""


def called(requests: list[Request]) -> set[str]:
    single = {request.api for request in requests} - {"TransactWriteItems"}
    together = [request.params["TransactItems"] for request in requests if request.api == "TransactWriteItems"]
    return single | {IN_TRANSACTIONS[kind] for actions in together for action in actions for kind in action}


def test_policy_grants_what_the_store_calls_and_nothing_on_other_tables(quick: Bench) -> None:
    quick.open()
    store = quick.open(create_table=False)
    with quick.meter.counting() as made:
        session = quick.create(store, user_id="u", expires_at=quick.clock() + timedelta(hours=1))
        chosen = quick.message(session, id="mine")
        quick.run(store.append_messages(session.id, [chosen], chosen_ids={"mine"}))
        quick.append(store, session, 2)
        quick.run(store.update_session(session.id, Patch({"user_id": "v"})))
        quick.run(store.get_messages(session.id, MessageQuery()))
        quick.run(store.list_sessions(SessionFilter(), limit=10))
        quick.run(store.health())
        quick.run(store.delete_session(session.id))
    policy = json.loads(command("template", "dynamodb://sessions", "--format", "iam").output)
    granted = {action.removeprefix("dynamodb:") for each in policy["Statement"] for action in each["Action"]}
    assert granted == called(made) | {"DescribeTimeToLive"}
    for statement in policy["Statement"]:
        assert all(resource.split("table/")[1].split("/")[0] == "sessions" for resource in statement["Resource"])


def test_templates_and_created_table_are_the_same(quick: Bench) -> None:
    quick.table = "same"
    quick.open()
    made = quick.raw("describe_table")["Table"]
    stated = json.loads(templates.template("cloudformation", "same"))["Resources"]["Sessions"]["Properties"]
    assert made["KeySchema"] == stated["KeySchema"]
    for index in made["GlobalSecondaryIndexes"]:
        [same] = [each for each in stated["GlobalSecondaryIndexes"] if each["IndexName"] == index["IndexName"]]
        assert (index["KeySchema"], index["Projection"]) == (same["KeySchema"], same["Projection"])
    quick.raw("delete_table")
