//! Whose connection it is that a load balancer passes on: what the PROXY protocol says in front of it.
//!
//! Place: between `listener` and `connection`, for connections from where the configuration says that balancers are, and for no others. There
//! the header is required; elsewhere nobody looks for one, so that nobody can say to be somebody else.
//! Source: the PROXY protocol, versions 1 and 2 (haproxy.org/download/3.2/doc/proxy-protocol.txt).

use std::{io, net::SocketAddr, time::Duration};

use bytes::BytesMut;
use proxy_header::{Error, ParseConfig, Protocol, ProxyHeader};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::timeout,
};

use crate::flow::ClientAddr;

/// What else a header says is not asked for.
const ADDRESSES: ParseConfig = ParseConfig { include_tlvs: false, allow_v1: true, allow_v2: true };

/// Bounds of such a header.
#[derive(Clone, Copy, Debug)]
pub struct IntroductionLimits {
    /// For all of it, from the moment the connection is there.
    pub deadline: Duration,
    /// Octets of it.
    pub bytes: usize,
}

/// What a header says, and what came behind it.
#[derive(Debug)]
pub(super) struct Introduction {
    /// Whom the balancer speaks for; the balancer itself where it says that it speaks for nobody, as when it looks whether one is there.
    pub(super) client: ClientAddr,
    /// The address that the client connected to.
    pub(super) reached: Option<SocketAddr>,
    /// Octets of the client's.
    pub(super) rest: BytesMut,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unintroduced {
    #[error("it ended before it said anything")]
    Silent,
    #[error("it does not begin with a PROXY header (versions 1 and 2, over TCP)")]
    Malformed,
    #[error("its PROXY header is longer than {0} octets")]
    TooLong(usize),
    #[error("its PROXY header is not there within {0:?}")]
    Late(Duration),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads the header of a connection from `balancer`.
pub(super) async fn read<S>(stream: &mut S, balancer: ClientAddr, limits: IntroductionLimits) -> Result<Introduction, Unintroduced>
where
    S: AsyncRead + Unpin,
{
    let reading = async {
        let mut octets = BytesMut::new();
        loop {
            match ProxyHeader::parse(&octets, ADDRESSES) {
                Ok((header, length)) => {
                    let (client, reached) = whose(&header, balancer)?;
                    return Ok(Introduction { client, reached, rest: octets.split_off(length) });
                }
                // Its parser waits for as much as the longest of version 1 has.
                Err(Error::BufferTooShort) if octets.len() < limits.bytes => {}
                Err(Error::BufferTooShort) => return Err(Unintroduced::TooLong(limits.bytes)),
                Err(_) => return Err(Unintroduced::Malformed),
            }
            let room = limits.bytes - octets.len();
            if (&mut *stream).take(room as u64).read_buf(&mut octets).await? == 0 {
                return Err(if octets.is_empty() { Unintroduced::Silent } else { Unintroduced::Malformed });
            }
        }
    };
    timeout(limits.deadline, reading).await.unwrap_or(Err(Unintroduced::Late(limits.deadline)))
}

/// Whom it speaks for, and what they connected to.
fn whose(header: &ProxyHeader<'_>, balancer: ClientAddr) -> Result<(ClientAddr, Option<SocketAddr>), Unintroduced> {
    match header.proxied_address() {
        Some(said) if said.protocol == Protocol::Stream => Ok((ClientAddr(said.source), Some(said.destination))),
        Some(_) => Err(Unintroduced::Malformed),
        None => Ok((balancer, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: IntroductionLimits = IntroductionLimits { deadline: Duration::from_secs(60), bytes: 200 };
    const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

    fn balancer() -> ClientAddr {
        ClientAddr(([10, 0, 0, 5], 7).into())
    }

    /// What comes of these pieces, one after the other, and then the end.
    async fn read_all(pieces: &[&[u8]]) -> Result<Introduction, Unintroduced> {
        let (mut here, mut there) = tokio::io::duplex(1);
        let octets = pieces.concat();
        let writing = async move {
            tokio::io::AsyncWriteExt::write_all(&mut there, &octets).await.ok();
        };
        // Whoever writes is let go when enough was read.
        let reading = async move { read(&mut here, balancer(), LIMITS).await };
        tokio::join!(reading, writing).0
    }

    fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        [V2, &[0x20 | command, family], &u16::try_from(addresses.len()).unwrap().to_be_bytes(), addresses].concat()
    }

    #[tokio::test]
    async fn both_versions_say_who_it_is() {
        let v4 = [192, 0, 2, 1, 198, 51, 100, 2, 0xc0, 0, 0x1f, 0x90];
        let v6: Vec<u8> = ["2001:db8::1", "2001:db8::2"]
            .iter()
            .flat_map(|ip| ip.parse::<std::net::Ipv6Addr>().unwrap().octets())
            .chain([0, 1, 0, 2])
            .collect();
        let tlv = [&v4[..], &[4, 0, 1, 0]].concat();
        for (header, client, reached) in [
            (b"PROXY TCP4 192.0.2.1 198.51.100.2 49152 8080\r\n".to_vec(), "192.0.2.1:49152", Some("198.51.100.2:8080")),
            (b"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n".to_vec(), "[2001:db8::1]:1", Some("[2001:db8::2]:2")),
            (b"PROXY UNKNOWN\r\n".to_vec(), "10.0.0.5:7", None),
            (b"PROXY UNKNOWN ffff:f::1 ffff:f::1 65535 65535\r\n".to_vec(), "10.0.0.5:7", None),
            (v2(1, 0x11, &v4), "192.0.2.1:49152", Some("198.51.100.2:8080")),
            (v2(1, 0x11, &tlv), "192.0.2.1:49152", Some("198.51.100.2:8080")),
            (v2(1, 0x21, &v6), "[2001:db8::1]:1", Some("[2001:db8::2]:2")),
            (v2(0, 0x11, &v4), "10.0.0.5:7", None),
            (v2(0, 0, &[]), "10.0.0.5:7", None),
            (v2(1, 0, &[]), "10.0.0.5:7", None),
        ] {
            let said = read_all(&[&header, b"GET"]).await.unwrap_or_else(|error| panic!("{header:?}: {error}"));
            assert_eq!((said.client.0.to_string().as_str(), said.reached.map(|address| address.to_string()).as_deref()), (client, reached));
            assert!(b"GET".starts_with(&said.rest), "{:?}", said.rest);
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused_and_a_long_one_is_not_waited_for() {
        let long = v2(1, 0x11, &[0; 300]);
        let datagrams = v2(1, 0x12, &[0; 12]);
        for (octets, expected) in [
            (&b""[..], "before it said anything"),
            (b"GET / HTTP/1.1\r\n\r\n", "does not begin with a PROXY header"),
            (b"PROXY TCP4 192.0.2.1 198.51.100.2 49152\r\n\r\n", "does not begin with a PROXY header"),
            (b"PROXY TCP4 192.0.2.1 198.51.100.2 49152 80", "does not begin with a PROXY header"),
            (b"PROXY TCP4 2001:db8::1 198.51.100.2 1 2\r\n", "does not begin with a PROXY header"),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "does not begin with a PROXY header"),
            (&datagrams, "does not begin with a PROXY header"),
            (&v2(2, 0x11, &[0; 12]), "does not begin with a PROXY header"),
            (&v2(1, 0x11, &[0; 4]), "does not begin with a PROXY header"),
            (&long, "longer than 200 octets"),
        ] {
            let error = read_all(&[octets]).await.expect_err("it is no header").to_string();
            assert!(error.contains(expected), "{octets:?}: {error}");
        }
    }

    #[tokio::test]
    async fn a_header_that_does_not_come_is_not_waited_for() {
        let (mut here, _there) = tokio::io::duplex(1);

        let error = read(&mut here, balancer(), IntroductionLimits { deadline: Duration::ZERO, ..LIMITS }).await.expect_err("it is late");

        assert_eq!(error.to_string(), "its PROXY header is not there within 0ns");
    }
}
