"""What a search found, in plain lines made of its record."""

from collections.abc import Iterator, Mapping
from typing import Any


def describe_result(record: Mapping[str, Any]) -> Iterator[str]:
    """The winner, its lead over the default, what that lead is worth, and where to look next."""
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
    yield from map(_describe_edge, best.get("at_edge", ()))


def confirmation_verdict(comparison: Mapping[str, Any] | None) -> str:
    """What the confirmation says, in one sentence.

    Args:
        comparison: `winner_beats_default` of the record's confirmation: differences in macro-F1.
    """
    if comparison is None:
        return "not confirmed: too few fresh draws ended for a comparison with the default"
    lead, needed = comparison["difference"], comparison["needed"]
    if not comparison["replaces_default"]:
        standing = (
            f"leads by {_points(lead)}, but only a lead above {_points(needed)} replaces it"
            if lead > 0
            else f"is {_points(-lead)} behind"
        )
        return (
            "the search found nothing better than the default, which stays: on fresh draws the"
            f" best challenger {standing}"
        )
    surely = (
        "the two are distinguishable"
        if comparison["distinguishable"]
        else "the two are not yet distinguishable"
    )
    return (
        f"the winner beats the default: on fresh draws it leads by {_points(lead)}, and a lead"
        f" above {_points(needed)} replaces it; {surely} (the lead is real with probability"
        f" {comparison['probability_of_lead']:.3f})"
    )


def _describe_confirmation(record: Mapping[str, Any]) -> Iterator[str]:
    confirmation = record["confirmation"]
    if confirmation is None:
        yield "not confirmed: the winner's score is the best of many and therefore too high"
        return
    lead = confirmation["winner_beats_default"]
    if lead is not None:
        best, default = record["best"], record["default"]
        yield (
            f"confirmed on {len(confirmation['replicates'])} fresh draws (selected on these):"
            f" winner {_score(best['f1_macro'])}, default {_score(default['f1_macro'])}; best"
            f" challenger {lead['difference'] * 100:+.2f} points, standard error"
            f" {lead['standard_error'] * 100:.2f}"
        )
    if "verdict" in confirmation:  # not in the records of older versions
        yield confirmation["verdict"]
        if lead is not None:
            yield _describe_resolution(confirmation)


def _describe_resolution(confirmation: Mapping[str, Any]) -> str:
    smallest = confirmation["smallest_detectable_difference"]
    correlation = confirmation["score_correlation"]
    resolution = (
        f"these draws tell apart four times in five what differs by {_points(smallest)}"
        if smallest < 1
        else "these draws are too few to tell any difference apart"
    )
    if correlation is None:
        return resolution
    return f"{resolution}; scores of one draw correlate by {correlation:.2f} between configurations"


def _describe_edge(edge: Mapping[str, Any]) -> str:
    searched, beyond = (
        " ".join(f"{kind} {values}" for kind, values in edge[key].items())
        for key in ("searched", "try_next")
    )
    return (
        f"{edge['parameter']} {edge['value']:.4g} is at the {edge['bound']} end of what was"
        f" searched ({searched}): better values may lie beyond; try {beyond} next"
    )


def _points(difference: float) -> str:
    """A difference of macro-F1 in points, hundredths of 1."""
    return f"{difference * 100:.2f} points"


def _score(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"
