//! Another program, measured in turn with ours.
//!
//! Two programs that run one after the other are compared with each other's weather: another tenant of the machine, a clock
//! that falls as the chip warms up. In turn, both get the same.

use super::{Subject, Test};
use crate::error::{Error, Result};
use serde_json::Value;
use std::process::{Command, Stdio};

/// A shell command that prints results in llama-bench's JSON: an array, an object, or an object a line.
///
/// It finds what is measured in its environment: `MODEL`, `THREADS`, `N_PROMPT`, `N_GEN`, `N_DEPTH`. Of what it prints, results of
/// the same `n_prompt`, `n_gen` and `n_depth` (and `n_threads`, where it says so) count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versus {
    /// The command, for `sh -c`.
    pub command: String,
}

impl Versus {
    /// Runs the command once; gives tokens per second of each of its repetitions.
    ///
    /// # Errors
    /// If it cannot be run, fails, or prints no result of this test.
    pub fn rates(&self, subject: &Subject, threads: usize, test: Test) -> Result<Vec<f64>> {
        let (shell, flag) = if cfg!(windows) {
            ("cmd", "/C")
        } else {
            ("sh", "-c")
        };
        let output = Command::new(shell)
            .arg(flag)
            .arg(&self.command)
            .env("MODEL", subject.path())
            .env("THREADS", threads.to_string())
            .env("N_PROMPT", test.n_prompt.to_string())
            .env("N_GEN", test.n_gen.to_string())
            .env("N_DEPTH", test.n_depth.to_string())
            .stdin(Stdio::null())
            .output()
            .map_err(|error| fault(format!("cannot run {shell}: {error}")))?;
        let errors = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            let last = errors.lines().rfind(|line| !line.trim().is_empty());
            let last = last.map_or_else(String::new, |line| format!(": {}", line.trim()));
            return Err(fault(format!(
                "the command ended with {}{last}",
                output.status
            )));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let rates = matching(&text, threads, test)?;
        if rates.is_empty() {
            let Test {
                n_prompt,
                n_gen,
                n_depth,
            } = test;
            return Err(fault(format!(
                "the command printed no result of n_prompt {n_prompt}, n_gen {n_gen}, n_depth {n_depth}, n_threads {threads}"
            )));
        }
        Ok(rates)
    }
}

fn fault(why: String) -> Error {
    Error::Request {
        field: "--versus",
        why,
    }
}

/// Rates of the results that are of this test.
fn matching(text: &str, threads: usize, test: Test) -> Result<Vec<f64>> {
    let mut results = Vec::new();
    for value in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
        match value.map_err(|error| fault(format!("the command printed no JSON: {error}")))? {
            Value::Array(values) => results.extend(values),
            value => results.push(value),
        }
    }
    let mut rates = Vec::new();
    for result in &results {
        let field = |name: &str| result.get(name).and_then(Value::as_u64);
        let is = |name: &str, wanted: usize| field(name).unwrap_or(0) == wanted as u64;
        let same_threads = field("n_threads").is_none_or(|n| n == threads as u64);
        if !(same_threads
            && is("n_prompt", test.n_prompt)
            && is("n_gen", test.n_gen)
            && is("n_depth", test.n_depth))
        {
            continue;
        }
        let positive = |value: &Value| value.as_f64().filter(|rate| *rate > 0.0);
        match result.get("samples_ts").and_then(Value::as_array) {
            Some(samples) if !samples.is_empty() => {
                rates.extend(samples.iter().filter_map(positive))
            }
            _ => rates.extend(result.get("avg_ts").and_then(positive)),
        }
    }
    Ok(rates)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PP: Test = Test {
        n_prompt: 8,
        n_gen: 0,
        n_depth: 0,
    };

    fn rates(text: &str) -> Vec<f64> {
        matching(text, 2, PP).unwrap()
    }

    #[test]
    fn arrays_objects_and_lines_are_read() {
        let one = r#"{"n_prompt": 8, "n_gen": 0, "avg_ts": 5.5}"#;
        let many = r#"{"n_prompt": 8, "n_gen": 0, "n_depth": 0, "n_threads": 2, "avg_ts": 9, "samples_ts": [4, 6.5]}"#;
        assert_eq!(rates(one), [5.5]);
        assert_eq!(rates(&format!("[{one},\n{many}]\n")), [5.5, 4.0, 6.5]);
        assert_eq!(rates(&format!("{many}\n{one}\n")), [4.0, 6.5, 5.5]);
        assert!(rates("[]").is_empty() && rates("").is_empty());
    }

    #[test]
    fn results_of_other_tests_do_not_count() {
        for other in [
            r#"{"n_prompt": 9, "n_gen": 0, "avg_ts": 5}"#,
            r#"{"n_prompt": 8, "n_gen": 1, "avg_ts": 5}"#,
            r#"{"n_prompt": 8, "n_gen": 0, "n_depth": 1, "avg_ts": 5}"#,
            r#"{"n_prompt": 8, "n_gen": 0, "n_threads": 1, "avg_ts": 5}"#,
            r#"{"n_prompt": 8, "n_gen": 0, "avg_ts": 0}"#,
            r#"{"n_prompt": 8, "n_gen": 0, "avg_ts": "5"}"#,
            "3",
        ] {
            assert!(rates(other).is_empty(), "{other}");
        }
        let error = matching("pp8: 5 t/s", 2, PP).unwrap_err().to_string();
        assert!(error.contains("no JSON"), "{error}");
    }
}
