//! Ports that load balancers want opened in, the ranges that permissions open out.

use std::collections::BTreeMap;

use portcullis_model::{Origin, Semantics};

use super::Ports;

/// A range, whose meaning asks for it, and for whose targets.
pub(super) type Wish<'a> = (Ports, Semantics, &'a Origin);

/// Ranges that open what is wished for. Under the incumbent's semantics one from the lowest port to the highest, as it
/// has always been; under ours nothing in between, but neighbouring ports together.
pub(super) fn ranges<'a>(wishes: &[Wish<'a>]) -> BTreeMap<Ports, &'a Origin> {
    let of = |semantics| wishes.iter().filter(move |(_, own, _)| *own == semantics);
    let incumbent = || of(Semantics::AwsLoadBalancerController);
    let mut out = BTreeMap::new();
    let first = incumbent().map(|(ports, ..)| ports.0).min();
    let last = incumbent().map(|(ports, ..)| ports.1).max();
    if let (Some(first), Some(last), Some((_, _, origin))) = (first, last, incumbent().next()) {
        out.insert((first, last), *origin);
    }
    let covered = |ports: &Ports| {
        out.keys()
            .any(|wide: &Ports| wide.0 <= ports.0 && ports.1 <= wide.1)
    };
    let mut single: Vec<(Ports, &Origin)> = of(Semantics::Kubernetes)
        .map(|(ports, _, origin)| (*ports, *origin))
        .filter(|(p, _)| !covered(p))
        .collect();
    single.sort_by_key(|(ports, _)| *ports);
    let mut joined: Vec<(Ports, &Origin)> = Vec::new();
    for (ports, origin) in single {
        match joined.last_mut() {
            Some((last, _)) if u32::from(ports.0) <= u32::from(last.1) + 1 => last.1 = last.1.max(ports.1),
            _ => joined.push((ports, origin)),
        }
    }
    out.extend(joined);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_model::ObjectName;

    #[test]
    fn only_the_incumbents_layout_opens_ports_in_between() {
        use Semantics::{AwsLoadBalancerController as Incumbent, Kubernetes};
        let origin = Origin::new("ingress", ObjectName::new("shop", "web"), "");
        for (wishes, want) in [
            (
                vec![(8080, Kubernetes), (9000, Kubernetes)],
                vec![(8080, 8080), (9000, 9000)],
            ),
            (
                vec![(30081, Kubernetes), (30080, Kubernetes)],
                vec![(30080, 30081)],
            ),
            (vec![(8080, Incumbent), (9000, Incumbent)], vec![(8080, 9000)]),
            (
                vec![(8080, Incumbent), (9000, Incumbent), (8443, Kubernetes)],
                vec![(8080, 9000)],
            ),
            (
                vec![(8080, Incumbent), (9000, Kubernetes)],
                vec![(8080, 8080), (9000, 9000)],
            ),
            (vec![], vec![]),
        ] {
            let given: Vec<Wish<'_>> = wishes
                .iter()
                .map(|(port, own)| ((*port, *port), *own, &origin))
                .collect();
            let ranges: Vec<Ports> = ranges(&given).into_keys().collect();
            assert_eq!(ranges, want, "{wishes:?}");
        }
    }
}
