//! Flows out of files, whatever wrote them: flow files, HAR, records of the logger, and folders of these.
//!
//! Place: asked by the commands that show flows and play them. What a file is, its content says.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use serde_json::Value;

use super::{RecordedBody, RecordedFlow, file, har, records};
use crate::flow::{Authority, Fields, Origin, Scheme, is_field_value, is_token};

/// Octets of the largest file that is read whole: it is held in memory, and its flows beside it.
const MAX_FILE: u64 = 2 << 30;
/// Signs of a URL that is none which are shown.
const SHOWN_OF_URL: usize = 200;
/// Files of one folder that are looked at.
const MAX_FILES: usize = 100_000;

/// What a file held.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Source {
    /// A flow file.
    Flows,
    /// HAR 1.2.
    Har,
    /// A record of the logger.
    Record,
}

/// All flows of these files and folders, in that order, a folder's files by name; numbered through where there is more than one file. What has
/// to be said about them goes to `say`.
///
/// # Errors
/// A file cannot be read, or holds no flows; names it and says what helps. It has more than 2 GiB.
pub fn read(paths: &[impl AsRef<Path>], say: impl FnMut(String)) -> anyhow::Result<Vec<RecordedFlow>> {
    let mut flows = Vec::new();
    walk(paths, true, |flow| flows.push(flow), say)?;
    Ok(flows)
}

/// Shows the same flows one by one: a flow file may be larger than memory.
///
/// # Errors
/// As for [`read`]; files that are no flow files have more than 2 GiB.
pub fn each(paths: &[impl AsRef<Path>], look: impl FnMut(RecordedFlow), say: impl FnMut(String)) -> anyhow::Result<()> {
    walk(paths, false, look, say)
}

fn walk(paths: &[impl AsRef<Path>], at_once: bool, mut look: impl FnMut(RecordedFlow), mut say: impl FnMut(String)) -> anyhow::Result<()> {
    let mut files = Vec::new();
    for path in paths {
        collect(path.as_ref(), &mut files)?;
    }
    let (mut count, are_many) = (0, files.len() > 1);
    for path in &files {
        let numbered = |mut flow: RecordedFlow| {
            count += 1;
            if are_many {
                flow.id = count;
            }
            look(flow);
        };
        let remark = |remark| say(format!("{} {remark}", path.display()));
        each_of(path, at_once, numbered, remark).with_context(|| format!("reading flows from {}", path.display()))?;
    }
    ensure!(
        count > 0,
        "there is no flow in {}: record some with `flowgate run --record FILE`, or name a HAR file or records of the logger",
        paths.iter().map(|path| path.as_ref().display().to_string()).collect::<Vec<_>>().join(", ")
    );
    Ok(())
}

/// Shows the flows of one file. What is left out of it is said, as what the file does.
fn each_of(path: &Path, at_once: bool, look: impl FnMut(RecordedFlow), mut say: impl FnMut(String)) -> anyhow::Result<()> {
    let file = File::open(path)?;
    let there = file.metadata()?;
    let size = if there.is_file() { there.len() } else { 0 };
    let mut file = BufReader::new(file);
    let is_flow_file = file::is_flow_file(file.fill_buf()?);
    if is_flow_file {
        ensure!(!at_once || size <= MAX_FILE, "{}: `flowgate flows show` takes flow files of any size", too_large(size));
        let left = file::each(file, look)?;
        if left > 0 {
            say(format!("ends in an unfinished flow: its last {left} octets are left out"));
        }
        return Ok(());
    }
    ensure!(size <= MAX_FILE, "{}: name a smaller one", too_large(size));
    let mut octets = Vec::new();
    let length = file.take(MAX_FILE + 1).read_to_end(&mut octets)? as u64;
    ensure!(length <= MAX_FILE, "{}: name a smaller one", too_large(length));
    parse(octets.into(), say)?.1.into_iter().for_each(look);
    Ok(())
}

fn too_large(size: u64) -> String {
    format!("it has {size} octets or more, and at most {MAX_FILE} are read at once")
}

/// The flows in the octets of one file. What is left out of it is said, as what the file does.
///
/// # Errors
/// They are none of the known formats, or not well formed.
pub(crate) fn parse(octets: Bytes, say: impl FnMut(String)) -> anyhow::Result<(Source, Vec<RecordedFlow>)> {
    if file::is_flow_file(&octets) {
        return Ok((Source::Flows, file::parse(&octets)?));
    }
    const KINDS: &str = "a flow file of `flowgate run --record`, a HAR file, or a record of the logger is expected";
    // Browsers on Windows begin their exports with a byte order mark.
    let text = octets.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&octets);
    ensure!(text.trim_ascii_start().starts_with(b"{"), "it is neither a flow file nor JSON: {KINDS}");
    let value: Value = serde_json::from_slice(text).context("it is no whole JSON document, perhaps cut off: save it again")?;
    if value.get("log").is_some() {
        return Ok((Source::Har, har::parse(value, say)?));
    }
    if value.get("request").is_some() && value.get("response").is_some() {
        return Ok((Source::Record, vec![records::parse(value, 1)?]));
    }
    bail!("it is JSON of another kind: {KINDS}")
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let listed = fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let mut inside: Vec<PathBuf> =
        listed.with_context(|| format!("reading the folder {}", path.display()))?.iter().map(fs::DirEntry::path).collect();
    inside.sort();
    for entry in inside {
        let is_hidden = entry.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let is_flows = entry.extension().is_some_and(|extension| ["json", "har", "flows"].iter().any(|known| extension == *known));
        // What waits for somebody to write into it is read only where it is named.
        if !is_hidden && (entry.is_dir() || (is_flows && entry.is_file())) {
            collect(&entry, files)?;
        }
    }
    ensure!(files.len() <= MAX_FILES, "there are more than {MAX_FILES} files in {}: name some of them", path.display());
    Ok(())
}

/// Origin and path of an absolute URL, the path octet for octet.
pub(super) fn target(url: &str) -> anyhow::Result<(Origin, Bytes)> {
    let wrong = || format!("{:?} is no URL, as in https://api.example.com/chat", url.chars().take(SHOWN_OF_URL).collect::<String>());
    let (scheme, rest) = url.split_once("://").with_context(wrong)?;
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "https" | "wss" => Scheme::Https,
        "http" | "ws" => Scheme::Http,
        _ => bail!(wrong()),
    };
    let rest = rest.split('#').next().unwrap_or_default();
    let at = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(at);
    let authority = Authority::parse_or(authority.to_ascii_lowercase().as_bytes(), Some(scheme.default_port())).with_context(wrong)?;
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    ensure!(path.bytes().all(|octet| octet > b' ' && octet != 0x7f), wrong());
    Ok((Origin { scheme, authority }, path.into()))
}

/// Field lines of pairs; pseudo-header fields of HTTP/2 are no fields.
pub(super) fn fields_of<'a>(pairs: impl Iterator<Item = (&'a str, Vec<u8>)>) -> anyhow::Result<Fields> {
    let mut fields = Fields::default();
    for (name, value) in pairs.filter(|(name, _)| !name.starts_with(':')) {
        let mut value = value.as_slice();
        while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
            value = rest;
        }
        ensure!(is_token(name.as_bytes()) && is_field_value(value), "{name:?} with {:?} is no field", String::from_utf8_lossy(value));
        // Never kept: who was admitted is said otherwise.
        if !name.eq_ignore_ascii_case("proxy-authorization") {
            fields.push(name, value);
        }
    }
    Ok(fields)
}

/// What describes content whose codings are undone. Content that is not there (a response to HEAD, status 304) was never coded here, and how long
/// it would be is still so; what is there in part is a part of what was said.
pub(super) fn content_fields(mut fields: Fields, body: &RecordedBody) -> Fields {
    if body.kept() > 0 {
        fields.remove("content-encoding");
        if fields.contains("content-length") && body.ended.is_some() && !body.is_cut() {
            fields.set("content-length", body.length.to_string());
        }
    }
    fields
}

/// Where nobody says who the client was, it was on this machine.
pub(super) fn address(ip: Option<IpAddr>) -> SocketAddr {
    (ip.unwrap_or(Ipv4Addr::LOCALHOST.into()), 0).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::{
        flow::Outcome,
        recording::{
            RecordedPiece,
            testing::{conversation, flow},
        },
    };

    /// What is no gzip any more behind a first block.
    fn damaged_gzip() -> Bytes {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, b"hello").and_then(|()| std::io::Write::flush(&mut encoder)).expect("written");
        let mut octets = encoder.finish().expect("written");
        let at = octets.len() - 10;
        octets[at..].fill(0xff);
        octets.into()
    }

    /// What is wrong with a file of that content.
    fn complaint(content: &[u8]) -> String {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("some.har");
        fs::write(&path, content).expect("written");
        format!("{:#}", read(&[path], |_| {}).expect_err("no flows"))
    }

    #[test]
    fn an_archive_holds_what_was_exported_into_it() {
        let mut broken = flow(3);
        broken.outcome = Outcome::ClientAborted;
        let response = broken.response.as_mut().expect("one");
        (response.body.ended, response.body.length) = (None, 1000);
        response.body.trailers.push("X-Sum", "1");
        let mut silent = flow(9);
        (silent.response, silent.outcome) = (None, Outcome::OriginFailed("no address for a.test".into()));
        silent.client = "[2001:db8::7]:5".parse().expect("an address");
        let mut early = flow(4);
        let response = early.response.as_mut().expect("one");
        (early.request.body.ended, response.at, response.body.ended) = (Some(900), 150, Some(310));
        let flows = [flow(1), conversation(2), broken, early, silent];

        let (source, read) = parse(har::export(&flows).expect("an archive").to_string().into(), |_| {}).expect("flows");

        assert_eq!(source, Source::Har);
        for (read, flow) in read.iter().zip(&flows) {
            assert_eq!(read, flow);
        }
        assert_eq!(read.len(), flows.len());
    }

    #[test]
    fn an_archive_holds_what_has_no_place_in_one() {
        let mut asked = flow(1);
        asked.request.head.method = http::Method::HEAD;
        asked.request.head.path = Bytes::from_static(b"/caf\xe9?q=#1");
        asked.request.head.fields.push("X-Name", b"Andr\xe9");
        let response = asked.response.as_mut().expect("one");
        (response.body, response.head.reason) = (RecordedBody::whole(Bytes::new(), 150), Some(Bytes::from_static(b"D\xe9j\xe0 vu")));
        response.head.fields.push("Content-Encoding", "gzip");
        response.head.fields.push("Content-Length", "5000");
        let mut strange = flow(2);
        let response = strange.response.as_mut().expect("one");
        response.head.fields.push("Content-Encoding", "strange, gzip");
        response.head.fields.push("X-Name", b"Andr\xe9");
        response.body.trailers.push("X-Name", b"Andr\xe9");
        let mut cut = flow(3);
        let response = cut.response.as_mut().expect("one");
        (response.head.version, response.head.reason) = (http::Version::HTTP_2, None);
        response.head.fields.push("Content-Length", "5000");
        response.body.length = 5000;
        let mut spoken = conversation(4);
        (spoken.frames[0].length, spoken.frames[0].content) = (9, Bytes::from_static(b"caf\xc3"));
        spoken.frames[1].length = 7000;
        let mut damaged = flow(5);
        let response = damaged.response.as_mut().expect("one");
        response.head.fields.push("Content-Encoding", "gzip");
        let octets = damaged_gzip();
        (response.body.length, response.body.pieces) = (octets.len() as u64, vec![RecordedPiece { at: 200, octets }]);
        let mut nothing = flow(6);
        let response = nothing.response.as_mut().expect("one");
        response.head.fields.push("Content-Encoding", "gzip");
        response.head.fields.push("Content-Length", "20");
        let octets = Bytes::from(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()).finish().expect("written"));
        (response.body.length, response.body.pieces) = (octets.len() as u64, vec![RecordedPiece { at: 200, octets }]);
        let mut asterisk = flow(7);
        asterisk.request.head.path = Bytes::from_static(b"*");
        asterisk.request.head.authority = Bytes::from_static(b"A.test:443");
        asterisk.request.head.fields.remove("host");
        let flows = [asked, strange, cut, spoken, damaged, nothing, asterisk];

        let (_, read) = parse(har::export(&flows).expect("an archive").to_string().into(), |_| {}).expect("flows");

        for (read, flow) in read.iter().zip(&flows) {
            assert_eq!(read, flow);
        }
        assert_eq!(read.len(), flows.len());
    }

    #[test]
    fn what_a_browser_let_go_of_is_cut() {
        let mut archive = har::export(&[flow(1), flow(2)]).expect("an archive");
        for (at, method) in [(0, "GET"), (1, "HEAD")] {
            let entry = &mut archive["log"]["entries"][at];
            (entry["request"]["method"], entry["response"]["content"]) = (method.into(), json!({ "size": 5000, "mimeType": "text/plain" }));
            entry.as_object_mut().expect("an object").remove("_flowgate");
        }

        let (_, flows) = parse(archive.to_string().into(), |_| {}).expect("flows");

        let bodies: Vec<_> =
            flows.iter().filter_map(|flow| Some(&flow.response.as_ref()?.body)).map(|body| (body.length, body.kept())).collect();
        assert_eq!(bodies, [(5000, 0), (0, 0)]);
    }

    #[test]
    fn coded_content_comes_out_of_an_archive_decoded_and_whole() {
        let mut coded = flow(1);
        let response = coded.response.as_mut().expect("one");
        response.head.fields.push("Content-Encoding", "gzip");
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, b"hello").expect("written");
        let octets = Bytes::from(encoder.finish().expect("written"));
        response.head.fields.push("Content-Length", octets.len().to_string());
        (response.body.length, response.body.pieces) = (octets.len() as u64, vec![RecordedPiece { at: 200, octets }]);
        let mut cut = coded.clone();
        let body = &mut cut.response.as_mut().expect("one").body;
        body.pieces[0].octets.truncate(body.length as usize - 1);

        let (_, read) = parse(har::export(&[coded, cut]).expect("an archive").to_string().into(), |_| {}).expect("flows");

        let body = &read[1].response.as_ref().expect("a response").body;
        assert_eq!((body.octets(), body.length), (Bytes::from_static(b"hello"), 6));
        let response = read[0].response.as_ref().expect("a response");
        assert_eq!((response.body.octets(), response.head.fields.contains("content-encoding")), (Bytes::from_static(b"hello"), false));
        assert_eq!((response.head.fields.get("content-length"), response.body.is_cut()), (Some(b"5".as_slice()), false));
    }

    #[test]
    fn the_records_that_are_the_product_are_flows() {
        for (name, path) in [("completions", "/v1/engines/copilot-codex/completions"), ("telemetry", "/telemetry")] {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../plugins/logger/tests/golden/{name}.record.json"));

            let flows = read(&[file], |_| {}).expect("a flow");

            let [flow] = flows.as_slice() else { panic!("{flows:?}") };
            assert_eq!((flow.user.as_deref(), &flow.outcome), (Some("satomic"), &Outcome::Completed));
            assert_eq!(String::from_utf8_lossy(&flow.request.head.path), path);
            assert!(!flow.request.body.pieces.is_empty() && flow.response.is_some());
        }
    }

    #[test]
    fn what_is_too_large_for_memory_is_not_read_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let [flows, other] = ["large.flows", "large.har"].map(|name| folder.path().join(name));
        for (path, begin) in [(&flows, file::MAGIC), (&other, b"{".as_slice())] {
            fs::write(path, begin).and_then(|()| File::options().write(true).open(path)?.set_len(MAX_FILE + 7)).expect("made");
        }
        let at_once = |path| format!("{:#}", read(&[path], |_| {}).expect_err("too large"));
        let said = at_once(&flows);
        assert!(said.contains("2147483655 octets") && said.contains("large.flows") && said.contains("flows show"), "{said}");
        let one_by_one = format!("{:#}", each(&[&other], |_| {}, |_| {}).expect_err("too large"));
        for said in [at_once(&other), one_by_one] {
            assert!(said.contains("2147483655 octets") && said.contains("a smaller one") && !said.contains("flows show"), "{said}");
        }
    }

    #[test]
    fn what_is_left_out_is_said() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("torn.flows");
        let whole = file::to_octets([&flow(1)]).expect("octets");
        fs::write(&path, [&whole, &whole[file::MAGIC.len()..whole.len() - 1]].concat()).expect("written");
        let mut said = Vec::new();

        let flows = read(&[&path], |remark| said.push(remark)).expect("flows");

        let left = whole.len() - file::MAGIC.len() - 1;
        assert_eq!(
            (flows.len(), said),
            (1, vec![format!("{} ends in an unfinished flow: its last {left} octets are left out", path.display())])
        );
    }

    #[test]
    fn entries_that_are_no_exchange_are_left_out_and_null_is_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("page.har");
        let mut archive = har::export(&[flow(1), flow(2), flow(3), flow(4)]).expect("an archive");
        let entries = archive["log"]["entries"].as_array_mut().expect("a list");
        for entry in entries.iter_mut() {
            entry.as_object_mut().expect("an object").remove("_flowgate");
        }
        entries[0]["request"]["url"] = "data:image/gif;base64,R0lGODlhAQABAAAAACw=".into();
        entries[2]["request"]["url"] = "blob:https://a.test/1".into();
        entries[3]["time"] = Value::Null;
        entries[3]["timings"]["wait"] = Value::Null;
        entries[3]["request"]["headers"] = json!([{ "name": "X-Nothing", "value": null }]);
        entries[3]["response"]["headers"] = Value::Null;
        fs::write(&path, archive.to_string()).expect("written");
        let mut said = Vec::new();

        let flows = read(&[&path], |remark| said.push(remark)).expect("flows");

        assert_eq!(flows.iter().map(|flow| flow.id).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(flows[1].request.head.fields.get("x-nothing"), Some(b"".as_slice()));
        assert_eq!(said, [format!("{} has entries that are no HTTP exchange (blob, data): 2 are left out", path.display())]);
    }

    #[test]
    fn what_waits_for_a_writer_is_read_only_where_it_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let pipe = folder.path().join("a.flows");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).expect("made");
        fs::write(folder.path().join("b.flows"), file::to_octets([&flow(1)]).expect("octets")).expect("written");
        let writer = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::write(pipe, file::to_octets([&flow(1), &flow(2)]).expect("octets")).expect("written")
        });

        assert_eq!(read(&[pipe], |_| {}).expect("flows").len(), 2);
        assert_eq!(read(&[folder.path()], |_| {}).expect("flows").len(), 1);
        writer.join().expect("no panic");
    }

    #[test]
    fn a_folder_is_read_file_by_file_and_numbered_through() {
        let folder = tempfile::tempdir().expect("a folder");
        let inner = folder.path().join("b");
        fs::create_dir(&inner).expect("made");
        fs::write(folder.path().join("a.flows"), file::to_octets([&flow(1), &flow(2)]).expect("octets")).expect("written");
        fs::write(inner.join("c.har"), har::export(&[flow(1)]).expect("an archive").to_string()).expect("written");
        fs::write(folder.path().join("README.md"), "not this").expect("written");

        let flows = read(&[folder.path()], |_| {}).expect("flows");

        assert_eq!(flows.iter().map(|flow| flow.id).collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn bad_files_are_named_with_what_helps() {
        let entry = |change: fn(&mut Value)| {
            let mut archive = har::export(&[flow(1)]).expect("an archive");
            change(&mut archive["log"]["entries"][0]);
            archive.to_string().into_bytes()
        };
        let mut torn = file::to_octets([&flow(1)]).expect("octets");
        torn.truncate(40);
        let cases = [
            (b"".to_vec(), "neither a flow file nor JSON"),
            (b"\0\x01".to_vec(), "a flow file of `flowgate run --record`"),
            (b"{\"log\": {\"entr".to_vec(), "cut off: save it again"),
            (b"{\"a\": 1}".to_vec(), "JSON of another kind"),
            (b"{\"log\": {}}".to_vec(), "log.entries"),
            (torn, "there is no flow in"),
            (entry(|entry| entry["request"]["url"] = "https:a".into()), "entry 1 of the HAR: \"https:a\" is no URL"),
            (entry(|entry| entry["request"]["method"] = "G T".into()), "is no method"),
            (entry(|entry| entry["startedDateTime"] = "now".into()), "is no time"),
            (entry(|entry| entry["request"]["headers"] = json!([{ "name": "a b", "value": "" }])), "is no field"),
            (json!({ "request": {}, "response": {} }).to_string().into_bytes(), "no record of the logger"),
        ];
        for (content, expected) in cases {
            let said = complaint(&content);
            assert!(said.contains(expected) && said.contains("some.har"), "{expected}: {said}");
        }
    }

    #[test]
    fn whose_password_it_was_is_not_read() {
        let mut archive = har::export(&[flow(1)]).expect("an archive");
        archive["log"]["entries"][0]["request"]["headers"] = json!([{ "name": "Proxy-Authorization", "value": "Basic YTpi" }]);

        let (_, flows) = parse(archive.to_string().into(), |_| {}).expect("flows");

        assert!(flows[0].request.head.fields.is_empty());
    }

    proptest! {
        #[test]
        fn no_octets_make_the_reader_panic(octets in prop::collection::vec(any::<u8>(), 0..600), at in 0..6usize) {
            let whole = file::to_octets([&flow(1)]).expect("octets");
            let fronts: [&[u8]; 6] = [b"", file::MAGIC, &whole[..29], &whole, b"{\"log\":{\"entries\":[", b"{\"request\":{\"url\":\""];
            let _ = parse([fronts[at], &octets].concat().into(), |_| {});
        }

        #[test]
        fn no_damage_makes_the_reader_panic(at in 0..400usize, octet: u8) {
            let mut file = file::to_octets([&conversation(1)]).expect("octets");
            let at = at % file.len();
            file[at] = octet;
            let _ = parse(file.into(), |_| {});
            let mut layout = crate::recording::layout::encode(&conversation(1)).to_vec();
            let at = at % layout.len();
            layout[at] = octet;
            let _ = crate::recording::layout::decode(layout.into());
        }

        #[test]
        fn no_member_of_an_archive_makes_the_reader_panic(text in ".*", number: f64, place in 0..9usize) {
            let mut archive = har::export(&[conversation(1)]).expect("an archive");
            let entry = &mut archive["log"]["entries"][0];
            match place {
                0 => entry["request"]["url"] = text.into(),
                1 => entry["startedDateTime"] = text.into(),
                2 => entry["time"] = number.into(),
                3 => entry["response"]["status"] = (number as i64).into(),
                4 => entry["response"]["content"] = json!({ "text": text, "encoding": "base64" }),
                5 => entry["_webSocketMessages"][0]["time"] = number.into(),
                6 => entry["_webSocketMessages"][1]["data"] = text.into(),
                7 => entry["request"]["headers"] = json!([{ "name": text, "value": text }]),
                _ => entry["timings"]["wait"] = number.into(),
            }
            let _ = parse(archive.to_string().into(), |_| {});
        }
    }
}
