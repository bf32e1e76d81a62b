//! The models that come with Tidegate.

use std::sync::LazyLock;

use super::{Model, ModelError};

const TEXTS: [(&str, &str); 10] = [
    ("activity_by_minute", include_str!("../../gold/activity_by_minute.sql")),
    ("activity_by_day", include_str!("../../gold/activity_by_day.sql")),
    ("dead_letters_by_day", include_str!("../../gold/dead_letters_by_day.sql")),
    ("identity_links", include_str!("../../gold/identity_links.sql")),
    ("subjects_by_day", include_str!("../../gold/subjects_by_day.sql")),
    ("active_users", include_str!("../../gold/active_users.sql")),
    ("sessions", include_str!("../../gold/sessions.sql")),
    ("campaign_conversions", include_str!("../../gold/campaign_conversions.sql")),
    ("experiment_subjects", include_str!("../../gold/experiment_subjects.sql")),
    ("experiment_metrics", include_str!("../../gold/experiment_metrics.sql")),
];

static MODELS: LazyLock<Result<Vec<Model>, ModelError>> =
    LazyLock::new(|| TEXTS.iter().map(|(name, text)| Model::parse(name, text)).collect());

/// The models that come with Tidegate, each after those it reads.
pub fn built_in() -> &'static [Model] {
    // That they can be read is tested; there is nothing else in them than what is compiled in.
    MODELS.as_deref().unwrap_or_default()
}
