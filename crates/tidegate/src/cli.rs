//! The command line.

use clap::{Parser, Subcommand};

use crate::bench::BenchArgs;
use crate::chaos::ChaosArgs;
use crate::commands::audit::AuditArgs;
use crate::commands::audit_log::AuditLogArgs;
use crate::commands::backfill::BackfillArgs;
use crate::commands::command_line::CommandsArgs;
use crate::commands::compact::CompactArgs;
use crate::commands::completions::CompletionsArgs;
use crate::commands::config::ConfigArgs;
use crate::commands::dead_letters::DeadLettersArgs;
use crate::commands::diff::DiffArgs;
use crate::commands::doctor::DoctorArgs;
use crate::commands::engine::EngineArgs;
use crate::commands::erase::EraseArgs;
use crate::commands::experiment::ExperimentArgs;
use crate::commands::expire::ExpireArgs;
use crate::commands::gold::GoldArgs;
use crate::commands::journal::JournalArgs;
use crate::commands::metrics::MetricsArgs;
use crate::commands::plan::PlanArgs;
use crate::commands::query::QueryArgs;
use crate::commands::reader::ReaderArgs;
use crate::commands::recover::RecoverArgs;
use crate::commands::replay::ReplayArgs;
use crate::commands::restore::RestoreArgs;
use crate::commands::send::SendArgs;
use crate::commands::serve::ServeArgs;
use crate::commands::source::SourceArgs;
use crate::commands::spark::SparkArgs;
use crate::commands::sql::SqlArgs;
use crate::commands::tables::TablesArgs;
use crate::commands::token::TokenArgs;
use crate::commands::trace::TraceArgs;
use crate::demo::DemoArgs;
use crate::micro::MicroArgs;

/// Product events in through one gate, none of them lost, doubled or changed
///
/// Events come over HTTP, are made durable in a journal, and become tables that anything reading Delta Lake can query: Bronze (as they came), Silver (clean, each
/// once) and Gold (aggregates).
#[derive(Debug, Parser)]
#[command(
    name = "tidegate",
    version,
    arg_required_else_help = true,
    after_long_help = "\
Examples:
  tidegate demo --once                              the whole path, with made-up traffic
  tidegate source add web                           make a write key
  tidegate serve                                    run it: 127.0.0.1:8099, data in ./tidegate-data
  tidegate send events.ndjson --url http://127.0.0.1:8099 --key tg_…
  tidegate query 'SELECT event_type, count(*) FROM silver.events GROUP BY 1'
  tidegate sql                                      the same, as a shell
  tidegate audit                                    prove that nothing is missing
  tidegate replay && tidegate diff                  prove that Silver is what Bronze gives
  tidegate chaos                                    break a setup of its own, and prove that nothing was lost

Settings come from tidegate.toml, then from variables such as TIDEGATE_SERVER__LISTEN, then from flags; `tidegate config` shows them all.
Exit codes: 0, 1 when a command failed, 2 when it was misused."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What each does is said where its arguments are.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Demo(DemoArgs),
    Serve(ServeArgs),
    Micro(MicroArgs),
    Source(SourceArgs),
    Send(SendArgs),
    Backfill(BackfillArgs),
    Query(QueryArgs),
    Sql(SqlArgs),
    Reader(ReaderArgs),
    Token(TokenArgs),
    AuditLog(AuditLogArgs),
    Audit(AuditArgs),
    Trace(TraceArgs),
    DeadLetters(DeadLettersArgs),
    Recover(RecoverArgs),
    Replay(ReplayArgs),
    Diff(DiffArgs),
    Gold(GoldArgs),
    Compact(CompactArgs),
    Restore(RestoreArgs),
    Expire(ExpireArgs),
    Erase(EraseArgs),
    Plan(PlanArgs),
    Experiment(ExperimentArgs),
    Config(ConfigArgs),
    Doctor(DoctorArgs),
    Metrics(MetricsArgs),
    Tables(TablesArgs),
    Completions(CompletionsArgs),
    #[command(hide = true)]
    Commands(CommandsArgs),
    Journal(JournalArgs),
    Engine(EngineArgs),
    Spark(SparkArgs),
    Chaos(ChaosArgs),
    /// Measure a running server, and what this machine could do at best
    Bench(BenchArgs),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn commands_are_read_or_refused() {
        let check = |line: &str, expect: bool| {
            let outcome = Cli::try_parse_from(line.split(' '));
            assert_eq!(outcome.is_ok(), expect, "{line}: {outcome:?}");
        };
        check("tidegate serve", true);
        check("tidegate chaos kill mine.yaml --minutes 30 --rate 2000 --disk 1024 --seed 1 --format json", true);
        check("tidegate chaos --setup f", true);
        check("tidegate chaos --setup f --disk 1024", false);
        check("tidegate chaos --minutes 0", false);
        check("tidegate serve --clock-skew 1d", true);
        check("tidegate serve --clock-skew=-90s", true);
        check("tidegate serve --clock-skew soon", false);
        check("tidegate serve --data d --listen 127.0.0.1:0 --postgres 127.0.0.1:0 --roles ingest,pipeline --config f", true);
        check("tidegate micro --listen 127.0.0.1:0 --plan p --events-max 10", true);
        check("tidegate audit-log", false);
        check("tidegate audit-log verify --noted 0a --format json", true);
        check("tidegate micro --events-max 0", false);
        check("tidegate source add web --key k --origin https://a.example --origin https://b.example --data d", true);
        check("tidegate source list --format csv", true);
        check("tidegate source revoke web", true);
        check("tidegate source", false);
        check("tidegate send - --url http://localhost:1 --key k --shape segment --batch 10 --concurrency 2", true);
        check("tidegate send --url http://localhost:1 --key k --batch 0", false);
        check("tidegate query x --format table --data d --lake l", true);
        check("tidegate query", false);
        check("tidegate sql --format csv --data d --lake l", true);
        check("tidegate reader add grafana --password p --data d", true);
        check("tidegate reader list --format json", true);
        check("tidegate reader", false);
        check("tidegate token add anna --role admin --data d", true);
        check("tidegate token list --format json", true);
        check("tidegate token add anna --role owner", false);
        check("tidegate audit --format csv", false);
        check("tidegate replay --from 2026-11-01 --to 2026-11-02 --into silver_v2 --format json", true);
        check(
            "tidegate backfill a.csv s3://b/c --url http://localhost:1 --key k --mapping m --input csv --id content --dry-run --limit 5",
            true,
        );
        check("tidegate backfill --url http://localhost:1 --key k", false);
        check("tidegate experiment simulate --experiments 10 --lift -0.1 --seed 1 --format json", true);
        check("tidegate experiment simulate --days 0", false);
        check("tidegate experiment size --share 0.1 --lift 0.05 --subjects-by-day 100", true);
        check("tidegate experiment size --share 0.1", false);
        check("tidegate experiment checkout --html a.html --data d", true);
        check("tidegate experiment checkout --format json --lake s3://b/p", true);
        check("tidegate experiment", false);
        check("tidegate experiment list --format csv --data d", true);
        check("tidegate experiment check experiments", true);
        check("tidegate experiment assign checkout u1 u2", true);
        check("tidegate experiment assign checkout", false);
        check("tidegate plan check a.yaml b.yaml --format json", true);
        check("tidegate plan diff a.yaml b.yaml --allow-breaking", true);
        check("tidegate plan diff a.yaml", false);
        check("tidegate plan codegen a.yaml --lang python --out b.py", true);
        check("tidegate plan codegen --lang typescript", true);
        check("tidegate plan codegen a.yaml --lang cobol", false);
        check("tidegate plan codegen a.yaml", false);
        check("tidegate trace a --format ndjson", true);
        check("tidegate trace", false);
        check(
            "tidegate dead-letters --summary --source web --stage plan --field /properties/price --from 2026-11-23 --to 2026-11-24T10:00:00+02:00",
            true,
        );
        check("tidegate dead-letters --stage nowhere", false);
        check("tidegate dead-letters --summary --payload", false);
        check("tidegate recover --dry-run --reason wrong_type --id a --id b", true);
        check("tidegate recover --from yesterday", false);
        check("tidegate replay --from yesterday", false);
        check("tidegate replay --cut-over --from 2026-11-01", false);
        check("tidegate replay --into silver_v2 --drop", true);
        check("tidegate diff silver silver_v2 --format json", true);
        check("tidegate gold list --format json --data d", true);
        check("tidegate gold run sessions gold.active_users --anew", true);
        check("tidegate gold explain sessions --plan", true);
        check("tidegate gold", false);
        check("tidegate compact silver.events dead_letters --cluster --clean --format json", true);
        check("tidegate restore silver.events --version 3 --dry-run", true);
        check("tidegate restore silver.events --time 2026-11-23T10:00:00Z", true);
        check("tidegate restore silver.events --time yesterday", false);
        check("tidegate restore silver.events --version -1", false);
        check("tidegate restore", false);
        check("tidegate erase --user a --user b --anonymous c --only-named --dry-run --format json --data d", true);
        check("tidegate erase --anonymous c --yes --report r.json --timeout 30s", true);
        check("tidegate erase", false);
        check("tidegate expire --dry-run --format json --data d", true);
        check("tidegate config --format json", true);
        check("tidegate doctor --config f --data d --format json", true);
        check("tidegate metrics --format csv", true);
        check("tidegate metrics --format csv --markdown", false);
        check("tidegate tables --format csv", true);
        check("tidegate tables --markdown", true);
        check("tidegate tables --format csv --markdown", false);
        check("tidegate commands --markdown", true);
        check("tidegate commands --man d", true);
        check("tidegate commands --man d --markdown", false);
        check("tidegate commands", false);
        check("tidegate completions zsh", true);
        check("tidegate completions tcsh", false);
        check("tidegate completions", false);
        check("tidegate engine", true);
        check("tidegate engine spark --data d --format json", true);
        check("tidegate engine flink", false);
        check("tidegate spark submit --master local[2] --once --dry-run --jars j -- --executor-memory 2g", true);
        check("tidegate spark submit --executor-memory 2g", false);
        check("tidegate spark status --format json", true);
        check("tidegate spark", false);
        check("tidegate bench ingest --url u --key k --rate 1000 --connections 8 --batch 10 --pid 1 --pid 2 --json a --picture b", true);
        check("tidegate bench ingest --url u --key k --rate 0", false);
        check("tidegate bench ingest --url u --key k --path events", false);
        check("tidegate bench delay --url u --key k --events 5 --data d", true);
        check("tidegate bench events --count 10 --copies 0.01 --late 0.05 --random-ids --seed 7 --from 2026-11-23T10:00:00Z", true);
        check("tidegate bench events --count 10 --copies 2", false);
        check("tidegate bench events --count 10 --from yesterday", false);
        check("tidegate bench delay --url u --key k --rate 5000 --seconds 30 --batch 100 --lake l --json a", true);
        check("tidegate bench history --ids 1000000 --random --events 1000 --copies 0 --late 0.1 --folder d --json a", true);
        check("tidegate bench limits --folder d --seconds 1 --json a --picture b", true);
        check("tidegate bench compare --ours a b --peer c d --figure answer_p99_ms", true);
        check("tidegate bench compare --ours a", false);
        check("tidegate bench empty --listen 127.0.0.1:0", true);
        check("tidegate querry x", false);
    }
}
