"""Where workers have room in a cluster, and clusters that are not there."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from ssa_fast.errors import ConfigError

pytest.importorskip("ray", reason="ray is not installed: pip install -e '.[ray]'")

from ssa_fast.infer.ray_cluster import connected, places_of


def _node(name: str, cpus: float, memory: float, machine: str = "") -> dict[str, Any]:
    resources = {"CPU": cpus, "memory": memory, "object_store_memory": 1e8}
    return {
        "NodeID": name,
        "NodeManagerHostname": machine or name,
        "NodeManagerAddress": "10.0.0.1",
        "Resources": {key: value for key, value in resources.items() if value},
    }


def test_processors_and_memory_bound_the_workers_of_a_machine_and_machines_take_turns() -> None:
    nodes = [_node("a", 9, 64e9), _node("b", 64, 7e9), _node("c", 2, 1e9), _node("head", 0, 8e9)]
    places = places_of(nodes, threads=4, memory_bytes=2_000_000_000)
    assert [(place.node, place.workers, place.threads, place.first_core) for place in places] == [
        ("a", 2, 4, 0),
        ("b", 3, 4, 0),
        ("c", 1, 2, 0),
        ("a", 2, 4, 4),
        ("b", 3, 4, 4),
        ("b", 3, 4, 8),
    ]
    assert places[0].machine == "a (10.0.0.1)"
    for place in places:
        memory = {"a": 64e9, "b": 7e9, "c": 1e9}[place.node]
        assert place.memory_bytes == memory // place.workers


def test_two_nodes_of_one_machine_share_its_cores() -> None:
    places = places_of([_node("a", 4, 9e9, "box"), _node("b", 3, 9e9, "box")], threads=2, memory_bytes=10**9)
    assert [(place.node, place.workers, place.first_core) for place in places] == [
        ("a", 3, 0),
        ("b", 3, 2),
        ("a", 3, 4),
    ]


def test_a_cluster_without_a_processor_to_give_is_refused() -> None:
    with pytest.raises(ConfigError, match="none of the cluster's 1 machines"):
        places_of([_node("head", 0, 8e9)], threads=4, memory_bytes=1)


@pytest.mark.parametrize("address", ["auto", "127.0.0.1:1"])
def test_a_cluster_that_is_not_there_is_one_line_and_leaves_no_trace(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ConfigError, match=f"--ray {address}: ") as caught, connected(address):
        pass
    assert "\n" not in str(caught.value)
    assert signal.getsignal(signal.SIGTERM) is before
