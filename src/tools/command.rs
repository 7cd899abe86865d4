//! Tools from a file: commands that it describes, and MCP servers to start. No shell comes near what a model writes: each argument becomes
//! (a part of) one element of the program's argument list.
//!
//! ```json
//! {"tools": [{"name": "weather", "description": "Get the weather",
//!             "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
//!             "command": ["./weather.py", "--city={city}"]}],
//!  "mcpServers": {"files": {"command": "npx", "args": ["-y", "some-server"]}}}
//! ```

use super::process::{self, End, Limits};
use super::{Declaration, Tool, ToolResult, mistake, one_line, sound_name};
use crate::error::{Error, Result};
use serde_json::{Map, Value as Json, json};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Larger files are no lists of tools.
const MAX_FILE: u64 = 4 << 20;
/// The longest time that a call or a start may be given.
const MAX_SECONDS: f64 = 86_400.0;
/// The most output that a call may be given.
const MAX_OUTPUT: u64 = 16 << 20;

/// What a file holds.
#[derive(Debug)]
pub(super) struct Spec {
    pub(super) tools: Vec<CommandTool>,
    pub(super) servers: Vec<Server>,
}

/// An MCP server that is to be started.
#[derive(Clone, Debug)]
#[cfg_attr(
    not(feature = "mcp"),
    allow(dead_code, reason = "read all the same, so that mistakes are seen")
)]
pub(super) struct Server {
    /// The file that names it.
    pub(super) file: PathBuf,
    pub(super) name: String,
    pub(super) program: Program,
    pub(super) args: Vec<String>,
    /// For a call.
    pub(super) timeout: Duration,
    /// From its start to its list of tools.
    pub(super) startup: Duration,
}

/// A program as a file names it.
#[derive(Clone, Debug)]
pub(super) struct Program {
    name: String,
    env: Vec<(String, String)>,
    cwd: Option<PathBuf>,
}

impl Program {
    /// The command, without its arguments.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.name);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        if let Some(folder) = &self.cwd {
            command.current_dir(folder);
        }
        command
    }

    /// Why it did not start, as the rest of a sentence that begins with what it was for.
    pub(super) fn unstarted(&self, e: &std::io::Error) -> String {
        match &self.cwd {
            Some(folder) if !folder.is_dir() => {
                format!(
                    "could not be started: there is no folder {}",
                    folder.display()
                )
            }
            _ if e.kind() == std::io::ErrorKind::NotFound => {
                format!(
                    "could not be started: there is no program \"{}\"",
                    one_line(&self.name)
                )
            }
            _ => format!("could not be started: {}: {e}", one_line(&self.name)),
        }
    }
}

/// Reads a file of tools.
pub(super) fn read(path: &Path) -> Result<Spec> {
    let io = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    // Whoever mistypes one of our own words should learn of them.
    if !path.exists() {
        return Err(mistake(format!(
            "{}: there is no such file, and of this program there are builtin, shell, get_time, calculator, list_files and read_file",
            one_line(&path.to_string_lossy())
        )));
    }
    if fs::metadata(path).map_err(io)?.is_dir() {
        return Err(mistake(format!(
            "{}: is a folder: name a file of tools, or the folder with --tools-dir",
            path.display()
        )));
    }
    let mut text = Vec::new();
    let file = File::open(path).map_err(io)?;
    file.take(MAX_FILE + 1).read_to_end(&mut text).map_err(io)?;
    if text.len() as u64 > MAX_FILE {
        return Err(mistake(format!(
            "{}: has more than {} MiB: it is no file of tools",
            path.display(),
            MAX_FILE >> 20
        )));
    }
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
    let json = serde_json::from_slice(text)
        .map_err(|e| mistake(format!("{}: it is not JSON: {e}", path.display())))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    Reader { file: path, folder }.file(json)
}

/// Reads values, and knows where they stand.
struct Reader<'a> {
    file: &'a Path,
    folder: &'a Path,
}

impl Reader<'_> {
    fn wrong(&self, place: &str, why: impl std::fmt::Display) -> Error {
        let place = if place.is_empty() {
            String::new()
        } else {
            format!("{}: ", one_line(place))
        };
        mistake(format!("{}: {place}{why}", self.file.display()))
    }

    fn file(&self, json: Json) -> Result<Spec> {
        let mut fields = match json {
            Json::Array(_) => Map::from_iter([("tools".to_owned(), json)]),
            Json::Object(fields) => fields,
            _ => {
                return Err(self.wrong(
                    "",
                    "it is neither a list of tools nor an object that holds one",
                ));
            }
        };
        let mut tools = Vec::new();
        match fields.remove("tools") {
            None => {}
            Some(Json::Array(list)) => {
                for (index, tool) in list.into_iter().enumerate() {
                    tools.push(self.tool(index, tool)?);
                }
            }
            Some(_) => return Err(self.wrong("", "\"tools\" is not a list")),
        }
        let mut servers = Vec::new();
        // VS Code says "servers".
        for key in ["mcpServers", "servers"] {
            match fields.remove(key) {
                None => {}
                Some(Json::Object(list)) => {
                    for (name, server) in list {
                        servers.push(self.server(name, server)?);
                    }
                }
                Some(_) => return Err(self.wrong("", format!("\"{key}\" is not an object"))),
            }
        }
        self.no_more(&fields, "", "tools and mcpServers")?;
        if tools.is_empty() && servers.is_empty() {
            return Err(self.wrong("", "it holds neither tools nor MCP servers"));
        }
        Ok(Spec { tools, servers })
    }

    fn tool(&self, index: usize, json: Json) -> Result<CommandTool> {
        let mut place = format!("tool {}", index + 1);
        let mut fields = self.object(&place, json)?;
        let name = self
            .string(&place, &mut fields, "name")?
            .ok_or_else(|| self.wrong(&place, "\"name\" is missing"))?;
        place = format!("{place} (\"{name}\")");
        if !sound_name(&name) {
            return Err(self.wrong(
                &place,
                "names are 1 to 64 letters, digits, \"_\", \"-\" and \".\"",
            ));
        }
        let description = self
            .string(&place, &mut fields, "description")?
            .unwrap_or_default();
        let parameters = match fields.remove("parameters") {
            None => json!({"type": "object", "properties": {}}),
            Some(schema @ Json::Object(_)) => schema,
            Some(_) => {
                return Err(self.wrong(&place, "\"parameters\" is not a JSON schema (an object)"));
            }
        };
        if parameters.get("type").is_some_and(|kind| kind != "object") {
            return Err(self.wrong(&place, "\"parameters\" is not a schema of type \"object\""));
        }
        let known = match parameters.get("properties") {
            None => Map::new(),
            Some(Json::Object(known)) => known.clone(),
            Some(_) => {
                return Err(self.wrong(&place, "\"properties\" in \"parameters\" is not an object"));
            }
        };
        let argv = self
            .strings(&place, &mut fields, "command")?
            .ok_or_else(|| {
                self.wrong(
                    &place,
                    "\"command\" is missing: a list of the program and its arguments",
                )
            })?;
        let Some((program, args)) = argv
            .split_first()
            .filter(|(program, _)| !program.is_empty())
        else {
            return Err(self.wrong(&place, "\"command\" names no program"));
        };
        let patterns = args
            .iter()
            .map(|arg| pattern(arg, &known).map_err(|why| self.wrong(&place, why)))
            .collect::<Result<_>>()?;
        // What a model writes must not choose the program.
        if pattern(program, &known).is_ok_and(|pieces| {
            pieces
                .iter()
                .any(|piece| matches!(piece, Piece::Argument(_)))
        }) {
            return Err(self.wrong(&place, "the program itself cannot be an argument"));
        }
        let stdin = match self.string(&place, &mut fields, "stdin")?.as_deref() {
            None | Some("none") => false,
            Some("json") => true,
            Some(_) => return Err(self.wrong(&place, "\"stdin\" is neither \"json\" nor \"none\"")),
        };
        let timeout = self.seconds(&place, &mut fields, "timeout", 30.0)?;
        let max_output = match fields.remove("max_output") {
            None => 64 << 10,
            Some(n) => match n.as_u64().filter(|n| (1..=MAX_OUTPUT).contains(n)) {
                Some(n) => n as usize,
                None => {
                    let why =
                        format!("\"max_output\" is not a number of bytes from 1 to {MAX_OUTPUT}");
                    return Err(self.wrong(&place, why));
                }
            },
        };
        let harmless = match fields.remove("harmless") {
            None => false,
            Some(Json::Bool(harmless)) => harmless,
            Some(_) => return Err(self.wrong(&place, "\"harmless\" is neither true nor false")),
        };
        let program = self.program(&place, &mut fields, program)?;
        self.no_more(
            &fields,
            &place,
            "name, description, parameters, command, stdin, timeout, max_output, harmless, cwd and env",
        )?;
        Ok(CommandTool {
            declaration: Declaration {
                name,
                description,
                parameters,
                harmless,
            },
            program,
            patterns,
            stdin,
            limits: Limits {
                timeout,
                max_output,
            },
        })
    }

    fn server(&self, name: String, json: Json) -> Result<Server> {
        let place = format!("MCP server \"{name}\"");
        let mut fields = self.object(&place, json)?;
        let kind = self.string(&place, &mut fields, "type")?;
        if fields.contains_key("url") || kind.is_some_and(|kind| kind != "stdio") {
            return Err(self.wrong(
                &place,
                "only servers that are started here (type \"stdio\") can be used",
            ));
        }
        let program = self
            .string(&place, &mut fields, "command")?
            .filter(|program| !program.is_empty())
            .ok_or_else(|| self.wrong(&place, "\"command\" is missing: the program to start"))?;
        let args = self
            .strings(&place, &mut fields, "args")?
            .unwrap_or_default();
        let timeout = self.seconds(&place, &mut fields, "timeout", 60.0)?;
        let startup = self.seconds(&place, &mut fields, "startup_timeout", 10.0)?;
        let program = self.program(&place, &mut fields, &program)?;
        self.no_more(
            &fields,
            &place,
            "command, args, env, cwd, type, timeout and startup_timeout",
        )?;
        Ok(Server {
            file: self.file.to_owned(),
            name,
            program,
            args,
            timeout,
            startup,
        })
    }

    /// A program with a path, and its folder, are looked for from the file on, so that a folder of tools can be moved.
    fn program(&self, place: &str, fields: &mut Map<String, Json>, name: &str) -> Result<Program> {
        let env = match fields.remove("env") {
            None => Vec::new(),
            Some(Json::Object(entries)) => entries
                .into_iter()
                .map(|(name, value)| match value {
                    Json::String(value) if !name.is_empty() && !name.contains(['=', '\0']) => {
                        Ok((name, value))
                    }
                    _ => Err(self.wrong(
                        place,
                        format!("\"{name}\" in \"env\" is not a name with a text"),
                    )),
                })
                .collect::<Result<_>>()?,
            Some(_) => return Err(self.wrong(place, "\"env\" is not an object of texts")),
        };
        let cwd = self
            .string(place, fields, "cwd")?
            .map(|cwd| self.folder.join(cwd));
        let name = if name.contains('/') {
            // A path that stayed relative would begin in `cwd`.
            let path = std::path::absolute(self.folder.join(name));
            path.ok()
                .and_then(|path| path.into_os_string().into_string().ok())
                .ok_or_else(|| self.wrong(place, "its program has no path that is UTF-8"))?
        } else {
            name.to_owned()
        };
        Ok(Program { name, env, cwd })
    }

    fn object(&self, place: &str, json: Json) -> Result<Map<String, Json>> {
        match json {
            Json::Object(fields) => Ok(fields),
            _ => Err(self.wrong(place, "it is not an object")),
        }
    }

    fn string(
        &self,
        place: &str,
        fields: &mut Map<String, Json>,
        name: &str,
    ) -> Result<Option<String>> {
        match fields.remove(name) {
            None => Ok(None),
            Some(Json::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(place, format!("\"{name}\" is not a text"))),
        }
    }

    fn strings(
        &self,
        place: &str,
        fields: &mut Map<String, Json>,
        name: &str,
    ) -> Result<Option<Vec<String>>> {
        let wrong = || self.wrong(place, format!("\"{name}\" is not a list of texts"));
        match fields.remove(name) {
            None => Ok(None),
            Some(Json::Array(items)) => items
                .into_iter()
                .map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong))
                .collect::<Result<_>>()
                .map(Some),
            Some(_) => Err(wrong()),
        }
    }

    fn seconds(
        &self,
        place: &str,
        fields: &mut Map<String, Json>,
        name: &str,
        otherwise: f64,
    ) -> Result<Duration> {
        let seconds = match fields.remove(name) {
            None => Some(otherwise),
            Some(n) => n.as_f64().filter(|&n| n > 0.0 && n <= MAX_SECONDS),
        };
        seconds.map(Duration::from_secs_f64).ok_or_else(|| {
            self.wrong(
                place,
                format!("\"{name}\" is not a number of seconds, above 0 and at most {MAX_SECONDS}"),
            )
        })
    }

    fn no_more(&self, fields: &Map<String, Json>, place: &str, known: &str) -> Result<()> {
        match fields.keys().next() {
            None => Ok(()),
            Some(field) => Err(self.wrong(
                place,
                format!("unknown field \"{}\": known are {known}", one_line(field)),
            )),
        }
    }
}

/// A part of an element of the argument list.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Argument(String),
}

/// Takes `{name}` apart from text. `{{name}}` is the text `{name}`; braces around anything else are text.
fn pattern(element: &str, known: &Map<String, Json>) -> std::result::Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut rest = element;
    while let Some(at) = rest.find('{') {
        text += &rest[..at];
        rest = &rest[at..];
        let doubled = rest.starts_with("{{");
        let inside = &rest[1 + usize::from(doubled)..];
        let end = inside
            .find(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | '-' | '.'))
            .unwrap_or(inside.len());
        let (name, after) = inside.split_at(end);
        if !name.is_empty() && doubled && after.starts_with("}}") {
            text += &format!("{{{name}}}");
            rest = &after[2..];
        } else if !name.is_empty() && !doubled && after.starts_with('}') {
            if !known.contains_key(name) {
                return Err(format!(
                    "{{{name}}} in \"command\" is no parameter: name it in \"properties\", or write {{{{{name}}}}} for the text"
                ));
            }
            if !text.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut text)));
            }
            pieces.push(Piece::Argument(name.to_owned()));
            rest = &after[1..];
        } else {
            text.push('{');
            rest = &rest[1..];
        }
    }
    text += rest;
    if !text.is_empty() || pieces.is_empty() {
        pieces.push(Piece::Text(text));
    }
    Ok(pieces)
}

/// A command that a file describes.
#[derive(Debug)]
pub(super) struct CommandTool {
    declaration: Declaration,
    program: Program,
    /// The arguments.
    patterns: Vec<Vec<Piece>>,
    stdin: bool,
    limits: Limits,
}

impl CommandTool {
    /// The program's arguments. An element with an argument that is not there is left out.
    fn args(&self, arguments: &Map<String, Json>) -> Vec<String> {
        let element = |pieces: &Vec<Piece>| {
            let parts = pieces.iter().map(|piece| match piece {
                Piece::Text(text) => Some(text.clone()),
                Piece::Argument(name) => match arguments.get(name)? {
                    Json::String(text) => Some(text.clone()),
                    other => Some(other.to_string()),
                },
            });
            parts.collect::<Option<String>>()
        };
        self.patterns.iter().filter_map(element).collect()
    }
}

impl Tool for CommandTool {
    fn declaration(&self) -> &Declaration {
        &self.declaration
    }

    /// All that is run, quoted as a shell would want it.
    fn preview(&self, arguments: &Map<String, Json>) -> String {
        let mut line = format!("{}: {}", self.declaration.name, quoted(&self.program.name));
        for arg in self.args(arguments) {
            line.push(' ');
            line += &quoted(&arg);
        }
        if self.stdin {
            line += &format!(
                " <<< {}",
                quoted(&Json::from(arguments.clone()).to_string())
            );
        }
        line
    }

    fn call(&mut self, arguments: &Map<String, Json>, cancel: &AtomicBool) -> ToolResult {
        let name = &self.declaration.name;
        let mut command = self.program.command();
        command.args(self.args(arguments));
        let mut input = Vec::new();
        if self.stdin {
            input = Json::from(arguments.clone()).to_string().into_bytes();
            input.push(b'\n');
        }
        let outcome = match process::run(&mut command, &input, &self.limits, cancel) {
            Ok(outcome) => outcome,
            Err(e) => return ToolResult::failed(format!("{name} {}.", self.program.unstarted(&e))),
        };
        let Some(why) = outcome.failure(&self.limits) else {
            return ToolResult::done(outcome.stdout.text());
        };
        // Programs that complain on stdout are no rarity.
        let mut last = outcome.stderr.text();
        if last.is_empty() && matches!(outcome.end, End::Exit(_)) {
            let mut tail = process::Tail::default();
            tail.push(outcome.stdout.text().as_bytes());
            last = tail.text();
        }
        ToolResult::failed(if last.is_empty() {
            format!("{name} {why}.")
        } else {
            format!("{name} {why}: {last}")
        })
    }
}

/// A word as a shell wants it, on one line.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", one_line(&word.replace('\'', "'\\''")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(tool: &CommandTool, arguments: &Json) -> Map<String, Json> {
        crate::tools::schema::fit(&tool.declaration.parameters, arguments).unwrap()
    }

    fn tool(command: Json) -> Result<CommandTool> {
        let path = Path::new("tools.json");
        let reader = Reader {
            file: path,
            folder: Path::new(""),
        };
        reader.tool(
            0,
            json!({"name": "t", "command": command, "parameters": {
                "type": "object", "properties": {"a": {"type": "string"}, "n": {"type": "integer"}, "o": {}},
            }}),
        )
    }

    #[test]
    fn arguments_take_the_place_of_their_names() {
        let tool = tool(json!([
            "p",
            "--a={a}",
            "{n}",
            "{a}{n}",
            "{{a}}",
            "{print $1}",
            "{",
            "{}",
            "}",
            "{{",
            "",
            "{o}",
            "x{o}y",
            "é{a}é"
        ]))
        .unwrap();
        let rest = ["{a}", "{print $1}", "{", "{}", "}", "{{", ""];
        let given = fits(
            &tool,
            &json!({"a": "{n} 'x'; $(ls)", "n": 5, "o": {"k": [1, "z"]}}),
        );
        let mut wanted = vec!["--a={n} 'x'; $(ls)", "5", "{n} 'x'; $(ls)5"];
        wanted.extend(rest);
        wanted.extend([
            "{\"k\":[1,\"z\"]}",
            "x{\"k\":[1,\"z\"]}y",
            "é{n} 'x'; $(ls)é",
        ]);
        assert_eq!(tool.args(&given), wanted);
        assert_eq!(tool.args(&Map::new()), rest);
        assert_eq!(
            tool.preview(&fits(&tool, &json!({"a": "it's\n"}))),
            "t: p '--a=it'\\''s\\n' '{a}' '{print $1}' '{' '{}' '}' '{{' '' 'éit'\\''s\\né'"
        );
    }

    #[test]
    fn what_is_no_parameter_is_a_mistake() {
        for (command, part) in [
            (
                json!(["p", "{b}"]),
                "{b} in \"command\" is no parameter: name it in \"properties\", or write {{b}}",
            ),
            (json!(["{a}"]), "the program itself cannot be an argument"),
            (
                json!(["./{a}/x"]),
                "the program itself cannot be an argument",
            ),
            (json!([]), "names no program"),
            (json!([""]), "names no program"),
            (json!("ls"), "\"command\" is not a list of texts"),
            (json!(["ls", 1]), "\"command\" is not a list of texts"),
        ] {
            let told = tool(command).unwrap_err().to_string();
            assert!(
                told.starts_with("--tools: tools.json: tool 1 (\"t\"): "),
                "{told}"
            );
            assert!(told.contains(part), "{told} lacks {part}");
        }
    }
}
