//! `smolq bench`: how fast models are here, in the words of llama-bench.

mod list;
mod print;

use super::interrupt::{self, INTERRUPTED};
use super::load;
use super::{note, print as print_out};
use crate::bench::synthetic::{self, Made, Spec};
use crate::bench::{Bench, Event, Known, Outcome, Settings, Subject, Test, Versus, record};
use crate::error::{Error, Result};
use crate::machine::{Memory, Sensors};
use crate::model::{KvType, LoadOptions, SessionOptions};
use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args};
use indicatif::ProgressBar;
use list::{Numbers, Pair};
use print::{Column, Format, Outlook, Printer};
use smolq_gguf::OpenOptions;
use smolq_kernels::Level;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// What was typed after `bench`.
#[derive(Debug, Args)]
#[command(
    after_help = "N is a number, a list (1,2,4) or a range (FIRST-LAST, FIRST-LAST+STEP, FIRST-LAST*FACTOR).\n\
    Each result is also given as a share of what this machine could do at best: reading weights and cache, or multiplying,\n\
    whichever takes longer. A result whose spread hides differences below 5 % is marked noisy. Where the system tells clocks\n\
    and temperatures, they are shown; a result is marked throttled if the clock was held down meanwhile.\n\n\
    Examples:\n  \
    smolq bench model.gguf\n  \
    smolq bench -m model.gguf -p 512 -n 128 -d 0,4096 -t 1-4 -o csv\n  \
    smolq bench --synthetic smollm3-3b:Q4_K_M,Q8_0\n  \
    smolq bench model.gguf --versus 'llama-bench -m $MODEL -t $THREADS -p $N_PROMPT -n $N_GEN -d $N_DEPTH -r 1 -o json'"
)]
pub(super) struct BenchArgs {
    /// GGUF files, or tiny
    #[arg(value_name = "MODEL")]
    files: Vec<PathBuf>,
    /// A GGUF file, or several between commas; may be given several times
    #[arg(short, long, env = "SMOLQ_MODEL", value_name = "FILE")]
    model: Vec<PathBuf>,
    /// Models of random weights, NAME:QUANT,QUANT;...: their speed before their download
    #[arg(long, env = "SMOLQ_SYNTHETIC", value_name = "SPEC")]
    synthetic: Vec<String>,
    /// Make synthetic models anew and remove them afterwards
    #[arg(long, env = "SMOLQ_NO_CACHE", value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue)]
    no_cache: bool,
    /// Read files into memory instead of mapping them
    #[arg(long, env = "SMOLQ_NO_MMAP", value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue)]
    no_mmap: bool,
    /// Keep the files' pages in memory
    #[arg(long, env = "SMOLQ_MLOCK", value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue)]
    mlock: bool,
    #[command(flatten)]
    tests: TestArgs,
    #[command(flatten)]
    settings: SettingArgs,
    /// Standard output: csv, json, jsonl, md or sql
    #[arg(
        short,
        long,
        env = "SMOLQ_OUTPUT",
        value_name = "FORMAT",
        default_value = "md",
        hide_possible_values = true
    )]
    output: Format,
    /// The same on standard error [-oe]
    #[arg(
        long,
        env = "SMOLQ_OUTPUT_ERR",
        value_name = "FORMAT",
        hide_possible_values = true
    )]
    output_err: Option<Format>,
    /// Say on standard error what is being measured
    #[arg(long, env = "SMOLQ_PROGRESS", value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue)]
    progress: bool,
    /// Measure another program in turn: a shell command that prints llama-bench's JSON
    #[arg(long, env = "SMOLQ_VERSUS", value_name = "COMMAND")]
    versus: Option<String>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Tests")]
struct TestArgs {
    /// Read N tokens; 0 is no such test
    #[arg(
        short = 'p',
        long,
        env = "SMOLQ_N_PROMPT",
        value_name = "N",
        default_value = "512"
    )]
    n_prompt: Vec<Numbers>,
    /// Generate N tokens; 0 is no such test
    #[arg(
        short,
        long,
        env = "SMOLQ_N_GEN",
        value_name = "N",
        default_value = "128"
    )]
    n_gen: Vec<Numbers>,
    /// Read PP tokens, then generate TG, in one test [-pg]
    #[arg(long, env = "SMOLQ_PG", value_name = "PP,TG")]
    pg: Vec<Pair>,
    /// Tokens held before each test
    #[arg(
        short = 'd',
        long,
        env = "SMOLQ_N_DEPTH",
        value_name = "N",
        default_value = "0"
    )]
    n_depth: Vec<Numbers>,
    /// How often each test is repeated
    #[arg(short, long, env = "SMOLQ_REPETITIONS", value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    repetitions: u32,
    /// Seconds to wait before each test, for a chip to cool down
    #[arg(long, env = "SMOLQ_DELAY", value_name = "S", default_value_t = 0)]
    delay: u32,
    /// Do not run a part of each test before it is timed
    #[arg(long, env = "SMOLQ_NO_WARMUP", value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue)]
    no_warmup: bool,
    /// Do not measure what the machine could do at best
    #[arg(long, env = "SMOLQ_NO_LIMITS", value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue)]
    no_limits: bool,
    /// Show the time by kind of step
    #[arg(long, env = "SMOLQ_PROFILE", value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue)]
    profile: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Settings; of several, each is tried")]
struct SettingArgs {
    /// Threads; 0 is one for each fast core
    #[arg(
        short,
        long,
        env = "SMOLQ_THREADS",
        value_name = "N",
        default_value = "0"
    )]
    threads: Vec<Numbers>,
    /// Tokens of a prompt handed over at once
    #[arg(
        short,
        long,
        env = "SMOLQ_BATCH_SIZE",
        value_name = "N",
        default_value = "2048"
    )]
    batch_size: Vec<Numbers>,
    /// Tokens of a prompt in one pass [-ub]
    #[arg(
        long,
        env = "SMOLQ_UBATCH_SIZE",
        value_name = "N",
        default_value = "512"
    )]
    ubatch_size: Vec<Numbers>,
    /// Store keys as f16, f32 or q8_0 [-ctk]
    #[arg(
        long,
        env = "SMOLQ_CACHE_TYPE_K",
        value_name = "TYPE",
        default_value = "f16",
        value_delimiter = ','
    )]
    cache_type_k: Vec<KvType>,
    /// Store values as f16, f32 or q8_0 [-ctv]
    #[arg(
        long,
        env = "SMOLQ_CACHE_TYPE_V",
        value_name = "TYPE",
        default_value = "f16",
        value_delimiter = ','
    )]
    cache_type_v: Vec<KvType>,
    /// Kernel levels, as smolq cpu lists them; the best by default
    #[arg(long, env = "SMOLQ_LEVEL", value_name = "LEVEL", value_delimiter = ',')]
    level: Vec<String>,
}

/// Where a model comes from.
enum Source {
    File(PathBuf),
    Synthetic(Box<Spec>),
}

/// Everything that is to be measured.
struct Plan {
    sources: Vec<Source>,
    levels: Vec<Level>,
    settings: Vec<Settings>,
    tests: Vec<Test>,
}

impl Plan {
    fn new(args: &BenchArgs) -> Result<Plan> {
        let wrong = |field, why: &str| Error::Request {
            field,
            why: why.to_owned(),
        };
        let mut sources: Vec<Source> = args.files.iter().cloned().map(Source::File).collect();
        for files in &args.model {
            sources.extend(listed(files).into_iter().map(Source::File));
        }
        for text in &args.synthetic {
            let specs = synthetic::parse(text)?.into_iter().map(Box::new);
            sources.extend(specs.map(Source::Synthetic));
        }
        if sources.is_empty() {
            let why = "which one? Give a GGUF file, or --synthetic smollm3-3b:Q4_K_M";
            return Err(wrong("model", why));
        }
        let mut levels = Vec::new();
        for name in args.settings.level.iter().filter(|name| !name.is_empty()) {
            let level = Level::named(name);
            levels.push(level.map_err(|why| wrong("--level", &why))?);
        }
        if levels.is_empty() {
            levels.push(Level::best());
        }
        let tests = args.tests.plan();
        if tests.is_empty() {
            return Err(wrong(
                "tests",
                "-p, -n and -pg are all 0: nothing to measure",
            ));
        }
        let settings = args.settings.plan(&args.tests);
        Ok(Plan {
            sources,
            levels,
            settings,
            tests,
        })
    }

    fn len(&self) -> usize {
        self.sources.len() * self.levels.len() * self.settings.len() * self.tests.len()
    }

    /// The session that takes the most memory.
    fn largest(&self) -> Option<SessionOptions> {
        let settings = self.settings.iter();
        let widest = settings.max_by_key(|s| s.cache_k.bytes(32) + s.cache_v.bytes(32))?;
        let n_ctx = |test: &Test| {
            let Test {
                n_prompt,
                n_gen,
                n_depth,
            } = *test;
            n_prompt.saturating_add(n_gen).saturating_add(n_depth)
        };
        Some(SessionOptions {
            n_ctx: self.tests.iter().map(n_ctx).max()?,
            cache_k: widest.cache_k,
            cache_v: widest.cache_v,
            n_ubatch: widest.n_ubatch.min(widest.n_batch).max(1),
            threads: widest.threads,
        })
    }

    fn test_width(&self) -> usize {
        let names = self.tests.iter().map(|test| test.to_string().len());
        names.max().unwrap_or(0)
    }

    /// Columns that need a place in every row: those that vary, and settings that are not the usual ones.
    fn varying(&self) -> Vec<Column> {
        let usual = Settings::default();
        let mut columns = Vec::new();
        if self.levels.len() > 1 {
            columns.push(Column::Backend);
        }
        let settings = &self.settings;
        if settings.iter().any(|s| s.threads != settings[0].threads) {
            columns.push(Column::Threads);
        }
        for (column, unusual) in [
            (
                Column::Batch,
                settings.iter().any(|s| s.n_batch != usual.n_batch),
            ),
            (
                Column::Ubatch,
                settings.iter().any(|s| s.n_ubatch != usual.n_ubatch),
            ),
            (
                Column::TypeK,
                settings.iter().any(|s| s.cache_k != usual.cache_k),
            ),
            (
                Column::TypeV,
                settings.iter().any(|s| s.cache_v != usual.cache_v),
            ),
        ] {
            if unusual {
                columns.push(column);
            }
        }
        columns
    }
}

/// `-m a.gguf,b.gguf`; a file whose name has a comma is one file.
fn listed(files: &Path) -> Vec<PathBuf> {
    match files.to_str() {
        Some(text) if text.contains(',') && !files.exists() => {
            text.split(',').map(PathBuf::from).collect()
        }
        _ => vec![files.to_owned()],
    }
}

fn all(lists: &[Numbers]) -> Vec<usize> {
    lists.iter().flat_map(|list| list.0.clone()).collect()
}

impl TestArgs {
    /// In llama-bench's order: by depth, then prompts, generation, both.
    fn plan(&self) -> Vec<Test> {
        let mut tests = Vec::new();
        for n_depth in all(&self.n_depth) {
            let mut add = |n_prompt, n_gen| {
                if n_prompt > 0 || n_gen > 0 {
                    tests.push(Test {
                        n_prompt,
                        n_gen,
                        n_depth,
                    });
                }
            };
            all(&self.n_prompt).into_iter().for_each(|n| add(n, 0));
            all(&self.n_gen).into_iter().for_each(|n| add(0, n));
            self.pg.iter().for_each(|pair| add(pair.0, pair.1));
        }
        tests
    }
}

impl SettingArgs {
    fn plan(&self, tests: &TestArgs) -> Vec<Settings> {
        let mut settings = Vec::new();
        for n_batch in all(&self.batch_size) {
            for n_ubatch in all(&self.ubatch_size) {
                for &cache_k in &self.cache_type_k {
                    for &cache_v in &self.cache_type_v {
                        for threads in all(&self.threads) {
                            settings.push(Settings {
                                n_batch,
                                n_ubatch,
                                cache_k,
                                cache_v,
                                threads,
                                repetitions: tests.repetitions as usize,
                                warmup: !tests.no_warmup,
                                limits: !tests.no_limits,
                                profile: tests.profile,
                            });
                        }
                    }
                }
            }
        }
        settings
    }
}

pub(super) fn run(args: &BenchArgs) -> Result<()> {
    let plan = Plan::new(args)?;
    let versus = args.versus.clone().map(|command| Versus { command });
    interrupt::catch();
    let mut run = Run::new(args, &plan, versus);
    // What was measured is printed to its end, whatever came next.
    let result = run.measure(args, &plan);
    let ended = run.end();
    result.and(ended)
}

/// A bench under way.
struct Run {
    versus: Option<Versus>,
    sensors: Sensors,
    out: Printer,
    err: Option<Printer>,
    bar: ProgressBar,
    aloud: bool,
    done: usize,
    total: usize,
}

impl Run {
    fn new(args: &BenchArgs, plan: &Plan, versus: Option<Versus>) -> Run {
        let sensors = Sensors::here();
        let outlook = |width| Outlook {
            varying: plan.varying(),
            test_width: plan.test_width(),
            versus: versus.is_some(),
            limits: !args.tests.no_limits,
            sensors: !sensors.is_empty(),
            width,
        };
        let total = plan.len();
        let bar = load::progress(Some((total * args.tests.repetitions as usize) as u64), "");
        // A bar and a table on one screen would write over each other.
        if args.output_err.is_some() {
            bar.set_draw_target(indicatif::ProgressDrawTarget::hidden());
        }
        Run {
            out: Printer::new(args.output, outlook(width(&console::Term::stdout()))),
            err: args
                .output_err
                .map(|format| Printer::new(format, outlook(width(&console::Term::stderr())))),
            bar,
            aloud: args.progress,
            done: 0,
            total,
            versus,
            sensors,
        }
    }

    fn measure(&mut self, args: &BenchArgs, plan: &Plan) -> Result<()> {
        for source in &plan.sources {
            let made = self.made(args, source)?;
            let path = match (source, &made) {
                (Source::File(path), _) => path.as_path(),
                (Source::Synthetic(_), Some(made)) => made.path(),
                (Source::Synthetic(_), None) => return self.interrupted(),
            };
            for &level in &plan.levels {
                if INTERRUPTED.load(Ordering::Relaxed) {
                    return self.interrupted();
                }
                let options = LoadOptions {
                    open: OpenOptions {
                        mmap: !args.no_mmap,
                        mlock: args.mlock,
                    },
                    level: Some(level),
                    ..LoadOptions::default()
                };
                self.bar.set_message("loading");
                let before = Memory::here();
                let subject = Subject::load(path, &options)?;
                if let Some(most) = plan.largest() {
                    self.bar
                        .suspend(|| load::warn_unless_fits(subject.model(), &most, 1, before));
                }
                self.subject(&subject, args, plan)?;
            }
        }
        Ok(())
    }

    /// The file of a synthetic model; `None` for other models, and if it was stopped before.
    fn made(&self, args: &BenchArgs, source: &Source) -> Result<Option<Made>> {
        let Source::Synthetic(spec) = source else {
            return Ok(None);
        };
        if INTERRUPTED.load(Ordering::Relaxed) {
            return Ok(None);
        }
        self.say(&format!("making {} {}", spec.entry.name, spec.quantization));
        let folder = synthetic::folder()?;
        let made = if args.no_cache {
            spec.temporary(&folder)
        } else {
            spec.cached(&folder)
        };
        made.map(Some)
    }

    /// All tests of a model.
    fn subject(&mut self, subject: &Subject, args: &BenchArgs, plan: &Plan) -> Result<()> {
        for warning in subject.model().warnings() {
            self.bar.suspend(|| {
                note(&format!("smolq: warning: {}", super::one_line(warning)));
            });
        }
        let mut all_known: Vec<(usize, Known)> = Vec::new();
        for settings in &plan.settings {
            for &test in &plan.tests {
                wait(Duration::from_secs(args.tests.delay.into()));
                let outcome = if INTERRUPTED.load(Ordering::Relaxed) {
                    None
                } else {
                    let known = all_known.iter().find(|known| known.0 == settings.threads);
                    let known = known.map(|known| known.1).unwrap_or_default();
                    self.test(subject, settings, known, test)?
                };
                let Some(outcome) = outcome else {
                    return self.interrupted();
                };
                self.result(subject, settings, &outcome)?;
                all_known.retain(|known| known.0 != settings.threads);
                all_known.push((settings.threads, outcome.known()));
                if outcome.samples.len() < settings.repetitions {
                    return self.interrupted();
                }
                self.done += 1;
            }
        }
        Ok(())
    }

    fn test(
        &mut self,
        subject: &Subject,
        settings: &Settings,
        known: Known,
        test: Test,
    ) -> Result<Option<Outcome>> {
        let bench = Bench {
            subject,
            settings: settings.clone(),
            versus: self.versus.as_ref(),
            sensors: &self.sensors,
            known,
            stop: INTERRUPTED,
        };
        let before = self.done * settings.repetitions;
        bench.run(test, &mut |event| {
            let (what, repetition) = match event {
                Event::Warmup => ("warm-up".to_owned(), 0),
                Event::Limits => ("limits".to_owned(), 0),
                Event::Run(i) => (format!("run {}/{}", i + 1, settings.repetitions), i),
                Event::Versus(i) => ("the other program".to_owned(), i),
            };
            if !matches!(event, Event::Limits) {
                self.bar.set_position((before + repetition) as u64);
            }
            self.say(&format!("{test}: {what}"));
        })
    }

    /// Tells a person what is going on.
    fn say(&self, what: &str) {
        self.bar.set_message(what.to_owned());
        if self.aloud {
            let text = format!("smolq bench: test {}/{}: {what}", self.done + 1, self.total);
            self.bar.suspend(|| note(&text));
        }
    }

    fn result(&mut self, subject: &Subject, settings: &Settings, outcome: &Outcome) -> Result<()> {
        let fields = record(subject, settings, outcome);
        let result = print::Result {
            subject,
            settings,
            outcome,
            fields: &fields,
        };
        let out = self.out.result(&result);
        let err = self.err.as_mut().map(|printer| printer.result(&result));
        self.bar.suspend(|| emit(&out, err.as_deref()))
    }

    fn end(&mut self) -> Result<()> {
        self.bar.finish_and_clear();
        let err = self.err.as_mut().map(Printer::end);
        emit(&self.out.end(), err.as_deref())
    }

    fn interrupted(&self) -> Result<()> {
        let (done, total) = (self.done, self.total);
        Err(Error::Interrupted(format!(
            "interrupted after {done} of {total} tests"
        )))
    }
}

/// Writes to stdout and, if there is something, to stderr.
fn emit(out: &str, err: Option<&str>) -> Result<()> {
    print_out(out.as_bytes())?;
    if let Some(err) = err {
        // That nobody reads it is no error.
        drop(std::io::stderr().write_all(err.as_bytes()));
    }
    Ok(())
}

/// Characters in a line: what `COLUMNS` says, else the terminal.
fn width(term: &console::Term) -> Option<usize> {
    let columns = std::env::var("COLUMNS").ok().and_then(|c| c.parse().ok());
    let size = || Some(usize::from(term.size_checked()?.1));
    columns.or_else(|| term.is_term().then(size)?)
}

/// Waits, but not longer than until Ctrl-C.
fn wait(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time && !INTERRUPTED.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(50).min(time));
    }
}
