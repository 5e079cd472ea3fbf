from results.micro_batch_limits import limits_record, read_limits


def test_limits_of_one_encoder_are_recorded_as_before_and_read_for_it() -> None:
    found = limits_record({"tiny": {"cpu": 4}}, is_searched=False)
    assert found == {"cpu": 4}
    assert read_limits({"rows_at_once": found}, ["tiny"]) == {"tiny": {"cpu": 4}}


def test_limits_of_several_encoders_are_recorded_by_name_and_read_for_each_alone() -> None:
    limits = {"one": {"cpu": 4}, "two": {"cpu": 2, "H200": 8}, "three": {}}
    found = limits_record(limits, is_searched=True)
    assert found == {"one": {"cpu": 4}, "two": {"cpu": 2, "H200": 8}}
    assert read_limits({"rows_at_once": found}, ["two", "three"]) == {"two": found["two"]}


def test_a_record_without_limits_has_none() -> None:
    for record in ({}, {"rows_at_once": {}}):
        assert read_limits(record, ["tiny"]) == {}
    assert limits_record({}, is_searched=False) == limits_record({}, is_searched=True) == {}
