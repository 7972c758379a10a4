//! Who may connect in, who is let in and at what moment, and what AWS was found to lack out.

use std::collections::BTreeSet;

use portcullis_model::{
    Action, Code, Condition, FixedResponse, LoadBalancer, ProviderError, Retry, Semantics,
};

use super::build::*;
use super::refused::pass;
use super::settled::made;
use crate::account::{Account, Fact};
use crate::change::Change;
use crate::compile::absent_lists;
use crate::observed::{Observed, Owner, SecurityGroupState};
use crate::resource::{Id, Permission, RuleAction, RuleCondition, SecurityGroupSpec, Source};

fn list(id: &str) -> Permission {
    Permission::tcp(80, 80, Source::PrefixList(id.into()))
}

/// Members `a/web` and `b/web` behind this list alone.
fn behind(lists: &[&str]) -> LoadBalancer {
    let mut out = balancer("public", Semantics::Kubernetes);
    http(&mut out, 80, not_found());
    out.members = ["a/web", "b/web"].map(object).to_vec();
    for owner in ["a/web", "b/web"] {
        let web = backend(&mut out, owner, "web", "80", 8080, Where::Pods(&["10.0.16.10"]));
        let host = format!("{}.example.com", &owner[..1]);
        out.rules
            .push(rule(owner, &[80], &host, "prefix:/", forward(&web)));
    }
    let lists = lists.iter().map(|list| (*list).to_owned()).collect();
    out.options.admitted.insert(port(80), BTreeSet::new());
    out.options.admitted_lists.insert(port(80), lists);
    out
}

/// The same when the list of `a/web` turned out not to be there: its own rules check who comes.
fn without_list(nets: &[&str]) -> LoadBalancer {
    let mut out = behind(&[]);
    out.options.admitted.clear();
    out.options.admitted_lists.clear();
    let away = FixedResponse::new(403, Some("text/plain".into()), None).unwrap();
    let mut guarded = out.rules[0].clone();
    out.rules[0].action = Action::Fixed(away);
    if !nets.is_empty() {
        let nets = nets.iter().map(|net| net.parse().unwrap()).collect();
        guarded.conditions.push(Condition::Source(nets));
        out.rules.insert(0, guarded);
    }
    out
}

fn lets_in_everybody(observed: &Observed) -> bool {
    let permissions = &observed.security_groups[0].get().spec.permissions;
    let mut sources = permissions.iter().map(|permission| &permission.source);
    sources.any(|source| matches!(source, Source::Range(range) if range.prefix_len() == 0))
}

/// Whether a rule forwards what is for `a.example.com` without asking who comes.
fn serves_anybody(observed: &Observed) -> bool {
    let listener = &observed.load_balancer().unwrap().listeners[&80];
    listener.rules.iter().any(|rule| {
        let conditions = &rule.spec.conditions;
        let of_host = format!("{conditions:?}").contains("a.example.com");
        let asks = conditions
            .iter()
            .any(|it| matches!(it, RuleCondition::SourceIp { .. }));
        let mut actions = rule.spec.actions.iter();
        of_host && !asks && actions.any(|action| matches!(action, RuleAction::Forward { .. }))
    })
}

#[test]
fn nobody_is_let_in_before_the_rules_that_keep_him_out_stand() {
    let account = Account::offline(None);
    for nets in [&[][..], &["10.0.0.0/8"]] {
        for (refused, opened) in [(None, true), (Some("Rule"), false)] {
            let (mut observed, shared) = made(&behind(&["pl-1"]), &account);
            let world = (&mut observed, &shared, &account);
            let refuse = |change: &Change| {
                let hit = refused.is_some_and(|call| change.call.name().ends_with(call));
                hit.then_some(Code::AccessDenied)
            };
            let check = |observed: &Observed, change: &Change| {
                let open = lets_in_everybody(observed) && serves_anybody(observed);
                assert!(!open, "{nets:?}: after {change}");
            };
            pass(Some(&without_list(nets)), world, &mut 1000, refuse, check);
            assert_eq!(lets_in_everybody(&observed), opened, "{nets:?} {refused:?}");
            let permissions = &observed.security_groups[0].get().spec.permissions;
            // Whoever was let in stays so until others are.
            assert_eq!(
                permissions.contains(&list("pl-1")),
                !opened,
                "{nets:?} {refused:?}"
            );
        }
    }
}

#[test]
fn a_list_is_absent_where_it_was_looked_for_and_nothing_lets_it_in() {
    let denied = ProviderError {
        code: Code::AccessDenied,
        call: "ec2:DescribeManagedPrefixLists",
        message: "denied".into(),
        retry: Retry::Never,
    };
    let known = |ids: &[&str]| Ok(Fact::Read(ids.iter().map(|id| (*id).to_owned()).collect()));
    for (found, standing, want) in [
        (None, None, &[][..]),
        (Some(Err(denied)), None, &[]),
        (Some(Ok(Fact::Symbolic)), None, &[]),
        (Some(known(&["pl-1", "pl-2"])), None, &[]),
        (Some(known(&["pl-1"])), None, &["pl-2"]),
        (Some(known(&[])), None, &["pl-1", "pl-2"]),
        (Some(known(&[])), Some("public"), &["pl-1"]),
        // What somebody else's group lets in says nothing.
        (Some(known(&[])), Some("other"), &["pl-1", "pl-2"]),
    ] {
        let mut account = Account::offline(None);
        let shown = format!("{found:?} {standing:?}");
        if let Some(found) = found {
            account.late.prefix_lists = found.into();
        } else {
            account.late.prefix_lists = Default::default();
        }
        if let Some(id) = standing {
            let owner = Owner::load_balancer("demo", &balancer(id, Semantics::Kubernetes).id);
            account.listing.security_groups.push(SecurityGroupState {
                id: Id::new("sg-own"),
                spec: SecurityGroupSpec {
                    group_name: "own".into(),
                    description: String::new(),
                    vpc_id: account.vpc.clone(),
                    permissions: [list("pl-2")].into(),
                    tags: owner.tags("ManagedLBSecurityGroup"),
                },
            });
        }
        // What is no id at all is told where it is compiled.
        let absent = absent_lists(&settings("demo"), &behind(&["pl-1", "pl-2", "office"]), &account);
        assert_eq!(Vec::from_iter(absent), want, "{shown}");
    }
}
