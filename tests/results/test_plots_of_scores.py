import pytest
from PIL import Image

from results.older_runs import OBJECTIVE
from results.plots import draw_class_f1, plot_class_f1, plot_reliability

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


def _opened(path):
    with Image.open(path) as picture:
        picture.load()
        return picture.copy(), round(picture.info["dpi"][0])


def test_the_reliability_plot_is_a_picture_of_300_dots_an_inch(tmp_path):
    path = tmp_path / "new" / "reliability.png"
    plot_reliability(path, _calibration((0.4, 0.3, 20), (0.7, 0.8, 21), (0.95, 1.0, 19)))
    picture, density = _opened(path)
    assert density == 300
    assert picture.height > picture.width > 1500
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    "bins",
    [[(1.0, 1.0, 5)], [(0.25, 0.0, 1)], [(0.5, 0.5, 1), (0.5 + 1e-12, 1.0, 100_000)]],
)
def test_one_bin_a_bin_of_one_row_and_bins_side_by_side_are_drawn(tmp_path, bins):
    path = tmp_path / "reliability.png"
    plot_reliability(path, _calibration(*bins))
    assert _opened(path)[1] == 300


def test_the_picture_shows_where_accuracy_lies(tmp_path):
    low, high = tmp_path / "low.png", tmp_path / "high.png"
    plot_reliability(low, _calibration((0.6, 0.2, 50)))
    plot_reliability(high, _calibration((0.6, 0.9, 50)))
    assert low.read_bytes() != high.read_bytes()


@pytest.mark.parametrize("num_labels", [2, 4, 12])
def test_f1_of_the_classes_is_drawn_with_and_without_the_baselines_intervals(tmp_path, num_labels):
    names = [f"{NAMES[n % 4]} {n}" for n in range(num_labels)]
    with_them, without = tmp_path / "with.png", tmp_path / "without.png"
    plot_class_f1(with_them, names, _report(names))
    plot_class_f1(without, names, _report(names, baseline_intervals=False))
    picture, density = _opened(with_them)
    assert density == 300
    assert picture.width == 2700
    assert with_them.read_bytes() != without.read_bytes()


def test_classes_of_few_rows_are_marked_in_words_and_by_dotted_intervals():
    report = _report(["a", "b"]) | {"method": {"few_rows": {"a": 0}}}
    (axes,) = draw_class_f1(["a", "b"], report).axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert "too few\nfor its interval" in labels[0]
    assert "too few" not in labels[1]
    dotted = [line for line in axes.get_lines() if line.get_linestyle() == ":"]
    assert len(dotted) == 2, "the model's and the baseline's"


def test_a_very_long_name_is_not_cut_and_hundreds_of_classes_can_be_opened(tmp_path):
    path = tmp_path / "f1.png"
    plot_class_f1(path, ["x" * 300, "y"], _report(["x" * 300, "y"]))
    picture, _ = _opened(path)
    edge = picture.convert("L").crop((0, 0, 8, picture.height))
    assert edge.getextrema()[0] == 255, "something is drawn up to the left edge"
    names = [f"class {n}" for n in range(200)]
    assert draw_class_f1(names, _report(names)).get_figheight() <= 60  # inches
