//! `error-pages` in, what is shown in place of errors out.

use std::ops::RangeInclusive;

use portcullis_model::{ErrorPage, ErrorPages, Problem};
use serde::Deserialize;

use super::Setting;
use crate::translate::annotations::value;
use crate::translate::member::Part;

const NAME: &str = "error-pages";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PageText {
    statuses: Vec<String>,
    content_type: String,
    body: String,
}

pub(super) fn read(part: &Part<'_>, problems: &mut Vec<Problem>) -> Setting<ErrorPages> {
    let Some(written) = part.annotations.get(NAME) else {
        return Setting::Absent;
    };
    let parse = |text: &str| {
        let pages = pages(text)?;
        let origin = part.annotations.origin(written);
        Ok(ErrorPages { pages, origin })
    };
    part.annotations.read(NAME, parse, problems)
}

fn pages(text: &str) -> Result<Vec<ErrorPage>, String> {
    let read: Vec<PageText> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if read.is_empty() {
        return Err("it shows nothing".to_owned());
    }
    let page = |text: PageText| {
        let statuses = text
            .statuses
            .iter()
            .map(|text| range(text))
            .collect::<Result<_, _>>()?;
        ErrorPage::new(statuses, &text.content_type, text.body).map_err(|why| why.to_string())
    };
    read.into_iter().map(page).collect()
}

/// `404` or `500-599`.
fn range(text: &str) -> Result<RangeInclusive<u16>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| {
        text.parse::<u16>()
            .map_err(|_| format!("{} is no status", value::shown(text)))
    };
    Ok(number(first)?..=number(last)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_name_their_statuses() {
        for (text, ok) in [
            (
                r#"[{"statuses":["404"],"contentType":"text/html","body":"<h1>Gone</h1>"}]"#,
                true,
            ),
            (
                r#"[{"statuses":["404","500-599"],"contentType":"text/html","body":""}]"#,
                true,
            ),
            (
                r#"[{"statuses":["200"],"contentType":"text/html","body":""}]"#,
                false,
            ),
            (
                r#"[{"statuses":["5xx"],"contentType":"text/html","body":""}]"#,
                false,
            ),
            (r#"[{"statuses":["404"],"body":""}]"#, false),
            (
                r#"[{"statuses":["404"],"contentType":"text/html","file":"a"}]"#,
                false,
            ),
            ("[]", false),
            ("{}", false),
        ] {
            assert_eq!(pages(text).is_ok(), ok, "{text}");
        }
    }
}
