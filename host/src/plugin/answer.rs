//! What filters of requests and responses say, checked.
//!
//! Place: `instance` makes it of what a guest returned, so that an answer that cannot be used is a call that failed; `course` follows it.

use std::borrow::Cow;

use super::{
    bindings::exports::flowgate::plugin::{request_filter::RequestAction, response_filter::ResponseAction},
    convert,
    instance::Failure,
};
use crate::flow::LocalResponse;

/// See the module.
#[derive(Debug)]
pub(super) enum Answer {
    Proceed,
    Local(LocalResponse),
    NeedBody,
    Disconnect,
}

impl Answer {
    /// # Errors
    /// It cannot be followed; says why.
    pub(super) fn of_request(action: RequestAction, body_held: bool) -> Result<Self, Failure> {
        match action {
            RequestAction::Proceed => Ok(Self::Proceed),
            RequestAction::Answer(response) => convert::local_response(response).map(Self::Local).map_err(Failure::Answer),
            RequestAction::NeedBody => Self::need_body(body_held),
            RequestAction::Disconnect => Ok(Self::Disconnect),
        }
    }

    /// # Errors
    /// It cannot be followed; says why.
    pub(super) fn of_response(action: ResponseAction, body_held: bool) -> Result<Self, Failure> {
        match action {
            ResponseAction::Proceed => Ok(Self::Proceed),
            ResponseAction::Answer(response) => convert::local_response(response).map(Self::Local).map_err(Failure::Answer),
            ResponseAction::NeedBody => Self::need_body(body_held),
            ResponseAction::Disconnect => Ok(Self::Disconnect),
        }
    }

    fn need_body(body_held: bool) -> Result<Self, Failure> {
        if body_held { Err(Failure::Answer("it needs a body that it has".into())) } else { Ok(Self::NeedBody) }
    }

    /// For people.
    pub(super) fn said(&self) -> Cow<'static, str> {
        match self {
            Self::Proceed => "proceed".into(),
            Self::Local(response) => format!("answer {}", response.status.as_u16()).into(),
            Self::NeedBody => "need-body".into(),
            Self::Disconnect => "disconnect".into(),
        }
    }
}
