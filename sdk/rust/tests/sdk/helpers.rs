use std::env;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tidegate_sdk::{Client, ClientBuilder, Event, Stats};

pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Waits until it holds.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < SOON, "not so: {what}");
        std::thread::sleep(millis(10));
    }
}

/// The counts, which hold at any moment.
pub(crate) fn balanced(client: &Client) -> Stats {
    let stats = client.stats();
    assert_eq!(stats.tracked, stats.delivered + stats.rejected + stats.dropped + stats.pending, "{stats:?}");
    assert_eq!((stats.dropped, stats.rejected), (stats.dropped_by.values().sum(), stats.rejected_by.values().sum()), "{stats:?}");
    stats
}

pub(crate) fn client(url: &str) -> ClientBuilder {
    Client::builder("k").url(url)
}

/// Tracks an event that says its number.
pub(crate) fn numbered(client: &Client, number: u64) -> Option<String> {
    client.track(Event::new("t").property("n", number))
}

/// A test of this program that is run in a process of its own, as an application that may be killed. It is given what it has to know in variables.
pub(crate) fn application(test: &str, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "--nocapture", test]).envs(variables.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What such a test was given.
pub(crate) fn given(variable: &str) -> String {
    env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set: another test runs this one"))
}

/// Kills a process at once, which has not ended before.
#[cfg(unix)]
pub(crate) fn kill(process: &mut Child) {
    use std::os::unix::process::ExitStatusExt as _;
    process.kill().unwrap();
    assert_eq!(process.wait().unwrap().signal(), Some(9), "it had ended before it was killed");
}
