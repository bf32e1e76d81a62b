//! Why logs or metrics cannot be taken in.

/// What the caller is to do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// A setting cannot be used. Change it.
    Setting,
    /// The program installs two of what there is only one of: a fault of the program.
    Fatal,
}

/// Why logs or metrics cannot be taken in.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter cannot be read.
    #[error("the log filter {filter:?} cannot be read: {problem}; write it such as `info` or `warn,ingest=debug`")]
    Filter {
        /// The filter.
        filter: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Something else takes the logs in already.
    #[error("the logs of this process go elsewhere already")]
    Logs,
    /// Traces cannot be sent there.
    #[error("traces cannot be sent to {endpoint:?}: {problem}; give an address such as http://127.0.0.1:4318/v1/traces")]
    Traces {
        /// The address.
        endpoint: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Something else takes the metrics in already.
    #[error("the metrics of this process go elsewhere already")]
    Metrics,
    /// The buckets of a histogram make no sense.
    #[error("the buckets of the histograms cannot be used: {0}")]
    Buckets(String),
}

impl Error {
    /// What the caller is to do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Filter { .. } | Self::Traces { .. } => ErrorKind::Setting,
            Self::Logs | Self::Metrics | Self::Buckets(_) => ErrorKind::Fatal,
        }
    }
}
