-- Who saw what first in each experiment. Exposures at the very same time are ordered by id and source, so that every engine takes the same one as the first.
-- A subject that saw more than one variation is contaminated: reported, and left out of the effect.
--
-- grain: a subject in an experiment
-- keys: experiment_id, subject_type, subject_id
-- reads: silver.exposures
WITH placed AS (
    SELECT
        *,
        row_number() OVER (PARTITION BY experiment_id, subject_type, subject_id ORDER BY event_time, event_id, source) AS place
    FROM silver.exposures
    WHERE experiment_id IS NOT NULL AND variation_id IS NOT NULL AND subject_id IS NOT NULL
)
SELECT
    experiment_id,
    subject_type,
    subject_id,
    max(CASE WHEN place = 1 THEN variation_id END) AS variation_id,
    min(event_time) AS first_exposure_at,
    count(*) AS exposures,
    count(DISTINCT variation_id) AS variations,
    count(DISTINCT variation_id) > 1 AS contaminated,
    bool_or(is_bot) AS is_bot
FROM placed
GROUP BY experiment_id, subject_type, subject_id
