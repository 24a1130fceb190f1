//! Components as files: another build of the same plugin, and what identifies one.

use sha2::{Digest, Sha256};

/// The same component with a custom section more: another file to the host, the same plugin to everybody.
pub fn variant(component: &[u8], number: u32) -> Vec<u8> {
    const NAME: &[u8] = b"variant";
    // A custom section is 0, its size, the length of its name, its name and anything; both lengths are below 128 here.
    let size = 1 + NAME.len() + 4;
    [component, &[0, size as u8, NAME.len() as u8], NAME, &number.to_le_bytes()].concat()
}

/// As plugins are listed with: SHA-256, hexadecimal.
pub fn hash(component: &[u8]) -> String {
    Sha256::digest(component).iter().map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_differ_and_begin_alike() {
        let component = b"\0asm\x0d\0\x01\0";

        let (one, two) = (variant(component, 1), variant(component, 2));

        assert!(one != two && one.starts_with(component) && two.starts_with(component));
        assert_ne!(hash(&one), hash(&two));
        assert_eq!(hash(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
