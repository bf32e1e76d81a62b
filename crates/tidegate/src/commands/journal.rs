//! `tidegate journal`: moving what a journal holds.

use std::io::IsTerminal as _;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget};
use journal::Journal as _;
use journal::embedded::Embedded;
use journal::kafka::Kafka;
use lake::Lake;

use super::{DataArgs, say};
use crate::settings::Settings;

const REDRAW: Duration = Duration::from_millis(200);

/// Move what the journal holds
#[derive(Debug, Args)]
pub(crate) struct JournalArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Copy what the embedded journal still holds into Kafka
    ///
    /// Takes every record that the lake does not have yet. Stop the server first; start it again with journal.kind = "kafka". Kafka's generation must be greater than that of the
    /// embedded journal (journal.kafka.generation). A copy that was broken off can be begun again: nothing is copied twice.
    #[command(after_help = "\
Example:
  TIDEGATE_JOURNAL__KAFKA__BROKERS=kafka:9092 TIDEGATE_JOURNAL__KAFKA__GENERATION=2 tidegate journal copy --data ./tidegate-data")]
    Copy {
        #[command(flatten)]
        data: DataArgs,
    },
}

pub(crate) async fn run(args: JournalArgs) -> anyhow::Result<bool> {
    let Action::Copy { data } = args.action;
    copy(&data.load(Vec::new())?.settings).await?;
    Ok(true)
}

async fn copy(settings: &Settings) -> anyhow::Result<()> {
    let folder = settings.journal_folder();
    if !folder.is_dir() {
        bail!("there is no embedded journal in {}; name another data folder with --data", folder.display());
    }
    let mut from = Embedded::open(&folder, settings.journal.embedded.clone()).await?;
    let (old, new) = (from.generation(), settings.journal.kafka.generation);
    if new <= old {
        bail!("the embedded journal is generation {old}, so Kafka's must be a greater one: set journal.kafka.generation = {}", old + 1);
    }
    let to = Kafka::open(settings.journal.kafka.clone()).await.context("the journal in Kafka cannot be opened")?;
    let location = settings.lake_location();
    let lake = Lake::open(&location, settings.lake.options.clone()).await.with_context(|| format!("cannot open the lake at {location}"))?;
    let after = pipeline::reached(&lake, old, from.partitions()).await?;
    let start = from.start().await?;
    if let Some((partition, offset)) = start.iter().find(|(partition, start)| after.get(partition).copied().unwrap_or_default() < **start) {
        bail!(
            "the lake at {location} does not have what the journal has let go of (partition {partition} begins at offset {offset}): name the lake \
             that this journal was fed to, with lake.location"
        );
    }
    let end = from.end().await?;
    let left = |(partition, end): (&u32, &u64)| end.saturating_sub(after.get(partition).copied().unwrap_or_default());
    let bar = ProgressBar::new(end.iter().map(left).sum());
    bar.set_draw_target(if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() });
    bar.enable_steady_tick(REDRAW);
    let copied = journal::copy(&from, &after, &to, |copied| bar.set_position(copied.copied + copied.already)).await;
    bar.finish_and_clear();
    from.close().await;
    let copied = copied?;
    say(&format!(
        "{} records copied to the topic {} as generation {new}, {} were there already. Now start the server with journal.kind = \"kafka\"; the folder {} is \
         not needed any more.",
        copied.copied,
        settings.journal.kafka.topic,
        copied.already,
        folder.display()
    ));
    Ok(())
}
