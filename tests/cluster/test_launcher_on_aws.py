"""The launcher's file for AWS, carried out by Ray's provider on an EC2 that moto plays."""

import copy
import json
import re
from collections.abc import Iterator

import boto3
import pytest
from moto import mock_aws
from ray.autoscaler._private.aws.node_provider import AWSNodeProvider

from tests.cluster.launchers import Config, accept, read, start_commands


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Config]:
    """The AWS file, completed for an account that holds what its README has one make."""
    config = read("aws.yaml")
    with pytest.MonkeyPatch.context() as monkeypatch, mock_aws():
        monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))  # Ray writes to ~/.ssh
        monkeypatch.setenv("AWS_DEFAULT_REGION", config["provider"]["region"])
        iam = boto3.client("iam")
        for node in config["available_node_types"].values():
            profile = node["node_config"]["IamInstanceProfile"]["Name"]
            iam.create_instance_profile(InstanceProfileName=profile)
        group = boto3.client("ec2").create_security_group(GroupName="own", Description="-")
        text = re.sub(r"sg-\w+", group["GroupId"], json.dumps(config))
        prepared = AWSNodeProvider.fillout_available_node_types_resources(accept(json.loads(text)))
        yield AWSNodeProvider.bootstrap_config(prepared)


def launch(config: Config, node_type: str) -> Config:
    """Start a machine by Ray's provider; return its description by EC2."""
    provider = AWSNodeProvider(config["provider"], config["cluster_name"])
    node_config = copy.deepcopy(config["available_node_types"][node_type]["node_config"])
    (machine,) = provider.create_node(node_config, {}, 1)
    found = boto3.client("ec2").describe_instances(InstanceIds=[machine])
    described: Config = found["Reservations"][0]["Instances"][0]
    return described


def test_the_head_is_on_demand_and_a_worker_is_spot(account: Config) -> None:
    assert launch(account, account["head_node_type"]).get("InstanceLifecycle") is None
    assert launch(account, "gpu")["InstanceLifecycle"] == "spot"


def test_only_workers_run_trials_and_they_have_a_gpu(account: Config) -> None:
    resources = {name: node["resources"] for name, node in account["available_node_types"].items()}
    assert resources["head"] == {"CPU": 0}
    assert (resources["gpu"]["CPU"], resources["gpu"]["GPU"]) == (8, 1)
    assert "--num-cpus=0 " in start_commands(account, "head")


def test_without_trials_the_head_alone_is_left(account: Config) -> None:
    gpu = account["available_node_types"]["gpu"]
    assert (gpu["min_workers"], gpu["max_workers"]) == (0, account["max_workers"])
    assert 0 < account["idle_timeout_minutes"] <= 10
    assert account["provider"]["cache_stopped_nodes"] is False


@pytest.mark.parametrize("node_type", ["head", "gpu"])
def test_a_machine_has_the_user_s_security_group_and_guards_its_role(
    account: Config, node_type: str
) -> None:
    machine = launch(account, node_type)
    assert [group["GroupName"] for group in machine["SecurityGroups"]] == ["own"]
    assert machine["MetadataOptions"]["HttpTokens"] == "required"
    assert machine["IamInstanceProfile"]["Arn"].endswith(("-head", "-worker"))


def test_ray_opens_no_port_of_the_account(account: Config) -> None:
    launch(account, "head")
    groups = boto3.client("ec2").describe_security_groups()["SecurityGroups"]
    assert [group["GroupName"] for group in groups if group["IpPermissions"]] == []


def test_every_disk_is_encrypted_and_goes_with_its_machine() -> None:
    for node in read("aws.yaml")["available_node_types"].values():
        (disk,) = node["node_config"]["BlockDeviceMappings"]
        assert disk["Ebs"]["Encrypted"] is True
        assert disk["Ebs"]["DeleteOnTermination"] is True
