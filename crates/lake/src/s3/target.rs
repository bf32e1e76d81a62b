//! Where a lake on S3 is: bucket, prefix, endpoint, region. Pure: settings and variables go in.

use url::{Host, Url};

use super::options::{S3Options, read_endpoint};
use crate::environment::Environment;
use crate::error::Error;

/// The region that stores other than AWS expect in a signature.
const REGION_OF_OTHERS: &str = "us-east-1";

/// Where the lake is, and how requests to it are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// `s3://bucket/prefix`.
    pub(crate) root: Url,
    pub(crate) bucket: String,
    /// What requests begin with: with the bucket in it where it stands in the host.
    pub(crate) endpoint: Option<String>,
    pub(crate) region: String,
    pub(crate) virtual_hosted: bool,
    pub(crate) allow_http: bool,
}

impl Target {
    /// Puts together what the location, the settings and the variables say. `of_profile` is the profile's region.
    pub(crate) fn of(location: &str, options: &S3Options, environment: &Environment, of_profile: Option<String>) -> Result<Self, Error> {
        let root = read_location(location)?;
        let bucket = root.host_str().unwrap_or_default().to_owned();
        let variables = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"];
        let endpoint = match &options.endpoint {
            Some(endpoint) => Some(read_endpoint(endpoint).map_err(|problem| Error::Setting(format!("lake.s3.endpoint {problem}")))?),
            None => environment
                .first(&variables)
                .map(read_endpoint)
                .transpose()
                .map_err(|problem| Error::Setting(format!("the endpoint in {} {problem}", variables.join(" or "))))?,
        };
        let named = options.region.clone().or_else(|| environment.first(&["AWS_REGION", "AWS_DEFAULT_REGION"]).map(str::to_owned));
        let others = || endpoint.is_some().then(|| REGION_OF_OTHERS.to_owned());
        let Some(region) = named.or(of_profile).or_else(others) else {
            return Err(Error::Setting(format!(
                "the region of the bucket `{bucket}` is not known: set AWS_REGION, lake.s3.region or the profile's region"
            )));
        };
        let virtual_hosted = !options.path_style.unwrap_or(endpoint.is_some());
        let allow_http = match &endpoint {
            Some(url) if url.scheme() == "http" => {
                if !(options.allow_http || environment.is_true("AWS_ALLOW_HTTP") || is_loopback(url)) {
                    return Err(Error::Setting(format!(
                        "the endpoint {} would send the lake over the network for all to read: use https, or set lake.s3.allow_http = true",
                        url.host_str().unwrap_or_default()
                    )));
                }
                true
            }
            _ => false,
        };
        let endpoint = endpoint.map(|url| if virtual_hosted { in_host(&url, &bucket) } else { Ok(url) }).transpose()?;
        let endpoint = endpoint.map(|url| url.as_str().trim_end_matches('/').to_owned());
        Ok(Self { root, bucket, endpoint, region, virtual_hosted, allow_http })
    }

    /// How Hadoop's S3A is told to come here.
    pub(crate) fn hadoop(&self) -> Vec<(String, String)> {
        let mut properties =
            vec![("endpoint.region".to_owned(), self.region.clone()), ("path.style.access".to_owned(), (!self.virtual_hosted).to_string())];
        if let Some(endpoint) = &self.endpoint {
            // It puts the bucket into the host itself.
            let endpoint = endpoint.replacen(&format!("://{}.", self.bucket), "://", usize::from(self.virtual_hosted));
            properties.push(("connection.ssl.enabled".to_owned(), endpoint.starts_with("https://").to_string()));
            properties.push(("endpoint".to_owned(), endpoint));
        }
        properties.into_iter().map(|(name, value)| (format!("fs.s3a.{name}"), value)).collect()
    }

    /// For messages.
    pub(crate) fn place(&self) -> String {
        self.endpoint.clone().unwrap_or_else(|| format!("AWS in the region {}", self.region))
    }
}

/// `s3://bucket/prefix`, with a slash at its end.
fn read_location(location: &str) -> Result<Url, Error> {
    let wrong = |what: &str| Error::Setting(format!("lake.location {what}"));
    let mut url = Url::parse(location).map_err(|_| wrong("must be such as s3://bucket/prefix"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("must hold no keys: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and write s3://bucket/prefix"));
    }
    if url.host_str().unwrap_or_default().is_empty() || url.port().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("must be such as s3://bucket/prefix; an endpoint belongs into lake.s3.endpoint"));
    }
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok(url)
}

fn in_host(endpoint: &Url, bucket: &str) -> Result<Url, Error> {
    let unusable =
        || Error::Setting(format!("the bucket `{bucket}` cannot stand in the host of the endpoint: set lake.s3.path_style = true"));
    let Some(Host::Domain(host)) = endpoint.host() else { return Err(unusable()) };
    let mut url = endpoint.clone();
    url.set_host(Some(&format!("{bucket}.{host}"))).map_err(|_| unusable())?;
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}
