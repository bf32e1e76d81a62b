-- What happened each day, by source and event type. Bots are in all numbers, and in one of their own.
--
-- grain: a day, source and event type
-- keys: event_date, source, event_type
-- reads: silver.events
SELECT
    event_date,
    source,
    event_type,
    count(*) AS events,
    count(DISTINCT coalesce(user_id, anonymous_id)) AS users,
    count(DISTINCT session_id) AS sessions,
    count(CASE WHEN is_bot THEN 1 END) AS bots,
    count(CASE WHEN is_late THEN 1 END) AS late
FROM silver.events
GROUP BY event_date, source, event_type
