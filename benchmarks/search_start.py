"""First weights of a network of the search from a trained one of the same channels: it begins where that ended.

python -m benchmarks.search_start BUNDLE RECIPE PREPARED --out start.safetensors     # then: ssa-fast train --from it

What has one name and one shape in both is copied. Added convolutions begin by passing on their input. A block of fewer
convolutions is fitted to give what the trained one gives, on patches of the cases that this
was trained on and no other. Sources: Chen et al., "Net2Net", ICLR 2016 (deeper); Romero et al., "FitNets", ICLR 2015.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ssa_fast.errors import ConfigError
from ssa_fast.model.blocks import ConvBlock
from ssa_fast.model.checkpoint import Checkpoint, load_weights, network_of, save_checkpoint
from ssa_fast.model.network import UNetConfig
from ssa_fast.model.spec import ModelSpec
from ssa_fast.model.unet import UNet
from ssa_fast.prepare.prepared import find_training_cases
from ssa_fast.train.config import TrainConfig, load_recipe
from ssa_fast.train.dataset import TrainingCase, draw_patch, load_training_case

__all__ = ["copied", "fit_shorter", "main", "pass_on_in_longer"]

_DEPTHS = {"convolutions", "decoder_convolutions"}
_SEEN = 24  # patches that the spread of what a block gives is taken from
_RATE = 4e-3  # of Adam
_JITTER = 0.05  # of torch's own first weights, that added convolutions do not all learn the same


class _Watched:
    """What one block of a network was last given and gave, while it is watched."""

    def __init__(self, block: ConvBlock) -> None:
        self.given, self.gave = torch.empty(0), torch.empty(0)
        last = getattr(block, f"norm{_depth(block)}")
        self._hooks = [
            block.conv1.register_forward_hook(self._see_input),
            last.register_forward_hook(self._see_output),
        ]

    def close(self) -> None:
        """Watch no longer."""
        for hook in self._hooks:
            hook.remove()

    def _see_input(self, _module: nn.Module, inputs: tuple[Tensor, ...], _output: Tensor) -> None:
        self.given = inputs[0]

    def _see_output(self, _module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self.gave = functional.relu(output)


def copied(trained: UNet, config: UNetConfig) -> UNet:
    """A network of `config` with all that it has in common with the trained one.

    Raises ConfigError unless the two differ in depths alone.
    """
    for name in (field.name for field in dataclasses.fields(config)):
        theirs, ours = getattr(trained.config, name), getattr(config, name)
        if theirs != ours and name not in _DEPTHS:
            raise ConfigError(f"the trained network has {name} {theirs}, the recipe's {ours}: only depths may differ")
    if config.block != "double" or config.norm != "instance":
        raise ConfigError(f"{config.words}: only blocks without shortcuts in instance norm are begun so")
    network, known = UNet(config), trained.state_dict()
    state = {
        name: known[name] if name in known and known[name].shape == tensor.shape else tensor
        for name, tensor in network.state_dict().items()
    }
    network.load_state_dict(state)
    return network


@torch.no_grad()
def pass_on_in_longer(trained: UNet, network: UNet, patches: Iterable[Tensor]) -> None:
    """Let added convolutions pass on their input, its mean and deviation as they are on patches (1, C, X, Y, Z)."""
    pairs = [pair for pair in _pairs(trained, network) if _depth(pair[1]) > _depth(pair[0])]
    given: list[list[Tensor]] = [[] for _ in pairs]
    with ExitStack() as stack:
        watched = [stack.enter_context(closing(_Watched(block))) for block, _ in pairs]
        for patch in patches:
            trained(patch)
            for values, seen in zip(given, watched, strict=True):
                values.append(torch.stack([seen.gave.mean((0, 2, 3, 4)), seen.gave.std((0, 2, 3, 4))]))
    for (old, new), values in zip(pairs, given, strict=True):
        mean, deviation = torch.stack(values).mean(0)
        for number in range(_depth(old) + 1, _depth(new) + 1):
            weight = getattr(new, f"conv{number}").weight
            weight.mul_(_JITTER).add_(nn.init.dirac_(torch.empty_like(weight)))
            norm = getattr(new, f"norm{number}")  # undoes its own normalization
            norm.weight.copy_(deviation)
            norm.bias.copy_(mean)


def fit_shorter(trained: UNet, network: UNet, patches: Iterable[Tensor], updates: int) -> list[float]:
    """Fit each block that has fewer convolutions to give what the trained one gives, a patch (1, C, X, Y, Z) each time.

    Returns, for each such block, its last squared error as a share of the variance of what the trained one gave.
    """
    pairs = [pair for pair in _pairs(trained, network) if _depth(pair[1]) < _depth(pair[0])]
    for old, new in pairs:
        getattr(new, f"norm{_depth(new)}").load_state_dict(getattr(old, f"norm{_depth(old)}").state_dict())
    parameters = [parameter for _, new in pairs for parameter in new.parameters()]
    if not parameters:
        return []
    optimizer = torch.optim.Adam(parameters, lr=_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
    errors: list[Tensor] = []
    with ExitStack() as stack:
        watched = [stack.enter_context(closing(_Watched(old))) for old, _ in pairs]
        for patch in islice(patches, updates):
            with torch.no_grad():
                trained(patch)
            errors = [
                (new(seen.given) - seen.gave).square().mean() / seen.gave.var()
                for (_, new), seen in zip(pairs, watched, strict=True)
            ]
            optimizer.zero_grad()
            torch.stack(errors).sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return [float(error.detach()) for error in errors]


def _pairs(trained: UNet, network: UNet) -> list[tuple[ConvBlock, ConvBlock]]:
    """The blocks of both, a level after the other."""
    both = zip((*trained.encoder, *trained.decoder), (*network.encoder, *network.decoder), strict=True)
    pairs = []
    for old, new in both:
        assert isinstance(old, ConvBlock)
        assert isinstance(new, ConvBlock)
        pairs.append((old, new))
    return pairs


def _depth(block: ConvBlock) -> int:
    return sum(block.unit_lengths)


def _patches(cases: Sequence[TrainingCase], config: TrainConfig) -> Iterator[Tensor]:
    rng = np.random.default_rng(config.seed)
    while True:
        yield draw_patch(cases, config, rng).array[None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("recipe")
    parser.add_argument("cases", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--updates", type=int, default=200, help="of the blocks that are fitted")
    asked = parser.parse_args()
    source, config = load_weights(asked.bundle), load_recipe(asked.recipe)
    known = source.spec.trained_cases
    cases = [load_training_case(files) for files in find_training_cases(asked.cases) if files.name in known]
    if not cases:
        raise ConfigError(f"{asked.bundle}: was trained on {', '.join(known)}: none of them is among the cases given")
    torch.manual_seed(config.seed)
    trained = network_of(source)
    network = copied(trained, config.network)
    patches = _patches(cases, config)
    pass_on_in_longer(trained, network, islice(patches, _SEEN))
    for error in fit_shorter(trained, network, patches, asked.updates):
        print(f"fitted to within {error:.2f} of the variance of what the trained block gave")
    spec = ModelSpec(name=config.preset, network=config.network, window=config.patch, trained_on=source.spec.trained_on)
    tensors = {f"averaged.{name}": tensor for name, tensor in network.state_dict().items()}
    save_checkpoint(asked.out, Checkpoint(spec=spec, tensors=tensors, facts={}))
    print(f"wrote {asked.out}")


if __name__ == "__main__":
    main()
