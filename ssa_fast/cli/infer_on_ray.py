"""`ssa-fast infer --ray`: the cluster that is asked for, and what is said of its workers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from ssa_fast.errors import BackendUnavailable, ConfigError

if TYPE_CHECKING:
    from ssa_fast.infer.cohort import CohortRun
    from ssa_fast.infer.on_ray import Crew
    from ssa_fast.infer.worker import Opener, Place, Ready

__all__ = ["RayWish", "crew_of", "ready_printer"]

_ADDRESS = re.compile(r"local|auto|[\w.-]+:[0-9]+|\[[0-9a-fA-F:]+\]:[0-9]+")


@dataclass(frozen=True, kw_only=True)
class RayWish:
    """What is asked of a cluster."""

    address: str  # local, auto or HOST:PORT
    threads: int | None  # of a worker
    worker_bytes: int | None  # of memory

    def __post_init__(self) -> None:
        if _ADDRESS.fullmatch(self.address) is None:
            raise ConfigError(
                f"--ray {self.address}: wanted auto or HOST:PORT; without an address --ray comes after the cases"
            )


@contextmanager
def crew_of(wish: RayWish, open_network: Opener, run: CohortRun) -> Iterator[Crew]:
    """The workers of a run on the cluster that is wished for.

    Raises BackendUnavailable without Ray, and what `connected` and `places_of` raise.
    """
    try:
        from ssa_fast.infer.on_ray import Crew
        from ssa_fast.infer.ray_cluster import WORKER_BYTES, WORKER_THREADS, connected, places_of
    except ImportError as error:
        raise BackendUnavailable(f"--ray needs 'ray': pip install 'ssa-fast[ray]' ({error})") from error
    with ExitStack() as when_gone, connected(wish.address) as nodes:
        places = places_of(nodes, wish.threads or WORKER_THREADS, wish.worker_bytes or WORKER_BYTES)
        for machine in sorted({place.machine for place in places}):
            there = [place for place in places if place.machine == machine]
            each = f"{there[0].threads} of its threads and {there[0].memory_bytes / 1e9:.1f} GB of memory each"
            count = "1 worker" if len(there) == 1 else f"{len(there)} workers"
            click.echo(f"machine {machine}: room for {count} with {each}")
        crew = Crew(open_network, run, places)
        when_gone.callback(crew.sweep)  # a worker that is killed may write for a moment more
        yield crew


def ready_printer() -> Callable[[Ready, Place], None]:
    """Prints what runs the network, as `infer` does: once for all workers of which the same is to be said."""
    seen: set[str] = set()

    def show(ready: Ready, place: Place) -> None:
        lines = [f"backend {ready.chosen}"] if ready.chosen else []
        for line in [*lines, f"network {ready.network} by {ready.device}"]:
            if line not in seen:
                seen.add(line)
                click.echo(f"machine {place.machine}: {line}")

    return show
