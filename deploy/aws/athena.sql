-- The tables of Tidegate for Amazon Athena, where Glue has to know their columns: for views, Lake Formation, and filters of rows and columns. Athena copies columns and types from
-- the table's own log, once, so none are named here. Where nobody needs that, tables.yaml is less to do; deploy/aws/README.md says more.
--
-- Athena runs one statement at a time. Put the lake's location in the place of LAKE_LOCATION (s3://bucket/tidegate), and for each statement:
--   aws athena start-query-execution --work-group tidegate --query-execution-context Database=DATABASE --query-string "…"
-- deploy/aws/README.md has a loop that does it.

CREATE EXTERNAL TABLE bronze_events LOCATION 'LAKE_LOCATION/bronze/events/' TBLPROPERTIES ('table_type' = 'DELTA');
CREATE EXTERNAL TABLE silver_events LOCATION 'LAKE_LOCATION/silver/events/' TBLPROPERTIES ('table_type' = 'DELTA');
CREATE EXTERNAL TABLE silver_exposures LOCATION 'LAKE_LOCATION/silver/exposures/' TBLPROPERTIES ('table_type' = 'DELTA');
CREATE EXTERNAL TABLE gold_active_users LOCATION 'LAKE_LOCATION/gold/active_users/' TBLPROPERTIES ('table_type' = 'DELTA');
CREATE EXTERNAL TABLE gold_activity_by_day LOCATION 'LAKE_LOCATION/gold/activity_by_day/' TBLPROPERTIES ('table_type' = 'DELTA');
CREATE EXTERNAL TABLE gold_activity_by_minute LOCATION 'LAKE_LOCATION/gold/activity_by_minute/' TBLPROPERTIES ('table_type' = 'DELTA');
CREATE EXTERNAL TABLE gold_campaign_conversions LOCATION 'LAKE_LOCATION/gold/campaign_conversions/' TBLPROPERTIES ('table_type' = 'DELTA');
CREATE EXTERNAL TABLE gold_dead_letters_by_day LOCATION 'LAKE_LOCATION/gold/dead_letters_by_day/' TBLPROPERTIES ('table_type' = 'DELTA');
CREATE EXTERNAL TABLE gold_experiment_metrics LOCATION 'LAKE_LOCATION/gold/experiment_metrics/' TBLPROPERTIES ('table_type' = 'DELTA');
CREATE EXTERNAL TABLE gold_experiment_subjects LOCATION 'LAKE_LOCATION/gold/experiment_subjects/' TBLPROPERTIES ('table_type' = 'DELTA');
CREATE EXTERNAL TABLE gold_identity_links LOCATION 'LAKE_LOCATION/gold/identity_links/' TBLPROPERTIES ('table_type' = 'DELTA');
CREATE EXTERNAL TABLE gold_sessions LOCATION 'LAKE_LOCATION/gold/sessions/' TBLPROPERTIES ('table_type' = 'DELTA');
CREATE EXTERNAL TABLE gold_subjects_by_day LOCATION 'LAKE_LOCATION/gold/subjects_by_day/' TBLPROPERTIES ('table_type' = 'DELTA');
CREATE EXTERNAL TABLE dead_letters LOCATION 'LAKE_LOCATION/dead_letters/' TBLPROPERTIES ('table_type' = 'DELTA');
CREATE EXTERNAL TABLE ledger LOCATION 'LAKE_LOCATION/ledger/' TBLPROPERTIES ('table_type' = 'DELTA');
