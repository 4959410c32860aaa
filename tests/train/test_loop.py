"""The training loop: it learns, it resumes as if it had never stopped, it refuses what does not fit."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from ssa_fast.errors import CaseError, CheckpointError, ConfigError, NumericsError
from ssa_fast.model.checkpoint import Checkpoint, load_checkpoint, network_of, save_checkpoint
from ssa_fast.model.spec import PRESETS
from ssa_fast.train import loop
from ssa_fast.train.config import AugmentConfig, ExecutionConfig, PlateauConfig, TrainConfig
from ssa_fast.train.dataset import load_training_case
from ssa_fast.train.loop import train
from ssa_fast.train.progress import Progress
from ssa_fast.train.records import BAD_BATCH, INFO, STATS, HeldOutScores
from ssa_fast.train.run import Sources
from ssa_fast.train.schedule import cosine_rate
from ssa_fast.train.splits import Split
from ssa_fast.train.state import BEST, LAST, Run
from ssa_fast.train.validate import CaseScorer, PatchScorer
from ssa_fast.volume.case import CaseFiles, find_cases
from tests.cases import write_case
from tests.networks import random_checkpoint, tiny_checkpoint, tiny_config

MILD = AugmentConfig(affine=0.2, noise=0.2, blur=0.0, thick_slices=0.0, gamma=0.0, bias_field=0.0, drop_modality=0.0)
SHORT = TrainConfig(
    patch=(16, 16, 32),
    steps=6,
    warmup_steps=2,
    report_every=2,
    checkpoint_every=3,
    epoch_steps=4,
    precision="float32",
    augment=MILD,
)


@pytest.fixture(autouse=True)
def _tiny_networks(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """The loop is under test, not the network: `fast` is a thousandth of itself, but where a test must learn."""
    if "slow" not in request.keywords:
        monkeypatch.setitem(PRESETS, "fast", tiny_config())


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[CaseFiles]:
    folder = tmp_path_factory.mktemp("cases")
    for number in range(2):
        write_case(folder, f"Case-{number}", seed=number, shape=(32, 28, 36))
    return find_cases([folder])


def _split(cases: list[CaseFiles]) -> Split:
    return Split(training=cases[:1], held_out=cases[1:])


def _run(config: TrainConfig, cases: list[CaseFiles], out: Path) -> list[Progress]:
    reports: list[Progress] = []
    train(config, _split(cases), out, reports.append)
    return reports


def test_a_run_reports_validates_and_leaves_a_checkpoint_that_opens(cases: list[CaseFiles], tmp_path: Path) -> None:
    reports = _run(SHORT, cases, tmp_path)
    assert [report.step for report in reports] == [2, 4, 6]
    epochs = [report.epoch for report in reports]
    assert [epoch.epoch if epoch else None for epoch in epochs] == [None, 1, 2]
    assert epochs[-1] is not None
    assert epochs[-1].held_out is not None
    assert set(epochs[-1].held_out.dice) == {"background", "NCR", "ED", "ET", "WT", "TC"}
    assert [report.overlay is not None for report in reports] == [False, True, True]
    assert reports[-1].seconds_left == 0
    assert all(report.pace.patches_per_second > 0 for report in reports)
    checkpoint = load_checkpoint(tmp_path / LAST)
    assert checkpoint.spec.trained_on == "Case-0"
    assert checkpoint.facts["step"] == 6
    stats = (tmp_path / STATS).read_text()
    assert json.loads(stats) == checkpoint.facts["epochs"]
    assert len(stats.splitlines()) == 2 + 2  # brackets, and a line an epoch
    assert json.loads((tmp_path / INFO).read_text())["network"] == "fast"
    network_of(checkpoint)


MADE_UP = dataclasses.replace(MILD, intensity_map=0.5, transplant=0.5, synthesis=0.5)


@pytest.mark.parametrize("augmented", [MILD, MADE_UP], ids=["mild", "made up"])
def test_a_resumed_run_ends_where_an_unbroken_one_does(
    cases: list[CaseFiles], tmp_path: Path, augmented: AugmentConfig
) -> None:
    config = dataclasses.replace(SHORT, augment=augmented)
    _run(config, cases, tmp_path / "whole")
    reports: list[Progress] = []
    outcome = train(
        config,
        _split(cases),
        tmp_path / "broken",
        reports.append,
        is_stopped=lambda: bool(reports and reports[-1].step == 4),
    )
    assert (outcome.began_at, outcome.step, outcome.steps) == (0, 4, 6)
    assert load_checkpoint(tmp_path / "broken" / LAST).facts["step"] == 4
    assert [report.step for report in _run(config, cases, tmp_path / "broken")] == [6]
    whole, broken = (load_checkpoint(tmp_path / name / LAST) for name in ("whole", "broken"))
    assert whole.tensors.keys() == broken.tensors.keys()
    for name, tensor in whole.tensors.items():
        assert torch.equal(broken.tensors[name], tensor), name


def test_a_run_goes_on_in_the_way_that_it_began_to_compute(cases: list[CaseFiles], tmp_path: Path) -> None:
    contiguous = ExecutionConfig(precision="float32", layout="contiguous", is_compiled=False)
    config = dataclasses.replace(SHORT, execution=contiguous)
    _run(config, cases, tmp_path / "whole")
    stops = iter([False, False, True])
    train(config, _split(cases), tmp_path / "broken", lambda _: None, is_stopped=lambda: next(stops))
    _run(SHORT, cases, tmp_path / "broken")  # the cache is gone, say
    whole, broken = (load_checkpoint(tmp_path / name / LAST) for name in ("whole", "broken"))
    assert broken.facts["config"] == whole.facts["config"]
    for name, tensor in whole.tensors.items():
        assert torch.equal(broken.tensors[name], tensor), name
    assert json.loads((tmp_path / "broken" / INFO).read_text())["layout"] == "contiguous_format"


def test_a_checkpoint_from_before_ways_were_measured_is_gone_on_with(cases: list[CaseFiles], tmp_path: Path) -> None:
    stops = iter([False, False, True])
    train(SHORT, _split(cases), tmp_path, lambda _: None, is_stopped=lambda: next(stops))
    checkpoint = load_checkpoint(tmp_path / LAST)
    config = dict(checkpoint.facts["config"])
    for name in ("layout", "compile", "execution"):
        del config[name]
    save_checkpoint(tmp_path / LAST, dataclasses.replace(checkpoint, facts={**checkpoint.facts, "config": config}))
    measured = ExecutionConfig(precision="float32", layout="contiguous", is_compiled=False)
    _run(dataclasses.replace(SHORT, execution=measured), cases, tmp_path)
    assert load_checkpoint(tmp_path / LAST).facts["config"]["execution"] is None


def test_an_exception_in_the_middle_of_a_step_saves_no_half_of_it(cases: list[CaseFiles], tmp_path: Path) -> None:
    _run(SHORT, cases, tmp_path / "whole")
    updates: list[int] = []

    def interrupt(*_: object) -> None:
        updates.append(1)
        if len(updates) == 5:
            raise KeyboardInterrupt

    hook = register_optimizer_step_post_hook(interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            _run(SHORT, cases, tmp_path / "broken")
    finally:
        hook.remove()
    assert load_checkpoint(tmp_path / "broken" / LAST).facts["step"] == 4
    _run(SHORT, cases, tmp_path / "broken")
    whole, broken = (load_checkpoint(tmp_path / name / LAST) for name in ("whole", "broken"))
    for name, tensor in whole.tensors.items():
        assert torch.equal(broken.tensors[name], tensor), name


def test_batch_norm_is_estimated_again_before_scores_and_after_a_kill_between(
    cases: list[CaseFiles], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = dataclasses.replace(SHORT, norm="batch", reestimate=True, supervised_levels=1)
    _run(config, cases, tmp_path / "whole")
    _run(dataclasses.replace(config, reestimate=False), cases, tmp_path / "never")
    with monkeypatch.context() as patched:
        patched.setattr(CaseScorer, "score", lambda scorer: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            _run(config, cases, tmp_path / "killed")
    _run(config, cases, tmp_path / "killed")
    whole, never, killed = (load_checkpoint(tmp_path / name / LAST).tensors for name in ("whole", "never", "killed"))
    name = "averaged.encoder.0.norm1.running_mean"
    assert not torch.equal(whole[name], never[name])
    assert torch.equal(whole["averaged.head.weight"], never["averaged.head.weight"])
    for name, tensor in whole.items():
        assert torch.equal(killed[name], tensor), name


def test_an_epoch_that_was_killed_while_it_was_scored_is_told_of_when_the_run_goes_on(
    cases: list[CaseFiles], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(CaseScorer, "score", lambda scorer: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            _run(SHORT, cases, tmp_path)
    assert caplog.messages == []
    _run(SHORT, cases, tmp_path)
    scores = json.loads((tmp_path / STATS).read_text())[0]["held_out"]["dice"]
    dice = "  ".join(f"{region} {scores[region]:.3f}" for region in ("WT", "TC", "ET"))
    assert caplog.messages == [f"epoch 1 is scored only now, the run was stopped while it was: Dice {dice}"]


def test_a_stopped_epoch_gets_the_line_of_an_unbroken_one(cases: list[CaseFiles], tmp_path: Path) -> None:
    _run(SHORT, cases, tmp_path / "whole")
    stops = iter([False, False, False, True])
    train(SHORT, _split(cases), tmp_path / "broken", lambda _: None, is_stopped=lambda: next(stops))
    _run(SHORT, cases, tmp_path / "broken")
    whole, broken = (json.loads((tmp_path / name / STATS).read_text()) for name in ("whole", "broken"))
    for line in (*whole, *broken):
        for key in ("seconds", "peak_memory_bytes", "patches_per_second", "share_of_peak"):
            assert line.pop(key) > 0
    assert broken == whole


def test_the_best_checkpoint_is_that_of_the_epoch_with_the_highest_scores(
    cases: list[CaseFiles], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice = iter([0.3, 0.6, 0.5])

    def score(_: object) -> HeldOutScores:
        table = dict.fromkeys(("background", "NCR", "ED", "ET", "WT", "TC"), next(dice))
        return HeldOutScores(dice=table, precision=table, recall=table)

    monkeypatch.setattr(CaseScorer, "score", score)
    _run(dataclasses.replace(SHORT, epoch_steps=2), cases, tmp_path)
    assert load_checkpoint(tmp_path / BEST).facts["step"] == 4
    assert load_checkpoint(tmp_path / LAST).facts["step"] == 6
    assert load_checkpoint(tmp_path / LAST).facts["best"] == 0.6


def test_two_accumulated_batches_are_one_of_twice_the_size(cases: list[CaseFiles], tmp_path: Path) -> None:
    config = dataclasses.replace(SHORT, steps=3)
    _run(dataclasses.replace(config, batch=2), cases, tmp_path / "batch")
    _run(dataclasses.replace(config, accumulate=2), cases, tmp_path / "accumulate")
    batch, accumulate = (load_checkpoint(tmp_path / name / LAST) for name in ("batch", "accumulate"))
    for name, tensor in batch.tensors.items():
        if name.endswith("exp_avg"):  # the gradients: AdamW's updates would hide their scale
            torch.testing.assert_close(
                accumulate.tensors[name], tensor, rtol=0.05, atol=0.02 * float(tensor.abs().max())
            )


def test_the_rate_is_cut_when_held_out_patches_get_no_better_and_a_resumed_run_knows(
    cases: list[CaseFiles], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plateau = PlateauConfig(factor=0.5, patience=0)
    config = dataclasses.replace(
        SHORT,
        schedule="plateau",
        plateau=plateau,
        warmup_steps=0,
        epoch_steps=2,
        held_out="patches",
        held_out_patches=1,
    )
    score = PatchScorer.score
    monkeypatch.setattr(PatchScorer, "score", lambda self: dataclasses.replace(score(self), loss=1.0))
    reports = _run(config, cases, tmp_path)
    assert [report.learning_rate for report in reports] == [1e-3, 1e-3, 5e-4]  # the second epoch was no better
    (report,) = _run(dataclasses.replace(config, steps=8), cases, tmp_path)
    assert report.learning_rate == 2.5e-4


def test_a_run_goes_on_after_epochs_that_knew_nothing_of_the_machine(cases: list[CaseFiles], tmp_path: Path) -> None:
    _run(SHORT, cases, tmp_path)
    old = load_checkpoint(tmp_path / LAST)
    for epoch in old.facts["epochs"]:
        for key in ("patches_per_second", "share_of_peak", "gpu_utilization", "gpu_memory_bytes"):
            del epoch[key]
    save_checkpoint(tmp_path / LAST, old)
    _run(dataclasses.replace(SHORT, steps=8), cases, tmp_path)
    lines = json.loads((tmp_path / STATS).read_text())
    assert [line.get("patches_per_second", 0) > 0 for line in lines] == [False, False, True]


def test_a_finished_run_is_not_run_again(cases: list[CaseFiles], tmp_path: Path) -> None:
    _run(SHORT, cases, tmp_path)
    assert _run(SHORT, cases, tmp_path) == []


def test_more_steps_may_be_asked_for_but_no_other_change(cases: list[CaseFiles], tmp_path: Path) -> None:
    _run(SHORT, cases, tmp_path)
    assert [report.step for report in _run(dataclasses.replace(SHORT, steps=8), cases, tmp_path)] == [8]
    with pytest.raises(CheckpointError, match="was trained with another learning_rate, augment"):
        _run(dataclasses.replace(SHORT, learning_rate=0.1, augment=AugmentConfig()), cases, tmp_path)


@pytest.mark.slow
def test_a_network_learns_one_case(cases: list[CaseFiles], tmp_path: Path) -> None:
    config = dataclasses.replace(
        SHORT,
        preset="lite",
        steps=60,
        report_every=20,
        epoch_steps=60,
        learning_rate=3e-3,
        ema_decay=0.8,
        tumor_share=1.0,
    )
    bright = _with_bright_tumor(cases[0], tmp_path / "bright")
    reports: list[Progress] = []
    train(config, Split(training=[bright], held_out=[bright]), tmp_path / "run", reports.append)
    assert reports[-1].loss < 0.85 * reports[0].loss
    assert reports[-1].epoch is not None
    assert reports[-1].epoch.held_out is not None
    assert reports[-1].epoch.held_out.dice["WT"] > 0.7


def _with_bright_tumor(files: CaseFiles, folder: Path) -> CaseFiles:
    """A copy of a synthetic case whose tumor can be told from its brain in every modality."""
    reference = np.asarray(nibabel.load(files.one("seg")).dataobj).astype(np.float64)
    for kind, (path,) in files.found.items():
        image = nibabel.load(path)
        values = np.asarray(image.dataobj)
        brighter = values + (800 * reference if kind != "seg" else 0)
        (folder / files.name).mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(brighter.astype(values.dtype), image.affine), folder / files.name / path.name)
    return find_cases([folder])[0]


def test_a_new_run_begins_with_the_averaged_weights_of_another(cases: list[CaseFiles], tmp_path: Path) -> None:
    _run(SHORT, cases, tmp_path / "first")
    first = load_checkpoint(tmp_path / "first" / LAST)
    still = dataclasses.replace(SHORT, steps=1, learning_rate=1e-12, weight_decay=0.0)
    train(still, Split(training=cases[:1]), tmp_path / "second", lambda progress: None, Sources(start=first))
    second = load_checkpoint(tmp_path / "second" / LAST)
    assert second.facts["started_from"] == first.sha256
    for name, tensor in network_of(first).state_dict().items():
        torch.testing.assert_close(network_of(second).state_dict()[name], tensor, rtol=1e-4, atol=1e-6, msg=name)


def test_a_bundle_has_no_last_norm_and_is_trained_on_without_one(
    cases: list[CaseFiles], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preset = dataclasses.replace(tiny_config(), full_norm="ghost-batch")
    monkeypatch.setitem(PRESETS, "fast", preset)
    split, folded = Split(training=cases[:1]), Sources(start=random_checkpoint(preset.folded))
    train(SHORT, split, tmp_path, lambda progress: None, folded)
    longer = dataclasses.replace(SHORT, steps=8)
    assert train(longer, split, tmp_path, lambda progress: None).began_at == 6
    assert load_checkpoint(tmp_path / LAST).spec.network == preset.folded
    normed = dataclasses.replace(SHORT, full_norm="ghost-batch")
    with pytest.raises(CheckpointError, match="a recipe with full_norm = 'none' goes on"):
        train(normed, split, tmp_path / "other", lambda progress: None, folded)
    train(SHORT, split, tmp_path / "new", lambda progress: None)
    assert load_checkpoint(tmp_path / "new" / LAST).spec.network == preset
    monkeypatch.setitem(PRESETS, "reference", tiny_config(stem="none"))
    other = dataclasses.replace(SHORT, preset="reference")
    with pytest.raises(CheckpointError, match="was trained with another preset"):
        train(other, split, tmp_path, lambda progress: None)
    stemless = Sources(start=tiny_checkpoint(stem="none"))
    assert train(other, split, tmp_path / "stemless", lambda progress: None, stemless).step == 6


def test_a_run_is_not_gone_on_with_on_other_cases(cases: list[CaseFiles], tmp_path: Path) -> None:
    _run(SHORT, cases, tmp_path)
    with pytest.raises(CheckpointError, match="other cases"):
        train(
            dataclasses.replace(SHORT, steps=8),
            Split(training=cases[1:], held_out=cases[:1]),
            tmp_path,
            lambda progress: None,
        )


def test_weights_that_have_seen_a_held_out_case_cannot_be_begun_with(cases: list[CaseFiles], tmp_path: Path) -> None:
    _run(SHORT, cases, tmp_path / "first")
    first = load_checkpoint(tmp_path / "first" / LAST)
    with pytest.raises(ConfigError, match="were trained on Case-0"):
        train(
            SHORT,
            Split(training=cases[1:], held_out=cases[:1]),
            tmp_path / "second",
            lambda progress: None,
            Sources(start=first),
        )


def test_a_run_that_is_gone_on_with_still_knows_what_its_first_weights_have_seen(
    cases: list[CaseFiles], tmp_path: Path
) -> None:
    _run(SHORT, cases, tmp_path / "first")
    first = load_checkpoint(tmp_path / "first" / LAST)
    train(SHORT, Split(training=cases[1:]), tmp_path / "second", lambda progress: None, Sources(start=first))
    longer, split = dataclasses.replace(SHORT, steps=8), Split(training=cases[1:], held_out=cases[:1])
    with pytest.raises(ConfigError, match="were trained on Case-0"):
        train(longer, split, tmp_path / "second", lambda progress: None)


def test_a_diverged_run_keeps_its_last_good_checkpoint(
    cases: list[CaseFiles], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _run(SHORT, cases, tmp_path)
    before = (tmp_path / LAST).read_bytes()
    monkeypatch.setattr(loop, "supervised_loss", lambda logits, labels, config: logits[0].sum() * float("nan"))
    with pytest.raises(NumericsError, match=r"the loss is nan at step 7 \(Case-0 around voxel .*bad_batch.npz has"):
        _run(dataclasses.replace(SHORT, steps=8), cases, tmp_path)
    training = [load_training_case(cases[0])]
    (drawn,) = loop._draw_patches(training, SHORT, 6, [0])
    with np.load(tmp_path / BAD_BATCH) as batch:
        np.testing.assert_array_equal(batch["patches"][0], drawn.array)
        np.testing.assert_array_equal(batch["labels"][0], drawn.labels)
        assert list(batch["cases"]) == ["Case-0"]
        assert batch["centers"].tolist() == [list(drawn.center)]
    assert (tmp_path / LAST).read_bytes() == before


def test_a_loss_that_is_nan_is_found_before_the_next_save_whatever_the_weights_are(
    cases: list[CaseFiles], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = loop.update

    def skipped(run: Run, *rest: Any) -> torch.Tensor:  # as under fp16: the weights stay finite
        loss = update(run, *rest)
        return loss * float("nan") if run.step == 2 else loss

    monkeypatch.setattr(loop, "update", skipped)
    config = dataclasses.replace(SHORT, report_every=6, epoch_steps=6, checkpoint_every=3)
    with pytest.raises(NumericsError, match="the loss is nan at step 2"):
        _run(config, cases, tmp_path)
    assert not (tmp_path / LAST).exists()


def test_what_was_learned_is_not_lost_when_scoring_fails(
    cases: list[CaseFiles], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _run(SHORT, cases, tmp_path / "whole")
    score = CaseScorer.score
    failures = iter([CaseError("the disk was pulled out")])

    def fail_once(scorer: CaseScorer) -> HeldOutScores:
        for error in failures:
            raise error
        return score(scorer)

    monkeypatch.setattr(CaseScorer, "score", fail_once)
    with pytest.raises(CaseError, match="pulled out"):
        _run(SHORT, cases, tmp_path / "broken")
    assert load_checkpoint(tmp_path / "broken" / LAST).facts["step"] == 4
    _run(SHORT, cases, tmp_path / "broken")
    whole, broken = (load_checkpoint(tmp_path / name / LAST) for name in ("whole", "broken"))
    assert [epoch["step"] for epoch in broken.facts["epochs"]] == [4, 6]
    assert [epoch["loss"] for epoch in broken.facts["epochs"]] == [epoch["loss"] for epoch in whole.facts["epochs"]]
    for name, tensor in whole.tensors.items():
        assert torch.equal(broken.tensors[name], tensor), name


def test_a_run_is_scored_on_the_same_cases_to_its_end(cases: list[CaseFiles], tmp_path: Path) -> None:
    _run(SHORT, cases, tmp_path)
    longer = dataclasses.replace(SHORT, steps=8)
    with pytest.raises(CheckpointError, match="were scored on Case-1, not on none: hold out the same"):
        train(longer, Split(training=cases[:1]), tmp_path, lambda _: None)


def test_what_a_killed_save_left_is_removed(cases: list[CaseFiles], tmp_path: Path) -> None:
    left = tmp_path / ".last.safetensors.4711.partial"
    left.write_bytes(b"half")
    _run(dataclasses.replace(SHORT, steps=1), cases, tmp_path)
    assert not left.exists()


def test_the_gradient_is_clipped_the_rate_followed_and_the_weights_averaged(
    cases: list[CaseFiles], tmp_path: Path
) -> None:
    reports = _run(SHORT, cases, tmp_path / "plain")
    rates = [cosine_rate(SHORT, report.step - 1) for report in reports]
    assert [report.learning_rate for report in reports] == pytest.approx(rates)
    assert len(set(rates)) == 3
    plain = load_checkpoint(tmp_path / "plain" / LAST).tensors
    assert any(not torch.equal(plain[f"averaged.{name}"], plain[f"network.{name}"]) for name in _names(plain))
    _run(dataclasses.replace(SHORT, ema_decay=0.0), cases, tmp_path / "last")
    last = load_checkpoint(tmp_path / "last" / LAST).tensors
    assert all(torch.equal(last[f"averaged.{name}"], last[f"network.{name}"]) for name in _names(last))
    _run(dataclasses.replace(SHORT, gradient_clip=1e-3), cases, tmp_path / "clipped")
    clipped = load_checkpoint(tmp_path / "clipped" / LAST).tensors
    moments = [tensor.norm() for name, tensor in clipped.items() if name.endswith("exp_avg")]
    assert torch.stack(moments).norm() <= 1e-3


def _names(tensors: Mapping[str, torch.Tensor]) -> list[str]:
    return [name.removeprefix("network.") for name in tensors if name.startswith("network.")]


def test_weights_that_are_nan_are_not_saved_whatever_the_loss_was(
    cases: list[CaseFiles], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _run(SHORT, cases, tmp_path)
    before = (tmp_path / LAST).read_bytes()
    # the loss is finite, its gradient is not: 0 * inf
    monkeypatch.setattr(loop, "supervised_loss", lambda logits, labels, config: (logits[0] * 0).sum().abs().sqrt())
    with pytest.raises(
        NumericsError, match="holds NaN or infinity at step 7: lower learning_rate; the last checkpoint"
    ):
        _run(dataclasses.replace(SHORT, steps=7), cases, tmp_path)
    assert (tmp_path / LAST).read_bytes() == before


GHOST = dataclasses.replace(tiny_config(), full_norm="ghost-batch")
MINE = {"preset": "mine", "architecture": tiny_config(), "norm": "preset"}
FOREIGN: dict[str, tuple[dict[str, Any], Checkpoint, str]] = {
    "no preset": ({}, tiny_checkpoint(norm="batch"), "give the same preset and norm"),
    "another preset": ({}, tiny_checkpoint(stem="none"), r"this run trains 'fast' .*: give --preset lite$"),
    "another preset's bundle": ({}, random_checkpoint(GHOST.folded), "give --preset ghost$"),
    "a bundle with a block that the preset has not": (
        {"preset": "lite"},
        random_checkpoint(GHOST.folded),
        "give --preset ghost$",
    ),
    "the preset with a norm of the recipe's": (
        {"preset": "ghost", "full_norm": "none"},
        random_checkpoint(GHOST),
        "a recipe with full_norm = 'ghost-batch' goes on from it, in another --out$",
    ),
    "a preset, for a recipe with a network of its own": (
        MINE,
        tiny_checkpoint(stem="none"),
        r"this run trains 'mine' .*: give the same preset and norm",
    ),
    "the bundle of a network of one's own": (
        {**MINE, "architecture": GHOST},
        random_checkpoint(GHOST.folded),
        r"an \[architecture\] with full_norm = 'none' goes on from it",
    ),
}


@pytest.mark.parametrize(("changes", "start", "words"), FOREIGN.values(), ids=FOREIGN)
def test_weights_of_another_network_cannot_be_begun_with(
    changes: dict[str, Any],
    start: Checkpoint,
    words: str,
    cases: list[CaseFiles],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(PRESETS, "lite", tiny_config(stem="none"))
    monkeypatch.setitem(PRESETS, "fast", dataclasses.replace(tiny_config(), channels=(4, 6, 6)))
    monkeypatch.setitem(PRESETS, "ghost", GHOST)
    config = dataclasses.replace(SHORT, **changes)
    with pytest.raises(CheckpointError, match=words):
        train(config, Split(training=cases[:1]), tmp_path / "run", lambda progress: None, Sources(start=start))
    assert not (tmp_path / "run").exists()


def test_training_without_cases_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no case is left"):
        train(SHORT, Split(training=[]), tmp_path, lambda progress: None)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA GPU: fp16 is fine")
def test_fp16_on_a_cpu_is_refused(cases: list[CaseFiles], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs a CUDA GPU"):
        _run(dataclasses.replace(SHORT, precision="fp16"), cases, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.gpu
def test_a_gpu_trains_in_its_own_precision(cases: list[CaseFiles], tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA GPU")
    assert _run(dataclasses.replace(SHORT, precision="auto"), cases, tmp_path)[-1].step == 6
