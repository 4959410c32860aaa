"""The processor as the operating system describes it, on machines that these tests make up."""

from __future__ import annotations

import os
import platform
import subprocess

import pytest

from ssa_fast.hardware import Cpu, cpu
from tests.hardware.conftest import Machine

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


def test_cores_are_pairs_of_socket_and_core_so_that_hyperthreads_count_once(machine: Machine) -> None:
    places = [(0, 0), (0, 1), (0, 0), (0, 1), (1, 0), (1, 1)]  # two sockets; the first runs two threads a core
    machine({"/proc/cpuinfo": "".join(f"physical id\t: {s}\ncore id\t: {c}\n" for s, c in places)})
    assert cpu().cores == 4


def test_cores_are_not_told_where_the_kernel_does_not(machine: Machine) -> None:
    machine({"/proc/cpuinfo": CPUINFO_ARM})
    assert cpu().cores is None


def test_a_quota_is_told_beside_the_cores_that_it_is_below(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    machine({"/sys/fs/cgroup/cpu.max": "250000 100000\n"})
    assert (cpu().logical_cores, cpu().quota, cpu().threads) == (8, 2.5, 2)
    cpu.cache_clear()
    machine({"/sys/fs/cgroup/cpu.max": "max 100000\n"})
    assert (cpu().logical_cores, cpu().quota, cpu().threads) == (8, None, 8)


def test_a_mac_is_asked_by_sysctl(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"machdep.cpu.brand_string": "Apple M2\n", "hw.physicalcpu": "8\n"}

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        assert command[:2] == ["sysctl", "-n"]
        return subprocess.CompletedProcess(command, 0, stdout=told[command[2]], stderr="")

    machine({})
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(subprocess, "run", run)
    assert (cpu().name, cpu().cores) == ("Apple M2", 8)
