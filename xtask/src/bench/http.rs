//! The least of HTTP: one question, its answer, and the connection is closed.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result};

const PATIENCE: Duration = Duration::from_secs(10);

/// What a server of this machine answers: the status, and the body.
///
/// # Errors
///
/// When nothing answers, or what answers speaks no HTTP.
pub(crate) fn get(port: u16, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    taken_apart(&String::from_utf8_lossy(&answer)).with_context(|| format!("what answers {path} on port {port} speaks no HTTP"))
}

/// Whether a server answers so that all is well.
pub(crate) fn is_ready(port: u16, path: &str) -> bool {
    get(port, path).is_ok_and(|(status, _)| status == 200)
}

fn taken_apart(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// The sum of a metric over its labels, in the text format of Prometheus; 0 where there is none.
pub(crate) fn sum_of(metrics: &str, name: &str, label: &str) -> f64 {
    let value = |line: &str| -> Option<f64> {
        let rest = line.strip_prefix(name)?;
        let labels = if rest.starts_with('{') { rest.split_once('}')?.0 } else { "" };
        // Else it is a metric whose name goes on.
        if !rest.starts_with(['{', ' ']) || !labels.contains(label) {
            return None;
        }
        rest.rsplit(' ').next()?.parse().ok().filter(|value: &f64| value.is_finite())
    };
    metrics.lines().filter_map(value).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_taken_apart() {
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
        assert_eq!(taken_apart(answer), Some((200, "hi".to_owned())));
        assert_eq!(taken_apart("HTTP/1.1 200 OK\r\n"), None);
        assert_eq!(taken_apart("\0\0"), None);
    }

    #[test]
    fn metrics_are_summed_over_labels() {
        let metrics = "# HELP rows_total Rows\nrows_total{outcome=\"silver\",x=\"a b\"} 5\nrows_total{outcome=\"duplicate\"} 2\nrows_total_more 7\nlag 3\nbytes NaN\n";
        let check = |name, label, expect: f64| assert_eq!(sum_of(metrics, name, label), expect, "{name} {label}");
        check("rows_total", "", 7.0);
        check("rows_total", "outcome=\"silver\"", 5.0);
        check("rows_total", "outcome=\"late\"", 0.0);
        check("lag", "", 3.0);
        check("bytes", "", 0.0);
        check("none", "", 0.0);
    }
}
