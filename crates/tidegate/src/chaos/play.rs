//! Plays scenarios: each fault, then how long until the first yes, and until Silver has all that was acknowledged until then.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use faults::Fault;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use serde::Serialize;
use serde_json::Value;

use super::crew::Crew;
use super::disk::Full;
use super::ledger::Ledger;
use super::scenario::{Kind, Scenario, Step};
use super::setup::Setup;
use crate::commands::say;

/// What has not recovered by then has not recovered.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(300);
/// From the start of the clients to the first yes, with nothing wrong.
const FIRST_YES_TIMEOUT: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);
/// Between two questions how far Silver is, each of which is a process.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// What became of one fault. Times in seconds.
#[derive(Debug, Serialize)]
pub(super) struct Incident {
    pub(super) scenario: String,
    pub(super) law: String,
    pub(super) runbook: String,
    /// What was done, and to whom.
    pub(super) what: String,
    /// More about it, such as which byte.
    pub(super) detail: Option<String>,
    /// After the beginning of the run.
    pub(super) began: f64,
    /// Likewise: when the fault was over, with all processes ready.
    pub(super) ended: f64,
    /// The longest time in which no client was told yes.
    pub(super) silence: f64,
    /// From the end to the first yes. Absent: there was none.
    pub(super) answered_after: Option<f64>,
    /// From the end until Silver had all that was acknowledged by then. Absent: it did not come to that.
    pub(super) caught_up_after: Option<f64>,
    /// Requests that came to nothing meanwhile.
    pub(super) failed: u64,
}

impl Incident {
    pub(super) fn has_recovered(&self) -> bool {
        self.answered_after.is_some() && self.caught_up_after.is_some()
    }
}

/// Why a scenario cannot be played with a setup. `None`: it can.
pub(super) fn hindrance(scenario: &Scenario, setup: &Setup, has_disk: bool) -> Option<String> {
    scenario.steps.iter().find_map(|step| candidates(step, setup, has_disk).err())
}

/// Those a step can be done to; an error says why there are none.
fn candidates(step: &Step, setup: &Setup, has_disk: bool) -> Result<Vec<String>, String> {
    let mut fitting = setup.fitting(step);
    if fitting.is_empty() {
        let what = if step.fault.is_of_links() { "link" } else { "process" };
        return Err(format!("the setup has no {what} {}", step.at));
    }
    if step.fault == Kind::FillDisk && !has_disk {
        return Err("it wants a disk of its own: --disk".to_owned());
    }
    let suits = |name: &String| {
        let Some(process) = setup.process(name) else { return step.fault.is_of_links() };
        match step.fault {
            Kind::ClockAhead | Kind::ClockBehind => process.is_ours(),
            Kind::FillDisk | Kind::TearJournal | Kind::DamageIndex => process.data.is_some(),
            _ => true,
        }
    };
    fitting.retain(suits);
    if fitting.is_empty() { Err(format!("{} is not of the kind for it, or has no `data` in the setup", step.at)) } else { Ok(fitting) }
}

/// What is needed to play.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) crew: Crew,
    pub(super) ledger: Arc<Ledger>,
    pub(super) random: StdRng,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) began: Instant,
    /// Between two faults, after everything has recovered.
    pub(super) pause: Duration,
    /// Whether the data is on a disk of the run's own.
    pub(super) has_disk: bool,
}

impl Stage {
    /// Plays scenarios in an order that chance decides, each once and then all of them again, until it is time to end or nothing recovers any more.
    ///
    /// # Errors
    ///
    /// What keeps it from going on. What was played until then is in `incidents`.
    pub(super) fn play(&mut self, scenarios: &[Scenario], until: Instant, incidents: &mut Vec<Incident>) -> anyhow::Result<()> {
        self.begin()?;
        for round in 0_u64.. {
            let mut order: Vec<&Scenario> = scenarios.iter().collect();
            order.shuffle(&mut self.random);
            for scenario in order {
                for step in &scenario.steps {
                    self.rest(self.pause);
                    if self.is_stopped() || round > 0 && Instant::now() >= until {
                        return Ok(());
                    }
                    let incident = self.step(scenario, step)?;
                    say(&line(&incident));
                    let recovered = incident.has_recovered();
                    incidents.push(incident);
                    if !recovered && !self.is_stopped() {
                        bail!("it does not recover within {} s", RECOVERY_TIMEOUT.as_secs());
                    }
                }
            }
            if Instant::now() >= until {
                break;
            }
        }
        Ok(())
    }

    /// A setup that does not work before anything was done to it proves nothing.
    fn begin(&mut self) -> anyhow::Result<()> {
        while self.ledger.sums().acknowledged == 0 && !self.is_stopped() {
            self.crew.check()?;
            if self.began.elapsed() > FIRST_YES_TIMEOUT {
                bail!("no event is answered with success, and no fault was played yet: the logs of the processes say why");
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// Waits, unless it is told to stop.
    fn rest(&self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until && !self.is_stopped() {
            std::thread::sleep(LOOK);
        }
    }

    fn step(&mut self, scenario: &Scenario, step: &Step) -> anyhow::Result<Incident> {
        let candidates = candidates(step, self.crew.setup(), self.has_disk).map_err(anyhow::Error::msg)?;
        let whom = candidates.choose(&mut self.random).context("nobody")?.clone();
        let before = self.ledger.sums();
        self.ledger.watch();
        let began = self.seconds();
        let detail = self.strike(step, &whom).with_context(|| format!("{}: {}", scenario.name, step.told(&whom)))?;
        let (over, ended, at_end) = (Instant::now(), self.seconds(), self.ledger.sums());
        let answered_after = self.wait(over, LOOK, |stage| Ok(stage.ledger.sums().acknowledged > at_end.acknowledged))?;
        let silence = self.ledger.longest_silence().as_secs_f64();
        let caught_up_after = self.wait(over, ASK_EVERY, |stage| Ok(stage.rows_of_silver()? >= at_end.acknowledged))?;
        Ok(Incident {
            scenario: scenario.name.clone(),
            law: scenario.law.clone(),
            runbook: scenario.runbook.clone(),
            what: step.told(&whom),
            detail,
            began,
            ended,
            silence,
            answered_after,
            caught_up_after,
            failed: self.ledger.sums().failed - before.failed,
        })
    }

    /// Until something is true; how long that took since the fault was over.
    fn wait(&mut self, over: Instant, every: Duration, is_true: impl Fn(&Self) -> anyhow::Result<bool>) -> anyhow::Result<Option<f64>> {
        loop {
            if is_true(self)? {
                return Ok(Some(over.elapsed().as_secs_f64()));
            }
            self.crew.check()?;
            if over.elapsed() > RECOVERY_TIMEOUT || self.is_stopped() {
                return Ok(None);
            }
            std::thread::sleep(every);
        }
    }

    /// How many rows Silver has; none where it cannot be read at the moment, which is a part of what is measured.
    pub(super) fn rows_of_silver(&self) -> anyhow::Result<u64> {
        let output = self.crew.ask(&["query", "SELECT count(*) AS n FROM silver.events", "--format", "json"])?;
        let rows: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        Ok(rows.pointer("/0/n").and_then(Value::as_u64).unwrap_or_default())
    }

    /// Does it, and undoes it. Returns when the fault is over and every process is ready.
    fn strike(&mut self, step: &Step, whom: &str) -> anyhow::Result<Option<String>> {
        match step.fault {
            Kind::Kill => {
                self.crew.kill(whom)?;
                self.rest(step.lasts);
                self.crew.start(whom, &[])?;
            }
            Kind::Stop => {
                self.crew.stop(whom)?;
                self.rest(step.lasts);
                self.crew.start(whom, &[])?;
            }
            Kind::Freeze => {
                self.crew.freeze(whom)?;
                self.rest(step.lasts);
                self.crew.thaw(whom)?;
            }
            Kind::ClockAhead | Kind::ClockBehind => {
                let sign = if step.fault == Kind::ClockAhead { "" } else { "-" };
                self.crew.kill(whom)?;
                self.crew.start(whom, &[format!("--clock-skew={sign}{}s", step.by.as_secs())])?;
                self.rest(step.lasts);
                self.crew.kill(whom)?;
                self.crew.start(whom, &[])?;
            }
            Kind::TearJournal => {
                self.crew.kill(whom)?;
                let detail = self.crew.tear_journal(whom, &mut self.random)?;
                self.crew.start(whom, &[])?;
                return Ok(Some(detail));
            }
            Kind::DamageIndex => {
                // In order, so that the index is on the disk and not only in memory.
                self.crew.stop(whom)?;
                let detail = self.crew.damage_index(whom, &mut self.random)?;
                self.crew.start(whom, &[])?;
                return Ok(Some(detail));
            }
            Kind::FillDisk => {
                let full = Full::fill(&self.crew.data_folder(whom)?)?;
                self.rest(step.lasts);
                return Ok(Some(format!("{} bytes", full.bytes())));
            }
            Kind::Refuse => return self.break_link(whom, Fault::Refuse, step.lasts),
            Kind::Hang => return self.break_link(whom, Fault::Hang, step.lasts),
            Kind::Slow => return self.break_link(whom, Fault::Slow(step.by), step.lasts),
            Kind::LoseAnswers => return self.break_link(whom, Fault::LoseAnswers, step.lasts),
            Kind::Unavailable => return self.break_link(whom, Fault::Http503, step.lasts),
        }
        Ok(None)
    }

    fn break_link(&self, whom: &str, fault: Fault, lasts: Duration) -> anyhow::Result<Option<String>> {
        let before = self.crew.set_link(whom, fault)?;
        self.rest(lasts);
        let struck = self.crew.set_link(whom, Fault::None)? - before;
        Ok(Some(format!("struck {struck} times")))
    }
}

fn line(incident: &Incident) -> String {
    let after = |seconds: Option<f64>| seconds.map_or_else(|| "never".to_owned(), |seconds| format!("{seconds:.1} s"));
    format!(
        "{:>6.0} s  {}: first yes after {}, all in Silver after {}, {} requests in vain",
        incident.began,
        incident.what,
        after(incident.answered_after),
        after(incident.caught_up_after),
        incident.failed
    )
}
