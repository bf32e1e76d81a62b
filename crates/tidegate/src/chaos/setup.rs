//! What runs: processes, and the links between them that can be broken.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The program itself, however it is called.
const OURSELVES: &str = "tidegate";
/// What bounds a setup: more would be no one machine's.
const PARTS_MAX: usize = 64;

/// A setup.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Setup {
    /// What it is, in a few words.
    pub(super) about: String,
    /// Variables that every process has, and every command that looks at the tables.
    #[serde(default)]
    pub(super) environment: BTreeMap<String, String>,
    /// The process whose variables those commands have too: one that has the data folder with the write keys.
    pub(super) commands_as: String,
    /// In the order in which they are started.
    pub(super) processes: Vec<Declared>,
    /// Connections that can be broken.
    #[serde(default)]
    pub(super) links: Vec<Link>,
    /// Where clients send: addresses of gates.
    pub(super) gates: Vec<String>,
}

/// One process.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Declared {
    pub(super) name: String,
    /// Program and arguments; `tidegate` is this program.
    pub(super) command: Vec<String>,
    #[serde(default)]
    pub(super) environment: BTreeMap<String, String>,
    /// What says that it is there: a URL that answers with 200, or `host:port` that takes connections.
    pub(super) ready: String,
    /// Its data folder, where faults of its disk and its files are to be played.
    #[serde(default)]
    pub(super) data: Option<PathBuf>,
}

/// A connection through a proxy.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Link {
    pub(super) name: String,
    /// Where those who connect find it: `127.0.0.1:PORT`.
    pub(super) listen: String,
    /// Whom they reach by it.
    pub(super) to: String,
}

impl Setup {
    /// The platform with its embedded journal: one process, and a data folder.
    pub(super) fn embedded(data: &Path, port: u16) -> Self {
        let address = format!("127.0.0.1:{port}");
        let gate = Declared {
            name: "gate".to_owned(),
            command: [OURSELVES, "serve", "--listen", &address].map(str::to_owned).to_vec(),
            environment: BTreeMap::from([("TIDEGATE_DATA".to_owned(), data.display().to_string())]),
            ready: format!("http://{address}/readyz"),
            data: Some(data.to_owned()),
        };
        Self {
            about: "embedded journal, one process".to_owned(),
            environment: BTreeMap::new(),
            commands_as: gate.name.clone(),
            gates: vec![format!("http://{address}")],
            processes: vec![gate],
            links: Vec::new(),
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and where.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Self::parse(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let setup: Self = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        if setup.processes.len() + setup.links.len() > PARTS_MAX {
            return Err(format!("it has more than {PARTS_MAX} processes and links"));
        }
        let mut names = HashSet::new();
        for name in setup.processes.iter().map(|process| &process.name) {
            if !names.insert(name) {
                return Err(format!("two processes are called {name}"));
            }
        }
        if let Some(empty) = setup.processes.iter().find(|process| process.command.is_empty()) {
            return Err(format!("the process {} has no command", empty.name));
        }
        if !names.contains(&setup.commands_as) {
            return Err(format!("commands_as names {}, which is no process", setup.commands_as));
        }
        if setup.gates.is_empty() {
            return Err("it names no gate to send to".to_owned());
        }
        Ok(setup)
    }

    /// Those a step may be done to.
    pub(super) fn fitting(&self, step: &super::scenario::Step) -> Vec<String> {
        let fits = |name: &&String| **name == step.at || name.strip_prefix(step.at.as_str()).is_some_and(is_number);
        if step.fault.is_of_links() {
            self.links.iter().map(|link| &link.name).filter(fits).cloned().collect()
        } else {
            self.processes.iter().map(|process| &process.name).filter(fits).cloned().collect()
        }
    }

    pub(super) fn process(&self, name: &str) -> Option<&Declared> {
        self.processes.iter().find(|process| process.name == name)
    }

    /// The variables of a process.
    pub(super) fn environment_of(&self, process: &Declared) -> BTreeMap<String, String> {
        self.environment.iter().chain(&process.environment).map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

impl Declared {
    /// Whether it is this program.
    pub(super) fn is_ours(&self) -> bool {
        self.command.first().is_some_and(|program| program == OURSELVES)
    }
}

/// `-1`, `-2`, …
fn is_number(rest: &str) -> bool {
    rest.strip_prefix('-').is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::chaos::scenario::{Kind, Step};

    const TEXT: &str = "
about: two workers
commands_as: gate
gates: ['http://127.0.0.1:1']
processes:
  - {name: gate, command: [tidegate, serve], ready: 'http://127.0.0.1:1/readyz'}
  - {name: worker-1, command: [tidegate, serve], ready: '127.0.0.1:2', environment: {A: own}}
  - {name: worker-2, command: [tidegate, serve], ready: '127.0.0.1:3'}
  - {name: worker-x, command: [other], ready: '127.0.0.1:4'}
environment: {A: all, B: all}
links:
  - {name: kafka, listen: '127.0.0.1:5', to: '127.0.0.1:6'}
";

    #[test]
    fn a_file_names_processes_and_links() {
        let setup = Setup::parse(TEXT).unwrap();
        let step = |fault, at: &str| Step { fault, at: at.to_owned(), lasts: Duration::ZERO, by: Duration::ZERO };
        assert_eq!(setup.fitting(&step(Kind::Kill, "worker")), ["worker-1", "worker-2"]);
        assert_eq!(setup.fitting(&step(Kind::Kill, "worker-2")), ["worker-2"]);
        assert_eq!(setup.fitting(&step(Kind::Hang, "kafka")), ["kafka"]);
        assert!(setup.fitting(&step(Kind::Kill, "kafka")).is_empty(), "a link is no process");
        let worker = setup.process("worker-1").unwrap();
        assert_eq!(setup.environment_of(worker), BTreeMap::from([("A".to_owned(), "own".to_owned()), ("B".to_owned(), "all".to_owned())]));
        assert!(worker.is_ours() && !setup.process("worker-x").unwrap().is_ours());
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said() {
        for (from, to, expected) in [
            ("commands_as: gate", "commands_as: none", "none"),
            ("name: worker-1", "name: gate", "two processes"),
            ("command: [other]", "command: []", "no command"),
            ("gates: ['http://127.0.0.1:1']", "gates: []", "no gate"),
            ("links:", "lines:", "lines"),
        ] {
            let error = Setup::parse(&TEXT.replace(from, to)).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        assert!(Setup::read(Path::new("no-such-file.yaml")).unwrap_err().starts_with("no-such-file.yaml: "));
    }
}
