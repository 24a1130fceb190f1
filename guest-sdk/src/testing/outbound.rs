//! Stands in for the network: what a test expects is answered, everything else is denied.

use std::cell::RefCell;

use crate::{
    LocalResponse,
    outbound::{Fetch, FetchError},
};

type Answer = Box<dyn Fn(&Fetch) -> Result<LocalResponse, FetchError>>;

thread_local! {
    static ANSWER: RefCell<Option<Answer>> = const { RefCell::new(None) };
}

/// Answers this thread's fetches from now on.
pub fn answer_fetches(answer: impl Fn(&Fetch) -> Result<LocalResponse, FetchError> + 'static) {
    ANSWER.set(Some(Box::new(answer)));
}

pub(crate) fn fetch(fetch: &Fetch) -> Result<LocalResponse, FetchError> {
    ANSWER.with_borrow(|answer| answer.as_ref().map_or(Err(FetchError::Denied), |answer| answer(fetch)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_is_the_network() {
        let fetch = Fetch::new("POST", "https://a.test:8443?q=1").header("A", "b").body("c").timeout_ms(5);
        assert_eq!((fetch.head.authority.as_str(), fetch.head.path.as_str()), ("a.test:8443", "/?q=1"));
        assert_eq!(fetch.send(), Err(FetchError::Denied));

        answer_fetches(|fetch| Ok(LocalResponse::text(200, &format!("{} {}", fetch.head.method, fetch.head.path))));

        assert_eq!(fetch.send().map(|response| response.body), Ok(b"POST /?q=1".to_vec()));
    }
}
