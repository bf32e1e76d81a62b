"""What the templates allow is what deploy/policies says, with its names put in."""

import ast
import json

import boto3
import pytest

from templates import ACCOUNT, ALL, ROOT, policies, template

# Statements beside those of deploy/policies: what a boot, a session and a catalogue need. A new one has to be put here, and so be thought about.
BESIDE = {
    "free-tier": {"Role.boot", "Role.sessions"},
    "production": {
        *(f"{role}.{policy}" for role in ("GateRole", "WorkerRole") for policy in ("lake-key", "boot", "sessions")),
        *("OperatorRole.lake-key", "OperatorRole.keys", "ReaderRole.lake-key", "ReaderRole.athena", "SparkRole.lake-key", "SparkRole.job"),
    },
    "tables": {"ReaderRole.athena", "ReaderRole.lake-key"},
}


def rendered(file: str, bucket: str, roles: dict[str, str]) -> dict:
    text = (ROOT / "deploy/policies/s3" / file).read_text(encoding="utf-8")
    names = {"LAKE_BUCKET": bucket, "LAKE_PREFIX": "tidegate", "ACCOUNT_ID": ACCOUNT} | roles
    for name, value in names.items():
        text = text.replace(name, value)
    return alike(json.loads(text))


def alike(value):
    """The same statement in one shape: a list of one is that one, nothing stands twice, and order does not matter."""
    if isinstance(value, dict):
        return {key: alike(one) for key, one in value.items()}
    if isinstance(value, list):
        unique = sorted({json.dumps(alike(one), sort_keys=True) for one in value})
        return json.loads(unique[0]) if len(unique) == 1 else [json.loads(one) for one in unique]
    return value


def attached(made, role: str, policy: str) -> dict:
    document = boto3.client("iam").get_role_policy(RoleName=made.ids[role], PolicyName=policy)["PolicyDocument"]
    # Moto keeps what CloudFormation gave it as Python writes it.
    return alike(ast.literal_eval(document) if isinstance(document, str) else document)


@pytest.mark.parametrize(
    ("name", "role", "file"),
    [
        ("small", "Role", "worker.json"),
        ("production", "GateRole", "gate.json"),
        ("production", "WorkerRole", "worker.json"),
        ("production", "OperatorRole", "worker.json"),
        ("production", "ReaderRole", "reader.json"),
        ("production", "SparkRole", "spark.json"),
        ("tables", "ReaderRole", "reader.json"),
    ],
)
def test_a_role_has_the_statements_of_its_policy(name, role, file, request):
    made = request.getfixturevalue(name)
    assert attached(made, role, "lake") == rendered(file, made.value_of("LakeBucket"), {})


@pytest.mark.parametrize(
    ("name", "roles"),
    [
        ("small", {"WORKER_ROLE": "Role", "OPERATOR_ROLE": "Role", "SPARK_ROLE": "Role"}),
        ("production", {"WORKER_ROLE": "WorkerRole", "OPERATOR_ROLE": "OperatorRole", "SPARK_ROLE": "SparkRole"}),
    ],
)
def test_the_bucket_has_the_statements_of_its_policy(name, roles, request):
    made = request.getfixturevalue(name)
    document = made.resolve(policies(made.name)["LakeBucketPolicy"])
    assert alike(document) == rendered("bucket.json", made.ids["LakeBucket"], {key: made.ids[role] for key, role in roles.items()})
    assert any(statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}} for statement in document["Statement"])


@pytest.mark.parametrize("name", ALL)
def test_there_is_no_policy_that_was_not_thought_about(name):
    lake = {policy for policy in policies(name) if policy.endswith(".lake")}
    assert set(policies(name)) - lake - {"LakeBucketPolicy"} == BESIDE[name]
    for logical, resource in template(name)["Resources"].items():
        assert "ManagedPolicyArns" not in resource.get("Properties", {}), f"{logical}: a policy of AWS's own allows more than is needed"


@pytest.mark.parametrize("name", ALL)
def test_nothing_is_allowed_by_a_star_but_sessions(name):
    for policy, document in policies(name).items():
        for statement in document["Statement"]:
            if statement["Effect"] == "Allow":
                actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
                assert not any("*" in action for action in actions), (policy, statement["Sid"])
                assert statement["Resource"] != "*" or policy.endswith(".sessions"), (policy, statement["Sid"])
