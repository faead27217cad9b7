//! Reads request bodies and queries field by field, and keeps every problem instead of stopping at the first: wrong types, unknown fields,
//! missing ones.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::app::Problem;

/// An object being read. What was not asked for is an unknown field in the end.
pub(super) struct Fields {
    values: Map<String, Value>,
    pointer: String,
    /// Query values are all texts, numbers too.
    from_query: bool,
    problems: Vec<Problem>,
}

/// Something that can be read from an object.
pub(super) trait Readable: Sized {
    fn read(fields: &mut Fields) -> Self;
}

impl<A: Readable, B: Readable> Readable for (A, B) {
    fn read(fields: &mut Fields) -> Self {
        (A::read(fields), B::read(fields))
    }
}

/// What was read, and everything wrong with it. Fields with problems have their default.
pub(super) struct Read<T> {
    pub value: T,
    pub problems: Vec<Problem>,
}

impl<T> Read<T> {
    /// The value, when nothing is wrong with it.
    pub(super) fn checked(self) -> Result<T, Vec<Problem>> {
        if self.problems.is_empty() {
            Ok(self.value)
        } else {
            Err(self.problems)
        }
    }
}

/// Reads a JSON object.
pub(super) fn json<T: Readable>(bytes: &[u8]) -> Result<Read<T>, Problem> {
    let value: Value = serde_json::from_slice(bytes)
        .map_err(|error| Problem::at("", "bad_json", format!("the body is no JSON: {error}")))?;
    let Value::Object(values) = value else {
        return Err(wrong("", "an object", &value));
    };
    Ok(Fields::new(values, false).read())
}

/// Reads the pairs of a query, together with the names in the path.
pub(super) fn query<T: Readable>(pairs: Vec<(String, String)>) -> Read<T> {
    let mut values = Map::new();
    let mut twice = Vec::new();
    for (name, value) in pairs {
        if values.contains_key(&name) {
            twice.push(Problem::at(
                format!("/{}", escape(&name)),
                "given_twice",
                "this is given twice",
            ));
        } else {
            values.insert(name, Value::String(value));
        }
    }
    let mut read: Read<T> = Fields::new(values, true).read();
    read.problems.extend(twice);
    read
}

impl Fields {
    fn new(values: Map<String, Value>, from_query: bool) -> Self {
        Self {
            values,
            pointer: String::new(),
            from_query,
            problems: Vec::new(),
        }
    }

    fn read<T: Readable>(mut self) -> Read<T> {
        let value = T::read(&mut self);
        let Self {
            values,
            pointer,
            mut problems,
            ..
        } = self;
        problems.extend(values.keys().map(|name| {
            Problem::at(
                format!("{pointer}/{}", escape(name)),
                "unknown_field",
                "there is no such field",
            )
        }));
        Read { value, problems }
    }

    fn at(&self, name: &str) -> String {
        format!("{}/{}", self.pointer, escape(name))
    }

    /// `null` is the same as absent.
    fn take(&mut self, name: &str) -> Option<Value> {
        self.values.remove(name).filter(|value| !value.is_null())
    }

    /// A text; empty when absent.
    pub(super) fn text(&mut self, name: &str) -> String {
        match self.take(name) {
            None => String::new(),
            Some(Value::String(text)) => text,
            Some(other) => {
                self.problems.push(wrong(&self.at(name), "a text", &other));
                String::new()
            }
        }
    }

    /// A text that must be there.
    pub(super) fn required_text(&mut self, name: &str) -> String {
        if self.values.get(name).is_none_or(Value::is_null) {
            self.values.remove(name);
            self.problems
                .push(Problem::at(self.at(name), "required", "this is required"));
            return String::new();
        }
        self.text(name)
    }

    /// A whole number; 0 when absent.
    pub(super) fn number<T: TryFrom<u64> + Default>(&mut self, name: &str) -> T {
        let Some(value) = self.take(name) else {
            return T::default();
        };
        let number = match &value {
            Value::Number(number) => number.as_u64(),
            Value::String(text) if self.from_query => text.parse().ok(),
            _ => None,
        };
        match number.and_then(|number| T::try_from(number).ok()) {
            Some(number) => number,
            None => {
                self.problems.push(wrong(
                    &self.at(name),
                    "a whole number, not negative and not too large",
                    &value,
                ));
                T::default()
            }
        }
    }

    /// Yes or no; no when absent.
    pub(super) fn flag(&mut self, name: &str) -> bool {
        match self.take(name) {
            None => false,
            Some(Value::Bool(flag)) => flag,
            Some(Value::String(text)) if self.from_query && text == "true" => true,
            Some(Value::String(text)) if self.from_query && text == "false" => false,
            Some(other) => {
                self.problems
                    .push(wrong(&self.at(name), "true or false", &other));
                false
            }
        }
    }

    /// An object of its own; as if empty when absent.
    pub(super) fn nested<T: Readable>(&mut self, name: &str) -> T {
        let pointer = self.at(name);
        let mut inner = Self::new(self.object(name, "an object"), false);
        inner.pointer = pointer;
        let read = inner.read();
        self.problems.extend(read.problems);
        read.value
    }

    /// An object of texts, in which `null` removes.
    pub(super) fn removable_texts(&mut self, name: &str) -> BTreeMap<String, Option<String>> {
        let mut texts = BTreeMap::new();
        for (key, value) in self.object(name, "an object of texts") {
            match value {
                Value::String(text) => {
                    texts.insert(key, Some(text));
                }
                Value::Null => {
                    texts.insert(key, None);
                }
                other => {
                    let pointer = format!("{}/{}", self.at(name), escape(&key));
                    self.problems
                        .push(wrong(&pointer, "a text or null", &other));
                }
            }
        }
        texts
    }

    /// A whole number; another one when absent.
    pub(super) fn number_or<T: TryFrom<u64> + Default>(&mut self, name: &str, absent: T) -> T {
        if self.values.get(name).is_none_or(Value::is_null) {
            self.values.remove(name);
            return absent;
        }
        self.number(name)
    }

    /// A list of texts.
    pub(super) fn texts(&mut self, name: &str) -> Vec<String> {
        let items = match self.take(name) {
            None => return Vec::new(),
            Some(Value::Array(items)) => items,
            Some(other) => {
                self.problems
                    .push(wrong(&self.at(name), "a list of texts", &other));
                return Vec::new();
            }
        };
        let mut texts = Vec::new();
        for (index, item) in items.into_iter().enumerate() {
            match item {
                Value::String(text) => texts.push(text),
                other => {
                    let pointer = format!("{}/{index}", self.at(name));
                    self.problems.push(wrong(&pointer, "a text", &other));
                    // Keeps the places of the others.
                    texts.push(String::new());
                }
            }
        }
        texts
    }

    /// An object of texts.
    pub(super) fn text_map(&mut self, name: &str) -> BTreeMap<String, String> {
        let mut texts = BTreeMap::new();
        for (key, value) in self.object(name, "an object of texts") {
            match value {
                Value::String(text) => {
                    texts.insert(key, text);
                }
                other => {
                    let pointer = format!("{}/{}", self.at(name), escape(&key));
                    self.problems.push(wrong(&pointer, "a text", &other));
                }
            }
        }
        texts
    }

    /// An object of whole numbers.
    pub(super) fn number_map(&mut self, name: &str) -> BTreeMap<String, u32> {
        let mut numbers = BTreeMap::new();
        for (key, value) in self.object(name, "an object of whole numbers") {
            match value.as_u64().and_then(|number| u32::try_from(number).ok()) {
                Some(number) => {
                    numbers.insert(key, number);
                }
                None => {
                    let pointer = format!("{}/{}", self.at(name), escape(&key));
                    self.problems
                        .push(wrong(&pointer, "a whole number", &value));
                }
            }
        }
        numbers
    }

    /// An object of objects.
    pub(super) fn object_map<T: Readable>(&mut self, name: &str) -> BTreeMap<String, T> {
        let mut found = BTreeMap::new();
        for (key, value) in self.object(name, "an object of objects") {
            let pointer = format!("{}/{}", self.at(name), escape(&key));
            match value {
                Value::Object(values) => {
                    let mut inner = Self::new(values, false);
                    inner.pointer = pointer;
                    let read = inner.read();
                    found.insert(key, read.value);
                    self.problems.extend(read.problems);
                }
                other => self.problems.push(wrong(&pointer, "an object", &other)),
            }
        }
        found
    }

    fn object(&mut self, name: &str, what: &str) -> Map<String, Value> {
        match self.take(name) {
            None => Map::new(),
            Some(Value::Object(values)) => values,
            Some(other) => {
                self.problems.push(wrong(&self.at(name), what, &other));
                Map::new()
            }
        }
    }

    /// A problem with the meaning of a field.
    pub(super) fn problem(&mut self, name: &str, code: &str, message: &str) {
        let problem = Problem::at(self.at(name), code, message);
        self.problems.push(problem);
    }
}

fn wrong(pointer: &str, wanted: &str, found: &Value) -> Problem {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    Problem::at(
        pointer,
        "wrong_type",
        format!("this must be {wanted}, and is {found}"),
    )
}

/// A name as a part of a JSON pointer.
fn escape(name: &str) -> String {
    let bounded: String = name.chars().take(80).collect();
    bounded.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Sample {
        name: String,
        count: u32,
        hosts: Vec<String>,
        labels: BTreeMap<String, String>,
        nested: BTreeMap<String, Inner>,
    }
    struct Inner(u32);

    impl Readable for Inner {
        fn read(fields: &mut Fields) -> Self {
            Self(fields.number("size"))
        }
    }

    impl Readable for Sample {
        fn read(fields: &mut Fields) -> Self {
            Self {
                name: fields.required_text("name"),
                count: fields.number("count"),
                hosts: fields.texts("hosts"),
                labels: fields.text_map("labels"),
                nested: fields.object_map("nested"),
            }
        }
    }

    fn pointers(text: &str) -> Vec<(String, String)> {
        let read = json::<Sample>(text.as_bytes()).map_err(|p| vec![p]);
        let problems = match read {
            Ok(read) => read.problems,
            Err(problems) => problems,
        };
        problems
            .into_iter()
            .map(|problem| (problem.pointer, problem.code))
            .collect()
    }

    #[test]
    fn everything_wrong_is_told_at_once() {
        let text = r#"{"count":-1,"hosts":["a",2],"labels":{"k/1":3},"nested":{"x":{"size":1,"colour":2},"y":1},"colour":"red"}"#;
        let expected = [
            ("/name", "required"),
            ("/count", "wrong_type"),
            ("/hosts/1", "wrong_type"),
            ("/labels/k~11", "wrong_type"),
            ("/nested/x/colour", "unknown_field"),
            ("/nested/y", "wrong_type"),
            ("/colour", "unknown_field"),
        ];
        let expected: Vec<_> = expected
            .map(|(pointer, code)| (pointer.to_owned(), code.to_owned()))
            .into();
        assert_eq!(pointers(text), expected);
    }

    #[test]
    fn what_is_no_object_is_one_problem() {
        for (text, code) in [("[1]", "wrong_type"), ("{", "bad_json"), ("", "bad_json")] {
            assert_eq!(pointers(text), [(String::new(), code.to_owned())], "{text}");
        }
    }

    #[test]
    fn good_values_come_through() {
        let text =
            r#"{"name":"a","count":3,"hosts":["h"],"labels":{"k":"v"},"nested":{"x":{"size":7}}}"#;
        let Ok(sample) = json::<Sample>(text.as_bytes()).unwrap().checked() else {
            panic!("nothing is wrong with it");
        };
        assert_eq!((sample.name.as_str(), sample.count), ("a", 3));
        assert_eq!(sample.hosts, ["h"]);
        assert_eq!(sample.labels.get("k").map(String::as_str), Some("v"));
        assert_eq!(sample.nested.get("x").map(|inner| inner.0), Some(7));
    }

    #[test]
    fn queries_are_read_the_same_way() {
        let pairs = [("name", "a"), ("count", "x"), ("count", "2"), ("what", "1")];
        let pairs = pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        let codes: Vec<String> = query::<Sample>(pairs)
            .problems
            .into_iter()
            .map(|problem| problem.code)
            .collect();
        assert_eq!(codes, ["wrong_type", "unknown_field", "given_twice"]);
    }
}
