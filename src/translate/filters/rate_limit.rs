//! `rate-limit` and `rate-limit-burst` in, how many requests of a client are answered out.

use portcullis_model::{Period, Problem, RateLimit};

use super::Setting;
use crate::translate::annotations::value;
use crate::translate::member::Part;

pub(super) fn read(part: &Part<'_>, problems: &mut Vec<Problem>) -> Setting<RateLimit> {
    let annotations = &part.annotations;
    let burst = annotations.read(
        "rate-limit-burst",
        |text| {
            value::integer(text, 1, i64::from(u32::MAX)).map(|count| u32::try_from(count).unwrap_or(u32::MAX))
        },
        problems,
    );
    let Some(written) = annotations.get("rate-limit") else {
        if let Some(burst) = annotations.get("rate-limit-burst") {
            problems.push(annotations.invalid(burst, "it needs annotation rate-limit, which is absent"));
            return Setting::Invalid;
        }
        return Setting::Absent;
    };
    let limit = annotations.read(
        "rate-limit",
        |text| {
            let (requests, period) = rate(text)?;
            let burst = burst.clone().given();
            RateLimit::new(requests, period, burst, annotations.origin(written))
                .map_err(|why| why.to_string())
        },
        problems,
    );
    match burst {
        Setting::Invalid => Setting::Invalid,
        Setting::Absent | Setting::Given(_) => limit,
    }
}

/// `10/s`, `100/m` or `1000/h`.
fn rate(text: &str) -> Result<(u32, Period), String> {
    let expected = || "expected a rate such as 10/s, 100/m or 1000/h".to_owned();
    let (requests, period) = text.split_once('/').ok_or_else(expected)?;
    let period = match period {
        "s" => Period::Second,
        "m" => Period::Minute,
        "h" => Period::Hour,
        _ => return Err(expected()),
    };
    Ok((requests.parse().map_err(|_| expected())?, period))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_of_requests_in_a_period() {
        for (text, want) in [
            ("10/s", Some((10, Period::Second))),
            ("100/m", Some((100, Period::Minute))),
            ("1000/h", Some((1000, Period::Hour))),
            ("10", None),
            ("10/d", None),
            ("-1/s", None),
            ("10 / s", None),
            ("1.5/s", None),
            ("/s", None),
            ("", None),
        ] {
            assert_eq!(rate(text).ok(), want, "{text:?}");
        }
    }
}
