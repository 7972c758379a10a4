//! A seed in, one random change of the cluster after the other out.

use std::collections::BTreeSet;

use portcullis_test_support::random;
use serde_json::{Value, json};

use crate::secured::{self, LOGIN, SEALED, SEALED_HOST};
use crate::world::{INGRESSES, SERVICES, SLICES, World, ingress};

/// Services whose pods change, and one that never does.
const SERVICES_USED: [&str; 4] = ["web", "api", "cart", STEADY];
/// Ingress and Service that are served all the time once they are.
pub(crate) const STEADY: &str = "steady";
/// An Ingress that few may reach, on a port of its own.
pub(crate) const TIGHT: &str = "tight";
pub(crate) const TIGHT_PORT: u16 = 8081;
pub(crate) const TIGHT_RANGE: &str = "10.0.0.0/8";
/// Ingresses that come and go, and the groups each may be of: none for itself.
const COMING: [(&str, &[Option<&str>]); 7] = [
    ("a", &[None]),
    ("b", &[None, Some("second")]),
    (TIGHT, &[None]),
    (LOGIN, &[None]),
    (SEALED, &[None]),
    ("c", &[Some("shared"), Some("shared"), Some("second")]),
    ("d", &[Some("shared"), Some("shared"), None]),
];
const PATHS: [&str; 6] = ["/", "/api", "/cart", "/shop", "/shop/sale", "/x"];
/// Pods by node and number.
const PODS: [(&str, usize, usize); 4] = [("web-1", 0, 0), ("web-2", 1, 0), ("web-3", 0, 1), ("web-4", 1, 1)];

/// Pods, which stay.
pub(crate) fn furnish(world: &World) {
    for (name, node, nth) in &PODS[2..] {
        world.pod(name, *node, *nth);
    }
    secured::furnish(world);
}

/// The Services as each seed finds them.
pub(crate) fn begin(world: &World) {
    for name in SERVICES_USED {
        for kind in [SERVICES, SLICES] {
            let at = format!("{kind}/{name}");
            if world.get(&at).is_some() {
                world.delete(&at);
            }
        }
        world.service(name, &PODS[..2]);
        // Has a port on each node, for those who ask for target type instance.
        world.patch(
            &format!("{SERVICES}/{name}"),
            &json!({"spec": {"type": "NodePort"}}),
        );
    }
}

/// Draws what happens next.
pub(crate) struct Actor {
    state: u64,
    ingresses: BTreeSet<&'static str>,
}

impl Actor {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            state: random(seed),
            ingresses: BTreeSet::new(),
        }
    }

    /// A number below this one.
    pub(crate) fn draw(&mut self, below: u64) -> u64 {
        self.state = random(self.state);
        self.state % below
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        let index = self.draw(of.len() as u64);
        of[usize::try_from(index).unwrap()]
    }

    pub(crate) fn ingresses(&self) -> Vec<&'static str> {
        self.ingresses.iter().copied().collect()
    }

    /// Makes one change; says which.
    pub(crate) fn act(&mut self, world: &World) -> String {
        if self.ingresses.insert(STEADY) {
            let mut steady = ingress(STEADY, "steady.example.com", &[("/", STEADY)]);
            steady["metadata"]["annotations"] = json!({"alb.ingress.kubernetes.io/group.name": "shared"});
            world.post(INGRESSES, &steady);
            return "the steady one comes".into();
        }
        match self.draw(12) {
            0..=5 => self.put(world),
            6 => self.delete(world),
            7 => {
                let edition = self.draw(3);
                secured::rotate(world, edition)
            }
            8 => {
                let edition = self.draw(28);
                secured::renew(world, edition)
            }
            _ => self.endpoints(world),
        }
    }

    /// Changes something of every Ingress.
    pub(crate) fn touch(&self, world: &World) {
        for name in &self.ingresses {
            let tags = json!({"alb.ingress.kubernetes.io/tags": "touched=yes"});
            let touched = json!({"metadata": {"annotations": tags}});
            world.patch(&format!("{INGRESSES}/{name}"), &touched);
        }
    }

    fn put(&mut self, world: &World) -> String {
        let (name, groups) = self.pick(&COMING);
        let group = self.pick(groups);
        let host = match self.draw(6) {
            _ if name == SEALED => SEALED_HOST.to_owned(),
            0 => "any.shop.example.com".to_owned(),
            _ => format!("{name}.shop.example.com"),
        };
        let count = 1 + self.draw(4);
        let paths: BTreeSet<&str> = (0..count).map(|_| self.pick(&PATHS)).collect();
        // Now and then one that does not exist: its path answers 503.
        let paths: Vec<(&str, &str)> = paths
            .into_iter()
            .map(|path| {
                (
                    path,
                    self.pick(&["web", "api", "cart", "web", "api", "cart", "lost"]),
                )
            })
            .collect();
        let mut wanted = ingress(name, &host, &paths);
        let annotations = self.annotations(name, group);
        wanted["metadata"]["annotations"] = annotations.clone();
        wanted["spec"]["tls"] = secured::tls(name).unwrap_or_default();
        let at = format!("{INGRESSES}/{name}");
        if !self.ingresses.insert(name) {
            // A patch merges annotations: what is no more has to go by name.
            let old = world.get(&at).unwrap()["metadata"]["annotations"].clone();
            for key in old.as_object().into_iter().flatten().map(|(key, _)| key) {
                if wanted["metadata"]["annotations"].get(key).is_none() {
                    wanted["metadata"]["annotations"][key] = Value::Null;
                }
            }
            world.patch(&at, &wanted);
        } else {
            world.post(INGRESSES, &wanted);
        }
        format!("{name} with {paths:?} and {annotations}")
    }

    fn annotations(&mut self, name: &str, group: Option<&str>) -> Value {
        let mut out = json!({});
        let mut set = |key: &str, value: &str| out[format!("alb.ingress.kubernetes.io/{key}")] = json!(value);
        if let Some(group) = group {
            set("group.name", group);
        }
        if name == TIGHT {
            set("listen-ports", &format!("[{{\"HTTP\": {TIGHT_PORT}}}]"));
            set("inbound-cidrs", TIGHT_RANGE);
        }
        let secured = secured::annotations(name);
        secured.iter().for_each(|(key, value)| set(key, value));
        if group.is_none() && name != TIGHT && secured.is_empty() {
            set(
                "listen-ports",
                self.pick(&[
                    "[{\"HTTP\": 80}]",
                    "[{\"HTTP\": 80}, {\"HTTP\": 8080}]",
                    "[{\"HTTPS\": 443}]",
                    "[{\"HTTP\": 80}, {\"HTTPS\": 443}]",
                ]),
            );
        }
        // Each change of it brings a second load balancer, and takes a while.
        if let (None, "a" | "b", 0) = (group, name, self.draw(5)) {
            set("scheme", "internet-facing");
        }
        if self.draw(5) == 0 {
            set("target-type", "instance");
        }
        if self.draw(3) == 0 {
            set("healthcheck-path", self.pick(&["/healthz", "/ready"]));
        }
        if self.draw(4) == 0 {
            let delay = self.pick(&["30", "60"]);
            set(
                "target-group-attributes",
                &format!("deregistration_delay.timeout_seconds={delay}"),
            );
        }
        if self.draw(4) == 0 {
            set("tags", self.pick(&["team=shop", "team=web,cost=1"]));
        }
        if group.is_none() && self.draw(4) == 0 {
            set(
                "load-balancer-attributes",
                self.pick(&["idle_timeout.timeout_seconds=120", "routing.http2.enabled=false"]),
            );
        }
        out
    }

    fn delete(&mut self, world: &World) -> String {
        let (name, _) = self.pick(&COMING);
        if !self.ingresses.remove(name) {
            return format!("nothing: there is no {name}");
        }
        world.delete(&format!("{INGRESSES}/{name}"));
        format!("{name} goes")
    }

    fn endpoints(&mut self, world: &World) -> String {
        let service = self.pick(&SERVICES_USED[..3]);
        if self.draw(8) == 0 {
            let port = self.pick(&[8080, 9090]);
            world.patch(
                &format!("{SLICES}/{service}"),
                &json!({"ports": [{"port": port}]}),
            );
            return format!("{service} on port {port}");
        }
        if self.draw(10) == 0 {
            return match world.get(&format!("{SERVICES}/{service}")) {
                Some(_) => {
                    world.delete(&format!("{SERVICES}/{service}"));
                    format!("Service {service} goes")
                }
                None => {
                    world.post(
                        SERVICES,
                        &json!({
                            "metadata": {"name": service},
                            "spec": {"type": "NodePort", "ports": [{"port": 80, "targetPort": 8080}], "selector": {"app": "web"}},
                        }),
                    );
                    format!("Service {service} comes")
                }
            };
        }
        let some = 1 + self.draw(15);
        let pods: Vec<_> = PODS
            .iter()
            .enumerate()
            .filter(|(bit, _)| some >> bit & 1 == 1)
            .map(|(_, pod)| *pod)
            .collect();
        let slice = json!({"endpoints": world.endpoints(&pods)});
        world.patch(&format!("{SLICES}/{service}"), &slice);
        format!(
            "{service} has {:?}",
            pods.iter().map(|(name, ..)| *name).collect::<Vec<_>>()
        )
    }
}
