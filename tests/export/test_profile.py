"""Build profiles: those that are shipped, what is refused, and that a wheel carries them."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import zipfile
from importlib import metadata, util
from pathlib import Path

import pytest

from ssa_fast.errors import ConfigError
from ssa_fast.export import profile
from ssa_fast.export.parity import LIMITS
from ssa_fast.export.profile import Boxes, profile_names, read_profile
from ssa_fast.model.spec import PRESETS
from ssa_fast.volume.case import find_cases, read_case
from ssa_fast.volume.preprocess import crop_to_brain, pad_brain

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("ampere_plus", "cpu_avx2", "cpu_avx512", "gtx1650", "h200", "turing_tensor")

MINE = """
description = "mine"
backends = ["ort"]
precisions = ["float32"]
[boxes]
smallest = [96, 96, 96]
usual = [128, 128, 128]
largest = [160, 160, 160]
"""


def _file(folder: Path, text: str) -> str:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_these_profiles_are_shipped() -> None:
    assert profile_names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_profile_says_what_it_is_for(name: str) -> None:
    found = read_profile(name)
    assert found.description
    assert found.precisions[0] == "float32"  # tried first: what the others are held against
    is_of_gpu = "trt" in found.backends
    assert is_of_gpu == bool(found.capability)
    assert found.memory_gb is None or found.activation_gb + found.workspace_gb < found.memory_gb
    for network in PRESETS.values():
        assert not any(edge % network.divisor for edge in (*found.window, *found.boxes.smallest, *found.boxes.largest))


def test_a_gtx_1650_is_taken_for_what_it_is() -> None:
    found = read_profile("gtx1650")
    assert (found.capability, found.has_tensor_cores, found.target_ms) == ("7.5", False, 150.0)
    assert found.precisions == ("float32", "float16")
    assert found.memory_gb is not None
    assert found.memory_gb < 4


@pytest.mark.parametrize("name", NAMES)
def test_the_brains_at_hand_fit_the_boxes_of_every_profile(name: str, shared_ssa: Path) -> None:
    boxes = read_profile(name).boxes
    for files in find_cases([shared_ssa])[:3]:
        edges = pad_brain(crop_to_brain(read_case(files)), 16)[0].shape[2:]
        assert all(a <= b <= c for a, b, c in zip(boxes.smallest, edges, boxes.largest, strict=True)), files.name


def test_a_profile_of_your_own_is_read_from_its_file(tmp_path: Path) -> None:
    found = read_profile(_file(tmp_path, MINE))
    assert found.boxes == Boxes(smallest=(96,) * 3, usual=(128,) * 3, largest=(160,) * 3)
    assert (found.window, found.target_ms, found.capability) == ((128, 128, 128), None, "")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("backends", "backend", "unknown key 'backend'; did you mean 'backends'"),
        ("usual", "typical", "unknown key 'typical'"),
        ('"float32"', '"float8"', "must be one of float32, float16, bf16, int8, got 'float8'"),
        ('["ort"]', '["tensorflow"]', "must be one of ort, openvino, trt"),
        ('["ort"]', "[]", "names one precision and one backend at least"),
        ('["float32"]', "[]", "names one precision and one backend at least"),
        ("[128, 128, 128]", "[176, 128, 128]", "boxes must grow from smallest to usual to largest"),
        ("[96, 96, 96]", "[90, 96, 96]", "multiples of 16"),
        (
            'description = "mine"',
            'description = "mine"\nwindow = [128, 128, 100]',
            "window edges must be multiples of 16",
        ),
        ('description = "mine"', 'description = "mine"\nworkspace_gb = 0.0', "sizes and times must be above 0"),
        (
            '["ort"]\nprecisions = ["float32"]',
            '["trt"]\nprecisions = ["int8"]',
            "int8 with TensorRT needs tensor cores",
        ),
        ("[boxes]", "[limits.int8]\nlabel_agreement = 1.5\n[boxes]", r"label_agreement must be in \[0, 1\]"),
        ("[boxes]", "[limits.int8]\nagreement = 0.9\n[boxes]", "did you mean 'label_agreement'"),
    ],
)
def test_what_is_not_known_or_cannot_be_is_refused(old: str, new: str, message: str, tmp_path: Path) -> None:
    assert old in MINE
    with pytest.raises(ConfigError, match=message) as caught:
        read_profile(_file(tmp_path, MINE.replace(old, new, 1)))
    assert "mine.toml" in str(caught.value)


def test_a_profile_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match=r"no profile 'gtx1660': there are ampere_plus, .*, or give a .toml file"):
        read_profile("gtx1660")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_profile("not/there.toml")


def test_limits_of_a_profile_go_before_those_of_all(tmp_path: Path) -> None:
    found = read_profile(_file(tmp_path, MINE + "[limits.int8]\nlabel_agreement = 0.98\n"))
    assert found.limits_of("int8").label_agreement == 0.98
    assert found.limits_of("float32") == LIMITS["float32"]


def test_a_profile_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        read_profile("gtx1650").window = (64, 64, 64)  # type: ignore[misc]


@pytest.mark.parametrize(
    "packages",
    [
        "lib/python3.11/site-packages",  # an environment, --prefix, and --user below ~/.local
        "lib64/python3.11/site-packages",
        "Lib/site-packages",  # Windows
        "Python311/site-packages",  # Windows, --user
        "",  # --target
    ],
)
def test_without_a_clone_profiles_come_from_where_it_was_installed(
    packages: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "share" / "ssa-fast" / "export"
    shared.mkdir(parents=True)
    (shared / "gtx1650.toml").write_text(MINE, encoding="utf-8")
    monkeypatch.setattr(profile, "__file__", str(tmp_path / packages / "ssa_fast" / "export" / "profile.py"))
    assert profile_names() == ("gtx1650",)
    assert read_profile("gtx1650").description == "mine"


def test_where_there_are_none_a_file_of_your_own_is_still_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "__file__", str(tmp_path / "ssa_fast" / "export" / "profile.py"))
    with pytest.raises(ConfigError, match=r"do not lie in 'share/ssa-fast/export' .*: install it again, or give a"):
        read_profile("gtx1650")
    assert read_profile(_file(tmp_path, MINE)).description == "mine"


@pytest.mark.skipif(
    not util.find_spec("setuptools") or int(metadata.version("setuptools").split(".")[0]) < 77,
    reason="setuptools of 77 or newer is not installed",
)
def test_a_wheel_carries_every_profile(tmp_path: Path) -> None:
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "ssa_fast", "export"):
        (tmp_path / name).symlink_to(ROOT / name)  # so that nothing is written into the clone
    code = f"import setuptools.build_meta as backend; print(backend.build_wheel({str(tmp_path / 'dist')!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    [wheel] = (tmp_path / "dist").glob("*.whl")
    carried = {Path(name).stem for name in zipfile.ZipFile(wheel).namelist() if "/data/share/ssa-fast/export/" in name}
    assert carried == set(NAMES)
