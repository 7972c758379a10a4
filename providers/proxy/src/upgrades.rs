//! The head of a backend's answer in, what its client is told of the connection between the two of us out.

use http::header::{CONNECTION, HeaderMap, HeaderValue, UPGRADE};
use http::response::Parts;
use http::{StatusCode, Version};

use crate::fields;

/// Removes what concerns the backend's connection alone. Only a client of HTTP/1.1 can change protocol: one is told to which it
/// must, where the answer says that it must. Source: RFC 9110 §7.8 and §15.5.22.
pub(crate) fn strip(answer: &mut Parts, client: Version) {
    let wanted: Vec<HeaderValue> = match (answer.status, client) {
        (StatusCode::UPGRADE_REQUIRED, Version::HTTP_11) => {
            answer.headers.get_all(UPGRADE).iter().cloned().collect()
        }
        _ => Vec::new(),
    };
    fields::strip_response(&mut answer.headers);
    for protocols in wanted {
        answer
            .headers
            .insert(CONNECTION, HeaderValue::from_static("upgrade"));
        answer.headers.append(UPGRADE, protocols);
    }
}

/// Says that an answer over HTTP/1.1 is the last on its connection.
pub(crate) fn close(answer: &mut HeaderMap) {
    if !closes(answer) {
        answer.append(CONNECTION, HeaderValue::from_static("close"));
    }
}

/// Whether that is said.
pub(crate) fn closes(answer: &HeaderMap) -> bool {
    answer.get_all(CONNECTION).iter().any(|said| said == "close")
}
