"""The templates of CloudFormation as data, and as stacks in moto, which does in memory what AWS would do."""

import base64
import itertools
import json
from functools import cache
from pathlib import Path

import boto3
import yaml

ROOT = Path(__file__).resolve().parents[2]
AWS = ROOT / "deploy/aws"
NAMES = ("free-tier", "production")
# Those, and the one that brings no machine.
ALL = (*NAMES, "tables")
ACCOUNT, REGION = "123456789012", "us-east-1"
# Names of parameters below /aws are AWS's own, in moto too.
IMAGE_OF_DEBIAN, IMAGE_HERE = "/aws/service/debian/release/12/latest/amd64", "/images/debian-12"

# What moto's CloudFormation does not make. A test fails where it has learned to, so that what is here does not stay unlooked at.
UNKNOWN_TO_MOTO = {
    "AWS::Athena::WorkGroup",
    "AWS::AutoScaling::ScalingPolicy",
    "AWS::Budgets::Budget",
    "AWS::CloudWatch::Alarm",
    "AWS::EMRServerless::Application",
    "AWS::Glue::Database",
    "AWS::Glue::Table",
    "AWS::MSK::BatchScramSecret",
    "AWS::MSK::Cluster",
    "AWS::MSK::Configuration",
    "AWS::S3::BucketPolicy",
    "AWS::SecretsManager::Secret",
}
# What it makes otherwise: it wants an instance to name its image itself, and not in a launch template.
MADE_OTHERWISE = {"AWS::EC2::Instance"}
# What it makes without telling a name of it.
MADE_WITHOUT_A_NAME = {"AWS::EC2::SecurityGroupIngress"}


class Loader(yaml.SafeLoader):
    """YAML with the short forms of CloudFormation's functions."""


def function(loader: Loader, suffix: str, node: yaml.Node):
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt":
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


Loader.add_multi_constructor("!", function)


def text(name: str) -> str:
    return (AWS / f"{name}.yaml").read_text(encoding="utf-8")


@cache
def template(name: str) -> dict:
    return yaml.load(text(name), Loader)


def policies(name: str) -> dict[str, dict]:
    """Every document of a policy that a template has, by the resource (and, of a role, the name of the policy)."""
    found = {}
    for logical, resource in template(name)["Resources"].items():
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::S3::BucketPolicy":
            found[logical] = properties["PolicyDocument"]
        if resource["Type"] == "AWS::IAM::RolePolicy":
            found[f"{properties['RoleName']['Ref']}.{properties['PolicyName']}"] = properties["PolicyDocument"]
        for policy in properties.get("Policies", []) if resource["Type"] == "AWS::IAM::Role" else []:
            found[f"{logical}.{policy['PolicyName']}"] = policy["PolicyDocument"]
    return found


def folders() -> dict[str, str]:
    """Where the tables that a template puts into the catalogue lie below the lake's location, by their names there."""
    inputs = [resource["Properties"]["TableInput"] for resource in template("tables")["Resources"].values() if resource["Type"] == "AWS::Glue::Table"]
    below = "s3://${LakeBucket}/${LakePrefix}/"
    return {one["Name"]: one["StorageDescriptor"]["Location"]["Fn::Sub"].removeprefix(below).rstrip("/") for one in inputs}


def parameters(name: str) -> dict[str, str]:
    if name == "tables":
        return {"LakeBucket": "lake"}
    given = {"ArtifactBucket": "artifacts", "TidegateSha256": "a" * 64, "SsmAgentSha256": "b" * 64, "AlertEmail": "somebody@example.com"}
    if name == "free-tier":
        return given | {"KafkaSha512": "c" * 128}
    return given


class Stack:
    """A template as moto makes it."""

    numbers = itertools.count(1)

    def __init__(self, name: str, given: dict[str, str] | None = None) -> None:
        self.name = name
        self.stack = f"tidegate-{next(self.numbers)}"
        self.given = parameters(name) | (given or {})
        boto3.client("ssm").put_parameter(Name=IMAGE_HERE, Value="ami-0123456789abcdef0", Type="String", Overwrite=True)
        if name == "production":
            self.given |= {"CertificateArn": boto3.client("acm").request_certificate(DomainName="events.example.com")["CertificateArn"]}
        body = json.dumps(self.body())
        storage = boto3.client("s3")
        storage.create_bucket(Bucket="artifacts")
        storage.put_object(Bucket="artifacts", Key="template.json", Body=body)
        self.formation = boto3.client("cloudformation")
        self.formation.create_stack(
            StackName=self.stack,
            TemplateURL="https://s3.amazonaws.com/artifacts/template.json",
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in self.given.items()],
            Capabilities=["CAPABILITY_IAM"],
        )
        made = self.formation.describe_stack_resources(StackName=self.stack)["StackResources"]
        self.ids = {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in made if "PhysicalResourceId" in one}

    def body(self) -> dict:
        body = json.loads(json.dumps(template(self.name)).replace(IMAGE_OF_DEBIAN, IMAGE_HERE))
        left_out = {logical for logical, resource in body["Resources"].items() if resource["Type"] in MADE_OTHERWISE}
        body["Resources"] = {logical: resource for logical, resource in body["Resources"].items() if not mentions(resource, left_out)}
        body["Outputs"] = {logical: output for logical, output in body["Outputs"].items() if not mentions(output, left_out)}
        for logical in left_out:
            body["Resources"].pop(logical, None)
        return body

    def attribute(self, logical: str, attribute: str) -> str:
        kind = template(self.name)["Resources"][logical]["Type"]
        physical = self.ids[logical]
        if (kind, attribute) == ("AWS::IAM::Role", "Arn"):
            return f"arn:aws:iam::{ACCOUNT}:role/{physical}"
        if (kind, attribute) == ("AWS::S3::Bucket", "Arn"):
            return f"arn:aws:s3:::{physical}"
        if (kind, attribute) == ("AWS::KMS::Key", "Arn"):
            return boto3.client("kms").describe_key(KeyId=physical)["KeyMetadata"]["Arn"]
        raise KeyError(f"{logical}.{attribute}")

    def resolve(self, value):
        """A part of the template with its references resolved, for what moto does not make itself."""
        if isinstance(value, list):
            return [self.resolve(one) for one in value]
        if not isinstance(value, dict):
            return value
        match next(iter(value.items()), (None, None)):
            case "Ref", name:
                return {"AWS::Partition": "aws", "AWS::Region": REGION, "AWS::AccountId": ACCOUNT, "AWS::StackName": self.stack}.get(name) or self.value_of(name)
            case "Fn::GetAtt", [logical, attribute]:
                return self.attribute(logical, attribute)
            case "Fn::Sub", str(pattern):
                return self.substituted(pattern)
            case "Fn::If", [condition, yes, no]:
                return self.resolve(yes if self.holds({"Condition": condition}) else no)
        return {key: self.resolve(one) for key, one in value.items()}

    def holds(self, condition: dict) -> bool:
        match next(iter(condition.items())):
            case "Condition", name:
                return self.holds(template(self.name)["Conditions"][name])
            case "Fn::Equals", [one, other]:
                return self.resolve(one) == self.resolve(other)
            case "Fn::Not", [other]:
                return not self.holds(other)
            case "Fn::And", conditions:
                return all(self.holds(one) for one in conditions)
        raise KeyError(condition)

    def value_of(self, name: str) -> str:
        return self.given.get(name) or self.ids.get(name) or template(self.name)["Parameters"][name]["Default"]

    def substituted(self, pattern: str) -> str:
        out = ""
        while "${" in pattern:
            before, rest = pattern.split("${", 1)
            name, pattern = rest.split("}", 1)
            out += before + (self.attribute(*name.split(".", 1)) if "." in name else self.resolve({"Ref": name}))
        return out + pattern

    def launch_template(self, logical: str) -> dict:
        [version] = boto3.client("ec2").describe_launch_template_versions(LaunchTemplateId=self.ids[logical])["LaunchTemplateVersions"]
        return version["LaunchTemplateData"]

    def user_data(self, logical: str) -> str:
        return base64.b64decode(self.launch_template(logical)["UserData"]).decode()


def mentions(value, names: set[str]) -> bool:
    """Whether a part of a template refers to one of these."""
    if isinstance(value, list):
        return any(mentions(one, names) for one in value)
    if not isinstance(value, dict):
        return isinstance(value, str) and any(f"${{{name}" in value for name in names)
    for key, one in value.items():
        if key == "Ref" and one in names or key == "Fn::GetAtt" and one[0] in names or mentions(one, names):
            return True
    return False
