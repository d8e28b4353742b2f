"""A real cluster for a test: primaries that share the slots, and replicas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from redis import Redis
from redis.crc import key_slot

from .servers import Server, until

SLOTS = 16384


class Cluster:
    """Three primaries, and for the first as many replicas as asked for."""

    def __init__(self, program: str, directory: Path, *settings: str, replicas: int = 0) -> None:
        self.nodes = [
            Server(
                program,
                directory / str(number),
                "--cluster-enabled",
                "yes",
                "--cluster-node-timeout",
                "1500",
                *settings,
            )
            for number in range(3 + replicas)
        ]
        self.primaries = self.nodes[:3]

    @property
    def url(self) -> str:
        return f"redis+cluster://127.0.0.1:{self.nodes[0].port}?node=127.0.0.1:{self.nodes[1].port}"

    def start(self) -> Cluster:
        for node in self.nodes:
            node.start()
        for number, node in enumerate(self.primaries):
            share = range(number * SLOTS // 3, (number + 1) * SLOTS // 3)
            cluster(node, "ADDSLOTS", *share)
            cluster(node, "SET-CONFIG-EPOCH", number + 1)
        for node in self.nodes[1:]:
            cluster(self.nodes[0], "MEET", "127.0.0.1", node.port)
        until(lambda: all(self.knows(node) == len(self.nodes) for node in self.nodes), "the nodes to meet")
        for replica in self.nodes[3:]:
            cluster(replica, "REPLICATE", self.id_of(self.nodes[0]))
            until(lambda replica=replica: linked(replica), "the replica's link")
        until(lambda: all(state_of(node) == "ok" for node in self.nodes), "the cluster to be whole")
        return self

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()

    def knows(self, node: Server) -> int:
        """How many nodes this one has met."""
        return sum("handshake" not in told["flags"] for told in self.told(node).values())

    def told(self, node: Server) -> dict[str, dict[str, Any]]:
        with node.client() as client:
            told: dict[str, dict[str, Any]] = client.cluster("NODES")
        return told

    def id_of(self, node: Server) -> str:
        return str(cluster(node, "MYID"))

    def owner(self, slot: int, asked: Server | None = None) -> Server:
        """The node that serves a slot, as one of them knows it."""
        for address, told in self.told(asked or self.nodes[1]).items():
            if any(int(first) <= slot <= int(last) for first, last in map(_bounds, told["slots"])):
                return next(node for node in self.nodes if address.endswith(f":{node.port}"))
        raise AssertionError(f"nobody serves slot {slot}")

    def move(self, slot: int, target: Server) -> int:
        """Move a slot with all its keys; how many these were."""
        source = self.owner(slot)
        cluster(target, "SETSLOT", slot, "IMPORTING", self.id_of(source))
        cluster(source, "SETSLOT", slot, "MIGRATING", self.id_of(target))
        moved = 0
        with source.client() as client:
            while keys := client.execute_command("CLUSTER GETKEYSINSLOT", slot, 10):
                client.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 10_000, "KEYS", *keys)
                moved += len(keys)
        for node in (target, source, *(each for each in self.primaries if each not in (target, source))):
            cluster(node, "SETSLOT", slot, "NODE", self.id_of(target))
        return moved


def _bounds(span: list[str]) -> tuple[str, str]:
    return (span[0], span[-1])


def slot_of(key: str) -> int:
    return int(key_slot(key.encode()))


def cluster(node: Server, *words: str | int) -> Any:
    with node.client() as client:
        answer = client.execute_command(f"CLUSTER {words[0]}", *words[1:])
    return answer.decode() if isinstance(answer, bytes) else answer


def linked(replica: Server) -> bool:
    with replica.client() as client:
        told = client.info("replication")
    return told["role"] == "slave" and told["master_link_status"] == "up"


def state_of(node: Server) -> str:
    with Redis(port=node.port) as client:
        return str(client.cluster("INFO")["cluster_state"])
