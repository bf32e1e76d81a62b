-- Who was there each day: the user, or the anonymous visitor where no user is known. Smaller than the events, for whatever counts people over many days.
--
-- grain: a day, source and subject
-- keys: event_date, source, subject_id
-- reads: silver.events
SELECT
    event_date,
    source,
    coalesce(user_id, anonymous_id) AS subject_id,
    count(*) AS events,
    count(CASE WHEN event_type = 'conversion' THEN 1 END) AS conversions,
    min(event_time) AS first_at,
    max(event_time) AS last_at,
    bool_or(is_bot) AS is_bot
FROM silver.events
WHERE coalesce(user_id, anonymous_id) IS NOT NULL
GROUP BY event_date, source, coalesce(user_id, anonymous_id)
