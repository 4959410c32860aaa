"""The loss, held against its definition in plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ssa_fast.train.config import LossConfig
from ssa_fast.train.losses import distillation_loss, mean_answer, segmentation_loss, soft_dice_loss


def _batch(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 4, 3, 4, 5, generator=generator)
    return logits, torch.randint(0, 4, (2, 3, 4, 5), generator=generator)


@pytest.mark.parametrize("seed", range(5))
def test_the_loss_is_its_definition(seed: int) -> None:
    logits, labels = _batch(seed)
    probabilities = np.exp(logits.double().numpy())
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    wanted = labels.numpy()
    picked = np.take_along_axis(probabilities, wanted[:, None], axis=1)
    dice = []
    for label in (1, 2, 3):
        for window in (0, 1):
            predicted, inside = probabilities[window, label], wanted[window] == label
            dice.append((2 * (predicted * inside).sum() + 1) / (predicted.sum() + inside.sum() + 1))
    expected = -np.log(picked).mean() + 1 - np.mean(dice)
    assert float(segmentation_loss(logits, labels, LossConfig())) == pytest.approx(expected, abs=1e-5)


def test_a_sure_and_right_answer_costs_nothing_and_a_wrong_one_much() -> None:
    _, labels = _batch(0)
    right = 50 * torch.nn.functional.one_hot(labels, 4).movedim(-1, 1).float()
    assert float(segmentation_loss(right, labels, LossConfig())) == pytest.approx(0, abs=1e-4)
    assert float(segmentation_loss(right.roll(1, dims=1), labels, LossConfig())) > 10


def test_a_label_that_is_absent_and_not_predicted_costs_nothing() -> None:
    labels = torch.zeros(1, 4, 4, 4, dtype=torch.int64)
    probabilities = torch.zeros(1, 4, 4, 4, 4)
    probabilities[:, 0] = 1
    assert float(soft_dice_loss(probabilities, labels)) == 0


def test_half_precision_logits_are_summed_in_float32() -> None:
    logits, labels = _batch(0)
    reduced = segmentation_loss(logits.bfloat16(), labels, LossConfig())
    assert reduced.dtype == torch.float32
    assert float(reduced) == pytest.approx(float(segmentation_loss(logits, labels, LossConfig())), rel=0.02)


def test_class_weights_are_those_of_torch_and_dice_may_be_left_out() -> None:
    logits, labels = _batch(0)
    weights = (0.1, 1.0, 2.0, 3.0)
    config = LossConfig(dice=0.0, cross_entropy=0.5, class_weights=weights)
    alone = [torch.nn.functional.cross_entropy(logits[[n]], labels[[n]], torch.tensor(weights)) for n in (0, 1)]
    wanted = 0.5 * (alone[0] + alone[1]) / 2
    assert float(segmentation_loss(logits, labels, config)) == pytest.approx(float(wanted), rel=1e-6)
    alone = segmentation_loss(logits, labels, LossConfig(cross_entropy=0.0))
    assert float(alone) == pytest.approx(float(soft_dice_loss(logits.softmax(dim=1), labels)), rel=1e-6)


def test_distillation_is_the_divergence_of_softened_probabilities() -> None:
    logits, _ = _batch(0)
    teacher, _ = _batch(1)
    ours, theirs = (np.exp(array.double().numpy() / 3) for array in (logits, teacher))
    ours, theirs = ours / ours.sum(axis=1, keepdims=True), theirs / theirs.sum(axis=1, keepdims=True)
    wanted = 9 * (theirs * np.log(theirs / ours)).sum(axis=1).mean()
    assert float(distillation_loss(logits, teacher, 3.0)) == pytest.approx(wanted, rel=1e-4)
    assert float(distillation_loss(teacher, teacher, 3.0)) == pytest.approx(0, abs=1e-6)


def test_teachers_answer_by_the_mean_of_their_softened_probabilities() -> None:
    answers = [_batch(seed)[0] for seed in range(3)]
    softened = [(answer.double() / 3).softmax(1) for answer in answers]
    given = mean_answer(iter(answers), 3.0)
    torch.testing.assert_close((given.double() / 3).softmax(1), torch.stack(softened).mean(0))
    assert mean_answer(iter(answers[:1]), 3.0) is answers[0]
