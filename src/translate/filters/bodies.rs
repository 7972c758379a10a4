//! `max-request-body`, `max-response-body` and `request-buffering` in, what is asked of bodies out.

use portcullis_model::{BodyLimit, Buffering, Problem};

use super::Setting;
use crate::translate::annotations::{Written, value};
use crate::translate::member::Part;

/// `0` limits nothing, as with ingress-nginx.
pub(super) fn limit(part: &Part<'_>, problems: &mut Vec<Problem>) -> Setting<BodyLimit> {
    let own = part.annotations.get("max-request-body");
    read_limit(part, own.or_else(|| part.nginx("proxy-body-size")), problems)
}

/// The same of answers.
pub(super) fn answer_limit(part: &Part<'_>, problems: &mut Vec<Problem>) -> Setting<BodyLimit> {
    read_limit(part, part.annotations.get("max-response-body"), problems)
}

fn read_limit(
    part: &Part<'_>,
    written: Option<Written<'_>>,
    problems: &mut Vec<Problem>,
) -> Setting<BodyLimit> {
    let Some(written) = written else {
        return Setting::Absent;
    };
    let origin = part.annotations.origin(written);
    match part.annotations.read_written(written, size, problems) {
        Setting::Given(0) => Setting::Absent,
        read @ (Setting::Absent | Setting::Given(_) | Setting::Invalid) => {
            read.map(|bytes| BodyLimit { bytes, origin })
        }
    }
}

pub(super) fn buffering(part: &Part<'_>, problems: &mut Vec<Problem>) -> Setting<Buffering> {
    let Some(written) = part.annotations.get("request-buffering") else {
        return Setting::Absent;
    };
    let origin = part.annotations.origin(written);
    let parse = |text: &str| {
        let bytes = u32::try_from(size(text)?).unwrap_or(u32::MAX);
        match bytes <= Buffering::MOST {
            true => Ok(bytes),
            false => Err("it is more than 16m".to_owned()),
        }
    };
    match part.annotations.read_written(written, parse, problems) {
        Setting::Given(0) => Setting::Absent,
        read @ (Setting::Absent | Setting::Given(_) | Setting::Invalid) => {
            read.map(|bytes| Buffering { bytes, origin })
        }
    }
}

/// Bytes: `512`, `64k`, `8m`, `1g`, or with `Ki`, `Mi`, `Gi`; each letter is 1024 of the one before.
fn size(text: &str) -> Result<u64, String> {
    let bad = || format!("{} is no size such as 512, 64k or 8m", value::shown(text));
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let power = match unit {
        "" => 0,
        "k" | "K" | "Ki" => 1,
        "m" | "M" | "Mi" => 2,
        "g" | "G" | "Gi" => 3,
        _ => return Err(bad()),
    };
    let number: u64 = number.parse().map_err(|_| bad())?;
    number.checked_mul(1 << (10 * power)).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_bytes_or_have_a_unit() {
        for (text, want) in [
            ("0", Some(0)),
            ("512", Some(512)),
            ("64k", Some(64 * 1024)),
            ("8m", Some(8 << 20)),
            ("8M", Some(8 << 20)),
            ("10Mi", Some(10 << 20)),
            ("1g", Some(1 << 30)),
            ("", None),
            ("k", None),
            ("-1", None),
            ("1.5m", None),
            ("8 m", None),
            ("8mb", None),
            ("99999999999g", None),
        ] {
            assert_eq!(size(text).ok(), want, "{text:?}");
        }
    }
}
