//! `flowgate flows`: what was recorded, to be looked at and taken elsewhere.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use clap::Subcommand;

use super::{Failure, flow_number, harmless, harmless_line, print, running::Table, why::time};
use crate::{
    flow::{Direction, Fields, MessageKind},
    recording::{self, RecordedBody, RecordedFlow},
};

#[derive(Debug, Subcommand)]
pub(super) enum Flows {
    /// List the flows of a file (of `run --record`, HAR, or a record of the logger), or print one of them whole
    Show {
        /// The file, or a folder of them
        file: PathBuf,
        /// The flow's number in it, as in the list
        #[arg(value_parser = flow_number)]
        id: Option<u64>,
    },
    /// Write the flows of a file in another format
    ///
    /// What is written holds everything that was recorded, credentials of clients at origins included.
    Export {
        /// As an HTTP archive (HAR 1.2), which browsers read; content codings are undone
        #[arg(long, required = true)]
        har: bool,
        /// The file, or a folder of them
        file: PathBuf,
        /// Where to write it (a new file has mode 0600); default: standard output
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

pub(super) fn run(command: Flows) -> Result<(), Failure> {
    match command {
        Flows::Show { file, id: None } => list(&file)?,
        Flows::Show { file, id: Some(id) } => print(format_args!("{}", whole(&find(&file, id)?).trim_end())),
        Flows::Export { har: _, file, output } => {
            let archive = recording::export_har(&read(&[file])?)?.to_string();
            match output {
                None => print(format_args!("{archive}")),
                Some(path) => {
                    write(&path, archive.as_bytes()).with_context(|| format!("writing {}", path.display()))?;
                    print(format_args!("written to {}", path.display()));
                }
            }
        }
    }
    Ok(())
}

/// The flows of these files.
///
/// # Errors
/// As for [`recording::read`].
pub(super) fn read(files: &[PathBuf]) -> Result<Vec<RecordedFlow>, Failure> {
    recording::read(files, say).map_err(Failure::Usage)
}

/// On standard error, which may be closed.
fn say(remark: String) {
    let _ = writeln!(io::stderr(), "flowgate: {}", harmless_line(&remark));
}

/// The flow of that number.
fn find(file: &Path, id: u64) -> Result<RecordedFlow, Failure> {
    let (mut found, mut first, mut last) = (None, None, 0);
    let look = |flow: RecordedFlow| {
        (first, last) = (first.or(Some(flow.id)), flow.id);
        if flow.id == id {
            found = Some(flow);
        }
    };
    recording::each(&[file], look, say).map_err(Failure::Usage)?;
    let none = || anyhow::anyhow!("there is no flow {id}: the first is {}, the last {last}", first.unwrap_or_default());
    found.ok_or_else(none).map_err(Failure::Usage)
}

/// Whole or not at all: written beside, then put in its place. What is no regular file (a pipe, a device) is written to as it is, and a link is
/// followed.
fn write(path: &Path, octets: &[u8]) -> anyhow::Result<()> {
    let there = match fs::metadata(path) {
        Ok(there) => Some(there),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error.into()),
    };
    ensure!(there.as_ref().is_none_or(|there| !there.is_dir()), "it is a folder");
    let path = match there {
        Some(there) if !there.is_file() => return Ok(OpenOptions::new().write(true).open(path)?.write_all(octets)?),
        Some(_) => &fs::canonicalize(path)?,
        None => path,
    };
    let name = path.file_name().context("it is no name of a file")?;
    let beside = path.with_file_name(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)
        .and_then(|mut file| file.write_all(octets))
        .and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // Nothing half written stays.
        let _ = fs::remove_file(&beside);
    }
    Ok(written?)
}

fn list(file: &Path) -> Result<(), Failure> {
    let mut table = Table::new(["FLOW", "TIME", "USER", "METHOD", "URL", "STATUS", "SENT", "GOT", "MESSAGES", "OUTCOME"]);
    let look = |flow: RecordedFlow| {
        let response = flow.response.as_ref();
        table.row([
            flow.id.to_string(),
            time(flow.began),
            flow.user.as_deref().unwrap_or("-").to_owned(),
            flow.request.head.method.to_string(),
            without_query(&flow.url()),
            response.map_or("-".into(), |response| response.head.status.as_u16().to_string()),
            flow.request.body.length.to_string(),
            response.map_or("-".into(), |response| response.body.length.to_string()),
            flow.frames.len().to_string(),
            flow.outcome.to_string(),
        ]);
    };
    recording::each(&[file], look, say).map_err(Failure::Usage)?;
    table.print();
    Ok(())
}

fn without_query(url: &str) -> String {
    url.split('?').next().unwrap_or_default().to_owned()
}

/// One flow with all that is known of it.
fn whole(flow: &RecordedFlow) -> String {
    let mut text = harmless_line(&format!(
        "flow {} of {}: {} for {} from {} (connection {}): {}",
        flow.id,
        time(flow.began),
        flow.url(),
        flow.user.as_deref().unwrap_or("somebody unknown"),
        flow.client,
        flow.connection,
        flow.outcome
    ));
    text.push('\n');
    let head = &flow.request.head;
    text += &format!("\n{} {} {:?}\n{}", head.method, shown(&head.path), head.version, fields(&head.fields));
    text += &body(&flow.request.body);
    if let Some(response) = &flow.response {
        let head = &response.head;
        text += &format!(
            "\n{:?} {} {} (after {})\n",
            head.version,
            head.status.as_u16(),
            shown(head.reason.as_deref().unwrap_or_default()),
            millis(response.at)
        );
        text += &fields(&head.fields);
        text += &body(&response.body);
    }
    for frame in &flow.frames {
        let sent = if frame.sent == Direction::Request { ">" } else { "<" };
        let kind = match frame.kind {
            MessageKind::Text => "text",
            MessageKind::Binary => "binary",
            MessageKind::Closed => "close",
        };
        text += &format!("\n{sent} {kind}, {} octets, after {}\n{}", frame.length, millis(frame.at), lines(&frame.content));
    }
    text
}

fn fields(fields: &Fields) -> String {
    fields.iter().map(|field| format!("{}\n", shown(field.line()))).collect()
}

fn body(body: &RecordedBody) -> String {
    let mut text = String::new();
    for piece in &body.pieces {
        text += &format!("-- {} octets after {}\n{}", piece.octets.len(), millis(piece.at), lines(&piece.octets));
    }
    if body.is_cut() {
        text += &format!("-- {} octets more were not recorded\n", body.length - body.kept() as u64);
    }
    if body.ended.is_none() {
        text += "-- it broke off\n";
    }
    text + &fields(&body.trailers)
}

/// What is no text is said, not shown: a terminal is no place for it.
fn lines(octets: &[u8]) -> String {
    match std::str::from_utf8(octets) {
        Ok(text) => text.lines().map(|line| format!("| {}\n", shown(line.as_bytes()))).collect(),
        Err(_) => "| (not text)\n".to_owned(),
    }
}

fn shown(octets: &[u8]) -> String {
    harmless(&String::from_utf8_lossy(octets))
}

fn millis(micros: u64) -> String {
    super::plugin::micros(micros)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::testing::{conversation, flow};

    #[test]
    fn a_flow_is_shown_piece_by_piece() {
        let text = whole(&flow(1));

        for part in [
            "POST /chat?q=1 HTTP/1.1\nHost: a.test\nX-Twice: 1\nx-twice: 2\n",
            "-- 10 octets after 5 µs\n| a question\n",
            "200 OK (after 150 µs)",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(text.contains("-- 11 octets after 200 µs\n| data: one\n| \n-- 11 octets after 300 µs\n| data: two\n"), "{text}");
    }

    #[test]
    fn messages_are_shown_and_terminals_are_spared() {
        let mut talk = conversation(1);
        talk.frames[0].content = bytes::Bytes::from_static(b"\x1b[31mred");
        talk.user = Some("ev\x1b[2Jil\nflow 2 of".to_owned());

        let text = whole(&talk);

        assert!(text.contains("for ev\u{fffd}[2Jil\u{fffd}flow 2 of from"), "{text}");
        assert!(text.contains("> text, 5 octets, after 400 µs\n| \u{fffd}[31mred\n"), "{text}");
        assert!(text.contains("< binary, 2 octets, after 500 µs\n| (not text)\n"), "{text}");
    }

    #[test]
    fn an_archive_is_written_whole_or_not_at_all() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.har");

        write(&path, b"whole").expect("written");
        let refused = write(folder.path(), b"whole").expect_err("a folder");

        assert_eq!((fs::read(&path).expect("read"), refused.to_string()), (b"whole".to_vec(), "it is a folder".to_owned()));
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 1);
    }

    #[test]
    fn links_are_followed_and_pipes_stay_pipes() {
        let folder = tempfile::tempdir().expect("a folder");
        let [file, link, pipe] = ["a.har", "link", "pipe"].map(|name| folder.path().join(name));
        fs::write(&file, "before").expect("written");
        std::os::unix::fs::symlink("a.har", &link).expect("linked");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).expect("made");
        let read = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::read(pipe).expect("read")
        });

        write(&link, b"whole").expect("written");
        write(&pipe, b"whole").expect("written");

        assert!(link.is_symlink() && fs::read(&file).expect("read") == b"whole");
        assert_eq!(read.join().expect("no panic"), b"whole");
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 3);
    }
}
