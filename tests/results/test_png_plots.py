"""PNG plots: resolution, labels, odd names and missing values."""

import io
import threading
from itertools import pairwise
from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from results.older_runs import OBJECTIVE
from results.png_plots import (
    class_labels,
    make_class_f1,
    make_confusion_matrix,
    plot_class_f1,
    plot_confusion_matrix,
    plot_reliability,
)
from results.png_plots import plot_training_curves as plot_curves_of_training

LONG_NAMES = [
    "Bukan Ujaran Kebencian",
    "Ujaran Kebencian - Ringan",
    "Ujaran Kebencian - Sedang",
    "Ujaran Kebencian - Berat",
]


def plot_training_curves(path: Path, **curves: object) -> None:
    plot_curves_of_training(path, **curves, score_label="macro-F1")


def _size_and_density(path: Path) -> tuple[int, int, int]:
    """Return width and height in pixels and dots per inch of a PNG."""
    with Image.open(path) as image:
        assert image.format == "PNG"
        return *image.size, round(image.info["dpi"][0])


def _evaluations(num: int) -> list[dict[str, object]]:
    return [
        {"epoch": n / 4, "train_loss": 1.4 / n, "eval_loss": 1.5 / n, "score": 0.1 * n}
        for n in range(1, num + 1)
    ]


def test_the_confusion_matrix_is_a_png_of_300_dots_per_inch(tmp_path):
    path = tmp_path / "new" / "confusion_matrix.png"
    matrix = [[1400, 60, 20, 2], [80, 500, 40, 3], [30, 50, 240, 9], [1, 5, 20, 60]]
    plot_confusion_matrix(path, matrix, LONG_NAMES)
    width, height, density = _size_and_density(path)
    assert density == 300
    assert width > height > 1000
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    "names", [["a$b$", "\x00"], ["\U0001f620", "\ua98f\ua9ae"], ["<script>", "x" * 200]]
)
def test_odd_names_and_a_class_without_rows_are_plotted(tmp_path, names):
    path = tmp_path / "matrix.png"
    plot_confusion_matrix(path, [[3, 1], [0, 0]], names)
    assert max(_size_and_density(path)[:2]) < 20_000


def test_a_class_label_is_broken_into_lines_but_not_after_a_dash():
    labels = class_labels(LONG_NAMES, width=13, lines=6)
    assert labels[1].splitlines() == ["Ujaran", "Kebencian", "-\u00a0Ringan"]
    assert all(len(line) <= 13 for label in labels for line in label.splitlines())


def test_a_label_of_too_many_lines_keeps_its_beginning_and_its_end():
    (label,) = class_labels(["begin " + "word " * 50 + "end"], width=13, lines=4)
    first, *_, dots, last = label.splitlines()
    assert len(label.splitlines()) == 4
    assert first.startswith("begin")
    assert (dots, last.split()[-1]) == ("...", "end")


def test_marks_of_direction_are_removed_and_names_that_the_font_lacks_begin_with_their_code():
    names = ["\u202eabc\u202c", "\x00", "\ua98f\ua9ae", "$x$", "\U0001f621", "\ud800"]
    labels = class_labels(names, width=20, lines=4)
    assert labels == ["abc", "1:", "2: \ua98f\ua9ae", r"\$x\$", "\U0001f621", "5:"]


@pytest.mark.parametrize("num_labels", [2, 4, 7, 12, 30])
def test_no_label_of_the_confusion_matrix_is_cut_or_runs_into_the_next(num_labels):
    names = [f"Ujaran Kebencian tingkat {n} - Sedang sekali" for n in range(num_labels)]
    figure = make_confusion_matrix([[1] * num_labels] * num_labels, names, "title")
    FigureCanvasAgg(figure).print_raw(io.BytesIO())  # lays out the labels
    for axes in figure.axes:
        for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
            assert len(labels) == num_labels
            boxes = [label.get_window_extent() for label in labels]
            assert all(figure.bbox.containsx(x) for box in boxes for x in box.intervalx)
            assert all(figure.bbox.containsy(y) for box in boxes for y in box.intervaly)
            assert not any(one.overlaps(two) for one, two in pairwise(boxes))


def test_twelve_classes_fit(tmp_path):
    path = tmp_path / "matrix.png"
    plot_confusion_matrix(path, [[5] * 12] * 12, [f"class number {n}" for n in range(12)])
    assert _size_and_density(path)[0] < 15_000


def test_training_curves_accept_numbers_and_texts_of_a_table(tmp_path):
    numbers, text = tmp_path / "numbers.png", tmp_path / "text.png"
    rows = _evaluations(8)
    steps = [{"epoch": n / 10, "loss": 1.4 - n / 30} for n in range(20)]
    plot_training_curves(numbers, search_curve=rows, final_curve=steps)
    as_text = [{key: str(value) for key, value in row.items()} for row in rows]
    plot_training_curves(text, search_curve=as_text, final_curve=steps)
    assert _size_and_density(numbers)[2] == 300
    assert numbers.read_bytes() == text.read_bytes()


@pytest.mark.parametrize("value", [None, "", "nan", float("inf")])
def test_a_missing_value_leaves_a_gap(tmp_path, value):
    rows = _evaluations(4)
    rows[1]["train_loss"] = value
    path = tmp_path / "curves.png"
    plot_training_curves(path, search_curve=rows, final_curve=[{"epoch": value, "loss": 1.0}])
    assert _size_and_density(path)[0] > 1000


def test_a_run_without_curves_has_a_plot(tmp_path):
    path = tmp_path / "curves.png"
    plot_training_curves(path, search_curve=[], final_curve=[])
    assert _size_and_density(path)[0] > 1000


def test_a_plot_can_be_made_outside_the_main_thread(tmp_path):
    path = tmp_path / "curves.png"
    thread = threading.Thread(
        target=plot_training_curves,
        args=(path,),
        kwargs={"search_curve": _evaluations(3), "final_curve": []},
    )
    thread.start()
    thread.join()
    assert path.exists()


NAMES = ["Bukan Ujaran Kebencian", "Ujaran Kebencian - Ringan", "<script>$a$", "\u202e\U0001f621"]


def _calibration(*bins):
    return {
        "expected_calibration_error": 0.05,
        "brier_score": 0.4,
        "negative_log_likelihood": 0.7,
        "bins": [{"confidence": c, "accuracy": a, "count": n} for c, a, n in bins],
    }


def _report(names, *, baseline_intervals=True):
    classes = {name: {"f1": 0.5 + n / 100, "support": 10 * n} for n, name in enumerate(names)}
    intervals = {f"f1 of {name}": [0.4, 0.6] for name in names} | {"score": [0.45, 0.55]}
    scores = {"score": 0.5, "per_class": classes, "confidence_intervals": intervals}
    baseline = {"name": "TF-IDF, $1$", **scores}
    if not baseline_intervals:
        del baseline["confidence_intervals"]
    return {**scores, "baseline": baseline, "objective": OBJECTIVE}


def _read(path):
    with Image.open(path) as image:
        image.load()
        return image.copy(), round(image.info["dpi"][0])


def test_the_calibration_plot_is_a_png_of_300_dots_per_inch(tmp_path):
    path = tmp_path / "new" / "reliability.png"
    plot_reliability(path, _calibration((0.4, 0.3, 20), (0.7, 0.8, 21), (0.95, 1.0, 19)))
    image, density = _read(path)
    assert density == 300
    assert image.height > image.width > 1500
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    "bins",
    [[(1.0, 1.0, 5)], [(0.25, 0.0, 1)], [(0.5, 0.5, 1), (0.5 + 1e-12, 1.0, 100_000)]],
)
def test_one_bin_a_bin_of_one_row_and_adjacent_bins_are_plotted(tmp_path, bins):
    path = tmp_path / "reliability.png"
    plot_reliability(path, _calibration(*bins))
    assert _read(path)[1] == 300


def test_the_calibration_plot_depends_on_the_accuracy(tmp_path):
    low, high = tmp_path / "low.png", tmp_path / "high.png"
    plot_reliability(low, _calibration((0.6, 0.2, 50)))
    plot_reliability(high, _calibration((0.6, 0.9, 50)))
    assert low.read_bytes() != high.read_bytes()


@pytest.mark.parametrize("num_labels", [2, 4, 12])
def test_f1_of_the_classes_is_plotted_with_and_without_baseline_intervals(tmp_path, num_labels):
    names = [f"{NAMES[n % 4]} {n}" for n in range(num_labels)]
    with_them, without = tmp_path / "with.png", tmp_path / "without.png"
    plot_class_f1(with_them, names, _report(names))
    plot_class_f1(without, names, _report(names, baseline_intervals=False))
    image, density = _read(with_them)
    assert density == 300
    assert image.width == 2700
    assert with_them.read_bytes() != without.read_bytes()


def test_classes_of_few_rows_have_a_note_and_dotted_intervals():
    report = _report(["a", "b"]) | {"method": {"few_rows": {"a": 0}}}
    (axes,) = make_class_f1(["a", "b"], report).axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert "too few\nfor an interval" in labels[0]
    assert "too few" not in labels[1]
    dotted = [line for line in axes.get_lines() if line.get_linestyle() == ":"]
    assert len(dotted) == 2, "the model's and the baseline's"


def test_a_long_name_is_not_cut_and_the_plot_of_hundreds_of_classes_has_a_limit(tmp_path):
    path = tmp_path / "f1.png"
    plot_class_f1(path, ["x" * 300, "y"], _report(["x" * 300, "y"]))
    image, _ = _read(path)
    edge = image.convert("L").crop((0, 0, 8, image.height))
    assert edge.getextrema()[0] == 255, "something is plotted up to the left edge"
    names = [f"class {n}" for n in range(200)]
    assert make_class_f1(names, _report(names)).get_figheight() <= 60  # inches
