//! stub
use std::{io, sync::Arc};
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub enum Protocol {
    Http1,
    Http2,
    Unsaid,
}
#[derive(Debug)]
pub struct Trust;
impl Trust {
    pub fn config(&self, _p: Protocol) -> Arc<rustls::ClientConfig> {
        unimplemented!()
    }
}
pub struct Interceptor;
impl Interceptor {
    pub fn config(&self, _s: Option<&str>, _h: &str, _p: Protocol) -> anyhow::Result<Arc<rustls::ServerConfig>> {
        unimplemented!()
    }
}
pub struct Trouble;
impl Trouble {
    pub fn is_certificate(&self) -> bool {
        true
    }
    pub fn is_distrust(&self) -> bool {
        true
    }
}
impl std::fmt::Display for Trouble {
    fn fmt(&self, _f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Ok(())
    }
}
pub fn explain(_e: &io::Error) -> Option<Trouble> {
    None
}
