"""The record of a search: what `search.json` and `best.yaml` hold."""

from collections.abc import Mapping, Sequence
from typing import Any

from results.verdict import confirmation_verdict
from tuning.config import Configuration
from tuning.confirmation import Confirmation, fresh_seed, split_seed
from tuning.paired import score_correlation
from tuning.rungs import EvaluationPlan
from tuning.selection import Comparison, Confirmed, leader, ranking, winner
from tuning.space import Parameters, to_plain_space, with_parameters
from tuning.trials import Trial

CONFIGURATION_OF_WINNER = ("data", "model", "training")


def is_repeatable(configuration: Configuration, *, has_gpu: bool) -> bool:
    """Whether the same command gives the same scores to the last digit.

    On CPU, one trial at a time; or any number where no decision depends on who came first.
    """
    search = configuration.search
    no_race = search.scheduler == "none" and search.algorithm in ("random", "grid")
    in_turn = search.max_concurrent == 1
    return not has_gpu and search.time_budget_s is None and (in_turn or no_race)


def describe_search(
    configuration: Configuration, plan: EvaluationPlan, num_rows: int
) -> dict[str, Any]:
    """`search` of the record: what was searched how; rows are training rows seen by one trial."""
    search = configuration.search
    return {
        "algorithm": search.algorithm,
        "scheduler": search.scheduler,
        "reduction_factor": search.reduction_factor,
        "rows_per_epoch": num_rows,
        "budget": plan.budget,
        "rungs": list(plan.rungs),
        "space": to_plain_space(search.space),
    }


def count_trials(trials: Sequence[Trial], requested: int) -> dict[str, int]:
    """`trials` of the record: how many of the search ended how."""
    statuses = [trial.status for trial in trials if trial.source != "confirm"]
    return {
        "requested": requested,
        "completed": sum(s in ("completed", "collapsed") for s in statuses),
        "stopped_early": statuses.count("stopped"),
        "failed": sum(s in ("failed", "diverged") for s in statuses),
    }


def count_examples(trials: Sequence[Trial]) -> dict[str, int]:
    """Training rows seen by the search and by the confirmation, repeats counted."""
    seen = {"search": 0, "confirmation": 0}
    for trial in trials:
        phase = "confirmation" if trial.source == "confirm" else "search"
        seen[phase] += trial.evaluations[-1].examples if trial.evaluations else 0
    return seen


def describe_candidate(
    trials: Sequence[Trial], parameters: Parameters, confirmed: Sequence[Confirmed]
) -> dict[str, Any]:
    """`best` or `default` of the record; `f1_macro` is the confirmed mean where there is one."""
    searched = next(t for t in trials if t.source != "confirm" and t.parameters == parameters)
    fresh = next((c for c in confirmed if c.parameters == parameters and c.scores), None)
    return {
        "trial_id": searched.trial_id,
        "parameters": parameters,
        "search_score": searched.final_f1_macro,
        "search_f1_macro": searched.final_f1_macro,
        "f1_macro": fresh.mean if fresh else searched.final_f1_macro,
        "epochs": searched.evaluations[-1].epoch if searched.evaluations else 0,
    }


def choose(trials: Sequence[Trial], confirmation: Confirmation | None) -> Parameters | None:
    """The winner's parameters; None if no trial has a score."""
    ranked = ranking([trial for trial in trials if trial.source != "confirm"])
    if not ranked:
        return None
    if confirmation is None or confirmation.is_undecided():
        return ranked[0].parameters
    share = confirmation.validation_share
    return winner(confirmation.scores(), validation_share=share).parameters


def describe_confirmation(confirmation: Confirmation) -> dict[str, Any]:
    """`confirmation` of the record: every score, mean, standard error and the comparison."""
    configuration, found = confirmation.configuration, confirmation.lead()
    confirmed = confirmation.scores()
    replicates = range(1, confirmation.num_replicates + 1)
    comparison = None if found is None else _describe_comparison(found)
    return {
        "replicates": [
            {
                "seed": fresh_seed(configuration.training.seed, replicate),
                "split_seed": split_seed(configuration, replicate),
            }
            for replicate in replicates
        ],
        "candidates": [
            {
                "parameters": candidate.parameters,
                "f1_macro": [candidate.scores.get(k) for k in replicates],
                "mean": candidate.mean if candidate.scores else None,
                "standard_error": candidate.standard_error,
                "collapsed_or_diverged": len(candidate.broken),
            }
            for candidate in confirmed
        ],
        "score_correlation": score_correlation(
            [
                [candidate.scores[k] for candidate in confirmed]
                for k in replicates
                if all(k in candidate.sound for candidate in confirmed)
            ]
        ),
        "smallest_detectable_difference": None
        if found is None
        else found.paired.smallest_detectable,
        "winner_beats_default": comparison,
        "verdict": confirmation_verdict(comparison, **_standing(confirmation)),
    }


def _describe_comparison(found: Comparison) -> dict[str, Any]:
    means, paired = found.means, found.paired
    return {
        "leader": found.leader.parameters,
        "draws": len(found.shared),
        "leader_mean": means[0],
        "default_mean": means[1],
        "difference": paired.difference,
        "standard_error": paired.standard_error,
        "needed": paired.needed,
        "replaces_default": paired.is_clear,
        "probability_of_lead": paired.probability_of_lead,
        "distinguishable": paired.is_distinguishable,
    }


def _standing(confirmation: Confirmation) -> dict[str, Any]:
    """What else the verdict depends on."""
    default, *others = confirmed = confirmation.scores()
    ahead = leader(confirmed)
    chosen = winner(confirmed, validation_share=confirmation.validation_share)
    return {
        "default_stays": chosen is default,
        "has_challengers": bool(others),
        "default_learnt": bool(default.sound),
        "default_broken": len(default.broken),
        "leader_broken": len(ahead.broken) if ahead else 0,
    }


def fixed_rows_losses(trials: Sequence[Trial], parameters: Parameters) -> list[float]:
    """Losses on the fixed training rows that full trainings of a configuration ended with."""
    return [
        trial.fixed_rows_loss
        for trial in trials
        if trial.parameters == parameters
        and trial.fixed_rows_loss is not None
        and trial.final_f1_macro is not None
    ]


def winning_configuration(
    configuration: Configuration, parameters: Parameters
) -> Mapping[str, Any]:
    """`best.yaml`: sections data, model and training, the winner's values in place."""
    training = with_parameters(configuration.training, parameters)
    chosen = configuration.model_copy(update={"training": training})
    return chosen.model_dump(mode="json", include=set(CONFIGURATION_OF_WINNER))
