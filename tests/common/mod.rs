//! The real binary, for tests of the command line.

use std::process::{Command, Output, Stdio};

/// The command with nothing of the caller's settings and no standard input.
pub(crate) fn smolq() -> Command {
    // Another machine's binary, run by something that can (tools/emulated.sh), where it is named.
    let other = std::env::var_os("SMOLQ_TEST_BINARY");
    let own = env!("CARGO_BIN_EXE_smolq");
    let mut command = Command::new(other.as_deref().unwrap_or(own.as_ref()));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SMOLQ_")) {
        command.env_remove(name);
    }
    command.env_remove("COLUMNS").stdin(Stdio::null());
    command
}

/// What a command that succeeded wrote to stdout.
pub(crate) fn stdout(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}: {errors}", output.status);
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Asserts an error of one line that holds all of `parts`, and nothing on stdout.
pub(crate) fn fails(output: &Output, code: i32, parts: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    if code == 1 {
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.starts_with("smolq: error: "), "{text}");
    }
    for part in parts {
        assert!(text.contains(part), "{text:?} lacks {part:?}");
    }
}
