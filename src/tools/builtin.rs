//! The tools of this program: a clock, a calculator, files of one folder, and a shell.

use super::folder::{Folder, ListFiles, ReadFile};
use super::process::{self, End, Limits};
use super::{Declaration, Tool, ToolResult, brief, calculator, one_line, text};
use crate::error::Result;
use jiff::ZonedDateTime;
use serde_json::{Map, Value as Json, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// The tools that a word names, or `None` if it is no word of ours. `builtin` leaves out the shell: who wants a model to have one says so.
pub(super) fn by_name(spec: &str, folder: Option<&Path>) -> Result<Option<Vec<Box<dyn Tool>>>> {
    let open = || {
        Folder::open(folder.ok_or_else(|| {
            super::mistake(format!("{spec} needs a folder: name one with --tools-dir"))
        })?)
    };
    Ok(Some(match spec {
        "builtin" => {
            let mut tools: Vec<Box<dyn Tool>> =
                vec![Box::new(Clock::new()), Box::new(Calculator::new())];
            if folder.is_some() {
                tools.push(Box::new(ListFiles::new(open()?)));
                tools.push(Box::new(ReadFile::new(open()?)));
            }
            tools
        }
        "get_time" => vec![Box::new(Clock::new())],
        "calculator" => vec![Box::new(Calculator::new())],
        "list_files" => vec![Box::new(ListFiles::new(open()?))],
        "read_file" => vec![Box::new(ReadFile::new(open()?))],
        "shell" => {
            let folder = folder.map(Folder::open).transpose()?;
            vec![Box::new(Shell::new(
                folder.map(|folder| folder.path().to_owned()),
            ))]
        }
        _ => return Ok(None),
    }))
}

/// `get_time`.
struct Clock {
    declaration: Declaration,
}

impl Clock {
    fn new() -> Clock {
        Clock {
            declaration: Declaration::new(
                "get_time",
                "Get the current date, time and weekday",
                json!({"type": "object", "properties": {
                "zone": {"type": "string", "description": "An IANA time zone such as Europe/Berlin; without it, the user's own"},
            }, "additionalProperties": false}),
                true,
            ),
        }
    }
}

impl Tool for Clock {
    fn declaration(&self) -> &Declaration {
        &self.declaration
    }

    fn call(&mut self, arguments: &Map<String, Json>, _: &AtomicBool) -> ToolResult {
        let mut now = ZonedDateTime::now();
        if let Some(zone) = text(arguments, "zone").filter(|zone| !zone.is_empty()) {
            now = match now.in_tz(zone) {
                Ok(now) => now,
                Err(_) => {
                    return ToolResult::failed(format!(
                        "There is no time zone \"{}\". Zones have names such as Europe/Berlin, America/New_York or UTC.",
                        brief(&json!(zone))
                    ));
                }
            };
        }
        let zone = match now.time_zone().iana_name() {
            Some(name) => format!("{name}, UTC{}", now.strftime("%:z")),
            None => format!("UTC{}", now.strftime("%:z")),
        };
        ToolResult::done(
            json!({
                "date": now.strftime("%Y-%m-%d").to_string(),
                "time": now.strftime("%H:%M:%S").to_string(),
                "weekday": now.strftime("%A").to_string(),
                "zone": zone,
            })
            .to_string(),
        )
    }
}

/// `calculator`.
struct Calculator {
    declaration: Declaration,
}

impl Calculator {
    fn new() -> Calculator {
        Calculator {
            declaration: Declaration::new(
                "calculator",
                "Calculate the value of an expression",
                json!({"type": "object", "properties": {
                "expression": {"type": "string", "description": "Such as (2 + 3) * sqrt(16) / 7. Known are + - * / % ^, sqrt, abs, round(x, decimals), min, max, sin, cos (radians), ln, log (base 10, or log(x, base)), exp, pi and e"},
            }, "required": ["expression"], "additionalProperties": false}),
                true,
            ),
        }
    }
}

impl Tool for Calculator {
    fn declaration(&self) -> &Declaration {
        &self.declaration
    }

    fn preview(&self, arguments: &Map<String, Json>) -> String {
        format!(
            "calculator: {}",
            one_line(text(arguments, "expression").unwrap_or(""))
        )
    }

    fn call(&mut self, arguments: &Map<String, Json>, _: &AtomicBool) -> ToolResult {
        match calculator::evaluate(text(arguments, "expression").unwrap_or("")) {
            Ok(value) => ToolResult::done(value),
            Err(why) => ToolResult::failed(why),
        }
    }
}

/// `shell`.
struct Shell {
    folder: Option<PathBuf>,
    limits: Limits,
    declaration: Declaration,
}

impl Shell {
    /// Commands begin in `folder`, or where the program does.
    fn new(folder: Option<PathBuf>) -> Shell {
        Shell {
            folder,
            limits: Limits {
                timeout: Duration::from_secs(60),
                max_output: 32 << 10,
            },
            declaration: Declaration::new(
                "shell",
                "Run a shell command on the user's machine and get what it prints",
                json!({"type": "object", "properties": {
                "command": {"type": "string", "description": "What sh -c runs"},
            }, "required": ["command"], "additionalProperties": false}),
                false,
            ),
        }
    }
}

impl Tool for Shell {
    fn declaration(&self) -> &Declaration {
        &self.declaration
    }

    /// All of the command: what is left out could be what matters.
    fn preview(&self, arguments: &Map<String, Json>) -> String {
        format!(
            "shell: {}",
            one_line(text(arguments, "command").unwrap_or(""))
        )
    }

    fn call(&mut self, arguments: &Map<String, Json>, cancel: &AtomicBool) -> ToolResult {
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(text(arguments, "command").unwrap_or(""));
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        let outcome = match process::run(&mut command, &[], &self.limits, cancel) {
            Ok(outcome) => outcome,
            Err(e) => return ToolResult::failed(format!("The command could not be run: {e}.")),
        };
        // What it printed before it failed is what tells why.
        let mut parts = vec![outcome.stdout.text().trim_end().to_owned()];
        let errors = outcome.stderr.text();
        if !errors.is_empty() {
            parts.push(format!("[stderr] {errors}"));
        }
        let failure = outcome.failure(&self.limits);
        match (&failure, &outcome.end) {
            (Some(_), End::Exit(status)) => parts.push(format!("[{}]", process::exit(*status))),
            (Some(why), _) => parts.push(format!("[The command {why}.]")),
            (None, _) => {}
        }
        parts.retain(|part| !part.is_empty());
        ToolResult {
            text: if parts.is_empty() {
                "The command printed nothing.".into()
            } else {
                parts.join("\n")
            },
            failed: failure.is_some(),
        }
    }
}
