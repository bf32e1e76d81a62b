//! Spark, the jars of its job and the Python package that the job is in: installed below the target folder, and the tests that run them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use servers::{SPARK_JARS_VARIABLE, SPARK_VARIABLE};

use crate::clients::python::Python;
use crate::clients::{self, made_once};
use crate::place::{Place, cargo};
use crate::servers::Installed as Servers;
use crate::step::{run, step};

/// Spark, with the jars that it lacks.
#[derive(Debug)]
pub(crate) struct Engine {
    /// The Python that has it.
    pub(crate) interpreter: PathBuf,
    /// The folder of the jars.
    pub(crate) jars: PathBuf,
}

/// The same with the job.
#[derive(Debug)]
pub(crate) struct Installed {
    bin: PathBuf,
    jars: PathBuf,
}

/// Installs Spark, and builds the jars.
///
/// # Errors
///
/// When something cannot be had or does not compile.
pub(crate) fn engine(place: &Place, python: &Python) -> Result<Engine> {
    let interpreter = environment(place, python)?;
    let jvm = place.servers().join("spark-jvm");
    step("jars of the Spark job", || {
        let folder = place.root().join("spark/jvm");
        made_once(&jvm, &sources(&folder)?, || {
            let mut maven = Command::new("mvn");
            maven.args(["--batch-mode", "--quiet", "package", "--file"]).arg(folder.join("pom.xml"));
            run(maven.arg(format!("-Dtidegate.build={}", jvm.display())))
        })
    })?;
    Ok(Engine { interpreter, jars: jvm.join("jars") })
}

/// Installs Spark, and builds the jars and the package of the job.
///
/// # Errors
///
/// As [`engine`].
pub(crate) fn install(place: &Place, python: &Python) -> Result<Installed> {
    let Engine { interpreter, jars } = engine(place, python)?;
    step("Python package of the Spark job", || {
        let wheel = wheel(place, &interpreter, "release", &place.servers().join("spark-wheels"), &[])?;
        let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--force-reinstall"];
        run(Command::new(&interpreter).args(install).arg(wheel))
    })?;
    let bin = interpreter.parent().context("an interpreter is in a folder")?.to_owned();
    Ok(Installed { bin, jars })
}

/// The interpreter of an environment that has Spark, and what builds our package.
///
/// # Errors
///
/// When the packages cannot be had.
pub(crate) fn environment(place: &Place, python: &Python) -> Result<PathBuf> {
    let mut interpreter = PathBuf::new();
    step("Spark", || {
        interpreter = clients::python::environment(place, python, "spark", &place.root().join("testing/servers/spark/requirements.txt"))?;
        Ok(())
    })?;
    Ok(interpreter)
}

/// Builds the package that the job is in, in a profile of Cargo.toml, into a folder that has nothing else.
///
/// # Errors
///
/// When it does not compile.
pub(crate) fn wheel(
    place: &Place,
    interpreter: &Path,
    profile: &str,
    wheels: &Path,
    variables: &[(&'static str, String)],
) -> Result<PathBuf> {
    if wheels.exists() {
        fs::remove_dir_all(wheels).with_context(|| format!("{} cannot be removed", wheels.display()))?;
    }
    let mut maturin = Command::new(interpreter);
    maturin.args(["-m", "maturin", "build", "--quiet", "--profile", profile, "--out"]).arg(wheels);
    maturin.arg("--manifest-path").arg(place.root().join("spark/python/Cargo.toml"));
    maturin.env("CARGO_TARGET_DIR", place.target()).envs(variables.iter().map(|(name, value)| (name, value)));
    run(&mut maturin)?;
    Ok(fs::read_dir(wheels)?.next().context("maturin made no wheel")??.path())
}

/// Runs the tests of the program that need Spark.
///
/// # Errors
///
/// When a test fails.
pub(crate) fn test(place: &Place, servers: &Servers, spark: &Installed) -> Result<()> {
    step("Spark tests", || {
        let mut tests = cargo(place);
        // One after the other: each has Kafka, an S3 server, Spark and the platform.
        tests.args([
            "test",
            "--release",
            "--workspace",
            "--test",
            "server",
            "--",
            "--ignored",
            "--nocapture",
            "--test-threads=1",
            "spark::",
        ]);
        tests.envs(servers.variables()).env(SPARK_VARIABLE, &spark.bin).env(SPARK_JARS_VARIABLE, &spark.jars);
        run(&mut tests)
    })
}

/// All that the jar is made of, as one text.
fn sources(folder: &Path) -> Result<String> {
    let mut files = vec![folder.join("pom.xml")];
    let mut folders = vec![folder.join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("{} cannot be read", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    let read = |file: &PathBuf| fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()));
    Ok(files.iter().map(read).collect::<Result<Vec<_>>>()?.join("\n"))
}
