"""Which ways of torch are worth a trial on which GPU, what they share, and real compiled code on a processor."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ssa_fast.backends import Backend, open_backend
from ssa_fast.backends.measured import MeasuredBackend
from ssa_fast.backends.pytorch import PytorchBackend, ways
from ssa_fast.backends.torch_ways import PLAIN, Running, compiled, kinds_for, ways_of
from ssa_fast.errors import BackendUnavailable
from ssa_fast.model.blocks import ConvBlock
from ssa_fast.model.bundle import read_bundle
from ssa_fast.model.spec import ModelSpec, UNetConfig
from ssa_fast.model.unet import UNet
from tests.infer.fakes import BrightnessBackend
from tests.networks import tiny_config


@pytest.mark.parametrize(
    ("capability", "gpu", "wanted"),
    [
        ((9, 0), "NVIDIA H100 80GB HBM3", ["bf16", "bf16, channels-last"]),
        ((8, 0), "NVIDIA A100-SXM4-40GB", ["bf16", "bf16, channels-last"]),
        ((7, 5), "Tesla T4", ["float16", "float16, channels-last"]),
        ((7, 5), "NVIDIA GeForce RTX 2060", ["float16", "float16, channels-last"]),
        ((7, 5), "NVIDIA GeForce GTX 1650", ["float32, channels-last"]),  # float16 is emulated there
        ((6, 1), "NVIDIA GeForce GTX 1080", ["float32, channels-last"]),
    ],
)
def test_precisions_are_those_the_gpu_computes_in(capability: tuple[int, int], gpu: str, wanted: list[str]) -> None:
    assert [str(kind) for kind in kinds_for(capability, gpu)] == wanted


class Opened(BrightnessBackend):
    def __init__(self, network: nn.Module, running: Running) -> None:
        super().__init__()
        self.network, self.running = network, running


def test_kinds_come_first_and_each_has_its_graphs_and_compiled_code_behind_it() -> None:
    kinds = kinds_for((7, 5), "NVIDIA GeForce GTX 1650")
    found = ways_of(nn.Identity(), kinds, Opened)
    assert [(way.name, way.base) for way in found[:8]] == [
        ("float32", ""),
        ("float32, channels-last", ""),
        ("float32, CUDA graph", "float32"),
        ("float32, compiled", "float32"),
        ("float32, compiled, CUDA graph", "float32"),
        ("float32, compiled with max-autotune-no-cudagraphs", "float32"),
        ("float32, compiled with max-autotune-no-cudagraphs, CUDA graph", "float32"),
        ("float32, channels-last, CUDA graph", "float32, channels-last"),
    ]
    assert len(found) == 12 == len({way.name for way in found})
    assert [way.wait_s == 0 for way in found] == [True, True, *[False] * 10]


def test_ways_share_weights_by_layout_and_code_by_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda network, **_: nn.Sequential(network))
    network = UNet(tiny_config()).eval()
    found = ways_of(network, (Running(is_channels_last=True),), Opened)
    opened = {way.name: way.open() for way in found}
    assert all(isinstance(one, Opened) for one in opened.values())
    networks = {name: one.network for name, one in opened.items() if isinstance(one, Opened)}
    assert networks["float32"] is networks["float32, CUDA graph"] is network
    last = networks["float32, channels-last"]
    assert last is networks["float32, channels-last, CUDA graph"] is not network
    assert networks["float32, compiled"] is networks["float32, compiled, CUDA graph"]
    assert next(networks["float32, compiled"].parameters()) is next(network.parameters())
    assert next(networks["float32, channels-last, compiled"].parameters()) is next(last.parameters())


def test_where_torch_cannot_compile_the_way_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("torch.compile is not supported on Python 3.99+")

    monkeypatch.setattr(torch, "compile", refuse)
    with pytest.raises(BackendUnavailable, match=r"cannot compile here: torch\.compile is not supported"):
        compiled(nn.Identity())


def test_a_device_says_how_it_is_run_and_a_processor_is_told_nothing_new(tiny_bundle_path: Path) -> None:
    assert Running(precision="bf16", is_channels_last=True, has_graph=True).particulars == (
        "channels-last",
        "CUDA graph",
    )
    assert PLAIN.particulars == ()
    backend = open_backend("torch", read_bundle(tiny_bundle_path), "float32")
    assert backend.device.engine == f"torch {torch.__version__}"


def test_on_a_processor_nothing_is_tried(tiny_bundle_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    bundle = read_bundle(tiny_bundle_path)
    assert ways(bundle) == []
    opened: Backend = open_backend("torch", bundle, "auto")
    assert isinstance(opened, PytorchBackend)
    assert not isinstance(opened, MeasuredBackend)


@pytest.mark.slow
def test_compiled_code_gives_the_labels_of_the_eager_network() -> None:
    """For real, on a processor, where it is never chosen: two convolutions with their norms, to be done in seconds."""
    if shutil.which("g++") is None:
        pytest.skip("no C++ compiler, which torch.compile needs on a processor")
    spec, device = ModelSpec(name="block", network=tiny_config(), window=(16, 16, 16)), torch.device("cpu")
    torch.manual_seed(0)
    network = ConvBlock(4, 4, 2, UNetConfig(norm="instance")).eval()
    plain = PytorchBackend(network, spec, device, "float32")
    how = dataclasses.replace(PLAIN, is_channels_last=True, compile_mode="default")
    fast = PytorchBackend(compiled(network), spec, device, how)
    windows = np.random.default_rng(0).standard_normal((1, 4, 16, 16, 32), dtype=np.float32)
    np.testing.assert_allclose(fast.logits(windows), plain.logits(windows), rtol=0, atol=1e-4)
    assert (fast.labels(windows) == plain.labels(windows)).mean() >= 0.999
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= 1  # else it has been run eagerly
