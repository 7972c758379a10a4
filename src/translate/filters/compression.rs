//! `compression` in, how answers are compressed out.

use portcullis_model::{Coding, Compression, Problem};

use super::Setting;
use crate::translate::annotations::value;
use crate::translate::member::Part;

const NAME: &str = "compression";

pub(super) fn read(part: &Part<'_>, problems: &mut Vec<Problem>) -> Setting<Compression> {
    let Some(written) = part.annotations.get(NAME) else {
        return Setting::Absent;
    };
    let parse = |text: &str| {
        let codings = codings(text)?;
        let origin = part.annotations.origin(written);
        Ok(Compression { codings, origin })
    };
    part.annotations.read(NAME, parse, problems)
}

/// `br, zstd, gzip`.
fn codings(text: &str) -> Result<Vec<Coding>, String> {
    let mut codings = Vec::new();
    for name in value::list(text) {
        match Coding::parse(name) {
            Some(coding) if !codings.contains(&coding) => codings.push(coding),
            Some(_) => return Err(format!("{name} is named twice")),
            None => return Err(format!("{} is none of gzip, br and zstd", value::shown(name))),
        }
    }
    match codings.is_empty() {
        true => Err("it names no coding".to_owned()),
        false => Ok(codings),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codings_are_named_once_in_order_of_preference() {
        use Coding::{Brotli, Gzip, Zstd};
        for (text, want) in [
            ("gzip", Some(vec![Gzip])),
            ("br, zstd,gzip", Some(vec![Brotli, Zstd, Gzip])),
            ("gzip,gzip", None),
            ("deflate", None),
            ("GZIP", None),
            ("true", None),
            ("", None),
        ] {
            assert_eq!(codings(text).ok(), want, "{text:?}");
        }
    }
}
