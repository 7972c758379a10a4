//! Random Ingresses, one of them broken, in; that the others' rules stay what they were out.

use proptest::prelude::*;

use super::*;

/// What an Ingress of a group is made of: host, path type and path of each rule, and the day it was made.
type Shape = (Vec<(u8, u8, u8)>, u32, i8);

const HOSTS: [&str; 4] = ["a.com", "*.a.com", "b.a.com", ""];
const PATHS: [(&str, &str); 6] = [
    ("Prefix", "/"),
    ("Prefix", "/x"),
    ("Prefix", "/x/y"),
    ("Exact", "/x"),
    ("Exact", "/x/y"),
    ("ImplementationSpecific", "/z"),
];

fn shape() -> impl Strategy<Value = Shape> {
    (
        prop::collection::vec((0..4u8, 0..6u8, 0..3u8), 1..4),
        1..5u32,
        -2..3i8,
    )
}

fn member(world: World, name: &str, own_hosts: bool, shape: &Shape, more: &[(&str, &str)]) -> World {
    let rules: Vec<Value> = shape
        .0
        .iter()
        .map(|(host, kind, service)| {
            let (kind, text) = PATHS[usize::from(*kind)];
            let host = match own_hosts {
                true => format!("h{host}.{name}.com"),
                false => HOSTS[usize::from(*host)].to_owned(),
            };
            rule(&host, json!([path(kind, text, &format!("s{service}"))]))
        })
        .collect();
    let mut annotations = json!({
        "alb.ingress.kubernetes.io/group.name": "g",
        "alb.ingress.kubernetes.io/group.order": shape.2.to_string(),
    });
    for (name, value) in more {
        annotations[format!("alb.ingress.kubernetes.io/{name}")] = json!(value);
    }
    world.aged(
        &format!("shop/{name}"),
        shape.1,
        annotations,
        json!({ "rules": rules }),
    )
}

const BROKEN: [&[(&str, &str)]; 14] = [
    &[("conditions.s0", "[{\"field\":\"sorce-ip\"}]")],
    &[("auth-type", "oidc")],
    &[("group.order", "first")],
    &[("ssl-redirect", "443")],
    &[("inbound-cidrs", "0.0.0.0/0,any")],
    &[("inbound-cidrs", "any")],
    &[("inbound-cidrs", "010.0.0.0/8")],
    &[("inbound-cidrs", "any"), ("security-group-prefix-lists", "pl-1")],
    &[("security-group-prefix-lists", "office")],
    &[("security-group-prefix-lists", "office, pl-1")],
    &[("backend-protocol", "gopher")],
    &[("target-type", "pod")],
    &[("transforms.s1", "[{}]")],
    &[
        ("scheme", "public"),
        ("tags", "x"),
        ("load-balancer-attributes", "y"),
        ("ip-address-type", "6"),
    ],
];

/// Whom the others let in.
const ADMITS: [&[(&str, &str)]; 4] = [
    &[],
    &[],
    &[("inbound-cidrs", "10.0.0.0/8")],
    &[("security-group-prefix-lists", "pl-9")],
];

fn of_member(served: &Served, name: &str) -> Vec<String> {
    let rules = served.balancer.rules.iter();
    rules
        .filter(|rule| &*rule.origin.object.name == name)
        .map(|rule| rule.to_string())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn one_ingress_s_mistake_never_changes_what_another_s_hosts_answer(
        good in prop::collection::vec((shape(), 0..ADMITS.len()), 1..4),
        bad in shape(),
        broken in 0..BROKEN.len(),
        incumbent in any::<bool>(),
    ) {
        let settings = if incumbent { theirs() } else { ours() };
        let base = with_services(World::new(), &["shop/s0", "shop/s1"]);
        let base = good.iter().enumerate().fold(base, |world, (index, (shape, admits))| {
            member(world, &format!("good{index}"), false, shape, ADMITS[*admits])
        });
        let alone = base.one(&settings);
        let with = member(base, "zbad", true, &bad, BROKEN[broken]).one(&settings);
        for index in 0..good.len() {
            let name = format!("good{index}");
            prop_assert_eq!(of_member(&alone, &name), of_member(&with, &name));
        }
        let open = |served: &Served| {
            let options = &served.balancer.options;
            (options.admitted.clone(), options.admitted_lists.clone())
        };
        prop_assert_eq!(open(&alone), open(&with));
        let told = |served: &Served| -> Vec<Problem> {
            let mut problems = served.problems.clone();
            problems.retain(|problem| &*problem.at.object.name != "zbad");
            problems
        };
        // Services that cannot be found by the others are told as before, and nothing else is.
        prop_assert_eq!(told(&alone), told(&with));
    }

    #[test]
    fn a_translation_is_the_same_whatever_order_objects_come_in(
        shapes in prop::collection::vec(shape(), 1..4),
        incumbent in any::<bool>(),
    ) {
        let settings = if incumbent { theirs() } else { ours() };
        let world = with_services(World::new(), &["shop/s0", "shop/s1"]);
        let world = shapes.iter().enumerate().fold(world, |world, (index, shape)| {
            member(world, &format!("m{index}"), false, shape, &[])
        });
        let mut turned = world.clone();
        turned.objects.reverse();
        prop_assert_eq!(world.all(&settings), turned.all(&settings));
    }

    #[test]
    fn under_kubernetes_semantics_the_most_specific_host_and_path_answer(
        shapes in prop::collection::vec(shape(), 1..4),
        host in prop::sample::select(vec!["a.com", "b.a.com", "c.a.com", "d.c.a.com", "z.org"]),
        asked in prop::sample::select(vec!["/", "/x", "/x/", "/x/y", "/x/y/z", "/xy", "/z", "/z/1"]),
    ) {
        let world = with_services(World::new(), &["shop/s0", "shop/s1", "shop/s2"]);
        let world = shapes.iter().enumerate().fold(world, |world, (index, shape)| {
            member(world, &format!("m{index}"), false, shape, &[])
        });
        let served = world.one(&ours());
        prop_assert_eq!(served.get(&format!("{host}{asked}")), plainly(&shapes, host, asked));
    }
}

/// The documentation's rules, spelled out: the host first, then the path, then who came first.
fn plainly(shapes: &[Shape], host: &str, asked: &str) -> String {
    let mut order: Vec<usize> = (0..shapes.len()).collect();
    order.sort_by_key(|index| (shapes[*index].2, shapes[*index].1, *index));
    let mut rules = Vec::new();
    for index in order {
        rules.extend(shapes[index].0.iter().copied());
    }
    let takes_host = |pattern: &str| match pattern.strip_prefix("*.") {
        Some(rest) => host.split_once('.').is_some_and(|(_, parent)| parent == rest),
        None => pattern == host || pattern.is_empty(),
    };
    // Exact names, wildcards, no host: the first of these that any rule has decides alone.
    let kinds = [
        ["a.com", "b.a.com"].as_slice(),
        ["*.a.com"].as_slice(),
        [""].as_slice(),
    ];
    let deciding = kinds.into_iter().find_map(|kind| {
        rules
            .iter()
            .map(|rule| HOSTS[usize::from(rule.0)])
            .find(|pattern| kind.contains(pattern) && takes_host(pattern))
    });
    let Some(deciding) = deciding else {
        return "404".to_owned();
    };
    let score = |(kind, text): (&str, &str)| -> Option<(bool, usize)> {
        if kind == "Exact" {
            return (text == asked).then_some((true, 0));
        }
        let elements = |path: &str| {
            path.split('/')
                .filter(|e| !e.is_empty())
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let (prefix, path) = (elements(text), elements(asked));
        path.starts_with(&prefix).then_some((false, prefix.len()))
    };
    let mut best: Option<((bool, usize), u8)> = None;
    for (host, path, service) in rules {
        if HOSTS[usize::from(host)] != deciding {
            continue;
        }
        if let Some(score) = score(PATHS[usize::from(path)])
            && best.is_none_or(|(so_far, _)| score > so_far)
        {
            best = Some((score, service));
        }
    }
    best.map_or_else(|| "404".to_owned(), |(_, service)| format!("shop/s{service}"))
}

/// A list of conditions that ask for a header.
const ASKS_FOR_HEADER: &str = r#"[{"field":"source-ip","sourceIPConfig":{"values":["10.0.0.0/8"]}},
{"field":"http-header","httpHeaderConfig":{"httpHeaderName":"X-Team","values":["core"]}}]"#;

proptest! {
    #[test]
    fn a_slip_of_the_pen_in_conditions_never_opens_what_they_guard(
        at in 0..ASKS_FOR_HEADER.len(),
        with in prop::option::of(any::<char>()),
        incumbent in any::<bool>(),
    ) {
        let mut text: Vec<char> = ASKS_FOR_HEADER.chars().collect();
        match with {
            Some(c) => text[at] = c,
            None => {
                text.remove(at);
            }
        }
        let text: String = text.into_iter().collect();
        // Another header may be asked for then, but never none.
        let served = with_services(World::new(), &["shop/admin", "shop/open"])
            .ingress(
                "shop/web",
                alb(&[("conditions.admin", &text)]),
                json!({ "rules": [rule("a.com", json!([path("Prefix", "/", "open"), path("Prefix", "/x", "admin")]))] }),
            )
            .one(&if incumbent { theirs() } else { ours() });
        prop_assert_eq!(served.get("a.com/x"), "shop/open", "{}", text);
    }

    #[test]
    fn any_text_in_any_annotation_is_read_or_told(
        name in prop::sample::select(annotations::catalog::ALL.iter().map(|known| known.name).collect::<Vec<_>>()),
        text in prop_oneof![
            any::<String>(),
            "[\\[{\"a-zA-Z0-9:,./*=#\\]} -]{0,40}",
            prop::sample::select(vec![ASKS_FOR_HEADER.to_owned(), "a,".repeat(1 << 16), "[".repeat(1 << 16)]),
        ],
        incumbent in any::<bool>(),
    ) {
        let name = if name.ends_with(['.', '-']) { format!("{name}s") } else { name.to_owned() };
        let world = with_services(World::new(), &["shop/s", "shop/other"])
            .ingress(
                "shop/web",
                alb(&[(&name, &text)]),
                json!({ "rules": [rule("a.com", json!([
                    path("ImplementationSpecific", "/x", "s"),
                    { "path": "/y", "pathType": "Prefix", "backend": to_action("s") },
                ]))] }),
            )
            .ingress("shop/xother", json!({}), json!({ "rules": [rule("b.com", json!([path("Prefix", "/", "other")]))] }));
        let all = world.all(&if incumbent { theirs() } else { ours() });
        let other = Served {
            balancer: all["shop/xother"].balancer.clone().unwrap(),
            problems: all["shop/xother"].problems.clone(),
        };
        prop_assert_eq!(other.get("b.com/"), "shop/other");
        prop_assert_eq!(other.codes(), []);
        for problem in all.values().flat_map(|translation| &translation.problems) {
            prop_assert!(problem.message.len() < 1000, "{}", problem.message.len());
        }
    }
}

proptest! {
    #[test]
    fn any_text_as_host_or_path_is_read_or_told(
        host in prop_oneof![any::<String>(), "[a-z*.-]{0,12}"],
        text in prop_oneof![any::<String>(), "/[a-z/*.%{+?-]{0,12}"],
        kind in prop::sample::select(vec!["Exact", "Prefix", "ImplementationSpecific", "exact"]),
        meaning in prop::sample::select(vec!["prefix", "glob", "regex"]),
        incumbent in any::<bool>(),
    ) {
        let served = with_services(World::new(), &["shop/s", "shop/other"])
            .ingress(
                "shop/web",
                json!({ "portcullis.dev/path-match": meaning }),
                json!({ "rules": [
                    rule(&host, json!([path(kind, &text, "s")])),
                    rule("b.org", json!([path("Exact", "/own", "other")])),
                ] }),
            )
            .one(&if incumbent { theirs() } else { ours() });
        let rules = served.balancer.rules.iter().filter(|rule| !rule.paths.is_empty()).count();
        // Either the rule stands, or what is wrong with it is told, or it takes every path.
        prop_assert!(rules == 2 || !served.problems.is_empty() || text.is_empty(), "{host:?} {text:?}");
        if !host.is_empty() {
            prop_assert_eq!(served.get("b.org/own"), "shop/other");
        }
    }
}

#[test]
fn who_may_connect_is_for_the_namespace_of_the_port_s_oldest_member_to_say() {
    let office = [("inbound-cidrs", "198.51.100.7/32")];
    let list = [("security-group-prefix-lists", "pl-1")];
    for (settings, newcomer, more, narrowed) in [
        (ours(), "blog/newer", &office, false),
        (ours(), "blog/newer", &list, false),
        // Of one namespace, who gives none takes what another gives.
        (ours(), "shop/newer", &office, true),
        (theirs(), "blog/newer", &office, true),
    ] {
        let member = |world: World, name: &str, day: u32, more: &[(&str, &str)]| {
            let (namespace, own) = name.split_once('/').unwrap();
            let mut annotations = json!({ "alb.ingress.kubernetes.io/group.name": "g" });
            for (name, value) in more {
                annotations[format!("alb.ingress.kubernetes.io/{name}")] = json!(value);
            }
            let rules = json!({ "rules": [rule(&format!("{own}.com"), json!([path("Prefix", "/", "s")]))] });
            let world = world.service(&format!("{namespace}/s"));
            world.aged(name, day, annotations, rules)
        };
        let world = member(World::new(), "shop/older", 1, &[]);
        let served = member(world, newcomer, 2, more).one(&settings);
        let admitted = served.balancer.options.admitted.contains_key(&Port::HTTP);
        let lists = !served.balancer.options.admitted_lists.is_empty();
        assert_eq!(admitted || lists, narrowed, "{newcomer} {more:?}");
        let guarded = of_member(&served, "newer")
            .iter()
            .any(|rule| rule.contains("403"));
        assert_eq!(
            guarded, !narrowed,
            "{newcomer} {more:?}: {:?}",
            served.balancer.rules
        );
        let told = served.codes().contains(&Code::SettingNotOwned);
        assert_eq!(told, !narrowed, "{newcomer} {more:?}: {:?}", served.problems);
        assert!(
            !of_member(&served, "older")
                .iter()
                .any(|rule| rule.contains("403")),
            "{newcomer}"
        );
    }
}
