//! One component that does whatever its configuration says, good or bad: the host's tests need every kind of guest.
//!
//! Place: loaded by tests of the host under any file name (`name` must equal its stem). Never shipped. Every switch is documented at
//! [`Config`].

mod config;
mod errands;
mod messages;
mod misdeeds;
mod state;
mod streams;

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher, RandomState},
    time::SystemTime,
};

pub use config::{Act, Config, Misdeed, Start};
use config::{Acts, Mode};
use flowgate_guest::{
    ClientInfo, ConnectAction, ConnectFilter, Direction, Flow, LocalResponse, Observer, Origin, Plugin, Registration, RequestAction,
    RequestFilter, ResponseAction, ResponseFilter, Rule, WriteMode, log, records,
};

/// Tests write something else of the same length in its place; see `on_request_if_marked`.
pub static MARK: [u8; 24] = *b"the chameleon's own mark";

/// It stands as it was built.
fn is_as_built() -> bool {
    // Looked at where it lies: what the compiler knows of it would stay as it was.
    std::hint::black_box(&MARK).starts_with(b"the")
}

/// The plugin.
#[derive(Debug)]
pub struct Chameleon {
    config: Config,
    /// Calls this instance has seen, and those it took over.
    calls: u64,
    /// What [`Act::Leak`] holds on to.
    leaked: Vec<Vec<u8>>,
    /// Bodies it is at, and how many chunks of each there were.
    bodies: HashMap<u32, u64>,
}

impl Plugin for Chameleon {
    type Config = Config;

    fn configure(config: Config) -> Result<(Self, Registration), String> {
        let mut description = "Does as it is told.".to_owned();
        match config.configure {
            Start::Well => {}
            Start::Fail => return Err("told to fail".to_owned()),
            Start::Trap => misdeeds::trap(),
            Start::Spin => misdeeds::spin(),
            Start::Hog => misdeeds::hog(),
            Start::Sleep => misdeeds::sleep(),
            Start::Lie => description = format!("Never twice the same: {:x}.", RandomState::new().hash_one(SystemTime::now())),
        }
        errands::run(&config.first_errands);
        let rule = Rule::any().request_body(config.request_body.into()).response_body(config.response_body.into()).limit(config.limit);
        let mut rule = rule.framing(config.framing.into());
        (rule.hosts, rule.paths, rule.methods) = (config.hosts.clone(), config.paths.clone(), config.methods.clone());
        rule.content_types.clone_from(&config.content_types);
        let registration = Registration::new(&config.name, &config.version).description(&description).rule(rule);
        let registration = if config.singleton { registration.singleton() } else { registration };
        Ok((Self { config, calls: 0, leaked: Vec::new(), bodies: HashMap::new() }, registration))
    }
}

impl ConnectFilter for Chameleon {
    fn on_connect(&mut self, client: &ClientInfo, host: &str, port: u16) -> ConnectAction {
        self.calls += 1;
        self.enter(format_args!("on-connect {host} {port} user={:?} call={}", client.user, self.calls));
        let acts = self.config.on_connect.clone();
        acts.iter().for_each(misbehave);
        match acts.decision() {
            Act::Answer => ConnectAction::Reject(self.answer()),
            Act::Splice => ConnectAction::Splice,
            _ => ConnectAction::Proceed,
        }
    }
}

impl RequestFilter for Chameleon {
    fn on_request(&mut self, flow: &Flow, body_held: bool) -> RequestAction {
        self.begin("on-request", flow, body_held);
        errands::run(&self.config.errands);
        let acts = if is_as_built() { self.config.on_request.clone() } else { self.config.on_request_if_marked.clone() };
        self.act(flow, Direction::Request, &acts);
        match acts.decision() {
            Act::Answer => RequestAction::Answer(self.answer()),
            Act::Disconnect => RequestAction::Disconnect,
            Act::NeedBody if !body_held => RequestAction::NeedBody,
            _ => RequestAction::Proceed,
        }
    }
}

impl ResponseFilter for Chameleon {
    fn on_response(&mut self, flow: &Flow, body_held: bool) -> ResponseAction {
        self.begin("on-response", flow, body_held);
        let acts = self.config.on_response.clone();
        self.act(flow, Direction::Response, &acts);
        match acts.decision() {
            Act::Answer => ResponseAction::Answer(self.answer()),
            Act::Disconnect => ResponseAction::Disconnect,
            Act::NeedBody if !body_held => ResponseAction::NeedBody,
            _ => ResponseAction::Proceed,
        }
    }
}

impl Observer for Chameleon {
    fn on_flow_end(&mut self, flow: &Flow) {
        self.begin("on-flow-end", flow, true);
        errands::run_in_silence(&self.config.last_errands);
        self.tell_end_of_messages(flow);
        let acts = self.config.on_flow_end.clone();
        self.act(flow, Direction::Response, &acts);
        for path in &self.config.records {
            let data = vec![b'x'; self.config.record_bytes];
            match records::keep(path, &data, self.config.write_mode.into()) {
                Ok(()) => log::info(format_args!("record {path:?}: kept")),
                Err(error) => log::info(format_args!("record {path:?}: {error}")),
            }
        }
    }
}

flowgate_guest::export!(
    Chameleon: connect_filter, request_filter, response_filter, stream_filter, observer, message_observer, state_handoff
);

impl Chameleon {
    /// What is said in every hook, before anything is done.
    fn begin(&mut self, hook: &str, flow: &Flow, body_held: bool) {
        self.calls += 1;
        for line in 0..self.config.log_lines {
            log::info(format_args!("{hook} line {line}"));
        }
        if self.config.journal.is_some() {
            let (url, outcome) = (flow.url(), flow.outcome());
            let (sent, got) = (flow.body(Direction::Request).len(), flow.body(Direction::Response).len());
            let version = &self.config.version;
            let calls = self.calls;
            self.enter(format_args!(
                "{hook} {url} version={version} call={calls} held={body_held} request={sent} response={got} {outcome:?}"
            ));
        }
    }

    /// Appends a line to the journal.
    fn enter(&self, entry: fmt::Arguments<'_>) {
        let Some(journal) = &self.config.journal else { return };
        if let Err(error) = records::keep(journal, format!("{entry}\n").as_bytes(), WriteMode::Append) {
            log::error(format_args!("journal: {error}"));
        }
    }

    fn act(&mut self, flow: &Flow, of: Direction, acts: &Acts) {
        for act in acts.iter() {
            self.act_once(flow, of, act);
        }
    }

    fn act_once(&mut self, flow: &Flow, of: Direction, act: Act) {
        let (name, value) = (self.config.header.0.as_str(), self.config.header.1.as_bytes());
        let done = match act {
            Act::Proceed | Act::Answer | Act::Disconnect | Act::NeedBody | Act::Splice => return,
            Act::Decline | Act::Drop | Act::Finish | Act::Append | Act::Flood => return,
            Act::Trap | Act::Spin | Act::Hog | Act::Recurse | Act::Sleep | Act::Exit => return misbehave(act),
            Act::Leak => return self.leaked.push(vec![1; self.config.leak_bytes]),
            Act::Print => {
                println!("printed to standard output");
                eprintln!("printed to standard error");
                return;
            }
            Act::SetHeader => flow.set_header(of, name, value),
            Act::AddHeader => flow.add_header(of, name, value),
            Act::RemoveHeader => flow.remove_header(of, name),
            Act::SetBody => flow.set_body(of, self.body()),
            Act::SetMethod => flow.set_method(&self.config.method),
            Act::SetPath => flow.set_path(&self.config.path),
            Act::SetStatus => flow.set_status(self.config.status),
            Act::SendTo => {
                let (scheme, host, port) = self.config.send_to.clone();
                flow.send_to(&Origin { scheme, host, port })
            }
            Act::Tag => {
                flow.set_tag(&format!("{}.note", self.config.name), &self.config.version);
                return;
            }
            Act::TellTag => {
                let note = flow.tag(&format!("{}.note", self.config.name));
                return log::info(format_args!("tag: {note:?}"));
            }
        };
        log::info(format_args!("{act:?}: {done:?}"));
    }

    fn body(&self) -> Vec<u8> {
        let mut body = self.config.body.clone().into_bytes();
        body.resize(body.len() + self.config.swollen, b'x');
        body
    }

    fn answer(&self) -> LocalResponse {
        let mut response = LocalResponse::text(self.config.status, "");
        response.body = self.body();
        response.headers.push(flowgate_guest::Header::new(&self.config.header.0, &self.config.header.1));
        response
    }
}

/// What needs no flow; anything else is nothing.
fn misbehave(act: Act) {
    match act {
        Act::Trap => misdeeds::trap(),
        Act::Spin => misdeeds::spin(),
        Act::Hog => misdeeds::hog(),
        Act::Recurse => misdeeds::recurse(),
        Act::Sleep => misdeeds::sleep(),
        Act::Exit => std::process::exit(7),
        _ => {}
    }
}

impl From<Mode> for WriteMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::CreateNew => Self::CreateNew,
            Mode::Replace => Self::Replace,
            Mode::Append => Self::Append,
        }
    }
}

#[cfg(test)]
mod tests {
    use flowgate_guest::testing::{Sample, configure, take_lines, take_records};

    use super::*;

    fn chameleon(config: &str) -> Chameleon {
        configure::<Chameleon>(config).expect("the configuration is good").0
    }

    #[test]
    fn the_rule_is_what_is_configured() {
        let (_, registration) =
            configure::<Chameleon>(r#"{"name": "x", "hosts": ["a"], "paths": ["/b"], "request_body": "whole", "limit": 9}"#)
                .expect("the configuration is good");

        let [rule] = registration.rules.as_slice() else { panic!("one rule") };
        assert_eq!((registration.name.as_str(), rule.hosts.as_slice(), rule.limit), ("x", ["a".to_owned()].as_slice(), 9));
        assert_eq!(rule.request_body, flowgate_guest::BodyMode::Whole);
    }

    #[test]
    fn one_act_or_several_are_done_in_order_and_the_last_decision_counts() {
        let flow = Flow::from(Sample::new("GET", "https://a.test/"));
        let mut one = chameleon(r#"{"on_request": "set-header", "header": ["x", "1"]}"#);
        let mut several = chameleon(r#"{"on_request": ["add-header", "need-body", "answer"], "header": ["x", "2"], "status": 418}"#);

        assert_eq!(one.on_request(&flow, false), RequestAction::Proceed);
        assert!(matches!(several.on_request(&flow, false), RequestAction::Answer(LocalResponse { status: 418, .. })));

        let values: Vec<Vec<u8>> = flow.request().headers.into_iter().map(|header| header.value).collect();
        assert_eq!(values, [b"1", b"2"]);
    }

    #[test]
    fn a_body_is_asked_for_once() {
        let flow = Flow::from(Sample::new("GET", "https://a.test/").response(200));
        let mut chameleon = chameleon(r#"{"on_response": "need-body"}"#);

        assert_eq!(chameleon.on_response(&flow, false), ResponseAction::NeedBody);
        assert_eq!(chameleon.on_response(&flow, true), ResponseAction::Proceed);
    }

    #[test]
    fn records_and_journal_are_tried_and_told() {
        let mut chameleon = chameleon(r#"{"records": ["../x", "y"], "record_bytes": 3, "journal": "j", "version": "7"}"#);

        chameleon.on_flow_end(&Flow::from(Sample::new("GET", "https://a.test/").request_body("ab")));

        let kept = take_records();
        let entry = "on-flow-end https://a.test/ version=7 call=1 held=true request=2 response=0 Outcome::Completed\n";
        assert_eq!(
            kept.iter().map(|kept| (kept.path.as_str(), str::from_utf8(&kept.data))).collect::<Vec<_>>(),
            [("j", Ok(entry)), ("../x", Ok("xxx")), ("y", Ok("xxx"))]
        );
        assert_eq!(take_lines().len(), 2);
    }

    #[test]
    fn errands_are_run_and_told() {
        let mut chameleon = chameleon(r#"{"errands": [{"increment": ["n", 2]}, {"get": "n"}, {"keys": ["", 9]}]}"#);

        chameleon.on_request(&Flow::from(Sample::new("GET", "https://a.test/")), false);

        let told: String = take_records().into_iter().map(|kept| String::from_utf8(kept.data).expect("text")).collect();
        assert_eq!(told, "Ok(2)\nOk(Some(\"2\"))\nOk([\"n\"])\n");
    }

    #[test]
    fn it_fails_to_start_when_told_and_lies_when_told() {
        assert!(configure::<Chameleon>(r#"{"configure": "fail"}"#).is_err());
        let lie = || configure::<Chameleon>(r#"{"configure": "lie"}"#).expect("a lie starts").1.description;
        assert_ne!(lie(), lie());
        assert!(configure::<Chameleon>(r#"{"onrequest": "trap"}"#).is_err_and(|error| error.contains("`onrequest`")));
    }
}
