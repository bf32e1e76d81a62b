//! One visit to the shop, from the way in to the till or away: what happens and when, before anything goes wrong with it.

use super::catalogue::{ARTICLES, CATEGORIES, PRODUCTS, Product, SEARCHES, SITE, WAYS_IN, WayIn};
use super::experiment::{self, Variation};
use super::facts::{Fact, Facts};
use super::random::Random;
use super::visitor::Visitor;

const SECOND: i64 = 1_000_000;
/// Between two steps of a visitor.
const THINK_SECONDS: (i64, i64) = (4, 48);
/// A visitor who buys anew after the window does so after this many hours, so that none is near its end.
const RETURN_AFTER_HOURS: i64 = 26;

/// The page something happened on.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    pub(crate) path: String,
    pub(crate) title: &'static str,
    pub(crate) query: Option<String>,
}

impl Page {
    fn new(path: impl Into<String>, title: &'static str) -> Self {
        Self { path: path.into(), title, query: None }
    }

    fn of(product: &Product) -> Self {
        // The title is the product's name; both live as long as the program.
        let title = PRODUCTS.iter().map(|(_, known)| known).find(|known| *known == product).map_or("", |known| known.name);
        Self::new(format!("/p/{}", product.sku), title)
    }

    pub(crate) fn url(&self) -> String {
        let query = self.query.as_deref().map(|query| format!("?{query}")).unwrap_or_default();
        format!("{SITE}{}{query}", self.path)
    }
}

/// What kind of event it is, as far as anyone asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Page,
    Identify,
    Exposure(Variation),
    Purchase,
    /// Any other, by its type.
    Other(&'static str),
}

/// An event as it should be.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    /// When it happened, in truth: microseconds since 1970.
    pub(crate) at: i64,
    pub(crate) kind: Kind,
    pub(crate) page: Page,
    pub(crate) referrer: Option<String>,
    pub(crate) properties: Facts,
    /// The account, from the moment of signing in.
    pub(crate) user_id: Option<String>,
}

/// A visit.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) way_in: &'static WayIn,
    pub(crate) drafts: Vec<Draft>,
}

/// What is remembered of a visitor from visit to visit.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    pub(crate) first_exposed_at: Option<i64>,
    pub(crate) has_bought: bool,
    pub(crate) busy_until: i64,
}

/// Goes through one visit. `haste` is how many times faster than people do it.
pub(crate) fn walk(seed: u64, visitor: &Visitor, memory: &mut Memory, start: i64, haste: i64, mut random: Random) -> Session {
    let id = format!("{:016x}", random.bits());
    let way_in = random.weighted(&WAYS_IN);
    let signs_in_at = (visitor.user_id.is_some() && random.chance(600_000)).then(|| random.below(5));
    let mut walker = Walker { visitor, random, now: start, haste, way_in, user_id: None, last_url: None, drafts: Vec::new() };
    if visitor.is_robot {
        walker.crawl();
    } else {
        walker.stroll(signs_in_at, seed, memory);
    }
    memory.busy_until = walker.now;
    Session { id, way_in, drafts: walker.drafts }
}

struct Walker<'a> {
    visitor: &'a Visitor,
    random: Random,
    now: i64,
    haste: i64,
    way_in: &'static WayIn,
    user_id: Option<String>,
    last_url: Option<String>,
    drafts: Vec<Draft>,
}

impl Walker<'_> {
    fn crawl(&mut self) {
        let pages = self.random.between(3, 14);
        for _ in 0..pages {
            let page = self.some_page();
            self.view(page);
            self.now += self.random.between(SECOND, 5 * SECOND) / self.haste;
        }
    }

    fn stroll(&mut self, signs_in_at: Option<u64>, seed: u64, memory: &mut Memory) {
        let landing = self.landing();
        self.view(landing);
        let mut product = None;
        let steps = 1 + self.random.below(4) + self.random.below(4);
        for step in 0..steps {
            if signs_in_at == Some(step) {
                self.sign_in();
            }
            self.think();
            product = self.browse().or(product);
        }
        let Some(product) = product else { return };
        if self.random.chance(620_000) {
            self.think();
            self.add_to_cart(product);
            self.think();
            self.go_to_the_till(product, seed, memory);
        }
    }

    fn landing(&mut self) -> Page {
        let mut page = match self.random.below(20) {
            0..9 => Page::new("/", "Harbourside"),
            _ => self.some_page(),
        };
        if let Some([source, medium, name]) = self.way_in.campaign {
            page.query = Some(format!("utm_source={source}&utm_medium={medium}&utm_campaign={name}"));
        }
        page
    }

    fn some_page(&mut self) -> Page {
        match self.random.below(10) {
            0..4 => {
                let (path, title) = *self.random.weighted(&CATEGORIES);
                Page::new(format!("/c/{path}"), title)
            }
            4..8 => Page::of(self.random.weighted(&PRODUCTS)),
            _ => {
                let (path, title) = *self.random.weighted(&ARTICLES);
                Page::new(path, title)
            }
        }
    }

    /// Goes to a next page. The product, if it shows one.
    fn browse(&mut self) -> Option<&'static Product> {
        match self.random.below(20) {
            0..11 => {
                let product = self.random.weighted(&PRODUCTS);
                self.view(Page::of(product));
                self.note(Kind::Other("product_view"), facts_of(product, self.visitor));
                Some(product)
            }
            11..15 => {
                let (path, title) = *self.random.weighted(&CATEGORIES);
                self.view(Page::new(format!("/c/{path}"), title));
                None
            }
            15..17 => {
                let words = *self.random.weighted(&SEARCHES);
                self.view(Page { query: Some(format!("q={}", words.replace(' ', "+"))), ..Page::new("/search", "Search") });
                let hits = self.random.below(12) as u32;
                self.note(Kind::Other("search"), Facts::default().with("query", words).with("hits", Fact::Whole(hits)));
                None
            }
            _ => {
                let page = self.some_page();
                self.view(page);
                None
            }
        }
    }

    fn sign_in(&mut self) {
        let Some(user_id) = self.visitor.user_id.clone() else { return };
        self.think();
        self.view(Page::new("/account/sign-in", "Sign in"));
        self.think();
        let traits = Facts::default()
            .with("email", format!("{user_id}@mail.example"))
            .with("locale", self.visitor.place.locale)
            .with("club_member", if self.random.chance(300_000) { "yes" } else { "no" });
        self.user_id = Some(user_id);
        self.note(Kind::Identify, traits);
    }

    fn add_to_cart(&mut self, product: &'static Product) {
        let quantity = 1 + u32::from(self.random.chance(120_000));
        self.note(Kind::Other("add_to_cart"), facts_of(product, self.visitor).with("quantity", Fact::Whole(quantity)));
    }

    /// The page with the button under test, and what follows on it.
    fn go_to_the_till(&mut self, product: &'static Product, seed: u64, memory: &mut Memory) {
        self.view(Page::new("/cart", "Your cart"));
        let assigned = Variation::of(&self.visitor.anonymous_id);
        let is_first = memory.first_exposed_at.is_none();
        // A browser whose storage was cleared in part: what contaminates experiments in life.
        let shown = if !is_first && self.random.chance(10_000) { assigned.other() } else { assigned };
        self.now += self.random.between(SECOND / 10, SECOND / 2);
        let properties = Facts::default().with("experiment_id", experiment::ID).with("variation_id", shown.id());
        // The subject is the browser: an exposure with the account in it would make another subject of the same person.
        let account = self.user_id.take();
        self.note(Kind::Exposure(shown), properties);
        self.user_id = account;
        let buys = match memory.first_exposed_at {
            None => experiment::is_buyer(seed, self.visitor.number, assigned),
            Some(_) if memory.has_bought => self.random.chance(150_000),
            Some(first) => self.now - first > RETURN_AFTER_HOURS * 3_600 * SECOND && self.random.chance(150_000),
        };
        memory.first_exposed_at.get_or_insert(self.now);
        if !buys && self.random.chance(500_000) {
            return;
        }
        self.think();
        self.view(Page::new("/checkout", "Checkout"));
        if buys {
            self.think();
            self.buy(product);
            memory.has_bought = true;
        }
    }

    fn buy(&mut self, product: &'static Product) {
        let value = product.cents + if product.cents < 5_000 { 490 } else { 0 };
        let order = format!("o-{:08x}", self.random.below(1 << 32));
        let properties = Facts::default()
            .with("goal", "purchase")
            .with("value", Fact::Cents(value))
            .with("currency", self.visitor.place.currency)
            .with("order_id", order)
            .with("product_id", product.sku);
        self.note(Kind::Purchase, properties);
        self.now += self.random.between(SECOND / 10, SECOND);
        self.view(Page::new("/checkout/thank-you", "Thank you"));
    }

    fn view(&mut self, page: Page) {
        let url = page.url();
        let referrer = self.last_url.replace(url).or_else(|| self.way_in.referrer.map(str::to_owned));
        let draft = Draft { at: self.now, kind: Kind::Page, page, referrer, properties: Facts::default(), user_id: self.user_id.clone() };
        self.drafts.push(draft);
    }

    /// Something that happens on the page that is open.
    fn note(&mut self, kind: Kind, properties: Facts) {
        self.now += self.random.between(SECOND / 20, SECOND / 2);
        let open = self.drafts.iter().rev().find(|draft| draft.kind == Kind::Page);
        let (page, referrer) = open.map_or((Page::new("/", ""), None), |draft| (draft.page.clone(), draft.referrer.clone()));
        self.drafts.push(Draft { at: self.now, kind, page, referrer, properties, user_id: self.user_id.clone() });
    }

    fn think(&mut self) {
        let (low, high) = THINK_SECONDS;
        self.now += self.random.between(low * SECOND, high * SECOND) / self.haste;
    }
}

fn facts_of(product: &'static Product, visitor: &Visitor) -> Facts {
    Facts::default()
        .with("product_id", product.sku)
        .with("product_name", product.name)
        .with("category", product.category)
        .with("price", Fact::Cents(product.cents))
        .with("currency", visitor.place.currency)
}
