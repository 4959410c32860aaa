"""Tables of what segmentations are worth."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import fmean

from benchmarks.documents.records import Record, Records, fixed, regions, table
from benchmarks.records import SHOWN_GROUP
from ssa_fast.labels import REGIONS

__all__ = [
    "by_case",
    "by_lesion",
    "checks",
    "cross_validated",
    "forms",
    "made_data",
    "norm_statistics",
    "norms",
    "original",
    "search",
    "search_groups",
    "search_long",
    "search_variants",
    "statistics",
    "unseen",
    "windows",
]

_DICE = "Dice WT / TC / ET"
_GROUPS = ("maximum about 10,000 held out", "about 1,000", "1,000 to 4,000", "mean of 15 cases")
_SEEDS = {42: "search-dice", 43: "search-seed-43"}  # of the search -> its record
_LOST_TUMOR = 0.5  # Dice of WT below which a case is counted as missed: what the search is not to do


def by_case(records: Records, record: str = "quality") -> str:
    """Each case by a shipped network, unseen ones first."""
    cases = records[record]["cases"]
    rows = [
        (name, "unseen" if case["unseen"] else "trained on", regions(case["dice"]["none"]), regions(case["dice"]["x"]))
        for name, case in sorted(cases.items(), key=lambda item: (not item[1]["unseen"], item[0]))
    ]
    for unseen, words in ((True, "unseen"), (False, "trained on")):
        some = [case["dice"] for case in cases.values() if case["unseen"] == unseen]
        means = [regions(_mean(dice[look] for dice in some)) for look in ("none", "x")]
        rows.append((f"**mean of {len(some)}**", words, *(f"**{mean}**" for mean in means)))
    return table(("case", "", _DICE, "the same, with `--mirror x`"), rows)


def unseen(records: Records) -> str:
    """The cases that the default network was not trained on, alone."""
    cases = {name: case["dice"]["none"] for name, case in records["quality-fast"]["cases"].items() if case["unseen"]}
    rows = [*cases.items(), ("mean", _mean(cases.values()))]
    return table(("case", "WT", "TC", "ET"), ((name, *(fixed(number, 2) for number in dice)) for name, dice in rows))


def by_lesion(records: Records, record: str = "lesions") -> str:
    """What each postprocessing profile does to scores by lesion and by voxel."""
    rows = []
    for group, words in (("unseen", "unseen"), ("trained_on", "trained on")):
        for profile, scores in records[record][group].items():
            columns = [
                regions({name: of[key] for name, of in scores.items()}, digits)
                for key, digits in (("lesion_dice", 3), ("lesion_hd95_mm", 0), ("false_alarms", 1), ("dice", 3))
            ]
            rows.append((f"`{profile}`", words, *columns))
    measures = ("lesion-wise Dice", "lesion-wise HD95, mm", "false alarms a case", "Dice of voxels")
    return table(("`--postprocess`", "cases", *measures), rows)


def windows(records: Records) -> str:
    """What a brain cut into windows costs."""
    lite = records["epyc-2-threads"]["windows"]
    rows = ((name, regions(dice), regions(lite[name])) for name, dice in records["whole-cases-fast"]["windows"].items())
    return table(("windows", f"`fast`: {_DICE}, mean of fold 0", "`lite`"), rows)


def forms(records: Records, name: str = "parity-epyc-2-threads") -> str:
    """A shipped bundle in other arithmetic, held against float32 in torch."""
    record = records[name]
    speeds = record["times_as_fast_as_float32_by_openvino_float32"]
    rows = []
    for form, parity in record["parity"].items():
        megabytes = record["bytes"][form.split()[0]] / 1e6
        agreement = f"{fixed(100 * parity['all']['label_agreement'], 3)} %"
        changes = [regions(parity[group]["dice_change"], 4) for group in ("all", "not_trained_on")]
        logits = fixed(parity["all"]["largest_logit_error"], 2)
        rows.append((form, f"{megabytes:.1f}", agreement, *changes, logits, fixed(speeds[form], 2)))
    errors = ("least equal labels", "mean Dice change", "on unseen cases", "largest logit error")
    return table(("form", "MB", *errors, "times as fast"), rows)


def norms(records: Records) -> str:
    """The same training with each norm, a kind of scanner held out at a time."""
    rows = []
    for norm, of in records["epyc-2-threads-norms"]["norms"].items():
        rows.append((norm, *(regions(of["groups"][group], 2) for group in "012"), regions(of["mean_over_15_cases"], 2)))
    return table(("norm", *_GROUPS), rows)


def statistics(records: Records) -> str:
    """Windows with other statistics of instance norm than their own."""
    networks = records["statistics"]["networks"]
    kinds = next(iter(networks.values()))
    rows = ((kind, *(regions(of[kind]) for of in networks.values())) for kind in kinds)
    return table(("statistics of", *networks), rows)


def norm_statistics(records: Records) -> str:
    """Whole brains normalized by other statistics than their own, level by level."""
    trainings = records["norm-statistics"]["trainings"]
    kinds = next(iter(trainings.values()))
    rows = []
    for kind in kinds:
        found = [of.get(kind) for of in trainings.values()]
        seen = (f"{regions(of['mean_dice'])} ({of['least_whole_tumor']:.2f})" if of else "" for of in found)
        rows.append((kind, *seen))
    return table(("statistics", *trainings), rows)


def made_data(records: Records) -> str:
    """Training on with and without data made of what is there."""
    rows = ((form, regions(of["mean_dice"])) for form, of in records["made-data"]["forms"].items())
    return table(("weights", f"{_DICE}, mean of fold 0"), rows)


def search(records: Records) -> str:
    """Every network of the search: what it costs beside `lite`, and its Dice after one short training."""
    trained = records["search-dice"]["networks"]
    rows = []
    for of in records["search-cost"]["rows"]:
        dice = trained.get(of["name"], {}).get("by_group", {}).get(SHOWN_GROUP)
        costs = (fixed(of["gflop_a_patch"], 0), fixed(of["gtx1650_ms_at_40_percent"], 0))
        times = (fixed(of[precision]["times_as_long_as_lite"], 2) for precision in ("bf16", "int8"))
        seen = (dice["updates"], regions(dice["mean_dice"])) if dice else (None, "not trained")
        rows.append((of["name"], *costs, *times, *seen))
    head = ("GFLOP a patch", "ms on a GTX 1650 at 40 % of its peak, PROJECTED")
    head += ("times as long as `lite`, bf16", "the same, int8", "updates")
    return table(("network", *head, f"mean {_DICE}"), rows)


def search_groups(records: Records) -> str:
    """The networks of the search that were trained with several kinds of scanner held out, from each seed."""
    rows = []
    for seed, record in _SEEDS.items():
        for name, of in records[record]["networks"].items():
            groups = of["by_group"]
            if len(groups) == 1:
                continue
            updates = ", ".join(str(scores["updates"]) for scores in groups.values())
            dice = (regions(groups[key]["mean_dice"]) if key in groups else "not trained" for key in "012")
            mean = regions(of["mean_over_cases"]) if "mean_over_cases" in of else ""
            lost = sum(_lost(scores) for scores in groups.values())
            rows.append((name, seed, updates, *dice, mean, lost))
    columns = (*(f"{_DICE}, {group}" for group in _GROUPS), f"cases with WT below {_LOST_TUMOR}")
    return table(("network", "seed", "updates", *columns), rows)


def cross_validated(records: Records) -> str:
    """The random folds of a short training, each held out in turn."""
    record = records["folds-fast"]
    rows = [(f"fold {fold}", regions(dice)) for fold, dice in record["folds"].items()]
    cases = record["cases"].values()
    over_cases = {region: fmean(dice[region] for dice in cases) for region in REGIONS}
    rows += [("**mean of folds**", regions(record["mean"])), (f"**mean of {len(cases)} cases**", regions(over_cases))]
    return table(("held out", _DICE), rows)


def search_variants(records: Records) -> str:
    """The short training of one network with intensities prepared in other ways, beside the z-score alone."""
    alone = {f"z-score alone, seed {seed}": records[record]["networks"]["lite-deep"] for seed, record in _SEEDS.items()}
    rows = []
    for name, of in (alone | records["search-variants"]["networks"]).items():
        scores = of["by_group"][SHOWN_GROUP]
        rows.append((name, scores["updates"], regions(scores["mean_dice"]), _lost(scores)))
    return table(("intensities", "updates", f"mean {_DICE}", f"cases with WT below {_LOST_TUMOR}"), rows)


def search_long(records: Records) -> str:
    """Networks on their way to the end of training, on the cases of fold 0."""
    parts = records["search-long"]["parts"].items()
    rows = ((name, of["updates"], of["of_whole_brains"], regions(of["mean_dice"])) for name, of in parts)
    return table(("network and part", "updates", "of them on whole brains", f"{_DICE}, mean of fold 0"), rows)


def original(records: Records) -> str:
    """The original project's recipe, whole."""
    record = records["epyc-2-threads-original"]
    whole = record["last_checkpoint_on_ten_whole_cases_of_other_scanners"]
    means = record["mean_dice_with_background"]
    rows = [
        ("hours of 25 epochs", fixed(record["hours"], 2)),
        ("peak memory, GB", fixed(record["peak_memory_bytes"] / 1e9, 2)),
        ("mean Dice of four classes, held-out patches, last epoch", fixed(means["last_epoch"], 3)),
        ("the same, best epoch, chosen by these patches", fixed(means["best_epoch"], 3)),
        (f"mean {_DICE}, ten whole cases of other scanners", regions(whole["mean_dice"])),
        ("the same, median", regions(whole["median_dice"])),
    ]
    return table(("of the recipe `original`", "measured"), rows)


def checks(records: Records) -> str:
    """How often the checks before inference found what was planted."""
    record = records["sanity"]
    rows = ((what, found, record["phantoms"][what]) for what, found in record["real"].items())
    return table(("planted", "found in real cases", "in phantoms"), rows)


def _lost(scores: Record) -> int:
    """Cases of a training whose tumour was missed."""
    return sum(case["WT"] < _LOST_TUMOR for case in scores["cases"].values())


def _mean(rows: Iterable[Iterable[float]]) -> list[float]:
    return [fmean(column) for column in zip(*rows, strict=True)]
