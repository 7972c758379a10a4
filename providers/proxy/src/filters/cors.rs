//! Requests of scripts in, what browsers are told of them out. Source: Fetch Standard, "CORS protocol".
//!
//! What a backend says of it is overwritten: who may read answers is the rule's to say.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HeaderName, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use portcullis_model as model;
use portcullis_model::WebOrigins;

use crate::answer::Failure;
use crate::body::ResponseBody;

/// What a backend may have said.
static SAID: [HeaderName; 7] = [
    ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_ALLOW_CREDENTIALS,
    ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_HEADERS,
    ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE,
    HeaderName::from_static("access-control-allow-private-network"),
];

#[derive(Debug)]
pub(crate) struct Cors {
    origins: WebOrigins,
    methods: HeaderValue,
    /// None for those that the browser asks for.
    request_headers: Option<HeaderValue>,
    exposed: Option<HeaderValue>,
    max_age: Option<u32>,
}

/// Takes away what a backend says of it.
pub(super) fn hold_back(headers: &mut HeaderMap) {
    for name in &SAID {
        headers.remove(name);
    }
}

/// A list as a field; names are tokens, of which each is a value.
fn joined<T: ToString>(names: impl IntoIterator<Item = T>) -> Option<HeaderValue> {
    let names: Vec<String> = names.into_iter().map(|name| name.to_string()).collect();
    HeaderValue::try_from(names.join(", "))
        .ok()
        .filter(|value| !value.is_empty())
}

impl Cors {
    pub(crate) fn new(cors: &model::Cors) -> Self {
        let nothing = || HeaderValue::from_static("");
        Self {
            origins: cors.origins.clone(),
            methods: joined(&cors.methods).unwrap_or_else(nothing),
            request_headers: cors
                .request_headers
                .as_ref()
                .map(|names| joined(names).unwrap_or_else(nothing)),
            exposed: joined(&cors.exposed),
            max_age: cors.max_age,
        }
    }

    /// What a request's origin is answered with; none where it is another origin's, or no script's.
    pub(crate) fn granted(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let mut asked = headers.get_all(ORIGIN).iter();
        let (origin, None) = (asked.next()?, asked.next()) else {
            return None;
        };
        match &self.origins {
            WebOrigins::Any => Some(HeaderValue::from_static("*")),
            WebOrigins::Listed { origins, .. } => {
                let text = origin.to_str().ok()?;
                origins
                    .iter()
                    .any(|own| own.matches(text))
                    .then(|| origin.clone())
            }
        }
    }

    /// The answer to a browser that asks before it sends a script's request; none where it is no such question.
    pub(crate) fn preflight(
        &self,
        method: &Method,
        headers: &HeaderMap,
        granted: bool,
    ) -> Option<Result<Response<ResponseBody>, Failure>> {
        let asks = headers.contains_key(ORIGIN) && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if *method != Method::OPTIONS || !asks {
            return None;
        }
        if !granted {
            let why = "scripts of this origin are not let in";
            return Some(Err(Failure::new(StatusCode::FORBIDDEN, why)));
        }
        let mut response = Response::new(ResponseBody::text(bytes::Bytes::new()));
        *response.status_mut() = StatusCode::NO_CONTENT;
        let told = response.headers_mut();
        told.insert(ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone());
        let named = headers.get(ACCESS_CONTROL_REQUEST_HEADERS);
        if let Some(names) = self.request_headers.as_ref().or(named) {
            told.insert(ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
        }
        if let Some(seconds) = self.max_age {
            told.insert(ACCESS_CONTROL_MAX_AGE, seconds.into());
        }
        for name in ["access-control-request-method", "access-control-request-headers"] {
            told.append(VARY, HeaderValue::from_static(name));
        }
        Some(Ok(response))
    }

    /// Tells a browser whose scripts may read an answer.
    pub(crate) fn tell(&self, headers: &mut HeaderMap, granted: Option<&HeaderValue>, is_preflight: bool) {
        if !is_preflight {
            hold_back(headers);
        }
        let has_credentials = match self.origins {
            WebOrigins::Any => false,
            WebOrigins::Listed { credentials, .. } => {
                // A cache must not give one origin's answer to another.
                headers.append(VARY, HeaderValue::from_static("origin"));
                credentials
            }
        };
        let Some(origin) = granted else { return };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        if has_credentials {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        if let Some(names) = self.exposed.as_ref().filter(|_| !is_preflight) {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, names.clone());
        }
    }
}
