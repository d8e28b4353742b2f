"""A real Redis cluster for a test: three primaries that share the slots, and replicas."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from redis.crc import key_slot

from .redis_servers import Server
from .waiting import wait_until

_SLOTS = 16384


class Cluster:
    """Three primaries, and as many replicas of the first one as `replicas` says."""

    def __init__(self, program: str, directory: Path, *settings: str, replicas: int = 0) -> None:
        clustered = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1500", *settings)
        self.nodes = [Server(program, directory / str(number), *clustered) for number in range(3 + replicas)]
        self.primaries = self.nodes[:3]

    @property
    def url(self) -> str:
        """The storage URL, which names two of the nodes."""
        return f"redis+cluster://127.0.0.1:{self.nodes[0].port}?node=127.0.0.1:{self.nodes[1].port}"

    def start(self) -> Cluster:
        """Start the nodes, share the slots among the primaries, and wait until every node serves."""
        for node in self.nodes:
            node.start()
        for number, node in enumerate(self.primaries):
            share = range(number * _SLOTS // 3, (number + 1) * _SLOTS // 3)
            cluster_command(node, "ADDSLOTS", *share)
            cluster_command(node, "SET-CONFIG-EPOCH", number + 1)
        for node in self.nodes[1:]:
            cluster_command(self.nodes[0], "MEET", "127.0.0.1", node.port)
        wait_until(lambda: all(self._met(node) == len(self.nodes) for node in self.nodes), "the nodes to meet")
        for replica in self.nodes[3:]:
            cluster_command(replica, "REPLICATE", self.id_of(self.nodes[0]))
            wait_until(partial(is_linked, replica), "the replica's link")
        wait_until(lambda: all(map(_serves, self.nodes)), "all slots to be served")
        return self

    def stop(self) -> None:
        """Stop every node."""
        for node in self.nodes:
            node.stop()

    def _met(self, node: Server) -> int:
        """How many nodes this one has met."""
        return sum("handshake" not in other["flags"] for other in self._nodes_seen_by(node).values())

    def _nodes_seen_by(self, node: Server) -> dict[str, dict[str, Any]]:
        """What one node says of each node, by address."""
        with node.client() as client:
            seen: dict[str, dict[str, Any]] = client.cluster("NODES")
        return seen

    def id_of(self, node: Server) -> str:
        """The id that the cluster uses for a node."""
        return str(cluster_command(node, "MYID"))

    def owner(self, slot: int, asked: Server | None = None) -> Server:
        """The node that serves a slot, according to the node `asked` or else to the second one."""
        for address, node in self._nodes_seen_by(asked or self.nodes[1]).items():
            if any(int(first) <= slot <= int(last) for first, last in map(_bounds, node["slots"])):
                return next(server for server in self.nodes if address.endswith(f":{server.port}"))
        raise AssertionError(f"no node serves slot {slot}")

    def move(self, slot: int, target: Server) -> int:
        """Move a slot with all its keys to another node, and return the number of keys."""
        source = self.owner(slot)
        cluster_command(target, "SETSLOT", slot, "IMPORTING", self.id_of(source))
        cluster_command(source, "SETSLOT", slot, "MIGRATING", self.id_of(target))
        moved = 0
        with source.client() as client:
            while keys := client.execute_command("CLUSTER GETKEYSINSLOT", slot, 10):
                client.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 10_000, "KEYS", *keys)
                moved += len(keys)
        for node in (target, source, *(each for each in self.primaries if each not in (target, source))):
            cluster_command(node, "SETSLOT", slot, "NODE", self.id_of(target))
        return moved


def _bounds(span: list[str]) -> tuple[str, str]:
    return (span[0], span[-1])


def slot_of(key: str) -> int:
    """The slot that a key belongs to."""
    return int(key_slot(key.encode()))


def cluster_command(node: Server, *words: str | int) -> Any:
    """The answer of a node to a CLUSTER command."""
    with node.client() as client:
        answer = client.execute_command(f"CLUSTER {words[0]}", *words[1:])
    return answer.decode() if isinstance(answer, bytes) else answer


def is_linked(replica: Server) -> bool:
    """Whether a replica receives what its primary writes."""
    with replica.client() as client:
        replication = client.info("replication")
    return replication["role"] == "slave" and replication["master_link_status"] == "up"


def _serves(node: Server) -> bool:
    with node.client() as client:
        return bool(client.cluster("INFO")["cluster_state"] == "ok")
