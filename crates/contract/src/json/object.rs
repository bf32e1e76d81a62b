//! The members of an object.

use std::borrow::Cow;
use std::collections::HashSet;
use std::mem;

use rules::Properties;
use serde::{Serialize, Serializer};

use super::Value;

/// In an object of up to so many members a name is looked for from the front: most differ in length, and so cost a comparison of two numbers.
const SCANNED_MAX: usize = 16;
/// Up to so many members, each is put in its place as it is read. Moving those behind it costs little then; in an object of 100,000 it would cost hours.
const PLACED_MAX: usize = 64;
/// Where there is one member there are mostly more.
const FIRST_ROOM: usize = 8;

/// The members of an object, in the order of their names' bytes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Object<'a> {
    /// Sorted by name, each of which is there once.
    members: Vec<Member<'a>>,
}

type Member<'a> = (Cow<'a, str>, Value<'a>);

impl<'a> Object<'a> {
    /// One without members.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The value of a member.
    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.members.get(self.find(name)?).map(|(_, value)| value)
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Value<'a>> {
        let at = self.find(name)?;
        self.members.get_mut(at).map(|(_, value)| value)
    }

    /// Puts a member in, in the place of one of the same name, whose value is returned.
    pub fn insert(&mut self, name: impl Into<Cow<'a, str>>, value: Value<'a>) -> Option<Value<'a>> {
        let name = name.into();
        if let Some(there) = self.get_mut(&name) {
            return Some(mem::replace(there, value));
        }
        let at = self.place_of(&name).unwrap_or_else(|at| at);
        self.members.insert(at, (name, value));
        None
    }

    /// Puts a member in unless there is one of that name, `null` or not.
    pub fn insert_if_absent(&mut self, name: impl Into<Cow<'a, str>>, value: Value<'a>) {
        let name = name.into();
        if let Err(at) = self.place_of(&name) {
            self.members.insert(at, (name, value));
        }
    }

    /// Takes a member out.
    pub fn remove(&mut self, name: &str) -> Option<Value<'a>> {
        let at = self.find(name)?;
        Some(self.members.remove(at).1)
    }

    /// Puts those of other members in that are absent or `null` here, in time linear in both.
    pub fn fill(&mut self, others: &Self) {
        if others.is_empty() {
            return;
        }
        let mut filled = Vec::with_capacity(self.len() + others.len());
        let mut own = mem::take(&mut self.members).into_iter().peekable();
        for (name, value) in &others.members {
            while let Some(before) = own.next_if(|(own, _)| own < name) {
                filled.push(before);
            }
            match own.next_if(|(own, _)| own == name) {
                Some(member) if !member.1.is_null() => filled.push(member),
                Some(_) | None => filled.push((name.clone(), value.clone())),
            }
        }
        filled.extend(own);
        self.members = filled;
    }

    /// Keeps those members only for which this is true.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &mut Value<'a>) -> bool) {
        self.members.retain_mut(|(name, value)| keep(name, value));
    }

    /// Name and value of each member, in the order of names' bytes.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&str, &Value<'a>)> + ExactSizeIterator {
        self.members.iter().map(|(name, value)| (&**name, value))
    }

    /// The values, to change them, in that order.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut Value<'a>> {
        self.members.iter_mut().map(|(_, value)| value)
    }

    /// The same with texts of its own.
    pub fn into_owned(self) -> Object<'static> {
        let owned = |(name, value): Member<'a>| (Cow::Owned(name.into_owned()), value.into_owned());
        Object { members: self.members.into_iter().map(owned).collect() }
    }

    fn find(&self, name: &str) -> Option<usize> {
        if self.members.len() <= SCANNED_MAX { self.members.iter().position(|(own, _)| own == name) } else { self.place_of(name).ok() }
    }

    /// Where the member of this name is, or else where it belongs.
    fn place_of(&self, name: &str) -> Result<usize, usize> {
        match self.members.last() {
            // Whoever writes objects often sorts them.
            Some((last, _)) if **last >= *name => self.members.binary_search_by(|(own, _)| (**own).cmp(name)),
            Some(_) | None => Err(self.members.len()),
        }
    }
}

/// Of two members with one name the later one stays.
impl<'a, N: Into<Cow<'a, str>>> FromIterator<(N, Value<'a>)> for Object<'a> {
    fn from_iter<I: IntoIterator<Item = (N, Value<'a>)>>(members: I) -> Self {
        let mut members: Vec<Member<'a>> = members.into_iter().map(|(name, value)| (name.into(), value)).collect();
        members.sort_by(|(one, _), (other, _)| one.cmp(other));
        members.dedup_by(|later, earlier| {
            let is_one = later.0 == earlier.0;
            if is_one {
                mem::swap(later, earlier);
            }
            is_one
        });
        Self { members }
    }
}

impl<'a> IntoIterator for Object<'a> {
    type Item = Member<'a>;
    type IntoIter = std::vec::IntoIter<Member<'a>>;

    fn into_iter(self) -> Self::IntoIter {
        self.members.into_iter()
    }
}

impl From<serde_json::Map<String, serde_json::Value>> for Object<'static> {
    fn from(map: serde_json::Map<String, serde_json::Value>) -> Self {
        map.into_iter().map(|(name, value)| (name, Value::from(value))).collect()
    }
}

/// A copy, for what works on `serde_json`'s tree alone.
impl From<&Object<'_>> for serde_json::Map<String, serde_json::Value> {
    fn from(object: &Object<'_>) -> Self {
        object.iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
    }
}

impl<'a> Properties for Object<'a> {
    type Property = Value<'a>;

    fn get(&self, name: &str) -> Option<&Value<'a>> {
        Self::get(self, name)
    }

    fn iter(&self) -> impl Iterator<Item = (&str, &Value<'a>)> {
        Self::iter(self)
    }
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

/// An object that is being read.
#[derive(Debug, Default)]
pub(super) struct Members<'a> {
    /// Sorted as long as there are at most [`PLACED_MAX`] of them.
    object: Object<'a>,
    /// The names of all, where there are more.
    names: Option<HashSet<Cow<'a, str>>>,
}

/// Where a member goes whose name was not there before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place(usize);

impl<'a> Members<'a> {
    /// The place for a member of this name; `None` if there is one already.
    #[expect(clippy::ptr_arg, reason = "a copy of it borrows what it borrows, and one of a str could not")]
    pub(super) fn place(&mut self, name: &Cow<'a, str>) -> Option<Place> {
        let read = self.object.len();
        if read < PLACED_MAX {
            return self.object.place_of(name).err().map(Place);
        }
        let names = self.names.get_or_insert_with(|| self.object.members.iter().map(|(name, _)| name.clone()).collect());
        names.insert(name.clone()).then_some(Place(read))
    }

    /// Puts a member in the place it was given, before any other is given one.
    pub(super) fn put(&mut self, place: Place, name: Cow<'a, str>, value: Value<'a>) {
        let members = &mut self.object.members;
        if members.capacity() == 0 {
            members.reserve(FIRST_ROOM);
        }
        members.insert(place.0.min(members.len()), (name, value));
    }

    /// All that were put.
    pub(super) fn finish(mut self) -> Object<'a> {
        if self.object.len() > PLACED_MAX {
            self.object.members.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        }
        self.object
    }
}
