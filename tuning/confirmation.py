"""The best configurations trained again, beside trial 0, on seeds and splits of their own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from tuning.config import Configuration, SearchConfig
from tuning.selection import Comparison, Confirmed, candidates, compare, leader
from tuning.space import Parameters, with_parameters
from tuning.trials import Trial, trial_name

RunTrials = Callable[[Sequence[Trial]], None]
"""Runs trials to their ends, or raises what ended them all."""


def fresh_seed(seed: int, replicate: int) -> int:
    """Seed of a replicate: a function of its arguments, unlike `seed` and other replicates'."""
    return int(np.random.SeedSequence([seed, replicate]).generate_state(1)[0])


@dataclass(kw_only=True)
class Confirmation:
    """Trials of the confirmation, those of an earlier start included."""

    configuration: Configuration
    trials: list[Trial]
    """Of the search; confirmations are appended."""
    validation_share: float
    """Validation rows over training rows."""
    run: RunTrials
    chosen: list[Parameters] = field(init=False)
    num_replicates: int = 0

    def __post_init__(self) -> None:
        """Choose whom to confirm."""
        searched = [trial for trial in self.trials if trial.source != "confirm"]
        self.chosen = candidates(searched, self.configuration.search.confirm_top)

    def confirm(self) -> None:
        """Train all candidates on the first replicates, then race leader against default."""
        search = self.configuration.search
        self._close_others()
        if len(self.chosen) < 2:
            return
        first = range(1, search.confirm_replicates + 1)
        is_whole = self._train(self.chosen, first)
        while (
            is_whole
            and self.num_replicates < search.confirm_max_replicates
            and not self._is_settled()
        ):
            ahead = leader(self.scores())
            racing = [self.chosen[0]] + ([ahead.parameters] if ahead else [])
            is_whole = self._train(racing, [self.num_replicates + 1])

    def scores(self) -> list[Confirmed]:
        """Each candidate's macro-F1 by replicate, the default first.

        Only replicates that were come to: a confirmation that is gone on with decides at each
        point by what it decided by the first time.
        """
        return [self._confirmed(parameters) for parameters in self.chosen]

    def lead(self) -> Comparison | None:
        """The leader against the default; None while there is nothing to compare."""
        return compare(self.scores(), validation_share=self.validation_share)

    def is_undecided(self) -> bool:
        """Whether there is nothing to go by: no score, or cut off before there was a comparison."""
        ours = [trial for trial in self.trials if trial.source == "confirm"]
        is_cut = any(t.status == "running" or t.stopped_by == "end of search" for t in ours)
        has_scores = any(trial.final_f1_macro is not None for trial in ours)
        return not has_scores or (is_cut and self.lead() is None)

    def _confirmed(self, parameters: Parameters) -> Confirmed:
        ours = [
            trial
            for trial in self.trials
            if trial.source == "confirm"
            and trial.parameters == parameters
            and trial.replicate <= self.num_replicates
        ]
        return Confirmed(
            parameters=parameters,
            scores={t.replicate: t.final_f1_macro for t in ours if t.final_f1_macro is not None},
            broken=frozenset(t.replicate for t in ours if t.status in ("collapsed", "diverged")),
        )

    def _close_others(self) -> None:
        """Close what an earlier start left running for configurations no longer chosen."""
        for trial in self.trials:
            is_left = trial.source == "confirm" and trial.status == "running"
            if is_left and trial.parameters not in self.chosen:
                trial.status, trial.stopped_by = "stopped", "end of search"

    def _is_settled(self) -> bool:
        found = self.lead()
        return found is None or found.paired.is_settled

    def _train(self, chosen: Sequence[Parameters], replicates: Sequence[int]) -> bool:
        """Train what is missing of these replicates; whether none was cut off."""
        wanted = [self._trial(p, k) for k in replicates for p in chosen]
        self.num_replicates = max(replicates)
        if missing := [trial for trial in wanted if trial.status == "running"]:
            self.run(missing)
        return all(trial.stopped_by != "end of search" for trial in wanted)

    def _trial(self, parameters: Parameters, replicate: int) -> Trial:
        for trial in self.trials:
            if (trial.source, trial.parameters, trial.replicate) == (
                "confirm",
                parameters,
                replicate,
            ):
                return trial
        seed = fresh_seed(self.configuration.training.seed, replicate)
        training = with_parameters(self.configuration.training, {**parameters, "seed": seed})
        trial = Trial(
            trial_id=trial_name(len(self.trials)),
            source="confirm",
            parameters=parameters,
            training=training,
            replicate=replicate,
            split_seed=split_seed(self.configuration, replicate),
        )
        self.trials.append(trial)
        return trial


def most_confirmations(search: SearchConfig) -> int:
    """Trainings that a confirmation may come to: all candidates, then a race of two."""
    first = search.confirm_replicates
    return ((search.confirm_top + 1) * first + 2 * (search.confirm_max_replicates - first)) * (
        first > 0
    )


def split_seed(configuration: Configuration, replicate: int) -> int:
    """Seed of a replicate's train/validation split."""
    return fresh_seed(configuration.data.split_seed, replicate)
