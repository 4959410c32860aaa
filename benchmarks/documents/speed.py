"""Tables of what segmentations and training cost, accuracy beside it where the record has it."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.documents.records import Record, Records, fixed, link, regions, table

__all__ = [
    "cohorts",
    "cold",
    "layers",
    "memory",
    "peaks",
    "peers",
    "ratios",
    "rewrites",
    "search_cohort",
    "seconds",
    "training",
    "whole_cases",
]

_LEAST_SHOWN = 0.02  # of a network's time


def seconds(records: Records) -> str:
    """Files to files, by earlier bundles of `lite`, one case after the other."""
    rows = []
    for name in ("epyc-2-threads", "xeon-2-threads"):
        for of in records[name]["backends"].values():
            dice = of.get("fold_0_mean_dice") or records[name]["fold_0_mean_dice"]
            rows.append((of["device"], _spread(of), of["median_network_seconds"], of["peak_memory_gb"], regions(dice)))
    head = ("by", "seconds a case, median (range)", "of it the network", "peak GB", "fold 0, mean Dice WT / TC / ET")
    return table(head, rows)


def whole_cases(records: Records) -> str:
    """The command over all cases, in every form."""
    rows = []
    for form, of in records["whole-cases-fast"]["backends"].items():
        backend, precision = form.split("-")
        rows.append((f"`{backend}` {precision}", _spread(of), of["peak_memory_gb"], regions(of["unseen_mean_dice"])))
    head = ("by", "seconds a case, median (range) of calls", "peak GB", "fold 0, mean Dice WT / TC / ET")
    return table(head, rows)


def cohorts(records: Records) -> str:
    """The command over all cases, beside the network alone."""
    rows = []
    for record in _of(records, "cohort-"):
        for form, of in record["forms"].items():
            capped = of["with_max_ram_1GB"]
            rows.append(
                (
                    f"`{record['network']}` {form}",
                    of["cases"],
                    of["seconds_a_case"],
                    of["times_the_network"]["median"],
                    of["peak_memory_gb"],
                    capped["peak_memory_gb"],
                    max(capped["windows_a_case"]),
                )
            )
    limited = ("with `--max-ram 1GB`: peak GB", "passes a case there, at most")
    return table(("network", "cases", "seconds a case", "times the network alone", "peak GB", *limited), rows)


def search_cohort(records: Records) -> str:
    """The search's winner over all cases, beside `lite` on the same day."""
    rows = (
        (form, of["cases"], of["seconds_a_case"], of["network_seconds_a_case"], of["peak_memory_gb"])
        for form, of in records["search-cohort"]["forms"].items()
    )
    return table(("network", "cases", "seconds a case, files to files", "of the network alone", "peak GB"), rows)


def cold(records: Records) -> str:
    """One call of the command for one case."""
    rows = []
    for record in _of(records, "cold-call-"):
        for form, of in record["forms"].items():
            rows.append((f"`{record['network']}` {form}", _spread(of)))
    return table(("network", "seconds from the start of the process to its end, median (range)"), rows)


def layers(records: Records) -> str:
    """Where a network's time goes, by resolution and kind of layer."""
    precisions = records["layers-fast"]["precisions"]
    kinds = next(iter(precisions.values()))["share"]
    rows = []
    for kind in sorted(kinds, key=lambda name: -max(of["share"][name] for of in precisions.values())):
        shares = [of["share"].get(kind, 0) for of in precisions.values()]
        if max(shares) >= _LEAST_SHOWN:
            resolution, _, words = kind.partition(" ")
            rows.append((resolution, words, *(f"{fixed(100 * share, 0)} %" for share in shares)))
    rows.append(("all", "", *(f"{fixed(of['milliseconds'], 0)} ms" for of in precisions.values())))
    return table(("resolution", "layers", *precisions), rows)


def memory(records: Records) -> str:
    """What the plan said, and what was taken."""
    rows = []
    for of in (row["about"] for row in records["amd-epyc-2-threads"]["rows"].values()):
        if "form" in of and "planned_bytes" in of:  # a whole case is planned, too
            what = (f"`{of['backend']}` {of['form']}", of["cases"], of.get("granted", "all"))
            planned, taken = of["planned_bytes"] / 1e9, of["peak_bytes"] / 1e9
            rows.append((*what, fixed(planned, 2), fixed(taken, 2), fixed(planned / taken, 2)))
    return table(("by", "cases", "granted", "planned GB", "taken GB", "planned / taken"), rows)


def peers(records: Records) -> str:
    """nnU-Net and MONAI beside ours, with the weights of one network."""
    rows = []
    for record in _of(records, "peers-"):
        for name, of in record["contestants"].items():
            dice = record["dice"][name]
            cases = ", ".join(case.removeprefix("BraTS-SSA-").removesuffix("-000") for case in dice["cases"])
            spread = _spread(of, 1)
            rows.append((f"{name} (`{record['network']}`)", cases, spread, of["peak_memory_gb"], regions(dice["mean"])))
    return table(("", "cases", "seconds a case, median (range)", "peak GB", "mean Dice WT / TC / ET"), rows)


def ratios(records: Records) -> str:
    """How many times as fast as nnU-Net and MONAI, with the interval of its few pairs."""
    rows = []
    for name, record in records.items():
        for ours, than in record["times_as_fast"].items() if name.startswith("peers-") else ():
            for peer, ratio in than.items():
                low, high = fixed(ratio["low"], 1), fixed(ratio["high"], 1)
                spread = f"{fixed(ratio['median'], 1)} ({low} to {high})"
                sure = f"{fixed(100 * ratio['confidence'], 0)} %"
                rows.append((link(name), ours, peer, spread, ratio["pairs"], sure))
    return table(("record", "", "than", "times as fast, median (interval)", "pairs", "of confidence"), rows)


def peaks(records: Records) -> str:
    """How much of what this machine can compute the network gets."""
    rows = []
    for record in _of(records, "peak-"):
        for precision, of in record["precisions"].items():
            numbers = of["network_gflop_a_second"], of["yardstick_gflop_a_second"]
            rows.append(
                (f"`{record['network']}` {precision}", *numbers, f"{fixed(100 * of['share_of_peak']['median'], 0)} %")
            )
    return table(("network, by OpenVINO", "its GFLOP/s", "the best yardstick's", "share, median of pairs"), rows)


def training(records: Records) -> str:
    """One update of the weights."""
    record = records["epyc-2-threads-training"]
    rows = (
        (f"`{name}`", record["seconds_an_update"][name], fixed(times, 2))
        for name, times in record["times_as_fast"].items()
    )
    head = ("network, bf16, channels-last", "seconds an update of 128^3", "times as fast as float32, contiguous")
    return table(head, rows)


def rewrites(records: Records) -> str:
    """Graph rewrites: what each takes of the plain graph's time."""
    times = records["rewrites"]["times_as_long"]
    rewritten = next(iter(times.values()))
    return table(("times as long", *rewritten), ((precision, *of.values()) for precision, of in times.items()))


def _spread(of: Record, digits: int = 2) -> str:
    low, high = fixed(of["min_seconds"], digits), fixed(of["max_seconds"], digits)
    return f"{fixed(of['median_seconds'], digits)} ({low} to {high})"


def _of(records: Records, start: str) -> Iterator[Record]:
    return (record for name, record in records.items() if name.startswith(start))
