//! Ingresses that come to be refused in, what is served of them out: what was admitted, and nothing newer.

use super::*;

/// Members of `public`, with the Services each names and the scheme its class gives it.
fn served(index: &Index) -> Vec<String> {
    let snapshot = index.synced().unwrap().snapshot(&LoadBalancerId::parse("public"));
    let member = |member: &crate::cluster::snapshot::Member| {
        let services: Vec<String> = names(&member.ingress)
            .services
            .iter()
            .map(|service| service.name.to_string())
            .collect();
        let scheme = match &member.parameters {
            Parameters::Found(found) => found.spec.scheme.clone().unwrap_or_default(),
            other @ (Parameters::None | Parameters::Missing | Parameters::Foreign) => format!("{other:?}"),
        };
        format!(
            "{} {} {scheme}",
            member.ingress.meta.name.name,
            services.join("+")
        )
    };
    snapshot.members.iter().map(member).collect()
}

#[test]
fn what_was_admitted_goes_on_until_it_is_admitted_anew_or_goes() {
    let gone = |object: &Object| Event::Delete(object.key());
    let apply = applied;
    let before = vec!["a s internal", "b t internal"];
    let class_gone = || gone(&class("ours", None));
    let edited = || apply(ingress("b", Some("ours"), Some("public"), &["u"], "none"));
    let mistaken = || apply(ingress("b", Some("unknown"), Some("public"), &["u"], "none"));
    for (what, events, want) in [
        ("the class goes", vec![class_gone()], before.clone()),
        (
            "it names another class, that is none",
            vec![mistaken()],
            before.clone(),
        ),
        (
            "edited while refused",
            vec![class_gone(), edited()],
            before.clone(),
        ),
        (
            "the parameters change while it is refused",
            vec![class_gone(), apply(parameters("usual", "internet-facing"))],
            before.clone(),
        ),
        (
            "the class returns",
            vec![class_gone(), edited(), apply(class("ours", Some("usual")))],
            vec!["a s internal", "b u internal"],
        ),
        (
            "the class returns with other parameters",
            vec![
                class_gone(),
                apply(parameters("other", "internet-facing")),
                apply(class("ours", Some("other"))),
            ],
            vec!["a s internet-facing", "b t internet-facing"],
        ),
        (
            "its namespace is not admitted any more",
            vec![apply(namespace("closed"))],
            before.clone(),
        ),
        (
            "it goes",
            vec![class_gone(), gone(&ingress("b", None, None, &[], ""))],
            vec!["a s internal"],
        ),
        (
            "it becomes another controller's",
            vec![
                mistaken(),
                apply(ingress("b", None, Some("public"), &["t"], "none")),
            ],
            vec!["a s internal"],
        ),
        (
            "it moves to another group",
            vec![
                mistaken(),
                apply(ingress("b", Some("ours"), Some("private"), &["t"], "none")),
            ],
            vec!["a s internal"],
        ),
        (
            "it is another Ingress of the name",
            vec![
                class_gone(),
                apply(with_uid(ingress("b", Some("ours"), Some("public"), &["t"], ""))),
            ],
            vec!["a s internal"],
        ),
        (
            "it is being deleted",
            vec![
                class_gone(),
                apply(deleting(ingress(
                    "b",
                    Some("ours"),
                    Some("public"),
                    &["t"],
                    "none",
                ))),
            ],
            vec!["a s internal"],
        ),
        (
            "all are listed anew",
            vec![
                class_gone(),
                Event::Reset(
                    Kind::Ingress,
                    vec![
                        ingress("a", Some("ours"), Some("public"), &["u"], "cert"),
                        ingress("b", Some("ours"), Some("public"), &["u"], "none"),
                    ],
                ),
            ],
            before.clone(),
        ),
    ] {
        let mut index = index();
        index.reset_all(cluster());
        assert_eq!(served(&index), before, "{what}: before");
        for event in events {
            event.happen(&mut index);
        }
        assert_eq!(served(&index), want, "{what}");
    }
}

fn changed(object: Object, change: impl Fn(&mut Ingress)) -> Object {
    let Object::Ingress(mut ingress) = object else {
        panic!("an Ingress");
    };
    change(Arc::make_mut(&mut ingress));
    Object::Ingress(ingress)
}

fn with_uid(object: Object) -> Object {
    changed(object, |ingress| ingress.meta.uid = "another".into())
}

fn deleting(object: Object) -> Object {
    changed(object, |ingress| ingress.meta.deleting = true)
}

fn edited_to(object: Object, generation: i64) -> Object {
    changed(object, |ingress| ingress.generation = generation)
}

#[test]
fn who_is_refused_and_served_is_touched_by_what_it_names() {
    let mut index = index();
    index.reset_all(cluster());
    let touched = index.delete(&class("ours", None).key());
    assert_eq!(ids(&touched)[..2], ["public", "shop/c"]);
    assert_eq!(ids(&index.apply(service("t", Some("x")))), ["public"]);
    assert_eq!(ids(&index.apply(secret("cert", "two"))), ["public"]);
    let synced = index.synced().unwrap();
    let standing = synced.standing(&LoadBalancerId::parse("public"));
    let codes: Vec<String> = standing
        .iter()
        .map(|(name, problems)| format!("{name} {}", problems[0].code))
        .collect();
    assert_eq!(codes, ["shop/a ClassNotFound", "shop/b ClassNotFound"]);
    assert_eq!(synced.refused().count(), 4);
}

#[test]
fn its_status_is_the_one_of_now() {
    let mut index = index();
    index.reset_all(cluster());
    index.delete(&class("ours", None).key());
    let address = crate::cluster::object::IngressAddress {
        hostname: Some("x.example.com".into()),
        ..Default::default()
    };
    let shown = changed(cluster()[5].clone(), |ingress| {
        ingress.status = vec![address.clone()]
    });
    assert_eq!(ids(&index.apply(shown)), ["public", "refused shop/b"]);
    let snapshot = index.synced().unwrap().snapshot(&LoadBalancerId::parse("public"));
    assert_eq!(snapshot.members[1].ingress.status, [address]);
}

#[test]
fn after_a_restart_it_goes_on_as_recorded_unless_it_was_edited() {
    for (what, now, want) in [
        ("as it was", cluster()[5].clone(), vec!["b t internal"]),
        ("edited", edited_to(cluster()[5].clone(), 2), vec![]),
        (
            "admitted again",
            ingress("b", Some("other"), Some("public"), &["u"], "none"),
            vec!["b u None"],
        ),
    ] {
        let Object::Ingress(before) = cluster()[5].clone() else {
            panic!("the fifth is an Ingress");
        };
        let Object::ClassParameters(parameters) = cluster()[1].clone() else {
            panic!("the first are parameters");
        };
        let mut index = index();
        index.reset_all(vec![now, class("other", None), service("t", None)]);
        let touched = index.recall(
            &before.meta.name,
            Recorded {
                id: LoadBalancerId::parse("public"),
                text: Admitted::text(&before),
                parameters: Parameters::Found(parameters),
            },
        );
        assert_eq!(served(&index), want, "{what}");
        assert_eq!(touched.is_empty(), what != "as it was", "{what}: {touched:?}");
    }
}

#[test]
fn nothing_stands_by_a_partial_view() {
    let mut index = index();
    // For a moment it looks as if the class admitted all.
    index.apply(class("ours", None));
    index.apply(cluster()[5].clone());
    index.apply(namespace("closed"));
    for kind in Kind::ALL
        .iter()
        .filter(|kind| !matches!(kind, Kind::Ingress | Kind::IngressClass | Kind::Namespace))
    {
        index.reset(*kind, Vec::new());
    }
    index.reset(Kind::IngressClass, vec![class("ours", None)]);
    index.reset(Kind::Namespace, vec![namespace("closed")]);
    index.reset(Kind::Ingress, vec![cluster()[5].clone()]);
    assert_eq!(served(&index), Vec::<String>::new());
}
