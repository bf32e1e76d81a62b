"""deploy/aws/tables.yaml: every table is put into the catalogue, in the one form that Athena documents for tables whose columns are in their own log."""

import json
import os
import subprocess

import boto3
import pytest

from templates import ROOT, Stack, folders, template

# Of the tables that the product has: no table of events, but who was erased, for gate and stages; and there only once somebody was.
NOBODYS = {"erased"}


@pytest.fixture
def catalogue(account):
    made = Stack("tables", {"DatabaseName": "tidegate", "LakePrefix": "some/where"})
    glue = boto3.client("glue")
    glue.create_database(DatabaseInput={"Name": "tidegate"})
    for resource in template("tables")["Resources"].values():
        if resource["Type"] == "AWS::Glue::Table":
            properties = made.resolve(resource["Properties"])
            glue.create_table(DatabaseName=properties["DatabaseName"], TableInput=properties["TableInput"])
    yield {table["Name"]: table for page in glue.get_paginator("get_tables").paginate(DatabaseName="tidegate") for table in page["TableList"]}
    for name in folders():
        glue.delete_table(DatabaseName="tidegate", Name=name)
    glue.delete_database(Name="tidegate")


def test_every_table_has_the_documented_form(catalogue):
    assert set(catalogue) == set(folders())
    for name, folder in folders().items():
        location = f"s3://lake/some/where/{folder}/"
        table = catalogue[name]
        assert name == folder.replace("/", "_") and table["Description"]
        assert table["TableType"] == "EXTERNAL_TABLE" and table["PartitionKeys"] == []
        assert table["Parameters"] == {"EXTERNAL": "TRUE", "spark.sql.sources.provider": "delta"}
        storage = table["StorageDescriptor"]
        assert storage["Columns"] == [{"Name": "col", "Type": "array<string>"}]
        assert storage["Location"] == storage["SerdeInfo"]["Parameters"]["path"] == location
        assert storage["SerdeInfo"]["Parameters"]["serialization.format"] == "1"


def test_they_are_the_tables_that_the_product_has():
    printed = subprocess.run([os.environ["TIDEGATE_BIN"], "tables", "--format", "json"], capture_output=True, encoding="utf-8", timeout=60, check=True).stdout
    described = {row["table"] for row in json.loads(printed)} - NOBODYS
    models = {f"gold.{model.stem}" for model in (ROOT / "crates/medallion/gold").glob("*.sql")}
    assert {folder.replace("/", ".") for folder in folders().values()} == described | models


def test_where_a_database_is_given_nothing_is_made_but_the_tables():
    made = Stack("tables", {"DatabaseName": "tidegate"})
    beside = {logical: resource for logical, resource in template("tables")["Resources"].items() if resource["Type"] != "AWS::Glue::Table"}
    assert beside and all("Condition" in resource for resource in beside.values()) and not beside.keys() & made.ids.keys()
