-- Conversions by the campaign that the subject came by last, in the 30 days before, bots left out. Conversions without one are in the rows without a campaign.
--
-- grain: a day, source and campaign
-- keys: event_date, source, campaign_source, campaign_medium, campaign_name
-- reads: silver.events, 30 days before
-- every: 5 minutes
WITH seen AS (
    SELECT
        source, coalesce(user_id, anonymous_id) AS subject_id, event_id, event_date, event_time, event_type,
        campaign_source, campaign_medium, campaign_name,
        CASE WHEN campaign_source IS NOT NULL OR campaign_name IS NOT NULL THEN 1 ELSE 0 END AS is_touch
    FROM silver.events
    WHERE NOT is_bot
        AND coalesce(user_id, anonymous_id) IS NOT NULL
        AND (event_type = 'conversion' OR campaign_source IS NOT NULL OR campaign_name IS NOT NULL)
), numbered AS (
    SELECT *, sum(is_touch) OVER (
        PARTITION BY source, subject_id ORDER BY event_time, event_id ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS touch
    FROM seen
), touched AS (
    SELECT
        *,
        max(CASE WHEN is_touch = 1 THEN event_time END) OVER (PARTITION BY source, subject_id, touch) AS touch_at,
        max(CASE WHEN is_touch = 1 THEN campaign_source END) OVER (PARTITION BY source, subject_id, touch) AS touch_source,
        max(CASE WHEN is_touch = 1 THEN campaign_medium END) OVER (PARTITION BY source, subject_id, touch) AS touch_medium,
        max(CASE WHEN is_touch = 1 THEN campaign_name END) OVER (PARTITION BY source, subject_id, touch) AS touch_name
    FROM numbered
), attributed AS (
    SELECT
        event_date, source, subject_id,
        CASE WHEN touch_at >= event_time - INTERVAL '30' DAY THEN touch_source END AS campaign_source,
        CASE WHEN touch_at >= event_time - INTERVAL '30' DAY THEN touch_medium END AS campaign_medium,
        CASE WHEN touch_at >= event_time - INTERVAL '30' DAY THEN touch_name END AS campaign_name
    FROM touched
    WHERE event_type = 'conversion'
)
SELECT
    event_date,
    source,
    campaign_source,
    campaign_medium,
    campaign_name,
    count(*) AS conversions,
    count(DISTINCT subject_id) AS subjects
FROM attributed
GROUP BY event_date, source, campaign_source, campaign_medium, campaign_name
