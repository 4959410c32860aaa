"""`ssa-fast infer --ray`: what it refuses, and a whole run over two workers, also one that is stopped."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from ssa_fast.cli import infer, pace
from ssa_fast.errors import BackendUnavailable, ConfigError
from ssa_fast.pretrained import DEFAULT_BUNDLE
from tests.cases import write_case

LABEL_MAPS = "*.nii.gz"


@pytest.fixture
def cases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(pace, "cache_folder", lambda: tmp_path / "cache")
    for number in range(3):
        write_case(tmp_path / "cases", f"Case-{number}", seed=number)
    return tmp_path / "cases"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--ray", "some/cases"), "--ray some/cases: wanted auto or HOST:PORT; without an address --ray comes after"),
        (("--ray", "ray://head:10001"), "wanted auto or HOST:PORT"),
        (("--ray-threads", "2"), "--ray-threads goes with --ray"),
        (("--ray", "--plan-only"), "--plan-only needs no cluster"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_started(
    options: tuple[str, ...], words: str, cases: Path
) -> None:
    out = cases.parent / "out"
    done = CliRunner().invoke(infer.command, [str(cases), "--out", str(out), *options])
    assert isinstance(done.exception, ConfigError)
    assert words in str(done.exception)
    assert not out.exists()


def test_without_ray_the_extra_is_named(cases: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("ray", "ssa_fast.infer.on_ray", "ssa_fast.infer.ray_cluster"):
        monkeypatch.setitem(sys.modules, module, None)
    done = CliRunner().invoke(infer.command, [str(cases), "--out", str(cases.parent / "out"), "--ray"])
    assert isinstance(done.exception, BackendUnavailable)
    assert "pip install 'ssa-fast[ray]'" in str(done.exception)


def _begun(cases: Path, out: Path, mark: str) -> subprocess.Popen[str]:
    """The command over two workers, as from a terminal; what it starts has `mark` in its environment."""
    pytest.importorskip("ray", reason="ray is not installed: pip install -e '.[ray]'")
    command = [sys.executable, "-m", "ssa_fast", "infer", str(cases), "--backend", "ort", "--out", str(out)]
    return subprocess.Popen(
        [*command, "--ray-threads", "1", "--ray"],
        env={**os.environ, "MARK": mark},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_a_run_over_ray_gives_the_labels_of_a_plain_one(cases: Path) -> None:
    process = _begun(cases, cases.parent / "out", "")
    told, errors = process.communicate()
    assert (process.returncode, errors) == (0, "")
    assert "1 of its threads" in told
    assert f": network {DEFAULT_BUNDLE} by onnxruntime" in told
    assert [f"[{place}/3] Case-" in told for place in (1, 2, 3)] == [True] * 3
    assert "3 of 3 cases in" in told
    plain = cases.parent / "plain"
    done = CliRunner().invoke(infer.command, [str(cases), "--backend", "ort", "--out", str(plain)])
    assert done.exit_code == 0, done.output
    for path in sorted(plain.glob(LABEL_MAPS)):
        assert (cases.parent / "out" / path.name).read_bytes() == path.read_bytes()
    assert len(list(plain.glob(LABEL_MAPS))) == 3


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc to find what was left behind")
@pytest.mark.parametrize(
    ("number", "code", "words"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_stopped_run_leaves_whole_files_and_no_process(
    number: signal.Signals, code: int, words: str, cases: Path
) -> None:
    for seed in range(3, 30):
        write_case(cases, f"Case-{seed}", seed=seed)
    out, mark = cases.parent / "out", secrets.token_hex(16)
    process = _begun(cases, out, mark)
    assert process.stdout is not None
    first = next((line for line in process.stdout if line.startswith("[1/30]")), "")
    assert first, process.communicate()
    assert len(_marked_processes(mark)) > 3
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)  # Ctrl-C is for all
    _, errors = process.communicate()
    assert (process.returncode, errors.strip()) == (code, words)
    assert _marked_processes(mark) == []
    assert not list(out.glob(".*"))
    lines = [json.loads(line)["case"] for line in (out / "results.jsonl").read_text().splitlines()]
    assert 1 <= len(lines) < 30
    done = {path.stem for path in out.glob("*.json")}  # a record comes after its line, and a stop may come between
    assert done <= set(lines)
    assert len(set(lines) - done) <= 1
    assert set(lines) <= {path.name.removesuffix(".nii.gz") for path in out.glob(LABEL_MAPS)}


def _marked_processes(mark: str) -> list[str]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"MARK={mark}".encode() in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_text().replace("\0", " "))
        except OSError:  # it has ended meanwhile, or is somebody else's
            continue
    return found
