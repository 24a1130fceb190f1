//! Certificates as a PKCS#12 file, which is how Java and several systems like what they are to trust.
//!
//! Place: asked by `net` for its page. Certificates alone: there is no key in it, nothing is encrypted, and the password only stands against damage.
//! Source: RFC 7292; X.690 for DER; `trustedKeyUsage` as Java's `keytool` writes it.

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use super::Root;

/// Everybody may know it; Java's own stores have it too.
pub const PASSWORD: &str = "changeit";
/// Rounds of the derivation: there is no secret to protect.
const ROUNDS: u32 = 1024;
/// Octets of a block of SHA-256.
const BLOCK: usize = 64;

const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
const CERTIFICATE_BAG: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01, 0x03];
const X509: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x16, 0x01];
const FRIENDLY_NAME: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x14];
/// 2.16.840.1.113894.746875.1.1: without it, Java does not trust a certificate that has no key.
const TRUSTED_KEY_USAGE: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x86, 0xf9, 0x66, 0xad, 0xca, 0x7b, 0x01, 0x01];
const ANY_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25, 0x00];
const SHA256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OCTETS: u8 = 0x04;
const OBJECT: u8 = 0x06;
const BMP_STRING: u8 = 0x1e;
/// `[0] EXPLICIT`
const FIRST: u8 = 0xa0;
const NULL: &[u8] = &[0x05, 0x00];

/// The certificates of these roots, under their names. The same ones always make the same file.
pub fn pkcs12<'a>(roots: impl Iterator<Item = &'a Root>) -> Vec<u8> {
    let bags = der(SEQUENCE, &roots.map(|root| bag(root.certificate_der(), root.subject())).collect::<Vec<_>>());
    let safe = der(SEQUENCE, &[content(&bags)]);
    let salt: [u8; 32] = Sha256::digest(&safe).into();
    let digest = der(SEQUENCE, &[der(SEQUENCE, &[der(OBJECT, &[SHA256]), NULL.to_vec()]), der(OCTETS, &[mac(&safe, &salt)])]);
    let rounds = integer(ROUNDS);
    let mac = der(SEQUENCE, &[digest, der(OCTETS, &[salt]), rounds]);
    der(SEQUENCE, &[integer(3), content(&safe), mac])
}

fn bag(certificate: &[u8], name: &str) -> Vec<u8> {
    let certificate = der(SEQUENCE, &[der(OBJECT, &[X509]), der(FIRST, &[der(OCTETS, &[certificate])])]);
    let attribute = |kind: &[u8], value: Vec<u8>| der(SEQUENCE, &[der(OBJECT, &[kind]), der(SET, &[value])]);
    // RFC 5280 §4.1: of a set, the parts are in the order of their octets.
    let mut attributes =
        [attribute(FRIENDLY_NAME, der(BMP_STRING, &[utf16(name)])), attribute(TRUSTED_KEY_USAGE, der(OBJECT, &[ANY_KEY_USAGE]))];
    attributes.sort();
    der(SEQUENCE, &[der(OBJECT, &[CERTIFICATE_BAG]), der(FIRST, &[certificate]), der(SET, &attributes)])
}

fn content(octets: &[u8]) -> Vec<u8> {
    der(SEQUENCE, &[der(OBJECT, &[DATA]), der(FIRST, &[der(OCTETS, &[octets])])])
}

/// RFC 7292 §5.1 (3).
fn mac(safe: &[u8], salt: &[u8; 32]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&key(salt)).expect("HMAC takes keys of any length");
    mac.update(safe);
    mac.finalize().into_bytes().to_vec()
}

/// RFC 7292 appendix B.2, for a key as long as one hash, where there is nothing to be added up.
fn key(salt: &[u8]) -> [u8; 32] {
    const FOR_MAC: u8 = 3;
    let filling = |octets: &[u8]| octets.iter().copied().cycle().take(octets.len().next_multiple_of(BLOCK)).collect::<Vec<_>>();
    let password = [utf16(PASSWORD), vec![0, 0]].concat();
    let mut key: [u8; 32] = Sha256::digest([&[FOR_MAC; BLOCK][..], &filling(salt), &filling(&password)].concat()).into();
    for _ in 1..ROUNDS {
        key = Sha256::digest(key).into();
    }
    key
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

fn integer(number: u32) -> Vec<u8> {
    let octets = number.to_be_bytes();
    // One leading zero bit, and no octet more than that takes.
    let spare = octets.windows(2).take_while(|pair| pair[0] == 0 && pair[1] < 0x80).count();
    der(0x02, &[&octets[spare..]])
}

fn der(tag: u8, parts: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.as_ref().len()).sum();
    let mut octets = vec![tag];
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => octets.push(short),
        _ => {
            let bytes = length.to_be_bytes();
            let bytes = &bytes[bytes.iter().take_while(|octet| **octet == 0).count()..];
            octets.push(0x80 | bytes.len() as u8);
            octets.extend_from_slice(bytes);
        }
    }
    parts.iter().for_each(|part| octets.extend_from_slice(part.as_ref()));
    octets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_numbers_are_as_short_as_they_can_be() {
        assert_eq!(der(OCTETS, &[[7; 3]]), [4, 3, 7, 7, 7]);
        assert_eq!(der(OCTETS, &[[0; 200]])[..3], [4, 0x81, 200]);
        assert_eq!(der(OCTETS, &[[0; 300]])[..4], [4, 0x82, 1, 44]);
        assert_eq!([integer(3), integer(128), integer(1024)].concat(), [2, 1, 3, 2, 2, 0, 128, 2, 2, 4, 0]);
    }
}
