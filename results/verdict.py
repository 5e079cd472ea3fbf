"""What a search found, in plain lines made of its record."""

from collections.abc import Iterator, Mapping
from typing import Any

_LEVEL = 5e-5
"""Difference of scores that rounds to nothing."""


def describe_result(record: Mapping[str, Any]) -> Iterator[str]:
    """The winner, its lead over the default, what that lead is worth, and where to look next."""
    best, default, trials = record["best"], record["default"], record["trials"]
    yield (
        f"trials: {trials['completed']} completed, {trials['stopped_early']} stopped early,"
        f" {trials['failed']} failed, in {record['seconds']:.0f} s"
    )
    values = ", ".join(f"{name} {value:.4g}" for name, value in best["parameters"].items())
    yield (
        f"winner {best['trial_id']} ({values}): validation"
        f" {record['objective']['label']} {_score(best['search_score'])} in the search; the default"
        f" {_score(default['search_score'])}"
    )
    yield from _describe_confirmation(record)
    yield from map(_describe_edge, best.get("at_edge", ()))


def confirmation_verdict(
    comparison: Mapping[str, Any] | None,
    *,
    default_stays: bool,
    has_challengers: bool,
    default_learnt: bool,
    default_broken: int,
    leader_broken: int,
) -> str:
    """What the confirmation says, in one sentence.

    Args:
        comparison: `winner_beats_default` of the record's confirmation: differences of the score.
        default_stays: whether the default is the winner.
        has_challengers: whether there was any other configuration to confirm.
        default_learnt: whether the default has a score of a draw on which it learnt.
        default_broken: draws on which the default collapsed or diverged.
        leader_broken: the same of the best challenger.
    """
    if not has_challengers:
        return (
            "not confirmed: no configuration but the default reached the full budget with a score"
        )
    if not default_learnt and not default_stays:
        return (
            "the winner replaces the default, which learnt on none of the fresh draws; there is"
            " nothing to compare"
        )
    if default_broken and not leader_broken and not default_stays:
        return (
            f"the winner replaces the default, which collapsed or diverged on {default_broken} of"
            f" the fresh draws; {_where_both_learnt(comparison)}"
        )
    if leader_broken and not default_broken:
        return (
            f"the default stays: the best challenger collapsed or diverged on {leader_broken} of"
            f" the fresh draws; {_where_both_learnt(comparison)}"
        )
    if comparison is None:
        return "not confirmed: too few fresh draws ended for a comparison with the default"
    return _verdict_of_the_lead(comparison)


def _where_both_learnt(comparison: Mapping[str, Any] | None) -> str:
    if comparison is None:
        return "the two share too few others to be compared"
    return f"where both learnt the challenger {_standing(comparison['difference'])}"


def _standing(lead: float) -> str:
    if abs(lead) < _LEVEL:
        return "is level with the default"
    return f"leads by {_points(lead)}" if lead > 0 else f"is {_points(-lead)} behind"


def _verdict_of_the_lead(comparison: Mapping[str, Any]) -> str:
    lead, needed = comparison["difference"], comparison["needed"]
    if not comparison["replaces_default"]:
        rule = f", but only a lead above {_points(needed)} replaces it" if lead >= _LEVEL else ""
        return (
            "the search found nothing better than the default, which stays: on fresh draws the"
            f" best challenger {_standing(lead)}{rule}"
        )
    surely = "are distinguishable"
    if not comparison["distinguishable"]:
        surely = "are not yet distinguishable"
    return (
        f"the winner beats the default: on fresh draws it leads by {_points(lead)}, and a lead"
        f" above {_points(needed)} replaces it; the two {surely} (the lead is real with"
        f" probability {comparison['probability_of_lead']:.3f})"
    )


def _describe_confirmation(record: Mapping[str, Any]) -> Iterator[str]:
    confirmation = record["confirmation"]
    if confirmation is None:
        yield "not confirmed: the winner's score is the best of many and therefore too high"
        return
    if "verdict" not in confirmation:
        return  # the record of an older version
    lead = confirmation["winner_beats_default"]
    if lead is not None:
        yield (
            f"confirmed on {lead['draws']} fresh draws (selected on these): default"
            f" {_score(lead['default_mean'])}, best challenger {_score(lead['leader_mean'])}:"
            f" {lead['difference'] * 100:+.2f} points, standard error"
            f" {lead['standard_error'] * 100:.2f}"
        )
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
    place = f"at the {edge['bound']} end of" if edge["inside"] else f"outside ({edge['bound']})"
    return (
        f"{edge['parameter']} {edge['value']:.4g} is {place} what was searched ({searched}): better"
        f" values may lie beyond; try {beyond} next"
    )


def _points(difference: float) -> str:
    """A difference of scores in points, hundredths of 1."""
    return f"{difference * 100:.2f} points"


def _score(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"
