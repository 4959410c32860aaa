"""What the operating system tells about this machine, on machines that these tests make up."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ssa_fast.hardware import (
    Cpu,
    cpu,
    has_emulated_tensor_cores,
    has_nvidia_driver,
    nvidia_driver_version,
    usable_memory_bytes,
)

CPUINFO_X86 = """\
processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Intel(R) Xeon(R) Processor: 8481C
flags\t\t: fpu sse2 avx2 avx512f avx512_bf16 amx_bf16

processor\t: 1
model name\t: the second core
flags\t\t: fpu
"""
CPUINFO_ARM = "processor\t: 0\nFeatures\t: fp asimd bf16\n"
GIB = 2**30

Machine = Callable[[dict[str, str]], None]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """A function that makes the kernel's text files hold what a test says; any other one is absent."""

    def pretend(files: dict[str, str]) -> None:
        def read_text(path: Path, *_: object, **__: object) -> str:
            if path.as_posix() not in files:
                raise FileNotFoundError(2, "No such file or directory", str(path))
            return files[path.as_posix()]

        monkeypatch.setattr(Path, "read_text", read_text)

    cpu.cache_clear()
    yield pretend
    cpu.cache_clear()


def test_this_machine_has_a_processor_with_a_name_and_threads() -> None:
    assert cpu().name.strip()
    assert 1 <= cpu().threads <= (os.cpu_count() or 1)
    assert cpu() is cpu()


def test_the_first_core_names_the_processor(machine: Machine) -> None:
    machine({"/proc/cpuinfo": CPUINFO_X86})
    assert cpu().name == "Intel(R) Xeon(R) Processor: 8481C"
    assert cpu().flags == {"fpu", "sse2", "avx2", "avx512f", "avx512_bf16", "amx_bf16"}


def test_arm_spells_its_flags_features(machine: Machine) -> None:
    machine({"/proc/cpuinfo": CPUINFO_ARM})
    assert cpu().flags == {"fp", "asimd", "bf16"}
    assert cpu().name


def test_a_machine_without_proc_still_has_a_processor(machine: Machine) -> None:
    machine({})
    assert cpu().name
    assert cpu().flags == frozenset()
    assert cpu().threads >= 1


@pytest.mark.parametrize(
    ("flag", "has_bf16"), [("avx512_bf16", True), ("amx_bf16", True), ("avx512f", False), ("avx512_fp16", False)]
)
def test_bf16_needs_instructions_of_its_own(flag: str, has_bf16: bool) -> None:
    assert Cpu(name="x", threads=1, flags=frozenset({"fpu", flag})).has_bf16 is has_bf16


@pytest.mark.parametrize(
    ("quota", "threads"),
    [
        ("max 100000", 8),
        ("200000 100000", 2),
        ("250000 100000", 2),
        ("50000 100000", 1),
        ("900000 100000", 8),
        ("", 8),
    ],
)
def test_threads_are_no_more_than_affinity_and_quota_allow(
    quota: str, threads: int, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    machine({"/sys/fs/cgroup/cpu.max": quota + "\n"})
    assert cpu().threads == threads


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


@pytest.mark.parametrize("path", ["/proc/driver/nvidia/version", "/dev/dxg"])
def test_a_driver_is_known_by_its_file(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(Path, "exists", lambda self: self.as_posix() == path)
    assert has_nvidia_driver()
    monkeypatch.setattr(Path, "exists", lambda self: False)
    assert not has_nvidia_driver()


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.14  Thu Feb 22 01:44:30 UTC 2024\n", "550.54.14"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  590.44  Release Build\n", "590.44"),
        ("", "unknown"),
        (None, "unknown"),
    ],
)
def test_a_driver_tells_its_version(text: str | None, version: str, machine: Machine) -> None:
    machine({} if text is None else {"/proc/driver/nvidia/version": text})
    assert nvidia_driver_version() == version


def test_a_machine_without_proc_tells_its_physical_memory_or_none(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine({})
    monkeypatch.setattr(os, "sysconf_names", {"SC_PHYS_PAGES": 1, "SC_PAGE_SIZE": 2}, raising=False)
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}.__getitem__, raising=False)
    assert usable_memory_bytes() == 4_096_000
    monkeypatch.setattr(os, "sysconf_names", {}, raising=False)
    assert usable_memory_bytes() is None


@pytest.mark.parametrize(
    "name",
    [
        "NVIDIA GeForce GTX 1650",
        "NVIDIA GeForce GTX 1650 with Max-Q Design",
        "NVIDIA GeForce GTX 1660 Ti",
        "NVIDIA GeForce GTX 1660 SUPER",
        "NVIDIA GeForce GTX 1630",
        "NVIDIA GeForce MX450",
        "NVIDIA GeForce MX550",
        "NVIDIA T400 4GB",
        "NVIDIA T500",
        "NVIDIA T550 Laptop GPU",
        "NVIDIA T600",
        "NVIDIA T1000 8GB",
        "NVIDIA T1200 Laptop GPU",
        "Quadro T2000",
        "NVIDIA CMP 30HX",
    ],
)
def test_cards_of_tu116_and_tu117_have_emulated_tensor_cores(name: str) -> None:
    assert has_emulated_tensor_cores(name)


@pytest.mark.parametrize(
    "name",
    [
        "Tesla T4",
        "Quadro RTX 4000",
        "NVIDIA RTX A400",
        "NVIDIA GeForce RTX 2060",
        "NVIDIA GeForce RTX 2080 Ti",
        "Quadro RTX 6000",
        "NVIDIA TITAN RTX",
        "NVIDIA RTX A2000",
        "NVIDIA GeForce RTX 4060 Laptop GPU",
        "NVIDIA A100-SXM4-80GB",
        "NVIDIA H200",
        "NVIDIA GeForce GTX 1080 Ti",
    ],
)
def test_other_cards_have_no_emulated_tensor_cores(name: str) -> None:
    assert not has_emulated_tensor_cores(name)
