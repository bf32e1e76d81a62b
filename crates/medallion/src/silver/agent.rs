//! What a user agent says about the device, and whether it is a bot.
//!
//! Both come from lists that are part of this program, so they are the same wherever and whenever it runs.

use std::collections::HashMap;
use std::sync::LazyLock;

use isbot::Bots;
use woothee::parser::{Parser, WootheeResult};

static BOTS: LazyLock<Bots> = LazyLock::new(Bots::default);

/// What a user agent says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Agent {
    /// `desktop`, `mobile`, `tablet`, `appliance` (consoles, televisions), `crawler`.
    pub(crate) device_type: Option<&'static str>,
    pub(crate) os: Option<String>,
    pub(crate) browser: Option<String>,
    /// Whether a list of crawlers has it.
    is_crawler: bool,
    /// Whether it says it is a program of any kind: also `curl` and the HTTP libraries of every language.
    is_program: bool,
    is_browser_like: bool,
}

impl Agent {
    fn of(user_agent: &str) -> Self {
        let found = Parser::new().parse(user_agent).unwrap_or_default();
        Self {
            device_type: device_type(&found),
            os: known(found.os).map(|os| if is_ios(os) { "iOS".to_owned() } else { os.replace("Mac OSX", "macOS") }),
            browser: known(found.name).filter(|_| found.category != "misc").map(str::to_owned),
            is_crawler: found.category == "crawler",
            is_program: BOTS.is_bot(user_agent),
            is_browser_like: user_agent.starts_with("Mozilla/") || user_agent.starts_with("Opera/"),
        }
    }

    /// Whether this is a bot.
    ///
    /// `stated`: the client names the agent of the person in the event, so a program there is a bot. Else it is the agent of the request, where a server's HTTP
    /// library is no bot: it tells of persons and is none. A crawler is one anywhere, and so is a program that passes itself off as a browser.
    pub(crate) fn is_bot(&self, stated: bool) -> bool {
        self.is_crawler || (self.is_program && (stated || self.is_browser_like))
    }
}

fn known(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty() && *text != woothee::woothee::VALUE_UNKNOWN)
}

fn is_ios(os: &str) -> bool {
    matches!(os, "iPhone" | "iPad" | "iPod" | "iOS")
}

fn device_type(found: &WootheeResult<'_>) -> Option<&'static str> {
    match found.category {
        "pc" => Some("desktop"),
        "smartphone" if found.os == "iPad" => Some("tablet"),
        "smartphone" | "mobilephone" => Some("mobile"),
        "appliance" => Some("appliance"),
        "crawler" => Some("crawler"),
        _ => None,
    }
}

/// The agents of one batch, each looked at once: they are few, and looking costs a hundred times what the rest of a row does.
#[derive(Default)]
pub(crate) struct Agents {
    // Only ever asked by key, so its order cannot matter.
    numbers: HashMap<String, usize>,
    agents: Vec<Agent>,
    none: Agent,
}

impl Agents {
    pub(crate) fn get(&mut self, user_agent: Option<&str>) -> &Agent {
        let Some(user_agent) = user_agent else { return &self.none };
        let number = match self.numbers.get(user_agent) {
            Some(number) => *number,
            None => {
                self.agents.push(Agent::of(user_agent));
                self.numbers.insert(user_agent.to_owned(), self.agents.len() - 1);
                self.agents.len() - 1
            }
        };
        self.agents.get(number).unwrap_or(&self.none)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents() {
        let check = |user_agent: &str, device_type: Option<&str>, os: Option<&str>, browser: Option<&str>| {
            let mut agents = Agents::default();
            let agent = agents.get(Some(user_agent)).clone();
            assert_eq!((agent.device_type, agent.os.as_deref(), agent.browser.as_deref()), (device_type, os, browser), "{user_agent}");
            assert_eq!(agents.get(Some(user_agent)), &agent);
        };
        let chrome = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36";
        check(chrome, Some("desktop"), Some("Windows 10"), Some("Chrome"));
        let safari =
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15";
        check(safari, Some("desktop"), Some("macOS"), Some("Safari"));
        let phone = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1";
        check(phone, Some("mobile"), Some("iOS"), Some("Safari"));
        let tablet = "Mozilla/5.0 (iPad; CPU OS 16_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/16.0 Mobile/15E148 Safari/604.1";
        check(tablet, Some("tablet"), Some("iOS"), Some("Safari"));
        let android =
            "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36";
        check(android, Some("mobile"), Some("Android"), Some("Chrome"));
        let firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0";
        check(firefox, Some("desktop"), Some("Linux"), Some("Firefox"));
        check("curl/8.5.0", None, None, None);
        check("tidegate-rust/0.1.0", None, None, None);
        check("", None, None, None);
        assert_eq!(Agents::default().get(None), &Agent::default());
    }

    #[test]
    fn bots() {
        let check = |user_agent: &str, stated: bool, in_request: bool| {
            let agent = Agent::of(user_agent);
            assert_eq!((agent.is_bot(true), agent.is_bot(false)), (stated, in_request), "{user_agent}");
        };
        check("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", true, true);
        check("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/126.0.0.0 Safari/537.36", true, true);
        check("Googlebot-Image/1.0", true, true);
        check("python-requests/2.31.0", true, false);
        check("curl/8.5.0", true, false);
        check(
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
            false,
            false,
        );
        check("", false, false);
    }
}
