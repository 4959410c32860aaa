"""A network that learns from another one: what is taken, remembered and refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from ssa_fast.errors import CheckpointError, ConfigError
from ssa_fast.model.checkpoint import Checkpoint, load_checkpoint, load_weights, network_of
from ssa_fast.model.spec import PRESETS
from ssa_fast.train.config import LossConfig, TrainConfig
from ssa_fast.train.loop import train
from ssa_fast.train.run import Sources
from ssa_fast.train.splits import Split
from ssa_fast.train.state import LAST
from ssa_fast.volume.case import CaseFiles, find_cases
from ssa_fast.volume.phantom import phantom_name
from tests.cases import write_case
from tests.networks import tiny_bundle, tiny_checkpoint, tiny_config

CONFIG = TrainConfig(patch=(16, 16, 32), steps=3, warmup_steps=1, precision="float32")
TAUGHT = dataclasses.replace(CONFIG, loss=LossConfig(distillation=1.0))


@pytest.fixture(autouse=True)
def _tiny_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "fast", tiny_config())


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[CaseFiles]:
    folder = tmp_path_factory.mktemp("cases")
    return find_cases([write_case(folder, f"Case-{number}", seed=number, shape=(32, 28, 36)) for number in range(2)])


def _teacher(seed: int = 5, trained_on: str = "Other-1") -> Checkpoint:
    checkpoint = tiny_checkpoint(norm="batch", stem="none", seed=seed)  # another network than the one that learns
    return dataclasses.replace(
        checkpoint, spec=dataclasses.replace(checkpoint.spec, trained_on=trained_on), sha256=str(seed) * 64
    )


def _train(config: TrainConfig, cases: list[CaseFiles], out: Path, *teachers: Checkpoint) -> None:
    train(config, Split(training=cases[:1]), out, lambda progress: None, Sources(teachers=teachers))


def test_a_teacher_changes_what_is_learned_and_is_remembered(cases: list[CaseFiles], tmp_path: Path) -> None:
    _train(CONFIG, cases, tmp_path / "alone")
    _train(TAUGHT, cases, tmp_path / "taught", _teacher())
    alone, taught = (load_checkpoint(tmp_path / name / LAST) for name in ("alone", "taught"))
    assert not torch.equal(taught.tensors["network.head.weight"], alone.tensors["network.head.weight"])
    assert taught.facts["taught_by"] == "5" * 64
    assert taught.spec.trained_on == "Case-0 Other-1"  # what a teacher has seen, its pupil has too


def test_a_pupil_draws_nearer_to_its_teacher(cases: list[CaseFiles], tmp_path: Path) -> None:
    teacher = _teacher()
    only = LossConfig(dice=0.0, cross_entropy=1e-9, distillation=1.0)
    config = dataclasses.replace(CONFIG, loss=only, steps=60, learning_rate=1e-2, ema_decay=0.0)
    losses: list[float] = []
    train(
        dataclasses.replace(config, report_every=10),
        Split(training=cases[:1]),
        tmp_path,
        lambda progress: losses.append(progress.loss),
        Sources(teachers=[teacher]),
    )
    assert losses[-1] < 0.7 * losses[0]


def test_several_teachers_are_one_mean_and_all_that_they_saw_counts(cases: list[CaseFiles], tmp_path: Path) -> None:
    first, second = _teacher(trained_on="Other-1 Other-2"), _teacher(seed=6, trained_on="Other-2 Other-3")
    for name, teachers in (("both", (first, second)), ("turned", (second, first)), ("one", (first,))):
        _train(TAUGHT, cases, tmp_path / name, *teachers)
    both, turned, one = (load_checkpoint(tmp_path / name / LAST) for name in ("both", "turned", "one"))
    assert both.spec.trained_on == "Case-0 Other-1 Other-2 Other-3"
    assert both.facts["taught_by"] == turned.facts["taught_by"] == f"{'5' * 64} {'6' * 64}"
    torch.testing.assert_close(both.tensors["network.head.weight"], turned.tensors["network.head.weight"])
    assert not torch.equal(both.tensors["network.head.weight"], one.tensors["network.head.weight"])


def test_a_run_is_gone_on_with_by_the_same_teacher_only(cases: list[CaseFiles], tmp_path: Path) -> None:
    _train(TAUGHT, cases, tmp_path, _teacher())
    longer = dataclasses.replace(TAUGHT, steps=4)
    with pytest.raises(CheckpointError, match="other teachers"):
        _train(longer, cases, tmp_path, _teacher(seed=6))
    _train(longer, cases, tmp_path, _teacher())
    assert load_checkpoint(tmp_path / LAST).facts["step"] == 4


def test_a_teacher_and_its_weight_belong_together(cases: list[CaseFiles], tmp_path: Path) -> None:
    for config, teachers in ((CONFIG, [_teacher()]), (TAUGHT, [])):
        with pytest.raises(ConfigError, match="belong together"):
            _train(config, cases, tmp_path, *teachers)


def test_a_teacher_counts_once(cases: list[CaseFiles], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="named twice"):
        _train(TAUGHT, cases, tmp_path, _teacher(), _teacher())


def test_a_teacher_that_has_seen_a_held_out_case_is_refused(cases: list[CaseFiles], tmp_path: Path) -> None:
    split, teachers = Split(training=cases[:1], held_out=cases[1:]), [_teacher(), _teacher(trained_on="Case-1")]
    with pytest.raises(ConfigError, match="a teacher was trained on Case-1, held out now"):
        train(TAUGHT, split, tmp_path, lambda progress: None, Sources(teachers=teachers))


def test_a_teacher_for_another_task_is_refused(cases: list[CaseFiles], tmp_path: Path) -> None:
    teacher = _teacher()
    turned = dataclasses.replace(teacher.spec, modalities=("t1c", "t1n", "t2w", "t2f"))
    with pytest.raises(CheckpointError, match="a teacher for"):
        _train(TAUGHT, cases, tmp_path, dataclasses.replace(teacher, spec=turned))
    deeper = dataclasses.replace(TAUGHT, patch=(16, 16, 24))
    spec = dataclasses.replace(
        teacher.spec, network=dataclasses.replace(teacher.spec.network, channels=(2, 2, 2, 2, 2))
    )
    with pytest.raises(ConfigError, match="multiples of 16"):
        _train(deeper, cases, tmp_path, dataclasses.replace(teacher, spec=spec))


def test_folded_weights_cannot_be_trained_further(cases: list[CaseFiles], tmp_path: Path) -> None:
    start = load_weights(tiny_bundle(tmp_path, norm="batch"))
    with pytest.raises(CheckpointError, match="folded into its convolutions"):
        train(CONFIG, Split(training=cases[:1]), tmp_path / "run", lambda progress: None, Sources(start=start))


def test_weights_to_begin_with_come_without_the_optimizer(cases: list[CaseFiles], tmp_path: Path) -> None:
    _train(CONFIG, cases, tmp_path)
    assert {name.split(".")[0] for name in load_weights(tmp_path / LAST).tensors} == {"averaged"}


def test_a_phantom_that_is_trained_on_cannot_be_held_out(cases: list[CaseFiles], tmp_path: Path) -> None:
    held_out = dataclasses.replace(cases[1], name=phantom_name(CONFIG.seed, 0))
    config = dataclasses.replace(CONFIG, phantoms=1)
    with pytest.raises(ConfigError, match=f"this run is trained on {held_out.name}, held out now"):
        train(config, Split(training=cases[:1], held_out=[held_out]), tmp_path, lambda progress: None)


def test_a_bundle_gives_its_weights_to_begin_with(tmp_path: Path) -> None:
    path = tiny_bundle(tmp_path)
    begun = network_of(load_weights(path)).state_dict()
    wanted = network_of(tiny_checkpoint()).state_dict()
    for name, tensor in wanted.items():
        torch.testing.assert_close(begun[name], tensor, rtol=1e-3, atol=1e-3)  # stored as float16
    assert load_weights(path).sha256 != ""
