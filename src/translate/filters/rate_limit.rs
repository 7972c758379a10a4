//! `rate-limit` and `rate-limit-burst`, or ingress-nginx's in their place, in, how many requests of a client are answered
//! out.

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
        let theirs = moved(part, &burst, problems);
        if theirs != Setting::Absent {
            return theirs;
        }
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

/// How many more than its rate ingress-nginx lets come at once, in multiples of it.
const BURST: u32 = 5;

/// ingress-nginx's: its burst comes beside the request that the rate lets pass. Ours wins, if there is one.
fn moved(part: &Part<'_>, ours: &Setting<u32>, problems: &mut Vec<Problem>) -> Setting<RateLimit> {
    let annotations = &part.annotations;
    let mut number = |name| match part.nginx(name) {
        Some(written) => {
            let parse = |text: &str| {
                let number = value::integer(text, 0, i64::from(u32::MAX))?;
                u32::try_from(number).map_err(|error| error.to_string())
            };
            annotations.read_written(written, parse, problems)
        }
        None => Setting::Absent,
    };
    let (seconds, minutes) = (number("limit-rps"), number("limit-rpm"));
    let multiplier = match ours {
        Setting::Absent => number("limit-burst-multiplier"),
        Setting::Given(_) | Setting::Invalid => Setting::Absent,
    };
    let some = |rate: Setting<u32>, name| match rate {
        Setting::Given(0) | Setting::Absent => Ok(None),
        Setting::Given(rate) => Ok(part.nginx(name).map(|written| (rate, written))),
        Setting::Invalid => Err(()),
    };
    let both = (some(seconds, "limit-rps"), some(minutes, "limit-rpm"));
    let ((rate, written), period) = match both {
        (Ok(None), Ok(None)) => return Setting::Absent,
        (Ok(Some(rate)), Ok(None)) => (rate, Period::Second),
        (Ok(None), Ok(Some(rate))) => (rate, Period::Minute),
        (Ok(Some(_)), Ok(Some((_, written)))) => {
            problems.push(annotations.invalid(written, "of limit-rps and limit-rpm one alone is read"));
            return Setting::Invalid;
        }
        (_, _) => return Setting::Invalid,
    };
    let several = |multiplier: u32| rate.saturating_mul(multiplier).saturating_add(1);
    let burst = match (ours, multiplier) {
        (Setting::Given(burst), _) => *burst,
        (Setting::Absent, Setting::Absent | Setting::Given(0)) => several(BURST),
        (Setting::Absent, Setting::Given(multiplier)) => several(multiplier),
        (Setting::Invalid, _) | (_, Setting::Invalid) => return Setting::Invalid,
    };
    let parse = |_: &str| {
        let limit = RateLimit::new(rate, period, Some(burst), annotations.origin(written));
        limit.map_err(|why| why.to_string())
    };
    annotations.read_written(written, parse, problems)
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
