//! Ingresses that Kubernetes would refuse in, what is kept of them to be closed out.

use super::*;

#[test]
fn an_ingress_that_kubernetes_refuses_is_closed_and_its_neighbours_apply() {
    let annotated = |value: &str| INGRESS.replace("shop}", &format!("shop, annotations: {{{value}}}}}"));
    for (what, text, at) in [
        (
            "a number for a text",
            annotated("portcullis.dev/rate-limit-burst: 5"),
            "ingress shop/web metadata.annotations[portcullis.dev/rate-limit-burst]: invalid type: integer `5`",
        ),
        (
            "of somebody else",
            annotated("x.y/z: true"),
            "ingress shop/web metadata.annotations[x.y/z]: invalid type: boolean `true`",
        ),
        (
            "a text for a number",
            INGRESS.replace("80", "\"80\""),
            "ingress shop/web spec.rules[0].http.paths[0].backend.service.port.number: invalid type: string \"80\"",
        ),
        (
            "a list for a type",
            INGRESS.replace("Prefix", "[1]"),
            "ingress shop/web spec.rules[0].http.paths[0].pathType: invalid type: sequence",
        ),
        (
            "a version of old",
            INGRESS.replace("k8s.io/v1", "k8s.io/v1beta1"),
            "ingress shop/web apiVersion: networking.k8s.io/v1beta1 of Ingress is not read",
        ),
        (
            "no group",
            INGRESS.replace("networking.k8s.io/v1", "v1"),
            "ingress shop/web apiVersion: v1 of Ingress is not read",
        ),
        (
            "no version",
            INGRESS.replace("apiVersion: networking.k8s.io/v1\n", ""),
            "ingress shop/web apiVersion: is missing; write networking.k8s.io/v1",
        ),
        (
            "a misspelt group",
            INGRESS.replace("networking.k8s.io/v1", "network.k8s.io/v1"),
            "ingress shop/web apiVersion: network.k8s.io/v1 of Ingress is not read",
        ),
        (
            "another group of Kubernetes",
            INGRESS.replace("networking.k8s.io/v1", "apps/v1"),
            "ingress shop/web apiVersion: apps/v1 of Ingress is not read",
        ),
        (
            "misspelt annotations",
            INGRESS.replace("shop}", "shop, annotation: {a: b}}"),
            "ingress shop/web metadata.annotation: Kubernetes has no such field",
        ),
        (
            "an annotation one level off",
            INGRESS.replace("shop}", "shop, portcullis.dev/basic-auth-secret: users}"),
            "ingress shop/web metadata[portcullis.dev/basic-auth-secret]: Kubernetes has no such field",
        ),
        (
            "annotations of the spec",
            INGRESS.replace("spec:\n", "spec:\n  annotations: {a: b}\n"),
            "ingress shop/web spec.annotations: Kubernetes has no such field",
        ),
        (
            "annotations beside metadata",
            INGRESS.replace("spec:\n", "annotations: {a: b}\nspec:\n"),
            "ingress shop/web annotations: Kubernetes has no such field",
        ),
        (
            "a misspelt spec",
            INGRESS.replace("spec:", "Spec:"),
            "ingress shop/web Spec: Kubernetes has no such field",
        ),
        (
            "a spec that is a list",
            INGRESS.replace("  rules:", "- rules:"),
            "ingress shop/web spec: invalid type: sequence",
        ),
        (
            "misspelt rules beside a default backend",
            INGRESS.replace("  rules:", "  defaultBackend: {service: {name: web}}\n  rule:"),
            "ingress shop/web spec.rule: Kubernetes has no such field",
        ),
        (
            "a misspelt class",
            INGRESS.replace("spec:\n", "spec:\n  ingressClass: a\n"),
            "ingress shop/web spec.ingressClass: Kubernetes has no such field",
        ),
        (
            "misspelt secrets",
            INGRESS.replace("spec:\n", "spec:\n  tsl: [{secretName: a}]\n"),
            "ingress shop/web spec.tsl: Kubernetes has no such field",
        ),
        (
            "another kind",
            INGRESS.replace("Ingress", "Ingres"),
            "ingress shop/web kind: there is no Ingres; write Ingress",
        ),
        (
            "no kind",
            INGRESS.replace("kind: Ingress\n", ""),
            "ingress shop/web kind: is missing; write Ingress",
        ),
        (
            "a number for a name",
            INGRESS.replace("name: web, n", "name: 12, n"),
            "ingress shop/12 metadata.name: is 12; a text in quotes is needed",
        ),
        (
            "capital letters",
            INGRESS.replace("name: web, n", "name: Web, n"),
            "ingress shop/Web metadata.name: \"Web\" is no name",
        ),
    ] {
        let text = format!("{text}---\n{SERVICE}");
        let mut manifests = read(&[("a.yaml", &text)]);
        let told = problems(&manifests);
        assert!(told.len() == 1 && told[0].starts_with(at), "{what}: {told:?}");
        assert!(manifests.lost().is_empty(), "{what}");
        let objects = manifests.objects();
        assert_eq!(
            (objects.len(), closed(&manifests).len()),
            (2, 1),
            "{what}: {objects:?}"
        );
        let Object::Ingress(ingress) = &objects[0] else {
            panic!("{what}: {objects:?}");
        };
        let rule = &ingress.rules[0];
        let seen = (rule.host.as_deref(), rule.paths[0].path.as_deref());
        assert_eq!(seen, (Some("shop.example"), Some("/")), "{what}");
        // What is closed is closed as it is written now, and no last good content.
        manifests.update("a.yaml", text.replace("shop.example", "b.example").as_bytes());
        let Object::Ingress(ingress) = &manifests.objects()[0] else {
            panic!("{what}: {objects:?}");
        };
        assert_eq!(ingress.rules[0].host.as_deref(), Some("b.example"), "{what}");
        manifests.update("a.yaml", INGRESS.as_bytes());
        assert!(closed(&manifests).is_empty(), "{what}: mended");
    }
}

#[test]
fn an_ingress_without_a_name_makes_its_file_unreadable() {
    let nameless = INGRESS.replace("name: web, ", "");
    let mut manifests = read(&[("a.yaml", &nameless), ("b.yaml", SERVICE)]);
    let want = "file a.yaml line 1: metadata.name of the Ingress is missing [FileUnreadable]";
    assert_eq!(problems(&manifests), [want]);
    assert_eq!(manifests.lost(), manifests.problems());
    manifests.update("a.yaml", INGRESS.as_bytes());
    assert!(manifests.lost().is_empty());
    manifests.update("a.yaml", nameless.as_bytes());
    assert_eq!(problems(&manifests), [want]);
    assert_eq!(keys(&manifests), ["ingress shop/web", "service shop/web"]);
    assert!(manifests.lost().is_empty(), "what was good is served");
}

/// Of what stands in them nothing is known, whatever it guards.
#[test]
fn what_hides_objects_makes_its_file_unreadable() {
    let item = INGRESS.trim_end().replace('\n', "\n  ");
    let item = format!("- {item}\n");
    let twice = r#"{"kind": "Ingress", "metadata": {"annotations": {"a": "b"}, "annotations": {}}}"#;
    for (file, text, want) in [
        (
            "a.json",
            twice.to_owned(),
            "the key \"annotations\" stands there twice",
        ),
        ("a.yaml", item.clone(), "is a list of objects"),
        (
            "a.yaml",
            format!("apiVersion: v1\nkind: list\nitems:\n{item}"),
            "write List",
        ),
        (
            "a.yaml",
            format!("apiVersion: networking.k8s.io/v1\nkind: ingressList\nitems:\n{item}"),
            "write List",
        ),
        (
            "a.yaml",
            format!("apiVersion: v1\nkind: List\nItems:\n{item}"),
            "stand under items",
        ),
        (
            "a.yaml",
            format!("apiVersion: v1\nkind: List\nitems:\n  {}", &item[2..]),
            "whose items are no list",
        ),
        (
            "a.yaml",
            format!("apiVersion: networking.k8s.io/v1\nkind: IngressList\nitem:\n{item}"),
            "stand under items",
        ),
        ("a.yaml", format!("apiVersion: v1\nitems:\n{item}"), "has no kind"),
        (
            "a.yaml",
            format!(
                "apiVersion: v1\nkind: List\nitems:\n- {}",
                item.replace('\n', "\n  ")
            ),
            "is a list of objects",
        ),
        (
            "a.yaml",
            item.replace("kind: Ingress", "")
                .replace("apiVersion: networking.k8s.io/v1", "a: b"),
            "is a list of objects",
        ),
        ("a.yaml", format!("web:\n  {}", &item[2..]), "is a map of objects"),
        ("a.yaml", format!("|\n  {}", &item[2..]), "is a text"),
        (
            "a.yaml",
            INGRESS.replace("spec:", "...\nspec:"),
            "metadata.name of the Ingress is missing",
        ),
    ] {
        let manifests = read(&[(file, &text), ("b.yaml", SERVICE)]);
        let told = problems(&manifests);
        assert!(told.len() == 1 && told[0].contains(want), "{text}: {told:?}");
        assert_eq!(manifests.lost(), manifests.problems(), "{text}");
    }
}

/// As the API server sends them.
#[test]
fn items_of_a_list_of_ingresses_need_no_kind_and_lists_may_hold_lists() {
    let bare = INGRESS.replace("apiVersion: networking.k8s.io/v1\nkind: Ingress\n", "");
    let bare = format!("- {}\n", bare.trim_end().replace('\n', "\n  "));
    let list = format!("apiVersion: networking.k8s.io/v1\nkind: IngressList\nmetadata: {{}}\nitems:\n{bare}");
    let outer = format!(
        "apiVersion: v1\nkind: List\nitems:\n- {}\n",
        list.trim_end().replace('\n', "\n  ")
    );
    for text in [list, outer] {
        let manifests = read(&[("a.yaml", &text)]);
        assert_eq!(problems(&manifests), [""; 0], "{text}");
        assert_eq!(keys(&manifests), ["ingress shop/web"], "{text}");
        assert!(closed(&manifests).is_empty(), "{text}");
    }
}

/// What narrows stands in its annotations, labels and parameters.
#[test]
fn a_misspelt_field_of_what_guards_is_refused() {
    let class = "apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {name: a}\n\
                 spec: {controller: x.y/z, parameter: {kind: A, name: b}}\n";
    let parameters = "apiVersion: portcullis.dev/v1alpha1\nkind: IngressClassParameters\nmetadata: {name: a}\n\
                      specs: {inboundCIDRs: [10.0.0.0/8]}\n";
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a, label: {a: b}}\n";
    let service = SERVICE.replace("metadata: {", "metadata: {annotation: {portcullis.dev/x: y}, ");
    for (text, at, kept) in [
        (class, "ingressclass a spec.parameter: ", &["ingressclass a"][..]),
        (parameters, "ingressclassparameters a specs: ", &[]),
        (namespace, "namespace a metadata.label: ", &[]),
        (&service, "service shop/web metadata.annotation: ", &[]),
    ] {
        let manifests = read(&[("a.yaml", text)]);
        let told = problems(&manifests);
        let want = format!("{at}Kubernetes has no such field");
        assert!(told.len() == 1 && told[0].starts_with(&want), "{text}: {told:?}");
        assert_eq!(keys(&manifests), kept, "{text}");
        for object in manifests.objects() {
            let Object::IngressClass(class) = &object else {
                panic!("{object:?}");
            };
            let parameters = class.parameters.as_ref().map(|parameters| parameters.key());
            assert_eq!((&*class.controller, parameters), ("x.y/z", Some(None)), "{text}");
        }
    }
}

#[test]
fn what_is_written_for_an_older_kubernetes_too_is_as_it_is_right() {
    let old = INGRESS.replace("k8s.io/v1", "k8s.io/v1beta1");
    let mut manifests = Manifests::default();
    for host in ["shop.example", "a.example"] {
        let text = format!("{old}---\n{}", INGRESS.replace("shop.example", host));
        manifests.update("a.yaml", text.as_bytes());
        let objects = manifests.objects();
        let [Object::Ingress(ingress)] = &objects[..] else {
            panic!("{host}: {objects:?}");
        };
        let seen = (ingress.rules[0].host.as_deref(), &ingress.refused);
        assert_eq!(seen, (Some(host), &None));
        assert_eq!(manifests.problems().len(), 1, "{host}");
    }
}
