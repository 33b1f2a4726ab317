//! Looking into a body without trusting it: a place in the JSON that knows its path, so that an error can name it.

use serde_json::Value;
use smallvec::{SmallVec, smallvec};

use super::envelope::LATEST_SECOND;
use super::json::Json;

/// The longest text that is taken out of a body; Stripe's own longest are URLs of below 2,000 bytes.
const TEXT_BYTES: usize = 8192;
/// The longest id, so that a few of them together fit into a key of any database. Stripe's ids are below 255 bytes, and
/// what a product writes into `metadata` below 500 characters.
const ID_BYTES: usize = 512;

/// A part of a body that is needed and is not what Stripe says it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct Unreadable {
    /// Where, such as `data.object.items.data[0].price`.
    pub path: String,
    pub problem: String,
}

/// A place in a body. A place that is absent or null is a place, too: absent is unknown, not an error.
#[derive(Clone, Debug)]
pub(crate) struct Place<'a> {
    value: Option<Json<'a>>,
    /// Made into text only for an error: an event is read at a hundred places.
    steps: SmallVec<[Step; 4]>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Names with dots between them.
    Members(&'static str),
    Item(usize),
}

/// What stands at a dotted path, unless it is null.
fn member<'a>(value: Json<'a>, names: &str) -> Option<Json<'a>> {
    names.split('.').try_fold(value, Json::get).filter(|value| !value.is_null())
}

impl<'a> Place<'a> {
    pub(crate) fn root(value: impl Into<Json<'a>>, path: &'static str) -> Self {
        Self { value: Some(value.into()), steps: smallvec![Step::Members(path)] }
    }

    /// The place at a dotted path from the root of a body, which is the path itself.
    pub(crate) fn at_root(body: Json<'a>, names: &'static str) -> Self {
        Self { value: member(body, names), steps: smallvec![Step::Members(names)] }
    }

    fn next(&self, value: Option<Json<'a>>, step: Step) -> Self {
        let mut steps = self.steps.clone();
        steps.push(step);
        Self { value, steps }
    }

    /// The member at a dotted path.
    pub(crate) fn at(&self, names: &'static str) -> Self {
        self.next(self.value.and_then(|value| member(value, names)), Step::Members(names))
    }

    pub(crate) fn exists(&self) -> bool {
        self.value.is_some()
    }

    pub(crate) fn error(&self, problem: impl Into<String>) -> Unreadable {
        let mut path = String::new();
        for step in &self.steps {
            match step {
                Step::Members(names) if path.is_empty() => path.push_str(names),
                Step::Members(names) => path.extend([".", names]),
                Step::Item(index) => path.extend(["[", &index.to_string(), "]"]),
            }
        }
        Unreadable { path, problem: problem.into() }
    }

    fn required<T>(&self, found: Option<T>) -> Result<T, Unreadable> {
        found.ok_or_else(|| self.error("is missing"))
    }

    /// Text that every store can keep.
    pub(crate) fn text(&self) -> Result<Option<&'a str>, Unreadable> {
        let Some(value) = self.value else { return Ok(None) };
        match value.as_str() {
            Some(text) if text.len() > TEXT_BYTES => Err(self.error("is longer than any text of Stripe's")),
            Some(text) if text.contains('\0') => Err(self.error("contains a NUL character")),
            Some(text) => Ok(Some(text)),
            None => Err(self.error("is not a text")),
        }
    }

    /// One word of Stripe's, short enough to be part of a cause.
    pub(crate) fn word(&self) -> Result<Option<&'a str>, Unreadable> {
        match self.text()? {
            Some(word) if word.len() > ID_BYTES => Err(self.error("is longer than any word of Stripe's")),
            word => Ok(word),
        }
    }

    /// An id, given plainly or as the expanded object. An empty one counts as absent.
    pub(crate) fn id(&self) -> Result<Option<&'a str>, Unreadable> {
        let place = if self.value.is_some_and(Json::is_object) { self.at("id") } else { self.clone() };
        match place.text()? {
            Some(id) if id.len() > ID_BYTES => Err(place.error("is longer than any id")),
            id => Ok(id.filter(|id| !id.is_empty())),
        }
    }

    pub(crate) fn required_id(&self) -> Result<&'a str, Unreadable> {
        self.required(self.id()?)
    }

    pub(crate) fn int(&self) -> Result<Option<i64>, Unreadable> {
        match self.value {
            None => Ok(None),
            Some(value) => value.as_i64().map(Some).ok_or_else(|| self.error("is not a whole number")),
        }
    }

    /// An amount in the currency's minor unit, bounded so that sums and products cannot overflow.
    pub(crate) fn amount(&self) -> Result<Option<i64>, Unreadable> {
        const LARGEST: i64 = 1_000_000_000_000_000;
        match self.int()? {
            Some(amount) if !(-LARGEST..=LARGEST).contains(&amount) => Err(self.error("is no possible amount")),
            amount => Ok(amount),
        }
    }

    /// An amount that cannot be below zero.
    pub(crate) fn natural(&self) -> Result<Option<i64>, Unreadable> {
        match self.amount()? {
            Some(amount) if amount < 0 => Err(self.error("is below zero")),
            amount => Ok(amount),
        }
    }

    /// A number of any kind, as it stands there.
    pub(crate) fn number(&self) -> Result<Option<Value>, Unreadable> {
        match self.value {
            None => Ok(None),
            Some(value) => value.number().map(Some).ok_or_else(|| self.error("is not a number")),
        }
    }

    pub(crate) fn flag(&self) -> Result<Option<bool>, Unreadable> {
        match self.value {
            None => Ok(None),
            Some(value) => value.as_bool().map(Some).ok_or_else(|| self.error("is neither true nor false")),
        }
    }

    /// Seconds since the epoch.
    pub(crate) fn seconds(&self) -> Result<Option<i64>, Unreadable> {
        match self.int()? {
            Some(seconds) if !(0..=LATEST_SECOND).contains(&seconds) => {
                Err(self.error("is no time this side of the year 10000"))
            }
            seconds => Ok(seconds),
        }
    }

    pub(crate) fn required_seconds(&self) -> Result<i64, Unreadable> {
        self.required(self.seconds()?)
    }

    /// The elements of a list: a JSON array, or Stripe's `{"object":"list","data":[…]}`.
    pub(crate) fn list(&self) -> Result<Vec<Place<'a>>, Unreadable> {
        let list = if self.value.is_some_and(Json::is_object) { self.at("data") } else { self.clone() };
        let Some(value) = list.value else { return Ok(Vec::new()) };
        let items = value.items().ok_or_else(|| list.error("is not a list"))?;
        Ok(items.enumerate().map(|(index, item)| list.next(Some(item), Step::Item(index))).collect())
    }

    pub(crate) fn has_key(&self, name: &str) -> bool {
        self.value.is_some_and(|value| value.get(name).is_some())
    }
}
