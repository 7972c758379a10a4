//! A load balancer as it is and as it should be in, how many of its routes go out.

use portcullis_model::{LoadBalancer, Semantics};

use super::build::*;
use super::settled::made;
use crate::account::Account;
use crate::routes;

/// Hosts with as many paths each, on these ports.
fn given(ports: &[u16], hosts: &[(&str, usize)]) -> LoadBalancer {
    let mut out = balancer("shop/web", Semantics::Kubernetes);
    for port in ports {
        http(&mut out, *port, not_found());
    }
    let pods = Where::Pods(&["10.0.16.10"]);
    let id = backend(&mut out, "shop/web", "web", "80", 8080, pods);
    for (host, count) in hosts {
        for number in 0..*count {
            let path = format!("prefix:/p{number}");
            out.rules.push(rule("shop/web", ports, host, &path, forward(&id)));
        }
    }
    out
}

#[test]
fn what_is_replaced_merged_or_moved_is_not_lost() {
    let (a, b) = ("a.example.com", "b.example.com");
    let before = given(&[80, 8080], &[(a, 20)]);
    // Rules that AWS may have of one load balancer, what should be, and how many routes there are and go.
    for (what, quota, after, want) in [
        ("nothing changes", 100, given(&[80, 8080], &[(a, 20)]), (20, 0)),
        ("most go", 100, given(&[80, 8080], &[(a, 2)]), (20, 18)),
        ("a port goes", 100, given(&[80], &[(a, 20)]), (20, 0)),
        (
            "another host takes their place",
            100,
            given(&[80, 8080], &[(b, 20)]),
            (20, 0),
        ),
        (
            "some more come",
            100,
            given(&[80, 8080], &[(a, 20), (b, 1)]),
            (20, 0),
        ),
        (
            "there is no room and they are merged",
            40,
            given(&[80, 8080], &[(a, 20)]),
            (20, 0),
        ),
    ] {
        let mut account = Account::offline(None);
        let (observed, _) = made(&before, &account);
        account.quotas.rules = quota;
        let found = routes(&settings("demo"), &after, &observed, &account);
        assert_eq!((found.existing, found.lost), want, "{what}");
    }
}
