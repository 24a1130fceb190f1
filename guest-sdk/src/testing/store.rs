//! Stands in for the host's key-value store: this thread's, and nothing ends.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
};

use crate::key_value::StoreError;

/// What an entry counts besides its key and value, as in the host.
const OVERHEAD: usize = 64;

thread_local! {
    static ENTRIES: RefCell<BTreeMap<String, Vec<u8>>> = const { RefCell::new(BTreeMap::new()) };
    static QUOTA: Cell<usize> = const { Cell::new(usize::MAX) };
}

type Result<T> = std::result::Result<T, StoreError>;

/// So many octets may be stored from here on, keys and 64 for each entry included. Without it: any number.
pub fn set_quota(octets: usize) {
    QUOTA.set(octets);
}

pub(crate) fn get(key: &str) -> Result<Option<Vec<u8>>> {
    Ok(ENTRIES.with_borrow(|entries| entries.get(key).cloned()))
}

pub(crate) fn set(key: &str, value: &[u8], _ttl_s: Option<u32>) -> Result<()> {
    let cost = |(key, value): (&String, &Vec<u8>)| key.len() + value.len() + OVERHEAD;
    ENTRIES.with_borrow_mut(|entries| {
        let before: usize = entries.iter().map(cost).sum();
        let old = entries.get_key_value(key).map_or(0, cost);
        let after = before - old + key.len() + value.len() + OVERHEAD;
        if after > QUOTA.get() && after > before {
            return Err(StoreError::Quota);
        }
        entries.insert(key.to_owned(), value.to_vec());
        Ok(())
    })
}

pub(crate) fn remove(key: &str) -> Result<()> {
    ENTRIES.with_borrow_mut(|entries| entries.remove(key));
    Ok(())
}

pub(crate) fn compare_and_set(key: &str, expected: Option<&[u8]>, value: &[u8]) -> Result<bool> {
    let is_expected = get(key)?.as_deref() == expected;
    if is_expected {
        set(key, value, None)?;
    }
    Ok(is_expected)
}

pub(crate) fn increment(key: &str, by: u32) -> Result<u64> {
    let before = match get(key)? {
        None => 0,
        Some(value) => match str::from_utf8(&value).ok().and_then(|text| text.parse::<u64>().ok()) {
            Some(number) => number,
            None => return Err(StoreError::Other("the value is not a decimal number".to_owned())),
        },
    };
    let sum = before + u64::from(by);
    set(key, sum.to_string().as_bytes(), None)?;
    Ok(sum)
}

pub(crate) fn keys(prefix: &str, limit: u32) -> Result<Vec<String>> {
    Ok(ENTRIES.with_borrow(|entries| entries.keys().filter(|key| key.starts_with(prefix)).take(limit as usize).cloned().collect()))
}

#[cfg(test)]
mod tests {
    use super::set_quota;
    use crate::key_value::{StoreError, compare_and_set, get, increment, keys, remove, set};

    #[test]
    fn it_does_as_the_host_does() {
        set("b", b"1", None).unwrap();
        set("a", b"x", Some(1)).unwrap();

        assert_eq!((increment("b", 2), increment("c", 1)), (Ok(3), Ok(1)));
        assert!(matches!(increment("a", 1), Err(StoreError::Other(_))));
        assert_eq!((compare_and_set("a", None, b"y"), compare_and_set("a", Some(b"x"), b"y")), (Ok(false), Ok(true)));
        remove("b").unwrap();
        assert_eq!((get("a"), get("b")), (Ok(Some(b"y".to_vec())), Ok(None)));
        assert_eq!(keys("", 1), Ok(vec!["a".to_owned()]));
    }

    #[test]
    fn what_goes_beyond_the_quota_is_refused_and_what_makes_it_smaller_is_not() {
        set_quota(64 + 3);
        let outcomes = [set("a", b"xy", None), set("b", b"", None), set("a", b"xyz", None)];
        set_quota(10);

        assert_eq!(outcomes, [Ok(()), Err(StoreError::Quota), Err(StoreError::Quota)]);
        assert_eq!((set("a", b"x", None), compare_and_set("a", Some(b"x"), b"yz")), (Ok(()), Err(StoreError::Quota)));
    }
}
