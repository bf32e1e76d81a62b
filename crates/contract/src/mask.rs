//! Keeps personal data out: what the tracking plan marks in an event is hashed, shortened or left out of its bytes, before anything stores them.
//!
//! An event is masked as it came, in its wire format: the bytes of everything that is not marked stay as they are. Masking what is masked already changes nothing, so an event may be
//! put through again under another plan.
//!
//! - `hash`: a string, number or boolean becomes `hash:` and 32 hexadecimal digits, the first half of BLAKE3 in keyed mode of its text (of a string the text itself, else its canonical JSON). Whoever
//!   has the key can tell whose it is by trying; nobody else can.
//! - `truncate`: an IP address becomes its network (24 bits of IPv4, 48 of IPv6), an e-mail address its `@` and domain, any other string its first three characters; a number keeps its first three
//!   digits, and has zeros for those behind them. A boolean cannot be shortened and becomes `null`.
//! - `drop`: the member is left out; in an array it becomes `null`.
//!
//! Of an object or array that is marked as a whole every value in it is masked, and the names of members stay. Where something stands that the schema does not foresee, such as a text
//! where an object with a marked member is expected, all of it is masked in the strictest of the ways that are marked in it.
//! Where a CloudEvent has `data` and `data_base64`, the second, which nobody reads, is left out.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::json::Value;
use crate::plan::{Pii, PiiMark};
use crate::{Event, WireFormat, json};

#[cfg(test)]
mod tests;

/// How many characters and digits `truncate` leaves.
const LEFT_MAX: usize = 3;
/// What a hash begins with, by which it is known for one.
const HASHED: &str = "hash:";
/// The hexadecimal digits of a hash.
const DIGITS: usize = 32;

/// The key of hashes. Not `Debug`: who has it can find out whose a hash is.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; 32]);

impl Key {
    /// A key of 32 random bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The hash of a text: what stands in an event in its place.
    pub fn hash(&self, text: &str) -> String {
        let digest = blake3::keyed_hash(&self.0, text.as_bytes()).to_hex();
        format!("{HASHED}{}", digest.get(..DIGITS).unwrap_or_default())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// The marked places of one event type, as a tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Masks {
    /// What is marked as a whole.
    here: Option<Pii>,
    members: BTreeMap<String, Masks>,
    each: Option<Box<Masks>>,
}

/// The bytes of an event without what is marked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Masked {
    /// In the place of the payload.
    pub payload: Vec<u8>,
    /// In the place of the envelope, as JSON; `None` where there is none.
    pub envelope: Option<String>,
}

/// Why an event cannot be masked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unmaskable {
    /// It is no JSON of the format it is said to have.
    #[error("cannot be read to leave out what the plan marks as personal")]
    Unreadable,
    /// What is marked is in the event and was not found in its bytes, for it goes by another name there.
    #[error("has what the plan marks as personal under a name that cannot be masked; send it under the name of the plan")]
    OutOfReach,
}

impl Masks {
    /// Of these marks.
    pub fn of<'a>(marks: impl IntoIterator<Item = &'a PiiMark>) -> Self {
        let mut masks = Self::default();
        for mark in marks {
            let mut at = &mut masks;
            for part in mark.field.split('/').skip(1) {
                at = match part {
                    "*" => at.each.get_or_insert_default(),
                    name => at.members.entry(name.replace("~1", "/").replace("~0", "~")).or_default(),
                };
            }
            at.here = stricter(at.here, Some(mark.pii).filter(|pii| *pii != Pii::None));
        }
        masks
    }

    /// Whether nothing is marked.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The event's bytes without what is marked.
    ///
    /// # Errors
    ///
    /// [`Unmaskable`].
    pub fn mask(
        &self,
        format: WireFormat,
        payload: &[u8],
        envelope: Option<&RawValue>,
        key: &Key,
        limits: &json::Limits,
    ) -> Result<Masked, Unmaskable> {
        let wire = Wire::of(self, format, envelope);
        let payload = wire.payload(payload, key)?;
        let envelope = match envelope {
            Some(envelope) => Some(wire.envelope(envelope.get(), key)?),
            None => None,
        };
        let masked = Masked { payload, envelope };
        let is_left = masked.decode(format, limits).map(|again| self.is_in(&again, key)).ok_or(Unmaskable::Unreadable)?;
        if is_left { Err(Unmaskable::OutOfReach) } else { Ok(masked) }
    }

    /// Whether something that is marked is left in an event.
    fn is_in(&self, event: &Event<'_>, key: &Key) -> bool {
        [("properties", &event.properties), ("context", &event.context)].into_iter().any(|(name, object)| {
            self.members.get(name).is_some_and(|masks| {
                let before = Value::Object(object.clone());
                let mut after = before.clone();
                masks.apply(&mut after, key);
                before != after
            })
        })
    }

    /// These and others at the same place.
    fn and(mut self, other: Option<&Self>) -> Self {
        let Some(other) = other else { return self };
        self.here = stricter(self.here, other.here);
        for (name, masks) in &other.members {
            let own = self.members.remove(name).unwrap_or_default();
            self.members.insert(name.clone(), own.and(Some(masks)));
        }
        if let Some(each) = &other.each {
            self.each = Some(Box::new(self.each.take().map(|own| *own).unwrap_or_default().and(Some(each))));
        }
        self
    }

    /// One at this name only, or nothing where there are none.
    fn under(name: &str, masks: Option<&Self>) -> Self {
        let members = masks.map(|masks| (name.to_owned(), masks.clone())).into_iter().collect();
        Self { members, ..Self::default() }
    }

    /// The strictest of all that is marked here and below.
    fn strictest(&self) -> Option<Pii> {
        let below = self.members.values().chain(self.each.as_deref()).map(Self::strictest);
        below.fold(self.here, stricter)
    }

    /// Masks a value. Returns whether anything of it is left.
    fn apply(&self, value: &mut Value<'_>, key: &Key) -> bool {
        if let Some(pii) = self.here {
            return leaves(value, pii, key);
        }
        match value {
            Value::Object(members) => {
                members.retain(|name, value| self.members.get(name).or(self.each.as_deref()).is_none_or(|masks| masks.apply(value, key)));
                true
            }
            Value::Array(values) if self.members.is_empty() => {
                let Some(masks) = &self.each else { return true };
                for value in values {
                    if !masks.apply(value, key) {
                        *value = Value::Null;
                    }
                }
                true
            }
            other => self.strictest().is_none_or(|pii| leaves(other, pii, key)),
        }
    }

    /// JSON without what is marked. Everything else stays as it was written, but for space between members.
    fn in_json(&self, text: &str, key: &Key) -> Result<String, Unmaskable> {
        let mut out = String::with_capacity(text.len());
        if !self.write(text.trim(), key, &mut out)? {
            out.push_str("null");
        }
        Ok(out)
    }

    /// Writes a value masked. Returns whether anything of it is left, and writes nothing if not.
    fn write(&self, text: &str, key: &Key, out: &mut String) -> Result<bool, Unmaskable> {
        if self.here.is_none() && text.starts_with('{') {
            return self.write_members(text, key, out);
        }
        if self.here.is_none()
            && self.members.is_empty()
            && text.starts_with('[')
            && let Some(masks) = &self.each
        {
            return masks.write_each(text, key, out);
        }
        // A single value, or one that is masked as a whole.
        let mut value = json::parse_strict(text.as_bytes(), &json::Limits::WIDEST).map_err(|_| Unmaskable::Unreadable)?;
        let before = value.clone();
        let left = self.apply(&mut value, key);
        if left && before == value {
            out.push_str(text);
        } else if left {
            out.push_str(&serde_json::to_string(&value).map_err(|_| Unmaskable::Unreadable)?);
        }
        Ok(left)
    }

    fn write_members(&self, text: &str, key: &Key, out: &mut String) -> Result<bool, Unmaskable> {
        let mut is_first = true;
        out.push('{');
        for (name, value) in Members::read(text)?.0 {
            let begin = out.len();
            if !is_first {
                out.push(',');
            }
            put_name(&name, out)?;
            let is_left = match self.members.get(&name).or(self.each.as_deref()) {
                Some(masks) => masks.write(value.get(), key, out)?,
                None => {
                    out.push_str(value.get());
                    true
                }
            };
            if is_left {
                is_first = false;
            } else {
                out.truncate(begin);
            }
        }
        out.push('}');
        Ok(true)
    }

    /// Writes an array whose elements these are for.
    fn write_each(&self, text: &str, key: &Key, out: &mut String) -> Result<bool, Unmaskable> {
        let elements: Vec<&RawValue> = serde_json::from_str(text).map_err(|_| Unmaskable::Unreadable)?;
        out.push('[');
        for (index, element) in elements.into_iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            if !self.write(element.get(), key, out)? {
                out.push_str("null");
            }
        }
        out.push(']');
        Ok(true)
    }

    /// Those of the parameter of an address with this name.
    fn at_dotted(&self, name: &str) -> Option<&Self> {
        let mut at = self;
        for part in name.split('.') {
            if at.here.is_some() {
                break;
            }
            at = at.members.get(part).or(at.each.as_deref())?;
        }
        Some(at)
    }

    /// Whether what a later check of an event finds at this place, a JSON pointer, is due to its being masked there.
    pub fn explains(&self, field: &str, event: &Event<'_>) -> bool {
        let mut parts = field.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~"));
        let (Some(masks), object) = (match parts.next().as_deref() {
            Some("properties") => (self.members.get("properties"), &event.properties),
            Some("context") => (self.members.get("context"), &event.context),
            _ => return false,
        }) else {
            return false;
        };
        let (mut masks, mut value) = (masks, None::<&Value<'_>>);
        for (depth, part) in parts.enumerate() {
            if masks.here.is_some() {
                break;
            }
            let Some(below) = masks.members.get(&part).or(masks.each.as_deref()) else { return false };
            masks = below;
            value = match (depth, value) {
                (0, _) => object.get(&part),
                (_, Some(Value::Array(values))) => part.parse().ok().and_then(|at: usize| values.get(at)),
                (_, Some(Value::Object(members))) => members.get(&part),
                (_, _) => None,
            };
        }
        match (masks.here, value) {
            (None | Some(Pii::None), _) => false,
            // Nobody can tell any more whether it was there.
            (Some(Pii::Drop), _) => true,
            (Some(Pii::Hash | Pii::Truncate), value) => value.is_some_and(|value| !value.is_null()),
        }
    }
}

impl Masked {
    fn decode(&self, format: WireFormat, limits: &json::Limits) -> Option<Event<'_>> {
        let envelope: Option<&RawValue> = self.envelope.as_deref().map(serde_json::from_str).transpose().ok()?;
        crate::wire::decode(format, &self.payload, envelope, limits).ok()
    }
}

fn stricter(one: Option<Pii>, other: Option<Pii>) -> Option<Pii> {
    let rank = |pii: Option<Pii>| match pii {
        None | Some(Pii::None) => 0,
        Some(Pii::Truncate) => 1,
        Some(Pii::Hash) => 2,
        Some(Pii::Drop) => 3,
    };
    if rank(other) > rank(one) { other } else { one }
}

/// Masks every value in this one. Returns whether anything of it is left.
fn leaves(value: &mut Value<'_>, pii: Pii, key: &Key) -> bool {
    match (pii, value) {
        (Pii::None, _) | (_, Value::Null) => true,
        (Pii::Drop, _) => false,
        (_, Value::Array(values)) => {
            for value in values {
                leaves(value, pii, key);
            }
            true
        }
        (_, Value::Object(members)) => {
            for value in members.values_mut() {
                leaves(value, pii, key);
            }
            true
        }
        (Pii::Hash, leaf) => {
            let text = match &*leaf {
                Value::String(text) if is_hashed(text) => return true,
                Value::String(text) => Cow::Borrowed(&**text),
                other => Cow::Owned(json::canonical(other)),
            };
            *leaf = Value::String(Cow::Owned(key.hash(&text)));
            true
        }
        (Pii::Truncate, leaf) => {
            *leaf = shortened(leaf);
            true
        }
    }
}

fn is_hashed(text: &str) -> bool {
    let digits = text.strip_prefix(HASHED).unwrap_or_default();
    digits.len() == DIGITS && digits.bytes().all(|digit| digit.is_ascii_digit() || matches!(digit, b'a'..=b'f'))
}

fn shortened<'a>(leaf: &Value<'a>) -> Value<'a> {
    match leaf {
        Value::String(text) => Value::String(Cow::Owned(shortened_text(text))),
        Value::Number(number) => serde_json::from_str(&shortened_number(&number.to_string())).map(Value::Number).unwrap_or_default(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => Value::Null,
    }
}

fn shortened_text(text: &str) -> String {
    if is_hashed(text) {
        return text.to_owned();
    }
    if let Ok(address) = text.trim().parse() {
        return network(address).to_string();
    }
    match text.rsplit_once('@') {
        // A domain is no person's, and is short of being an address by what stands before it.
        Some((_, domain)) if domain.contains('.') && !domain.contains(char::is_whitespace) => format!("@{domain}"),
        _ => {
            let left: String = text.chars().take(LEFT_MAX).collect();
            // What is left may be an address by itself, such as "::1".
            if left == text { left } else { shortened_text(&left) }
        }
    }
}

/// The first digits of a number as JSON writes it, those behind them as zeros, or not at all behind the point.
fn shortened_number(text: &str) -> String {
    let (mantissa, exponent) = text.split_at(text.find(['e', 'E']).unwrap_or(text.len()));
    let (mut out, mut seen, mut behind_point) = (String::with_capacity(text.len()), 0, false);
    for c in mantissa.chars() {
        if c == '.' {
            behind_point = true;
            if seen < LEFT_MAX {
                out.push(c);
            }
            continue;
        }
        if c.is_ascii_digit() && (seen > 0 || c != '0') {
            seen += 1;
        }
        if seen <= LEFT_MAX {
            out.push(c);
        } else if !behind_point {
            out.push('0');
        }
    }
    if out.ends_with('.') {
        out.pop();
    }
    out + exponent
}

/// The network that an address is in: 24 bits of IPv4, 48 of IPv6.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            Ipv4Addr::new(a, b, c, 0).into()
        }
        IpAddr::V6(v6) => {
            let [a, b, c, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).into()
        }
    }
}

/// The members of an object in their order, each value as it is written.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    fn read(text: &'a str) -> Result<Self, Unmaskable> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = access.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        serde_json::Deserializer::from_str(text).deserialize_map(Reader).map_err(|_| Unmaskable::Unreadable)
    }

    fn write(&self) -> Result<String, Unmaskable> {
        let mut out = String::from("{");
        for (index, (name, value)) in self.0.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            put_name(name, &mut out)?;
            out.push_str(value.get());
        }
        out.push('}');
        Ok(out)
    }
}

fn put_name(name: &str, out: &mut String) -> Result<(), Unmaskable> {
    out.push_str(&serde_json::to_string(name).map_err(|_| Unmaskable::Unreadable)?);
    out.push(':');
    Ok(())
}

/// Where in the bytes of a format the marked places are: [`crate::wire`] says what becomes what.
struct Wire {
    payload: Payload,
    /// In the envelope's context and attributes.
    envelope: Masks,
    /// In its parameters of an address, whose names reach inside with dots.
    query: Masks,
}

/// What a payload is.
enum Payload {
    /// JSON, or nothing.
    Json(Masks),
    /// A CloudEvent in structured mode, whose data may be in base64.
    Structured { event: Masks, data: Masks },
    /// The data of a CloudEvent in binary mode.
    Binary { data: Masks, is_json: bool },
}

impl Wire {
    fn of(masks: &Masks, format: WireFormat, envelope: Option<&RawValue>) -> Self {
        match format {
            WireFormat::Native | WireFormat::Erased => {
                Self { payload: Payload::Json(masks.clone()), envelope: Masks::default(), query: Masks::default() }
            }
            WireFormat::Segment => Self::segment(masks),
            WireFormat::Cloudevents => Self::cloudevents(masks, envelope),
        }
    }

    fn segment(masks: &Masks) -> Self {
        let properties = masks.members.get("properties");
        let traits = Masks::under("traits", properties);
        let mut all = masks.clone().and(Some(&traits));
        for (name, own) in [("category", "category"), ("group_id", "groupId"), ("previous_id", "previousId")] {
            all = all.and(Some(&Masks::under(own, properties.and_then(|masks| masks.members.get(name)))));
        }
        // Clients of RudderStack put the traits of a person into the context.
        let context = Masks::under("context", Some(&traits)).and(Some(&Masks::under("context", masks.members.get("context"))));
        all = all.and(Some(&context));
        Self { payload: Payload::Json(all.clone()), envelope: context, query: all }
    }

    fn cloudevents(masks: &Masks, envelope: Option<&RawValue>) -> Self {
        let data = masks.members.get("properties").cloned().unwrap_or_default();
        let attributes = masks.members.get("context").and_then(|context| context.members.get("cloudevents"));
        let query = Masks::default();
        match crate::wire::data_is_json(envelope) {
            Some(is_json) => Self { payload: Payload::Binary { data, is_json }, envelope: Masks::under("attributes", attributes), query },
            None => {
                let event = Masks::under("data", Some(&data)).and(attributes);
                Self { payload: Payload::Structured { event, data }, envelope: Masks::default(), query }
            }
        }
    }

    fn payload(&self, payload: &[u8], key: &Key) -> Result<Vec<u8>, Unmaskable> {
        match &self.payload {
            Payload::Binary { data, is_json } => masked_data(payload, data, *is_json, key),
            // The event is in the address alone.
            Payload::Json(_) if payload.trim_ascii().is_empty() => Ok(payload.to_vec()),
            Payload::Json(masks) => Ok(masks.in_json(text(payload)?, key)?.into_bytes()),
            Payload::Structured { event, data } => {
                let text = text(payload)?;
                let masked = event.in_json(text, key)?;
                let mut members = Members::read(&masked)?.0;
                let is = |name: &str, (own, value): &(String, &RawValue)| own == name && value.get() != "null";
                let find = |name: &str| members.iter().position(|member| is(name, member));
                let Some(at) = find("data_base64").filter(|_| !data.is_empty()) else { return Ok(masked.into_bytes()) };
                if Members::read(text)?.0.iter().any(|member| is("data", member)) {
                    // Nobody reads it beside the other, and what is marked may be in it.
                    members.remove(at);
                    return Members(members).write().map(String::into_bytes);
                }
                let content_type = find("datacontenttype").and_then(|at| members.get(at)).and_then(|(_, value)| string(value));
                let is_json = content_type.as_deref().is_none_or(crate::wire::is_json);
                let encoded = members.get(at).and_then(|(_, value)| string(value)).ok_or(Unmaskable::Unreadable)?;
                let bytes = STANDARD.decode(encoded).map_err(|_| Unmaskable::Unreadable)?;
                let bytes = masked_data(&bytes, data, is_json, key)?;
                let fresh = serde_json::value::to_raw_value(&STANDARD.encode(bytes)).map_err(|_| Unmaskable::Unreadable)?;
                if let Some((_, value)) = members.get_mut(at) {
                    *value = &fresh;
                }
                Members(members).write().map(String::into_bytes)
            }
        }
    }

    fn envelope(&self, envelope: &str, key: &Key) -> Result<String, Unmaskable> {
        let masked = self.envelope.in_json(envelope, key)?;
        if self.query.is_empty() {
            return Ok(masked);
        }
        let mut members = Members::read(&masked)?.0;
        let Some((_, query)) = members.iter_mut().find(|(name, _)| name == "query") else { return Ok(masked) };
        let mut parameters = Members::read(query.get())?.0;
        let mut fresh = Vec::with_capacity(parameters.len());
        for (name, value) in &parameters {
            let mut out = String::new();
            let left = match self.query.at_dotted(name) {
                Some(masks) => masks.write(value.get(), key, &mut out)?,
                None => {
                    out.push_str(value.get());
                    true
                }
            };
            let out = RawValue::from_string(out).ok();
            fresh.push(if left { out } else { None });
        }
        let mut fresh_values = fresh.iter();
        parameters.retain_mut(|(_, value)| match fresh_values.next().and_then(Option::as_ref) {
            Some(masked) => {
                *value = masked;
                true
            }
            None => false,
        });
        let fresh = RawValue::from_string(Members(parameters).write()?).map_err(|_| Unmaskable::Unreadable)?;
        *query = &fresh;
        Members(members).write()
    }
}

/// The data of a CloudEvent. Data that is no JSON is one text, in which nobody can tell what is marked: all of it is masked.
fn masked_data(bytes: &[u8], masks: &Masks, is_json: bool, key: &Key) -> Result<Vec<u8>, Unmaskable> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    if is_json {
        return Ok(masks.in_json(text(bytes)?, key)?.into_bytes());
    }
    let Some(pii) = masks.strictest() else { return Ok(bytes.to_vec()) };
    let mut value = Value::String(std::str::from_utf8(bytes).map_or_else(|_| Cow::Owned(STANDARD.encode(bytes)), Cow::Borrowed));
    match (leaves(&mut value, pii, key), value) {
        (true, Value::String(text)) => Ok(text.into_owned().into_bytes()),
        _ => Ok(Vec::new()),
    }
}

fn text(bytes: &[u8]) -> Result<&str, Unmaskable> {
    let text = std::str::from_utf8(bytes).map_err(|_| Unmaskable::Unreadable)?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text).trim())
}

fn string(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}
