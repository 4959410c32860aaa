"""From a checkpoint to the bundle that every backend reads."""

from __future__ import annotations

import dataclasses
import json
import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from ssa_fast.backends import open_backend
from ssa_fast.backends.pytorch import PytorchBackend
from ssa_fast.config import to_mapping
from ssa_fast.export.parity import LIMITS, merged, parities, read_proofs
from ssa_fast.files import write_whole
from ssa_fast.model.bundle import PARITY, SPEC, Bundle, sealed
from ssa_fast.model.checkpoint import Checkpoint, network_of
from ssa_fast.model.parity import Parity
from ssa_fast.model.spec import ModelSpec, UNetConfig
from ssa_fast.model.unet import UNet, fold_batch_norm
from ssa_fast.volume.case import CaseFiles

__all__ = ["OPSET", "export_bundle", "onnx_graph"]

OPSET = 20
_AXES = ("batch", "x", "y", "z")


def export_bundle(
    checkpoint: Checkpoint, spec: ModelSpec, cases: Iterable[CaseFiles], path: Path, *, is_float16: bool = True
) -> Parity:
    """Write the bundle of a checkpoint's averaged weights, if it gives the same labels as they do on `cases`.

    `spec` is what the bundle will say of itself; its network and parent are taken from the checkpoint. Weights
    are stored as float16, rounded, with casts to float32, or as float32. The parity, against the checkpoint in torch
    eager float32 with norms not folded, is measured by ONNX Runtime on the file's own bytes.

    Raises ParityError, and writes nothing, if fewer than 99.9 % of a brain's labels agree, or the mean Dice of a region
    moves by more than 0.002 (weights in float32: 0.001); CaseError for a case that cannot be used.
    """
    network = network_of(checkpoint)
    folded = fold_batch_norm(network)
    spec = dataclasses.replace(spec, network=folded.config, parent=checkpoint.sha256)
    model = onnx_graph(folded, is_float16=is_float16)
    helper.set_model_props(model, {SPEC: spec.to_json()})

    reference = PytorchBackend(network, checkpoint.spec, torch.device("cpu"), "float32")
    unproven = Bundle(path=path, content=model.SerializeToString(deterministic=True), spec=spec, parity=None)
    candidate = open_backend("ort", unproven)
    limits = LIMITS["float16" if is_float16 else "float32"]
    proofs = read_proofs(cases, spec.divisor)
    with closing(candidate):
        parity = merged(list(parities(proofs, ("the checkpoint in torch float32", reference), candidate, limits)))
    parity.check("nothing was written")

    helper.set_model_props(model, {SPEC: spec.to_json(), PARITY: json.dumps(to_mapping(parity))})
    onnx.checker.check_model(model, full_check=True)
    write_whole(path, sealed(model.SerializeToString(deterministic=True)))
    return parity


def onnx_graph(network: UNet, *, is_float16: bool) -> onnx.ModelProto:
    """The ONNX graph of a network in evaluation mode: input `windows`, output `logits`, batch and space dynamic.

    The graph is traced with random weights and filled with the network's own after it: the exporter's
    optimizer merges initializers of equal value, and those of a fresh norm are all ones.
    """
    model = _traced(network.config)
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    initializers = {initializer.name: initializer for initializer in model.graph.initializer}
    assert weights.keys() <= initializers.keys(), sorted(weights.keys() - initializers.keys())
    casts = []
    for name, weight in weights.items():
        stored = weight.astype(np.float16) if is_float16 else weight
        initializers[name].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(stored), name))
        if is_float16:
            casts.append(
                helper.make_node("Cast", [name], [f"{name}.float32"], name=f"{name}.cast", to=TensorProto.FLOAT)
            )
    if is_float16:
        for node in model.graph.node:
            for place, source in enumerate(node.input):
                if source in weights:
                    node.input[place] = f"{source}.float32"
        nodes = list(model.graph.node)
        del model.graph.node[:]
        model.graph.node.extend(casts + nodes)
    return model


def _traced(config: UNetConfig) -> onnx.ModelProto:
    """The exporter's graph of a network with random weights, cleared of the exporter's notes."""
    stand_in = UNet(config).eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in stand_in.parameters():
        torch.nn.init.normal_(parameter, std=0.1, generator=generator)
    for buffer in stand_in.buffers():
        buffer.uniform_(0.5, 1.5, generator=generator)  # statistics
    edges = [config.divisor * factor for factor in (2, 3, 4)]  # unlike each other, so that no axis is taken for another
    windows = torch.zeros(2, config.modalities, *edges)
    free = torch.export.Dim.DYNAMIC
    with _quiet_exporter():
        program = torch.onnx.export(
            stand_in,
            (windows,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["windows"],
            output_names=["logits"],
            dynamic_shapes=({0: free, 2: free, 3: free, 4: free},),
            verbose=False,
        )
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    graph = model.graph
    for value, channels in ((graph.input[0], config.modalities), (graph.output[0], config.classes)):
        batch, x, y, z = _AXES
        value.CopyFrom(helper.make_tensor_value_info(value.name, TensorProto.FLOAT, [batch, channels, x, y, z]))
    _make_constants(graph, {initializer.name for initializer in graph.initializer} - stand_in.state_dict().keys())
    del graph.value_info[:]  # named by the tracer's symbols; engines infer them again
    for part in (model, graph, *graph.node):
        del part.metadata_props[:]
        part.doc_string = ""
    return model


def _make_constants(graph: onnx.GraphProto, names: set[str]) -> None:
    """Turn initializers that are no weights, such as group norm's shapes, into nodes: what is trained stays alone."""
    constants = [one for one in graph.initializer if one.name in names]
    nodes = [helper.make_node("Constant", [], [one.name], name=f"{one.name}.constant", value=one) for one in constants]
    for one in constants:
        graph.initializer.remove(one)
    nodes += [onnx.NodeProto.FromString(node.SerializeToString()) for node in graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Without the exporter's warnings: of torchvision, which is not needed, and of its own deprecations."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
