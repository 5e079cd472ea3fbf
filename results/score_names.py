"""Names of metrics and scores, the same in the report, the model card, plots and TensorBoard."""

OVERALL = {
    "f1_macro": "macro-F1",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "matthews_correlation": "Matthews correlation",
    "kappa_linear": "kappa, linear weights",
    "kappa_quadratic": "kappa, quadratic weights",
}
"""Metrics of all classes together: key in `evaluation_report.json`, name for people."""

CALIBRATION = {
    "expected_calibration_error": "expected calibration error",
    "brier_score": "Brier score (0 to 2)",
    "negative_log_likelihood": "negative log-likelihood, nats per row",
}

BESIDE_THE_SCORE = ("f1_macro", "accuracy")
"""Columns of `trials.csv` with further metrics of the last evaluation, beside its score."""

F1_MACRO_PRESENT = "f1_macro_of_classes_present"
"""Key of a macro-F1 over the classes that have rows: a different metric from `f1_macro`."""

LOW_CONFIDENCE = {
    "accuracy": "accuracy",
    F1_MACRO_PRESENT: "macro-F1 of the classes that have rows here",
}

STEPS_APART = {
    "distance": "steps apart",
    "mean_absolute_distance": "mean of the steps apart",
    "neighbouring": "one step apart",
    "distant": "two or more steps apart",
    "too_severe": "later in the list of labels",
    "too_mild": "earlier in the list of labels",
}
"""Names of the parts of `by_distance` of `error_analysis.json`: predictions against labels."""

TOO_FEW_ROWS = "too few rows for a reliable interval"
"""Note on a class that is listed in `method.few_rows` of `evaluation_report.json`."""


def capitalise(label: str) -> str:
    """Return a metric's label with a capital first letter: `Macro-F1`."""
    return label[:1].upper() + label[1:]


def describe_epochs(epochs: float | None, full: float | None) -> str:
    """Return after how many epochs a score of a shorter training was taken: `after 3 of 6 epochs`.

    Args:
        epochs: at which the score was taken; None: not known, in a run of an older version.
        full: epochs of a full training; None: not known.

    Returns:
        The words; empty for a full training, and where one of the numbers is not known.
    """
    if epochs is None or full is None or epochs > full - 1e-6:
        return ""
    return f"after {round(epochs, 2):g} of {round(full, 2):g} epochs"


def name_three_scores(
    search: float | None, confirmed: float | None, test: float | None, *, taken: str = ""
) -> list[tuple[str, float | None, str]]:
    """Return name, score and origin of the winner's three scores; None: not measured.

    Args:
        search: the score in the search.
        confirmed: the mean over the replicates.
        test: the score on the test set.
        taken: after how many epochs the score in the search was taken, as of `describe_epochs`.
    """
    # The confirmation may choose another trial than the one with the best score of the search.
    of_search = (
        "the best of many trials on the same validation rows: biased upwards"
        if confirmed is None
        else "the winner's own, on the validation rows that chose the finalists"
    )
    if taken:
        of_search = f"{of_search}; a shorter training, not comparable with the others"
    return [
        (f"search, {taken}" if taken else "search", search, of_search),
        ("confirmation", confirmed, "mean over replicates that were also used for the selection"),
        ("test", test, "rows that no decision was based on: the score to quote"),
    ]
