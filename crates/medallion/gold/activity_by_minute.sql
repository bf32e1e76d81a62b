-- What happened each minute, by source and event type. Bots are in all numbers, and in one of their own.
--
-- grain: a minute, source and event type
-- keys: event_date, minute, source, event_type
-- reads: silver.events
SELECT
    event_date,
    date_trunc('minute', event_time) AS minute,
    source,
    event_type,
    count(*) AS events,
    count(DISTINCT coalesce(user_id, anonymous_id)) AS users,
    count(CASE WHEN is_bot THEN 1 END) AS bots,
    count(CASE WHEN is_late THEN 1 END) AS late
FROM silver.events
GROUP BY event_date, date_trunc('minute', event_time), source, event_type
