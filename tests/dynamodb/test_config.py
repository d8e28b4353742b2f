"""Options, URLs and clients: what is taken, what is refused, what is imported."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
from typing import Any

import boto3
import pytest

from session_continuity import ConfigError, Patch, StorageClosedError, parse_url, run_now
from session_continuity_dynamodb import DynamoDBStorage, clients
from session_continuity_dynamodb._plugin import plugin
from session_continuity_dynamodb.config import DynamoDBOptions

from .bench import Bench
from .engines import REGION
from .proxy import Call, between


def options(url: str) -> DynamoDBOptions:
    return DynamoDBOptions.from_url(parse_url(url))


def test_url_states_table_and_options() -> None:
    found = options(
        "dynamodb://chat?region=eu-west-1&profile=p&endpoint_url=http%3A%2F%2F127.0.0.1%3A8000&consistent_read=false"
        "&append=serial&connect_timeout=1&read_timeout=3.5&max_attempts=2&max_pool_connections=5&namespace=n"
        "&compression=zlib"
    )
    assert found == DynamoDBOptions(
        table="chat",
        region="eu-west-1",
        profile="p",
        endpoint_url="http://127.0.0.1:8000",
        consistent_read=False,
        append="serial",
        connect_timeout=1,
        read_timeout=3.5,
        max_attempts=2,
        max_pool_connections=5,
        namespace="n",
        compression="zlib",
    )


@pytest.mark.parametrize(
    "url",
    [
        "dynamodb://AKIDEXAMPLE:hunter2@chat",
        "dynamodb://chat?aws_secret_access_key=hunter2",
        "dynamodb://chat?AWS-Session-Token=hunter2",
        "dynamodb://chat?password=hunter2",
    ],
)
def test_credentials_in_a_url_are_refused_with_a_pointer_to_the_chain(url: str) -> None:
    with pytest.raises(ConfigError, match="AWS chain") as raised:
        options(url)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "dynamodb://",
        "dynamodb://chat/extra",
        "dynamodb://chat:8000",
        "dynamodb://chat?regoin=x",
        "dynamodb://chat?append=maybe",
        "dynamodb://chat?read_timeout=0",
        "dynamodb://chat?read_timeout=inf",
        "dynamodb://chat?endpoint_url=file%3A%2F%2F%2Fetc",
        "dynamodb://chat?endpoint_url=http%3A%2F%2Fuser%3Ahunter2%40host",
    ],
)
def test_wrong_url_is_refused_without_an_echo(url: str) -> None:
    with pytest.raises(ConfigError) as raised:
        options(url)
    assert "hunter2" not in str(raised.value)


def test_wrong_argument_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="max_attempts"):
        DynamoDBStorage(table="chat", max_attempts=0)


def test_plugin_is_found_without_importing_an_aws_library() -> None:
    program = (
        "import sys; from session_continuity import default_registry as r; p = r().plugin('dynamodb'); "
        "r().extensions; p.capabilities(p.options(table='chat')); "
        "sys.exit(any(n.startswith(('boto', 'aiobotocore', 'typer')) for n in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize(("url", "turn"), [("dynamodb://chat", 49), ("dynamodb://chat?append=serial", 1)])
def test_turn_is_bounded_by_what_one_transaction_holds(url: str, turn: int) -> None:
    assert plugin.capabilities(options(url)).max_turn == turn


def test_own_client_has_explicit_retries_and_timeouts(quick: Bench) -> None:
    store = quick.open(max_attempts=7, connect_timeout=1.5, read_timeout=2.5, max_pool_connections=3)
    config = store.native.meta.config
    assert config.retries["total_max_attempts"] == 7
    assert config.retries["mode"] == "standard"
    assert (config.connect_timeout, config.read_timeout, config.max_pool_connections) == (1.5, 2.5, 3)


def test_given_client_is_used_and_left_open(quick: Bench) -> None:
    quick.open()
    client = boto3.client("dynamodb", endpoint_url=quick.engine.url, region_name=REGION)
    store = DynamoDBStorage(client=client, table=quick.table, namespace=quick.namespace)
    session = quick.create(store)
    [sent] = quick.append(store, session)
    assert store.native is client
    assert run_now(store.get_message(session.id, sent.id)) == sent
    run_now(store.close())
    assert client.describe_table(TableName=quick.table)["Table"]["TableName"] == quick.table
    with pytest.raises(StorageClosedError):
        run_now(store.get_session(session.id))
    client.close()


def test_boto3_client_serves_async_mode_in_threads(tasks: Bench) -> None:
    tasks.open()
    client = boto3.client("dynamodb", endpoint_url=tasks.engine.url, region_name=REGION)
    store = DynamoDBStorage(client=client, table=tasks.table, namespace=tasks.namespace, mode="async")
    session = tasks.create(store)
    tasks.append(store, session, 3)
    outcomes = tasks.together(*[lambda: store.get_session(session.id)] * 5)
    assert all(getattr(held, "message_count", None) == 3 for held in outcomes)
    assert tasks.run(store.delete_session(session.id))
    tasks.run(store.close())
    client.close()


def test_store_that_is_closed_while_it_opens_leaves_nothing_open(tasks: Bench) -> None:
    tasks.open()
    options = {name: value for name, value in tasks.engine.options.items() if name != "create_table"}

    async def close_at_once() -> list[Any]:
        store = DynamoDBStorage(mode="async", table=tasks.table, **options)
        calls = [asyncio.create_task(store.get_session("any")) for _ in range(3)]
        await asyncio.sleep(0)
        await store.close()
        return await asyncio.gather(*calls, return_exceptions=True)

    assert [type(outcome) for outcome in tasks.run(close_at_once())] == [StorageClosedError] * 3
    gc.collect()  # what is left open warns, which is an error here


def test_call_that_a_close_overtakes_sends_nothing_more(quick: Bench) -> None:
    session = quick.create(quick.open())
    [sent] = quick.append(quick.open(), session)
    with between(quick.engine.url) as proxy:
        store = quick.open(endpoint_url=proxy.url)

        def close(call: Call) -> tuple[int, dict[str, str], bytes]:
            run_now(store.close())
            return call.forward()

        proxy.rules["BatchGetItem"] = [close]
        with pytest.raises(StorageClosedError):
            run_now(store.update_message(session.id, sent.id, Patch({"content": "other"})))
    assert run_now(quick.open().get_message(session.id, sent.id)) == sent


def test_async_client_is_refused_in_blocking_mode(tasks: Bench) -> None:
    with pytest.raises(ConfigError, match="boto3"):
        DynamoDBStorage(client=tasks.open().native, table=tasks.table)


def test_second_loop_is_refused(tasks: Bench) -> None:
    store = tasks.open()
    with pytest.raises(ConfigError, match="event loop"):
        asyncio.run(store.get_session("any"))


@pytest.mark.parametrize("fast", [True, False])
def test_answers_decode_alike_with_and_without_the_fast_decoder(quick: Bench, fast: bool) -> None:
    quick.open()
    client = boto3.client("dynamodb", endpoint_url=quick.engine.url, region_name=REGION)
    if fast:
        clients.decode_fast(client)
    store = DynamoDBStorage(client=client, table=quick.table, namespace=quick.namespace, compression="zlib")
    session = quick.create(store, user_id="u")
    sent = [quick.message(session, content) for content in ("short", "long " * 2000, [{"type": "text", "text": "x"}])]
    for message in sent:
        run_now(store.append_messages(session.id, [message]))
    held = run_now(store.get_session(session.id))
    assert held is not None
    assert held.message_count == 3
    assert [run_now(store.get_message(session.id, message.id)) for message in sent] == sent
    run_now(store.close())
    client.close()
