"""`ssa-fast roofline`: the least time that a network can take on a device, layer by layer."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from typing import Any

import click

from ssa_fast import hardware
from ssa_fast.errors import ConfigError
from ssa_fast.model.bundle import read_bundle
from ssa_fast.model.roofline import Ceiling, LayerCost, Roofline, card_ceiling, network_roofline
from ssa_fast.model.spec import PRESETS, UNetConfig
from ssa_fast.pretrained import DEFAULT_BUNDLE, bundle_path

__all__ = ["command"]

_WIDTH = 100
_NO_TENSOR_CORES = """\
This card has no tensor cores (units for small matrix products). Libraries that go by its compute
capability, 7.5, emulate them and are slower in float16 than in float32: its float16 floor is for
programs that compute by packed pairs (HFMA2)."""


@click.command(short_help="The least time a network can take on a device.")
@click.option("--bundle", help=f"A shipped bundle's name, or a path to an .onnx file.  [default: {DEFAULT_BUNDLE}]")
@click.option("--preset", type=click.Choice(list(PRESETS)), help="A network by its name, instead of a bundle.")
@click.option(
    "--device",
    type=click.Choice([*hardware.CARDS, "this"]),
    default="this",
    show_default=True,
    help="A card by its vendor's figures, or this machine, measured now.",
)
@click.option("--shape", type=int, nargs=3, default=(128, 128, 128), show_default=True, help="Voxels, X Y Z.")
@click.option(
    "--target-ms",
    type=float,
    default=150.0,
    show_default=True,
    help="A time to judge: 150 is what the original project claims for a patch on a GTX 1650.",
)
@click.option("--json", "is_json", is_flag=True, help="Print JSON instead of the table.")
def command(
    bundle: str | None,
    preset: str | None,
    device: str,
    shape: tuple[int, int, int],
    target_ms: float,
    is_json: bool,
) -> None:
    """Show what each layer must compute (FLOP) and move (MB), and the least time that takes on a device.

    A floor is the longer of two times: the layer's arithmetic at the device's peak, and its arrays and weights read and
    written once at its memory's full speed. No program can be faster; good ones come to a multiple of it.
    """
    if not target_ms > 0:
        raise ConfigError(f"--target-ms {target_ms:g}: wanted a time above 0")
    name, config = _network(bundle, preset)
    roofline = network_roofline(config, shape, _ceiling(device))
    if is_json:
        click.echo(json.dumps(_as_json(name, roofline, target_ms), indent=2))
        return
    for line in _text(name, roofline, target_ms):
        click.echo(line)
    if device != "this" and not hardware.CARDS[device].has_tensor_cores:
        click.echo(_NO_TENSOR_CORES)


def _network(bundle: str | None, preset: str | None) -> tuple[str, UNetConfig]:
    if preset is not None:
        if bundle is not None:
            raise ConfigError("give --bundle or --preset, not both")
        return preset, PRESETS[preset]
    bundle = bundle or DEFAULT_BUNDLE
    spec = read_bundle(bundle_path(bundle)).spec
    return spec.name, spec.network


def _ceiling(device: str) -> Ceiling:
    if device == "this":
        from ssa_fast.doctor.ceiling import measured_ceiling

        return measured_ceiling()
    return card_ceiling(hardware.CARDS[device])


def _text(name: str, roofline: Roofline, target_ms: float) -> Iterator[str]:
    ceiling, precisions = roofline.ceiling, list(roofline.ceiling.peaks)
    peaks = ", ".join(f"{_operations(peak, precision)} in {precision}" for precision, peak in ceiling.peaks.items())
    yield f"{name}, one input of {' x '.join(map(str, roofline.shape))} voxels, on {ceiling.device}"
    yield f"peak    {peaks}; memory {ceiling.bandwidth / 1e9:.4g} GB/s"
    yield from textwrap.wrap(ceiling.source, _WIDTH, initial_indent="source  ", subsequent_indent="        ")
    yield ""
    names = "".join(f"{precision:>9}" for precision in precisions)
    gap = " " * len(names)
    yield f"{'':16}{'channels':>11}{'':>8}{'MB moved in':>{len(names)}}  {'floor in ms in':>{len(names)}}"
    yield f"{'layer':16}{'in > out':>11}{'GFLOP':>8}{names}  {names}"
    for layer in roofline.layers:
        yield _row(layer, roofline)
    totals = "".join(f"{roofline.total_floor_ms(precision):9.1f}" for precision in precisions)
    alone = "".join(f"{roofline.arithmetic_floor_ms(precision):9.1f}" for precision in precisions)
    yield f"{'sum':27}{roofline.flop / 1e9:8.1f}{gap}  {totals}"
    yield f"{'of it arithmetic at peak':35}{gap}  {alone}"
    yield "(m: limited by memory, all others by arithmetic)"
    yield ""
    for precision in precisions:
        yield _verdict(roofline, precision, target_ms)


def _row(layer: LayerCost, roofline: Roofline) -> str:
    precisions = list(roofline.ceiling.peaks)
    moved = "".join(f"{layer.bytes_moved(precision) / 1e6:9.1f}" for precision in precisions)
    floors = "".join(
        f"{roofline.floor_ms(layer, precision):8.2f}"
        f"{'m' if roofline.memory_ms(layer, precision) > roofline.arithmetic_ms(layer, precision) else ' '}"
        for precision in precisions
    )
    channels = f"{layer.inputs} > {layer.outputs}"
    return f"{layer.name:16}{channels:>11}{layer.flop / 1e9:8.2f}{moved}   {floors}".rstrip()


def _verdict(roofline: Roofline, precision: str, target_ms: float) -> str:
    share = roofline.share_of_peak(target_ms, precision)
    floor = max(roofline.arithmetic_floor_ms(precision), roofline.total_floor_ms(precision))
    end = "" if floor <= target_ms else f": out of reach, the floor is {floor:.0f} ms"
    return f"{target_ms:g} ms asks for {share:.{0 if share > 0.1 else 1}%} of the {precision} peak{end}"


def _operations(a_second: float, precision: str) -> str:
    prefix, scale = ("T", 1e12) if a_second >= 1e12 else ("G", 1e9)
    return f"{a_second / scale:.3g} {prefix}{'OP' if precision == 'int8' else 'FLOP'}/s"


def _as_json(name: str, roofline: Roofline, target_ms: float) -> dict[str, Any]:
    ceiling = roofline.ceiling
    return {
        "network": name,
        "shape": list(roofline.shape),
        "device": ceiling.device,
        "peaks_per_second": dict(ceiling.peaks),
        "bandwidth_bytes_per_second": ceiling.bandwidth,
        "source": ceiling.source,
        "layers": [
            {
                "name": layer.name,
                "inputs": layer.inputs,
                "outputs": layer.outputs,
                "flop": layer.flop,
                "bytes": {precision: layer.bytes_moved(precision) for precision in ceiling.peaks},
                "floor_ms": {precision: roofline.floor_ms(layer, precision) for precision in ceiling.peaks},
            }
            for layer in roofline.layers
        ],
        "sum": {
            precision: {
                "arithmetic_ms": roofline.arithmetic_floor_ms(precision),
                "floor_ms": roofline.total_floor_ms(precision),
                "share_of_peak_at_target": roofline.share_of_peak(target_ms, precision),
            }
            for precision in ceiling.peaks
        },
        "target_ms": target_ms,
    }
