-- Sessions: a subject's events of one source, with no pause of more than 30 minutes between them. A session belongs to the day it began on, and goes on over midnight. One that goes
-- on through a whole day is cut where the next one begins, so that what never pauses has a session a day.
--
-- grain: a session
-- keys: event_date, source, subject_id, started_at
-- reads: silver.events, 2 days before, 1 day after
-- every: minute
WITH seen AS (
    SELECT
        source, coalesce(user_id, anonymous_id) AS subject_id, event_id, event_date, event_time, event_type, page_path, is_bot,
        campaign_source, campaign_medium, campaign_name,
        lag(event_time) OVER (PARTITION BY source, coalesce(user_id, anonymous_id) ORDER BY event_date, event_time, event_id) AS time_before,
        lag(event_date) OVER (PARTITION BY source, coalesce(user_id, anonymous_id) ORDER BY event_date, event_time, event_id) AS date_before
    FROM silver.events
    WHERE coalesce(user_id, anonymous_id) IS NOT NULL
), paused AS (
    SELECT *, CASE WHEN time_before IS NULL OR event_time > time_before + INTERVAL '30' MINUTE THEN 1 ELSE 0 END AS after_pause
    FROM seen
), counted AS (
    -- At the last event of a day it is the number of pauses of that day.
    SELECT
        *,
        sum(after_pause) OVER (
            PARTITION BY source, subject_id, event_date ORDER BY event_time, event_id ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS pauses
    FROM paused
), compared AS (
    SELECT *, lag(pauses) OVER (PARTITION BY source, subject_id ORDER BY event_date, event_time, event_id) AS pauses_before FROM counted
), begun AS (
    SELECT *, CASE WHEN after_pause = 1 OR (event_date <> date_before AND pauses_before = 0) THEN 1 ELSE 0 END AS begins
    FROM compared
), numbered AS (
    SELECT
        *,
        CASE WHEN event_type = 'page_view' THEN 1 ELSE 0 END AS is_view,
        sum(begins) OVER (
            PARTITION BY source, subject_id ORDER BY event_date, event_time, event_id ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS session
    FROM begun
), placed AS (
    SELECT
        *,
        row_number() OVER (PARTITION BY source, subject_id, session ORDER BY event_time, event_id) AS place,
        sum(is_view) OVER (
            PARTITION BY source, subject_id, session ORDER BY event_time, event_id ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS views,
        sum(is_view) OVER (
            PARTITION BY source, subject_id, session ORDER BY event_time DESC, event_id DESC ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS views_from_last
    FROM numbered
)
SELECT
    min(event_date) AS event_date,
    source,
    subject_id,
    min(event_time) AS started_at,
    max(event_time) AS ended_at,
    count(*) AS events,
    count(CASE WHEN is_view = 1 THEN 1 END) AS page_views,
    count(CASE WHEN event_type = 'conversion' THEN 1 END) AS conversions,
    max(CASE WHEN is_view = 1 AND views = 1 THEN page_path END) AS entry_page,
    max(CASE WHEN is_view = 1 AND views_from_last = 1 THEN page_path END) AS exit_page,
    max(CASE WHEN place = 1 THEN campaign_source END) AS campaign_source,
    max(CASE WHEN place = 1 THEN campaign_medium END) AS campaign_medium,
    max(CASE WHEN place = 1 THEN campaign_name END) AS campaign_name,
    bool_or(is_bot) AS is_bot
FROM placed
GROUP BY source, subject_id, session
