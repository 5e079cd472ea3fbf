"""Sentences about the result of a search, shared by its log, record, report and model card."""

from collections.abc import Iterator, Mapping
from typing import Any

from results.older_runs import with_tested_score

_ROUNDS_TO_ZERO = 5e-5
"""Differences of scores below it are printed as 0.00 points."""


def describe_result(record: Mapping[str, Any]) -> Iterator[str]:
    """Describe the winner, its lead over the default, and parameters at the edge of their range.

    Args:
        record: content of `search.json` with a winner.
    """
    best, default, trials = record["best"], record["default"], record["trials"]
    yield (
        f"trials: {trials['completed']} completed, {trials['stopped_early']} stopped early,"
        f" {trials['failed']} failed, in {record['seconds']:.0f} s"
    )
    yield (
        f"winner {best['trial_id']} ({format_parameters(best['parameters'])}): validation"
        f" {record['objective']['label']} {_score(best['search_score'])} in the search; default"
        f" {_score(default['search_score'])}"
    )
    yield from _describe_confirmation(record["confirmation"])
    yield from map(_describe_edge, best.get("at_edge", ()))


def format_parameters(values: Mapping[str, float]) -> str:
    """Return the searched values of a configuration in one line."""
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items())


def confirmation_verdict(
    comparison: Mapping[str, Any] | None,
    *,
    default_stays: bool,
    has_challengers: bool,
    default_learnt: bool,
    default_broken: int,
    leader_broken: int,
) -> str:
    """Return the outcome of the confirmation in one sentence.

    Args:
        comparison: `winner_beats_default` of the record's confirmation: differences of the score.
        default_stays: whether the default is the winner.
        has_challengers: whether any configuration other than the default was confirmed.
        default_learnt: whether the default learnt on at least one replicate.
        default_broken: number of replicates on which the default collapsed or diverged.
        leader_broken: number of replicates on which the best challenger did.
    """
    if not has_challengers:
        return "not confirmed: only the default reached the full budget with a score"
    if not default_learnt and not default_stays:
        return (
            "the winner replaces the default, which learnt on none of the replicates: no comparison"
            " is possible"
        )
    if default_broken and not leader_broken and not default_stays:
        return (
            f"the winner replaces the default, which collapsed or diverged on {default_broken} of"
            f" the replicates; {_describe_shared(comparison)}"
        )
    if leader_broken and not default_broken:
        return (
            f"the default stays: the best challenger collapsed or diverged on {leader_broken} of"
            f" the replicates; {_describe_shared(comparison)}"
        )
    if comparison is None:
        return "not confirmed: too few replicates completed for a comparison with the default"
    return _describe_lead(comparison)


def describe_significance(comparison: Mapping[str, Any]) -> str:
    """Return whether the lead is significant, with its p-value where the record has one.

    Args:
        comparison: `winner_beats_default` of the record's confirmation.
    """
    found = "significant" if comparison["distinguishable"] else "no significant"
    probability = comparison.get("probability_of_lead")
    if probability is None:
        return f"{found} difference"
    p_value = 1 - probability
    printed = "p < 0.001" if p_value < 0.0005 else f"p = {p_value:.3f}"
    return f"{found} difference (one-sided {printed})"


def describe_sensitivity(confirmation: Mapping[str, Any]) -> Iterator[str]:
    """Describe which differences the replicates could detect, and how far scores correlate."""
    smallest = confirmation.get("smallest_detectable_difference")
    correlation = confirmation.get("score_correlation")
    if smallest is not None and smallest < 1:
        yield (
            f"With these replicates a difference of {_points(smallest, digits=1)} would be detected"
            " in 80 % of the cases."
        )
    elif smallest is not None:
        yield "These replicates are too few to detect any difference."
    if correlation is not None:
        yield f"Across replicates the scores of the configurations correlate by {correlation:.2f}."


def describe_seed_variation(test: Mapping[str, Any]) -> str:
    """Describe how much the score varies between trainings, which the test interval leaves out.

    Args:
        test: content of `evaluation_report.json`; in `search` its `confirmed_deviation`.
    """
    test = with_tested_score(test)
    label = test["objective"]["label"]
    deviation = test.get("search", {}).get("confirmed_deviation")
    if deviation is None:
        return f"The variation of {label} between seeds and training splits was not measured."
    low, high = test["confidence_intervals"]["score"]
    return (
        f"Another seed and training split change {label} as well: the winner's scores on the"
        " replicates, each with its own seed, training split and validation rows, vary by about +/-"
        f" {200 * deviation:.2f} points (two standard deviations, which include the sampling of the"
        f" validation rows). The test interval is about +/- {50 * (high - low):.2f} points (half"
        " its width)."
    )


def _describe_shared(comparison: Mapping[str, Any] | None) -> str:
    """Describe the difference on the replicates on which both configurations learnt."""
    if comparison is None:
        return "too few other replicates are left for a comparison"
    return f"where both learnt, the challenger's mean is {_describe_gap(comparison['difference'])}"


def _describe_gap(lead: float) -> str:
    if abs(lead) < _ROUNDS_TO_ZERO:
        return "equal to the default's"
    return f"{_points(abs(lead))} {'above' if lead > 0 else 'below'} the default's"


def _describe_lead(comparison: Mapping[str, Any]) -> str:
    """Describe a comparison on which both configurations learnt on all replicates."""
    lead, needed = comparison["difference"], comparison["needed"]
    gap = _describe_gap(lead)
    if not comparison["replaces_default"]:
        rule = ""
        if lead >= _ROUNDS_TO_ZERO:
            rule = f", but only a lead of more than {_points(needed)} replaces it"
        return f"the default stays: the best challenger's mean over the replicates is {gap}{rule}"
    return (
        f"the winner replaces the default: its mean over the replicates is {gap}, more than the"
        f" required {_points(needed)}; {describe_significance(comparison)}"
    )


def _describe_confirmation(confirmation: Mapping[str, Any] | None) -> Iterator[str]:
    if confirmation is None:
        yield "not confirmed: the winner's score is the best of many trials and therefore too high"
        return
    if "verdict" not in confirmation:
        return  # the record of an older version
    lead = confirmation["winner_beats_default"]
    if lead is not None:
        num_replicates = lead["draws"]
        yield (
            f"confirmed on {num_replicates} replicates, which were also used for the selection:"
            f" default {_score(lead['default_mean'])}, best challenger"
            f" {_score(lead['leader_mean'])}, difference {lead['difference'] * 100:+.2f} points"
            f" (standard error {lead['standard_error'] * 100:.2f})"
        )
    yield confirmation["verdict"]


def _describe_edge(edge: Mapping[str, Any]) -> str:
    searched, beyond = (
        " ".join(f"{kind} {values}" for kind, values in edge[key].items())
        for key in ("searched", "try_next")
    )
    position = f"at the {edge['bound']} end of" if edge["inside"] else f"outside ({edge['bound']})"
    return (
        f"the winner's {edge['parameter']} {edge['value']:.4g} is {position} the searched range"
        f" ({searched}): better values may lie beyond it; search {beyond} next"
    )


def _points(difference: float, *, digits: int = 2) -> str:
    """Return a difference of scores in points, hundredths of 1."""
    return f"{difference * 100:.{digits}f} points"


def _score(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"
