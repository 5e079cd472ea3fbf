from tuning.errors import describe_endings


def test_advice_follows_how_the_trials_without_a_score_ended() -> None:
    assert describe_endings(["failed", "failed"]) == "2 failed"
    assert describe_endings(["diverged", "failed"]) == (
        "1 diverged: try lower learning rates, 1 failed"
    )
    assert "longer time budget" in describe_endings(["stopped"])
    assert "learning rates" not in describe_endings(["stopped", "failed", "running"])
