-- What the subjects of each experiment did each day, from their first exposure on and for 30 days, by the variation they saw first. Bots are left out. A subject that had seen more
-- than one variation by the end of the day is counted in the rows of the contaminated.
--
-- grain: a day, experiment, variation, event type, and whether the subjects are contaminated
-- keys: event_date, experiment_id, variation_id, contaminated, event_type
-- reads: silver.events
-- reads: silver.exposures, all days before
-- every: minute
WITH days AS (
    SELECT DISTINCT event_date AS day FROM silver.events
), placed AS (
    SELECT
        days.day, exposures.experiment_id, exposures.variation_id, exposures.subject_type, exposures.subject_id, exposures.event_time,
        row_number() OVER (
            PARTITION BY days.day, exposures.experiment_id, exposures.subject_type, exposures.subject_id
            ORDER BY exposures.event_time, exposures.event_id, exposures.source
        ) AS place
    FROM days JOIN silver.exposures AS exposures ON exposures.event_date <= days.day
    WHERE NOT exposures.is_bot AND exposures.experiment_id IS NOT NULL AND exposures.variation_id IS NOT NULL
        AND exposures.subject_id IS NOT NULL
), subjects AS (
    SELECT
        day, experiment_id, subject_type, subject_id,
        max(CASE WHEN place = 1 THEN variation_id END) AS variation_id,
        min(event_time) AS first_exposure_at,
        count(DISTINCT variation_id) > 1 AS contaminated
    FROM placed
    GROUP BY day, experiment_id, subject_type, subject_id
), done AS (
    SELECT event_date, event_time, event_type, 'user' AS subject_type, user_id AS subject_id
    FROM silver.events WHERE user_id IS NOT NULL AND NOT is_bot
    UNION ALL
    SELECT event_date, event_time, event_type, 'anonymous' AS subject_type, anonymous_id AS subject_id
    FROM silver.events WHERE anonymous_id IS NOT NULL AND NOT is_bot
)
SELECT
    done.event_date,
    subjects.experiment_id,
    subjects.variation_id,
    subjects.contaminated,
    done.event_type,
    count(*) AS events,
    count(DISTINCT subjects.subject_id) AS subjects
FROM done JOIN subjects
    ON subjects.day = done.event_date
    AND subjects.subject_type = done.subject_type
    AND subjects.subject_id = done.subject_id
    AND done.event_time >= subjects.first_exposure_at
    AND done.event_time < subjects.first_exposure_at + INTERVAL '30' DAY
GROUP BY done.event_date, subjects.experiment_id, subjects.variation_id, subjects.contaminated, done.event_type
