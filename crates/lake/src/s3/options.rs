//! How a lake on S3 is reached.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::error::Error;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// What S3 takes as one part of an upload, but for the last.
const PART_BYTES: std::ops::RangeInclusive<u64> = 5 * MIB..=5 * GIB;
/// The largest object that S3 takes in one request.
const PUT_BYTES_MAX: u64 = 5 * GIB;
/// Parts that S3 takes of one object.
const PARTS_MAX: u64 = 10_000;

/// How a lake on S3 is reached. What is not set here is taken from the variables that AWS's own tools read, then from the profile.
///
/// Keys are no settings: they come from the environment, a profile, a web identity, or the role of the container or the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct S3Options {
    /// URL of a store that speaks S3 and is not AWS; otherwise `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL`; where none is set, AWS.
    pub endpoint: Option<String>,
    /// The region of the bucket; otherwise `AWS_REGION`, `AWS_DEFAULT_REGION` or the profile's. A store with an endpoint needs none.
    pub region: Option<String>,
    /// The profile to take keys and region from, before any variable; otherwise `AWS_PROFILE`, after the variables.
    pub profile: Option<String>,
    /// Whether the bucket stands in the path of a URL (`https://host/bucket/`) or in its host (`https://bucket.host/`). By default in the path where there
    /// is an endpoint, and in the host at AWS.
    pub path_style: Option<bool>,
    /// Whether an endpoint may be `http://`, where whoever listens reads all of the lake. On loopback it always may; `AWS_ALLOW_HTTP` allows it too.
    pub allow_http: bool,
    /// How often one request is tried again after an error that may pass, with growing pauses.
    pub retries_max: u32,
    /// How long after its beginning a request is no longer tried again.
    #[serde(with = "humantime_serde")]
    pub retry_timeout: Duration,
    /// How long one request may take, its body included.
    #[serde(with = "humantime_serde")]
    pub request_timeout: Duration,
    /// How long it may take to connect.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// A file of this size or more goes up in parts, of which one that fails is sent again alone. At most 5 GiB.
    pub multipart_from_bytes: u64,
    /// The size of such a part, 5 MiB to 5 GiB.
    pub part_bytes: u64,
    /// Parts of one file that are being sent at a time.
    pub part_uploads_max: usize,
}

impl Default for S3Options {
    fn default() -> Self {
        Self {
            endpoint: None,
            region: None,
            profile: None,
            path_style: None,
            allow_http: false,
            retries_max: 6,
            retry_timeout: Duration::from_secs(60),
            request_timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(5),
            multipart_from_bytes: 32 * MIB,
            part_bytes: 8 * MIB,
            part_uploads_max: 4,
        }
    }
}

impl S3Options {
    /// Refuses what S3 would refuse, and what could never work. `file_bytes_max` is the size of the largest file that is to go up.
    pub(crate) fn validate(&self, file_bytes_max: u64) -> Result<(), Error> {
        let wrong = |what: String| Err(Error::Setting(format!("lake.s3.{what}")));
        if let Some(endpoint) = &self.endpoint {
            read_endpoint(endpoint).map_err(|problem| Error::Setting(format!("lake.s3.endpoint {problem}")))?;
        }
        for (name, duration) in [("request_timeout", self.request_timeout), ("connect_timeout", self.connect_timeout)] {
            if duration.is_zero() {
                return wrong(format!("{name} must be longer than nothing"));
            }
        }
        if !PART_BYTES.contains(&self.part_bytes) {
            return wrong(format!("part_bytes must be {} to {}, not {}", PART_BYTES.start(), PART_BYTES.end(), self.part_bytes));
        }
        if self.multipart_from_bytes > PUT_BYTES_MAX {
            return wrong(format!("multipart_from_bytes must be at most {PUT_BYTES_MAX}, not {}", self.multipart_from_bytes));
        }
        if self.part_uploads_max == 0 {
            return wrong("part_uploads_max must be at least 1".to_owned());
        }
        if file_bytes_max.div_ceil(self.part_bytes) > PARTS_MAX {
            return wrong(format!("part_bytes must be larger: a file of lake.file_bytes_max would have more than {PARTS_MAX} parts"));
        }
        Ok(())
    }
}

/// The URL of an endpoint, or what is wrong with it. The text does not repeat it: people write keys into URLs.
pub(crate) fn read_endpoint(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "must be a URL such as https://s3.example.com")?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err("must begin with https:// or http:// and name a host");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must hold no keys: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must end with the host or a path");
    }
    Ok(url)
}
