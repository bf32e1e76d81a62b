-- Which users each anonymous id was seen with, and when first on a day. An anonymous id belongs to the one it was seen with first.
--
-- grain: a day, anonymous id and user
-- keys: event_date, anonymous_id, user_id
-- reads: silver.events
-- every: minute
SELECT event_date, anonymous_id, user_id, min(event_time) AS first_seen_at
FROM silver.events
WHERE anonymous_id IS NOT NULL AND user_id IS NOT NULL AND NOT is_bot
GROUP BY event_date, anonymous_id, user_id
