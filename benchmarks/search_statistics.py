"""A network trained with instance norm as one whose norms remember statistics: its weights, and those that it lacks.

python -m benchmarks.search_statistics RUN/last.safetensors best PREPARED --out OUT     # then: ssa-fast export OUT/...

Instance norm and those that remember are one in training, so nothing is learned anew: the statistics are the mean over
patches of the cases that it was trained on, drawn and augmented as in training. With a RECIPE whose network has no norm
at full resolution (full_norm = "none") they are used alone there and become the convolution's, and so can the
statistics be that a network with batch-instance norm has already; `--fit` then lets that block learn, on patches alike,
what it answered with its norm. Where the network is of a training run that held cases out, OUT has their scores, as a
run's folder has.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ssa_fast.config import to_mapping
from ssa_fast.errors import ConfigError
from ssa_fast.evaluate.training_run import is_training_run, read_training_run
from ssa_fast.model.blocks import GhostBatchNorm, Remembering
from ssa_fast.model.checkpoint import Checkpoint, load_weights, network_of
from ssa_fast.model.network import UNetConfig
from ssa_fast.model.unet import UNet, fold_norm
from ssa_fast.prepare.prepared import find_training_cases
from ssa_fast.train.augment import augment
from ssa_fast.train.config import TrainConfig, load_recipe
from ssa_fast.train.dataset import TrainingCase, draw_patch, load_training_case
from ssa_fast.train.group import Group
from ssa_fast.train.losses import distillation_loss
from ssa_fast.train.placement import Placement, choose_placement
from ssa_fast.train.records import write_info
from ssa_fast.train.run import Sources, open_run
from ssa_fast.train.splits import Split
from ssa_fast.train.state import LAST
from ssa_fast.train.statistics import take_mean_statistics
from ssa_fast.train.validate import open_scorer

__all__ = ["fit_last_block", "folded_at_full_resolution", "main", "with_statistics"]

_RATE = 1e-3  # of Adam


def with_statistics(trained: UNet, config: UNetConfig, patches: Iterable[Tensor]) -> UNet:
    """The network of `config` with the weights of `trained`, its statistics those of `patches`, (1, C, X, Y, Z) each.

    Raises ConfigError where the two differ in more than in what a norm remembers.
    """
    network = UNet(config)
    norms = {name: module for name, module in network.named_modules() if isinstance(module, Remembering)}
    lacking = {f"{name}.{statistics}" for name, norm in norms.items() for statistics, _ in norm.named_buffers()}
    weights = trained.state_dict()
    wanted = network.state_dict()
    if (
        not norms
        or wanted.keys() != weights.keys() | lacking
        or any(wanted[n].shape != weights[n].shape for n in weights)
    ):
        raise ConfigError(
            f"a network of {trained.config.words} is not one of {config.words} but for the statistics that a norm "
            "remembers"
        )
    network.load_state_dict(weights, strict=False)
    network.eval()
    take_mean_statistics(network, patches)
    return network


def folded_at_full_resolution(network: UNet) -> UNet:
    """The network with the remembered statistics alone in its block at full resolution, where it then needs no norm.

    Raises ConfigError where that block remembers none.
    """
    if network.full is None or not isinstance(network.full.norm, GhostBatchNorm):
        raise ConfigError(f"a network of {network.config.words} remembers no statistics at full resolution")
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    fold_norm(state, "full.norm", network.full.norm.eps)
    folded = UNet(dataclasses.replace(network.config, full_norm="none"))
    folded.load_state_dict(state)
    return folded.eval()


def fit_last_block(
    network: UNet, teacher: UNet, patches: Iterable[Tensor], updates: int, placement: Placement
) -> float:
    """Let the block at full resolution, and the head, answer as the teacher's do: a patch (1, C, X, Y, Z) an update.

    Before that block both are the same. Returns the last distance, the divergence of probabilities a voxel. Source:
    Hinton, Vinyals and Dean, arXiv:1503.02531.
    """
    assert network.full is not None
    for one in (network, teacher):
        placement.put(one)
    optimizer = torch.optim.Adam([*network.full.parameters(), *network.head.parameters()], lr=_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
    loss = torch.zeros(())
    for patch in islice(patches, updates):
        windows = placement.send(patch, is_image=True)
        with placement.autocast():
            with torch.no_grad():
                finest = network.decoded(windows)[0]
                wanted = teacher.logits_of(finest, windows)
            logits = network.logits_of(finest, windows)
        loss = distillation_loss(logits, wanted, temperature=1.0)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return float(loss.detach())


def _converted(
    trained: UNet, config: TrainConfig, patches: Iterator[Tensor], placement: Placement, *, count: int, updates: int
) -> UNet:
    """The network of a recipe, its statistics those of `count` patches or of batch-instance norm."""
    wanted = config.network
    if wanted.full_norm != "none":
        return with_statistics(trained, wanted, islice(patches, count))
    remembering = dataclasses.replace(wanted, full_norm="batch-instance")
    if trained.config != remembering:
        trained = with_statistics(trained, remembering, islice(patches, count))
    network = folded_at_full_resolution(trained)
    if updates:
        distance = fit_last_block(network, trained, patches, updates, placement)
        print(f"the last block was fitted: {distance:.4f} nats a voxel from what it answered with its norm")
    return network


def _augmented(cases: Sequence[TrainingCase], config: TrainConfig) -> Iterator[Tensor]:
    rng = np.random.default_rng(config.seed)
    while True:
        patch = draw_patch(cases, config, rng)
        yield augment(patch.array, patch.labels, config.augment, rng)[0][None].float()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", type=Path, help="a checkpoint or a bundle")
    parser.add_argument("recipe")
    parser.add_argument("cases", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    parser.add_argument("--patches", type=int, default=100, help="that the statistics are the mean of")
    parser.add_argument("--fit", type=int, default=0, metavar="UPDATES", help="of a last block without norm")
    asked = parser.parse_args()
    if (asked.out / LAST).exists():
        raise ConfigError(f"{asked.out}: holds a run: give a new folder")
    source, config = load_weights(asked.network), load_recipe(asked.recipe)
    if asked.fit and config.network.full_norm != "none":
        raise ConfigError(f"--fit is for a last block without norm: {asked.recipe} has {config.network.words}")
    found = find_training_cases(asked.cases)
    training = [files for files in found if files.name in source.spec.trained_cases]
    if not training:
        raise ConfigError(f"{asked.network}: was trained on none of the cases given: {source.spec.trained_on}")
    earlier = read_training_run(asked.network.parent) if is_training_run(asked.network.parent) else None
    if earlier is not None and asked.network.name != LAST:
        raise ConfigError(f"{asked.network}: scores are put in place of the last epoch's: give {LAST} of that run")
    held_out = [files for files in found if earlier is not None and files.name in earlier.held_out]
    placement = choose_placement(config, Group())
    patches = _augmented([load_training_case(files) for files in training], config)
    network = _converted(network_of(source), config, patches, placement, count=asked.patches, updates=asked.fit)
    spec = dataclasses.replace(source.spec, name=config.preset, network=config.network)
    tensors = {f"averaged.{name}": tensor for name, tensor in network.state_dict().items()}
    start = Checkpoint(spec=spec, tensors=tensors, facts={}, sha256=source.sha256)
    run = open_run(config, asked.out, Sources(start=start), placement)
    run.claim(Split(training=training, held_out=held_out))
    scorer = open_scorer(run, held_out, placement)
    if earlier is not None and scorer is not None:
        scores = scorer.score()
        run.epochs = [*earlier.epochs[:-1], {**earlier.epochs[-1], "held_out": to_mapping(scores)}]
        print(", ".join(f"{name} {dice:.3f}" for name, dice in scores.dice.items()))
    asked.out.mkdir(parents=True, exist_ok=True)
    run.save()
    write_info(asked.out, config, placement)
    print(f"wrote {run.path}")


if __name__ == "__main__":
    main()
