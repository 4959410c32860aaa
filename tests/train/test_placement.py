"""Where a network is trained: the precision that is asked for, or an error."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from ssa_fast import hardware
from ssa_fast.errors import ConfigError
from ssa_fast.train.config import ExecutionConfig, TrainConfig
from ssa_fast.train.group import Group, join_group
from ssa_fast.train.placement import agreed_execution, as_begun, choose_placement


def _gpu(monkeypatch: pytest.MonkeyPatch, name: str, capability: tuple[int, int]) -> None:
    """A CUDA GPU that is chosen, not used."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)


@pytest.mark.parametrize(
    ("name", "capability", "precision", "dtype"),
    [
        ("NVIDIA GeForce GTX 1650", (7, 5), "auto", torch.float32),
        ("NVIDIA GeForce GTX 1650", (7, 5), "fp16", torch.float16),
        ("Tesla T4", (7, 5), "auto", torch.float16),
        ("NVIDIA A100", (8, 0), "auto", torch.bfloat16),
        ("NVIDIA A100", (8, 0), "float32", torch.float32),
        ("NVIDIA A100", (8, 0), "fp16", torch.float16),
    ],
)
def test_a_gpu_computes_in_what_it_is_known_to_do_well(
    name: str, capability: tuple[int, int], precision: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    _gpu(monkeypatch, name, capability)
    placement = choose_placement(dataclasses.replace(TrainConfig(), precision=precision), join_group())
    assert (placement.device.type, placement.dtype) == ("cuda", dtype)
    assert (placement.layout == torch.contiguous_format) == (dtype == torch.float32)


def test_bf16_is_refused_where_it_is_emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    _gpu(monkeypatch, "Tesla T4", (7, 5))
    with pytest.raises(ConfigError, match="Tesla T4 has less"):
        choose_placement(TrainConfig(precision="bf16"), join_group())


@pytest.mark.parametrize(("edge", "is_sound"), [(16, False), (32, False), (48, True), (96, True)])
def test_bf16_on_a_cpu_is_not_taken_where_its_gradients_are_wrong(
    edge: int, is_sound: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor = dataclasses.replace(hardware.cpu(), name="AMD", flags=frozenset({"avx512_bf16"}))
    monkeypatch.setattr(hardware, "cpu", lambda: processor)
    config = TrainConfig(patch=(edge, 96, 96))
    assert choose_placement(config, Group()).dtype == (torch.bfloat16 if is_sound else torch.float32)
    asked = dataclasses.replace(config, precision="bf16")
    if is_sound:
        assert choose_placement(asked, Group()).dtype == torch.bfloat16
    else:
        with pytest.raises(ConfigError, match=f"wrong gradients for a patch of {edge} voxels along X: take float32"):
            choose_placement(asked, Group())


def test_float32_on_a_gpu_is_not_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    _gpu(monkeypatch, "NVIDIA A100", (8, 0))
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    try:
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
        choose_placement(TrainConfig(precision="float32"), join_group())
        assert not torch.backends.cudnn.allow_tf32
        assert not torch.backends.cuda.matmul.allow_tf32
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


MEASURED = ExecutionConfig(precision="fp16", layout="contiguous", is_compiled=True, measured_on="2026-01-31")


def test_what_was_measured_goes_before_the_rules_and_what_is_asked_before_that(monkeypatch: pytest.MonkeyPatch) -> None:
    _gpu(monkeypatch, "NVIDIA GeForce GTX 1650", (7, 5))
    config = TrainConfig(execution=MEASURED)
    assert choose_placement(config, join_group()).execution == dataclasses.replace(MEASURED, measured_on="")
    asked = dataclasses.replace(config, precision="float32", layout="channels_last", compile="off")
    assert choose_placement(asked, join_group()).execution.words == "float32, channels-last"


def test_what_was_measured_elsewhere_and_cannot_be_had_here_counts_as_not_measured() -> None:
    config = TrainConfig(execution=MEASURED, patch=(16, 32, 32))  # fp16 on a CPU
    assert choose_placement(config, Group()) == choose_placement(dataclasses.replace(config, execution=None), Group())


def test_without_a_checkpoint_nothing_was_begun(tmp_path: Path) -> None:
    config = TrainConfig(execution=MEASURED)
    assert as_begun(config, tmp_path / "last.safetensors") is config


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Second(Group):
    """The second of two processes; the first has found what `told` says, value by value."""

    told: list[float] = dataclasses.field(default_factory=list)

    def agree(self, value: float) -> float:
        return self.told.pop(0)

    def any(self, fact: bool) -> bool:
        return fact


def test_all_processes_compute_as_the_first_has_found() -> None:
    config = TrainConfig(patch=(64, 64, 64))

    def agreed(own: ExecutionConfig | None, *told: float) -> ExecutionConfig | None:
        return agreed_execution(own, config, _Second(rank=1, size=2, told=list(told)))

    found = ExecutionConfig(precision="float32", layout="channels_last", is_compiled=True)
    assert agreed(None, 0.0, 1.0, 1.0) == found
    assert agreed(found, -1.0, 0.0, 0.0) is None  # the first has found nothing
    assert agreed(None, 2.0, 0.0, 0.0) is None  # fp16, which a CPU has not
    assert agreed_execution(found, config, Group()) == found
