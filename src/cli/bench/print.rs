//! Results as text, one after the other as they come: Markdown for people, the rest for programs.

use super::super::memory;
use crate::bench::{Field, Kind, Limits, Outcome, Settings, Subject};
use crate::machine::Weather;
use crate::model::Step;
use clap::ValueEnum;
use serde_json::Value;
use std::time::Duration;

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Values between commas, all quoted
    Csv,
    /// One array of objects
    Json,
    /// An object a line
    Jsonl,
    /// A table in Markdown
    Md,
    /// Statements that make and fill a table
    Sql,
}

/// A result with all that is said of it.
pub(super) struct Result<'a> {
    pub(super) subject: &'a Subject,
    pub(super) settings: &'a Settings,
    pub(super) outcome: &'a Outcome,
    pub(super) fields: &'a [Field],
}

/// What is known before the first result, for a table whose rows come one by one.
#[derive(Clone, Debug, Default)]
pub(super) struct Outlook {
    /// Names of columns that need their place in every row, because they vary.
    pub(super) varying: Vec<Column>,
    /// Characters of the longest name of a test.
    pub(super) test_width: usize,
    /// Whether another program is measured too.
    pub(super) versus: bool,
    /// Whether shares of limits are known.
    pub(super) limits: bool,
    /// Whether sensors tell if a clock was held down.
    pub(super) sensors: bool,
    /// Characters in a line; `None` for as many as it takes.
    pub(super) width: Option<usize>,
}

/// A column of the table that tells of the model or the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Model,
    Size,
    Params,
    Backend,
    Threads,
    Batch,
    Ubatch,
    TypeK,
    TypeV,
}

impl Column {
    const ALL: [Column; 9] = [
        Column::Model,
        Column::Size,
        Column::Params,
        Column::Backend,
        Column::Threads,
        Column::Batch,
        Column::Ubatch,
        Column::TypeK,
        Column::TypeV,
    ];

    /// Columns that llama-bench always has.
    fn always(self) -> bool {
        !matches!(
            self,
            Column::Batch | Column::Ubatch | Column::TypeK | Column::TypeV
        )
    }

    fn title(self) -> &'static str {
        match self {
            Column::Model => "model",
            Column::Size => "size",
            Column::Params => "params",
            Column::Backend => "backend",
            Column::Threads => "threads",
            Column::Batch => "n_batch",
            Column::Ubatch => "n_ubatch",
            Column::TypeK => "type_k",
            Column::TypeV => "type_v",
        }
    }

    fn width(self) -> usize {
        match self {
            Column::Model => 24,
            Column::Size => 10,
            Column::Params => 8,
            Column::Backend => 10,
            _ => self.title().len(),
        }
    }

    fn is_left(self) -> bool {
        matches!(self, Column::Model | Column::Backend)
    }

    fn value(self, result: &Result<'_>) -> String {
        match self {
            Column::Model => result.subject.name(),
            Column::Size => memory::human(result.subject.bytes()),
            Column::Params => parameters(result.subject.parameters()),
            Column::Backend => result.subject.model().level().to_string(),
            Column::Threads => result.outcome.threads.to_string(),
            Column::Batch => result.settings.n_batch.to_string(),
            Column::Ubatch => result.settings.n_ubatch.to_string(),
            Column::TypeK => result.settings.cache_k.to_string(),
            Column::TypeV => result.settings.cache_v.to_string(),
        }
    }
}

/// A figure of a row, and its column.
struct Cell {
    title: &'static str,
    width: usize,
    text: String,
}

/// What is said of a model, a level and a number of threads below the table.
#[derive(Default)]
struct About {
    who: String,
    limits: Option<Limits>,
    load: Duration,
    /// Time to the first token of each test with a prompt.
    first: Vec<String>,
    /// Clocks and temperatures of each test.
    weather: Vec<String>,
    peak: Option<u64>,
    anonymous: Option<u64>,
}

impl About {
    fn text(&self) -> String {
        let mut out = format!("{}:\n", self.who);
        if let Some(limits) = self.limits {
            out += &format!(
                "  limits       reads {:.1} GB/s, adds up {:.0} G 8-bit products/s\n",
                limits.read_bandwidth / 1e9,
                limits.integer_peak / 1e9
            );
        }
        out += &format!("  load         {:.2} s\n", self.load.as_secs_f64());
        for first in &self.first {
            out += &format!("  first token  after {first}\n");
        }
        for weather in &self.weather {
            out += &format!("  clock        {weather}\n");
        }
        if let (Some(peak), Some(anonymous)) = (self.peak, self.anonymous) {
            out += &format!(
                "  peak memory  {}, {} of it not from files\n",
                memory::human(peak),
                memory::human(anonymous)
            );
        }
        out
    }
}

/// Clock and temperature of a test, `1500 to 2400 MHz, 48 to 85 °C`, and what held the clock down.
fn clock(weather: &Weather) -> String {
    let mut parts = Vec::new();
    if let (Some(max), Some(min)) = (weather.mhz_max, weather.mhz_min) {
        parts.push(if min.round() < max.round() {
            format!("{min:.0} to {max:.0} MHz")
        } else {
            format!("{max:.0} MHz")
        });
    }
    if let (Some(before), Some(max)) = (weather.celsius_before, weather.celsius_max) {
        parts.push(if before.round() < max.round() {
            format!("{before:.0} to {max:.0} °C")
        } else {
            format!("{max:.0} °C")
        });
    }
    parts.extend(
        weather
            .throttled
            .iter()
            .map(|why| format!("throttled: {why}")),
    );
    parts.join(", ")
}

fn throttled(outcome: &Outcome) -> bool {
    let weather = outcome.weather.as_ref();
    weather.is_some_and(|weather| weather.throttled.is_some())
}

fn threads(n: usize) -> String {
    match n {
        1 => "1 thread".to_owned(),
        n => format!("{n} threads"),
    }
}

/// Millions or billions, as llama-bench has them.
fn parameters(n: u64) -> String {
    if n >= 1_000_000_000 {
        format!("{:.2} B", n as f64 / 1e9)
    } else {
        format!("{:.2} M", n as f64 / 1e6)
    }
}

/// Prints results in a format; what it gives is text to be printed at once.
pub(super) struct Printer {
    format: Format,
    outlook: Outlook,
    printed: usize,
    /// Said below the table.
    footer: Vec<About>,
    profiles: String,
    noisy: bool,
    throttled: bool,
    /// What was last said above the table.
    heading: String,
}

impl Printer {
    pub(super) fn new(format: Format, outlook: Outlook) -> Printer {
        Printer {
            format,
            outlook,
            printed: 0,
            footer: Vec::new(),
            profiles: String::new(),
            noisy: false,
            throttled: false,
            heading: String::new(),
        }
    }

    /// A result has come.
    pub(super) fn result(&mut self, result: &Result<'_>) -> String {
        let mut out = String::new();
        let scalars = || result.fields.iter().filter(|f| f.kind != Kind::List);
        match self.format {
            Format::Csv => {
                if self.printed == 0 {
                    let names: Vec<_> = scalars().map(|f| f.name).collect();
                    out += &(names.join(",") + "\n");
                }
                let values: Vec<_> = scalars().map(|f| quoted(&plain(f), '"')).collect();
                out += &(values.join(",") + "\n");
            }
            Format::Json => {
                out += if self.printed == 0 { "[\n" } else { ",\n" };
                let fields = result.fields.iter();
                let fields: Vec<_> = fields
                    .map(|f| format!("    \"{}\": {}", f.name, f.value))
                    .collect();
                out += &format!("  {{\n{}\n  }}", fields.join(",\n"));
            }
            Format::Jsonl => {
                let fields = result.fields.iter();
                let fields: Vec<_> = fields
                    .map(|f| format!("\"{}\": {}", f.name, f.value))
                    .collect();
                out += &format!("{{{}}}\n", fields.join(", "));
            }
            Format::Sql => {
                if self.printed == 0 {
                    let columns: Vec<_> = scalars()
                        .map(|f| format!("  {} {}", f.name, sql_type(f.kind)))
                        .collect();
                    out += &format!(
                        "CREATE TABLE IF NOT EXISTS llama_bench (\n{}\n);\n\n",
                        columns.join(",\n")
                    );
                }
                let names: Vec<_> = scalars().map(|f| f.name).collect();
                let values: Vec<_> = scalars().map(sql_value).collect();
                out += &format!(
                    "INSERT INTO llama_bench ({}) VALUES ({});\n",
                    names.join(", "),
                    values.join(", ")
                );
            }
            Format::Md => self.row(result, &mut out),
        }
        self.printed += 1;
        out
    }

    /// No more results come.
    pub(super) fn end(&mut self) -> String {
        match self.format {
            Format::Json if self.printed == 0 => "[]\n".to_owned(),
            Format::Json => "\n]\n".to_owned(),
            Format::Md if self.printed > 0 => {
                let mut out = std::mem::take(&mut self.profiles) + "\n";
                if self.noisy {
                    out += "noisy: the spread hides differences below 5 %; close other programs or raise -r\n";
                }
                if self.throttled {
                    out += "throttled: heat or power held the clock down; cool it, wait (--delay 60), repeat\n";
                }
                for about in &self.footer {
                    out += &about.text();
                }
                out + concat!("build: smolq ", env!("CARGO_PKG_VERSION"), "\n")
            }
            _ => String::new(),
        }
    }

    /// The figures after the columns of model and settings.
    fn cells(&self, result: &Result<'_>) -> Vec<Cell> {
        let outcome = result.outcome;
        let rates = outcome.rates();
        let mut mark = String::new();
        for (is, word) in [
            (rates.noisy(), " noisy"),
            (throttled(outcome), " throttled"),
        ] {
            mark += if is { word } else { "" };
        }
        let cell = |title, width, text| Cell { title, width, text };
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let spread = format!("{:.2} ± {:.2}{mark}", rates.mean, rates.stddev);
        let mut cells = vec![
            cell(
                "test",
                self.outlook.test_width.max(4),
                outcome.test.to_string(),
            ),
            cell("t/s", if self.outlook.sensors { 30 } else { 20 }, spread),
            cell("median", 8, format!("{:.2}", rates.median)),
            cell("best", 8, format!("{:.2}", rates.max)),
        ];
        if self.outlook.limits {
            let share = outcome
                .share
                .map(|share| format!("{:.0} % {}", 100.0 * share.of_limit, share.bound.name()));
            cells.push(cell("of limit", 12, or_dash(share)));
        }
        if self.outlook.versus {
            let versus = outcome.versus.as_ref();
            let median = versus.map(|versus| format!("{:.2}", versus.median));
            let ratio = outcome.ratio().map(|ratio| format!("{ratio:.2}"));
            cells.push(cell("versus", 8, or_dash(median)));
            cells.push(cell("ratio", 5, or_dash(ratio)));
        }
        cells
    }

    /// A row of the table, with its head before the first. Columns that are the same in all rows stand in a line above where
    /// the whole would be wider than the terminal.
    fn row(&mut self, result: &Result<'_>, out: &mut String) {
        let mut cells = self.cells(result);
        let is_shown = |column: &Column| column.always() || self.outlook.varying.contains(column);
        let mut columns: Vec<Column> = Column::ALL.into_iter().filter(is_shown).collect();
        let total = |columns: &[Column], cells: &[Cell]| {
            let of_column = |c: &Column| c.width().max(c.value(result).chars().count()) + 3;
            let own: usize = cells.iter().map(|cell| cell.width + 3).sum();
            1 + own + columns.iter().map(of_column).sum::<usize>()
        };
        let width = self.outlook.width.unwrap_or(usize::MAX);
        let fits = total(&columns, &cells) <= width;
        if !fits {
            columns = self.outlook.varying.clone();
            // The other formats have these too.
            for spare in ["best", "median"] {
                if total(&columns, &cells) > width {
                    cells.retain(|cell| cell.title != spare);
                }
            }
        }
        let mut heading = String::new();
        if !fits {
            let above: Vec<_> = Column::ALL
                .into_iter()
                .filter(|&c| c.always() && !columns.contains(&c))
                .map(|c| match c {
                    Column::Params => format!("{} parameters", c.value(result)),
                    Column::Threads => threads(result.outcome.threads),
                    _ => c.value(result),
                })
                .collect();
            heading = above.join(", ");
        }
        if self.printed == 0 || heading != self.heading {
            if self.printed > 0 {
                *out += "\n";
            }
            if !fits {
                *out += &format!("{heading}\n\n");
            }
            let mut names = String::from("|");
            let mut rule = String::from("|");
            let settings = columns.iter().map(|c| (c.title(), c.width(), c.is_left()));
            let figures = cells.iter().map(|cell| (cell.title, cell.width, false));
            for (title, width, left) in settings.chain(figures) {
                names += &cell(title, width, left);
                let dashes = "-".repeat(width - usize::from(!left));
                rule += &format!(" {dashes}{} |", if left { "" } else { ":" });
            }
            *out += &format!("{names}\n{rule}\n");
            self.heading = heading;
        }
        let mut row = String::from("|");
        for column in columns {
            row += &cell(&column.value(result), column.width(), column.is_left());
        }
        for figure in &cells {
            row += &cell(&figure.text, figure.width, false);
        }
        *out += &(row + "\n");
        self.remember(result);
    }

    /// Notes what is said below the table.
    fn remember(&mut self, result: &Result<'_>) {
        let outcome = result.outcome;
        self.noisy |= outcome.rates().noisy();
        self.throttled |= throttled(outcome);
        let who = format!(
            "{}, {}, {}",
            result.subject.name(),
            result.subject.model().level(),
            threads(outcome.threads)
        );
        let at = self.footer.iter().position(|about| about.who == who);
        let at = at.unwrap_or_else(|| {
            self.footer.push(About {
                who,
                ..About::default()
            });
            self.footer.len() - 1
        });
        let about = &mut self.footer[at];
        about.load = result.subject.load_time();
        if outcome.test.n_prompt > 0 {
            let first = outcome.time_to_first_token().as_secs_f64();
            about.first.push(format!("{first:.2} s ({})", outcome.test));
        }
        if let Some(weather) = &outcome.weather {
            let text = format!("{} ({})", clock(weather), outcome.test);
            about.weather.push(text);
        }
        // Each test knows the limits of the ones before.
        about.limits = outcome.limits.or(about.limits);
        about.peak = about.peak.max(outcome.peak_memory);
        about.anonymous = about.anonymous.max(outcome.anonymous_memory);
        self.profile(result);
    }

    /// Time by kind of step, below the table.
    fn profile(&mut self, result: &Result<'_>) {
        let Some(profile) = result.outcome.profile else {
            return;
        };
        let test = result.outcome.test;
        let runs = result.outcome.samples.len() as f64;
        let tokens = (test.n_prompt + test.n_gen) as f64 * runs;
        let passes = profile.passes() as f64;
        let out = &mut self.profiles;
        *out += &format!(
            "\n{}, {test}, time by step:\n\n{}\n{}\n",
            result.subject.name(),
            "| step             | ms/token | share | GB/s weights | G/s products |",
            "| ---------------- | -------: | ----: | -----------: | -----------: |",
        );
        for step in Step::ALL {
            let seconds = profile.time(step).as_secs_f64();
            let cost = result.subject.work().step(step);
            // Logits are wanted once for each prompt, and for each generated token.
            let (passes, tokens) = if step == Step::Logits {
                let wanted = runs * (test.n_gen + usize::from(test.n_prompt > 0)) as f64;
                (wanted, wanted)
            } else {
                (passes, tokens)
            };
            let rate = |work: u64, times: f64, width: usize| {
                if work == 0 || seconds == 0.0 {
                    format!("{:>width$}", "")
                } else {
                    format!("{:>width$.1}", work as f64 * times / seconds / 1e9)
                }
            };
            *out += &format!(
                "| {:<16} | {:>8.3} | {:>3.0} % | {} | {} |\n",
                step.name().replace('_', " "),
                1e3 * seconds / ((test.n_prompt + test.n_gen) as f64 * runs),
                100.0 * seconds / profile.total().as_secs_f64().max(1e-12),
                rate(cost.bytes, passes, 12),
                rate(cost.macs, tokens, 12),
            );
        }
    }
}

fn cell(text: &str, width: usize, left: bool) -> String {
    if left {
        format!(" {text:<width$} |")
    } else {
        format!(" {text:>width$} |")
    }
}

/// A value as bare text; null is empty.
fn plain(field: &Field) -> String {
    match &field.value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(yes) => u8::from(*yes).to_string(),
        other => other.to_string(),
    }
}

fn quoted(text: &str, quote: char) -> String {
    let twice = format!("{quote}{quote}");
    format!("{quote}{}{quote}", text.replace(quote, &twice))
}

fn sql_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Text | Kind::List => "TEXT",
        Kind::Bool | Kind::Integer => "INTEGER",
        Kind::Real => "REAL",
    }
}

fn sql_value(field: &Field) -> String {
    match (&field.value, field.kind) {
        (Value::Null, _) => "NULL".to_owned(),
        (_, Kind::Text | Kind::List) => quoted(&plain(field), '\''),
        _ => plain(field),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weather_is_said_in_a_line() {
        let mut weather = Weather {
            celsius_before: Some(48.3),
            celsius_max: Some(85.0),
            mhz_min: Some(1500.0),
            mhz_max: Some(2400.0),
            throttled: Some("firmware: clock capped".to_owned()),
            ..Weather::default()
        };
        assert_eq!(
            clock(&weather),
            "1500 to 2400 MHz, 48 to 85 °C, throttled: firmware: clock capped"
        );
        weather.throttled = None;
        weather.mhz_min = Some(2399.9);
        weather.celsius_before = None;
        assert_eq!(clock(&weather), "2400 MHz");
    }
}
