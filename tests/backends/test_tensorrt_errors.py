"""Each failure that users of TensorRT meet gets its own line, from the real message.

RECORDED messages were given, word for word, by the libraries themselves: TensorRT-RTX 1.7.1.116, the installer of
TensorRT 10.16 and cuda-bindings 13.4, on a machine without a GPU. REPORTED ones have the form in which public issues
quote TensorRT 8 to 10: nothing at hand could be brought to say them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import util
from pathlib import Path

import pytest

from ssa_fast import backends, hardware
from ssa_fast.backends.tensorrt_errors import FAILURES, explained, failure_of
from ssa_fast.backends.tensorrt_library import load_library, logged
from ssa_fast.errors import BackendUnavailable, EngineError
from ssa_fast.model.bundle import read_bundle

PROVIDER = (  # onnxruntime issue 18597, there with libnvinfer.so.8
    "/onnxruntime_src/onnxruntime/core/session/provider_bridge_ort.cc:1193 onnxruntime::Provider& "
    "onnxruntime::ProviderLibrary::Get() [ONNXRuntimeError] : 1 : FAIL : Failed to load library "
    "libonnxruntime_providers_tensorrt.so with error: libnvinfer.so.10: cannot open shared object file: No such file "
    "or directory"
)
PLACEHOLDER = """wheel_stub.error.InstallFailedError:
The installation of tensorrt-cu13-libs for version 10.16.1.11 failed.

This is a special placeholder package which downloads a real wheel package
from https://pypi.nvidia.com/. If https://pypi.nvidia.com/ is not reachable, we
cannot download the real wheel file to install."""
TURING = (
    "IBuilder::buildSerializedNetwork: Error Code 1: Myelin ([pass.cpp:347: check_turing_op_compatibility] Cannot "
    "compile operation 'node_conv3d' for Turing (SM75): FP32 3D convolution is not supported. In compileGraph at "
    "/_src/optimizer/myelin/codeGenerator.cpp:2012)"
)
WORKSPACE = (
    "IBuilder::buildSerializedNetwork: Error Code 1: Myelin ([tactic.cpp:1676: enumerate_tactics] Tactic Selection: no "
    "tactics to implement the operation within workspace limit. Consider increase the allowed workspace size if "
    "applicable.; [tactic.cpp:264: run] Error during tactic selection.)"
)
DRIVER = (
    "IRuntime::deserializeCudaEngine: Error Code 1: Cuda Runtime (In ScopedCudaStream at "
    "/_src/common/dispatch/cudaResources.cpp:25 (cudaError 35: CUDA driver version is insufficient for CUDA runtime "
    "version))"
)
MAGIC = (
    "IRuntime::deserializeCudaEngine: Error Code 1: Serialization (Serialization assertion header.magicTag == "
    "kEXPECTED_MAGIC_TAG failed.Trying to load an engine created with incompatible serialization version (1651663207 "
    "!= 1953657974). Check that the engine was not created using safety runtime, same OS was used)"
)
CUT_OFF = (
    "IRuntime::deserializeCudaEngine: Error Code 1: Serialization (Serialization assertion plan.header.size == "
    "blobSize failed. In parsePlan at /_src/runtime/dispatch/runtime.cpp:780)"
)

RECORDED = (
    ("index of the vendor", PLACEHOLDER, "which pip did not reach; from a network that lets it through: pip install"),
    ("index of the vendor", "No module named 'tensorrt_rtx_bindings'", "TensorRT is half installed"),
    (
        "library missing",
        "libtensorrt_rtx.so.1: cannot open shared object file: No such file or directory",
        "libtensorrt_rtx.so.1, a library of TensorRT, is not beside its Python part",
    ),
    ("driver", DRIVER, "driver"),
    ("another serialization", MAGIC, "no engine of this version of TensorRT: build it again"),
    ("damaged", CUT_OFF, "cut off or damaged: build it again"),
    ("float32 on Turing", TURING, "no float32 3D convolution for Turing (compute capability 7.5; node node_conv3d)"),
    ("memory", WORKSPACE, "raise workspace_gb in the profile"),
    (
        "memory",
        "[localCheckMacros.cpp::getErrorStr::132] Error Code 2: OutOfMemory (Requested size was 1545156040 bytes.)",
        "the GPU memory that was granted does not do",
    ),
    (
        "operator",
        (
            "In node 1 with name: node_odd and operator: NoSuchThing (checkFallbackPluginImporter): INVALID_NODE: "
            'creator && "Plugin not found, are the plugin name, version, and namespace correct?"'
        ),
        "operator NoSuchThing is not one that this TensorRT can build",
    ),
    (
        "graph",
        "Assertion failed: model->ParseFromCodedStream(&codedInput): Failed to parse the ONNX model.",
        "is not ONNX that TensorRT reads",
    ),
)
REPORTED = (
    ("provider of ONNX Runtime", PROVIDER, "wants libnvinfer.so.10, which is TensorRT 10's and not there"),
    ("index of the vendor", "No module named 'tensorrt_bindings'", "TensorRT is half installed"),
    (
        "library missing",
        "libnvonnxparser.so.10: cannot open shared object file: No such file or directory",
        "libnvonnxparser.so.10, a library of TensorRT",
    ),
    (
        "library missing",
        "libnvinfer.so.10: cannot open shared object file: No such file or directory",
        "libnvinfer.so.10, a library of TensorRT, is not beside its Python part",
    ),
    (
        "library missing",
        "Could not find: nvinfer_10.dll. Is it on your PATH?\nNote: Paths searched were:\n['C:\\\\Windows']",
        "nvinfer_10.dll, a library of TensorRT",
    ),
    ("driver", "pybind11::init(): factory function returned nullptr", "driver"),  # TensorRT issue 2913
    ("driver", "CUDA initialization failure with error: 35. Please check your CUDA installation:", "driver"),
    (
        "another version",
        (
            "Error Code 6: API Usage Error (The engine plan file is not compatible with this version of TensorRT, "
            "expecting library version 10.16.1.11 got 10.13.2.6, please rebuild.)"
        ),
        "built by TensorRT 10.13.2.6, here is 10.16.1.11: build it again",
    ),
    (
        "another GPU",  # insightface issue 2882, TensorRT 10.8
        (
            "IRuntime::deserializeCudaEngine: Error Code 6: API Usage Error (The engine plan file is generated on an "
            "incompatible device, expecting compute 8.9 got compute 8.6, please rebuild.)"
        ),
        "for a GPU of compute capability 8.6, here is 8.9",
    ),
    (
        "memory",  # as TensorRT 8 to 10 end a build that had too little
        (
            "Error Code 10: Internal Error (Could not find any implementation for node {ForeignNode[conv1]} due to "
            "insufficient workspace.)"
        ),
        "close programs that use the GPU",
    ),
)


@pytest.mark.parametrize(("name", "message", "line"), [*RECORDED, *REPORTED])
def test_each_failure_has_its_line(name: str, message: str, line: str) -> None:
    failure = failure_of(message)
    assert failure is not None
    assert failure.name == name
    error = explained("tiny", [message])
    assert isinstance(error, BackendUnavailable if failure.is_of_machine else EngineError)
    assert line in str(error)
    assert str(error).startswith("tiny: ")
    assert "\n" not in str(error)


def test_no_failure_is_without_a_message_that_shows_it() -> None:
    assert {name for name, _, _ in (*RECORDED, *REPORTED)} == {failure.name for failure in FAILURES}


def test_what_is_not_known_is_quoted_and_what_was_not_said_is_named() -> None:
    assert str(explained("tiny", ["a new\nmessage"])) == "tiny: TensorRT says: a new message"
    assert "gave nothing and said nothing" in str(explained("tiny", []))
    assert len(str(explained("tiny", ["x" * 5000]))) < 300


def test_the_cause_is_told_though_an_effect_was_said_too() -> None:
    error = explained("tiny", [DRIVER, "pybind11::init(): factory function returned nullptr", "OutOfMemory"])
    assert "driver" in str(error)


def test_a_driver_that_is_there_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "has_nvidia_driver", lambda: True)
    monkeypatch.setattr(hardware, "nvidia_driver_version", lambda: "550.54.14")
    assert "(550.54.14) does not serve CUDA 13, which needs 580 or newer" in str(explained("tiny", [DRIVER]))
    monkeypatch.setattr(hardware, "nvidia_driver_version", lambda: "590.44.01")
    assert "CUDA finds no GPU under the NVIDIA driver 590.44.01" in str(explained("tiny", [DRIVER]))
    monkeypatch.setattr(hardware, "has_nvidia_driver", lambda: False)
    assert "no NVIDIA driver is loaded" in str(explained("tiny", [DRIVER]))


def _package(folder: Path, name: str, source: str) -> None:
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(source, encoding="utf-8")


@pytest.mark.parametrize(
    ("bindings", "line"),
    [
        (None, "TensorRT is half installed"),
        (
            "raise ImportError('libnvinfer.so.10: cannot open shared object file: No such file or directory')",
            "libnvinfer.so.10, a library of TensorRT",
        ),
        ("raise FileNotFoundError('Could not find: nvinfer_10.dll. Is it on your PATH?')", "nvinfer_10.dll, a library"),
    ],
)
def test_a_half_installed_tensorrt_is_told_apart_from_one_that_is_not_there(
    bindings: str | None, line: str, tmp_path: Path, tiny_bundle_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _package(tmp_path, "tensorrt", "from tensorrt_bindings import *")  # as NVIDIA's package begins
    if bindings is not None:
        _package(tmp_path, "tensorrt_bindings", bindings)
    monkeypatch.syspath_prepend(tmp_path)
    for module in ("tensorrt", "tensorrt_bindings", "ssa_fast.backends.tensorrt"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(BackendUnavailable, match=line):
        load_library(is_rtx=False)
    cuda = tmp_path / "cuda"
    cuda.mkdir()
    _package(cuda, "bindings", "runtime = None")
    with pytest.raises(BackendUnavailable, match=line):
        backends.open_backend("trt", read_bundle(tiny_bundle_path))


def test_a_tensorrt_that_is_not_there_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    with pytest.raises(BackendUnavailable, match=r"'tensorrt_rtx' is not installed: pip install 'ssa-fast\[trt-rtx\]'"):
        load_library(is_rtx=True)


def _rtx_folder() -> Path:
    found = util.find_spec("tensorrt_rtx")
    if found is None or found.origin is None:
        pytest.skip("tensorrt_rtx is not installed: pip install 'ssa-fast[trt-rtx]'")
    return Path(found.origin).parents[1]


@pytest.mark.skipif(os.name == "nt", reason="the loader's words are those of Linux")
@pytest.mark.parametrize(
    ("packages", "name"),
    [(("tensorrt_rtx", "tensorrt_rtx_bindings"), "library missing"), (("tensorrt_rtx",), "index of the vendor")],
)
def test_a_real_installation_without_its_parts_says_what_we_expect(
    packages: tuple[str, ...], name: str, tmp_path: Path
) -> None:
    for package in packages:
        (tmp_path / package).symlink_to(_rtx_folder() / package)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import tensorrt_rtx"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    failure = failure_of(done.stderr.splitlines()[-1])
    assert failure is not None, done.stderr
    assert failure.name == name


@pytest.mark.skipif(hardware.has_nvidia_driver(), reason="there is a driver")
def test_without_a_driver_a_real_runtime_says_what_we_expect() -> None:
    _rtx_folder()
    ours = load_library(is_rtx=True)
    assert logged(ours.library) is ours
    ours.log.clear()
    runtime = ours.library.Runtime(ours.logger)
    assert runtime.deserialize_cuda_engine(b"no engine" * 100) is None
    first, *others = ours.log.errors
    assert "no engine of this version" in str(explained("it", [first]))
    assert "no NVIDIA driver is loaded" in str(explained("it", others))


@pytest.mark.skipif(hardware.has_nvidia_driver(), reason="there is a driver")
def test_without_a_driver_the_real_cuda_is_told_as_such() -> None:
    pytest.importorskip("cuda.bindings.runtime", reason="cuda-python is not installed: pip install 'ssa-fast[trt]'")
    from ssa_fast.backends import cuda

    with pytest.raises(BackendUnavailable, match="no NVIDIA driver is loaded on this machine"):
        cuda.gpu()
