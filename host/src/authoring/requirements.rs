//! What `requirements.txt` asks of pip, and whether an environment still has what was installed for it.
//!
//! Place: asked by `tools`. Knows of pip's format what is needed to see that something has changed; pip reads the rest.
//! Source: pip's requirements file format.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

/// Options that name another file, relative to the one they stand in.
const FILE_OPTIONS: [&str; 4] = ["--requirement", "--constraint", "-r", "-c"];

/// What a text of requirements names, for people: without comments and pip's options. A text of options alone (`-r other.txt`) names those.
pub(super) fn packages(requirements: &str) -> Vec<&str> {
    let lines: Vec<&str> = lines(requirements).collect();
    let named: Vec<&str> = lines.iter().copied().filter(|line| !line.starts_with('-')).collect();
    if named.is_empty() { lines } else { named }
}

/// Stands for this text and the texts of all files that it names, in hexadecimal.
pub(super) fn fingerprint(file: &Path) -> String {
    let (mut sum, mut seen, mut waiting) = (Sha256::new(), BTreeSet::new(), vec![file.to_owned()]);
    while let Some(file) = waiting.pop() {
        if !seen.insert(file.clone()) {
            continue;
        }
        // One that cannot be read is pip's to complain of.
        let text = fs::read_to_string(&file).unwrap_or_default();
        sum.update((text.len() as u64).to_le_bytes());
        sum.update(&text);
        waiting.extend(named_files(&text).map(|name| file.with_file_name(name)));
    }
    sum.finalize().iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Packages in a virtual environment, with their versions; `None`: it is not laid out as expected.
pub(super) fn installed(venv: &Path) -> Option<BTreeSet<PathBuf>> {
    let mut pythons = fs::read_dir(venv.join("lib")).ok()?.flatten();
    let packages = pythons.find_map(|python| fs::read_dir(python.path().join("site-packages")).ok())?;
    let named = packages.flatten().map(|entry| PathBuf::from(entry.file_name()));
    Some(named.filter(|name| name.extension().is_some_and(|extension| extension == "dist-info")).collect())
}

fn lines(requirements: &str) -> impl Iterator<Item = &str> {
    let lines = requirements.lines().map(|line| line.split_once(" #").map_or(line, |(before, _)| before).trim());
    lines.filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn named_files(requirements: &str) -> impl Iterator<Item = &str> {
    let rest = |line| FILE_OPTIONS.iter().find_map(|option| str::strip_prefix(line, option));
    lines(requirements).filter_map(rest).map(|rest| rest.trim_start_matches(['=', ' ', '\t']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_any_file_that_is_named_is_seen() {
        let folder = tempfile::tempdir().expect("a folder");
        let put = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("one")).and_then(|()| fs::write(&path, text)).expect("written");
            path
        };
        let own = put("requirements.txt", "-r more/base.txt  # ours\n--constraint=bounds.txt\na==1\n");
        put("more/base.txt", "b==1\n-r deeper.txt\n-r base.txt\n");
        let mut seen = BTreeSet::from([fingerprint(&own)]);

        for (name, text) in [("more/deeper.txt", "c==1\n"), ("more/base.txt", "b==2\n-r deeper.txt\n"), ("bounds.txt", "a<2\n")] {
            put(name, text);
            assert!(seen.insert(fingerprint(&own)), "{name}");
        }
        put("more/other.txt", "d==1\n");
        assert!(seen.contains(&fingerprint(&own)));
    }
}
