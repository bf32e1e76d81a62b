//! What drives a stage: step by step, at its pace, through failures, until there is nothing more to come.

use std::time::Duration;

use lake::Lake;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::config::Config;
use crate::error::{Error, ErrorKind};
use crate::status::Status;
use crate::work::Work;

/// The pause after the first failure of a step.
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(100);
/// So many failures in a row end a stage that was asked to stop: its input is durable and will be read at the next start.
const FAILURES_WHILE_STOPPING_MAX: u32 = 5;

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// There was nothing to do.
    Idle,
    /// It went on, and is through with what there was.
    Moved,
    /// It went on, and there is more.
    More,
}

/// A stage of the data path.
pub(crate) trait Stage: Send {
    /// Its name, for people.
    const NAME: &'static str;

    /// Does what can be done now, in one commit. After an error the next call is [`Stage::recover`].
    fn step(&mut self) -> impl Future<Output = Result<Step, Error>> + Send;

    /// Forgets what it believes, and takes its position from the tables.
    fn recover(&mut self) -> impl Future<Output = Result<(), Error>> + Send;

    /// Waits until there may be something to do. `false`: nothing more will come.
    fn wait(&mut self) -> impl Future<Output = bool> + Send;

    /// Leaves behind what makes the next start quicker. Nothing depends on it.
    fn close(&mut self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

/// What every stage is opened with.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings<'a> {
    pub(crate) lake: &'a Lake,
    pub(crate) config: &'a Config,
    pub(crate) status: &'a Status,
    pub(crate) work: &'a Work,
}

/// How a stage is driven.
#[derive(Debug, Clone)]
pub(crate) struct Drive {
    /// The time from the start of a step that found something to the start of the next one, where there is not more already.
    pub(crate) pace: Duration,
    /// The longest pause after a failure.
    pub(crate) retry_pause_max: Duration,
    /// Becomes true when the stages are to finish what there is and end.
    pub(crate) stop: watch::Receiver<bool>,
    /// What there is belongs to other processes too: a stage that is to end leaves it to them.
    pub(crate) leaves: bool,
    pub(crate) status: Status,
}

impl Drive {
    /// Drives a stage to its end.
    pub(crate) async fn run<S: Stage>(mut self, mut stage: S) -> Result<(), Error> {
        let outcome = self.drive(&mut stage).await;
        stage.close().await;
        outcome
    }

    async fn drive<S: Stage>(&mut self, stage: &mut S) -> Result<(), Error> {
        let mut open = true;
        let mut failures = 0;
        loop {
            if self.leaves && *self.stop.borrow() {
                return Ok(());
            }
            let began = Instant::now();
            match stage.step().await {
                Ok(step) => {
                    if failures > 0 {
                        tracing::info!(stage = S::NAME, failures, "the stage goes on");
                        self.status.clear_error(S::NAME);
                        failures = 0;
                    }
                    match step {
                        Step::More => {}
                        Step::Moved if open => self.pause(began + self.pace).await,
                        Step::Moved => {}
                        Step::Idle if open => open = stage.wait().await,
                        Step::Idle => return Ok(()),
                    }
                }
                Err(error) => {
                    failures += 1;
                    self.failed(S::NAME, failures, error)?;
                    let doubled = RETRY_PAUSE_MIN.saturating_mul(1 << failures.min(16));
                    self.pause(Instant::now() + doubled.min(self.retry_pause_max)).await;
                    if let Err(error) = stage.recover().await {
                        failures += 1;
                        self.failed(S::NAME, failures, error)?;
                    }
                }
            }
        }
    }

    /// Notes a failure; an error when the stage cannot go on.
    fn failed(&self, stage: &'static str, failures: u32, error: Error) -> Result<(), Error> {
        let gives_up = *self.stop.borrow() && failures >= FAILURES_WHILE_STOPPING_MAX;
        self.status.set_error(stage, &error);
        crate::metrics::failed(stage);
        if error.kind() != ErrorKind::Retry || gives_up {
            tracing::error!(stage, %error, "the stage ends");
            return Err(error);
        }
        if let Error::Lake(lake::Error::Fenced { .. }) = &error {
            self.status.update(|progress| progress.fenced += 1);
            crate::metrics::fenced(stage);
            tracing::warn!(stage, %error, "fenced: another process does this part of the work, its place is taken from the tables anew");
            return Ok(());
        }
        tracing::warn!(stage, failures, %error, "a step failed and will be made again");
        Ok(())
    }

    /// Waits until then, or until the stages are to end.
    async fn pause(&mut self, until: Instant) {
        tokio::select! {
            () = tokio::time::sleep_until(until) => {}
            _ = self.stop.wait_for(|stop| *stop) => {}
        }
    }
}

/// Runs work that computes for long on a thread where it holds nobody up.
pub(crate) async fn compute<T: Send + 'static>(
    stage: &'static str,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::Panicked(stage))?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives the outcomes in turn, then has nothing more to do.
    struct Scripted {
        outcomes: Vec<Result<Step, Error>>,
        recovered: u32,
        log: std::sync::mpsc::Sender<(usize, u32)>,
    }

    impl Stage for Scripted {
        const NAME: &'static str = "scripted";

        async fn step(&mut self) -> Result<Step, Error> {
            let outcome = self.outcomes.pop().unwrap_or(Ok(Step::Idle));
            self.log.send((self.outcomes.len(), self.recovered)).unwrap();
            outcome
        }

        async fn recover(&mut self) -> Result<(), Error> {
            self.recovered += 1;
            Ok(())
        }

        async fn wait(&mut self) -> bool {
            false
        }
    }

    fn full() -> Error {
        Error::Journal(journal::Error::Full("test".to_owned()))
    }

    async fn check(outcomes: Vec<Result<Step, Error>>, stop: bool, sound: bool, recovered: u32) {
        check_leaving(outcomes, stop, false, sound, Some(recovered)).await;
    }

    async fn check_leaving(outcomes: Vec<Result<Step, Error>>, stop: bool, leaves: bool, sound: bool, recovered: Option<u32>) {
        let (log, seen) = std::sync::mpsc::channel();
        let (_sender, stop) = watch::channel(stop);
        let retry_pause_max = Duration::from_millis(1);
        let drive = Drive { pace: Duration::ZERO, retry_pause_max, stop, leaves, status: Status::default() };
        let ended = drive.run(Scripted { outcomes, recovered: 0, log }).await;
        assert_eq!(ended.is_ok(), sound, "{ended:?}");
        assert_eq!(seen.iter().last().map(|(_, recovered)| recovered), recovered);
    }

    #[tokio::test]
    async fn what_others_can_do_is_left_to_them_at_the_end() {
        check_leaving(vec![Ok(Step::More)], true, true, true, None).await;
        check_leaving(vec![Ok(Step::More)], false, true, true, Some(0)).await;
    }

    #[tokio::test]
    async fn failures_that_pass_are_sat_out_and_others_end_the_stage() {
        check(vec![Ok(Step::Moved), Ok(Step::More)], false, true, 0).await;
        check(vec![Ok(Step::Moved), Err(full()), Err(full())], false, true, 2).await;
        check(vec![Ok(Step::Moved), Err(Error::Journal(journal::Error::Closed))], false, false, 0).await;
        check((0..20).map(|_| Err(full())).collect(), false, true, 20).await;
        check((0..20).map(|_| Err(full())).collect(), true, false, 4).await;
    }
}
