//! Clients that do not trust our leafs for a host, and are let through to it unseen.
//!
//! Place: part of `net`; asked before a tunnel is intercepted, told when a client turned a leaf down. Only where the configuration says so
//! (`auto-splice`): what is spliced is not seen, so it is never done in silence.

use std::time::Duration;

use moka::sync::Cache;

use super::plain;
use crate::flow::Scope;

/// Rejections after which a client is believed: the first may be a connection that was opened ahead of need and dropped.
const REJECTIONS: u32 = 2;
/// Most pairs of client and host remembered; those not seen for longest go.
const PAIRS: u64 = 10_000;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Distrust(Option<Known>);

#[derive(Clone, Debug)]
struct Known {
    /// How often each client has turned each host's leaf down.
    rejections: Cache<(String, String), u32>,
    /// For how long it is believed.
    period: Duration,
}

impl Distrust {
    /// Hosts are spliced for `period` after the second rejection; `None`: never.
    pub(super) fn new(period: Option<Duration>) -> Self {
        Self(period.map(|period| Known { rejections: Cache::builder().max_capacity(PAIRS).time_to_live(period).build(), period }))
    }

    /// What was known before where it is kept for as long; else this, which knows nothing yet.
    pub(super) fn or(self, before: &Self) -> Self {
        let period = |distrust: &Self| distrust.0.as_ref().map(|known| known.period);
        if period(&self) == period(before) { before.clone() } else { self }
    }

    /// Whether that client's tunnel to that host is to be left alone.
    pub(super) fn is_known(&self, scope: &Scope, host: &str) -> bool {
        let Some(known) = &self.0 else { return false };
        known.rejections.get(&pair(scope, host)).is_some_and(|rejections| rejections >= REJECTIONS)
    }

    /// A client turned a leaf down. Says for how long the host is left alone from here on, if this is what decides it.
    pub(super) fn rejected(&self, scope: &Scope, host: &str) -> Option<Duration> {
        let known = self.0.as_ref()?;
        let rejections = known.rejections.entry(pair(scope, host)).and_upsert_with(|entry| entry.map_or(1, |entry| entry.into_value() + 1));
        (rejections.into_value() == REJECTIONS).then_some(known.period)
    }
}

/// What one client does not trust is no reason to look away from another's: known by name where it gave one, else by address.
fn pair(scope: &Scope, host: &str) -> (String, String) {
    let client = match scope.principal.name() {
        Some(name) => format!("@{name}"),
        None => scope.client.0.ip().to_string(),
    };
    (client, plain(host))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::flow::{ClientAddr, Principal};

    fn scope(user: Option<&str>) -> Scope {
        let principal = user.map_or(Principal::UNKNOWN, Principal::named);
        Scope { connection: 1, client: ClientAddr((Ipv4Addr::LOCALHOST, 1).into()), principal }
    }

    #[test]
    fn the_second_rejection_counts_for_that_client_and_host() {
        let hour = Duration::from_secs(3600);
        let distrust = Distrust::new(Some(hour));
        let (ana, bob, nobody) = (scope(Some("ana")), scope(Some("bob")), scope(None));

        let said = [distrust.rejected(&ana, "a.test"), distrust.rejected(&ana, "A.test."), distrust.rejected(&ana, "a.test")];

        assert_eq!(said, [None, Some(hour), None]);
        assert!(distrust.is_known(&ana, "a.TEST"));
        assert!(!distrust.is_known(&ana, "b.test") && !distrust.is_known(&bob, "a.test") && !distrust.is_known(&nobody, "a.test"));
    }

    #[test]
    fn what_was_learned_outlives_settings_that_keep_it_as_long() {
        let (hour, ana) = (Duration::from_secs(3600), scope(Some("ana")));
        let before = Distrust::new(Some(hour));
        before.rejected(&ana, "a.test");
        before.rejected(&ana, "a.test");

        assert!(Distrust::new(Some(hour)).or(&before).is_known(&ana, "a.test"));
        assert!(!Distrust::new(Some(hour / 2)).or(&before).is_known(&ana, "a.test"));
        assert!(!Distrust::new(None).or(&before).is_known(&ana, "a.test"));
    }

    #[test]
    fn where_it_is_not_wanted_nothing_is_remembered() {
        let (distrust, ana) = (Distrust::new(None), scope(Some("ana")));

        assert_eq!([distrust.rejected(&ana, "a.test"), distrust.rejected(&ana, "a.test")], [None, None]);
        assert!(!distrust.is_known(&ana, "a.test"));
    }
}
