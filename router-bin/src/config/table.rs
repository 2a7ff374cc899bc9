//! Reads a TOML table key by key, remembers where each value stood, and complains instead of stopping.
//!
//! - [`At`]: a value and its place.
//! - [`Keys`]: the keys of one table; what nobody took in the end is an unknown key.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::complaint::Complaints;

/// A value and where it was written (bytes of the file).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct At<T> {
    /// The value.
    pub(crate) value: T,
    /// Its place.
    pub(crate) at: Range<usize>,
}

/// The keys of one table, taken one by one.
pub(crate) struct Keys<'t, 'i> {
    /// For complaints: `` of the file itself, `[limits]`, `[[app]]`.
    name: &'static str,
    at: Range<usize>,
    left: Vec<(Range<usize>, &'t str, &'t Spanned<DeValue<'i>>)>,
    asked: Vec<&'static str>,
}

impl<'t, 'i> Keys<'t, 'i> {
    /// The keys of `table`, which is called `name` in complaints.
    pub(crate) fn new(name: &'static str, at: Range<usize>, table: &'t DeTable<'i>) -> Self {
        let key = |(key, value): (&'t Spanned<_>, &'t Spanned<_>)| {
            let text: &'t std::borrow::Cow<'i, str> = key.get_ref();
            (key.span(), text.as_ref(), value)
        };
        Self { name, at, left: table.iter().map(key).collect(), asked: Vec::new() }
    }

    /// Where the table stands.
    pub(crate) fn place(&self) -> Range<usize> {
        self.at.clone()
    }

    /// Text.
    pub(crate) fn string(
        &mut self,
        key: &'static str,
        complaints: &mut Complaints<'_>,
    ) -> Option<At<String>> {
        let value = self.take(key)?;
        let read = value.get_ref().as_str().map(|text| At { value: text.to_owned(), at: value.span() });
        read.or_else(|| self.wrong(key, value, "text in quotes", complaints))
    }

    /// A whole number that is not negative.
    pub(crate) fn number(&mut self, key: &'static str, complaints: &mut Complaints<'_>) -> Option<At<u64>> {
        let value = self.take(key)?;
        let number = value.get_ref().as_integer();
        let number = number.and_then(|n| u64::from_str_radix(&n.as_str().replace('_', ""), n.radix()).ok());
        let read = number.map(|number| At { value: number, at: value.span() });
        read.or_else(|| self.wrong(key, value, "a whole number from 0", complaints))
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&mut self, key: &'static str, complaints: &mut Complaints<'_>) -> Option<At<bool>> {
        let value = self.take(key)?;
        let read = value.get_ref().as_bool().map(|truth| At { value: truth, at: value.span() });
        read.or_else(|| self.wrong(key, value, "true or false", complaints))
    }

    /// A list of texts. What is not text in it is complained about and left out.
    pub(crate) fn strings(
        &mut self,
        key: &'static str,
        complaints: &mut Complaints<'_>,
    ) -> Option<At<Vec<At<String>>>> {
        let value = self.take(key)?;
        let Some(list) = value.get_ref().as_array() else {
            return self.wrong(key, value, "a list like [\"…\"]", complaints);
        };
        let mut texts = Vec::new();
        for item in list.iter() {
            match item.get_ref().as_str() {
                Some(text) => texts.push(At { value: text.to_owned(), at: item.span() }),
                None => complaints.add(&item.span(), format!("`{key}` takes texts in quotes; write \"…\"")),
            }
        }
        let none_is_text = texts.is_empty() && !list.is_empty();
        (!none_is_text).then(|| At { value: texts, at: value.span() })
    }

    /// The table `[key]`; an empty one when it is not written.
    pub(crate) fn table(
        &mut self,
        key: &'static str,
        name: &'static str,
        complaints: &mut Complaints<'_>,
    ) -> Keys<'t, 'i> {
        let absent = Keys { name, at: self.at.clone(), left: Vec::new(), asked: Vec::new() };
        let Some(value) = self.take(key) else { return absent };
        match value.get_ref().as_table() {
            Some(table) => Keys::new(name, value.span(), table),
            None => self.wrong(key, value, "a table", complaints).unwrap_or(absent),
        }
    }

    /// All tables `[[key]]`.
    pub(crate) fn tables(
        &mut self,
        key: &'static str,
        name: &'static str,
        complaints: &mut Complaints<'_>,
    ) -> Vec<Keys<'t, 'i>> {
        let Some(value) = self.take(key) else { return Vec::new() };
        let Some(list) = value.get_ref().as_array() else {
            complaints.add(&value.span(), format!("`{key}` may be there more than once; write [[{key}]]"));
            return Vec::new();
        };
        let mut tables = Vec::new();
        for item in list.iter() {
            match item.get_ref().as_table() {
                Some(table) => tables.push(Keys::new(name, item.span(), table)),
                None => complaints.add(&item.span(), format!("`{key}` must be a table; write [[{key}]]")),
            }
        }
        tables
    }

    /// Whether any key of it was written.
    pub(crate) fn is_written(&self) -> bool {
        !self.left.is_empty()
    }

    /// Complains about each key that nobody asked for.
    pub(crate) fn finish(self, complaints: &mut Complaints<'_>) {
        for (at, key, _) in &self.left {
            let advice = match nearest(key, &self.asked) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the keys there are: {}", self.asked.join(", ")),
            };
            let place = if self.name.is_empty() { String::new() } else { format!(" in {}", self.name) };
            complaints.add(at, format!("unknown key `{key}`{place}; {advice}"));
        }
    }

    fn take(&mut self, key: &'static str) -> Option<&'t Spanned<DeValue<'i>>> {
        self.asked.push(key);
        let found = self.left.iter().position(|(_, name, _)| *name == key)?;
        Some(self.left.swap_remove(found).2)
    }

    /// Complains that `value` is not `wanted`.
    fn wrong<T>(
        &self,
        key: &str,
        value: &Spanned<DeValue<'i>>,
        wanted: &str,
        complaints: &mut Complaints<'_>,
    ) -> Option<T> {
        let found = value.get_ref().type_str();
        complaints.add(&value.span(), format!("`{key}` must be {wanted}, not this {found}"));
        None
    }
}

/// The key that `written` most likely stands for, if it is at most two slips away.
fn nearest<'k>(written: &str, known: &[&'k str]) -> Option<&'k str> {
    let near = known.iter().map(|key| (slips(written, key), *key)).min()?;
    (near.0 <= 2).then_some(near.1)
}

/// Levenshtein's distance.
fn slips(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i.saturating_add(1);
        let mut next = vec![left];
        for (to, above) in b.chars().zip(row.iter().skip(1)) {
            let swap = diagonal.saturating_add(usize::from(from != to));
            left = swap.min(left.saturating_add(1)).min(above.saturating_add(1));
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_the_key_that_was_meant() {
        let known = ["listen", "workers", "drain_timeout"];
        assert_eq!(nearest("lisen", &known), Some("listen"));
        assert_eq!(nearest("wrokers", &known), Some("workers"));
        assert_eq!(nearest("drain-timeout", &known), Some("drain_timeout"));
        assert_eq!(nearest("tls", &known), None);
        assert_eq!(slips("kitten", "sitting"), 3);
        assert_eq!(slips("", "abc"), 3);
    }
}
