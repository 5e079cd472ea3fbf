import pickle
from typing import Any

from tests.tuning.builders import trial
from training.config import TrainingConfig
from training.errors import InputError
from tuning.trainable import describe_error, to_config
from tuning.trials import Trial


def caught(error: Exception) -> str:
    try:
        raise error
    except Exception as raised:
        return describe_error(raised)


def handed_over(given: Trial) -> dict[str, Any]:
    return to_config(given, flag="search-1", rows_at_once={"cpu": 4})


def test_what_a_user_can_cause_is_told_as_it_stands() -> None:
    assert caught(InputError("model.name is 'x', but must be there")) == (
        "model.name is 'x', but must be there"
    )
    assert caught(InputError("first", "second")) == "first; second"


def test_an_error_of_the_code_is_one_line_with_its_type_and_place() -> None:
    told = caught(RuntimeError("shapes\n  do not   match"))
    assert told.startswith("RuntimeError: shapes do not match (caught:")
    assert "\n" not in told


def test_equal_errors_of_two_trials_are_told_alike() -> None:
    assert caught(RuntimeError("same")) == caught(RuntimeError("same"))


def test_a_worker_is_handed_plain_values_that_make_the_same_configuration() -> None:
    given = trial(3, source="search")
    handed = pickle.loads(pickle.dumps(handed_over(given)))
    assert TrainingConfig.model_validate(handed["training"]) == given.training
    assert (handed["trial_id"], handed["replicate"], handed["stops_early"]) == ("t0003", 0, True)
    assert (handed["flag"], handed["rows_at_once"]) == ("search-1", {"cpu": 4})


def test_default_and_confirmations_are_not_stopped_early() -> None:
    for given in (trial(0), trial(5, source="confirm", replicate=2)):
        assert handed_over(given)["stops_early"] is False
    assert handed_over(trial(5, source="confirm", replicate=2))["replicate"] == 2
