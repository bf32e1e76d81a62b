-- How many events were kept out each day, by source, stage and reason.
--
-- grain: a day of receipt, source, stage and reason
-- keys: ingest_date, source, stage, code
-- reads: dead_letters
-- every: minute
SELECT ingest_date, source, stage, code, count(*) AS events
FROM dead_letters
GROUP BY ingest_date, source, stage, code
