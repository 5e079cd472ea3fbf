"""Keys of a report's scores, and their names as a reader knows them."""

OVERALL = {
    "f1_macro": "macro-F1",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "matthews_correlation": "Matthews correlation",
    "kappa_linear": "kappa, linear weights",
    "kappa_quadratic": "kappa, quadratic weights",
}

CALIBRATION = {
    "expected_calibration_error": "expected calibration error",
    "brier_score": "Brier score (0 to 2)",
    "negative_log_likelihood": "negative log-likelihood, nats a row",
}

BESIDE_THE_SCORE = ("f1_macro", "accuracy")
"""Columns of `trials.csv` that hold what else the last evaluation measured."""

F1_MACRO_PRESENT = "f1_macro_of_classes_present"
"""Key of a macro-F1 over the classes that have rows, which is another score than `f1_macro`."""

LOW_CONFIDENCE = {
    "accuracy": "accuracy",
    F1_MACRO_PRESENT: "macro-F1 of the classes that have rows here",
}


def capitalised(label: str) -> str:
    """A metric's label at the beginning of a line: `Macro-F1`."""
    return label[:1].upper() + label[1:]
