//! Real servers on loopback: Apache Kafka, an S3 gateway, Apache Spark and Prometheus, with the faults of the crate `faults`.
//!
//! Tests run against these, so that what is promised of Kafka and S3 is promised of the real ones; `cargo xtask up` runs the product on them. The servers
//! are installed by `cargo xtask test`, never by this crate, and live as long as the value that stands for them: also where a test is killed.

mod kafka;
mod prometheus;
mod s3;
mod secure;
mod spark;

pub use faults::{Fault, Guard, Proxy, free_port, freeze, thaw};
pub use kafka::{JARS_VARIABLE, Kafka, KafkaOptions};
pub use prometheus::{PROMETHEUS_VARIABLE, Prometheus};
pub use s3::{PROGRAM_VARIABLE, S3, S3Options};
pub use secure::Secure;
pub use spark::{SPARK_JARS_VARIABLE, SPARK_VARIABLE, Spark, SparkCluster};

use std::path::PathBuf;

use anyhow::{Result, bail};

/// A path that `cargo xtask test` puts into the environment.
fn installed(variable: &str, what: &str) -> Result<PathBuf> {
    match std::env::var_os(variable) {
        Some(path) => {
            let path = PathBuf::from(path);
            if !path.exists() {
                bail!("{variable} names {}, which is not there; run `cargo xtask test`, which installs {what}", path.display());
            }
            Ok(path)
        }
        None => bail!("this needs {what}: run `cargo xtask test`, which installs it, or set {variable} to where it is"),
    }
}
