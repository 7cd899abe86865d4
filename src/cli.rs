//! The command line: what was typed (`args`) becomes calls on the library. Text goes to stdout, everything else to stderr.

mod args;
mod bench;
mod chat;
mod cpu;
mod inspect;
mod interrupt;
mod lines;
mod load;
mod logits;
mod memory;
mod run;
mod synth;
mod template;
mod tokens;

use crate::embedded;
use crate::error::{Error, Result};
use args::{Cli, Command};
use clap::CommandFactory;
use std::borrow::Cow;
use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

/// Runs the command of `arguments` (the first is the program) and gives its exit code: 0, 1 for an error, 2 for wrong usage. If a signal came
/// before everything was done, the process ends by it.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut arguments = args::expand(arguments);
    if embedded::is_available() && arguments.len() < 2 {
        // The chat with the built-in model.
        arguments.resize(1, OsString::from("smolq"));
        arguments.push(OsString::from("run"));
    }
    let cli = match args::parse(&arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are asked for; anything else is wrong usage. A closed pipe changes neither.
            drop(error.print());
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let result = match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Logits(args) => logits::run(&args),
        Command::Template(args) => template::run(&args),
        Command::Tokenize(args) => tokens::tokenize(&args),
        Command::Detokenize(args) => tokens::detokenize(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Cpu => cpu::run(),
        Command::Synth(args) => synth::run(&args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "smolq", &mut script);
            print(&script)
        }
    };
    let mut ended = None;
    let code = match result {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has seen enough.
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            let text = one_line(&error.to_string());
            drop(writeln!(std::io::stderr(), "smolq: error: {text}"));
            if matches!(error, Error::Interrupted(_)) {
                ended = Some(interrupt::CTRL_C);
            }
            ExitCode::FAILURE
        }
    };
    match interrupt::leaving().or(ended) {
        Some(status) => {
            // A signal skips the end at which that is done.
            drop(std::io::stdout().flush());
            interrupt::die(status)
        }
        None => code,
    }
}

/// Text for a person's terminal on one line: control characters, which may come from a hostile file, are escaped.
fn one_line(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            if c.is_control() {
                c.escape_default().collect()
            } else {
                vec![c]
            }
        })
        .collect()
}

/// Text of a model or a file as `stream` is to get it: a terminal would obey control characters, so all but line feeds and tabs are escaped
/// there. Anything else gets the text as it is.
fn visible<'t>(text: &'t str, stream: &impl IsTerminal) -> Cow<'t, str> {
    if !stream.is_terminal() {
        return Cow::Borrowed(text);
    }
    escaped(text)
}

fn escaped(text: &str) -> Cow<'_, str> {
    let obeyed = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if !text.contains(obeyed) {
        return Cow::Borrowed(text);
    }
    let mut out = String::new();
    for c in text.chars() {
        if obeyed(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// An error of standard output.
fn stdout_error(source: std::io::Error) -> Error {
    Error::Io {
        path: "standard output".into(),
        source,
    }
}

/// Writes all of `bytes` to stdout.
fn print(bytes: &[u8]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes)
        .and_then(|()| out.flush())
        .map_err(stdout_error)
}

/// Says something on stderr. That nobody reads it is no error.
fn note(text: &str) {
    drop(writeln!(std::io::stderr(), "{text}"));
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        let text = "a\x1b]0;b\x07\u{9b}2J\u{7f}\r\n\té";
        let shown = "a\\u{1b}]0;b\\u{7}\\u{9b}2J\\u{7f}\\r\n\té";
        assert_eq!(escaped(text), shown);
        // It makes no difference where a text is cut.
        let pieces: String = text
            .chars()
            .map(|c| escaped(&c.to_string()).into_owned())
            .collect();
        assert_eq!(pieces, shown);
    }
}
