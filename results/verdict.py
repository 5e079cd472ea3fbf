"""What a search found, in plain lines made of its record."""

from collections.abc import Iterator, Mapping
from typing import Any


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
        yield "not confirmed: too few fresh draws ended for a comparison with the default"
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
