//! How results are written: a table for people, JSON or YAML for programs. Text from outside never reaches a terminal with control bytes in it.

use std::{
    borrow::Cow,
    env,
    io::{self, IsTerminal as _, Write as _},
};

use jiff::Timestamp;
use serde::Serialize;

use crate::{cli::Format, failure::Failure};

/// Rows of text under headings.
pub(crate) struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

/// Writes results in the format asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Printer {
    format: Format,
}

impl Table {
    pub(crate) fn new(headings: &[&'static str]) -> Self {
        Self {
            headings: headings.to_vec(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Aligned lines; nothing in them can move a cursor.
    pub(crate) fn render(&self) -> String {
        let rows: Vec<Vec<Cow<'_, str>>> = self
            .rows
            .iter()
            .map(|row| row.iter().map(|cell| plain(cell)).collect())
            .collect();
        let width = |column: usize| {
            rows.iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .chain(self.headings.get(column).map(|heading| heading.len()))
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.headings.len()).map(width).collect();
        let mut text = String::new();
        let headings: Vec<Cow<'_, str>> = self.headings.iter().map(|h| Cow::Borrowed(*h)).collect();
        for row in std::iter::once(&headings).chain(&rows) {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                let padding = width.saturating_sub(cell.chars().count()) + 2;
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', padding));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

impl Printer {
    pub(crate) const fn new(format: Format) -> Self {
        Self { format }
    }

    /// A result: as the text for people, or as data.
    pub(crate) fn result<T: Serialize>(
        self,
        value: &T,
        people: impl FnOnce() -> String,
    ) -> anyhow::Result<()> {
        match self.format {
            Format::Table => write_out(&people()),
            Format::Json => write_out(&format!("{}\n", json(value)?)),
            Format::Yaml => write_out(&yaml(value)?),
        }
    }

    /// A list: as a table, or a sentence that says what to do when there is nothing in it.
    pub(crate) fn list<T: Serialize>(
        self,
        items: &[T],
        when_empty: &str,
        table: impl FnOnce(&[T]) -> Table,
    ) -> anyhow::Result<()> {
        self.result(&items, || {
            let table = table(items);
            if table.is_empty() {
                format!("{when_empty}\n")
            } else {
                table.render()
            }
        })
    }

    /// One item of a stream: a line of text, or one line of JSON, or one YAML document.
    pub(crate) fn item<T: Serialize>(
        self,
        value: &T,
        people: impl FnOnce() -> String,
    ) -> anyhow::Result<()> {
        match self.format {
            Format::Table => write_out(&format!("{}\n", plain(&people()))),
            Format::Json => write_out(&format!(
                "{}\n",
                escape_json(&serde_json::to_string(value)?)
            )),
            Format::Yaml => write_out(&format!("---\n{}", yaml(value)?)),
        }
    }
}

fn json<T: Serialize>(value: &T) -> anyhow::Result<String> {
    Ok(escape_json(&serde_json::to_string_pretty(value)?))
}

/// JSON is YAML, but nobody wants to read it so; control characters are escaped by going through double-quoted JSON strings where needed.
fn yaml<T: Serialize>(value: &T) -> anyhow::Result<String> {
    let text = serde_saphyr::to_string(value)?;
    let text = if text.chars().any(is_hazard) {
        // Rare, and JSON is valid YAML.
        format!("{}\n", json(value)?)
    } else {
        text
    };
    Ok(if text.ends_with('\n') {
        text
    } else {
        text + "\n"
    })
}

/// serde_json leaves DEL, the C1 controls and the bidirectional overrides as they are.
fn escape_json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hazard(c) {
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

/// Whether a terminal might act on it, or a reader be misled by it. Line feeds are the writer's own.
fn is_hazard(c: char) -> bool {
    (c.is_control() && c != '\n')
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// One line of outside text, with everything a terminal might act on made visible.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    if text.chars().any(|c| c == '\n' || is_hazard(c)) {
        Cow::Owned(
            text.chars()
                .map(|c| {
                    if c == '\n' || is_hazard(c) {
                        c.escape_default().to_string()
                    } else {
                        c.to_string()
                    }
                })
                .collect(),
        )
    } else {
        Cow::Borrowed(text)
    }
}

/// As [`plain`], but line feeds stay.
pub(crate) fn plain_lines(text: &str) -> String {
    text.split('\n').map(plain).collect::<Vec<_>>().join("\n")
}

/// To standard output. A reader that went away ends the program quietly.
pub(crate) fn write_out(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            Err(Failure::OutputClosed.into())
        }
        Err(error) => Err(error.into()),
    }
}

/// A sentence beside the result, on standard error.
pub(crate) fn note(text: &str) {
    eprintln!("{}", plain_lines(text));
}

/// Whether progress may be redrawn and coloured: standard error is a terminal that understands it.
pub(crate) fn live_terminal() -> bool {
    io::stderr().is_terminal()
        && env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb")
}

/// Whether colours are welcome (<https://no-color.org>).
pub(crate) fn colours() -> bool {
    env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// `1.5 GiB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut scaled = count as f64;
    while scaled >= 1024.0 && unit + 1 < UNITS.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    if unit == 0 || scaled >= 100.0 {
        format!("{scaled:.0} {}", UNITS[unit])
    } else {
        format!("{scaled:.1} {}", UNITS[unit])
    }
}

/// How long ago an RFC 3339 time was, such as `3m` or `2d`; the text itself when it is none.
pub(crate) fn ago(time: &str, now: Timestamp) -> String {
    time.parse::<Timestamp>().map_or_else(
        |_| time.to_owned(),
        |then| span(now.as_second().saturating_sub(then.as_second())),
    )
}

/// `45s`, `12m`, `5h`, `3d`.
pub(crate) fn span(seconds: i64) -> String {
    match seconds.max(0) {
        s @ 0..=119 => format!("{s}s"),
        s @ 120..=7_199 => format!("{}m", s / 60),
        s @ 7_200..=172_799 => format!("{}h", s / 3_600),
        s => format!("{}d", s / 86_400),
    }
}

/// `-` for nothing.
pub(crate) fn or_dash(text: Option<&str>) -> String {
    text.filter(|text| !text.is_empty())
        .unwrap_or("-")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_align_and_escape() {
        let mut table = Table::new(&["NAME", "STATUS"]);
        table.row(vec!["demo".to_owned(), "run\u{1b}[31m\nning".to_owned()]);
        table.row(vec!["a-long-name".to_owned(), "x".to_owned()]);
        assert_eq!(
            table.render(),
            "NAME         STATUS\ndemo         run\\u{1b}[31m\\nning\na-long-name  x\n"
        );
    }

    #[test]
    fn no_format_lets_control_bytes_through() {
        let value = "a\u{1b}[2J\u{9b}31m\u{202e}b\u{7f}";
        let text = json(&value).unwrap();
        assert!(!text.chars().any(is_hazard), "{text:?}");
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), value);
        let text = yaml(&std::collections::BTreeMap::from([("k", value)])).unwrap();
        assert!(!text.chars().any(is_hazard), "{text:?}");
        assert!(!plain(value).chars().any(is_hazard));
    }

    #[test]
    fn yaml_keeps_strings_strings() {
        let value =
            std::collections::BTreeMap::from([("a", "no"), ("b", "1"), ("c", "x: y"), ("d", "")]);
        let text = yaml(&value).unwrap();
        let quoted = |key: &str, value: &str| {
            [
                format!("{key}: \"{value}\"\n"),
                format!("{key}: '{value}'\n"),
            ]
            .iter()
            .any(|line| text.contains(line))
        };
        for (key, value) in value {
            assert!(quoted(key, value), "{text}");
        }
    }

    #[test]
    fn sizes_and_spans() {
        assert_eq!(bytes(512), "512 B");
        assert_eq!(bytes(1536 * 1024 * 1024), "1.5 GiB");
        assert_eq!(span(119), "119s");
        assert_eq!(span(120), "2m");
        assert_eq!(span(200_000), "2d");
        assert_eq!(span(-5), "0s");
    }
}
