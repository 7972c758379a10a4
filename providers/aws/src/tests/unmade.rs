//! What one member asks of the whole load balancer and cannot have in, what is made for its neighbours all the same out.

use std::collections::BTreeSet;

use portcullis_model::{AddressFamily, Code, LoadBalancer, ObjectName, Problem, Semantics};

use super::build::*;
use super::refused::pass;
use super::settled::{made, rounds};
use crate::account::{Account, Fact, Reach, Subnet, ZoneKind};
use crate::change::Change;
use crate::compile::{Desired, compile};
use crate::observed::{Observed, Owner, Shared};
use crate::resource::{IpAddressType, RuleAction};

/// Members `a/web` and `b/web`, each with a host; what is asked of the whole is `a/web`'s.
fn group() -> LoadBalancer {
    let mut out = balancer("public", Semantics::Kubernetes);
    http(&mut out, 80, not_found());
    out.members = ["a/web", "b/web"].map(object).to_vec();
    for (number, owner) in ["a/web", "b/web"].into_iter().enumerate() {
        let address = format!("10.0.16.1{number}");
        let web = backend(&mut out, owner, "web", "80", 8080, Where::Pods(&[&address]));
        let host = format!("{}.example.com", &owner[..1]);
        out.rules
            .push(rule(owner, &[80], &host, "prefix:/", forward(&web)));
    }
    for name in [
        "load-balancer-name",
        "subnets",
        "security-groups",
        "ip-address-type",
    ] {
        out.options.origins.insert(name, origin("a/web", name));
    }
    out
}

fn alone() -> LoadBalancer {
    let mut out = group();
    out.members.truncate(1);
    out.rules.truncate(1);
    out
}

/// Two subnets of two zones.
fn account(ipv6: bool) -> Account {
    let mut account = Account::offline(Some("vpc-1"));
    let subnet = |id: &str, zone: &str| Subnet {
        id: crate::resource::Id::new(id),
        zone: zone.into(),
        kind: ZoneKind::AvailabilityZone,
        free_addresses: 99,
        ipv6,
        tags: [("kubernetes.io/role/internal-elb".to_owned(), "1".to_owned())].into(),
        reach: Some(Reach::Private),
    };
    account.subnets = Fact::Read(vec![subnet("subnet-a", "z1"), subnet("subnet-b", "z2")]);
    account
}

fn compiled(balancer: &LoadBalancer, account: &Account) -> (Option<Desired>, Vec<Problem>) {
    let nothing = Observed::nothing(Owner::load_balancer("demo", &balancer.id));
    compile(&settings("demo"), balancer, account, &nothing)
}

fn at(problems: &[Problem]) -> Vec<(Code, String)> {
    problems.iter().map(|p| (p.code, p.at.to_string())).collect()
}

/// Whether each rule forwards.
fn forwards(desired: &Desired) -> Vec<bool> {
    let rules = desired.listeners[&80].rules.iter();
    rules
        .map(|rule| matches!(rule.spec.actions[..], [RuleAction::Forward { .. }]))
        .collect()
}

fn relying(names: &[&str]) -> BTreeSet<ObjectName> {
    names.iter().map(|name| object(name)).collect()
}

#[test]
fn a_name_that_cannot_be_had_keeps_nobody_else_from_being_served() {
    let mut taken = account(false);
    let mut other = group();
    other.options.name = Some("taken".into());
    let (observed, _) = made(&other, &Account::offline(None));
    let mut state = observed.load_balancer().unwrap().clone();
    state.spec.tags = [("Team", "other")].into_iter().collect();
    taken.listing.load_balancers.push(state);
    for (name, code) in [("no_name", Code::NameInvalid), ("taken", Code::NotOurs)] {
        let with = |mut balancer: LoadBalancer| {
            balancer.options.name = Some(name.into());
            balancer
        };
        let told = [(code, "ingress a/web load-balancer-name".to_owned())];
        let (desired, problems) = compiled(&with(group()), &taken);
        let desired = desired.unwrap();
        assert!(desired.load_balancer.name.starts_with("k8s-public-"), "{name}");
        assert_eq!(forwards(&desired), [true, true], "{name}");
        assert_eq!(at(&problems), told, "{name}");
        // Who is alone can still correct it: a name is given at creation alone.
        let (desired, problems) = compiled(&with(alone()), &taken);
        assert!(desired.is_none(), "{name}");
        assert_eq!(at(&problems), told, "{name}");
    }
}

#[test]
fn without_ipv6_it_is_made_with_ipv4_and_no_public_address_is_added() {
    let told = [(Code::SubnetsNotFound, "ingress a/web ip-address-type".to_owned())];
    for subnets in [vec![], vec!["subnet-a".to_owned(), "subnet-b".to_owned()]] {
        let mut balancer = group();
        balancer.options.address_family = AddressFamily::Dualstack;
        balancer.options.subnets = subnets;
        let (desired, problems) = compiled(&balancer, &account(false));
        let desired = desired.unwrap();
        assert_eq!(desired.load_balancer.ip_address_type, IpAddressType::Ipv4);
        // Nobody has an IPv6 address to come to.
        let let_in: Vec<_> = desired
            .security_group
            .iter()
            .flat_map(|spec| &spec.permissions)
            .collect();
        assert_eq!(let_in.len(), 1);
        assert_eq!(
            (at(&problems), forwards(&desired)),
            (told.to_vec(), vec![true, true])
        );

        // It stays so until there is IPv6.
        let offline = Account::offline(None);
        let (_, shared) = made(&group(), &offline);
        let mut observed = Observed::nothing(Owner::load_balancer("demo", &balancer.id));
        rounds(Some(&balancer), &mut observed, &shared, &account(false));
        let more = rounds(Some(&balancer), &mut observed, &shared, &account(true));
        assert_eq!(
            more,
            [
                "ec2:AuthorizeSecurityGroupIngress ManagedLBSecurityGroup",
                "elbv2:SetIpAddressType LoadBalancer"
            ]
        );

        balancer.options.address_family = AddressFamily::DualstackWithoutPublicIpv4;
        let (desired, problems) = compiled(&balancer, &account(false));
        assert!(desired.is_none());
        assert_eq!(at(&problems), told);
    }
}

#[test]
fn who_asks_for_subnets_that_are_not_there_is_closed_and_the_others_are_served() {
    let mut balancer = group();
    balancer.options.subnets = vec!["private".into()];
    balancer.options.relied_on_by = [("subnets", relying(&["a/web"]))].into();
    let told = [(Code::SubnetsNotFound, "ingress a/web subnets".to_owned())];
    let (desired, problems) = compiled(&balancer, &account(false));
    assert_eq!(
        (at(&problems), forwards(&desired.unwrap())),
        (told.to_vec(), vec![false, true])
    );

    // No later pass opens it.
    let (_, shared) = made(&group(), &Account::offline(None));
    let mut observed = Observed::nothing(Owner::load_balancer("demo", &balancer.id));
    rounds(Some(&balancer), &mut observed, &shared, &account(false));
    let (desired, problems) = compile(&settings("demo"), &balancer, &account(false), &observed);
    assert_eq!(
        (at(&problems), forwards(&desired.unwrap())),
        (told.to_vec(), vec![false, true])
    );

    // Where everybody asks for them, there is nobody to make it for.
    balancer.options.relied_on_by = [("subnets", relying(&["a/web", "b/web"]))].into();
    let (desired, problems) = compiled(&balancer, &account(false));
    assert!(desired.is_none());
    assert_eq!(at(&problems), told);
}

/// An account in which only `sg-1` may be had.
fn account_with_groups() -> Account {
    let mut account = account(false);
    account.late.usable_groups = Ok(Fact::Read([crate::resource::Id::new("sg-1")].into())).into();
    account
}

#[test]
fn who_asks_for_security_groups_that_are_not_there_is_closed_and_the_others_are_served() {
    let told = [(
        Code::OptionUnsupported,
        "ingress a/web security-groups".to_owned(),
    )];
    let account = account_with_groups();
    for missing in [&["office"][..], &["sg-9"], &["sg-1", "sg-9"]] {
        let mut balancer = group();
        balancer.options.security_groups = missing.iter().map(|name| (*name).to_owned()).collect();
        balancer.options.relied_on_by = [("security-groups", relying(&["a/web"]))].into();
        let (desired, problems) = compiled(&balancer, &account);
        let desired = desired.unwrap();
        assert_eq!(
            (at(&problems), forwards(&desired)),
            (told.to_vec(), vec![false, true]),
            "{missing:?}"
        );
        assert_eq!(desired.load_balancer.security_groups.len(), 2, "{missing:?}");
        let demand = crate::demand(&settings("demo"), &balancer, None, &account);
        assert_eq!(demand.through, crate::shared::Through::Backend, "{missing:?}");

        // No later pass opens it, and what its neighbour does is followed.
        let (_, shared) = made(&group(), &Account::offline(None));
        let mut observed = Observed::nothing(Owner::load_balancer("demo", &balancer.id));
        rounds(Some(&balancer), &mut observed, &shared, &account);
        let demand = crate::demand(&settings("demo"), &balancer, Some(&observed), &account);
        assert_eq!(demand.through, crate::shared::Through::Backend, "{missing:?}");
        http(&mut balancer, 81, not_found());
        let calls = rounds(Some(&balancer), &mut observed, &shared, &account);
        assert_eq!(
            calls,
            [
                "ec2:AuthorizeSecurityGroupIngress ManagedLBSecurityGroup",
                "elbv2:CreateListener 81"
            ],
            "{missing:?}"
        );
        let (desired, problems) = compile(&settings("demo"), &balancer, &account, &observed);
        let forwards = forwards(&desired.unwrap());
        assert_eq!(
            (at(&problems), forwards),
            (told.to_vec(), vec![false, true]),
            "{missing:?}"
        );

        // Where everybody asks for them, there is nobody to make it for.
        balancer.options.relied_on_by = [("security-groups", relying(&["a/web", "b/web"]))].into();
        let (desired, problems) = compiled(&balancer, &account);
        assert!(desired.is_none(), "{missing:?}");
        assert_eq!(at(&problems), told, "{missing:?}");
    }
}

/// A load balancer of which one member asks for security group sg-9, made before that was there.
fn group_that_comes_late() -> (Account, LoadBalancer, Shared, Observed) {
    let mut account = account_with_groups();
    let mut balancer = group();
    balancer.options.security_groups = vec!["sg-9".into()];
    balancer.options.relied_on_by = [("security-groups", relying(&["a/web"]))].into();
    let (_, shared) = made(&group(), &Account::offline(None));
    let mut observed = Observed::nothing(Owner::load_balancer("demo", &balancer.id));
    rounds(Some(&balancer), &mut observed, &shared, &account);
    account.late.usable_groups = Ok(Fact::Read([crate::resource::Id::new("sg-9")].into())).into();
    (account, balancer, shared, observed)
}

#[test]
fn security_groups_that_come_to_be_there_are_taken() {
    let (mut account, balancer, shared, mut observed) = group_that_comes_late();
    let calls = rounds(Some(&balancer), &mut observed, &shared, &account);
    assert_eq!(calls[0], "elbv2:SetSecurityGroups LoadBalancer");
    for then in [
        "elbv2:ModifyRule 80:1",
        "ec2:DeleteSecurityGroup ManagedLBSecurityGroup",
    ] {
        assert!(calls.iter().any(|call| call == then), "{then}: {calls:?}");
    }
    assert_eq!(calls.len(), 5, "{calls:?}");
    // One that it has stays, whatever the account shows of it.
    account.late.usable_groups = Ok(Fact::Read([].into())).into();
    let calls = rounds(Some(&balancer), &mut observed, &shared, &account);
    assert_eq!(calls, Vec::<String>::new());
}

#[test]
fn nothing_is_opened_before_the_security_groups_it_asks_for_stand_before_it() {
    let (account, balancer, shared, mut observed) = group_that_comes_late();
    let world = (&mut observed, &shared, &account);
    let refuse =
        |change: &Change| (change.call.name() == "elbv2:SetSecurityGroups").then_some(Code::AccessDenied);
    pass(Some(&balancer), world, &mut 1000, refuse, |_, _| {});
    let (desired, _) = compile(&settings("demo"), &balancer, &account, &observed);
    assert_eq!(forwards(&desired.unwrap()), [false, true]);

    // That a neighbour's rule takes its requests meanwhile does not make it one that serves.
    let mut before = group();
    before.rules.remove(0);
    before.rules[0].hosts.clear();
    let (observed, _) = made(&before, &Account::offline(None));
    let (desired, _) = compile(&settings("demo"), &balancer, &account, &observed);
    assert_eq!(forwards(&desired.unwrap()), [false, true]);
}

#[test]
fn what_serves_goes_on_where_security_groups_are_not_there() {
    let mut balancer = group();
    balancer.options.security_groups = vec!["office".into()];
    balancer.options.relied_on_by = [("security-groups", relying(&["a/web"]))].into();
    let told = [(
        Code::OptionUnsupported,
        "ingress a/web security-groups".to_owned(),
    )];
    let mut before = group();
    let own = before.rules[0].clone();
    let more = rule("a/web", &[80], "more.example.com", "prefix:/", own.action.clone());
    balancer.rules.push(more.clone());
    before.options.security_groups = vec!["sg-1".into()];
    for given in [Vec::new(), vec!["sg-1".to_owned()]] {
        before.options.security_groups = given.clone();
        let (observed, _) = made(&before, &Account::offline(None));
        let (desired, problems) = compile(&settings("demo"), &balancer, &account(false), &observed);
        let desired = desired.unwrap();
        assert_eq!(
            (at(&problems), forwards(&desired)),
            (told.to_vec(), vec![true, true, false]),
            "{given:?}"
        );
        // Its own group is kept up only where it stands behind that.
        assert_eq!(desired.security_group.is_some(), given.is_empty(), "{given:?}");
    }
    let (observed, _) = made(&before, &Account::offline(None));
    before.rules.push(more);
    let (desired, _) = compile(&settings("demo"), &before, &account(false), &observed);
    assert_eq!(forwards(&desired.unwrap()), [true, true, true]);
}

#[test]
fn offline_nothing_is_said_to_be_missing() {
    let mut balancer = group();
    balancer.options.security_groups = vec!["office".into(), "sg-1".into()];
    let (desired, problems) = compiled(&balancer, &Account::offline(None));
    assert_eq!(problems, []);
    let groups: Vec<String> = desired
        .unwrap()
        .load_balancer
        .security_groups
        .iter()
        .map(|group| format!("{group:?}"))
        .collect();
    assert!(groups[0].contains("${SecurityGroup/Name=office}"), "{groups:?}");
}
