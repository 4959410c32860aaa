"""The weights of a bundle in plain torch, as the peers run them: eager, float32, contiguous, batch norm folded."""

from __future__ import annotations

import numpy as np
import torch

from ssa_fast.model.bundle import Bundle
from ssa_fast.model.unet import UNet

__all__ = ["network_of"]


def network_of(bundle: Bundle) -> UNet:
    """The network of a float32 bundle, in evaluation mode."""
    network = UNet(bundle.spec.network)
    network.load_state_dict(
        {name: torch.from_numpy(array.astype(np.float32)) for name, array in bundle.weights().items()}
    )
    return network.eval()
