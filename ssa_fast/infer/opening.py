"""From names to what segments: a bundle or an engine, opened in a backend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from ssa_fast.backends import Backend, Choice, choose_backend, open_backend, open_engine
from ssa_fast.backends.manifest import is_engine, read_manifest
from ssa_fast.errors import ConfigError
from ssa_fast.infer.ensemble import Ensemble
from ssa_fast.infer.intake import Intake
from ssa_fast.infer.plan import Wish
from ssa_fast.infer.quality import Quality
from ssa_fast.infer.segmentation import Segmentation
from ssa_fast.infer.segmenter import Segmenter
from ssa_fast.model.bundle import read_bundle
from ssa_fast.pretrained import DEFAULT_BUNDLE, bundle_path
from ssa_fast.volume.case import Case, CaseFiles, find_cases, read_case

__all__ = ["Bundles", "Opened", "open_network", "open_segmenter", "segment"]

Bundles: TypeAlias = str | Path | Sequence[str | Path]
"""A shipped bundle's name, an .onnx file, or the folder of an engine; or several, whose probabilities are averaged."""


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A network in the backend that runs it, and what a record says of how it was chosen."""

    backend: Backend
    facts: Mapping[str, object]
    reason: str = ""  # why this backend, where it was left open


def open_network(
    bundle: Bundles = DEFAULT_BUNDLE,
    backend: str = "auto",
    precision: Choice = "auto",
    *,
    is_unproven_allowed: bool = False,
    cache: Path | None = None,
) -> Opened:
    """A network ready to run, or an ensemble of several. `cache` is a folder for what `open_backend` keeps.

    Raises what `read_bundle`, `open_backend`, `open_engine` and `Ensemble` raise; ConfigError for an engine of another
    backend or precision than is asked for, and where a bundle is named twice or none is.
    """
    paths = [bundle] if isinstance(bundle, (str, Path)) else list(bundle)
    if not paths or len({str(path) for path in paths}) < len(paths):
        raise ConfigError(f"bundles {', '.join(map(str, paths)) or 'none'}: name one or more, each once")
    with ExitStack() as unfinished:  # one that cannot be opened closes those before it
        opened = []
        for path in paths:
            opened.append(_open_one(path, backend, precision, cache, is_unproven_allowed=is_unproven_allowed))
            unfinished.enter_context(closing(opened[-1].backend))
        first = opened[0]
        if len(opened) == 1:
            together = first
        else:
            members = Ensemble([one.backend for one in opened])
            facts = {key: value for one in opened for key, value in one.facts.items()}  # chosen for all: they run alike
            for key in ("bundle_sha256", "engine_sha256"):
                facts[key] = [one.facts.get(key) for one in opened]
            together = Opened(
                backend=members, facts=facts, reason=next((one.reason for one in opened if one.reason), "")
            )
        unfinished.pop_all()
        return together


def _open_one(
    bundle: str | Path, backend: str, precision: Choice, cache: Path | None, *, is_unproven_allowed: bool
) -> Opened:
    path = Path(bundle)
    if is_engine(path):
        manifest = read_manifest(path)
        if backend not in ("auto", manifest.backend) or precision not in ("auto", manifest.precision):
            raise ConfigError(
                f"{path} is an engine for --backend {manifest.backend} in {manifest.precision}: leave both away"
            )
        facts = {"bundle_sha256": manifest.bundle_sha256, "engine_sha256": manifest.engine_sha256}
        return Opened(backend=open_engine(path, is_unproven_allowed=is_unproven_allowed), facts=facts)
    loaded = read_bundle(bundle_path(str(bundle)))
    if backend != "auto":
        return Opened(backend=open_backend(backend, loaded, precision, cache), facts={"bundle_sha256": loaded.sha256})
    chosen, reason = choose_backend()
    return Opened(
        backend=open_backend(chosen, loaded, precision, cache),
        facts={"bundle_sha256": loaded.sha256, "backend_chosen": f"{chosen}: {reason}"},
        reason=f"backend {chosen}: {reason}",
    )


@contextmanager
def open_segmenter(
    bundle: Bundles = DEFAULT_BUNDLE,
    backend: str = "auto",
    precision: Choice = "auto",
    wish: Wish | None = None,
    intake: Intake | None = None,
    quality: Quality | None = None,
) -> Iterator[Segmenter]:
    """A segmenter for many cases, closed in the end. Arguments and errors like `open_network` and `Segmenter`.

    Without an `intake` cases are checked and resampled as by default.
    """
    with closing(open_network(bundle, backend, precision).backend) as opened:
        yield Segmenter(opened, wish, intake=intake or Intake(), quality=quality)


def segment(
    case: str | Path | Case | CaseFiles,
    bundle: Bundles = DEFAULT_BUNDLE,
    backend: str = "auto",
    precision: Choice = "auto",
    *,
    probabilities: bool = False,
    quality: Quality | None = None,
) -> Segmentation:
    """The segmentation of one case: the folder of its files, or a case that was found or read.

    With `probabilities` it has those, too; `quality` asks for them and for more. For many cases take `open_segmenter`,
    which opens the network once. Raises what that does, CaseError for a case that cannot be used, ConfigError for a
    folder of several.
    """
    if isinstance(case, (str, Path)):
        found = find_cases([Path(case)])
        if len(found) > 1:
            raise ConfigError(f"{case} holds {len(found)} cases: segment them one by one, with open_segmenter")
        case = found[0]
    read = read_case(case, is_any_spacing=True) if isinstance(case, CaseFiles) else case
    quality = quality or Quality()
    if probabilities:
        quality = replace(quality, probabilities=True)
    with open_segmenter(bundle, backend, precision, quality=quality) as segmenter:
        return segmenter.segment(read)
