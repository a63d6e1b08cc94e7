//! The server's own refusals, as documents (spec/api.md, section 2).

use minicbor::Encoder;
use nimblenet_tasklet::api::{Problem, failure};

use crate::coap::message::{Code, Format, Response};

/// The answer to a request that does not reach the daemon.
pub(super) fn refusal(code: Code) -> Response {
    let (problem, message) = match code {
        Code::BAD_OPTION => (
            Problem::BadOption,
            "an option of the message is unknown, repeated, or too long",
        ),
        Code::METHOD_NOT_ALLOWED => (
            Problem::MethodNotAllowed,
            "there are the methods GET, POST, PUT and DELETE",
        ),
        Code::NO_PROXY => (Problem::BadOption, "this node is no proxy"),
        Code::INCOMPLETE => (
            Problem::Incomplete,
            "blocks before this one are missing; send them, or begin at the first",
        ),
        Code::TOO_LARGE => (Problem::TooLarge, "the body is longer than 2 MiB"),
        Code::UNAVAILABLE => (
            Problem::Overloaded,
            "too much is under way here; nothing was run, try again after Max-Age",
        ),
        _ => (
            Problem::BadRequest,
            "a block has another length than its option says",
        ),
    };
    let mut out = Encoder::new(Vec::new());
    let written = out.map(2).and_then(|out| {
        out.str(failure::CODE)?.str(problem.code())?;
        out.str(failure::MESSAGE)?.str(message)
    });
    written.expect("memory takes whatever is written");
    Response::new(code, Format::CBOR, out.into_writer())
}
