"""Tables of where things come from: the shipped bundle, and the records themselves."""

from __future__ import annotations

from benchmarks.documents.records import Records, link, table
from ssa_fast.model.bundle import read_bundle
from ssa_fast.model.spec import gflop, parameter_count
from ssa_fast.pretrained import DEFAULT_BUNDLE, shipped_bundle

__all__ = ["bundle", "sources"]

_COMMANDS = {"cold-epyc-2-threads": "pytest benchmarks/bench_cold.py --benchmark-only"}  # benchmarks/README.md has it


def bundle(_records: Records, name: str = DEFAULT_BUNDLE) -> str:
    """What a shipped bundle says of itself."""
    shipped = read_bundle(shipped_bundle(name))
    spec = shipped.spec
    rows = [
        ("file", f"`ssa_fast/pretrained/{name}.onnx`, {shipped.path.stat().st_size:,} bytes"),
        ("SHA-256", f"`{shipped.sha256}`"),
        ("of the checkpoint it was made from", f"`{spec.parent}`"),
        ("network", f"channels {spec.network.words}"),
        ("parameters", f"{parameter_count(spec.network):,}"),
        ("arithmetic of a patch of 128^3", f"{gflop(spec.network, (128, 128, 128)):.1f} GFLOP"),
        ("input", ", ".join(spec.modalities)),
        ("preprocessing", spec.preprocessing),
        ("output", ", ".join(f"{value} {name}" for value, name in enumerate(spec.labels))),
        ("postprocessing", f"`{spec.postprocessing}`"),
        ("trained on", f"{len(spec.trained_cases)} cases: {spec.trained_on}"),
        ("scores that it carries", "; ".join(f"{name} {value}" for name, value in spec.scores.items())),
        ("proof of its export", str(shipped.parity)),
        ("licence of the weights", spec.licence),
    ]
    return table((f"of `{name}`", "it says"), rows)


def sources(records: Records) -> str:
    """Each record: what it holds, and the command that made it."""
    rows = []
    for name, record in records.items():
        command = record.get("command", _COMMANDS.get(name))
        rows.append((link(name), record.get("what"), f"`{command}`" if command else "not recorded"))
    return table(("record", "what", "command"), rows)
