//! Users sent away at one time and back at another in, whose logins count out.

use std::collections::BTreeMap;

use http::Request;
use http::header::{COOKIE, HOST, LOCATION};
use portcullis_model::Sealed;

use super::*;
use crate::head;

fn login() -> Login {
    let client = model::Client {
        id: Sealed::new("shop"),
        secret: Sealed::new("a secret of 128 bits and more"),
        version: "1".into(),
    };
    let session = model::Session {
        cookie: "session".to_owned(),
        timeout_seconds: 3600,
        scope: "openid".to_owned(),
        on_unauthenticated: OnUnauthenticated::Authenticate,
        extra: BTreeMap::new(),
    };
    let [authorization, token] = ["authorize", "token"].map(|path| format!("https://idp.example/{path}"));
    Login::new("https://idp.example", &authorization, &token, &client, &session).unwrap()
}

/// The `Max-Age` of the browser's cookie is a wish: it may keep it for longer.
#[test]
fn a_login_that_takes_longer_than_fifteen_minutes_counts_for_nothing() {
    let login = login();
    let request = Request::get("/cart").header(HOST, "a.com").body(());
    let (parts, ()) = request.unwrap().into_parts();
    let asked = head::read(&parts).unwrap();
    // The second begins on one day and ends on the next.
    for began in [1_800_000_000, 20_834 * 86_400 - 60] {
        let away = login.send_away(&asked, &parts, began).unwrap();
        let field = |name| away.headers()[name].to_str().unwrap();
        let query = field(LOCATION).split_once('?').unwrap().1;
        let cookie = field(SET_COOKIE).split_once(';').unwrap().0;
        let headers = HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(cookie).unwrap())]);
        for (seconds, want) in [
            (0, Ok("/cart")),
            (900, Ok("/cart")),
            (901, Err("the login took too long")),
        ] {
            let back = login.come_back(query, "a.com", &headers, began + seconds);
            let seen = match &back {
                Ok((state, Some(_))) => Ok(&*state.target),
                Ok((_, None)) => Err("it has ended"),
                Err(failure) => Err(failure.why()),
            };
            assert_eq!(seen, want, "after {seconds} s");
        }
    }
}
