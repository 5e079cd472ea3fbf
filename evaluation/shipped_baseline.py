"""Ship the baseline of the test comparison beside the model, so that it can be used instead."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evaluation.markdown import cell, one_line, plain, table
from evaluation.scores import SCORE
from results.score_names import OVERALL
from training.baseline import NAME, Baseline
from training.baseline_files import write_baseline

_USE = """\
## How to use
For every row of a table, with the project that fitted it; DIR is this directory:
```bash
python -m evaluation.predict --model DIR --input new.csv --output out.csv
```
The probabilities come from a model with balanced class weights and were not calibrated. The test
rows are those of the fine-tuned model, which has a card of its own in `../model`.

## Files
`baseline.json` describes the baseline, `vocabulary.json` has its n-grams, `weights.npz` their
inverse document frequencies and the coefficients. Nothing is pickled, so that loading runs no code
from the files. The n-grams are words and parts of words that occur in at least two training texts:
share these files only with people who may read such words.
"""


def ship_baseline(
    baseline: Baseline, report: Mapping[str, Any], directory: Path, *, run_name: str
) -> None:
    """Write the baseline that the model was compared with, and its card.

    Args:
        baseline: fitted on the rows that the model was retrained on.
        report: content of evaluation_report.json.
        directory: `final/baseline`; it is replaced.
        run_name: name of the run.

    Raises:
        OSError: the directory cannot be written.
    """
    write_baseline(baseline, directory, card=_card(baseline, report, run_name))


def _card(baseline: Baseline, report: Mapping[str, Any], run_name: str) -> str:
    counts = zip(baseline.names, baseline.class_counts.tolist(), strict=True)
    rows = ", ".join(f"{plain(name)} {count:,}" for name, count in counts)
    return (
        "---\nlibrary_name: scikit-learn\npipeline_tag: text-classification\n---\n"
        f"# Baseline of {plain(one_line(run_name))}\n"
        f"{NAME}, fitted with seed {baseline.seed} on the {baseline.class_counts.sum():,} rows that"
        f" the fine-tuned model was retrained on ({rows}). It is the line that the model must"
        " beat: where it does not, this baseline is smaller, faster and as good.\n\n"
        f"## Test scores\n{_scores(report)}\n{_USE}"
    )


def _scores(report: Mapping[str, Any]) -> str:
    against = report["baseline"]
    names = {SCORE: report["objective"]["label"], **OVERALL}
    rows = [
        [name, against[key], _interval(against, key), report[key]]
        for key, name in names.items()
        if key in against and key != report["objective"]["name"]  # the score is it
    ]
    return table(["metric", "baseline", "95 % interval", "fine-tuned model"], rows)


def _interval(scores: Mapping[str, Any], metric: str) -> str:
    ends = scores["confidence_intervals"].get(metric)
    return f"{cell(ends[0])} to {cell(ends[1])}" if ends else ""
