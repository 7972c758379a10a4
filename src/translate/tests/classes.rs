//! Classes in, whose an Ingress is out.

use super::*;
use crate::cluster::membership::Membership;
use crate::cluster::object::Ingress;

const OURS: &str = ControllerName::OURS;
const THEIRS: &str = ControllerName::INCUMBENT;

/// The membership of one Ingress: `foreign`, `member` (with its class), or the code of the first problem.
fn shown(world: &World, settings: &Settings) -> String {
    let mut classes = BTreeMap::new();
    let mut parameters = BTreeMap::new();
    let mut namespaces = BTreeMap::new();
    let mut ingresses: Vec<Arc<Ingress>> = Vec::new();
    for object in world.objects.clone() {
        let name = object.meta().name.name.clone();
        match object {
            Object::IngressClass(class) => {
                classes.insert(name, class);
            }
            Object::ClassParameters(found) => {
                parameters.insert(name, found);
            }
            Object::Namespace(namespace) => {
                namespaces.insert(name, namespace);
            }
            Object::Ingress(ingress) => ingresses.push(ingress),
            Object::Service(_)
            | Object::EndpointSlice(_)
            | Object::Secret(_)
            | Object::Node(_)
            | Object::Pod(_) => {}
        }
    }
    let membership = membership(
        settings,
        crate::cluster::membership::Candidate {
            ingress: &ingresses[0],
            classes: &classes,
            parameters: &parameters,
            namespaces: &namespaces,
        },
    );
    match membership {
        Membership::Foreign => "foreign".to_owned(),
        Membership::Member { class: None, .. } => "member".to_owned(),
        Membership::Member {
            class: Some(class), ..
        } => format!("member by {class}"),
        Membership::Refused(problems) => problems[0].code.to_string(),
    }
}

fn ingress(annotation: Option<&str>, class: Option<&str>) -> World {
    let annotations = annotation.map_or_else(
        || json!({}),
        |value| json!({ "kubernetes.io/ingress.class": value }),
    );
    let spec = class.map_or_else(|| json!({}), |class| json!({ "ingressClassName": class }));
    World::new().ingress("shop/web", annotations, spec)
}

#[test]
fn an_ingress_is_ours_by_class_annotation_or_default() {
    let ours = Settings::new(ControllerName::new(OURS));
    let theirs = Settings::new(ControllerName::new(THEIRS));
    /// Name, controller, whether it is the default.
    type Class<'a> = (&'a str, &'a str, bool);
    /// Annotation, class, classes, settings, membership.
    type Row<'a> = (
        Option<&'a str>,
        Option<&'a str>,
        &'a [Class<'a>],
        &'a Settings,
        &'a str,
    );
    let rows: &[Row<'_>] = &[
        (None, Some("a"), &[("a", OURS, false)], &ours, "member by a"),
        (None, Some("a"), &[("a", "other/x", false)], &ours, "foreign"),
        (None, Some("a"), &[("b", OURS, true)], &ours, "ClassNotFound"),
        (None, None, &[("a", OURS, false)], &ours, "foreign"),
        (None, None, &[("a", OURS, true)], &ours, "member by a"),
        (None, None, &[("a", "other/x", true)], &ours, "foreign"),
        (
            None,
            None,
            &[("a", OURS, true), ("b", OURS, true)],
            &ours,
            "DefaultClassAmbiguous",
        ),
        (
            None,
            None,
            &[("a", OURS, true), ("b", "other/x", true)],
            &ours,
            "DefaultClassAmbiguous",
        ),
        (
            None,
            None,
            &[("a", "other/x", true), ("b", "other/y", true)],
            &ours,
            "foreign",
        ),
        (None, None, &[], &ours, "foreign"),
        // The annotation wins over the field.
        (
            Some("b"),
            Some("a"),
            &[("a", OURS, false), ("b", "other/x", false)],
            &ours,
            "foreign",
        ),
        (Some("nginx"), Some("a"), &[("a", OURS, false)], &ours, "foreign"),
        (Some("a"), None, &[("a", OURS, false)], &ours, "member by a"),
        (Some("portcullis"), None, &[], &ours, "member"),
        // Where there are classes of ours, the annotation must name one of them: each may restrict who uses it.
        (Some("portcullis"), None, &[("a", OURS, false)], &ours, "foreign"),
        (
            Some("portcullis"),
            None,
            &[("a", "other/x", false)],
            &ours,
            "member",
        ),
        (Some("alb"), None, &[], &ours, "foreign"),
        (Some("alb"), None, &[("alb", THEIRS, false)], &theirs, "member"),
        (
            Some("alb"),
            Some("b"),
            &[("b", "other/x", false)],
            &theirs,
            "member",
        ),
        (
            Some("nginx"),
            Some("a"),
            &[("a", THEIRS, false)],
            &theirs,
            "foreign",
        ),
        (None, Some("a"), &[("a", THEIRS, false)], &theirs, "member by a"),
        (None, Some("a"), &[("a", THEIRS, false)], &ours, "foreign"),
    ];
    for (annotation, class, classes, settings, want) in rows {
        let world = classes.iter().fold(ingress(*annotation, *class), |world, class| {
            let (name, controller, default) = *class;
            world.class(name, controller, default, None)
        });
        assert_eq!(
            shown(&world, settings),
            *want,
            "annotation {annotation:?}, class {class:?}, classes {classes:?}"
        );
    }
}

#[test]
fn an_empty_class_of_the_incumbent_takes_what_names_none() {
    // AWS Load Balancer Controller, pkg/ingress: group_loader.go, class_annotation_matcher.go.
    let empty = |settings: Settings| Settings {
        legacy_class: "".into(),
        ..settings
    };
    let theirs = || Settings::new(ControllerName::new(THEIRS));
    let ours = Settings::default;
    for (annotation, class, default, settings, want) in [
        (None, None, None, empty(theirs()), "member"),
        (Some("alb"), None, None, empty(theirs()), "member"),
        (Some(""), None, None, empty(theirs()), "member"),
        (Some("nginx"), None, None, empty(theirs()), "foreign"),
        (None, Some("a"), None, empty(theirs()), "member by a"),
        (None, None, Some(THEIRS), empty(theirs()), "member by d"),
        (None, None, Some("other/x"), empty(theirs()), "foreign"),
        (None, None, None, theirs(), "foreign"),
        (None, None, None, empty(ours()), "foreign"),
    ] {
        let world = ingress(annotation, class).class("a", THEIRS, false, None);
        let world = match default {
            Some(controller) => world.class("d", controller, true, None),
            None => world,
        };
        let got = shown(&world, &settings);
        assert_eq!(
            got, want,
            "annotation {annotation:?}, class {class:?}, default {default:?}"
        );
    }
}

#[test]
fn in_a_folder_without_classes_every_ingress_is_ours() {
    let folder = Settings::for_files(ControllerName::default());
    for (annotation, class) in [(None, None), (Some("nginx"), None), (None, Some("other"))] {
        let world = ingress(annotation, class);
        assert_eq!(shown(&world, &folder), "member", "{annotation:?} {class:?}");
        let world = world.class("c", OURS, false, None);
        assert_ne!(
            shown(&world, &folder),
            "member",
            "{annotation:?} {class:?} with a class"
        );
    }
}

#[test]
fn a_class_admits_whom_its_parameters_admit() {
    let aws = Settings {
        provider: Some("aws"),
        ..Settings::default()
    };
    for (parameters, want) in [
        (None, "ClassParametersNotFound"),
        (Some(json!({})), "member by a"),
        (Some(json!({ "provider": "aws" })), "member by a"),
        (Some(json!({ "provider": "gcp" })), "ProviderUnavailable"),
        (Some(json!({ "admission": {} })), "member by a"),
        (
            Some(json!({ "admission": { "namespaces": {} } })),
            "NamespaceNotAdmitted",
        ),
        (
            Some(json!({ "admission": { "namespaces": { "names": ["shop"] } } })),
            "member by a",
        ),
        (
            Some(json!({ "admission": { "namespaces": { "names": ["blog"] } } })),
            "NamespaceNotAdmitted",
        ),
        (
            Some(json!({ "admission": { "namespaces": { "matchLabels": { "team": "shop" } } } })),
            "member by a",
        ),
        (
            Some(
                json!({ "admission": { "namespaces": { "matchLabels": { "team": "shop", "env": "prod" } } } }),
            ),
            "NamespaceNotAdmitted",
        ),
    ] {
        let mut world = ingress(None, Some("a")).class("a", OURS, false, Some("p")).with(json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "shop", "labels": { "team": "shop" } },
        }));
        if let Some(parameters) = parameters.clone() {
            world = world.parameters("p", parameters);
        }
        assert_eq!(shown(&world, &aws), want, "{parameters:?}");
    }
}

#[test]
fn parameters_of_another_kind_restrict_what_is_not_known_so_nothing_is_served() {
    let world = ingress(None, Some("alb")).with(json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IngressClass",
        "metadata": { "name": "alb" },
        "spec": {
            "controller": THEIRS,
            "parameters": { "apiGroup": "elbv2.k8s.aws", "kind": "IngressClassThings", "name": "p" },
        },
    }));
    let theirs = Settings::new(ControllerName::new(THEIRS));
    assert_eq!(shown(&world, &theirs), "ClassParametersInvalid");
}

#[test]
fn a_group_name_that_is_none_is_refused_at_its_annotation() {
    let world = World::new().ingress(
        "shop/web",
        json!({ "alb.ingress.kubernetes.io/group.name": "Public" }),
        json!({}),
    );
    let problems = world.refused(&ours());
    assert_eq!(problems.len(), 1);
    assert_eq!(
        problems[0].at.to_string(),
        "ingress shop/web metadata.annotations[alb.ingress.kubernetes.io/group.name]"
    );
    assert_eq!(problems[0].code, Code::GroupNameInvalid);

    // Where all are one, what it guards stays guarded.
    let world = with_services(World::new(), &["shop/s"]).ingress(
        "shop/web",
        json!({ "portcullis.dev/group.name": "Public", "nginx.ingress.kubernetes.io/whitelist-source-range": "10.0.0.0/8" }),
        json!({ "rules": [rule("a.com", json!([path("Prefix", "/", "s")]))] }),
    );
    let served = world.one(&Settings::for_serving(ControllerName::default()));
    assert_eq!(served.get("a.com/x"), "403");
    assert_eq!(served.codes(), [Code::GroupNameInvalid]);
}

#[test]
fn all_services_and_secrets_that_an_ingress_names_are_found() {
    let world = World::new().ingress(
        "shop/web",
        json!({
            "alb.ingress.kubernetes.io/actions.split": r#"{"type":"forward","forwardConfig":{"targetGroups":[
                {"ServiceName":"a","servicePort":80,"weight":1},{"serviceName":"b","servicePort":80,"weight":1}]}}"#,
            "alb.ingress.kubernetes.io/auth-idp-oidc": r#"{"secretName":"oidc"}"#,
        }),
        json!({
            "defaultBackend": to("d"),
            "tls": [{ "hosts": ["foo.com"], "secretName": "cert" }],
            "rules": [rule("foo.com", json!([path("Prefix", "/", "s"), {
                "path": "/a", "pathType": "Prefix", "backend": to_action("split"),
            }]))],
        }),
    );
    let Object::Ingress(ingress) = &world.objects[0] else {
        panic!("an Ingress")
    };
    let names = references(ingress);
    let shown = |names: &BTreeSet<portcullis_model::ObjectName>| -> Vec<String> {
        names.iter().map(|name| name.to_string()).collect()
    };
    assert_eq!(shown(&names.services), ["shop/a", "shop/b", "shop/d", "shop/s"]);
    assert_eq!(shown(&names.secrets), ["shop/cert", "shop/oidc"]);
}

#[test]
fn in_a_folder_an_ingress_that_is_not_ours_is_told_and_in_a_cluster_it_is_none_of_our_business() {
    for (annotation, class, field) in [
        (None, Some("nginx"), "spec.ingressClassName"),
        (None, None, "spec.ingressClassName"),
        (
            Some("nginx"),
            None,
            "metadata.annotations[kubernetes.io/ingress.class]",
        ),
        (
            Some("other"),
            None,
            "metadata.annotations[kubernetes.io/ingress.class]",
        ),
    ] {
        let world = ingress(annotation, class).class("nginx", "k8s.io/ingress-nginx", false, None);
        let told: Vec<String> = world
            .refused(&ours())
            .iter()
            .map(|problem| format!("{} {}", problem.code, problem.at))
            .collect();
        assert_eq!(
            told,
            [format!("ClassForeign ingress shop/web {field}")],
            "{annotation:?} {class:?}"
        );
        assert_eq!(
            world.refused(&Settings::default()),
            [],
            "{annotation:?} {class:?}"
        );
    }
}
