//! Tools of MCP servers: programs that speak the Model Context Protocol over their standard input and output.
//!
//! A server lives on a thread of its own, with the runtime that the protocol's library wants; its tools send it their calls. It is a stranger:
//! how long it takes, what it prints and how many tools it lists are bounded.

use super::command::Server;
use super::process::{self, Group, Head, POLL, Tail};
use super::{Declaration, MAX_NAME, Tool, ToolResult, mistake, one_line};
use crate::error::Result;
use rmcp::RoleClient;
use rmcp::model::{
    CallToolRequestParams, CallToolResult, ClientCapabilities, ClientConfig, ContentBlock,
    Implementation, PaginatedRequestParams, ResourceContents,
};
use rmcp::service::{RunningService, ServiceError, serve_client};
use serde_json::{Map, Value as Json};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use tokio::sync::{mpsc, oneshot};

/// The most tools that one server may have.
const MAX_TOOLS: usize = 512;
/// The text of a result that is kept.
const MAX_OUTPUT: usize = 64 << 10;
/// How long a server may take to end by itself.
const FAREWELL: Duration = Duration::from_millis(500);

/// Starts servers, all at once, and gives their tools in order.
pub(super) fn start(servers: Vec<Server>) -> Result<Vec<McpTool>> {
    let mut waiting = Vec::new();
    for server in servers {
        let (report, listed) = channel();
        let (requests, calls) = mpsc::unbounded_channel();
        let place = format!(
            "{}: MCP server \"{}\"",
            server.file.display(),
            one_line(&server.name)
        );
        let name = server.name.clone();
        let thread = std::thread::Builder::new()
            .name("mcp".into())
            .spawn(move || serve(&server, calls, &report))
            .map_err(|e| mistake(format!("{place}: no thread for it: {e}")))?;
        let handle = Handle {
            requests: Some(requests),
            thread: Some(thread),
            name,
        };
        waiting.push((place, handle, listed));
    }
    let mut tools = Vec::new();
    for (place, handle, listed) in waiting {
        // The thread keeps the time.
        let listed = listed
            .recv()
            .unwrap_or_else(|_| Err("could not be started".into()));
        let listed = listed.map_err(|why| mistake(format!("{place} {why}")))?;
        let handle = Arc::new(handle);
        for tool in listed {
            tools.push(McpTool {
                declaration: Declaration {
                    name: sound(&tool.name),
                    description: tool.description.unwrap_or_default().into_owned(),
                    parameters: Json::Object(Arc::unwrap_or_clone(tool.input_schema)),
                    // What a server says of its tools is only its word.
                    harmless: false,
                },
                remote: tool.name.into_owned(),
                server: handle.clone(),
            });
        }
    }
    Ok(tools)
}

/// A name that chat APIs take.
fn sound(name: &str) -> String {
    let keep = |c: char| {
        if c.is_ascii_alphanumeric() || "_-.".contains(c) {
            c
        } else {
            '_'
        }
    };
    let name: String = name.chars().map(keep).take(MAX_NAME).collect();
    if name.is_empty() { "tool".into() } else { name }
}

/// A server's thread. When its last tool goes, so does the server.
struct Handle {
    requests: Option<mpsc::UnboundedSender<Call>>,
    thread: Option<JoinHandle<()>>,
    name: String,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            // It ends within [`FAREWELL`] and a little.
            let _ = thread.join();
        }
    }
}

/// A call on its way to the server's thread.
struct Call {
    tool: String,
    arguments: Map<String, Json>,
    reply: Sender<ToolResult>,
    /// Ends when nobody waits for the reply any more.
    waited_for: oneshot::Receiver<()>,
}

/// A tool of a server.
pub(super) struct McpTool {
    declaration: Declaration,
    /// What the server calls it.
    remote: String,
    server: Arc<Handle>,
}

impl McpTool {
    /// Puts the server's name in front.
    pub(super) fn prefix(&mut self) {
        self.declaration.name = sound(&format!("{}_{}", self.server.name, self.remote));
    }
}

impl Tool for McpTool {
    fn declaration(&self) -> &Declaration {
        &self.declaration
    }

    fn call(&mut self, arguments: &Map<String, Json>, cancel: &AtomicBool) -> ToolResult {
        let (reply, answer) = channel();
        let (_waiting, waited_for) = oneshot::channel();
        let call = Call {
            tool: self.remote.clone(),
            arguments: arguments.clone(),
            reply,
            waited_for,
        };
        let gone =
            || ToolResult::failed(format!("The MCP server \"{}\" is gone.", self.server.name));
        match self
            .server
            .requests
            .as_ref()
            .map(|requests| requests.send(call))
        {
            Some(Ok(())) => {}
            _ => return gone(),
        }
        loop {
            match answer.recv_timeout(POLL) {
                Ok(result) => return result,
                Err(RecvTimeoutError::Disconnected) => return gone(),
                Err(RecvTimeoutError::Timeout) if cancel.load(Ordering::Relaxed) => {
                    return ToolResult::failed(format!("{} was cancelled.", self.declaration.name));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}

type Listed = std::result::Result<Vec<rmcp::model::Tool>, String>;

/// The server's thread: from its start until nobody can call it any more.
fn serve(server: &Server, mut calls: mpsc::UnboundedReceiver<Call>, report: &Sender<Listed>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(e) => {
            let _ = report.send(Err(format!("could not be started: {e}")));
            return;
        }
    };
    runtime.block_on(async {
        let started = tokio::select! {
            started = Live::start(server) => started,
            // Nobody can call yet, so this is the end: another server did not start.
            _ = calls.recv() => return,
        };
        let mut live = match started {
            Ok((live, tools)) => {
                let _ = report.send(Ok(tools));
                Some(live)
            }
            Err(why) => {
                let _ = report.send(Err(why));
                return;
            }
        };
        while let Some(call) = calls.recv().await {
            let mut waited_for = call.waited_for;
            let result = tokio::select! {
                result = answer(server, &mut live, &call.tool, call.arguments) => result,
                // The library tells the server that its answer is not wanted any more.
                _ = &mut waited_for => continue,
            };
            let _ = call.reply.send(result);
        }
        if let Some(live) = live {
            live.end().await;
        }
    });
}

/// One call. A server that has ended is started once more.
async fn answer(
    server: &Server,
    live: &mut Option<Live>,
    tool: &str,
    arguments: Map<String, Json>,
) -> ToolResult {
    let name = &server.name;
    if live.as_ref().is_some_and(Live::is_over) {
        *live = None;
    }
    let running = match live {
        Some(running) => running,
        None => match Live::start(server).await {
            Ok((started, _)) => live.insert(started),
            Err(why) => {
                return ToolResult::failed(format!(
                    "The MCP server \"{name}\" had ended, and {why}."
                ));
            }
        },
    };
    let params = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
    let answered = tokio::time::timeout(server.timeout, running.service.call_tool(params)).await;
    match answered {
        Ok(Ok(result)) => read(result),
        Ok(Err(ServiceError::McpError(e))) => ToolResult::failed(format!(
            "The MCP server \"{name}\" refused the call: {}",
            cut(&e.message)
        )),
        Ok(Err(ServiceError::TransportClosed | ServiceError::TransportSend(_))) => {
            let how = running.last_words().await;
            *live = None;
            ToolResult::failed(format!(
                "The MCP server \"{name}\" ended during the call{how}"
            ))
        }
        Ok(Err(e)) => ToolResult::failed(format!(
            "The MCP server \"{name}\" answered what cannot be read: {}",
            cut(&e.to_string())
        )),
        Err(_) => ToolResult::failed(format!(
            "The MCP server \"{name}\" did not answer within {} s.",
            server.timeout.as_secs_f64()
        )),
    }
}

/// A server that runs.
struct Live {
    service: RunningService<RoleClient, ClientConfig>,
    group: Group,
    errors: Arc<Mutex<Tail>>,
}

impl Live {
    /// Starts it and asks for its tools. Errors are the rest of a sentence that begins with its name.
    async fn start(server: &Server) -> std::result::Result<(Live, Vec<rmcp::model::Tool>), String> {
        let unstarted = |e: std::io::Error| server.program.unstarted(&e);
        let mut command = server.program.command();
        command
            .args(&server.args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut group = Group::spawn(&mut command).map_err(unstarted)?;
        let child = &mut group.child;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err("could not be started: it has no pipes".into());
        };
        let stdin = ChildStdin::from_std(stdin).map_err(unstarted)?;
        let stdout = ChildStdout::from_std(stdout).map_err(unstarted)?;
        let mut stderr = ChildStderr::from_std(stderr).map_err(unstarted)?;
        let errors = Arc::new(Mutex::new(Tail::default()));
        let kept = errors.clone();
        tokio::spawn(async move {
            let mut buffer = vec![0; 4096];
            while let Ok(n @ 1..) = stderr.read(&mut buffer).await {
                kept.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(&buffer[..n]);
            }
        });
        let attempt = async {
            let me = Implementation::new("smolq", env!("CARGO_PKG_VERSION"));
            let me = ClientConfig::new(ClientCapabilities::default(), me);
            let service = serve_client(me, (stdout, stdin))
                .await
                .map_err(|e| format!("did not introduce itself: {}", cut(&e.to_string())))?;
            let tools = tools(&service).await?;
            Ok::<_, String>((service, tools))
        };
        let why = match tokio::time::timeout(server.startup, attempt).await {
            Ok(Ok((service, tools))) => {
                let live = Live {
                    service,
                    group,
                    errors,
                };
                return Ok((live, tools));
            }
            Ok(Err(why)) => why,
            Err(_) => {
                let said = said(&errors);
                return Err(format!(
                    "did not answer within {} s: start it by hand, or give it a longer \"startup_timeout\"{}",
                    server.startup.as_secs_f64(),
                    if said.is_empty() {
                        said
                    } else {
                        format!("; its stderr: {said}")
                    }
                ));
            }
        };
        let how = last_words(&mut group, &errors).await;
        Err(format!("{why}{}", how.trim_end_matches('.')))
    }

    fn is_over(&self) -> bool {
        self.service.is_closed() || self.service.peer().is_transport_closed()
    }

    /// How it ended, as the end of a sentence.
    async fn last_words(&mut self) -> String {
        last_words(&mut self.group, &self.errors).await
    }

    /// Closes its input, which tells it to end, and ends it if it does not.
    async fn end(mut self) {
        let deadline = Instant::now() + FAREWELL;
        let _ = self.service.close_with_timeout(FAREWELL).await;
        while !self.group.ended() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// How a server that closed its output ended, and the end of its stderr, as the end of a sentence.
async fn last_words(group: &mut Group, errors: &Mutex<Tail>) -> String {
    // Its end, and what it wrote last, may be seen a moment later.
    let deadline = Instant::now() + Duration::from_millis(300);
    while !group.ended() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let how = if group.ended() {
        group
            .end()
            .map(|status| format!(" ({})", process::exit(status)))
    } else {
        None
    };
    tokio::time::sleep(Duration::from_millis(20)).await;
    let said = said(errors);
    let how = how.unwrap_or_default();
    if said.is_empty() {
        format!("{how}.")
    } else {
        format!("{how}; its stderr: {said}.")
    }
}

/// The end of a server's stderr, on one line.
fn said(errors: &Mutex<Tail>) -> String {
    let text = errors.lock().unwrap_or_else(PoisonError::into_inner).text();
    let lines: Vec<_> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    cut(&lines[lines.len().saturating_sub(3)..].join(" | "))
}

/// The beginning of a stranger's text, on one line.
fn cut(text: &str) -> String {
    let line = one_line(text);
    match line.char_indices().nth(500) {
        None => line,
        Some((at, _)) => format!("{}...", &line[..at]),
    }
}

/// All of a server's tools, page by page.
async fn tools(service: &RunningService<RoleClient, ClientConfig>) -> Listed {
    let mut tools = Vec::new();
    let mut cursor = None;
    // A page may be empty, but a server that only ever has another one is broken.
    for _ in 0..MAX_TOOLS {
        let params = PaginatedRequestParams::default().with_cursor(cursor.take());
        let page = service
            .list_tools(Some(params))
            .await
            .map_err(|e| format!("does not list its tools: {}", cut(&e.to_string())))?;
        tools.extend(page.tools);
        if tools.len() > MAX_TOOLS {
            break;
        }
        cursor = page.next_cursor.filter(|cursor| !cursor.is_empty());
        if cursor.is_none() {
            if tools.is_empty() {
                return Err("has no tools: leave it out".into());
            }
            return Ok(tools);
        }
    }
    Err(format!(
        "lists more than {MAX_TOOLS} tools, or does not come to an end"
    ))
}

/// What the model reads of a result.
fn read(result: CallToolResult) -> ToolResult {
    let mut parts = Vec::new();
    let mut texts = Vec::new();
    for block in result.content {
        parts.push(match block {
            ContentBlock::Text(text) => {
                texts.push(text.text.clone());
                text.text
            }
            ContentBlock::Image(image) => {
                format!("[an image, not shown: {}]", cut(&image.mime_type))
            }
            ContentBlock::Audio(audio) => {
                format!("[a sound, not played: {}]", cut(&audio.mime_type))
            }
            ContentBlock::ResourceLink(link) => {
                format!("[a link: {} {}]", cut(&link.name), cut(&link.uri))
            }
            ContentBlock::Resource(resource) => match resource.resource {
                ResourceContents::TextResourceContents { text, .. } => text,
                ResourceContents::BlobResourceContents { uri, .. } => {
                    format!("[a file, not shown: {}]", cut(&uri))
                }
                _ => "[a file, not shown]".into(),
            },
            _ => "[something that is not shown]".into(),
        });
    }
    if let Some(structured) = result.structured_content.filter(|value| !value.is_null()) {
        // Most servers say it as a text too; Python's SDK wraps what is no object.
        let bare = match &structured {
            Json::Object(fields) if fields.len() == 1 => fields.get("result"),
            _ => None,
        };
        let same = |text: &String| {
            let parsed = serde_json::from_str::<Json>(text).ok();
            let told = |value: &Json| value == text || parsed.as_ref() == Some(value);
            told(&structured) || bare.is_some_and(told)
        };
        if !texts.iter().any(same) {
            parts.push(structured.to_string());
        }
    }
    let mut head = Head::new(MAX_OUTPUT);
    head.push(parts.join("\n").as_bytes());
    ToolResult {
        text: head.text(),
        failed: result.is_error == Some(true),
    }
}
