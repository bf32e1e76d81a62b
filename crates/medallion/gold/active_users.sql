-- Subjects seen on a day, in the 7 days and in the 30 days that end with it, bots left out. The rows without a source are for all sources together, in which a subject counts
-- once. Days on which nothing happened have no row.
--
-- grain: a day and source, and a day over all sources
-- keys: event_date, source
-- reads: gold.subjects_by_day, 29 days before
-- every: minute
WITH days AS (
    SELECT DISTINCT event_date AS day FROM gold.subjects_by_day
), seen AS (
    SELECT days.day AS event_date, subjects.source, subjects.subject_id, max(subjects.event_date) AS last_day
    FROM days JOIN gold.subjects_by_day AS subjects
        ON subjects.event_date <= days.day AND subjects.event_date > days.day - INTERVAL '30' DAY
    WHERE NOT subjects.is_bot
    GROUP BY days.day, subjects.source, subjects.subject_id
)
SELECT
    event_date,
    source,
    count(DISTINCT CASE WHEN last_day = event_date THEN subject_id END) AS active_1_day,
    count(DISTINCT CASE WHEN last_day > event_date - INTERVAL '7' DAY THEN subject_id END) AS active_7_days,
    count(DISTINCT subject_id) AS active_30_days
FROM seen
GROUP BY GROUPING SETS ((event_date, source), (event_date))
