"""Compute the contents of `search.json` and `best.yaml` from the trials of a search."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from results.environment import describe_environment, hash_model
from results.trial_states import Source, Status, StoppedBy
from results.verdict import confirmation_verdict
from training.config import TINY, ModelConfig
from training.data import DataSummary
from training.objective import accuracies, f1_macro, tallies_of_matrix
from training.trained_on import known_to
from tuning.config import Configuration, objective_of
from tuning.confirmation import Confirmation, fresh_seed, split_seed, winner_of
from tuning.edge import at_edge
from tuning.paired_comparison import score_correlation
from tuning.policy import Policy
from tuning.rungs import EvaluationPlan
from tuning.space import Parameters, to_plain_space, with_parameters
from tuning.standing import Comparison, Standing
from tuning.trials import Trial

CONFIGURATION_OF_WINNER = ("data", "model", "training")


def count_trials(trials: Iterable[Trial], requested: int) -> dict[str, int]:
    """Count the trials of the search by how they ended: `trials` of the record.

    Those that ended at the last rung are among the ones that were stopped early.
    """
    searched = [trial for trial in trials if not trial.is_confirmation]
    statuses = [trial.status for trial in searched]
    return {
        "requested": requested,
        "completed": sum(s in (Status.COMPLETED, Status.COLLAPSED) for s in statuses),
        "stopped_early": statuses.count(Status.STOPPED),
        "ended_at_last_rung": sum(t.stopped_by == StoppedBy.CONFIRMATION for t in searched),
        "failed": sum(s in (Status.FAILED, Status.DIVERGED) for s in statuses),
    }


def count_examples(trials: Iterable[Trial]) -> dict[str, int]:
    """Count the training rows seen by the search and by the confirmation, repeats included."""
    seen = {"search": 0, "confirmation": 0}
    for trial in trials:
        seen["confirmation" if trial.is_confirmation else "search"] += trial.examples
    return seen


def describe_candidate(policy: Policy, parameters: Parameters) -> dict[str, Any]:
    """Describe the winner or the default.

    `score` is the confirmed mean where there is one, else the score in the search, which was taken
    after `search_epochs`.
    """
    searched = next(one for one in policy.store.searched if one.parameters == parameters)
    in_search = policy.ranking.search_score(searched)
    confirmed = policy.confirmation.finals(parameters).values() if policy.confirmation else ()
    fresh = [final for final in confirmed if final is not None]
    behind_score = fresh or (in_search.evaluations if in_search else [])
    return {
        "trial_id": searched.trial_id,
        "parameters": parameters,
        "search_score": in_search and in_search.score,
        "search_f1_macro": in_search and _mean(one.f1_macro for one in in_search.evaluations),
        "search_epochs": in_search and in_search.epoch,
        "score": _mean(one.score for one in behind_score),
        "f1_macro": _mean(one.f1_macro for one in behind_score),
        "epochs": (behind_score or searched.evaluations)[-1].epoch if searched.evaluations else 0,
    }


def parameters_of_default(policy: Policy) -> Parameters | None:
    """Return the parameters of trial 0; None before it has started."""
    trials = policy.store.searched
    return next((one.parameters for one in trials if one.source == Source.DEFAULT), None)


def describe_winner(policy: Policy, *, num_rows: int) -> dict[str, Any] | None:
    """Describe the winner: `best` of the record; None: there is none.

    Args:
        policy: of the search.
        num_rows: training rows per epoch.
    """
    best, configuration = choose(policy), policy.configuration
    if best is None:
        return None
    space, training = configuration.search.space, configuration.training
    is_default = best == parameters_of_default(policy)
    return {
        **describe_candidate(policy, best),
        "fixed_rows_loss": fixed_rows_losses(policy.store, best),
        "at_edge": [] if is_default else at_edge(space, training, best, num_rows=num_rows),
    }


def choose(policy: Policy) -> Parameters | None:
    """Return the winner's parameters; None if no trial has a score, or all collapsed."""
    return winner_of(policy.ranking.ranked(policy.store.searched), policy.confirmation)


def baseline_record(
    configuration: Configuration,
    *,
    name: str,
    confusion_matrix: Sequence[Sequence[int]],
    num_training_rows: int,
    seconds: float,
) -> dict[str, Any]:
    """Describe a baseline on the validation rows of the search: `baseline` of the record.

    Args:
        configuration: of the search; its objective gives the `score`.
        name: of the baseline.
        confusion_matrix: of the validation rows, rows true, columns predicted.
        num_training_rows: rows that it was fitted on.
        seconds: that it took to fit and predict.
    """
    tallies = tallies_of_matrix(np.array(confusion_matrix, dtype=np.int64))
    return {
        "name": name,
        "score": float(objective_of(configuration).of_tallies(tallies)),
        "f1_macro": float(f1_macro(tallies)),
        "accuracy": float(accuracies(tallies)),
        "num_training_rows": num_training_rows,
        "num_validation_rows": int(np.sum(confusion_matrix)),
        "seconds": round(seconds, 3),
    }


def describe_confirmation(confirmation: Confirmation) -> dict[str, Any]:
    """Describe the confirmation: scores, means, standard errors and the comparison."""
    configuration, standing = confirmation.configuration, confirmation.standing()
    candidates = sorted(
        [standing.default, *standing.challengers, *standing.dropped],
        key=lambda candidate: confirmation.chosen.index(candidate.parameters),
    )
    found = standing.compare()
    comparison = None if found is None else _describe_comparison(found)
    kept = [standing.default, *standing.challengers]
    replicates = range(1, confirmation.num_replicates + 1)
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
                "score": [final and final.score for final in finals.values()],
                "f1_macro": [final and final.f1_macro for final in finals.values()],
                "mean": candidate.mean if candidate.scores else None,
                "standard_error": candidate.standard_error,
                "collapsed_or_diverged": len(candidate.broken),
                "dropped_after": confirmation.dropped_after(candidate.parameters),
            }
            for candidate in candidates
            for finals in [confirmation.finals(candidate.parameters)]
        ],
        "score_correlation": score_correlation(
            [
                [candidate.scores[k] for candidate in kept]
                for k in replicates
                if all(k in candidate.sound for candidate in kept)
            ]
        ),
        "smallest_detectable_difference": found and found.paired.smallest_detectable,
        "required_probabilities": _required_probabilities(confirmation),
        "winner_beats_default": comparison,
        "verdict": confirmation_verdict(
            comparison,
            **_describe_standing(standing),
            is_decided=confirmation.is_complete,
            ended_by_time=confirmation.ended_by_time and confirmation.rule.drops,
            out_of_reach_of=_out_of_reach_of(found, confirmation),
        ),
    }


def _mean(values: Iterable[float]) -> float | None:
    known = list(values)
    return float(np.mean(known)) if known else None


def _describe_comparison(found: Comparison) -> dict[str, Any]:
    means, paired = found.means, found.paired
    return {
        "leader": found.leader.parameters,
        "draws": len(found.shared),
        "leader_mean": means[0],
        "default_mean": means[1],
        "difference": paired.difference,
        "standard_error": paired.standard_error,
        "interval": list(paired.interval),
        "needed": paired.needed,
        "replaces_default": paired.is_clear,
        "probability_of_lead": paired.probability_of_lead,
        "distinguishable": paired.is_distinguishable,
    }


def _required_probabilities(confirmation: Confirmation) -> dict[str, float]:
    """Return the probability of a lead above which a challenger wins, by number of replicates."""
    last = confirmation.configuration.search.confirm_max_replicates
    required = {num: confirmation.rule.required(num) for num in range(1, last + 1)}
    return {str(num): value for num, value in required.items() if value is not None}


def _out_of_reach_of(found: Comparison | None, confirmation: Confirmation) -> int | None:
    """Return the most replicates, if the confirmation ended before since no win was in reach."""
    last = confirmation.configuration.search.confirm_max_replicates
    if found is None or found.paired.num_replicates >= last:
        return None
    return last if confirmation.rule.is_out_of_reach(found.paired) else None


def _describe_standing(standing: Standing) -> dict[str, Any]:
    """Return other arguments of `confirmation_verdict`."""
    ahead = standing.leader
    return {
        "default_stays": standing.winner() is standing.default,
        "has_challengers": bool(standing.challengers),
        "default_learnt": bool(standing.default.sound),
        "default_broken": len(standing.default.broken),
        "leader_broken": len(ahead.broken) if ahead else 0,
    }


def fixed_rows_losses(trials: Iterable[Trial], parameters: Parameters) -> list[float]:
    """Return the final losses on the fixed training rows, one for each full training."""
    return [
        trial.fixed_rows_loss
        for trial in trials
        if trial.parameters == parameters
        and trial.fixed_rows_loss is not None
        and trial.final is not None
    ]


def winning_configuration(
    configuration: Configuration, parameters: Parameters
) -> Mapping[str, Any]:
    """Return `best.yaml`: sections data, model and training with the winner's values."""
    training = with_parameters(configuration.training, parameters)
    model = configuration.model_of(parameters)
    chosen = configuration.model_copy(update={"training": training, "model": model})
    return chosen.model_dump(mode="json", include=set(CONFIGURATION_OF_WINNER))


def describe_facts(
    configuration: Configuration,
    plan: EvaluationPlan,
    *,
    num_rows: int,
    summary: DataSummary,
    command: str,
    has_gpu: bool,
    encoders: Sequence[Mapping[str, Any]],
    warm_start: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Describe what is known before the first trial: command, data, search and environment.

    Args:
        configuration: the configuration of the search.
        plan: when trials are evaluated and judged.
        num_rows: training rows per epoch.
        summary: the summary of the data.
        command: the command that repeats the run.
        has_gpu: whether trials run on a GPU.
        warm_start: configurations of earlier runs, as `tuning.warm_start.WarmStart.entries`.
        encoders: what is known of each, as `tuning.encoders.CheckedEncoder.as_record`.
    """
    models = [_describe_model(model) for model in configuration.models]
    return {
        "command": command,
        "repeatable": is_repeatable(configuration, has_gpu=has_gpu),
        "data": summary.as_record(),
        "search": _describe_search(configuration, plan, num_rows),
        "warm_start": list(warm_start),
        "environment": {
            **describe_environment(),
            "model": models[0],
        },
        "encoders": [{**one, **model} for one, model in zip(encoders, models, strict=True)],
    }


def is_repeatable(configuration: Configuration, *, has_gpu: bool) -> bool:
    """Return whether the same command gives the same scores to the last digit.

    It does on CPU with one trial at a time, or where no decision depends on the order of arrival.
    """
    search = configuration.search
    ignores_order = search.scheduler == "none" and search.algorithm in ("random", "grid")
    one_at_a_time = search.max_concurrent == 1
    return not has_gpu and search.time_budget_s is None and (one_at_a_time or ignores_order)


def _describe_search(
    configuration: Configuration, plan: EvaluationPlan, num_rows: int
) -> dict[str, Any]:
    """Describe algorithm, scheduler, rungs and space; rungs are training rows seen by a trial."""
    search = configuration.search
    return {
        "algorithm": search.algorithm,
        "scheduler": search.scheduler,
        "reduction_factor": search.reduction_factor,
        "rows_per_epoch": num_rows,
        "budget": plan.budget,
        "rungs": list(plan.rungs),
        "ends_at_last_rung": plan.ends_at_last_rung,
        "space": to_plain_space(search.space),
    }


def _describe_model(model: ModelConfig) -> dict[str, Any]:
    known = known_to(model)
    return {
        "name": model.name,
        "revision": model.revision,
        "weights": model.weights,
        "sha256": None if model.name == TINY else hash_model(Path(model.name)),
        "texts_trained_on": None if known is None else len(known),
    }
