//! What it hands over at a swap: how many calls it has seen.

use flowgate_guest::StateHandoff;

use crate::{Act, Chameleon, misbehave};

impl StateHandoff for Chameleon {
    fn save(&mut self) -> Vec<u8> {
        let acts = self.config.on_save.clone();
        acts.iter().for_each(misbehave);
        match acts.decision() {
            Act::Flood => vec![b'x'; self.config.leak_bytes],
            _ => self.calls.to_string().into_bytes(),
        }
    }

    fn restore(&mut self, from_version: &str, state: Vec<u8>) -> Result<(), String> {
        // Taken before anything goes wrong: half of it must not be seen later.
        self.calls = String::from_utf8_lossy(&state).parse().map_err(|error| format!("no number of calls: {error}"))?;
        self.enter(format_args!("restore from={from_version} calls={}", self.calls));
        let acts = self.config.on_restore.clone();
        acts.iter().for_each(misbehave);
        match acts.decision() {
            Act::Decline => Err("told to decline".to_owned()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use flowgate_guest::testing::configure;

    use super::*;

    #[test]
    fn the_number_of_calls_is_handed_over() {
        let (mut old, _) = configure::<Chameleon>("{}").expect("the configuration is good");
        let (mut new, _) = configure::<Chameleon>("{}").expect("the configuration is good");
        old.calls = 7;

        new.restore("1", old.save()).expect("a number");

        assert_eq!(new.calls, 7);
        assert!(new.restore("1", b"none".to_vec()).is_err_and(|error| error.contains("no number of calls")));
    }
}
