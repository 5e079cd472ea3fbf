"""What a search says of its data and its result, in plain lines."""

from collections.abc import Iterator, Mapping
from typing import Any

from tuning.preparation import Preparation


def describe_data(preparation: Preparation) -> Iterator[str]:
    """Rows kept and dropped, the parts, label noise, tokens."""
    summary, statistics = preparation.data.summary, preparation.statistics
    dropped = [f"{count:,} {reason}" for reason, count in summary.dropped.items() if count]
    yield f"data {summary.path}: {summary.kept:,} of {summary.rows:,} rows kept" + (
        f"; dropped: {', '.join(dropped)}" if dropped else ""
    )
    parts = (f"{name} {sum(n.values()):,}" for name, n in summary.class_counts.items())
    yield f"split: {', '.join(parts)}; {summary.duplicate_groups:,} near-duplicate groups kept whole"
    if summary.label_noise is not None:
        yield (
            f"label noise: {summary.label_noise:.1%} of the texts that stand more than once have"
            " labels that disagree"
        )
    yield (
        f"tokens: {statistics.unknown_share:.2%} unknown, {statistics.pieces_per_word:.2f} pieces"
        f" a word, {statistics.truncated_share:.2%} of the rows truncated"
    )


def describe_result(record: Mapping[str, Any]) -> Iterator[str]:
    """The winner, its lead over the default, and what that lead is worth."""
    best, default, trials = record["best"], record["default"], record["trials"]
    yield (
        f"{trials['completed']} trials completed, {trials['stopped_early']} stopped early,"
        f" {trials['failed']} failed, in {record['seconds']:.0f} s"
    )
    values = ", ".join(f"{name} {value:.4g}" for name, value in best["parameters"].items())
    yield (
        f"winner {best['trial_id']} ({values}): validation macro-F1"
        f" {_score(best['search_f1_macro'])} in the search; the default"
        f" {_score(default['search_f1_macro'])}"
    )
    yield from _describe_confirmation(record)


def _describe_confirmation(record: Mapping[str, Any]) -> Iterator[str]:
    confirmation = record["confirmation"]
    if confirmation is None:
        yield "not confirmed: the winner's score is the best of many and therefore too high"
        return
    lead = confirmation["winner_beats_default"]
    if lead is None:
        yield "not confirmed: no configuration but the default has scores on fresh draws"
        return
    num = len(confirmation["replicates"])
    clear = "distinguishable" if lead["distinguishable"] else "not distinguishable"
    yield (
        f"confirmed on {num} fresh draws (selected on these): winner"
        f" {_score(record['best']['f1_macro'])}, default {_score(record['default']['f1_macro'])};"
        f" best challenger {lead['difference'] * 100:+.2f} points, standard error"
        f" {lead['standard_error'] * 100:.2f}: {clear} from the default"
    )
    if record["best"]["trial_id"] == record["default"]["trial_id"]:
        yield "the search found nothing better than the default, which stays"


def _score(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"
