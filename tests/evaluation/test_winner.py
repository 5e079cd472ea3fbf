import json
import shutil

import pytest
import yaml

from evaluation.winner import WinningConfiguration, load_winner
from results.errors import RunError
from results.run import open_run
from tests.evaluation.conftest import read_csv
from training.data import read_test_rows
from training.errors import InputError
from training.options import read_yaml, validate
from training.trained_on import hashes_of, write_trained_on


def _change(path, change):
    path.write_text(change(path.read_text("utf-8")), encoding="utf-8")


def _data_config(run_directory):
    path = run_directory / "best.yaml"
    return validate(WinningConfiguration, read_yaml(path), where=str(path)).data


def _own_data(run_directory, data_file, tmp_path):
    """Make the run use a copy of its data that a test may change."""
    own = shutil.copy(data_file, tmp_path / "own.csv")
    _change(run_directory / "best.yaml", lambda text: text.replace(str(data_file), str(own)))
    return own


def test_the_winner_has_its_values_its_data_and_its_curve(run_directory):
    winner = load_winner(open_run(run_directory))
    best = winner.record["best"]
    assert winner.configuration.training.batch_size == best["parameters"]["batch_size"]
    rows = read_csv(run_directory / "splits.csv")
    assert sorted(winner.data.test_rows.tolist()) == [
        int(row["row"]) for row in rows if row["split"] == "test"
    ]
    curve = [
        row for row in read_csv(run_directory / "curves.csv") if row["trial_id"] == best["trial_id"]
    ]
    assert [row["f1_macro"] for row in winner.search_curve()] == [
        float(row["f1_macro"]) for row in curve
    ]
    assert winner.losses_seen == best["fixed_rows_loss"] != []


def _with_objective(run_directory, name):
    path = run_directory / "search.json"
    record = json.loads(path.read_text("utf-8"))
    record["objective"] = {"name": name, "label": "whatever", "higher_is_better": True}
    for part in ("best", "default"):
        of_search = record[part].setdefault("search_score", record[part]["search_f1_macro"])
        record[part].setdefault("score", of_search)
    path.write_text(json.dumps(record), encoding="utf-8")


def test_the_objective_is_the_one_of_the_record(run_directory):
    assert load_winner(open_run(run_directory)).objective.name == "f1_macro"
    for name in ("accuracy", "kappa_quadratic", "f1:Ujaran Kebencian - Berat"):
        _with_objective(run_directory, name)
        assert load_winner(open_run(run_directory)).objective.name == name


@pytest.mark.parametrize("name", ["auc", "f1:mild", ""])
def test_an_unknown_objective_is_refused(run_directory, name):
    _with_objective(run_directory, name)
    with pytest.raises(RunError, match=r"objective in search\.json .* restore") as caught:
        load_winner(open_run(run_directory))
    assert "\n" not in str(caught.value)


def test_a_copy_of_the_data_at_another_path_is_the_same_data(run_directory, data_file, tmp_path):
    _own_data(run_directory, data_file, tmp_path)
    assert len(load_winner(open_run(run_directory)).data.test_rows) > 0


def test_a_changed_input_file_is_refused(run_directory, data_file, tmp_path):
    own = _own_data(run_directory, data_file, tmp_path)
    _change(own, lambda text: text + "\n")
    with pytest.raises(RunError, match=r"SHA-256 is .* but must be .*restore") as caught:
        load_winner(open_run(run_directory))
    assert "\n" not in str(caught.value)


def test_a_missing_input_file_is_refused(run_directory, data_file, tmp_path):
    _own_data(run_directory, data_file, tmp_path).unlink()
    with pytest.raises(InputError, match="no such file"):
        load_winner(open_run(run_directory))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda text: text.replace(",test,", ",train,", 1), id="row in another split"),
        pytest.param(lambda text: text.rstrip("\n").rpartition("\n")[0] + "\n", id="row left out"),
        pytest.param(lambda text: text + "999999,test,\n", id="row too many"),
        pytest.param(lambda text: text.replace("split", "part", 1), id="other column"),
        pytest.param(lambda text: text.replace("\n5,", "\nx,", 1), id="row without a number"),
    ],
)
def test_changed_splits_are_refused(run_directory, change):
    _change(run_directory / "splits.csv", change)
    with pytest.raises(RunError, match="restore"):
        load_winner(open_run(run_directory))


def test_missing_splits_are_refused(run_directory):
    (run_directory / "splits.csv").unlink()
    with pytest.raises(RunError, match=r"splits\.csv cannot be read"):
        load_winner(open_run(run_directory))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("split_seed: 42", "split_seed: 43"), "data.split_seed is 43 in best.yaml"),
        (("learning_rate: 0.004", "learning_rate: 0.005"), "training.learning_rate is 0.005"),
        (("max_length: ", "max_length: 1"), "model.max_length is 1"),
    ],
)
def test_a_best_yaml_that_is_not_the_winner_is_refused(run_directory, change, named):
    before = (run_directory / "best.yaml").read_text("utf-8")
    _change(run_directory / "best.yaml", lambda text: text.replace(*change))
    assert (run_directory / "best.yaml").read_text("utf-8") != before
    with pytest.raises(RunError, match=f"{named}.*but must be .*search's winner.*restore"):
        load_winner(open_run(run_directory))


def test_another_split_of_the_same_data_is_refused(run_directory):
    for name in ("best.yaml", "config.yaml"):
        _change(run_directory / name, lambda t: t.replace("split_seed: 42", "split_seed: 43"))
    with pytest.raises(RunError, match="the split differs from the search's"):
        load_winner(open_run(run_directory))


def _start_from(run_directory, model, **facts):
    """Change the run as if its search had started from a model directory."""
    for name in ("best.yaml", "config.yaml"):
        _change(run_directory / name, lambda t: t.replace("name: tiny", f"name: {model}"))
    path = run_directory / "search.json"
    record = json.loads(path.read_text("utf-8"))
    record["environment"]["model"].update(facts)
    path.write_text(json.dumps(record), encoding="utf-8")


def test_a_starting_model_that_has_seen_test_rows_is_refused_before_the_test_set_is_used(
    run_directory, tmp_path
):
    data = load_winner(open_run(run_directory)).data
    texts = read_test_rows(_data_config(run_directory), sha256=data.summary.sha256).test.texts
    write_trained_on(tmp_path, hashes_of([*texts[:3], "liya"]))
    _start_from(run_directory, tmp_path, texts_trained_on=4)
    with pytest.raises(InputError, match=f"was trained on 3 of {len(texts)} test rows"):
        load_winner(open_run(run_directory))
    assert not (run_directory / "test_openings.json").exists()


@pytest.mark.parametrize("left", ["nothing", "fewer"])
def test_a_starting_model_that_lists_other_texts_than_before_is_refused(
    run_directory, tmp_path, left
):
    if left == "fewer":
        write_trained_on(tmp_path, hashes_of(["liya"]))
    _start_from(run_directory, tmp_path, texts_trained_on=2)
    listed = {"nothing": "no", "fewer": "1"}[left]
    with pytest.raises(RunError, match=f"lists {listed} texts .* but must list 2, .*restore"):
        load_winner(open_run(run_directory))


def test_the_texts_of_the_starting_model_are_among_those_of_the_winner(run_directory, tmp_path):
    own = load_winner(open_run(run_directory)).texts_trained_on
    known = hashes_of(["liya", "liya maneh"])
    write_trained_on(tmp_path, known)
    _start_from(run_directory, tmp_path, texts_trained_on=2)
    found = load_winner(open_run(run_directory)).texts_trained_on
    assert found.tolist() == sorted([*own.tolist(), *known.tolist()])


@pytest.mark.parametrize("status", ["running", "interrupted", "aborted"])
def test_a_search_that_is_not_completed_is_refused(run_directory, status):
    record = json.loads((run_directory / "search.json").read_text("utf-8"))
    (run_directory / "search.json").write_text(json.dumps(record | {"status": status}))
    with pytest.raises(RunError, match=f"is {status}, but must be completed.*--resume"):
        load_winner(open_run(run_directory))


def test_a_run_without_its_winner_is_refused(run_directory):
    (run_directory / "best.yaml").unlink()
    with pytest.raises(InputError, match=r"best\.yaml: cannot be read"):
        load_winner(open_run(run_directory))


def test_a_winner_with_an_unknown_key_is_refused(run_directory):
    best = yaml.safe_load((run_directory / "best.yaml").read_text("utf-8"))
    best["training"]["learning_rat"] = 1
    (run_directory / "best.yaml").write_text(yaml.safe_dump(best))
    with pytest.raises(InputError, match="did you mean learning_rate"):
        load_winner(open_run(run_directory))


def test_a_directory_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"no search\.json"):
        load_winner(open_run(tmp_path))
