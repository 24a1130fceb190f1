//! Content codings: untouched on the wire, undone in the record.

use std::io::Write;

use flate2::{Compression, write};
use flowgate_testkit::{
    Client, Origin, Script, Setup,
    client::request,
    proxy::{Options, Proxy},
};

use crate::copilot;

const TEXT: &str = "{\"note\":\"Ünïcödé 你好 🚀 <&> ' end\"}";

fn coded(coding: &str) -> Vec<u8> {
    let text = TEXT.repeat(50).into_bytes();
    match coding {
        "gzip" => write(write::GzEncoder::new(Vec::new(), Compression::default()), &text, |encoder| encoder.finish()),
        "deflate" => write(write::ZlibEncoder::new(Vec::new(), Compression::default()), &text, |encoder| encoder.finish()),
        "br" => {
            let mut out = Vec::new();
            brotli::BrotliCompress(&mut &text[..], &mut out, &brotli::enc::BrotliEncoderParams::default()).unwrap();
            out
        }
        "zstd" => zstd::encode_all(&text[..], 3).unwrap(),
        _ => text,
    }
}

fn write<W: Write>(mut encoder: W, text: &[u8], finish: fn(W) -> std::io::Result<Vec<u8>>) -> Vec<u8> {
    encoder.write_all(text).unwrap();
    finish(encoder).unwrap()
}

#[tokio::test]
async fn a_coded_response_passes_untouched_and_is_recorded_decoded() {
    for coding in ["identity", "gzip", "deflate", "br", "zstd"] {
        let origin = Origin::start(Setup::tls(), move |_| {
            Script::ok(coded(coding)).field("content-type", "application/json").field("content-encoding", coding)
        })
        .await;
        let target = format!("{}:443", copilot::HOST);
        let proxy = Proxy::start(Options::new().resolving(&target, &origin)).await;
        let asked = copilot::completion(copilot::HOST, "1", b"{}");
        let straight = Client::direct().resolving(&target, origin.address());
        let straight = straight.h1(&target).await.unwrap().exchange(&asked).await.unwrap();

        let through = proxy.client().h1(&target).await.unwrap().exchange(&asked).await.unwrap();

        assert_eq!((through.head, through.content), (straight.head, straight.content), "{coding}");
        let record = proxy.records().only().await;
        assert_eq!(record.text_at("/response/content"), Some(&*TEXT.repeat(50)), "{coding}");
        assert_eq!(record.response_field("content-encoding"), Some(coding));
    }
}

#[tokio::test]
async fn a_coded_request_passes_untouched_and_is_recorded_decoded() {
    let origin = Origin::saying("ok").await;
    let target = format!("{}:443", copilot::HOST);
    let proxy = Proxy::start(Options::new().resolving(&target, &origin)).await;
    let content = coded("gzip");
    let fields = [("content-encoding", "gzip")];

    let mut connection = proxy.client().h1(&target).await.unwrap();
    connection.exchange(request("POST", copilot::COMPLETIONS, copilot::HOST, &fields, &content)).await.unwrap();

    assert_eq!(origin.after(1).await[0].content, content);
    assert_eq!(proxy.records().only().await.text_at("/request/content"), Some(&*TEXT.repeat(50)));
}
