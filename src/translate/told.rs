//! Problems in, those that are told out: of each object so many that the rest of them keeps nobody from reading others'.

use portcullis_model::{Code, Problem};

/// Most problems of one object: a person corrects some, and is told the next.
const MOST: usize = 200;

/// Sorted, without duplicates, and with one in the place of those that are too many.
pub(super) fn told(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort();
    problems.dedup();
    if problems.len() <= MOST {
        return problems;
    }
    let of_object = |a: &Problem, b: &Problem| (a.at.kind, &a.at.object) == (b.at.kind, &b.at.object);
    let mut out = Vec::new();
    for all in problems.chunk_by(of_object) {
        let (first, more) = all.split_at(all.len().min(MOST));
        if let [next, ..] = more {
            let message = format!("{} more problems of it are not told", more.len());
            out.push(Problem::new(Code::LimitExceeded, next.at.at(""), message));
        }
        out.extend_from_slice(first);
    }
    out.sort();
    out
}

#[cfg(test)]
mod tests {
    use portcullis_model::{ObjectName, Origin};

    use super::*;

    #[test]
    fn of_each_object_so_many_are_told() {
        let of = |name: &str, count: usize| -> Vec<Problem> {
            let at = |at: usize| {
                Origin::new(
                    "ingress",
                    ObjectName::new("shop", name),
                    format!("spec.rules[{at}]"),
                )
            };
            (0..count)
                .map(|rule| Problem::new(Code::RuleShadowed, at(rule), "x"))
                .collect()
        };
        let all = [of("a", 1), of("b", MOST + 7), of("b", MOST + 7), of("c", MOST)].concat();
        let told = told(all);
        let count = |name: &str| {
            told.iter()
                .filter(|problem| &*problem.at.object.name == name)
                .count()
        };
        assert_eq!([count("a"), count("b"), count("c")], [1, MOST + 1, MOST]);
        assert_eq!(
            (told[1].code, &*told[1].message),
            (Code::LimitExceeded, "7 more problems of it are not told")
        );
    }
}
