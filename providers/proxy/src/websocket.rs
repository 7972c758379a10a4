//! A WebSocket as HTTP/2 opens it in, as HTTP/1.1 does out; and the answer back.
//!
//! What lies between knows one way alone: rules, rewrites and backends see a GET that asks to change protocol.
//! Source: RFC 8441, §4 and §5.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, Request, Response, StatusCode};
use hyper::ext::Protocol;

use crate::answer::Failure;
use crate::balance::Random;
use crate::body::ResponseBody;

/// What belongs to the way HTTP/1.1 opens it.
static OF_HTTP_1: [HeaderName; 3] = [CONNECTION, UPGRADE, SEC_WEBSOCKET_ACCEPT];

/// Where a stream of HTTP/2 asks for a WebSocket, makes the request what a client of HTTP/1.1 would have sent.
pub(crate) fn translate<B>(request: &mut Request<B>, random: &Random) -> bool {
    let asks = request.extensions_mut().remove::<Protocol>();
    if request.method() != Method::CONNECT || asks.is_none_or(|asked| asked.as_str() != "websocket") {
        return false;
    }
    *request.method_mut() = Method::GET;
    // It is there so that no answer kept from before passes for one to this request; nobody looks at it further.
    let mut key = [0; 16];
    key[..8].copy_from_slice(&random.next().to_ne_bytes());
    key[8..].copy_from_slice(&random.next().to_ne_bytes());
    let headers = request.headers_mut();
    if let Ok(key) = HeaderValue::try_from(STANDARD.encode(key)) {
        headers.insert(SEC_WEBSOCKET_KEY, key);
    }
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    true
}

/// Makes the answer what the stream expects: 200 opens the WebSocket, so nothing else may be a success.
pub(crate) fn translate_back(mut response: Response<ResponseBody>) -> Response<ResponseBody> {
    let status = response.status();
    if status == StatusCode::SWITCHING_PROTOCOLS {
        *response.status_mut() = StatusCode::OK;
        for name in OF_HTTP_1.iter().chain(&[CONTENT_LENGTH, TRANSFER_ENCODING]) {
            response.headers_mut().remove(name);
        }
        return response;
    }
    if status.is_success() {
        return Failure::new(StatusCode::BAD_GATEWAY, "the backend opens no WebSocket").response(false);
    }
    response
}
