//! Reading below one folder, and nowhere else.

use super::{Declaration, Tool, ToolResult, one_line, text};
use crate::error::{Error, Result};
use serde_json::{Map, Value as Json, json};
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Larger files are not read.
const MAX_FILE: u64 = 64 << 20;
/// What one call reads at most.
const MAX_PAGE: usize = 32 << 10;
/// The lines that one call reads where it does not say how many.
const LINES: u64 = 500;
/// What one call lists at most.
const MAX_ENTRIES: usize = 500;

/// A folder, as the system names it without links.
#[derive(Clone, Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn open(path: &Path) -> Result<Folder> {
        let root = path.canonicalize().map_err(|source| Error::Io {
            path: path.to_owned(),
            source,
        })?;
        if !root.is_dir() {
            return Err(Error::Request {
                field: "--tools-dir",
                why: format!(
                    "{} is no folder: name the folder that may be read",
                    path.display()
                ),
            });
        }
        Ok(Folder(root))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// The real place of a path that a model wrote. That nothing is told of what lies outside includes whether it is there.
    fn find(&self, path: &str) -> std::result::Result<PathBuf, String> {
        let outside = || {
            format!(
                "\"{}\" is not in the folder: paths begin in it, as \"notes/a.txt\" does.",
                one_line(path)
            )
        };
        let mut depth = 0;
        for part in Path::new(path).components() {
            match part {
                Component::Normal(_) => depth += 1,
                Component::CurDir => {}
                Component::ParentDir if depth > 0 => depth -= 1,
                _ => return Err(outside()),
            }
        }
        let found = self
            .0
            .join(path)
            .canonicalize()
            .map_err(|e| format!("\"{}\" cannot be read: {e}.", one_line(path)))?;
        if !found.starts_with(&self.0) {
            return Err(outside());
        }
        Ok(found)
    }
}

/// Opens what is a plain file. Whether it is one is asked of what was opened: the name may have changed hands meanwhile, to a link that
/// leads away or to a pipe that nobody writes.
fn open(path: &Path) -> std::io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32);
    }
    let file = options.open(path)?;
    let plain = file.metadata()?.is_file();
    Ok(plain.then_some(file))
}

/// `list_files`.
pub(super) struct ListFiles {
    folder: Folder,
    declaration: Declaration,
}

impl ListFiles {
    pub(super) fn new(folder: Folder) -> ListFiles {
        ListFiles {
            folder,
            declaration: Declaration::new(
                "list_files",
                "List the files in the folder that the user shares, with their sizes",
                json!({"type": "object", "properties": {
                "path": {"type": "string", "description": "A folder in the shared one; without it, the shared folder itself"},
            }, "additionalProperties": false}),
                true,
            ),
        }
    }
}

impl Tool for ListFiles {
    fn declaration(&self) -> &Declaration {
        &self.declaration
    }

    fn preview(&self, arguments: &Map<String, Json>) -> String {
        format!(
            "list_files: {}",
            one_line(text(arguments, "path").unwrap_or("."))
        )
    }

    fn call(&mut self, arguments: &Map<String, Json>, cancel: &AtomicBool) -> ToolResult {
        let path = text(arguments, "path").unwrap_or("");
        let found = match self.folder.find(path) {
            Ok(found) => found,
            Err(why) => return ToolResult::failed(why),
        };
        let entries = match fs::read_dir(&found) {
            Ok(entries) => entries,
            Err(e) => {
                return ToolResult::failed(format!(
                    "\"{}\" cannot be listed: {e}.",
                    one_line(path)
                ));
            }
        };
        let mut lines = Vec::new();
        for entry in entries.flatten() {
            if cancel.load(Ordering::Relaxed) {
                return ToolResult::failed("list_files was cancelled.");
            }
            let name = one_line(&entry.file_name().to_string_lossy());
            // Of a link, nothing is told of where it leads.
            lines.push(match entry.metadata() {
                Ok(data) if data.is_dir() => format!("{name}/"),
                Ok(data) if data.is_file() => format!("{name}  {} bytes", data.len()),
                Ok(data) if data.is_symlink() => format!("{name}  link"),
                _ => format!("{name}  not a file"),
            });
        }
        lines.sort();
        let total = lines.len();
        if total == 0 {
            return ToolResult::done("The folder is empty.");
        }
        if total > MAX_ENTRIES {
            lines.truncate(MAX_ENTRIES);
            lines.push(format!("[cut: the first {MAX_ENTRIES} of {total} entries]"));
        }
        ToolResult::done(lines.join("\n"))
    }
}

/// `read_file`.
pub(super) struct ReadFile {
    folder: Folder,
    declaration: Declaration,
}

impl ReadFile {
    pub(super) fn new(folder: Folder) -> ReadFile {
        ReadFile {
            folder,
            declaration: Declaration::new(
                "read_file",
                "Read a text file in the folder that the user shares",
                json!({"type": "object", "properties": {
                "path": {"type": "string", "description": "The file, as list_files names it"},
                "offset": {"type": "integer", "description": "The first line to read, counted from 1"},
                "lines": {"type": "integer", "description": "How many lines to read"},
            }, "required": ["path"], "additionalProperties": false}),
                true,
            ),
        }
    }

    fn page(
        &self,
        path: &str,
        offset: u64,
        most: u64,
        cancel: &AtomicBool,
    ) -> std::result::Result<String, String> {
        let found = self.folder.find(path)?;
        let name = one_line(path);
        let unread = |e: std::io::Error| format!("\"{name}\" cannot be read: {e}.");
        let Some(file) = open(&found).map_err(unread)? else {
            return Err(format!(
                "\"{name}\" is not a file. list_files shows what is in a folder."
            ));
        };
        let size = file.metadata().map_err(unread)?.len();
        if size > MAX_FILE {
            return Err(format!(
                "\"{name}\" has {size} bytes, more than the {} MiB that are read.",
                MAX_FILE >> 20
            ));
        }
        // It may grow while it is read.
        let mut reader = BufReader::new(file.take(MAX_FILE));
        let mut page = Vec::new();
        let (mut line, mut shown, mut full) = (0, 0, false);
        let mut text = Vec::new();
        loop {
            if cancel.load(Ordering::Relaxed) {
                return Err("read_file was cancelled.".into());
            }
            text.clear();
            if reader.read_until(b'\n', &mut text).map_err(unread)? == 0 {
                break;
            }
            line += 1;
            if line <= 64 && text.contains(&0) {
                return Err(format!(
                    "\"{name}\" is a binary file of {size} bytes; only texts are read."
                ));
            }
            full |= line >= offset.saturating_add(most);
            if line < offset || full {
                continue;
            }
            let room = MAX_PAGE - page.len();
            if text.len() <= room {
                page.extend_from_slice(&text);
                shown += 1;
                continue;
            }
            full = true;
            if shown == 0 {
                // A page begins with at least a part of its first line, so that reading on gets on.
                page.extend_from_slice(&text[..room]);
                while !page.is_empty()
                    && std::str::from_utf8(&page).is_err_and(|e| e.error_len().is_none())
                {
                    page.pop();
                }
                page.extend_from_slice(
                    format!("\n[cut: the line has {} bytes]\n", text.len()).as_bytes(),
                );
                shown = 1;
            }
        }
        if line == 0 {
            return Ok("The file is empty.".into());
        }
        if shown == 0 {
            return Err(format!(
                "\"{name}\" has {line} lines, and none at offset {offset}."
            ));
        }
        let Ok(mut page) = String::from_utf8(page) else {
            return Err(format!(
                "\"{name}\" is a binary file of {size} bytes; only UTF-8 texts are read."
            ));
        };
        let last = offset + shown - 1;
        if offset > 1 || last < line {
            if !page.ends_with('\n') {
                page.push('\n');
            }
            page += &format!("[lines {offset} to {last} of {line}");
            if last < line {
                page += &format!("; the next ones with offset {}", last + 1);
            }
            page.push(']');
        }
        Ok(page)
    }
}

impl Tool for ReadFile {
    fn declaration(&self) -> &Declaration {
        &self.declaration
    }

    fn preview(&self, arguments: &Map<String, Json>) -> String {
        format!(
            "read_file: {}",
            one_line(text(arguments, "path").unwrap_or(""))
        )
    }

    fn call(&mut self, arguments: &Map<String, Json>, cancel: &AtomicBool) -> ToolResult {
        let number = |name: &str, otherwise: u64| match arguments.get(name).and_then(Json::as_f64) {
            None => Ok(otherwise),
            Some(n) if n >= 1.0 => Ok(n as u64),
            Some(_) => Err(format!("\"{name}\" must be 1 or more.")),
        };
        let page = number("offset", 1).and_then(|offset| {
            let lines = number("lines", LINES)?;
            self.page(text(arguments, "path").unwrap_or(""), offset, lines, cancel)
        });
        match page {
            Ok(page) => ToolResult::done(page),
            Err(why) => ToolResult::failed(why),
        }
    }
}
