//! Files as people and editors leave them in, what is told and kept of them out.

mod closed;

use serde_json::{Value, json};

use super::*;

const INGRESS: &str = "\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, namespace: shop}
spec:
  rules:
  - host: shop.example
    http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}
";

const SERVICE: &str = "\
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {ports: [{port: 80}]}
";

fn read(files: &[(&str, &str)]) -> Manifests {
    let mut manifests = Manifests::default();
    for (name, text) in files {
        manifests.update(name, text.as_bytes());
    }
    manifests
}

fn keys(manifests: &Manifests) -> Vec<String> {
    manifests
        .objects()
        .iter()
        .map(|object| format!("{} {}", object.kind().origin(), object.meta().name))
        .collect()
}

fn problems(manifests: &Manifests) -> Vec<String> {
    manifests.problems().iter().map(Problem::to_string).collect()
}

#[test]
fn a_file_holds_any_number_of_documents_in_any_shape() {
    let item = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n";
    let list = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Namespace\n  metadata: {name: shop}\n- apiVersion: v1\n  kind: Namespace\n  metadata: {name: blog}\n";
    let json = r#"{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"shop"}}"#;
    let json_two = format!("{json}\n{}", json.replace("shop", "blog"));
    let two = format!("{item}---\n{}", item.replace("shop", "blog"));
    let bare = format!(
        "---\n# nothing\n---\n{item}---\n\n---\n{}...\n",
        item.replace("shop", "blog")
    );
    let crlf = two.replace('\n', "\r\n");
    let bom = format!("\u{feff}{two}");
    let both = vec!["namespace shop", "namespace blog"];
    for (what, name, text, want) in [
        ("one", "a.yaml", item, vec!["namespace shop"]),
        ("nothing", "a.yaml", "", vec![]),
        ("only comments", "a.yaml", "# a\n---\n# b\n", vec![]),
        ("two", "a.yaml", &two, both.clone()),
        ("empty ones between", "a.yml", &bare, both.clone()),
        ("CRLF", "a.yaml", &crlf, both.clone()),
        ("a byte order mark", "a.yaml", &bom, both.clone()),
        ("a List", "a.yaml", list, both.clone()),
        ("JSON", "a.json", json, vec!["namespace shop"]),
        ("JSON in YAML", "a.yaml", json, vec!["namespace shop"]),
        ("two of JSON", "a.json", &json_two, both.clone()),
        ("JSON with nothing", "a.json", " ", vec![]),
    ] {
        let manifests = read(&[(name, text)]);
        assert_eq!(problems(&manifests), Vec::<String>::new(), "{what}");
        assert_eq!(keys(&manifests), want, "{what}");
    }
}

#[test]
fn a_malformed_file_is_told_with_its_line() {
    let duplicate = format!("{SERVICE}spec: {{}}\n");
    let deep = format!("a: {}1{}", "[".repeat(200), "]".repeat(200));
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\n";
    for (what, name, bytes, want) in [
        (
            "an open bracket",
            "a.yaml",
            b"a: 1\nb: [".as_slice(),
            "file a.yaml line 2",
        ),
        ("a tab", "a.yaml", b"a:\n\tb: 1\n", "file a.yaml line 2"),
        (
            "wrong indent",
            "a.yaml",
            b"a:\n  b: 1\n c: 2\n",
            "file a.yaml line 3",
        ),
        (
            "a key twice",
            "a.yaml",
            duplicate.as_bytes(),
            "file a.yaml line 5",
        ),
        (
            "an unknown alias",
            "a.yaml",
            b"a: 1\nb: *nobody\n",
            "file a.yaml line 2",
        ),
        (
            "too deep",
            "a.yaml",
            deep.as_bytes(),
            "file a.yaml line 1: it is nested deeper than 64 levels [",
        ),
        (
            "an alias bomb",
            "a.yaml",
            bomb.as_bytes(),
            "file a.yaml line 5: its aliases repeat more than 100000 values [",
        ),
        (
            "not UTF-8",
            "a.yaml",
            b"a: 1\nb: \xff\n",
            "file a.yaml line 2: the file is not UTF-8",
        ),
        ("JSON cut short", "a.json", b"{\n\"a\":", "file a.json line 2"),
        ("YAML in JSON", "a.json", b"a: 1", "file a.json line 1"),
        (
            "a template",
            "a.yaml",
            b"a: {{ .Values.b }}\n",
            "file a.yaml line 1",
        ),
    ] {
        let mut manifests = Manifests::default();
        manifests.update(name, bytes);
        let told = problems(&manifests);
        assert_eq!(told.len(), 1, "{what}: {told:?}");
        assert!(told[0].starts_with(want), "{what}: {}", told[0]);
        assert!(told[0].ends_with("[FileUnreadable]"), "{what}: {}", told[0]);
        assert!(told[0].len() < 300, "{what}: {}", told[0]);
        assert!(!told[0].contains('\n'), "{what}: {}", told[0]);
    }
}

#[test]
fn a_broken_file_keeps_its_last_good_content_and_the_others_apply() {
    let mut manifests = read(&[("a.yaml", INGRESS), ("b.yaml", SERVICE)]);
    manifests.update("a.yaml", b"kind: [");
    manifests.update("b.yaml", SERVICE.replace("web", "cart").as_bytes());
    assert_eq!(keys(&manifests), ["ingress shop/web", "service shop/cart"]);
    assert_eq!(manifests.problems().len(), 1);
    manifests.unreadable("b.yaml", "permission denied");
    assert_eq!(keys(&manifests), ["ingress shop/web", "service shop/cart"]);
    assert_eq!(
        problems(&manifests)[1],
        "file b.yaml: permission denied [FileUnreadable]"
    );
    manifests.update("a.yaml", INGRESS.replace("web", "news").as_bytes());
    manifests.remove("b.yaml");
    assert_eq!(keys(&manifests), ["ingress shop/news"]);
    assert_eq!(problems(&manifests), Vec::<String>::new());
}

#[test]
fn a_broken_object_keeps_its_last_good_content_and_its_neighbours_apply() {
    let text = format!("{INGRESS}---\n{SERVICE}");
    let mut manifests = read(&[("a.yaml", &text)]);
    let before = manifests.objects();
    let broken = text
        .replace("number: 80", "number: http")
        .replace("port: 80}", "port: 81}");
    manifests.update("a.yaml", broken.as_bytes());
    let told = problems(&manifests);
    assert_eq!(
        told,
        [
            "ingress shop/web spec.rules[0].http.paths[0].backend.service.port.number: invalid type: string \
             \"http\", expected a whole number (a.yaml line 1) [ObjectInvalid]"
        ]
    );
    let after = manifests.objects();
    assert_eq!(after.len(), 2);
    assert_eq!(after[0], before[0], "the Ingress as it was");
    assert_ne!(after[1], before[1], "the Service as it is");
    // Gone from the file is gone, broken or not.
    manifests.update("a.yaml", SERVICE.as_bytes());
    assert_eq!(keys(&manifests), ["service shop/web"]);
}

#[test]
fn of_two_objects_with_one_name_the_first_is_used() {
    let other = SERVICE.replace("80", "81");
    let manifests = read(&[("b.yaml", &other), ("a.yaml", &format!("# the first\n{SERVICE}"))]);
    assert_eq!(keys(&manifests), ["service shop/web"]);
    let Object::Service(service) = &manifests.objects()[0] else {
        panic!("a Service is read as one");
    };
    assert_eq!(service.ports[0].port, 80);
    assert_eq!(
        problems(&manifests),
        ["service shop/web: written twice: a.yaml line 2 is used, b.yaml line 1 is not [ObjectDuplicate]"]
    );
}

#[test]
fn what_is_no_object_of_ours_is_told_and_disturbs_nothing() {
    for (document, want) in [
        (
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n",
            "file a.yaml line 2: apps/v1 Deployment web is of a kind that is not used here [KindIgnored]",
        ),
        (
            "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: web}\n",
            "file a.yaml line 2: serving.knative.dev/v1 Service web is of a kind that is not used here [KindIgnored]",
        ),
        (
            "apiVersion: extensions/v1beta1\nkind: Ingress\nmetadata: {name: web}\n",
            "ingress default/web apiVersion: extensions/v1beta1 of Ingress is not read; write networking.k8s.io/v1 \
             (a.yaml line 2) [ObjectInvalid]",
        ),
        (
            "apiVersion: networking.k8s.io/v1beta1\nkind: Ingress\nmetadata: {name: web}\n",
            "ingress default/web apiVersion: networking.k8s.io/v1beta1 of Ingress is not read; write \
             networking.k8s.io/v1 (a.yaml line 2) [ObjectInvalid]",
        ),
        (
            "- a\n- b\n",
            "file a.yaml line 2: a list is not an object of Kubernetes [ObjectInvalid]",
        ),
        (
            "just text\n",
            "file a.yaml line 2: a text is not an object of Kubernetes [ObjectInvalid]",
        ),
        (
            "apiVersion: v1\n",
            "file a.yaml line 2: kind is missing [ObjectInvalid]",
        ),
        (
            "kind: Service\n",
            "file a.yaml line 2: apiVersion of the Service is missing [ObjectInvalid]",
        ),
        (
            "apiVersion: v1\nkind: Service\nmetadata: {generateName: web-}\n",
            "file a.yaml line 2: metadata.name of the Service is missing [ObjectInvalid]",
        ),
        (
            "apiVersion: v1\nkind: Service\nmetadata: {name: 123}\n",
            "file a.yaml line 2: metadata.name of the Service is 123; a text in quotes is needed [ObjectInvalid]",
        ),
        (
            "apiVersion: v1\nkind: Service\nmetadata: {name: on}\n",
            "file a.yaml line 2: metadata.name of the Service is true; a text in quotes is needed [ObjectInvalid]",
        ),
    ] {
        let text = format!("---\n{document}---\n{SERVICE}");
        let manifests = read(&[("a.yaml", &text)]);
        assert_eq!(problems(&manifests), [want], "{document}");
        let mut kept = keys(&manifests);
        kept.retain(|key| key != "ingress default/web");
        assert_eq!(kept, ["service shop/web"], "{document}");
    }
}

/// The Ingresses that are there to be closed alone.
fn closed(manifests: &Manifests) -> Vec<String> {
    let objects = manifests.objects();
    let closed = objects
        .iter()
        .filter(|object| matches!(object, Object::Ingress(ingress) if ingress.refused.is_some()));
    closed.map(|object| object.meta().name.to_string()).collect()
}

#[test]
fn ten_thousand_rules_are_read() {
    let rule = INGRESS.lines().skip(5).collect::<Vec<_>>().join("\n") + "\n";
    let head = INGRESS.lines().take(5).collect::<Vec<_>>().join("\n") + "\n";
    let manifests = read(&[("a.yaml", &(head + &rule.repeat(10_000)))]);
    assert_eq!(problems(&manifests), Vec::<String>::new());
    let Object::Ingress(ingress) = &manifests.objects()[0] else {
        panic!("an Ingress is read as one");
    };
    assert_eq!(ingress.rules.len(), 10_000);
}

#[test]
fn a_misspelt_constraint_is_refused_and_other_unknown_fields_are_told() {
    let class = "apiVersion: portcullis.dev/v1alpha1\nkind: IngressClassParameters\nmetadata: {name: ours}\n";
    let misspelt = format!("{class}spec: {{admision: {{namespaces: {{names: [shop]}}}}}}\n");
    for (what, text, want, kept) in [
        (
            "a host",
            INGRESS.replace("host:", "hosts:"),
            "spec.rules[0].hosts",
            vec!["ingress shop/web"],
        ),
        (
            "a path",
            INGRESS.replace("path: /", "Path: /"),
            "spec.rules[0].http.paths[0].Path",
            vec!["ingress shop/web"],
        ),
        ("an admission", misspelt, "spec.admision", vec![]),
        (
            "a label",
            INGRESS.replace("namespace: shop", "namespace: shop, label: {}"),
            "metadata.label",
            vec!["ingress shop/web"],
        ),
    ] {
        let manifests = read(&[("a.yaml", &text)]);
        assert_eq!(keys(&manifests), kept, "{what}");
        let told = problems(&manifests);
        assert!(told.len() == 1 && told[0].contains(want), "{what}: {told:?}");
    }
}

#[test]
fn a_secret_is_kept_while_it_was_a_usable_pair_and_is_none_now() {
    let made = || {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["a.io".to_owned()]).unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    };
    let ((certificate, key), (other, other_key)) = (made(), made());
    let secret = |kind: &str, data: Value| {
        let meta = json!({"name": "tls", "namespace": "shop"});
        let secret =
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "type": kind, "stringData": data});
        secret.to_string()
    };
    let tls = |certificate: &str, key: &str| {
        secret(
            "kubernetes.io/tls",
            json!({"tls.crt": certificate, "tls.key": key}),
        )
    };
    let good = tls(&certificate, &key);
    for (what, now, kept, told) in [
        (
            "garbage",
            tls("plain", &key),
            true,
            Some("secret shop/tls: has a tls.crt that holds no PEM certificate; "),
        ),
        (
            "a key of another",
            tls(&certificate, &other_key),
            true,
            Some("secret shop/tls: has a tls.key that is not the key"),
        ),
        (
            "half of it",
            secret("Opaque", json!({"tls.crt": certificate})),
            true,
            Some("secret shop/tls: has no tls.key; "),
        ),
        ("another pair", tls(&other, &other_key), false, None),
        (
            "no pair any more",
            secret("Opaque", json!({"clientID": "me"})),
            false,
            None,
        ),
    ] {
        let mut manifests = read(&[("a.yaml", &good)]);
        let before = manifests.objects();
        // As often as it is read: what is kept is what was good.
        for _ in 0..2 {
            manifests.update("a.yaml", now.as_bytes());
            assert_eq!(manifests.objects() == before, kept, "{what}");
            let problems = problems(&manifests);
            assert_eq!(
                problems.len(),
                usize::from(told.is_some()),
                "{what}: {problems:?}"
            );
            assert!(
                problems.iter().all(|p| p.starts_with(told.unwrap_or_default())),
                "{what}: {problems:?}"
            );
        }
        // What was never good replaces what was not either, and a removed one goes.
        manifests.update("a.yaml", b"");
        assert!(manifests.objects().is_empty(), "{what}");
        manifests.update("a.yaml", now.as_bytes());
        assert_eq!(
            (manifests.objects().len(), manifests.problems().len()),
            (1, 0),
            "{what}"
        );
    }
}

#[test]
fn all_fields_that_kubernetes_lacks_are_told_at_once() {
    let misspelt = INGRESS
        .replace("  rules:", "  ruless: []\n  rules:")
        .replace("host:", "hostt:")
        .replace("pathType:", "pathTyp:");
    let no_rules = INGRESS.replace("  rules:", "  ruless:");
    let of_another_type = INGRESS.replace(
        "  rules:",
        "  ingresClassName: a\n  ingressClassName: [a]\n  rules:",
    );
    for (what, text, want) in [
        (
            "several",
            misspelt,
            vec![
                ("spec.ruless", Code::ObjectInvalid),
                ("spec.rules[0].hostt", Code::ObjectInvalid),
                ("spec.rules[0].http.paths[0].pathTyp", Code::ObjectInvalid),
            ],
        ),
        (
            "in the place of what is needed",
            no_rules,
            vec![("spec.ruless", Code::ObjectInvalid)],
        ),
        (
            "before one of another type",
            of_another_type,
            vec![
                ("spec.ingresClassName", Code::ObjectInvalid),
                ("spec.ingressClassName", Code::ObjectInvalid),
            ],
        ),
    ] {
        let manifests = read(&[("a.yaml", &text)]);
        assert_eq!(closed(&manifests), ["shop/web"], "{what}");
        let problems = manifests.problems();
        let mut told: Vec<(&str, Code)> = problems.iter().map(|p| (&*p.at.field, p.code)).collect();
        told.sort();
        let mut want = want;
        want.sort();
        assert_eq!(told, want, "{what}");
    }
}

#[test]
fn a_binding_that_asks_for_open_ports_is_heeded_and_one_that_asks_for_none_is_told() {
    let binding = |networking: &str| {
        format!(
            "apiVersion: elbv2.k8s.aws/v1beta1\nkind: TargetGroupBinding\nmetadata: {{name: own}}\nspec:\n  \
             targetGroupARN: arn\n  serviceRef: {{name: web, port: 80}}\n{networking}"
        )
    };
    let open =
        "  networking: {ingress: [{from: [{securityGroup: {groupID: sg-1}}], ports: [{protocol: TCP}]}]}\n";
    for (networking, opened, told) in [(open, 1, 0), ("", 0, 1)] {
        let mut manifests = Manifests::default();
        manifests.update("a.yaml", binding(networking).as_bytes());
        let is = (manifests.openings().len(), problems(&manifests).len());
        assert_eq!(is, (opened, told), "{networking:?}: {:?}", problems(&manifests));
    }
}

#[test]
fn what_changed_is_told_once_and_as_it_is_now() {
    let other = SERVICE.replace("80", "81");
    let both = format!("{INGRESS}---\n{SERVICE}");
    let port = |object: Option<Object>| match object {
        Some(Object::Service(service)) => Some(service.ports[0].port),
        None => None,
        other => panic!("{other:?} is no Service"),
    };
    type Edit<'a> = (&'a str, Option<&'a str>);
    /// None where it is not told.
    type Told = Option<Option<u16>>;
    let steps: [(&str, &[Edit<'_>], Told); 8] = [
        ("as it was", &[("b.yaml", Some(&both))], None),
        ("another", &[("b.yaml", Some(&other))], Some(Some(81))),
        ("first elsewhere", &[("a.yaml", Some(SERVICE))], Some(Some(80))),
        ("no more here", &[("b.yaml", None)], Some(Some(80))),
        ("here again", &[("b.yaml", Some(&other))], Some(Some(80))),
        ("no more there", &[("a.yaml", None)], Some(Some(81))),
        (
            "moved",
            &[("b.yaml", None), ("c.yaml", Some(SERVICE))],
            Some(Some(80)),
        ),
        ("nowhere", &[("c.yaml", None)], Some(None)),
    ];
    let mut manifests = read(&[("b.yaml", &both)]);
    let web = Kind::Service;
    assert_eq!(manifests.changes().len(), 2, "all is new");
    for (what, edits, want) in steps {
        for (name, text) in edits {
            match text {
                Some(text) => _ = manifests.update(name, text.as_bytes()),
                None => manifests.remove(name),
            }
        }
        let mut changes = manifests.changes();
        changes.retain(|key, _| key.kind == web);
        let got = changes
            .pop_first()
            .map(|(_, object)| port(object).map(|port| u16::try_from(port).unwrap()));
        assert_eq!(got, want, "{what}");
        assert!(manifests.changes().is_empty(), "{what}: told once");
    }
}
