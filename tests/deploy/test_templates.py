"""The templates: sound to the linter, and what moto makes of them is what was meant."""

import json
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
import yaml

from templates import ALL, AWS, IMAGE_HERE, IMAGE_OF_DEBIAN, MADE_OTHERWISE, MADE_WITHOUT_A_NAME, NAMES, UNKNOWN_TO_MOTO, Stack, template, text

sys.path.insert(0, str(AWS))
import embed  # noqa: E402

USER_DATA_BYTES_MAX = 16_384
FIXTURES = {"free-tier": "small", "production": "production", "tables": "tables"}


def test_the_linter_finds_neither_errors_nor_warnings():
    program = Path(sys.executable).with_name("cfn-lint")
    done = subprocess.run([program, "--", *(AWS / f"{name}.yaml" for name in ALL)], capture_output=True, encoding="utf-8")
    assert done.returncode == 0 and not done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_what_is_embedded_are_the_files(name):
    assert text(name).count("# from deploy/") >= 8
    assert embed.embedded(text(name)) == text(name), "a file was changed: python3 deploy/aws/embed.py puts it into the templates"


@pytest.mark.parametrize("name", ALL)
def test_cloudformation_takes_no_aliases(name):
    assert not [event for event in yaml.parse(text(name)) if isinstance(event, yaml.AliasEvent)]


@pytest.mark.parametrize("name", ALL)
def test_what_moto_does_not_make_is_known(name, request):
    made = request.getfixturevalue(FIXTURES[name])
    resources = {logical: resource["Type"] for logical, resource in made.body()["Resources"].items() if "Condition" not in resource}
    missing = {kind for logical, kind in resources.items() if logical not in made.ids} - MADE_WITHOUT_A_NAME
    assert missing == set(resources.values()) & UNKNOWN_TO_MOTO


def test_moto_still_wants_an_image_of_an_instance(monkeypatch):
    monkeypatch.setattr(Stack, "body", lambda self: json.loads(json.dumps(template(self.name)).replace(IMAGE_OF_DEBIAN, IMAGE_HERE)))
    with pytest.raises(KeyError, match="ImageId"):
        Stack("free-tier")
    assert MADE_OTHERWISE == {"AWS::EC2::Instance"}


def ingress(made, logical):
    [group] = boto3.client("ec2").describe_security_groups(GroupIds=[made.ids[logical]])["SecurityGroups"]
    rules = [(rule.get("FromPort"), rule.get("ToPort"), one) for rule in group["IpPermissions"] for one in rule["IpRanges"] + rule["UserIdGroupPairs"]]
    return sorted((first, last, one.get("CidrIp") or one["GroupId"]) for first, last, one in rules)


@pytest.mark.parametrize("name", ALL)
def test_no_bucket_is_public(name, account):
    storage = boto3.client("s3")
    for logical, resource in template(name)["Resources"].items():
        if resource["Type"] == "AWS::S3::Bucket":
            # Moto's CloudFormation leaves these two out; S3 itself takes them.
            blocked, controls = resource["Properties"]["PublicAccessBlockConfiguration"], resource["Properties"]["OwnershipControls"]
            assert len(blocked) == 4 and set(blocked.values()) == {True}, logical
            assert controls == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}, logical
            bucket = f"{name}-{logical}".lower()
            storage.create_bucket(Bucket=bucket)
            storage.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=blocked)
            storage.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=controls)


@pytest.mark.parametrize(("name", "algorithm"), [("free-tier", "AES256"), ("production", "aws:kms")])
def test_the_bucket_of_the_tables_is_encrypted_and_forgets(name, algorithm, request):
    made = request.getfixturevalue(FIXTURES[name])
    storage, bucket = boto3.client("s3"), made.ids["LakeBucket"]
    [rule] = storage.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == algorithm
    # Moto's CloudFormation leaves these out as well.
    properties = template(name)["Resources"]["LakeBucket"]["Properties"]
    assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
    rules = {rule["Id"]: rule for rule in properties["LifecycleConfiguration"]["Rules"]}
    assert all(rule["Status"] == "Enabled" for rule in rules.values())
    assert rules["what-was-deleted"]["NoncurrentVersionExpiration"] == {"NoncurrentDays": 7}
    assert rules["uploads-that-broke-off"]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
    assert template(name)["Resources"]["LakeBucket"]["DeletionPolicy"] == "Retain"
    storage.put_bucket_policy(Bucket=bucket, Policy=json.dumps(made.resolve(template(name)["Resources"]["LakeBucketPolicy"]["Properties"]["PolicyDocument"])))


@pytest.mark.parametrize(("name", "logical"), [("free-tier", "LaunchTemplate"), ("production", "GateTemplate"), ("production", "WorkerTemplate")])
def test_machines_want_tokens_for_their_metadata_and_have_encrypted_disks(name, logical, request):
    made = request.getfixturevalue(FIXTURES[name])
    data = made.launch_template(logical)
    assert data["MetadataOptions"]["HttpTokens"] == "required" and data["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
    [disk] = data["BlockDeviceMappings"]
    assert disk["Ebs"]["Encrypted"] and disk["Ebs"]["VolumeType"] == "gp3"
    assert "KeyName" not in data
    assert 1_000 < len(made.user_data(logical).encode()) < USER_DATA_BYTES_MAX


def test_only_the_port_of_the_gate_is_open_on_the_small_machine(small):
    assert ingress(small, "SecurityGroup") == [(8099, 8099, "127.0.0.1/32")]


def test_the_address_that_is_let_in_is_the_one_that_was_asked_for():
    assert ingress(Stack("free-tier", {"GateCidr": "192.0.2.7/32"}), "SecurityGroup") == [(8099, 8099, "192.0.2.7/32")]


def test_a_small_machine_comes_of_the_launch_template(small):
    instance = template("free-tier")["Resources"]["Instance"]["Properties"]
    assert instance["LaunchTemplate"] == {"LaunchTemplateId": {"Ref": "LaunchTemplate"}, "Version": {"Ref": "LaunchTemplateVersion"}}
    [machine] = boto3.client("ec2").run_instances(LaunchTemplate={"LaunchTemplateId": small.ids["LaunchTemplate"], "Version": "1"}, MinCount=1, MaxCount=1)["Instances"]
    assert machine["InstanceType"] == "t3.micro"
    data = small.launch_template("LaunchTemplate")
    [interface] = data["NetworkInterfaces"]
    assert interface["SubnetId"] == small.ids["Subnet"] and interface["Groups"] == [small.ids["SecurityGroup"]]
    assert data["CreditSpecification"] == {"CpuCredits": "standard"} and small.ids["InstanceProfile"] in data["IamInstanceProfile"]["Arn"]


def test_only_the_balancer_is_reached_from_outside_in_production(production):
    balancer, gates, workers = (production.ids[name] for name in ("BalancerGroup", "GateGroup", "WorkerGroup"))
    assert ingress(production, "BalancerGroup") == [(443, 443, "0.0.0.0/0")]
    assert ingress(production, "GateGroup") == [(8099, 8099, balancer)]
    assert ingress(production, "WorkerGroup") == []
    assert ingress(production, "SparkGroup") == [(None, None, production.ids["SparkGroup"])]
    assert ingress(production, "KafkaGroup") == sorted((9096, 9096, group) for group in (gates, workers, production.ids["SparkGroup"]))


def test_the_balancer_speaks_tls_and_asks_whether_gates_are_ready(production):
    balancing = boto3.client("elbv2")
    [balancer] = balancing.describe_load_balancers()["LoadBalancers"]
    [listener] = balancing.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
    assert (listener["Protocol"], listener["Port"], listener["SslPolicy"]) == ("HTTPS", 443, "ELBSecurityPolicy-TLS13-1-2-2021-06")
    assert listener["Certificates"] == [{"CertificateArn": production.given["CertificateArn"]}]
    [targets] = balancing.describe_target_groups()["TargetGroups"]
    assert (targets["HealthCheckPath"], targets["Port"], targets["Matcher"]) == ("/readyz", 8099, {"HttpCode": "200"})
    hidden = [rule for rule in balancing.describe_rules(ListenerArn=listener["ListenerArn"])["Rules"] if not rule["IsDefault"]]
    assert [rule["Actions"][0]["Type"] for rule in hidden] == ["fixed-response"]
    assert hidden[0]["Conditions"][0]["PathPatternConfig"]["Values"] == ["/metrics", "/readyz"]


def test_gates_and_workers_are_spread_over_three_zones(production):
    groups = {group["AutoScalingGroupName"]: group for group in boto3.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]}
    zones = {subnet["SubnetId"]: subnet["AvailabilityZone"] for subnet in boto3.client("ec2").describe_subnets()["Subnets"]}
    for logical, kind, least in (("Gates", "ELB", 3), ("Workers", "EC2", 2)):
        group = groups[production.ids[logical]]
        assert len({zones[subnet] for subnet in group["VPCZoneIdentifier"].split(",")}) == 3
        assert group["HealthCheckType"] == kind and group["MinSize"] == least
    assert groups[production.ids["Gates"]]["TargetGroupARNs"]


def test_kafka_wants_tls_and_a_password_and_two_replicas():
    resources = template("production")["Resources"]
    cluster = resources["Kafka"]["Properties"]
    assert cluster["EncryptionInfo"]["EncryptionInTransit"] == {"ClientBroker": "TLS", "InCluster": True}
    assert cluster["ClientAuthentication"] == {"Sasl": {"Scram": {"Enabled": True}, "Iam": {"Enabled": False}}, "Unauthenticated": {"Enabled": False}}
    assert cluster["NumberOfBrokerNodes"] == 3 == len(cluster["BrokerNodeGroupInfo"]["ClientSubnets"])
    settings = dict(line.split("=", 1) for line in resources["KafkaSettings"]["Properties"]["ServerProperties"]["Fn::Sub"].split())
    assert settings["min.insync.replicas"] == "2" and settings["unclean.leader.election.enable"] == "false"
    users = [resources[reference["Ref"]]["Properties"] for reference in resources["KafkaUsers"]["Properties"]["SecretArnList"]]
    # MSK refuses secrets with another prefix, and those with the key that is there by default.
    assert len(users) == 4 and all(user["Name"]["Fn::Sub"].startswith("AmazonMSK_") and user["KmsKeyId"] == {"Fn::GetAtt": ["SecretsKey", "Arn"]} for user in users)


@pytest.mark.parametrize(("name", "least"), [("free-tier", 3), ("production", 10)])
def test_every_alarm_is_one_that_cloudwatch_takes_and_somebody_is_told_of_it(name, least, account):
    watch, made = boto3.client("cloudwatch"), 0
    for logical, resource in template(name)["Resources"].items():
        if resource["Type"] == "AWS::CloudWatch::Alarm":
            alarm = resource["Properties"]
            assert alarm["AlarmActions"], logical
            # What is a reference to something of the stack is anything here.
            plain = {key: value if isinstance(value, (str, int)) else 1 for key, value in alarm.items() if not key.endswith("Actions") and key != "Dimensions"}
            watch.put_metric_alarm(AlarmName=f"{name}-{logical}", Dimensions=[{"Name": one["Name"], "Value": "it"} for one in alarm["Dimensions"]], **plain)
            made += 1
    assert made == len(watch.describe_alarms(AlarmNamePrefix=f"{name}-")["MetricAlarms"]) >= least


@pytest.mark.parametrize("name", NAMES)
def test_somebody_is_told_what_it_costs(name):
    [budget] = [resource["Properties"] for resource in template(name)["Resources"].values() if resource["Type"] == "AWS::Budgets::Budget"]
    kinds = {notification["Notification"]["NotificationType"] for notification in budget["NotificationsWithSubscribers"]}
    assert kinds == {"ACTUAL", "FORECASTED"} and budget["Budget"]["BudgetLimit"] == {"Amount": {"Ref": "BudgetUsd"}, "Unit": "USD"}


@pytest.mark.parametrize("name", ALL)
def test_no_secret_is_in_a_template(name):
    # Passwords are made by Secrets Manager, and fetched by the machines.
    for logical, resource in template(name)["Resources"].items():
        if resource["Type"] == "AWS::SecretsManager::Secret":
            assert "SecretString" not in resource["Properties"], logical
    assert not any(word in text(name) for word in ("AKIA", "BEGIN PRIVATE KEY"))
    assert not [parameter for parameter in template(name)["Parameters"] if "password" in parameter.lower() or "secret" in parameter.lower()]
