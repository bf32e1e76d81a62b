-- Who saw what first in each experiment, defined or not, on the day of its first exposure. Exposures at the very same time are ordered by id and source, so that every engine takes the
-- same one as the first. A subject that saw more than one variation within 30 days is contaminated: reported, and left out of the effect.
--
-- grain: a subject in an experiment
-- keys: event_date, experiment_id, subject_type, subject_id
-- reads: silver.exposures, all days before, 30 days after
-- every: minute
WITH exposures AS (
    SELECT event_date, event_time, event_id, source, experiment_id, variation_id, subject_type, subject_id, is_bot
    FROM silver.exposures
    WHERE experiment_id IS NOT NULL AND variation_id IS NOT NULL AND subject_id IS NOT NULL
), due AS (
    SELECT DISTINCT experiment_id, subject_type, subject_id FROM exposures WHERE event_date IN (SELECT event_date FROM partitions)
), placed AS (
    SELECT
        e.*,
        row_number() OVER (PARTITION BY e.experiment_id, e.subject_type, e.subject_id ORDER BY e.event_time, e.event_id, e.source) AS place,
        min(e.event_time) OVER (PARTITION BY e.experiment_id, e.subject_type, e.subject_id) AS first_exposure_at
    FROM exposures AS e JOIN due
        ON due.experiment_id = e.experiment_id AND due.subject_type = e.subject_type AND due.subject_id = e.subject_id
)
SELECT
    max(CASE WHEN place = 1 THEN event_date END) AS event_date,
    experiment_id,
    subject_type,
    subject_id,
    max(CASE WHEN place = 1 THEN variation_id END) AS variation_id,
    min(first_exposure_at) AS first_exposure_at,
    count(*) AS exposures,
    min(variation_id) <> max(variation_id) AS contaminated,
    bool_or(is_bot) AS is_bot
FROM placed
WHERE event_time < first_exposure_at + INTERVAL '30' DAY
GROUP BY experiment_id, subject_type, subject_id
