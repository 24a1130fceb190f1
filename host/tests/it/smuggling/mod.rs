//! Messages that two readers could understand in two ways: none reaches an origin, or a client, with another meaning than it had.
//!
//! Each table has what is sent, why it is dangerous, and what must become of it. Whatever arrives behind the proxy is read by a reader of
//! its own ([`strict`]) that forgives nothing. After each of them a neighbour on another connection is served.
//! Source: RFC 9112 §2.2, §5.1, §6.3, §7.1, §11; RFC 9113 §8.1.1, §8.2, §8.3.

mod h2;
mod head;
mod plugins;
mod requests;
mod responses;
mod strict;

use std::sync::{Arc, Mutex};

use flowgate_testkit::{Origin, Setup, client::H1, client::request};

/// Everything that came to an origin, by connection.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<Vec<u8>>>>);

impl Heard {
    fn begin(&self) -> usize {
        let mut all = self.0.lock().unwrap();
        all.push(Vec::new());
        all.len() - 1
    }

    /// What has come on that connection, with this.
    fn add(&self, connection: usize, octets: &[u8]) -> Vec<u8> {
        let mut all = self.0.lock().unwrap();
        all[connection].extend_from_slice(octets);
        all[connection].clone()
    }

    fn all(&self) -> Vec<Vec<u8>> {
        self.0.lock().unwrap().clone()
    }

    /// Every whole request, as [`strict`] reads them.
    fn requests(&self) -> Vec<strict::Asked> {
        let read =
            |octets: &Vec<u8>| strict::requests(octets).unwrap_or_else(|why| panic!("an origin got {}: {why}", octets.escape_ascii()));
        self.all().iter().flat_map(read).collect()
    }

    /// Whether those octets came anywhere at all.
    fn contains(&self, octets: &str) -> bool {
        self.all().iter().any(|all| all.windows(octets.len()).any(|window| window == octets.as_bytes()))
    }
}

/// An origin that answers each whole request with its own target, and keeps every octet.
async fn recording(setup: Setup) -> (Origin, Heard) {
    let heard = Heard::default();
    let origin = Origin::speaking(setup, {
        let heard = heard.clone();
        move |mut wire| {
            let (heard, at) = (heard.clone(), heard.begin());
            async move {
                let mut answered = 0;
                while let Ok(octets) = wire.some(usize::MAX).await {
                    let Ok(requests) = strict::requests(&heard.add(at, &octets)) else { return };
                    for asked in &requests[answered..] {
                        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", asked.target.len(), asked.target);
                        if wire.send(answer).await.is_err() {
                            return;
                        }
                    }
                    answered = requests.len();
                }
            }
        }
    })
    .await;
    (origin, heard)
}

/// Another client, on a connection of its own that it keeps.
struct Neighbour {
    connection: H1,
    host: String,
}

impl Neighbour {
    async fn asks(&mut self, after: &str) {
        let response = self.connection.exchange(request("GET", "/neighbour", &self.host, &[], b"")).await;
        let response = response.unwrap_or_else(|failure| panic!("the neighbour, after {after}: {failure}"));
        assert_eq!((response.status(), response.text()), (200, "/neighbour".to_owned()), "the neighbour, after {after}");
    }
}

fn filled(octets: &[u8], pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut octets = octets.to_vec();
    for (mark, by) in pairs {
        while let Some(at) = octets.windows(mark.len()).position(|window| window == mark.as_bytes()) {
            octets.splice(at..at + mark.len(), by.bytes());
        }
    }
    octets
}
