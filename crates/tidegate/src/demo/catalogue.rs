//! The shop that the demo's visitors go through: its pages and goods, the ways in, and the devices, languages and robots that come.
//!
//! The names are made up and the domain is one that can never exist (RFC 2606); the user agents are those of real programs.

/// Where the shop is.
pub(crate) const SITE: &str = "https://www.harbourside.example";

/// What is sold.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Product {
    pub(crate) sku: &'static str,
    pub(crate) name: &'static str,
    pub(crate) category: &'static str,
    pub(crate) cents: u32,
}

const fn product(sku: &'static str, name: &'static str, category: &'static str, cents: u32) -> Product {
    Product { sku, name, category, cents }
}

/// By how often they are looked at.
pub(crate) const PRODUCTS: [(u64, Product); 20] = [
    (14, product("jkt-storm", "Storm jacket", "jackets", 18_900)),
    (11, product("jkt-rain", "Rain shell", "jackets", 12_900)),
    (6, product("jkt-quay", "Quay coat", "jackets", 22_500)),
    (9, product("knt-fisher", "Fisherman's jumper", "knitwear", 11_500)),
    (7, product("knt-crew", "Merino crew neck", "knitwear", 8_900)),
    (4, product("knt-scarf", "Ribbed scarf", "knitwear", 3_900)),
    (5, product("knt-cap", "Watch cap", "knitwear", 2_450)),
    (10, product("sho-deck", "Deck shoe", "shoes", 9_900)),
    (8, product("sho-boot", "Harbour boot", "shoes", 14_900)),
    (3, product("sho-sandal", "Canvas sandal", "shoes", 5_450)),
    (9, product("bag-dry", "Dry bag 20 l", "bags", 4_900)),
    (6, product("bag-weekend", "Weekend bag", "bags", 16_500)),
    (4, product("bag-tote", "Sailcloth tote", "bags", 3_450)),
    (3, product("bag-wallet", "Rope wallet", "bags", 2_900)),
    (6, product("hom-mug", "Enamel mug", "home", 1_450)),
    (5, product("hom-lamp", "Storm lantern", "home", 6_900)),
    (3, product("hom-blanket", "Wool blanket", "home", 12_450)),
    (3, product("hom-candle", "Tar candle", "home", 1_990)),
    (2, product("hom-print", "Tide chart print", "home", 2_990)),
    (2, product("gft-card", "Gift card", "home", 5_000)),
];

/// The categories, with their titles.
pub(crate) const CATEGORIES: [(u64, (&str, &str)); 5] =
    [(8, ("jackets", "Jackets")), (6, ("knitwear", "Knitwear")), (6, ("shoes", "Shoes")), (5, ("bags", "Bags")), (4, ("home", "Home"))];

/// Pages beside the way to the till, with their titles.
pub(crate) const ARTICLES: [(u64, (&str, &str)); 5] = [
    (5, ("/journal/how-a-storm-jacket-is-made", "How a storm jacket is made")),
    (4, ("/journal/a-week-on-the-estuary", "A week on the estuary")),
    (3, ("/journal/care-of-wool", "Care of wool")),
    (3, ("/help/delivery", "Delivery")),
    (2, ("/help/returns", "Returns")),
];

/// What people look for in the shop's own search.
pub(crate) const SEARCHES: [(u64, &str); 6] =
    [(6, "rain jacket"), (4, "jumper"), (4, "boots size 43"), (3, "waterproof bag"), (2, "gift"), (1, "größe m übergang")];

/// A way in: where from, and under which campaign.
#[derive(Debug)]
pub(crate) struct WayIn {
    pub(crate) referrer: Option<&'static str>,
    /// Source, medium and name.
    pub(crate) campaign: Option<[&'static str; 3]>,
}

const fn way_in(referrer: Option<&'static str>, campaign: Option<[&'static str; 3]>) -> WayIn {
    WayIn { referrer, campaign }
}

/// By how many come that way.
pub(crate) const WAYS_IN: [(u64, WayIn); 9] = [
    (34, way_in(None, None)),
    (27, way_in(Some("https://www.google.com/"), None)),
    (5, way_in(Some("https://www.bing.com/"), None)),
    (4, way_in(Some("https://duckduckgo.com/"), None)),
    (11, way_in(Some("https://www.google.com/"), Some(["google", "cpc", "autumn-jackets"]))),
    (8, way_in(None, Some(["newsletter", "email", "week-47"]))),
    (6, way_in(Some("https://www.instagram.com/"), Some(["instagram", "paid_social", "harbour-boots"]))),
    (3, way_in(Some("https://www.facebook.com/"), None)),
    (2, way_in(Some("https://www.reddit.com/r/sailing/"), None)),
];

/// A device, or a robot.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) agent: &'static str,
    /// The shop's own app, whose events come in Segment's shape.
    pub(crate) is_app: bool,
}

const fn web(agent: &'static str) -> Device {
    Device { agent, is_app: false }
}

const fn app(agent: &'static str) -> Device {
    Device { agent, is_app: true }
}

/// By how many have one.
pub(crate) const DEVICES: [(u64, Device); 12] = [
    (
        19,
        web(
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1",
        ),
    ),
    (16, web("Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36")),
    (21, web("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36")),
    (7, web("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari/605.1.15")),
    (6, web("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36")),
    (6, web("Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:144.0) Gecko/20100101 Firefox/144.0")),
    (2, web("Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0")),
    (
        5,
        web(
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36 Edg/141.0.0.0",
        ),
    ),
    (
        3,
        web(
            "Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/16.6 Mobile/15E148 Safari/604.1",
        ),
    ),
    (1, web("Mozilla/5.0 (Linux; Android 13; SM-X700) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36")),
    (
        12,
        app(
            "Mozilla/5.0 (Linux; Android 14; Pixel 8 Build/AP2A.240805.005; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/127.0.6533.103 Mobile Safari/537.36",
        ),
    ),
    (12, app("Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148")),
];

/// By how many come.
pub(crate) const ROBOTS: [(u64, Device); 6] = [
    (8, web("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)")),
    (5, web("Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)")),
    (4, web("Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)")),
    (4, web("Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)")),
    (2, web("Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)")),
    (2, web("facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)")),
];

/// Where a visitor lives.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) locale: &'static str,
    pub(crate) time_zone: &'static str,
    /// How far its clocks are ahead of UTC in winter.
    pub(crate) hours_ahead: i64,
    pub(crate) currency: &'static str,
}

const fn place(locale: &'static str, time_zone: &'static str, hours_ahead: i64, currency: &'static str) -> Place {
    Place { locale, time_zone, hours_ahead, currency }
}

/// By how many live there.
pub(crate) const PLACES: [(u64, Place); 8] = [
    (30, place("en-GB", "Europe/London", 0, "GBP")),
    (24, place("de-DE", "Europe/Berlin", 1, "EUR")),
    (12, place("fr-FR", "Europe/Paris", 1, "EUR")),
    (8, place("nl-NL", "Europe/Amsterdam", 1, "EUR")),
    (7, place("es-ES", "Europe/Madrid", 1, "EUR")),
    (5, place("pl-PL", "Europe/Warsaw", 1, "PLN")),
    (10, place("en-US", "America/New_York", -5, "USD")),
    (4, place("ja-JP", "Asia/Tokyo", 9, "JPY")),
];
