"""A diagnosis, for people and as JSON."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from ssa_fast.config import to_mapping
from ssa_fast.doctor.finding import Finding
from ssa_fast.doctor.machine import Machine, verdict
from ssa_fast.doctor.self_test import Check, SelfTest
from ssa_fast.doctor.traps import TRAPS, find_traps
from ssa_fast.hardware import Cpu, Gpu
from ssa_fast.model.roofline import Ceiling

__all__ = ["check_lines", "diagnosis_lines", "diagnosis_to_json", "self_test_head"]

_WIDTH = 100
_INSTRUCTIONS = {  # what they are called -> flags of Linux, any of which says that they are there
    "AVX2": {"avx2"},
    "AVX-512": {"avx512f"},
    "VNNI (fast 8-bit)": {"avx512_vnni", "avx_vnni"},
    "bf16 (fast 16-bit)": {"avx512_bf16", "amx_bf16", "bf16"},
}


def diagnosis_lines(machine: Machine) -> Iterator[str]:
    """What is here, what will be used and why, and every trap that applies with its fix; at most 100 columns."""
    yield "What is here"
    for name, text in _facts(machine):
        yield from _wrapped(f"  {name:13}", text)
    yield ""
    yield "What ssa-fast will use"
    chosen = verdict(machine)
    if chosen.backend:
        yield from _wrapped("  backend   ", f"{chosen.backend}: {chosen.reason}")
        yield from _wrapped("  computing ", f"in {chosen.precision} on {chosen.device}: {chosen.precision_reason}")
    else:
        yield from _wrapped("  nothing   ", chosen.reason)
    yield ""
    found = find_traps(machine)
    if not found:
        yield f"What is wrong: nothing. None of {len(TRAPS)} known traps applies."
        return
    yield f"What is wrong, or good to know ({_counts(found)})"
    for finding in found:
        yield from _wrapped(f"  {finding.severity.upper():9}", f"{finding.trap}: {finding.seen}")
        yield from _wrapped("      does ", finding.effect)
        yield from _wrapped("      fix  ", finding.fix)


def diagnosis_to_json(machine: Machine, version: str, tested: SelfTest | None = None) -> dict[str, Any]:
    """The same, with the whole record; `read_machine` reads it back. `version` is that of ssa-fast."""
    return {
        "ssa_fast": version,
        "machine": to_mapping(machine),
        "verdict": to_mapping(verdict(machine)),
        "findings": [to_mapping(finding) for finding in find_traps(machine)],
        "self_test": None if tested is None else _tested_to_json(tested),
    }


def self_test_head(subject: str, reference: str, ceiling: Ceiling) -> tuple[str, ...]:
    """The lines above those of the checks. `reference` is the backend that the others are held to."""
    peaks = ", ".join(f"{peak / 1e9:.4g} GFLOP/s in {precision}" for precision, peak in ceiling.peaks.items())
    return (
        *_wrapped(
            "", f"Self-test of {subject}; equal labels, error of logits and speed are against {reference} in float32"
        ),
        *_wrapped("peak: ", f"{peaks} on {ceiling.device}, {ceiling.source}"),
        "  backend  in           on                seconds  speed GFLOP/s of peak    labels  logits",
    )


def check_lines(check: Check) -> Iterator[str]:
    """One row of the self-test, and why it failed where it did. A star marks what `infer` takes by itself."""
    head = f"{'*' if check.is_default else ' '} {check.backend:9}{check.precision:13}"
    if check.is_skipped:
        yield from _wrapped(head, f"not run: {check.problem}")
        return
    if check.seconds is None:
        yield from _wrapped(f"{head}{check.trial:18}", f"FAILED: {check.problem}")
        return
    share = "-" if check.share_of_peak is None else f"{check.share_of_peak:.0%}"
    numbers = (
        f"{check.seconds:7.2f}{check.speed:6.2f}x{check.gflop_per_second:8.0f}{share:>8}"
        f"{check.label_agreement:10.4%}{check.largest_logit_error:8.2g}"
    )
    yield f"{head}{check.trial:18}{numbers}  {'FAILED' if check.is_failed else 'good'}"
    if check.is_failed:
        yield from _wrapped("      why ", check.problem)


def _tested_to_json(tested: SelfTest) -> dict[str, Any]:
    return {
        "subject": tested.subject,
        "reference": tested.reference,
        "peaks_per_second": dict(tested.ceiling.peaks),
        "peaks_of": f"{tested.ceiling.device}, {tested.ceiling.source}",
        "checks": [dataclasses.asdict(check) | {"is_failed": check.is_failed} for check in tested.checks],
    }


def _facts(machine: Machine) -> Iterator[tuple[str, str]]:
    system = "macOS" if machine.system == "Darwin" else machine.system
    yield "system", f"{system} on {machine.architecture}, Python {machine.python}"
    yield "processor", machine.cpu.name
    yield "", _cores(machine.cpu)
    yield "", _instructions(machine.cpu)
    # other systems tell what there is, not what is free
    free = f", {machine.usable_bytes / 1e9:.1f} GB free" if machine.usable_bytes and machine.system == "Linux" else ""
    yield "memory", f"{machine.memory_bytes / 1e9:.1f} GB{free}" if machine.memory_bytes else f"not told{free}"
    for gpu in machine.nvidia.gpus:
        yield "GPU", _gpu(gpu)
    if not machine.nvidia.gpus:
        yield "GPU", f"none of NVIDIA's: {machine.nvidia.told_by}"
    if machine.has_driver:
        cuda = f", good for CUDA up to {machine.nvidia.cuda}" if machine.nvidia.cuda else ""
        yield "driver", f"{machine.nvidia.driver}{cuda}"
    yield from _engines(machine)
    shown = ("torch", "openvino", "onnxruntime")  # above
    others = [f"{name} {version}" for name, version in machine.packages.items() if name not in shown]
    yield "versions", ", ".join(others)


def _cores(processor: Cpu) -> str:
    logical = processor.logical_cores
    if processor.cores is None:
        text = f"{logical} logical cores (physical ones are not told)"
    else:
        text = f"{processor.cores} physical core{_s(processor.cores)}, {logical} logical for this program"
    if processor.quota is not None:
        text += f", of which a container's cgroup grants {processor.quota:g}"
    return f"{text}: {processor.threads} thread{_s(processor.threads)} used"


def _instructions(processor: Cpu) -> str:
    if not processor.flags:
        return "instructions: not told by this system"
    has = [name for name, flags in _INSTRUCTIONS.items() if flags & processor.flags]
    lacks = [name for name in _INSTRUCTIONS if name not in has]
    return "; ".join(f"{word} {', '.join(names)}" for word, names in (("has", has), ("has no", lacks)) if names)


def _gpu(gpu: Gpu) -> str:
    cores = "tensor cores" if gpu.has_tensor_cores else "no tensor cores"
    capability = ".".join(map(str, gpu.capability)) if gpu.capability > (0, 0) else "not told"
    memory = f"{gpu.memory_bytes / 1e9:.1f} GB ({gpu.free_bytes / 1e9:.1f} free)"
    return f"{gpu.name}, {memory}, compute capability {capability}, {cores}"


def _engines(machine: Machine) -> Iterator[tuple[str, str]]:
    if "openvino" in machine.packages:
        yield "openvino", machine.packages["openvino"]
    facts = machine.torch
    if facts is not None and facts.error:
        yield "torch", f"cannot be used: {facts.error}"
    elif facts is not None:
        build = f"built for CUDA {facts.cuda}, cuDNN {facts.cudnn or 'unknown'}" if facts.cuda else "built for CPUs"
        yield "torch", f"{facts.version} ({build}), computes on {facts.gpu or 'the processor'}"
    ort = machine.ort
    if ort is not None and ort.error:
        yield "onnxruntime", f"cannot be used: {ort.error}"
    elif ort is not None:
        listed = ", ".join(name.removesuffix("ExecutionProvider") for name in ort.providers)
        asked = f"; asked for CUDA it runs on {ort.cuda_session.removesuffix('ExecutionProvider')}"
        yield "onnxruntime", f"{ort.version}, lists {listed}{asked if ort.cuda_session else ''}"


def _counts(found: Sequence[Finding]) -> str:
    severities = [finding.severity for finding in found]
    counts = {severity: severities.count(severity) for severity in severities}
    return ", ".join(f"{count} {severity}{_s(count)}" for severity, count in counts.items())


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def _wrapped(head: str, text: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent=head, subsequent_indent=" " * len(head), break_on_hyphens=False
    ) or [head.rstrip()]
