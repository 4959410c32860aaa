"""Memory as the operating system and a cgroup tell of it, on machines that these tests make up."""

from __future__ import annotations

import os

import pytest

from ssa_fast.hardware import total_memory_bytes, usable_memory_bytes
from tests.hardware.conftest import Machine

GIB = 2**30


def test_usable_memory_is_what_the_operating_system_calls_available(machine: Machine) -> None:
    machine({"/proc/meminfo": "MemTotal: 9000000 kB\nMemAvailable:  4194304 kB\n"})
    assert usable_memory_bytes() == 4 * GIB


@pytest.mark.parametrize(
    ("limit", "used", "usable"),
    [("max", 1 * GIB, 4 * GIB), (3 * GIB, 1 * GIB, 2 * GIB), (9 * GIB, 1 * GIB, 4 * GIB), (1 * GIB, 2 * GIB, 0)],
    ids=["no limit", "tight", "wide", "overdrawn"],
)
def test_usable_memory_is_no_more_than_the_cgroup_leaves(
    limit: str | int, used: int, usable: int, machine: Machine
) -> None:
    machine(
        {
            "/proc/meminfo": "MemAvailable: 4194304 kB\n",
            "/sys/fs/cgroup/memory.max": f"{limit}\n",
            "/sys/fs/cgroup/memory.current": f"{used}\n",
        }
    )
    assert usable_memory_bytes() == usable


def test_files_that_were_read_are_not_counted_as_memory_in_use(machine: Machine) -> None:
    machine(
        {
            "/proc/meminfo": "MemAvailable: 4194304 kB\n",
            "/sys/fs/cgroup/memory.max": f"{3 * GIB}\n",
            "/sys/fs/cgroup/memory.current": f"{2 * GIB}\n",
            "/sys/fs/cgroup/memory.stat": f"anon {GIB}\nfile {GIB}\ninactive_file {GIB}\n",
        }
    )
    assert usable_memory_bytes() == 2 * GIB


def test_a_machine_without_proc_tells_its_physical_memory_or_none(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine({})
    monkeypatch.setattr(os, "sysconf_names", {"SC_PHYS_PAGES": 1, "SC_PAGE_SIZE": 2}, raising=False)
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}.__getitem__, raising=False)
    assert usable_memory_bytes() == 4_096_000
    monkeypatch.setattr(os, "sysconf_names", {}, raising=False)
    assert usable_memory_bytes() is None


def test_all_memory_is_the_machines_or_its_cgroups_where_that_is_less(machine: Machine) -> None:
    machine({"/proc/meminfo": "MemTotal: 8388608 kB\nMemAvailable: 4194304 kB\n"})
    assert total_memory_bytes() == 8 * GIB
    machine({"/proc/meminfo": "MemTotal: 8388608 kB\n", "/sys/fs/cgroup/memory.max": f"{3 * GIB}\n"})
    assert total_memory_bytes() == 3 * GIB
