"""What a search found out about each encoder: `encoders` of the record.

The winner is compared with the best candidate of each other encoder as the confirmation compares a
challenger with the default: paired on the replicates that both have.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

from tuning.paired_comparison import paired_difference
from tuning.policy import Policy
from tuning.record import choose, describe_candidate, fixed_rows_losses
from tuning.space import Parameters
from tuning.standing import Confirmed, Standing

_MIN_SHARED = 2
"""Replicates that two candidates must share: a standard error needs two."""


def describe_encoders(
    policy: Policy, known: Iterable[Mapping[str, Any]] = ()
) -> list[dict[str, Any]]:
    """Describe each encoder of a search, trial 0's first.

    Args:
        policy: of the search, with its trials and confirmation.
        known: what is known of the encoders from the start: mappings with `name`.

    Returns:
        For each encoder what is known and `trials` (of the search, with a score), `seconds_per_row`
        (median of its trainings; None without one), `best` (None without a score) and
        `lead_of_winner` (None: it is the winner's encoder, or was not compared).
    """
    facts = {one["name"]: dict(one) for one in known}
    winner = choose(policy)
    return [
        {
            **facts.get(model.name, {"name": model.name}),
            **_describe_trials(policy, model.name),
            **_describe_best(policy, model.name, winner),
        }
        for model in policy.configuration.models
    ]


def _describe_trials(policy: Policy, name: str) -> dict[str, Any]:
    ours = [trial for trial in policy.store if _is_of(policy, trial.parameters, name)]
    searched = [trial for trial in ours if not trial.is_confirmation]
    seconds = [one.evaluations[-1].seconds / one.examples for one in ours if one.examples]
    return {
        "trials": sum(policy.ranking.search_score(one) is not None for one in searched),
        "seconds_per_row": median(seconds) if seconds else None,
    }


def _describe_best(policy: Policy, name: str, winner: Parameters | None) -> dict[str, Any]:
    """Describe the best candidate of an encoder, and by how much the winner leads it."""
    standing = policy.confirmation.standing() if policy.confirmation else None
    confirmed = None if standing is None else _best_confirmed(policy, standing, name, winner)
    if standing is not None and confirmed is not None:
        return {
            "best": _described(policy, confirmed.parameters, confirmed),
            "lead_of_winner": _lead_of_winner(standing, confirmed, winner),
        }
    ours = (one for one in policy.store.searched if _is_of(policy, one.parameters, name))
    ranked = policy.ranking.ranked(list(ours))
    best = _described(policy, ranked[0].parameters, None) if ranked else None
    return {"best": best, "lead_of_winner": None}


def _best_confirmed(
    policy: Policy, standing: Standing, name: str, winner: Parameters | None
) -> Confirmed | None:
    """Return the winner, if it is of this encoder, or the candidate with the best paired lead."""
    ours = [one for one in _all(standing) if one.scores and _is_of(policy, one.parameters, name)]
    if winning := [one for one in ours if one.parameters == winner]:
        return winning[0]
    return next(iter(replace(standing, challengers=ours, dropped=()).by_lead()), None)


def _described(
    policy: Policy, parameters: Parameters, confirmed: Confirmed | None
) -> dict[str, Any]:
    return {
        **describe_candidate(policy, parameters),
        "score": confirmed and confirmed.mean,
        "standard_error": confirmed and confirmed.standard_error,
        "replicates": len(confirmed.scores) if confirmed else 0,
        "collapsed_or_diverged": len(confirmed.broken) if confirmed else 0,
        "fixed_rows_loss": fixed_rows_losses(policy.store, parameters),
    }


def _lead_of_winner(
    standing: Standing, one: Confirmed, winner: Parameters | None
) -> dict[str, Any] | None:
    """Compare the winner with a candidate; None: too few shared replicates, or it is the winner."""
    candidates = _all(standing)
    ahead = next((other for other in candidates if other.parameters == winner), None)
    if ahead is None or ahead is one or ahead.parameters == one.parameters:
        return None
    shared = sorted(ahead.sound.keys() & one.sound.keys())
    if len(shared) < _MIN_SHARED:
        return None
    found = paired_difference(
        [ahead.scores[k] for k in shared],
        [one.scores[k] for k in shared],
        validation_share=standing.validation_share,
        required=None,
        others=[_differences(other, one) for other in candidates if other not in (ahead, one)],
    )
    return {
        "replicates": len(shared),
        "difference": found.difference,
        "standard_error": found.standard_error,
        "probability_of_lead": found.probability_of_lead,
        "distinguishable": found.is_distinguishable,
    }


def _differences(one: Confirmed, other: Confirmed) -> list[float]:
    return [one.scores[k] - other.scores[k] for k in sorted(one.sound.keys() & other.sound.keys())]


def _all(standing: Standing) -> Sequence[Confirmed]:
    return [standing.default, *standing.challengers, *standing.dropped]


def _is_of(policy: Policy, parameters: Parameters, name: str) -> bool:
    return policy.configuration.model_of(parameters).name == name
