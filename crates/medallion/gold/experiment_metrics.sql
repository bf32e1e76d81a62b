-- What the subjects of each experiment did each day, from their first exposure on and for 30 days, by the variation they saw first. Bots are left out. What contaminated subjects did is in
-- rows of its own. For experiments that are defined, the tables made of their definitions tell more.
--
-- grain: a day, experiment, variation, event type, and whether the subjects are contaminated
-- keys: event_date, experiment_id, variation_id, contaminated, event_type
-- reads: silver.events
-- reads: gold.experiment_subjects, 30 days before
-- every: minute
WITH done AS (
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
FROM done JOIN gold.experiment_subjects AS subjects
    ON subjects.subject_type = done.subject_type
    AND subjects.subject_id = done.subject_id
    AND done.event_time >= subjects.first_exposure_at
    AND done.event_time < subjects.first_exposure_at + INTERVAL '30' DAY
WHERE NOT subjects.is_bot
GROUP BY done.event_date, subjects.experiment_id, subjects.variation_id, subjects.contaminated, done.event_type
