//! `tidegate compact`: files joined and put in order now.

use clap::Args;
use pipeline::care::{self, Cared, Wishes};
use serde_json::{Value, json};

use super::spinner::Spinner;
use super::{LakeArgs, say};
use crate::output::{self, Format};

/// Join small files of tables, and put their rows in order
///
/// A running server joins files by itself, a share every minute; this goes as far as it goes at once, also beside a server. Rows stay as they are, and readers see the same before and after.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate compact                                   all tables
  tidegate compact silver.events --cluster           sorted by source, type and time: queries for one of them read less
  tidegate compact --clean                           and delete versions and files that nobody needs, older than lake.log_retention and lake.file_retention")]
pub(crate) struct CompactArgs {
    /// Tables [default: all there are]
    #[arg(value_name = "TABLE")]
    tables: Vec<String>,
    /// Sort the rows of each partition by what is mostly asked for
    #[arg(long)]
    cluster: bool,
    /// Then delete versions and files that nobody needs
    #[arg(long)]
    clean: bool,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    lake: LakeArgs,
}

pub(crate) async fn run(args: CompactArgs) -> anyhow::Result<bool> {
    let (lake, settings) = args.lake.open_with_settings().await?;
    let tables = if args.tables.is_empty() { lake.tables().await? } else { args.tables.clone() };
    let wishes = Wishes { cluster: args.cluster, clean: args.clean };
    let spinner = Spinner::new();
    let watcher = |message: &str| spinner.say(message);
    let mut done: Vec<(String, Cared)> = Vec::new();
    for name in tables {
        let cared = care::care(&lake, &settings.pipeline, &name, wishes, &watcher).await?;
        done.push((name, cared));
    }
    spinner.end();
    print(args.format, &done)?;
    for (name, _) in done.iter().filter(|(_, cared)| cared.left_to_the_server) {
        say(&format!("{name}: a running server was at the same files; it joins what is left"));
    }
    Ok(true)
}

fn print(format: Format, done: &[(String, Cared)]) -> anyhow::Result<()> {
    let columns =
        ["table", "files before", "files after", "bytes before", "bytes after", "partitions sorted", "versions deleted", "files deleted"];
    let mut rows = output::stdout(format, output::heads(format, columns))?;
    for (name, cared) in done {
        let Cared { files_before, files_after, bytes_before, bytes_after, partitions_clustered, versions_deleted, files_deleted, .. } =
            cared;
        let numbers = [files_before, files_after, bytes_before, bytes_after, partitions_clustered, versions_deleted, files_deleted];
        rows.write(std::iter::once(json!(name)).chain(numbers.into_iter().map(|number| Value::from(*number))).collect())?;
    }
    rows.finish()?;
    Ok(())
}
