"""Every backend against the eager network in float64, on the same bundle and the same windows."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from ssa_fast import hardware
from ssa_fast.backends import Backend, Choice, Device, available_backends, open_backend
from ssa_fast.backends.base import labels_of_batch
from ssa_fast.errors import BackendError, NumericsError, ShapeError
from ssa_fast.export.parity import LIMITS, Answer, answers_of, compare, proof_of
from ssa_fast.model.bundle import Bundle, read_bundle
from ssa_fast.model.unet import UNet
from ssa_fast.pretrained import shipped_bundle
from ssa_fast.volume.case import find_cases, read_case
from ssa_fast.volume.geometry import FloatArray, LabelArray
from tests.networks import tiny_bundle, tiny_config

LOGIT_TOLERANCE = {"float32": 1e-3}  # absolute; bf16 keeps 8 bits of a value, so it is held by its labels alone
RUNS: tuple[tuple[str, Choice], ...] = (
    ("torch", "float32"),
    ("torch", "bf16"),
    ("ort", "float32"),
    ("openvino", "float32"),
    ("openvino", "bf16"),
)

# On a whole brain the engines' instance norms add up many voxels in float32: against float64, 0.005 and 0.009 were
# measured for ONNX Runtime with two bundles, 0.029 and 0.054 for OpenVINO, with 99.99 % of the labels equal.
BRAIN_LOGIT_TOLERANCE = {("ort", "float32"): 0.02, ("openvino", "float32"): 0.1, ("torch", "float32"): 1e-3}


class EagerFloat64:
    """The network of a bundle as torch runs it with nothing chosen for speed: what every backend is held to."""

    def __init__(self, bundle: Bundle) -> None:
        self.spec = bundle.spec
        self.device = Device(engine="torch, eager float64", name="the processor", precision="float32")
        self._network = UNet(bundle.spec.network).eval()
        self._network.load_state_dict({name: torch.tensor(weight) for name, weight in bundle.weights().items()})
        self._network.double()

    def logits(self, windows: FloatArray) -> FloatArray:
        with torch.inference_mode():
            return self._network(torch.from_numpy(windows).double()).float().numpy()  # type: ignore[no-any-return]

    def labels(self, windows: FloatArray) -> LabelArray:
        return labels_of_batch(self.logits(windows))

    def free_bytes(self) -> int | None:
        return None

    def let_go(self) -> None:
        pass

    def close(self) -> None:
        pass


every_run = pytest.mark.parametrize(("name", "precision"), RUNS, ids=["-".join(run) for run in RUNS])


def _opened(name: str, precision: Choice, bundle: Bundle) -> Backend:
    if name not in available_backends():
        pytest.skip(f"backend '{name}': its library is not installed")
    if precision == "bf16" and not hardware.cpu().has_bf16:
        pytest.skip(f"{hardware.cpu().name} has no bf16 instructions")
    return open_backend(name, bundle, precision)


def _windows(*shape: int, seed: int = 0) -> FloatArray:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


@every_run
def test_logits_are_those_of_the_eager_network(name: str, precision: Choice, tiny_bundle_path: Path) -> None:
    bundle = read_bundle(tiny_bundle_path)
    reference, backend = EagerFloat64(bundle), _opened(name, precision, bundle)
    for shape in ((1, 4, 16, 24, 32), (2, 4, 24, 16, 16), (1, 4, 16, 24, 32)):  # another shape, and back
        windows = _windows(*shape, seed=shape[2])
        wanted, seen = reference.logits(windows), backend.logits(windows)
        assert seen.shape == (shape[0], 4, *shape[2:])
        assert seen.dtype == np.float32
        if precision in LOGIT_TOLERANCE:
            np.testing.assert_allclose(seen, wanted, rtol=0, atol=LOGIT_TOLERANCE[precision])
        else:
            assert np.corrcoef(seen.ravel(), wanted.ravel())[0, 1] > 0.999
    backend.close()


@every_run
def test_labels_are_the_argmax_of_the_logits(name: str, precision: Choice, tiny_bundle_path: Path) -> None:
    backend = _opened(name, precision, read_bundle(tiny_bundle_path))
    for shape in ((1, 4, 16, 24, 32), (2, 4, 24, 16, 16)):
        windows = _windows(*shape, seed=shape[2])
        labels = backend.labels(windows).copy()
        assert (labels.dtype, labels.shape) == (np.uint8, (shape[0], *shape[2:]))
        assert len(np.unique(labels)) >= 3
        np.testing.assert_array_equal(labels, np.argmax(backend.logits(windows), axis=1))
        np.testing.assert_array_equal(labels, backend.labels(windows))  # again, after the logits
    backend.close()


def _with_head(bundle: Bundle, weight: float, bias: tuple[float, float, float, float]) -> Bundle:
    """A bundle whose last layer is changed, so that its logits are known: `bias`, where `weight` is 0."""
    model = onnx.load_model_from_string(bundle.content)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.name == "head.weight":
            tensor.CopyFrom(numpy_helper.from_array((values * weight).astype(values.dtype), tensor.name))
        elif tensor.name == "head.bias":
            tensor.CopyFrom(numpy_helper.from_array(np.array(bias, dtype=values.dtype), tensor.name))
    return dataclasses.replace(bundle, content=model.SerializeToString())


@every_run
@pytest.mark.parametrize(("bias", "wanted"), [((1, 1, 1, 1), 0), ((0, 2, 2, 1), 1), ((0, 1, 2, 2), 2)])
def test_the_lowest_label_wins_a_tie(
    name: str, precision: Choice, bias: tuple[float, float, float, float], wanted: int, tiny_bundle_path: Path
) -> None:
    backend = _opened(name, precision, _with_head(read_bundle(tiny_bundle_path), 0, bias))
    assert np.unique(backend.labels(_windows(1, 4, 32, 32, 48))).tolist() == [wanted]
    backend.close()


@every_run
@pytest.mark.parametrize("label", range(4))
def test_nan_logits_are_an_error_and_no_labels(
    name: str, precision: Choice, label: int, tiny_bundle_path: Path
) -> None:
    bias = [0.0, 0.0, 0.0, 0.0]
    bias[label] = np.nan
    backend = _opened(name, precision, _with_head(read_bundle(tiny_bundle_path), 1, tuple(bias)))  # type: ignore[arg-type]
    windows = _windows(1, 4, 16, 16, 16)
    with pytest.raises(NumericsError, match="the network gave NaN logits"):
        backend.labels(windows)
    assert np.isnan(backend.logits(windows)[:, label]).all()
    backend.close()


@pytest.fixture(scope="module")
def bundle_without_norms(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return read_bundle(tiny_bundle(tmp_path_factory.mktemp("batch"), "batch", "none"))


@every_run
def test_nan_in_one_voxel_is_found_among_many(name: str, precision: Choice, bundle_without_norms: Bundle) -> None:
    """Without norms it stays where it is, so most logits are numbers. An engine whose ReLU drops it has none."""
    backend = _opened(name, precision, bundle_without_norms)
    windows = _windows(2, 4, 32, 32, 32)
    windows[1, 0, 3, 4, 5] = np.nan
    share = float(np.isnan(backend.logits(windows)).mean())
    assert share < 0.5
    if share == 0:
        assert backend.labels(windows).max() <= 3
    else:
        with pytest.raises(NumericsError, match="the network gave NaN logits"):
            backend.labels(windows)
    backend.close()


@pytest.fixture(scope="module")
def answer(shared_ssa: Path) -> Answer:
    """What the eager network makes of a real brain."""
    reference = EagerFloat64(read_bundle(shipped_bundle("lite")))
    case = read_case(find_cases([shared_ssa / "BraTS-SSA-00047-000"])[0])
    [answer] = answers_of(reference, [proof_of(case, reference.spec.divisor)])
    return answer


@every_run
def test_the_shipped_bundle_gives_the_same_labels_on_a_real_brain(name: str, precision: Choice, answer: Answer) -> None:
    backend = _opened(name, precision, read_bundle(shipped_bundle("lite")))
    parity = compare("eager float64", [answer], backend, LIMITS[precision])
    assert parity.has_passed, parity.shortcomings
    assert parity.largest_logit_error <= BRAIN_LOGIT_TOLERANCE.get((name, precision), np.inf)
    backend.close()


@every_run
@pytest.mark.parametrize(
    "shape", [(4, 16, 16, 16), (1, 3, 16, 16, 16), (1, 4, 16, 16, 12), (0, 4, 16, 16, 16), (1, 4, 0, 16, 16)]
)
def test_windows_of_a_wrong_shape_are_refused(
    name: str, precision: Choice, shape: tuple[int, ...], tiny_bundle_path: Path
) -> None:
    backend = _opened(name, precision, read_bundle(tiny_bundle_path))
    for run in (backend.logits, backend.labels):
        with pytest.raises(ShapeError, match="wanted"):
            run(_windows(*shape))


@every_run
def test_a_failure_of_the_engine_is_one_line_that_says_where(
    name: str, precision: Choice, tiny_bundle_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = _opened(name, precision, read_bundle(tiny_bundle_path))
    wider = dataclasses.replace(tiny_config(), modalities=5)
    spec = dataclasses.replace(backend.spec, modalities=(*backend.spec.modalities, "pd"), network=wider)
    monkeypatch.setattr(backend, "spec", spec)
    for run in (backend.logits, backend.labels):
        with pytest.raises(BackendError, match=r"failed on 1 x 5 x 16 x 16 x 16 values: ") as caught:
            run(_windows(1, 5, 16, 16, 16))  # as the spec now has it, but not the graph
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", sorted({name for name, _ in RUNS}))
def test_a_signal_after_two_backends_were_closed_in_the_order_they_were_opened(
    name: str, tiny_bundle_path: Path
) -> None:
    _opened(name, "float32", read_bundle(tiny_bundle_path)).close()  # or skip
    code = f"""
import os, signal
from pathlib import Path
from ssa_fast.backends import open_backend
from ssa_fast.model.bundle import read_bundle
bundle = read_bundle(Path({str(tiny_bundle_path)!r}))
first, second = (open_backend({name!r}, bundle, "float32") for _ in range(2))
first.close()
del first
second.close()
del second
signal.signal(signal.SIGINT, lambda *_: print("heard"))
os.kill(os.getpid(), signal.SIGINT)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr


# What is told to be kept after a call, what letting go of it frees, what is kept then, and whether the answer is equal.
_LET_GO = """
import sys
import numpy as np
from ssa_fast.backends import open_backend
from ssa_fast.hardware import keep_heap_small
from ssa_fast.measure import resident_bytes
from ssa_fast.model.bundle import read_bundle
from ssa_fast.pretrained import shipped_bundle

keep_heap_small()
backend = open_backend(sys.argv[1], read_bundle(shipped_bundle("lite")), sys.argv[2])
windows = np.random.default_rng(0).standard_normal((1, 4, 112, 112, 112), dtype=np.float32)
first = backend.logits(windows).copy()
told, held = backend.footprint.kept_bytes, resident_bytes()
backend.let_go()
print(told, held - resident_bytes(), backend.footprint.kept_bytes, np.array_equal(backend.logits(windows), first))
"""


@every_run
def test_buffers_that_are_kept_are_told_and_let_go_of(name: str, precision: Choice, tiny_bundle_path: Path) -> None:
    backend = _opened(name, precision, read_bundle(tiny_bundle_path))
    backend.logits(_windows(1, 4, 16, 16, 16))
    assert (backend.footprint.kept_bytes > 0) == backend.footprint.keeps_buffers
    backend.close()
    if backend.footprint.keeps_buffers:  # in a process whose heap gives back what is freed
        given = [sys.executable, "-c", _LET_GO, name, precision]
        told, freed, left, is_same = subprocess.run(given, check=True, capture_output=True, text=True).stdout.split()
        assert int(freed) >= 0.4 * int(told)
        assert (left, is_same) == ("0", "True")


@every_run
def test_a_backend_knows_the_memory_that_is_left(name: str, precision: Choice, tiny_bundle_path: Path) -> None:
    left = _opened(name, precision, read_bundle(tiny_bundle_path)).free_bytes()
    assert left is None or left > 2**20


@every_run
def test_a_backend_says_what_runs_it_and_in_which_precision(
    name: str, precision: Choice, tiny_bundle_path: Path
) -> None:
    bundle = read_bundle(tiny_bundle_path)
    backend = _opened(name, precision, bundle)
    assert backend.device.precision == precision
    assert precision in str(backend.device)
    assert backend.spec == bundle.spec
