//! Events in any order in, the same snapshots as of a fresh index out, and nobody woken for nothing.

mod standing;

use portcullis_model::{Code, Problem};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::cluster::membership::{CertificateSearch, Names};
use crate::cluster::object::IngressBackend;
use crate::cluster::snapshot::{Parameters, Secrets, Snapshot};
use crate::cluster::wire;

/// A stand-in for translation: no class, not ours; an unknown class, refused; a group by annotation.
fn decide(candidate: Candidate<'_>) -> Membership {
    let ingress = candidate.ingress;
    let Some(class) = &ingress.class_name else {
        return Membership::Foreign;
    };
    let refuse = |code, why: &str| {
        let at = Kind::Ingress.at(&ingress.meta.name, "spec.ingressClassName");
        Membership::Refused(vec![Problem::new(code, at, why)])
    };
    if !candidate.classes.contains_key(class) {
        return refuse(Code::ClassNotFound, "there is no such class");
    }
    let namespace = candidate.namespaces.get(&ingress.meta.name.namespace);
    if namespace.is_some_and(|namespace| namespace.labels.contains_key("closed")) {
        return refuse(Code::NamespaceNotAdmitted, "the class does not admit it");
    }
    Membership::Member {
        id: match ingress.meta.annotations.get("portcullis.dev/group") {
            Some(group) => LoadBalancerId::Group(group.clone()),
            None => LoadBalancerId::Lone(ingress.meta.name.clone()),
        },
        class: Some(class.clone()),
    }
}

fn names(ingress: &Ingress) -> Names {
    let here = |name: &Arc<str>| ObjectName::new(ingress.meta.name.namespace.clone(), name.clone());
    let paths = ingress.rules.iter().flat_map(|rule| &*rule.paths);
    Names {
        services: paths
            .filter_map(|path| match &path.backend {
                IngressBackend::Service { name, .. } => Some(here(name)),
                IngressBackend::Resource { .. } | IngressBackend::Missing => None,
            })
            .collect(),
        secrets: ingress
            .tls
            .iter()
            .filter_map(|tls| tls.secret.as_ref().map(here))
            .collect(),
        search: if ingress.tls.iter().any(|tls| tls.secret.is_none()) {
            CertificateSearch::Namespace
        } else {
            CertificateSearch::None
        },
    }
}

fn references() -> References {
    References {
        of_ingress: Box::new(names),
        of_service: Box::new(|service| {
            let named = service.meta.annotations.get("portcullis.dev/secret");
            let named = named.map(|name| ObjectName::new(service.meta.name.namespace.clone(), name.clone()));
            named.into_iter().collect()
        }),
    }
}

fn index() -> Index {
    Index::new(Box::new(decide), references(), SecretsMode::Read)
}

fn object(kind: Kind, mut value: Value) -> Object {
    value["apiVersion"] = kind.api_version().into();
    value["kind"] = kind.as_str().into();
    wire::from_manifest(&value).unwrap().object
}

fn ingress(name: &str, class: Option<&str>, group: Option<&str>, services: &[&str], secret: &str) -> Object {
    let paths: Vec<Value> = services
        .iter()
        .map(|service| json!({"backend": {"service": {"name": service, "port": {"number": 80}}}}))
        .collect();
    let annotations = group.map(|group| json!({"portcullis.dev/group": group}));
    object(
        Kind::Ingress,
        json!({"metadata": {"name": name, "namespace": "shop", "annotations": annotations},
            "spec": {"ingressClassName": class, "tls": [{"secretName": secret}], "rules": [{"http": {"paths": paths}}]}}),
    )
}

fn service(name: &str, app: Option<&str>) -> Object {
    let selector = app.map(|app| json!({"app": app}));
    object(
        Kind::Service,
        json!({"metadata": {"name": name, "namespace": "shop"}, "spec": {"selector": selector, "ports": [{"port": 80}]}}),
    )
}

fn slice(name: &str, service: &str, pod: &str, ready: bool) -> Object {
    object(
        Kind::EndpointSlice,
        json!({"metadata": {"name": name, "namespace": "shop", "labels": {"kubernetes.io/service-name": service}},
            "addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": ready},
            "targetRef": {"kind": "Pod", "name": pod}}]}),
    )
}

fn pod(name: &str, app: &str, ip: &str) -> Object {
    object(
        Kind::Pod,
        json!({"metadata": {"name": name, "namespace": "shop", "labels": {"app": app}}, "status": {"podIP": ip}}),
    )
}

fn node(name: &str, taint: &str) -> Object {
    object(
        Kind::Node,
        json!({"metadata": {"name": name}, "spec": {"taints": [{"key": taint}]}}),
    )
}

fn namespace(label: &str) -> Object {
    object(
        Kind::Namespace,
        json!({"metadata": {"name": "shop", "labels": {label: ""}}}),
    )
}

fn class(name: &str, parameters: Option<&str>) -> Object {
    let parameters = parameters
        .map(|name| json!({"apiGroup": "portcullis.dev", "kind": "IngressClassParameters", "name": name}));
    object(
        Kind::IngressClass,
        json!({"metadata": {"name": name}, "spec": {"controller": "portcullis.dev/ingress", "parameters": parameters}}),
    )
}

fn parameters(name: &str, scheme: &str) -> Object {
    object(
        Kind::ClassParameters,
        json!({"metadata": {"name": name}, "spec": {"scheme": scheme}}),
    )
}

fn secret(name: &str, certificate: &str) -> Object {
    object(
        Kind::Secret,
        json!({"metadata": {"name": name, "namespace": "shop"}, "stringData": {"tls.crt": certificate, "tls.key": "k"}}),
    )
}

/// A small cluster: a group of two, a lone one, one of no class and one of an unknown class.
fn cluster() -> Vec<Object> {
    vec![
        class("ours", Some("usual")),
        parameters("usual", "internal"),
        namespace("open"),
        node("n", "none"),
        ingress("a", Some("ours"), Some("public"), &["s"], "cert"),
        ingress("b", Some("ours"), Some("public"), &["t"], "none"),
        ingress("c", Some("ours"), None, &["s", "u"], "none"),
        ingress("foreign", None, None, &["s"], "cert"),
        ingress("lost", Some("theirs"), None, &["s"], "cert"),
        service("s", Some("s")),
        service("t", None),
        service("u", Some("u")),
        slice("s-1", "s", "p", true),
        pod("p", "s", "10.0.0.1"),
        pod("q", "u", "10.0.0.2"),
        secret("cert", "one"),
    ]
}

fn ids(touched: &Touched) -> Vec<String> {
    let refused = touched.refused.iter().map(|name| format!("refused {name}"));
    touched
        .load_balancers
        .iter()
        .map(LoadBalancerId::to_string)
        .chain(refused)
        .collect()
}

fn snapshots(index: &Index) -> BTreeMap<LoadBalancerId, Snapshot> {
    let synced = index.synced().unwrap();
    synced
        .ids()
        .into_iter()
        .map(|id| (id.clone(), synced.snapshot(&id)))
        .collect()
}

#[test]
fn an_event_touches_those_it_concerns_and_no_others() {
    let gone = |object: &Object| Event::Delete(object.key());
    for (what, event, want) in [
        ("the same again", applied(cluster()[4].clone()), vec![]),
        (
            "a Service of two",
            applied(service("s", Some("x"))),
            vec!["public", "shop/c"],
        ),
        (
            "a Service of one",
            applied(service("t", Some("x"))),
            vec!["public"],
        ),
        ("a Service nobody names", applied(service("v", None)), vec![]),
        (
            "an endpoint",
            applied(slice("s-1", "s", "p", false)),
            vec!["public", "shop/c"],
        ),
        (
            "a slice that moves",
            applied(slice("s-1", "u", "p", true)),
            vec!["public", "shop/c"],
        ),
        (
            "a slice that comes",
            applied(slice("u-1", "u", "p", true)),
            vec!["shop/c"],
        ),
        (
            "a slice that goes",
            gone(&slice("s-1", "", "", true)),
            vec!["public", "shop/c"],
        ),
        (
            "a slice of nobody's",
            applied(slice("v-1", "v", "p", true)),
            vec![],
        ),
        (
            "a pod in a slice",
            applied(pod("p", "s", "10.0.0.9")),
            vec!["public", "shop/c"],
        ),
        (
            "a pod that a Service without slices selects",
            applied(pod("q", "u", "10.0.0.9")),
            vec!["shop/c"],
        ),
        (
            "a pod no longer selected",
            applied(pod("q", "x", "10.0.0.2")),
            vec!["shop/c"],
        ),
        (
            "a pod in no slice of a Service that has some",
            applied(pod("r", "s", "10.0.0.9")),
            vec![],
        ),
        (
            "a Secret that one names",
            applied(secret("cert", "two")),
            vec!["public"],
        ),
        ("a Secret nobody names", applied(secret("other", "two")), vec![]),
        ("a node", applied(node("n", "gone")), vec!["public", "shop/c"]),
        (
            "the class",
            applied(class("ours", None)),
            vec!["public", "shop/c"],
        ),
        ("another class", applied(class("other", None)), vec![]),
        (
            "a class that was missed",
            applied(class("theirs", None)),
            vec!["shop/lost", "refused shop/lost"],
        ),
        (
            "the class gone",
            gone(&class("ours", None)),
            vec![
                "public",
                "shop/c",
                "refused shop/a",
                "refused shop/b",
                "refused shop/c",
            ],
        ),
        (
            "the parameters",
            applied(parameters("usual", "other")),
            vec!["public", "shop/c"],
        ),
        (
            "other parameters",
            applied(parameters("unusual", "other")),
            vec![],
        ),
        (
            "a label of the namespace",
            applied(namespace("other")),
            vec!["public", "shop/c"],
        ),
        (
            "an Ingress that changes groups",
            applied(ingress("a", Some("ours"), Some("private"), &["s"], "cert")),
            vec!["private", "public"],
        ),
        (
            "an Ingress that becomes foreign",
            applied(ingress("c", None, None, &["s"], "")),
            vec!["shop/c"],
        ),
        (
            "an Ingress that goes",
            gone(&ingress("b", None, None, &[], "")),
            vec!["public"],
        ),
        (
            "a foreign Ingress",
            applied(ingress("foreign", None, None, &["u"], "cert")),
            vec![],
        ),
        (
            "a refused Ingress",
            applied(ingress("lost", Some("x"), None, &["u"], "")),
            vec!["refused shop/lost"],
        ),
    ] {
        let mut index = index();
        index.reset_all(cluster());
        assert_eq!(ids(&event.happen(&mut index)), want, "{what}");
    }
}

#[test]
fn nothing_is_read_before_every_kind_is_known() {
    let mut index = index();
    for (i, kind) in Kind::ALL.iter().enumerate() {
        let waiting = index.synced().unwrap_err();
        assert_eq!(waiting.0.len(), Kind::ALL.len() - i, "{waiting}");
        assert!(waiting.to_string().contains(kind.as_str()), "{waiting}");
        index.apply(cluster()[i].clone());
        index.reset(*kind, Vec::new());
    }
    assert!(index.synced().is_ok());
    let unread = Index::new(Box::new(decide), references(), SecretsMode::NotRead);
    assert!(!unread.waiting_for().contains(&Kind::Secret));
}

#[test]
fn a_snapshot_holds_what_its_members_name() {
    let mut index = index();
    index.reset_all(cluster());
    let synced = index.synced().unwrap();
    let snapshot = synced.snapshot(&LoadBalancerId::parse("shop/c"));
    let keys = |names: Vec<&ObjectName>| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
    assert_eq!(keys(snapshot.services.keys().collect()), ["shop/s", "shop/u"]);
    assert_eq!(keys(snapshot.slices.keys().collect()), ["shop/s"]);
    assert_eq!(
        keys(snapshot.pods.keys().collect()),
        ["shop/p", "shop/q"],
        "of the slice, and selected"
    );
    assert_eq!(snapshot.secrets, Secrets::Read(BTreeMap::new()));
    assert!(matches!(snapshot.members[0].parameters, Parameters::Found(_)));
    let public = synced.snapshot(&LoadBalancerId::parse("public"));
    assert_eq!(public.members.len(), 2);
    assert!(matches!(public.secrets, Secrets::Read(secrets) if secrets.len() == 1));
    let refused: Vec<_> = synced
        .refused()
        .map(|(ingress, _)| ingress.meta.name.to_string())
        .collect();
    assert_eq!(refused, ["shop/lost"]);
    let nobody = synced.snapshot(&LoadBalancerId::parse("nobody"));
    assert!(nobody.members.is_empty() && nobody.services.is_empty());
    index.delete(&parameters("usual", "").key());
    let snapshot = index.synced().unwrap().snapshot(&LoadBalancerId::parse("shop/c"));
    assert_eq!(snapshot.members[0].parameters, Parameters::Missing);
}

#[test]
fn an_ingress_on_its_way_out_is_no_member() {
    let mut index = index();
    index.reset_all(cluster());
    let Object::Ingress(mut leaving) = cluster()[6].clone() else {
        panic!("the sixth is an Ingress");
    };
    Arc::make_mut(&mut leaving).meta.deleting = true;
    assert_eq!(ids(&index.apply(Object::Ingress(leaving))), ["shop/c"]);
    let synced = index.synced().unwrap();
    assert!(
        synced
            .snapshot(&LoadBalancerId::parse("shop/c"))
            .members
            .is_empty()
    );
    assert_eq!(synced.ids().len(), 1);
}

#[test]
fn who_looks_for_certificates_gets_all_key_pairs_of_its_namespace() {
    let pair = |namespace: &str, name: &str, key: Option<&str>| {
        object(
            Kind::Secret,
            json!({"metadata": {"name": name, "namespace": namespace}, "stringData": {"tls.crt": "c", "tls.key": key}}),
        )
    };
    let mut index = index();
    let mut objects = cluster();
    objects.push(ingress("d", Some("ours"), None, &[], ""));
    objects.extend([
        pair("shop", "one", Some("k")),
        pair("shop", "half", None),
        pair("blog", "other", Some("k")),
    ]);
    index.reset_all(objects);
    let synced = index.synced().unwrap();
    let Secrets::Read(secrets) = synced.snapshot(&LoadBalancerId::parse("shop/d")).secrets else {
        panic!("Secrets are read");
    };
    let names: Vec<String> = secrets.keys().map(ObjectName::to_string).collect();
    assert_eq!(
        names,
        ["shop/cert", "shop/one"],
        "not the half one, not another namespace's"
    );
    assert_eq!(ids(&index.apply(pair("shop", "two", Some("k")))), ["shop/d"]);
    assert_eq!(
        ids(&index.apply(pair("blog", "two", Some("k")))),
        Vec::<String>::new()
    );
    assert_eq!(ids(&index.delete(&pair("shop", "one", None).key())), ["shop/d"]);
}

#[derive(Clone, Debug)]
enum Event {
    Apply(Box<Object>),
    Delete(ObjectKey),
    Reset(Kind, Vec<Object>),
}

fn applied(object: Object) -> Event {
    Event::Apply(Box::new(object))
}

impl Event {
    fn happen(&self, index: &mut Index) -> Touched {
        match self {
            Self::Apply(object) => index.apply((**object).clone()),
            Self::Delete(key) => index.delete(key),
            Self::Reset(kind, objects) => index.reset(*kind, objects.clone()),
        }
    }

    /// What it does to a plain map of objects.
    fn happen_plainly(&self, objects: &mut BTreeMap<ObjectKey, Object>) {
        match self {
            Self::Apply(object) => {
                objects.insert(object.key(), (**object).clone());
            }
            Self::Delete(key) => {
                objects.remove(key);
            }
            Self::Reset(kind, live) => {
                objects.retain(|key, _| key.kind != *kind);
                objects.extend(live.iter().map(|object| (object.key(), object.clone())));
            }
        }
    }
}

fn one_of(names: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    prop::sample::select(names)
}

fn any_object() -> impl Strategy<Value = Object> {
    const INGRESSES: &[&str] = &["a", "b", "c"];
    const SERVICES: &[&str] = &["s", "t"];
    const CLASSES: &[&str] = &["ours", "other"];
    const PODS: &[&str] = &["p", "q"];
    let group = prop::option::of(one_of(&["public", "private"]));
    let named = prop::sample::subsequence(SERVICES.to_vec(), 0..=2);
    prop_oneof![
        6 => (one_of(INGRESSES), prop::option::of(one_of(CLASSES)), group, named, one_of(&["x", "y", ""]))
            .prop_map(|(name, class, group, services, secret)| ingress(name, class, group, &services, secret)),
        2 => (one_of(CLASSES), prop::option::of(one_of(&["usual", "unusual"])))
            .prop_map(|(name, parameters)| class(name, parameters)),
        1 => (one_of(&["usual", "unusual"]), one_of(&["i", "j"])).prop_map(|(name, scheme)| parameters(name, scheme)),
        1 => one_of(&["open", "closed"]).prop_map(namespace),
        1 => (one_of(&["n", "m"]), one_of(&["i", "j"])).prop_map(|(name, taint)| node(name, taint)),
        3 => (one_of(SERVICES), prop::option::of(one_of(&["i", "j"]))).prop_map(|(name, app)| service(name, app)),
        3 => (one_of(&["1", "2"]), one_of(SERVICES), one_of(PODS), any::<bool>())
            .prop_map(|(name, service, pod, ready)| slice(name, service, pod, ready)),
        3 => (one_of(PODS), one_of(&["i", "j"]), one_of(&["10.0.0.1", "10.0.0.2"]))
            .prop_map(|(name, app, ip)| pod(name, app, ip)),
        1 => (one_of(&["x", "y"]), one_of(&["i", "j"])).prop_map(|(name, text)| secret(name, text)),
    ]
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => any_object().prop_map(applied),
        2 => any_object().prop_map(|object| Event::Delete(object.key())),
        1 => prop::collection::vec(any_object(), 1..6).prop_map(|objects| {
            let kind = objects[0].kind();
            let objects = objects.into_iter().filter(|object| object.kind() == kind);
            let unique: BTreeMap<_, _> = objects.map(|object| (object.key(), object)).collect();
            Event::Reset(kind, unique.into_values().collect())
        }),
    ]
}

proptest! {
    #[test]
    fn any_events_lead_to_what_a_fresh_index_holds(events in prop::collection::vec(any_event(), 1..40)) {
        let mut index = index();
        index.reset_all(Vec::new());
        let mut plain = BTreeMap::new();
        for event in &events {
            let before = snapshots(&index);
            let refused = |index: &Index| -> BTreeSet<ObjectName> {
                let synced = index.synced().unwrap();
                synced.refused().map(|(ingress, _)| ingress.meta.name.clone()).collect()
            };
            let refused_before = refused(&index);
            let touched = event.happen(&mut index);
            event.happen_plainly(&mut plain);
            let after = snapshots(&index);
            for id in before.keys().chain(after.keys()) {
                let differs = before.get(id) != after.get(id);
                prop_assert!(!differs || touched.load_balancers.contains(id), "{id} is not told of {event:?}");
            }
            for name in refused_before.symmetric_difference(&refused(&index)) {
                prop_assert!(touched.refused.contains(name), "{name} is not told of {event:?}");
            }
            prop_assert!(event.happen(&mut index).is_empty(), "again, {event:?} changes nothing");
        }
        let mut fresh = self::index();
        fresh.reset_all(plain.into_values().collect());
        // What is served of the refused is what was before: that a fresh index cannot know.
        let asked = |index: &Index| -> BTreeMap<LoadBalancerId, Snapshot> {
            let synced = index.synced().unwrap();
            let all = snapshots(index).into_iter();
            all.filter(|(id, _)| synced.standing(id).is_empty()).collect()
        };
        let (asked, fresh) = (asked(&index), snapshots(&fresh));
        for (id, snapshot) in &asked {
            prop_assert_eq!(Some(snapshot), fresh.get(id));
        }
        let synced = index.synced().unwrap();
        for id in fresh.keys().filter(|id| !asked.contains_key(id)) {
            prop_assert!(!synced.standing(id).is_empty(), "{id} is missing");
        }
    }
}
