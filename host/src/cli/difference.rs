//! What differs between two texts, line by line.

/// Lines around a difference that are shown.
const AROUND: usize = 3;
/// Lines that are shown at most.
const MOST: usize = 200;
/// Lines of the middle that are compared with each other, at most: beyond it, old and new are shown one after the other.
const COMPARED: usize = 4000;

/// Lines that went with `-` in front, those that came with `+`, and a few around them.
pub(super) fn difference(old: &[u8], new: &[u8]) -> String {
    let (Ok(old), Ok(new)) = (std::str::from_utf8(old), std::str::from_utf8(new)) else {
        return format!("  (not text: {} octets, were {})\n", new.len(), old.len());
    };
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let same = |pairs: &mut dyn Iterator<Item = (&&str, &&str)>| pairs.take_while(|(one, other)| one == other).count();
    let front = same(&mut old.iter().zip(&new));
    let back = same(&mut old[front..].iter().rev().zip(new[front..].iter().rev()));
    let (middle_old, middle_new) = (&old[front..old.len() - back], &new[front..new.len() - back]);
    if middle_old.is_empty() && middle_new.is_empty() {
        return "  (they differ in line ends alone)\n".to_owned();
    }
    let mut lines: Vec<String> = old[front.saturating_sub(AROUND)..front].iter().map(|line| format!("  {line}")).collect();
    lines.insert(0, format!("@@ line {}", front + 1));
    lines.extend(middle(middle_old, middle_new));
    let after = old.len() - back;
    lines.extend(old[after..old.len().min(after + AROUND)].iter().map(|line| format!("  {line}")));
    let left = lines.len().saturating_sub(MOST);
    lines.truncate(MOST);
    if left > 0 {
        lines.push(format!("  (and {left} lines more)"));
    }
    lines.join("\n") + "\n"
}

/// By the longest common subsequence.
fn middle(old: &[&str], new: &[&str]) -> Vec<String> {
    if old.len().max(new.len()) > COMPARED {
        return old.iter().map(|line| format!("- {line}")).chain(new.iter().map(|line| format!("+ {line}"))).collect();
    }
    let width = new.len() + 1;
    let mut common = vec![0u32; (old.len() + 1) * width];
    for (at, one) in old.iter().enumerate().rev() {
        for (other_at, other) in new.iter().enumerate().rev() {
            common[at * width + other_at] = match one == other {
                true => common[(at + 1) * width + other_at + 1] + 1,
                false => common[(at + 1) * width + other_at].max(common[at * width + other_at + 1]),
            };
        }
    }
    let (mut at, mut other, mut lines) = (0, 0, Vec::new());
    while at < old.len() || other < new.len() {
        let goes = at < old.len() && (other == new.len() || common[(at + 1) * width + other] >= common[at * width + other + 1]);
        if at < old.len() && other < new.len() && old[at] == new[other] {
            lines.push(format!("  {}", old[at]));
            (at, other) = (at + 1, other + 1);
        } else if goes {
            lines.push(format!("- {}", old[at]));
            at += 1;
        } else {
            lines.push(format!("+ {}", new[other]));
            other += 1;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_and_what_came_is_shown_in_its_place() {
        let old = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";
        let new = "1\n2\n3\n4\nfive\n6\n7\n8\n9\n";

        assert_eq!(difference(old.as_bytes(), new.as_bytes()), "@@ line 5\n  2\n  3\n  4\n- 5\n+ five\n  6\n  7\n  8\n");
        assert_eq!(difference(b"", b"a\n"), "@@ line 1\n+ a\n");
        assert_eq!(difference(b"a\nb\nc", b"a\nc\nd"), "@@ line 2\n  a\n- b\n  c\n+ d\n");
        assert!(difference(b"\xff", b"").contains("not text"));
        assert!(difference("x\n".repeat(900).as_bytes(), b"").contains("lines more"));
    }
}
