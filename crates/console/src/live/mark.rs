//! A place among all events that were seen.

use std::fmt;
use std::str::FromStr;

/// Written as `EPOCH-NUMBER`, such as `7-120`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mark {
    /// Whose numbers these are: those of another process, or of one that has begun anew, mean others.
    pub epoch: u64,
    /// How many came before.
    pub number: u64,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.number)
    }
}

impl FromStr for Mark {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = text.split_once('-').and_then(|(epoch, number)| Some((epoch.parse().ok()?, number.parse().ok()?)));
        parsed.map(|(epoch, number)| Self { epoch, number }).ok_or("a mark is two numbers, such as 7-120")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_reads_back() {
        let mark = Mark { epoch: u64::MAX, number: 12 };
        assert_eq!(mark.to_string().parse(), Ok(mark));
        for bad in ["", "7", "7-", "-7", "7-x", "7-1-2", "99999999999999999999-1"] {
            assert!(bad.parse::<Mark>().is_err(), "{bad}");
        }
    }
}
