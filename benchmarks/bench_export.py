"""What a rewritten graph, float16 and int8 are worth: paired ratios on one brain, network only.

Each row: how many times as long the plain bundle takes (above 1: the change pays), A B A B, after a warm-up that
compiles, and how far the logits moved. Numbers of whole cases, with Dice: `python -m benchmarks.parity_table`.
"""

from __future__ import annotations

from contextlib import closing

import numpy as np
import onnx
import pytest

from ssa_fast import hardware
from ssa_fast.backends import Backend, Choice, available_backends, open_backend
from ssa_fast.export.convert import form_of
from ssa_fast.export.quantize import quantize, ranges_of
from ssa_fast.export.rewrite import REWRITES
from ssa_fast.measure import paired_ratio
from ssa_fast.model.bundle import Bundle
from ssa_fast.volume.case import CaseFiles, read_case
from ssa_fast.volume.geometry import FloatArray
from ssa_fast.volume.preprocess import crop_to_brain, pad_brain

RUNS: list[tuple[str, Choice, bool]] = [
    ("openvino", "float32", False),
    ("openvino", "bf16", False),
    ("openvino", "bf16", True),
    ("ort", "float32", False),
]


@pytest.fixture(scope="module")
def windows(case_files: CaseFiles, lite: Bundle) -> FloatArray:
    padded, _ = pad_brain(crop_to_brain(read_case(case_files)), lite.spec.divisor)
    return padded  # (1, 4, X, Y, Z)


def _opened(bundle: Bundle, run: tuple[str, Choice, bool], windows: FloatArray) -> Backend:
    name, precision, is_int8 = run
    if name not in available_backends():
        pytest.skip(f"backend '{name}': its library is not installed")
    if precision == "bf16" and not hardware.cpu().has_bf16:
        precision = "float32"
    if is_int8:
        graph = onnx.load_from_string(bundle.content)
        content = quantize(graph, ranges_of(graph, [windows])).SerializeToString()
        bundle = Bundle(path=bundle.path, content=content, spec=bundle.spec, parity=None, arithmetic="int8")
    return open_backend(name, bundle, precision)


@pytest.mark.benchmark(group="rewrite")
@pytest.mark.parametrize("rewrite", sorted(REWRITES))
@pytest.mark.parametrize("run", RUNS, ids=["openvino-float32", "openvino-bf16", "openvino-int8", "ort-float32"])
def bench_a_rewritten_graph(
    rewrite: str, run: tuple[str, Choice, bool], lite: Bundle, windows: FloatArray, request: pytest.FixtureRequest
) -> None:
    is_measured = not request.config.getoption("benchmark_disable")
    if not is_measured:
        windows = np.ascontiguousarray(windows[..., :64, :64, :64])
    plain = _opened(lite, run, windows)
    changed = _opened(form_of(lite, "float32", [rewrite]).bundle, run, windows)
    with closing(plain), closing(changed):
        error = float(np.abs(plain.logits(windows) - changed.logits(windows)).max())
        ratio = paired_ratio(
            lambda: plain.logits(windows), lambda: changed.logits(windows), rounds=5 if is_measured else 1
        )
    print(f"\n{rewrite}, {plain.device}: plain takes {ratio:.2f} times as long, logits off by at most {error:.4f}")
    if (run[1], run[2]) == ("float32", False):
        assert error < 0.05  # of a whole brain: the sums of its norms are in another order
