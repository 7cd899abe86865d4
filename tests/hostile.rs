//! Chat templates as strangers might write them: each ends with one line that says why, soon, and in little memory.
#![cfg(unix)]

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use wait4::Wait4;

/// Memory that a rendering may take at its peak, program and all.
const MOST_MEMORY: u64 = 64 << 20;
/// Time that a rendering may take, on a busy machine too. It takes milliseconds, or a second where all steps go into walks through large
/// values.
const MOST_TIME: Duration = Duration::from_secs(60);

fn cases() -> Vec<(&'static str, String)> {
    let expression = |text: String| format!("{{{{ {text} }}}}");
    let repeated = |part: &str, n: usize| expression(format!("{}1", part.repeat(n)));
    // Two values, `a` and `b`, that are made of themselves (`@`) again and again.
    let made = |times: usize, first: &str, step: &str, end: &str| {
        let steps = format!("{{% set @ = {step} %}}").repeat(times);
        let value = format!("{{% set @ = {first} %}}{steps}");
        value.replace('@', "a") + &value.replace('@', "b") + end
    };
    let shared = |end: &str| made(60, "[1]", "[@, @]", end);
    let equal = "{{ a == b }}";
    let map = |names: usize| -> String { (0..names).map(|i| format!("'k{i}':1,")).collect() };
    let of_maps = |names: usize| {
        format!(
            "{{% for i in range(99999) %}}{{% set ns = namespace({{{}}}) %}}{{% endfor %}}",
            map(names)
        )
    };
    vec![
        ("loops in loops", "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}".into()),
        ("three loops", "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{% endfor %}{% endfor %}{% endfor %}".into()),
        ("a text that doubles", "{% set ns = namespace(a='xxxxxxxxxxxxxxxx') %}{% for i in range(60) %}{% set ns.a = ns.a ~ ns.a %}{% endfor %}".into()),
        ("a text that doubles by replacement", "{% set ns = namespace(a='xx') %}{% for i in range(60) %}{% set ns.a = ns.a.replace('x', 'xx') %}{% endfor %}".into()),
        ("a text that doubles by joining", "{% set ns = namespace(a='xx') %}{% for i in range(60) %}{% set ns.a = [ns.a, ns.a] | join %}{% endfor %}".into()),
        ("a list that doubles", "{% set ns = namespace(a=[1]) %}{% for i in range(60) %}{% set ns.a = ns.a + ns.a %}{% endfor %}{{ ns.a | length }}".into()),
        ("a tree that doubles", "{% set ns = namespace(a=[1]) %}{% for i in range(60) %}{% set ns.a = [ns.a, ns.a] %}{% endfor %}{{ ns.a | tojson }}".into()),
        ("a tree that doubles, printed", "{% set ns = namespace(a={}) %}{% for i in range(60) %}{% set ns.a = {'a': ns.a, 'b': ns.a} %}{% endfor %}{{ ns.a }}".into()),
        ("a repeated text", "{{ 'x' * 900000000 }}".into()),
        ("a repeated list", "{{ [0] * 900000000 }}".into()),
        ("a repeated list, counted", "{{ ([0] * 900000000) | length }}".into()),
        ("a long range", "{{ range(1000000000000) | list }}".into()),
        ("a long range, added up", "{{ range(1000000000) | sum }}".into()),
        ("a macro that calls itself", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}".into()),
        ("macros that call each other", "{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}".into()),
        ("a recursive loop", "{% for x in messages recursive %}{{ loop(messages) }}{% endfor %}".into()),
        ("a namespace in itself", "{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}{{ ns | tojson }}{{ ns.a.a.a | string }}{{ raise_exception('end') }}".into()),
        ("a namespace in a list in itself, compared", "{% set ns = namespace() %}{% set ns.a = [[ns]] %}{{ ns == ns.a[0][0] }}{{ ns ~ ns }}{{ raise_exception('end') }}".into()),
        ("a list in a list in a list", "{% set ns = namespace(a=[]) %}{% for i in range(100000) %}{% set ns.a = [ns.a] %}{% endfor %}{{ ns.a ~ '' }}".into()),
        ("a namespace of numbers", "{% set ns = namespace(range(99999)) %}".into()),
        ("namespaces of numbers", "{% for i in range(99999) %}{% set ns = namespace(range(20000)) %}{% endfor %}".into()),
        ("namespaces of large maps", of_maps(5000)),
        ("namespaces of maps", of_maps(900)),
        ("a power", "{{ 10 ** 1000000000 }}".into()),
        ("a division by zero", "{{ 1 // 0 }}".into()),
        ("a wide indent", "{{ messages | tojson(indent=1000000000) }}{{ raise_exception('end') }}".into()),
        ("a wide indent of text", "{{ 'a\nb' | indent(1000000000) }}".into()),
        ("a wide number", "{{ '%1000000000d' | format(1) }}".into()),
        ("a wide date", "{{ strftime_now('%1000000000d') }}".into()),
        ("a batch", "{{ [1] | batch(1000000000, 'x') | list }}".into()),
        ("Python's classes", "{{ ''.__class__.__mro__[1].__subclasses__() }}".into()),
        ("Python's globals", "{{ raise_exception.__globals__['os'].system('id') }}".into()),
        ("Python's format", "{{ '{0.__class__.__init__.__globals__}'.format(messages).nothing.at_all }}".into()),
        ("another file", "{% include '/etc/passwd' %}".into()),
        ("another module", "{% import 'os' as os %}{{ os.system('id') }}".into()),
        ("a parent", "{% extends '/etc/passwd' %}".into()),
        ("an unknown filter", "{{ messages | attr_of_nothing }}".into()),
        ("an unknown function", "{{ cycler('a') }}".into()),
        ("an unknown tag", "{% debug_all %}".into()),
        ("no end of a tag", "{% if true".into()),
        ("no end of a block", "{% for m in messages %}{{ m }}".into()),
        ("no end of a text", "{{ 'abc }}".into()),
        ("an end without a beginning", "{% endfor %}".into()),
        ("nothing to loop over", "{% for x in %}{% endfor %}".into()),
        ("a refusal", "a\n{{ raise_exception('only users\nmay speak') }}".into()),
        ("parentheses", repeated("(", 60_000)),
        ("brackets", repeated("[", 60_000)),
        ("braces", "{".repeat(60_000)),
        ("minus signs", repeated("-", 60_000) + "{% end %}"),
        ("100,000 times not", repeated("not ", 100_000)),
        ("100,000 attributes", expression(format!("a{}", ".b".repeat(100_000)))),
        ("100,000 elifs", format!("{{% if a %}}{}{{% endif %}}", "{% elif a %}".repeat(100_000))),
        ("attributes of nothing", expression(format!("a{}", ".b".repeat(30_000)))),
        ("blocks in blocks", "{% if true %}".repeat(4_000)),
        ("filters of filters", expression(format!("1{}", "|nothing".repeat(7_000)))),
        ("control characters", "{{ \u{0}\u{7}\u{1b}[31m }}".into()),
        ("lists that hold themselves twice, compared", shared(equal)),
        ("lists that hold themselves twice, looked for", shared("{{ a in [b] }}")),
        ("lists that hold themselves twice, sorted", shared("{{ [a, b] | sort }}")),
        ("lists that hold themselves twice, printed prettily", shared("{{ a | pprint }}")),
        ("lists that hold themselves twice, in a text", shared("{{ a ~ '' }}")),
        ("lists that hold themselves twice, in a chain", shared("{{ 1 < 2 < a == b }}")),
        ("maps that hold themselves twice", made(60, "{'x': 1}", "{'x': @, 'y': @}", equal)),
        ("tuples that hold themselves twice", made(60, "(1, 1)", "(@, @)", "{{ a < b }}")),
        ("dicts of dicts", made(60, "{'x': 1}", "dict(x=@, y=@)", equal)),
        ("a list repeated, in a list, repeated", made(60, "[1]", "[@] * 2", equal)),
        ("batches filled up with the list", made(60, "[1]", "@ | batch(2, @) | list", equal)),
        ("slices filled up with the list", made(60, "[1]", "@ | slice(2, @) | list", equal)),
        ("groups named by the list", made(60, "[1]", "@ | groupby('x', default=@) | list", equal)),
        ("attributes that are the list by default", made(60, "[1, 2]", "@ | map(attribute='x', default=@) | list", equal)),
        ("sums of lists", made(60, "[1]", "[@, @] | sum(start=[]) | list", equal)),
        ("arguments that hold themselves twice", "{% macro f(a, b, n) %}{% if n > 0 %}{{ f([a, a], [b, b], n - 1) }}{% else %}{{ a == b }}{% endif %}{% endmacro %}{{ f([1], [1], 60) }}".into()),
        ("large lists, compared again and again", made(14, "[1]", "[@, @]", "{% for i in range(99999) %}{% if a == b %}{% endif %}{% endfor %}")),
        ("large lists, tested again and again", made(14, "[1]", "[@, @]", "{% for i in range(99999) %}{% if a is ge(b) %}{% endif %}{% endfor %}")),
        ("large lists, kept again and again", made(14, "[1]", "[@, @]", "{% set ns = namespace() %}{% for i in range(99999) %}{% set ns.x = a %}{% endfor %}")),
        ("views of views", "{% set ns = namespace(a=[1]) %}{% for i in range(99999) %}{% set ns.a = ns.a[:] %}{% endfor %}{% for i in range(99999) %}{% set ns.a = ns.a[::-1] %}{% endfor %}{{ raise_exception('end') }}".into()),
        ("namespaces that grow in lists", "{% set p = namespace() %}{% set q = namespace() %}{% set n = 20000 %}{% set a = [p] * n %}{% set b = [q] * n %}{% set p.x = range(60000) | list %}{% set q.x = range(60000) | list %}{{ a == b }}{{ raise_exception('end') }}".into()),
        ("loops in a list", "{% for x in [[1], [2]] %}{{ [loop, loop] == [loop] }}{% endfor %}".into()),
        ("a list as a key", "{% set a = [1] %}{{ {a: 1} }}".into()),
        ("a large list, looked for in a map again and again", made(14, "[1]", "[@, @]", "{% set m = {'x': 1, 'y': 2} %}{% for i in range(99999) %}{{ m[a] }}{% endfor %}")),
        ("a large list, asked of a map again and again", made(14, "[1]", "[@, @]", "{% set m = {'x': 1, 'y': 2} %}{% for i in range(99999) %}{{ m.get(a) }}{% endfor %}")),
        ("a constant list, repeated and compared", "{{ [0] * 90000000 == [0] * 90000000 }}".into()),
        ("a constant list, repeated and in a text", "{{ ([0] * 90000000) ~ '' }}".into()),
        ("a long text many times in a list", "{% set s = 'x' * 900000 %}{{ ''.join([s, s, s, s, s, s, s, s]) }}".into()),
        ("a long text in pieces", "{{ ('x' * 900000).split('x') | length }}{{ ('x' * 900000).split('x') | length }}".into()),
        ("a wide field", "{{ '{:1000000000}'.format(1) }}".into()),
        ("a long text in many fields", "{% set s = 'x' * 900000 %}{{ ('{0}' * 100000).format(s) }}".into()),
        ("a list sorted by many attributes", format!("{{{{ range(30000) | list | sort(attribute='{}a') }}}}", "a,".repeat(20_000))),
    ]
}

/// Templates that make much of a long message.
fn cases_of_a_long_message() -> Vec<(&'static str, String)> {
    let content = "{{ messages[0].content }}";
    let again = format!("{{% for i in range(99999) %}}{content}{{% endfor %}}");
    let raw = format!(
        "{{% for i in range(99999) %}}{}{{% endfor %}}",
        "x".repeat(60_000)
    );
    vec![
        ("a long message, again and again", again.clone()),
        (
            "a long message, again and again in a block",
            format!("{{% set text %}}{again}{{% endset %}}{{{{ text | length }}}}"),
        ),
        (
            "a long message, again and again in a macro",
            format!("{{% macro f() %}}{again}{{% endmacro %}}{{{{ f() | length }}}}"),
        ),
        (
            "a long message, again and again in a filter",
            format!("{{% filter upper %}}{again}{{% endfilter %}}"),
        ),
        ("a long text beside a long message", raw),
    ]
}

#[test]
fn hostile_templates_end_in_one_line_soon_and_in_little_memory() {
    let folder = std::env::temp_dir().join(format!("smolq-hostile-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let template = folder.join("t.jinja");
    let saying = |name: &str, content: &str| {
        let path = folder.join(name);
        let text = format!(r#"[{{"role": "user", "content": "{content}"}}]"#);
        std::fs::write(&path, text).unwrap();
        path
    };
    let short = saying("m.json", "Hello");
    let long = saying("long.json", &"word ".repeat(80_000));
    let mut wrong = Vec::new();
    let cases = cases().into_iter().map(|case| (case, &short));
    let of_long = cases_of_a_long_message().into_iter();
    let cases: Vec<_> = cases.chain(of_long.map(|case| (case, &long))).collect();
    assert!(cases.len() >= 93);
    for ((name, text), messages) in &cases {
        std::fs::write(&template, text).unwrap();
        let start = Instant::now();
        let mut command = Command::new(env!("CARGO_BIN_EXE_smolq"));
        command
            .arg("template")
            .arg("--template")
            .arg(&template)
            .arg("--messages")
            .arg(messages);
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut pipe = child.stderr.take().unwrap();
        let (said, heard) = mpsc::channel();
        std::thread::spawn(move || {
            let mut text = String::new();
            let read = pipe.read_to_string(&mut text);
            let _ = said.send(read.map(|_| text));
        });
        // Who does not end is ended: a test that waits for ever tells nobody which template it was.
        let errors = match heard.recv_timeout(MOST_TIME) {
            Ok(read) => read.unwrap(),
            Err(_) => {
                child.kill().unwrap();
                format!("it goes on after {MOST_TIME:?}")
            }
        };
        let ended = child.wait4().unwrap();
        let short: String = errors.chars().take(160).collect();
        println!(
            "{:6} ms {:4} MiB  {name}: {}",
            start.elapsed().as_millis(),
            ended.rusage.maxrss >> 20,
            short.trim_end()
        );
        let sound = ended.status.code() == Some(1)
            && errors.starts_with("smolq: error: chat template: ")
            && errors.lines().count() == 1
            && ended.rusage.maxrss < MOST_MEMORY;
        if !sound {
            wrong.push(format!(
                "{name}: {:?}, signal {:?}, {} MiB, {short}",
                ended.status.code(),
                ended.status.signal(),
                ended.rusage.maxrss >> 20
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
