"""The record of a machine: gathered, written, read back; and what will be used on it."""

from __future__ import annotations

import dataclasses
import json
from contextlib import closing
from pathlib import Path

import pytest

from ssa_fast import hardware
from ssa_fast.backends import available_backends, choose_backend, open_backend
from ssa_fast.config import from_mapping, to_mapping
from ssa_fast.doctor.machine import Machine, gather_machine, read_machine, verdict
from ssa_fast.errors import ConfigError
from ssa_fast.model.bundle import read_bundle
from tests.doctor.records import NAMES, recorded


@pytest.fixture(scope="module")
def this_machine() -> Machine:
    return gather_machine()


def test_this_machine_is_gathered_and_survives_json(this_machine: Machine) -> None:
    assert this_machine.cpu == hardware.cpu()
    assert this_machine.backends == available_backends()
    assert from_mapping(Machine, json.loads(json.dumps(to_mapping(this_machine)))) == this_machine


def test_the_record_holds_no_name_of_a_person_computer_or_folder(this_machine: Machine) -> None:
    text = json.dumps(to_mapping(this_machine))
    assert str(Path.home()) not in text
    assert "/" not in text.replace("Driver/library", "")


def test_the_verdict_is_what_auto_takes_and_what_it_computes_in(this_machine: Machine, tiny_bundle_path: Path) -> None:
    said = verdict(this_machine)
    assert (said.backend, said.reason) == choose_backend()
    with closing(open_backend(said.backend, read_bundle(tiny_bundle_path))) as opened:
        assert (said.precision, said.device) == (opened.device.precision, opened.device.name)


@pytest.mark.parametrize("backend", ["openvino", "torch", "ort"])
@pytest.mark.parametrize("flags", [("avx512_bf16", "amx_bf16"), ("avx512_bf16",), ()])
def test_the_verdict_on_precision_is_the_backends_own(
    backend: str, flags: tuple[str, ...], this_machine: Machine, tiny_bundle_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor = dataclasses.replace(hardware.cpu(), name="Intel Xeon", flags=frozenset(flags))
    monkeypatch.setattr(hardware, "cpu", lambda: processor)
    said = verdict(dataclasses.replace(this_machine, cpu=processor, backends=(backend,), torch=None))
    with closing(open_backend(backend, read_bundle(tiny_bundle_path))) as opened:
        if opened.device.name != processor.name:
            pytest.skip("a GPU computes it")
        assert (said.backend, said.precision) == (backend, opened.device.precision)


@pytest.mark.parametrize("name", NAMES)
def test_a_recorded_machine_survives_json(name: str) -> None:
    assert from_mapping(Machine, json.loads(json.dumps(to_mapping(recorded(name))))) == recorded(name)


@pytest.mark.parametrize(
    ("name", "backend", "precision", "device"),
    [
        ("gtx1650", "torch", "float32", "NVIDIA GeForce GTX 1650"),
        ("gtx1650_wsl", "torch", "float32", "NVIDIA GeForce GTX 1650"),
        ("t4", "torch", "float32", "Tesla T4"),
        ("a100", "torch", "bf16", "NVIDIA A100-SXM4-80GB"),
        ("cpu_laptop", "ort", "float32", "Intel(R) Core(TM) i5-8250U CPU @ 1.60GHz"),
        ("mac", "ort", "float32", "Apple M2"),
        ("container", "openvino", "bf16", "Intel(R) Xeon(R) Platinum 8480+"),
        ("epyc", "openvino", "bf16", "AMD EPYC"),
    ],
)
def test_what_a_recorded_machine_will_use(name: str, backend: str, precision: str, device: str) -> None:
    said = verdict(recorded(name))
    assert (said.backend, said.precision, said.device) == (backend, precision, device)


def test_where_only_onnxruntime_computes_on_the_gpu_it_is_taken_before_faster_backends_of_processors() -> None:
    machine = recorded("a100")
    assert machine.ort is not None
    ort = dataclasses.replace(machine.ort, gpu="NVIDIA A100-SXM4-80GB")
    said = verdict(dataclasses.replace(machine, torch=None, backends=("openvino", "ort"), ort=ort))
    assert (said.backend, said.precision, said.device) == ("ort", "float32", "NVIDIA A100-SXM4-80GB")
    assert "computes on NVIDIA A100" in said.reason
    assert verdict(dataclasses.replace(machine, ort=ort)).backend == "torch"


def test_without_an_engine_the_verdict_says_what_to_install() -> None:
    said = verdict(dataclasses.replace(recorded("epyc"), backends=()))
    assert (said.backend, said.precision) == ("", None)
    assert "pip install 'ssa-fast[cpu]'" in said.reason


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read"),
        ("not json", "not JSON"),
        ("[]", "expected a table"),
        ('{"machine": {"system": "Linux", "procesor": 1}}', "unknown key 'procesor'"),
        ('{"system": "Linux"}', "missing"),
    ],
)
def test_a_file_that_is_no_machine_is_refused(content: str | None, words: str, tmp_path: Path) -> None:
    path = tmp_path / "machine.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=words):
        read_machine(path)
