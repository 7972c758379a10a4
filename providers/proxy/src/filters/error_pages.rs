//! Answers that are errors in, the same with a page of the rule's out.

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_LOCATION,
    CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, LAST_MODIFIED,
};
use http::{HeaderValue, Response};
use portcullis_model as model;

use crate::answer;
use crate::body::ResponseBody;

/// Said of what is no longer there.
static OF_CONTENT: [HeaderName; 14] = [
    ACCEPT_RANGES,
    CONTENT_DISPOSITION,
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    CONTENT_LENGTH,
    CONTENT_LOCATION,
    CONTENT_RANGE,
    ETAG,
    LAST_MODIFIED,
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("trailer"),
];

#[derive(Debug)]
pub(crate) struct ErrorPages(Box<[Page]>);

#[derive(Debug)]
struct Page {
    page: model::ErrorPage,
    content_type: HeaderValue,
    body: Bytes,
}

impl ErrorPages {
    pub(crate) fn new(asked: &model::ErrorPages) -> Option<Self> {
        let pages = asked.pages.iter().map(|page| {
            Some(Page {
                content_type: HeaderValue::from_str(page.content_type()).ok()?,
                body: Bytes::from(page.body().to_owned()),
                page: page.clone(),
            })
        });
        pages.collect::<Option<_>>().map(Self)
    }

    /// Shows the first page that is for the answer. What speaks gRPC has no pages.
    pub(crate) fn finish(&self, response: &mut Response<ResponseBody>) {
        let status = response.status().as_u16();
        let Some(page) = self.0.iter().find(|page| page.page.is_for(status)) else {
            return;
        };
        if answer::is_grpc(response.headers()) {
            return;
        }
        let headers = response.headers_mut();
        for name in &OF_CONTENT {
            headers.remove(name);
        }
        headers.insert(CONTENT_TYPE, page.content_type.clone());
        // Said also to HEAD.
        headers.insert(CONTENT_LENGTH, page.body.len().into());
        *response.body_mut() = ResponseBody::text(page.body.clone());
    }
}
