//! The flow file: recorded flows one behind the other, each whole or absent.
//!
//! Place: written by `keep` on its own thread, read by whoever plays flows or shows them. `docs/flows.md` describes it octet by octet. What a
//! crash left unfinished at the end is left out when it is read, and taken off when it is written on.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use flate2::Crc;
use rustix::fs::{FlockOperation, flock};

use super::{RecordedFlow, layout};

/// What such a file begins with; the number is the format's version.
pub(super) const MAGIC: &[u8] = b"flowgate flows 1\n";
/// The same without the version.
const KIND: &[u8] = b"flowgate flows ";
/// What stands before each flow: its length as it is, its length when inflated, and a checksum.
const ENTRY: usize = 12;
/// Most octets of one flow, inflated: what no recording makes is not read either.
const MAX_FLOW: u32 = 1 << 30;
/// Most octets of one flow as it stands: what cannot be compressed grows by a part in 256 (`ZSTD_compressBound`).
const MAX_PACKED: u32 = MAX_FLOW + (MAX_FLOW >> 8);
/// What a flow as it stands begins with (RFC 8878 §3.1.1).
const ZSTD: &[u8] = &0xFD2F_B528_u32.to_le_bytes();
/// Flows are text mostly, and are written while traffic passes: quick goes before small.
const LEVEL: i32 = 1;

/// A flow file that is written on. Nobody else can write to it meanwhile.
pub struct FlowFile {
    path: PathBuf,
    file: File,
    /// Octets that are whole flows.
    length: u64,
    /// Flows in it.
    flows: u64,
}

impl FlowFile {
    /// Makes the file (mode 0600), or goes on after the last flow in it.
    ///
    /// # Errors
    /// It cannot be written to, another process writes to it, it is damaged, or it holds something else.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let opening = || format!("opening the flow file {}", path.display());
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path).with_context(opening)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)
            .with_context(|| format!("{} is being written by another process: name another file", path.display()))?;
        let Extent { length, flows, left } = Extent::of(&file, path)?;
        if left > 0 {
            tracing::warn!(file = %path.display(), octets = left, "the file ended in an unfinished flow, which is taken off");
        }
        file.set_len(length).with_context(opening)?;
        file.seek(SeekFrom::End(0)).with_context(opening)?;
        let mut this = Self { path: path.to_owned(), file, length, flows };
        if length == 0 {
            this.append(MAGIC).with_context(opening)?;
        }
        Ok(this)
    }

    /// Whether a file that is there could be opened; nothing is changed, and a proxy that writes to it goes on.
    ///
    /// # Errors
    /// It cannot be written to, it is damaged, or it holds something else.
    pub fn look(path: &Path) -> anyhow::Result<()> {
        let file = OpenOptions::new().read(true).write(true).open(path);
        let file = file.with_context(|| format!("opening the flow file {}", path.display()))?;
        Extent::of(&file, path).map(drop)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many flows are in it.
    pub fn flows(&self) -> u64 {
        self.flows
    }

    /// Appends a flow, which gets the next number.
    ///
    /// # Errors
    /// The system does not take it. The file is then as before.
    pub fn write(&mut self, flow: &mut RecordedFlow) -> io::Result<()> {
        flow.id = self.flows + 1;
        let entry = entry(&layout::encode(flow))?;
        self.append(&entry)?;
        self.flows += 1;
        Ok(())
    }

    /// What was written reaches the disk.
    ///
    /// # Errors
    /// The system's.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn append(&mut self, octets: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all(octets) {
            // Half of it may be there.
            self.file.set_len(self.length)?;
            self.file.seek(SeekFrom::End(0))?;
            return Err(error);
        }
        self.length += octets.len() as u64;
        Ok(())
    }
}

/// What is in a flow file.
#[derive(Default)]
struct Extent {
    /// Octets that are whole flows.
    length: u64,
    flows: u64,
    /// Octets behind them that are no whole flow.
    left: u64,
}

impl Extent {
    fn of(mut file: &File, path: &Path) -> anyhow::Result<Self> {
        let opening = || format!("opening the flow file {}", path.display());
        let mut begin = Vec::new();
        file.take(MAGIC.len() as u64 + 1).read_to_end(&mut begin).with_context(opening)?;
        // What was interrupted while it was made holds nothing yet.
        if MAGIC.starts_with(&begin) {
            return Ok(Self::default());
        }
        file.rewind().with_context(opening)?;
        // Flow by flow: such a file may be larger than memory.
        let (mut entries, mut flows) = (Entries::of(BufReader::new(file)).with_context(|| named(path))?, 0);
        while entries.next().with_context(|| named(path))?.is_some() {
            flows += 1;
        }
        Ok(Self { length: entries.at, flows, left: entries.left })
    }
}

/// All flows as a file, in memory.
///
/// # Errors
/// One is larger than a file takes.
pub fn to_octets<'a>(flows: impl IntoIterator<Item = &'a RecordedFlow>) -> io::Result<Vec<u8>> {
    let mut octets = MAGIC.to_vec();
    for flow in flows {
        octets.extend(entry(&layout::encode(flow))?);
    }
    Ok(octets)
}

/// Whether those are the first octets of a flow file, of any version.
pub(super) fn is_flow_file(octets: &[u8]) -> bool {
    octets.starts_with(KIND)
}

/// The flows in a file.
///
/// # Errors
/// It is another version's, or damaged; says where.
pub(super) fn parse(octets: &[u8]) -> anyhow::Result<Vec<RecordedFlow>> {
    let mut flows = Vec::new();
    each(octets, |flow| flows.push(flow))?;
    Ok(flows)
}

/// Shows them one by one. How many octets at the end are no whole flow.
///
/// # Errors
/// As for [`parse`].
pub(super) fn each(from: impl BufRead, mut look: impl FnMut(RecordedFlow)) -> anyhow::Result<u64> {
    let mut entries = Entries::of(from)?;
    let mut at = 0;
    while let Some(flow) = entries.next()? {
        at += 1;
        look(layout::decode(flow).with_context(|| format!("flow {at} in it cannot be read"))?);
    }
    Ok(entries.left)
}

fn named(path: &Path) -> String {
    format!("{} is not to be written on: name another file", path.display())
}

pub(super) fn entry(flow: &[u8]) -> io::Result<Vec<u8>> {
    let too_large = || io::Error::new(io::ErrorKind::InvalidInput, "the flow is too large for a flow file");
    let inflated = u32::try_from(flow.len()).ok().filter(|length| *length <= MAX_FLOW).ok_or_else(too_large)?;
    let packed = zstd::encode_all(flow, LEVEL)?;
    let length = u32::try_from(packed.len()).map_err(|_| too_large())?;
    let mut entry = Vec::with_capacity(ENTRY + packed.len());
    entry.extend(length.to_le_bytes());
    entry.extend(inflated.to_le_bytes());
    entry.extend(checksum(&packed).to_le_bytes());
    entry.extend(packed);
    Ok(entry)
}

/// What stands before each flow.
struct Head {
    length: u32,
    inflated: u32,
    sum: u32,
}

impl Head {
    /// The octets begin with one; `None`: there are too few.
    fn of(octets: &[u8]) -> Option<Self> {
        let (numbers, _) = octets.get(..ENTRY)?.as_chunks::<4>();
        let number = |nth: usize| u32::from_le_bytes(numbers[nth]);
        Some(Self { length: number(0), inflated: number(1), sum: number(2) })
    }
}

/// Whether a whole flow is somewhere in it.
fn holds_entry(octets: &[u8]) -> bool {
    let begins = octets.windows(ZSTD.len()).enumerate().filter(|(at, found)| *at >= ENTRY && *found == ZSTD);
    begins.map(|(at, _)| octets.split_at(at)).any(|(before, rest)| {
        let head = Head::of(&before[before.len() - ENTRY..]);
        head.is_some_and(|head| rest.get(..head.length as usize).is_some_and(|packed| checksum(packed) == head.sum))
    })
}

/// CRC-32 as in gzip (RFC 1952 §8).
fn checksum(octets: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(octets);
    crc.sum()
}

/// Whole flows, from the first on.
struct Entries<R> {
    from: R,
    /// Octets of those that were taken.
    at: u64,
    /// Octets behind them that are no whole flow.
    left: u64,
}

impl<R: BufRead> Entries<R> {
    fn of(mut from: R) -> anyhow::Result<Self> {
        let begin = from.fill_buf()?;
        ensure!(is_flow_file(begin), "it is no flow file");
        if !begin.starts_with(MAGIC) {
            let version = begin[KIND.len()..].split(|octet| *octet == b'\n').next().unwrap_or_default();
            let version = String::from_utf8_lossy(&version[..version.len().min(9)]).into_owned();
            bail!(
                "it is a flow file of version {version:?}, and this build reads version 1: use the flowgate that wrote it, or a newer one"
            );
        }
        from.consume(MAGIC.len());
        Ok(Self { from, at: MAGIC.len() as u64, left: 0 })
    }

    /// The next flow's octets; `None`: there is no other whole one.
    fn next(&mut self) -> anyhow::Result<Option<Bytes>> {
        let at = self.at;
        let damaged = || format!("it is damaged at octet {at}: what comes before can be had from a copy cut off there");
        let head = self.octets(ENTRY as u64)?;
        let Some(Head { length, inflated, sum }) = Head::of(&head) else {
            self.left = head.len() as u64;
            return Ok(None);
        };
        ensure!(inflated <= MAX_FLOW && length <= MAX_PACKED, damaged());
        let packed = self.octets(length.into())?;
        if packed.len() < length as usize {
            // A crash leaves the beginning of one flow; a length that is wrong would take the flows behind it away.
            ensure!(!holds_entry(&packed), damaged());
            self.left = (ENTRY + packed.len()) as u64;
            return Ok(None);
        }
        ensure!(checksum(&packed) == sum, damaged());
        let mut flow = Vec::new();
        let decoder = zstd::stream::read::Decoder::with_buffer(&packed[..]).with_context(damaged)?;
        decoder.take(u64::from(inflated) + 1).read_to_end(&mut flow).with_context(damaged)?;
        ensure!(flow.len() == inflated as usize, damaged());
        self.at += ENTRY as u64 + u64::from(length);
        Ok(Some(flow.into()))
    }

    /// So many octets, or as many as there are. Grows with these, not with what is said to come.
    fn octets(&mut self, length: u64) -> io::Result<Vec<u8>> {
        let mut octets = Vec::new();
        self.from.by_ref().take(length).read_to_end(&mut octets)?;
        Ok(octets)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;
    use crate::recording::testing::{conversation, flow};

    fn written(path: &Path, mut flows: Vec<RecordedFlow>) -> FlowFile {
        let mut file = FlowFile::open(path).expect("opened");
        flows.iter_mut().for_each(|flow| file.write(flow).expect("written"));
        file
    }

    fn read(path: &Path) -> anyhow::Result<Vec<RecordedFlow>> {
        parse(&fs::read(path).expect("read"))
    }

    #[test]
    fn flows_are_read_as_they_were_written_and_numbered_through() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("flows");

        drop(written(&path, vec![flow(9), conversation(9)]));
        drop(written(&path, vec![flow(9)]));

        assert_eq!(read(&path).expect("flows"), [flow(1), conversation(2), flow(3)]);
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_a_crash_left_is_left_out_and_written_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("flows");
        let ends: Vec<u64> = (0..3)
            .map(|count| {
                let _ = fs::remove_file(&path);
                drop(written(&path, (0..count).map(flow).collect()));
                fs::metadata(&path).expect("there").len()
            })
            .collect();
        let whole = {
            let _ = fs::remove_file(&path);
            drop(written(&path, vec![flow(0), flow(0)]));
            fs::read(&path).expect("read")
        };
        for length in (0..whole.len() as u64).step_by(7) {
            fs::write(&path, &whole[..length as usize]).expect("written");
            let before = ends.iter().rposition(|end| *end <= length).unwrap_or(0) as u64;

            let file = written(&path, vec![flow(0)]);

            assert_eq!(file.flows(), before + 1, "{length}");
            assert_eq!(read(&path).expect("flows").len() as u64, before + 1, "{length}");
        }
    }

    #[test]
    fn damage_is_said_with_its_place() {
        let octets = to_octets([&flow(1), &flow(2)]).expect("octets");
        let mut damaged = octets.clone();
        damaged[MAGIC.len() + ENTRY + 9] ^= 1;

        let error = format!("{:#}", parse(&damaged).expect_err("damaged"));

        assert!(error.contains(&format!("damaged at octet {}", MAGIC.len())), "{error}");
    }

    #[test]
    fn a_length_that_is_wrong_takes_no_other_flow_away() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("flows");
        let one = to_octets([&flow(1)]).expect("octets");
        let two = to_octets([&flow(1), &flow(2)]).expect("octets");
        let damaged = |octets: &[u8], at: usize, octet: u8| {
            let mut octets = octets.to_vec();
            octets[MAGIC.len() + at] = octet;
            octets
        };
        // Past the end with another flow behind it; longer than any flow; inflated to more than any flow.
        for octets in [damaged(&two, 2, 1), damaged(&one, 3, 0xff), damaged(&one, 7, 0xff)] {
            fs::write(&path, &octets).expect("written");

            for error in [FlowFile::open(&path).err(), parse(&octets).err()] {
                let error = format!("{:#}", error.expect("refused"));
                assert!(error.contains(&format!("damaged at octet {}", MAGIC.len())), "{error}");
            }
            assert_eq!(fs::read(&path).expect("there"), octets);
        }
    }

    #[test]
    fn what_is_left_out_is_counted() {
        let (one, two) = (to_octets([&flow(1)]).expect("octets"), to_octets([&flow(1), &flow(2)]).expect("octets"));
        for length in [one.len(), one.len() + 5, one.len() + ENTRY, two.len() - 1] {
            let mut flows = 0;

            let left = each(&two[..length], |_| flows += 1).expect("flows");

            assert_eq!((flows, left as usize), (1, length - one.len()));
        }
    }

    #[test]
    fn another_version_is_named() {
        let error = format!("{:#}", parse(b"flowgate flows 2\nxyz").expect_err("another version"));

        assert!(error.contains("version \"2\"") && error.contains("newer"), "{error}");
    }

    #[test]
    fn nobody_writes_over_another_file_or_beside_another_writer() {
        let folder = tempfile::tempdir().expect("a folder");
        let (flows, other) = (folder.path().join("flows"), folder.path().join("other"));
        fs::write(&other, "something else").expect("written");
        let _writing = written(&flows, Vec::new());

        assert!(FlowFile::look(&other).is_err() && FlowFile::look(&flows).is_ok(), "the proxy that writes may be the one looked at");
        let error = |path| format!("{:#}", FlowFile::open(path).err().expect("refused"));

        assert!(error(&other).contains("no flow file") && error(&flows).contains("another process"));
        assert_eq!(fs::read_to_string(&other).expect("read"), "something else");
    }
}
