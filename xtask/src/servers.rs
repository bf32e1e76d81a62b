//! Kafka, the S3 gateway and Prometheus, installed once below the target folder.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use servers::{JARS_VARIABLE, PROGRAM_VARIABLE};

use crate::clients::made_once;
use crate::place::Place;
use crate::step::{output, run, step};

/// The release of the gateway that the tests run.
const GATEWAY: &str = "github.com/versity/versitygw/cmd/versitygw@v1.8.0";
/// The oldest Java that this Kafka runs on.
const JAVA_OLDEST: u32 = 17;
/// The oldest Go that knows how to fetch the one which the gateway asks for.
const GO_OLDEST: (u32, u32) = (1, 21);
const WANTED_PROMETHEUS: &str = "the alerts are tested with Prometheus: have prometheus and promtool on the PATH, or a Debian whose apt-get can download the package prometheus";
const WANTED: &str = "Kafka and the S3 gateway need Java 17 or newer, Maven and Go 1.21 or newer (on Debian and Ubuntu: openjdk-17-jdk-headless, \
                      maven; Go from https://go.dev/dl)";

/// That what installs and runs the servers is there.
#[derive(Debug)]
pub(crate) struct Tools;

/// The servers, installed.
#[derive(Debug)]
pub(crate) struct Installed {
    pub(crate) jars: PathBuf,
    pub(crate) gateway: PathBuf,
}

/// Looks for Java, Maven and Go.
///
/// # Errors
///
/// When one is missing or too old; the text says what to install.
pub(crate) fn find() -> Result<Tools> {
    let java = output(Command::new("java").arg("--version"))?.with_context(|| format!("there is no java; {WANTED}"))?;
    if java_release(&java).is_none_or(|found| found < JAVA_OLDEST) {
        bail!("java is {}; {WANTED}", java.lines().next().unwrap_or_default());
    }
    output(Command::new("keytool").arg("-help"))?.with_context(|| format!("there is no keytool, which comes with java; {WANTED}"))?;
    output(Command::new("mvn").arg("--version"))?.with_context(|| format!("there is no mvn; {WANTED}"))?;
    let go = output(Command::new("go").arg("version"))?.with_context(|| format!("there is no go; {WANTED}"))?;
    if go_release(&go).is_none_or(|found| found < GO_OLDEST) {
        bail!("{}; {WANTED}", go.trim());
    }
    Ok(Tools)
}

/// Installs the servers, unless they are there.
///
/// # Errors
///
/// When they cannot be had.
pub(crate) fn install(place: &Place, _: &Tools) -> Result<Installed> {
    let (kafka, gateway) = (place.servers().join("kafka"), place.servers().join("s3"));
    step("Kafka and the S3 gateway", || {
        let pom = place.root().join("testing/servers/kafka/pom.xml");
        let listed = fs::read_to_string(&pom).with_context(|| format!("{} cannot be read", pom.display()))?;
        made_once(&kafka, &listed, || {
            let mut maven = Command::new("mvn");
            maven.args(["--batch-mode", "--quiet", "dependency:copy-dependencies", "-DincludeScope=runtime", "--file"]).arg(&pom);
            run(maven.arg(format!("-DoutputDirectory={}", kafka.display())))
        })?;
        made_once(&gateway, GATEWAY, || {
            let mut go = Command::new("go");
            // Without the tables that only debuggers read: they are a third of it.
            run(go.env("GOBIN", &gateway).args(["install", "-ldflags=-s -w", GATEWAY]))
        })
    })?;
    Ok(Installed { jars: kafka, gateway: gateway.join("versitygw") })
}

/// Prometheus of this machine, or of Debian's package, which is unpacked and not installed: the folder of its programs.
///
/// # Errors
///
/// When it cannot be had; the text says what to install.
pub(crate) fn prometheus(place: &Place) -> Result<PathBuf> {
    if let Some(paths) = std::env::var_os("PATH") {
        let has = |folder: &PathBuf| ["prometheus", "promtool"].iter().all(|program| folder.join(program).is_file());
        if let Some(folder) = std::env::split_paths(&paths).find(has) {
            return Ok(folder);
        }
    }
    let folder = place.servers().join("prometheus");
    step("Prometheus", || {
        made_once(&folder, "prometheus", || {
            // With lists of its own: those of the machine may be missing or old, and are nobody's but root's to fetch.
            let (lists, cache) = (folder.join("lists"), folder.join("cache"));
            for part in [lists.join("partial"), cache.clone()] {
                fs::create_dir_all(&part).with_context(|| format!("{} cannot be made", part.display()))?;
            }
            let apt = |arguments: &[&str]| {
                let mut apt = Command::new("apt-get");
                apt.args(["-qq", "-o"]).arg(format!("Dir::State::Lists={}", lists.display()));
                apt.arg("-o").arg(format!("Dir::Cache={}", cache.display())).args(arguments).current_dir(&folder);
                run(&mut apt).context(WANTED_PROMETHEUS)
            };
            apt(&["update"])?;
            apt(&["download", "prometheus"])?;
            let packages = fs::read_dir(&folder)?.filter_map(|entry| Some(entry.ok()?.path()));
            let package = packages.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "deb"));
            let package = package.context(WANTED_PROMETHEUS)?;
            run(Command::new("dpkg").arg("-x").arg(&package).arg(&folder)).context(WANTED_PROMETHEUS)?;
            fs::remove_dir_all(&lists).and_then(|()| fs::remove_dir_all(&cache)).context("lists of packages cannot be removed")?;
            fs::remove_file(&package).context("a package cannot be removed")
        })
    })?;
    Ok(folder.join("usr/bin"))
}

impl Installed {
    /// The variables by which the tests find them.
    pub(crate) fn variables(&self) -> [(&'static str, &PathBuf); 2] {
        [(JARS_VARIABLE, &self.jars), (PROGRAM_VARIABLE, &self.gateway)]
    }
}

/// The release in such a text as `openjdk 17.0.15 2025-04-15`.
fn java_release(text: &str) -> Option<u32> {
    text.split_whitespace().nth(1)?.split(['.', '-', '+']).next()?.parse().ok()
}

/// The release in such a text as `go version go1.26.0 linux/amd64`.
fn go_release(text: &str) -> Option<(u32, u32)> {
    crate::clients::version(text.split_whitespace().nth(2)?.trim_start_matches("go"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read() {
        let java = |text, expect| assert_eq!(java_release(text), expect, "{text}");
        java("openjdk 17.0.15 2025-04-15\nOpenJDK Runtime Environment", Some(17));
        java("java 21-ea 2023-09-19", Some(21));
        java("", None);
        let go = |text, expect| assert_eq!(go_release(text), expect, "{text}");
        go("go version go1.26.0 linux/amd64", Some((1, 26)));
        go("go version devel", None);
    }
}
