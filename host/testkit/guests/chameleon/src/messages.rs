//! What the guest does when told of WebSocket messages.

use flowgate_guest::{Direction, Flow, MessageKind, MessageObserver, MessageRecord, WriteMode, log, records};

use crate::{Chameleon, config::Misdeed, misdeeds};

impl MessageObserver for Chameleon {
    fn on_message_passed(&mut self, _: &Flow, message: MessageRecord) {
        if self.config.on_message_passed != Misdeed::Proceed && message.sequence >= self.config.passed_at {
            do_wrong(self.config.on_message_passed);
        }
        self.note(&line(&message));
    }
}

impl Chameleon {
    /// At the end of a flow: what is still held of its messages.
    pub(crate) fn tell_end_of_messages(&self, flow: &Flow) {
        if self.config.messages.is_some() {
            let held = flow.held_messages(0, u32::MAX).iter().map(|message| message.sequence.to_string()).collect::<Vec<_>>().join(" ");
            self.note(&format!("end {held}\n"));
        }
    }

    fn note(&self, line: &str) {
        let Some(path) = &self.config.messages else { return };
        if let Err(error) = records::keep(path, line.as_bytes(), WriteMode::Append) {
            log::error(format_args!("messages: {error}"));
        }
    }
}

fn line(message: &MessageRecord) -> String {
    let sender = match message.sent {
        Direction::Request => "client",
        Direction::Response => "origin",
    };
    let kind = match message.kind {
        MessageKind::Text => "text",
        MessageKind::Binary => "binary",
        MessageKind::Closed => "closed",
    };
    // Contents of tests are short, or repeat themselves.
    let content = message.content.get(..60).unwrap_or(&message.content).escape_ascii();
    format!("{} {sender} {kind} {} {content}\n", message.sequence, message.length)
}

fn do_wrong(misdeed: Misdeed) -> ! {
    match misdeed {
        Misdeed::Spin => misdeeds::spin(),
        Misdeed::Hog => misdeeds::hog(),
        Misdeed::Sleep => misdeeds::sleep(),
        _ => misdeeds::trap(),
    }
}
