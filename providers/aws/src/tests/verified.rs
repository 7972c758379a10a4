//! Backends whose targets are to be verified in, which an ALB does not do, what answers in their place out.

use portcullis_model::{
    BackendTls, Code, HostName, LoadBalancer, ObjectName, Origin, Semantics, Verification,
};

use super::build::*;
use super::settled::made;
use crate::Settings;
use crate::account::Account;
use crate::compile::{Desired, compile};
use crate::observed::{Observed, Owner};
use crate::resource::RuleAction;

fn at(owner: &str) -> Origin {
    let field = "metadata.annotations[portcullis.dev/backend-tls-ca-secret]";
    Origin::new("ingress", object(owner), field)
}

/// Members with a path of their own to one Service over TLS; those that are named here ask for verification.
fn given(members: &[&str], verifying: &[&str]) -> LoadBalancer {
    let mut out = balancer("group", Semantics::Kubernetes);
    http(&mut out, 80, not_found());
    for owner in members {
        let id = backend(&mut out, owner, "cart", "80", 8443, Where::Pods(&["10.0.16.10"]));
        let backend = out.backends.get_mut(&id).unwrap();
        backend.protocol.tls = match verifying.contains(owner) {
            false => BackendTls::Unverified,
            true => BackendTls::Verified(Verification {
                authorities: ObjectName::new("shop", "ca"),
                server_name: HostName::parse("cart.shop.svc").unwrap(),
                origin: at(owner),
            }),
        };
        out.rules
            .push(rule(owner, &[80], "", &format!("prefix:/{owner}"), forward(&id)));
    }
    out
}

/// Whether each rule forwards, in order.
fn forwards(desired: &Desired) -> Vec<bool> {
    let rules = desired.listeners[&80].rules.iter();
    let forwards = |action: &RuleAction<_>| matches!(action, RuleAction::Forward { .. });
    rules.map(|rule| rule.spec.actions.iter().any(forwards)).collect()
}

#[test]
fn what_is_to_be_verified_is_not_forwarded_to_and_told_where_it_was_asked_for() {
    let members = ["shop/a", "shop/b", "shop/c"];
    let account = Account::offline(None);
    let before = given(&members, &[]);
    let (exists, _) = made(&before, &account);
    let nothing = Observed::nothing(Owner::load_balancer("demo", &before.id));
    let groups = |desired: &Desired| {
        let groups = desired.target_groups.iter();
        let named = groups.map(|(id, group)| (id.clone(), group.name.clone()));
        named.collect::<Vec<_>>()
    };
    for observed in [nothing, exists] {
        let compiled = |balancer: &LoadBalancer| {
            let (desired, problems) = compile(&Settings::default(), balancer, &account, &observed);
            (desired.unwrap(), problems)
        };
        let (of_all, problems) = compiled(&before);
        assert_eq!((forwards(&of_all), codes(&problems)), (vec![true; 3], vec![]));
        let (desired, problems) = compiled(&given(&members, &["shop/b"]));
        assert_eq!(forwards(&desired), [true, false, true]);
        let told: Vec<(Code, &Origin)> = problems.iter().map(|p| (p.code, &p.at)).collect();
        assert_eq!(told, [(Code::BackendUnsupported, &at("shop/b"))]);
        assert_eq!(
            groups(&desired),
            groups(&of_all),
            "the neighbours' target group stays"
        );
        let (desired, _) = compiled(&given(&members, &members));
        assert_eq!((forwards(&desired), groups(&desired)), (vec![false; 3], vec![]));
    }
}

#[test]
fn names_made_of_what_is_not_verified_are_what_they_were() {
    for (tls, want) in [(BackendTls::Off, "false"), (BackendTls::Unverified, "true")] {
        assert_eq!(serde_json::to_string(&tls).unwrap(), want);
    }
}
