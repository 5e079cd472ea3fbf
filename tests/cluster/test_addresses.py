import pytest

from cluster.addresses import address_to_join, problem_of_address


@pytest.mark.parametrize(
    ("configured", "environment", "joined"),
    [
        (None, None, None),
        ("auto", None, "auto"),
        (None, "10.0.0.1:6379", "10.0.0.1:6379"),
        ("10.0.0.2:6379", "10.0.0.1:6379", "10.0.0.2:6379"),
        (None, "", None),
        (None, "local", None),
        ("local", "10.0.0.1:6379", None),
    ],
)
def test_the_configured_ray_goes_before_the_environment_s(
    configured: str | None,
    environment: str | None,
    joined: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if environment is not None:
        monkeypatch.setenv("RAY_ADDRESS", environment)
    assert address_to_join(configured) == joined


@pytest.mark.parametrize("address", [None, "auto", "head:6379", "[::1]:6379"])
def test_addresses_that_can_be_joined_have_no_problem(
    address: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert problem_of_address(address) == ""


@pytest.mark.parametrize(
    ("address", "command"),
    [
        ("ray://head:10001", "--head http://head:8265 OPTIONS"),
        ("http://head:8265", "--head http://head:8265 OPTIONS"),
    ],
)
def test_a_client_s_address_is_answered_with_the_job_to_submit_instead(
    address: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for configured in (address, None):
        monkeypatch.setenv("RAY_ADDRESS", address)
        told = problem_of_address(configured)
        assert told.startswith("address is" if configured else "the environment's RAY_ADDRESS is")
        assert told.endswith(f"submit it as a job: python -m cluster.submit {command}")
