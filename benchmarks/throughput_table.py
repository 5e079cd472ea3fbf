"""The figures of `benchmarks.throughput` as Markdown."""

from collections.abc import Mapping
from typing import Any

_COLUMNS = (
    ("seconds", "seconds", 1.0, 1),
    ("setup_s", "of them set-up", 1.0, 1),
    ("overhead_s", "s between trials", 1.0, 2),
    ("rows_per_second", "rows/s", 1.0, 0),
    ("pieces_per_second", "1,000 word pieces/s", 1e-3, 1),
    ("padded_pieces_per_second", "with padding", 1e-3, 1),
    ("driver_cores", "driver's cores", 1.0, 3),
    ("driver_mib", "driver MiB", 1.0, 0),
    ("worker_mib", "worker MiB", 1.0, 0),
)
NAMES = {
    "A": "A: Trainer as the study used it",
    "B": "B: Trainer as well as it goes",
    "C": "C: this program",
}


def as_table(figures: Mapping[str, Any]) -> str:
    """Tables of the sides, of searches with ASHA and of steps; mean ± standard deviation."""
    lines = [_row("", *(title for _, title, *_ in _COLUMNS)), "|---|" + "---:|" * len(_COLUMNS)]
    lines += [_side(NAMES[side], found) for side, found in figures["sides"].items()]
    lines += [_side(f"ASHA, {NAMES[side]}", found) for side, found in figures["asha"].items()]
    lines += ["", *_ratios(figures["ratios"], "")]
    if asha := figures["asha_ratio_to_b"]:
        lines += _ratios({"ratio_to_b": asha}, "ASHA, ")
    for side in "ab":
        found = figures["scores"][f"c_less_{side}"]
        lines.append(
            f"final score: ours less {side.upper()} {found['mean']:+.4f}, standard error"
            f" {found['standard_error']:.4f}"
        )
    lines += ["", _row("a step", "rows", "ours ms", "bare loop ms", "ours / bare")]
    lines += ["|---|---:|---:|---:|---:|"]
    lines += [
        _row(
            step["model"],
            str(step["rows"]),
            f"{step['ours']['ms']:.2f} ± {step['ours']['spread']:.2f}",
            f"{step['bare']['ms']:.2f} ± {step['bare']['spread']:.2f}",
            f"{step['ratio']:.3f} ± {step['ratio_spread']:.3f}",
        )
        for step in figures["steps"]
    ]
    return "\n".join(lines)


def _side(name: str, found: Mapping[str, Any]) -> str:
    cells = []
    for key, _, factor, digits in _COLUMNS:
        value = found.get(key)
        cells.append(
            ""
            if value is None
            else f"{factor * value['mean']:,.{digits}f} ± {factor * value['sd']:,.{digits}f}"
        )
    return _row(name, *cells)


def _ratios(ratios: Mapping[str, Any], what: str) -> list[str]:
    return [
        f"{what}{name[-1].upper()} takes {value['mean']:.2f} ± {value['sd']:.2f} times as long as C"
        + (", trials alone" if name.startswith("trials") else ", whole command")
        for name, value in ratios.items()
    ]


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"
