//! The Python clients, each in an environment of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::{made_once, version};
use crate::place::Place;
use crate::rust;
use crate::servers::Installed;
use crate::step::{output, run, step};

/// The oldest Python that the pinned packages run on.
const OLDEST: (u32, u32) = (3, 10);
const WANTED: &str = "the tests of the Python clients need Python 3.10 or newer with venv and pip (on Debian and Ubuntu: python3 and \
                      python3-venv); to run the other tests: `cargo xtask test rust`, `cargo xtask test node`";

/// An interpreter that can make environments.
#[derive(Debug)]
pub(crate) struct Python {
    version: String,
}

/// The Python of this machine.
///
/// # Errors
///
/// When there is none that will do; the text says what to install.
pub(crate) fn find() -> Result<Python> {
    let question = "import ensurepip, platform, venv; print(platform.python_version())";
    let answer = output(Command::new("python3").args(["-c", question])).with_context(|| WANTED)?;
    let found = answer.with_context(|| format!("there is no python3; {WANTED}"))?.trim().to_owned();
    if version(&found).is_none_or(|found| found < OLDEST) {
        bail!("python3 is {found}; {WANTED}");
    }
    Ok(Python { version: found })
}

/// Runs pytest over the clients and the converters of the examples.
///
/// # Errors
///
/// When the packages cannot be had or a test fails.
pub(crate) fn test(place: &Place, python: &Python, servers: &Installed) -> Result<()> {
    let tests = place.root().join("tests/clients/python");
    let (mut main, mut old) = (PathBuf::new(), PathBuf::new());
    step("Python environments", || {
        main = environment(place, python, "python", &tests.join("requirements.txt"))?;
        // This client pins an older version of a package that the others need newer.
        old = environment(place, python, "analytics-python", &tests.join("requirements-analytics-python.txt"))?;
        Ok(())
    })?;
    step("Python client tests", || {
        let mut pytest = pytest(place, &main, &tests.join("pytest.ini"), &tests);
        pytest.arg(place.root().join("examples"));
        run(pytest.env("TIDEGATE_BIN", place.product()).env("PYTHON_OF_ANALYTICS_PYTHON", &old).envs(servers.variables()))
    })
}

/// Types what the documents tell people to type.
///
/// # Errors
///
/// When the packages cannot be had or a test fails.
pub(crate) fn test_documents(place: &Place, python: &Python, servers: &Installed) -> Result<()> {
    let tests = place.root().join("tests/docs");
    let mut interpreter = PathBuf::new();
    step("Python environment of the documents", || {
        interpreter = environment(place, python, "docs", &tests.join("requirements.txt"))?;
        Ok(())
    })?;
    step("commands of the documents", || {
        let mut pytest = pytest(place, &interpreter, &tests.join("pytest.ini"), &tests);
        run(pytest.env("TIDEGATE_BIN", place.product()).envs(servers.variables()))
    })
}

/// Installs the SDK as a user would, checks its types, and runs its tests.
///
/// # Errors
///
/// When it cannot be installed, a type is wrong or a test fails.
pub(crate) fn test_sdk(place: &Place, python: &Python) -> Result<()> {
    let sdk = place.root().join("sdk/python");
    let mut interpreter = PathBuf::new();
    step("Python SDK", || {
        interpreter = sdk_environment(place, python)?;
        let install =
            ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation", "--force-reinstall"];
        run(Command::new(&interpreter).args(install).arg(&sdk))?;
        let mut mypy = Command::new(&interpreter);
        mypy.args(["-m", "mypy", "--strict", "--cache-dir"]).arg(place.clients().join("sdk-python/mypy"));
        run(mypy.arg(sdk.join("src/tidegate")))
    })?;
    step("Python SDK tests", || {
        let mut pytest = pytest(place, &interpreter, &sdk.join("pyproject.toml"), &sdk.join("tests"));
        run(pytest.env("TIDEGATE_BIN", place.product()))
    })
}

/// Compares statistics and assignment with packages that others wrote.
///
/// # Errors
///
/// When the packages cannot be had or a test fails.
pub(crate) fn test_statistics(place: &Place, python: &Python) -> Result<()> {
    let tests = place.root().join("tests/statistics");
    let evaluate = rust::build_example(place, "evaluate")?;
    let mut interpreter = PathBuf::new();
    step("packages of statistics", || {
        interpreter = environment(place, python, "statistics", &tests.join("requirements.txt"))?;
        Ok(())
    })?;
    step("statistics beside other packages", || {
        run(pytest(place, &interpreter, &tests.join("pytest.ini"), &tests).env("TIDEGATE_EVALUATE", &evaluate))
    })
}

/// Checks what is in `deploy`: templates, units, manifests, and what a machine does at its first boot.
///
/// # Errors
///
/// When the packages cannot be had or a test fails.
pub(crate) fn test_deploy(place: &Place, python: &Python, servers: &Installed) -> Result<()> {
    let tests = place.root().join("tests/deploy");
    let mut interpreter = PathBuf::new();
    step("packages that check deploy", || {
        interpreter = environment(place, python, "deploy", &tests.join("requirements.txt"))?;
        Ok(())
    })?;
    step("deploy", || {
        let mut pytest = pytest(place, &interpreter, &tests.join("pytest.ini"), &tests);
        run(pytest.env("TIDEGATE_BIN", place.product()).envs(servers.variables()))
    })
}

/// pytest over a folder, with its settings, which leaves nothing behind in the sources.
fn pytest(place: &Place, interpreter: &Path, settings: &Path, tests: &Path) -> Command {
    let mut command = Command::new(interpreter);
    command.args(["-m", "pytest", "-p", "no:cacheprovider", "-c"]).arg(settings).arg(tests);
    command.current_dir(place.root()).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// The interpreter of an environment that has what builds and tests the SDK.
///
/// # Errors
///
/// When the packages cannot be had.
pub(crate) fn sdk_environment(place: &Place, python: &Python) -> Result<PathBuf> {
    environment(place, python, "sdk-python", &place.root().join("sdk/python/tests/requirements.txt"))
}

/// The interpreter of an environment that has what the file lists.
///
/// # Errors
///
/// When the packages cannot be had.
pub(crate) fn environment(place: &Place, python: &Python, name: &str, requirements: &Path) -> Result<PathBuf> {
    let folder = place.clients().join(name);
    let interpreter = interpreter(&folder);
    let listed = fs::read_to_string(requirements).with_context(|| format!("{} cannot be read", requirements.display()))?;
    made_once(&folder, &format!("python {}\n{listed}", python.version), || {
        empty_environment(&folder)?;
        let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
        run(Command::new(&interpreter).args(install).arg(requirements))
    })?;
    Ok(interpreter)
}

/// The interpreter of a new environment that has nothing.
///
/// # Errors
///
/// When it cannot be made.
pub(crate) fn empty_environment(folder: &Path) -> Result<PathBuf> {
    run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
    Ok(interpreter(folder))
}

fn interpreter(folder: &Path) -> PathBuf {
    folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" })
}
