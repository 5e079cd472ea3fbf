"""Sentences about the result of a search, shared by its log, record, report and model card."""

from collections.abc import Iterator, Mapping
from typing import Any

from results.older_runs import with_tested_score
from results.parameter_values import format_parameters, short_model_names
from results.score_names import describe_epochs
from results.trial_states import SearchStatus

_ROUNDS_TO_ZERO = 5e-5
"""Differences of scores below it are printed as 0.00 points."""


def describe_result(record: Mapping[str, Any]) -> Iterator[str]:
    """Describe the winner, its lead over the default, and parameters at the edge of their range.

    Args:
        record: content of `search.json` with a winner.
    """
    best, is_default = record["best"], has_default_won(record)
    values = format_parameters(best["parameters"], short_model_names(record))
    yield f"trials: {_count_trials(record)}, in {record['seconds']:.0f} s"
    yield (
        f"winner {best['trial_id']}{', the default' if is_default else ''}"
        f" ({values}): validation {record['objective']['label']}"
        f" {_search_score(record, 'best')} in the search"
        + ("" if is_default else f"; default {_search_score(record, 'default')}")
    )
    yield from _describe_confirmation(record)
    yield from map(_describe_edge, edges_to_search(record))


def describe_search(record: Mapping[str, Any]) -> str:
    """Return the outcome of the search as a clause.

    Args:
        record: content of `search.json`.
    """
    if record["status"] != SearchStatus.COMPLETED:
        return f"the search is {record['status']}"
    best = record["best"]
    if best is None:
        return "no trial of the search ended with a score"
    lead = (record["confirmation"] or {}).get("winner_beats_default")
    if record["confirmation"] is None:
        return (
            f"the winner, {best['trial_id']}, has the best score of the search, which is too high"
            " since it was not confirmed on replicates"
        )
    if has_default_won(record):
        return "the search found nothing better than the default configuration, which stays"
    if lead is None or lead["leader"] != best["parameters"]:
        return f"{best['trial_id']} replaces the default configuration, which does not learn"
    num_replicates, label = lead["draws"], record["objective"]["label"]
    gap = _points(lead["difference"], digits=1)
    return (
        f"{best['trial_id']} replaces the default configuration, which is {gap} of {label} behind"
        f" it on {num_replicates} replicates"
    )


def has_default_won(record: Mapping[str, Any]) -> bool:
    """Return whether the winner of a search is its default configuration."""
    best, default = record["best"], record["default"]
    return bool(best and default and best["trial_id"] == default["trial_id"])


def edges_to_search(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the searched ranges beyond which better values may lie: entries of `at_edge`.

    The default was not selected from a range, and a choice offers all that its author wanted:
    records of older versions list these too.
    """
    if record["best"] is None or has_default_won(record):
        return []
    edges = record["best"].get("at_edge", ())
    return [edge for edge in edges if "choice" not in edge["searched"]]


def full_epochs(record: Mapping[str, Any]) -> float | None:
    """Return the epochs of a full training; None for the record of an older version."""
    plan = record.get("search") or {}
    return plan["budget"] / plan["rows_per_epoch"] if plan else None


_NEAR_RUNG = 0.1
"""Epochs: the first step at or after a rung is rarely further from it."""


def search_epochs(record: Mapping[str, Any], role: str) -> float | None:
    """Return the epochs at which the search score of `best` or `default` was taken.

    They are those of the rung if the last evaluation fell on the first step after it; None for the
    record of an older version.
    """
    epochs: float | None = (record[role] or {}).get("search_epochs")
    plan = record.get("search") or {}
    if epochs is None or not plan:
        return epochs
    rungs = [rung / plan["rows_per_epoch"] for rung in plan["rungs"]]
    return next((rung for rung in rungs if 0 <= epochs - rung < _NEAR_RUNG), epochs)


def when_taken(record: Mapping[str, Any], role: str) -> str:
    """Return after how many epochs the search score of `best` or `default` was taken.

    It is empty for a full training and for the record of an older version.
    """
    return describe_epochs(search_epochs(record, role), full_epochs(record))


def confirmed_score(record: Mapping[str, Any], role: str) -> float | None:
    """Return the mean of `best` or `default` over its replicates; None: it has no score there."""
    candidates = (record.get("confirmation") or {}).get("candidates", ())
    of_role = record[role] or {}
    ours = [one for one in candidates if one["parameters"] == of_role.get("parameters")]
    has_score = any(score is not None for one in ours for score in one["score"])
    return of_role["score"] if has_score else None


def _count_trials(record: Mapping[str, Any]) -> str:
    trials = record["trials"]
    num_ended = trials.get("ended_at_last_rung", 0)
    parts = [f"{trials['completed']} completed"]
    if (record.get("search") or {}).get("ends_at_last_rung"):
        plan = record["search"]
        taken = describe_epochs(plan["rungs"][-1] / plan["rows_per_epoch"], full_epochs(record))
        parts = [f"{num_ended} ended at the last rung ({taken})"]
        if trials["completed"]:
            parts.append(f"{trials['completed']} trained to the full budget")
    parts += [f"{trials['stopped_early'] - num_ended} stopped early", f"{trials['failed']} failed"]
    return ", ".join(parts)


def _search_score(record: Mapping[str, Any], role: str) -> str:
    taken = when_taken(record, role)
    return _score(record[role]["search_score"]) + (f" {taken}" if taken else "")


def confirmation_verdict(
    comparison: Mapping[str, Any] | None,
    *,
    default_stays: bool,
    has_challengers: bool,
    default_learnt: bool,
    default_broken: int,
    leader_broken: int,
    is_decided: bool = True,
    ended_by_time: bool = False,
    out_of_reach_of: int | None = None,
) -> str:
    """Return the outcome of the confirmation in one sentence.

    Args:
        comparison: `winner_beats_default` of the record's confirmation: differences of the score.
        default_stays: whether the default is the winner.
        has_challengers: whether any configuration other than the default was confirmed.
        default_learnt: whether the default learnt on at least one replicate.
        default_broken: number of replicates on which the default collapsed or diverged.
        leader_broken: number of replicates on which the best challenger did.
        is_decided: whether the confirmation has ended.
        ended_by_time: whether the time budget ended it.
        out_of_reach_of: the most replicates, if there were fewer since no challenger was likely to
            win with more; else None.
    """
    if not is_decided:
        return _describe_progress(comparison)
    if not has_challengers:
        return "the default stays: no other configuration ended the search with a score"
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
    if ended_by_time and default_stays and (comparison is None or comparison["needed"] is None):
        return _describe_end_of_time(comparison)
    if comparison is None:
        return "not confirmed: too few replicates completed for a comparison with the default"
    return _describe_lead(comparison, out_of_reach_of)


def describe_significance(comparison: Mapping[str, Any]) -> str:
    """Return whether the lead is significant, with its p-value where the record has one.

    Args:
        comparison: `winner_beats_default` of the record's confirmation.
    """
    found = "significant" if comparison["distinguishable"] else "no significant"
    probability = comparison.get("probability_of_lead")
    if probability is None:
        return f"{found} difference"
    return f"{found} difference (one-sided {describe_p_value(1 - probability)})"


def describe_p_value(p_value: float) -> str:
    """Return a p-value for people, as in `p = 0.032` and `p < 0.001`."""
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3g}"


def describe_sensitivity(confirmation: Mapping[str, Any]) -> Iterator[str]:
    """Describe which differences the replicates could detect, and how far scores correlate."""
    smallest = confirmation.get("smallest_detectable_difference")
    correlation = confirmation.get("score_correlation")
    if smallest is not None and _ROUNDS_TO_ZERO <= smallest < 1:
        yield (
            f"With these replicates a difference of {_points(smallest, digits=1)} would be detected"
            " in 80 % of the cases."
        )
    elif smallest is not None and smallest >= 1:
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
    if deviation < _ROUNDS_TO_ZERO:
        return f"The winner's {label} is the same on each replicate: it does not vary by seed."
    low, high = test["confidence_intervals"]["score"]
    interval = (
        f" The test interval is about +/- {50 * (high - low):.2f} points (half its width)."
        if high > low
        else ""
    )
    return (
        f"Another seed and training split change {label} as well: the winner's scores on the"
        " replicates, each with its own seed, training split and validation rows, vary by about +/-"
        f" {200 * deviation:.2f} points (two standard deviations, which include the sampling of the"
        f" validation rows).{interval}"
    )


def _describe_progress(comparison: Mapping[str, Any] | None) -> str:
    if comparison is None:
        return "not decided yet: no challenger shares two replicates with the default"
    num_replicates, gap = comparison["draws"], _describe_gap(comparison["difference"])
    return f"not decided yet: after {num_replicates} replicates the best challenger's mean is {gap}"


def _describe_end_of_time(comparison: Mapping[str, Any] | None) -> str:
    if comparison is None:
        return (
            "the default stays: the time budget ended the confirmation before a challenger shared"
            " two replicates with it"
        )
    num_replicates, gap = comparison["draws"], _describe_gap(comparison["difference"])
    return (
        f"the default stays: the time budget ended the confirmation after {num_replicates}"
        f" replicates, too few for a win; the best challenger's mean is {gap}"
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


def _describe_lead(comparison: Mapping[str, Any], out_of_reach_of: int | None) -> str:
    """Describe a comparison on which both configurations learnt on all replicates."""
    gap = _describe_gap(comparison["difference"])
    if not comparison["replaces_default"]:
        reason = _describe_shortfall(comparison, out_of_reach_of)
        return f"the default stays: the best challenger's mean over the replicates is {gap}{reason}"
    needed = comparison["needed"] or 0.0
    required = f", more than the required {_points(needed)}" if needed >= _ROUNDS_TO_ZERO else ""
    return (
        f"the winner replaces the default: its mean over the replicates is {gap}{required};"
        f" {describe_significance(comparison)}"
    )


def _describe_shortfall(comparison: Mapping[str, Any], out_of_reach_of: int | None) -> str:
    """Return a clause with the reason for which the best challenger does not win; may be empty."""
    lead, needed = comparison["difference"], comparison["needed"]
    num_replicates = comparison["draws"]
    if out_of_reach_of is not None:
        return (
            f", and after {num_replicates} of at most {out_of_reach_of} replicates a win was"
            " out of reach"
        )
    if lead < _ROUNDS_TO_ZERO:
        return ""
    if needed is None:
        return f", but {num_replicates} replicates are too few for a win"
    return f", but only a lead of more than {_points(needed)} replaces it"


def _describe_confirmation(record: Mapping[str, Any]) -> Iterator[str]:
    confirmation, mean = record["confirmation"], confirmed_score(record, "best")
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
            f"{_describe_error(lead['standard_error'])}"
        )
    elif mean is not None:
        yield f"{record['objective']['label']} of the winner on replicates: {_score(mean)}"
    yield confirmation["verdict"]


def _describe_error(standard_error: float) -> str:
    """Return the standard error in brackets; empty where the replicates do not differ."""
    if standard_error < _ROUNDS_TO_ZERO:
        return ""
    return f" (standard error {standard_error * 100:.2f})"


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
