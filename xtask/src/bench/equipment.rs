//! What the scenarios need, installed once: the servers, and the environments of the peers.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::clients::python::{self, environment};
use crate::place::Place;
use crate::servers as installing;
use crate::spark;
use crate::step::step;

/// What a scenario needs beside the product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Kafka and S3.
    Servers,
    /// A Python with what the API of the peer needs.
    FastApi,
    Spark,
    /// A Python with nothing.
    Python,
}

/// What is installed: of what some scenario needs, all.
#[derive(Debug, Default)]
pub(crate) struct Equipment {
    servers: Option<installing::Installed>,
    fast_api: Option<PathBuf>,
    spark: Option<spark::Engine>,
}

impl Equipment {
    /// Installs what is needed, unless it is there. What would fail for want of a tool fails before anything is downloaded.
    ///
    /// # Errors
    ///
    /// When something cannot be had; the text says what to install.
    pub(crate) fn install(place: &Place, needs: &[Need]) -> Result<Self> {
        let mut equipment = Self::default();
        // The jars that Spark lacks are built by Maven, which is among the tools.
        let tools = needs.iter().any(|need| matches!(need, Need::Servers | Need::Spark)).then(installing::find).transpose()?;
        let python = needs.iter().any(|need| *need != Need::Servers).then(python::find).transpose()?;
        if let Some(tools) = tools.filter(|_| needs.contains(&Need::Servers)) {
            equipment.servers = Some(installing::install(place, &tools)?);
        }
        if let Some(python) = &python {
            if needs.contains(&Need::FastApi) {
                step("Python environment of FastAPI", || {
                    let requirements = place.root().join("bench/peers/fastapi/requirements.txt");
                    equipment.fast_api = Some(environment(place, python, "bench-fastapi", &requirements)?);
                    Ok(())
                })?;
            }
            if needs.contains(&Need::Spark) {
                equipment.spark = Some(spark::engine(place, python)?);
            }
        }
        Ok(equipment)
    }

    pub(crate) fn servers(&self) -> Result<&installing::Installed> {
        self.servers.as_ref().context("this scenario does not say that it needs the servers")
    }

    /// The interpreter that has FastAPI.
    pub(crate) fn fast_api(&self) -> Result<&Path> {
        self.fast_api.as_deref().context("this scenario does not say that it needs FastAPI")
    }

    pub(crate) fn spark(&self) -> Result<&spark::Engine> {
        self.spark.as_ref().context("this scenario does not say that it needs Spark")
    }
}
