//! `tests/cases/<name>/cluster.yaml` in; the model, the AWS plan, the proxy's table and the status, as text people read,
//! out.
//!
//! Each case shows the rule it is named for. `requests.txt` beside it asks the proxy; the answers stand at the end of
//! `proxy.txt`. `PORTCULLIS_BLESS=1 cargo test --test cases` writes the texts anew: read the difference.

#![expect(clippy::unwrap_used, reason = "all of it is a test: a panic is the report")]

#[path = "golden/aws.rs"]
mod aws;
#[path = "golden/model.rs"]
mod model;
#[path = "golden/proxy.rs"]
mod proxy;
#[path = "golden/status.rs"]
mod status;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use portcullis::cluster::index::{Index, SecretsMode, Synced};
use portcullis::cluster::manifests::Manifests;
use portcullis::cluster::object::Secret;
use portcullis::cluster::snapshot::{Secrets, Snapshot};
use portcullis::crd::Mode;
use portcullis::reconcile::outcome::{End, Hold, Outcome, Seen, ports};
use portcullis::reconcile::rounds;
use portcullis::translate::{self, ControllerName, Settings, Translation, translate};
use portcullis_aws::plan_offline;
use portcullis_aws::preview::Preview;
use portcullis_model::{Address, Code, ObjectName, Problem};
use portcullis_proxy::{KeyPairPem, Material, UnknownNames};

use crate::model::{join, line};

/// A case as it lies in its folder.
struct Case {
    folder: PathBuf,
    manifests: Manifests,
    controller: ControllerName,
    requests: String,
}

/// The names of the golden texts and what they should be.
type Golden = BTreeMap<&'static str, String>;

fn cases() -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut folders: Vec<PathBuf> = fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    folders.sort();
    folders.into_iter().map(Case::read).collect()
}

impl Case {
    fn read(folder: PathBuf) -> Self {
        let text = fs::read_to_string(folder.join("cluster.yaml")).unwrap();
        let controller = text
            .lines()
            .find_map(|line| line.strip_prefix("# controller-name: "));
        let mut manifests = Manifests::default();
        manifests.update("cluster.yaml", text.as_bytes());
        Self {
            manifests,
            controller: controller.map_or_else(ControllerName::default, ControllerName::new),
            requests: fs::read_to_string(folder.join("requests.txt")).unwrap_or_default(),
            folder,
        }
    }

    fn name(&self) -> &str {
        self.folder.file_name().and_then(|name| name.to_str()).unwrap()
    }

    fn index(&self, settings: &Settings, secrets: SecretsMode) -> Index {
        let mut index = translate::index(settings, secrets);
        index.reset_all(self.manifests.objects());
        index
    }

    /// What nobody may see of its Secrets.
    fn hidden(&self) -> Vec<String> {
        let text = fs::read_to_string(self.folder.join("cluster.yaml")).unwrap();
        let keys = ["clientID: ", "clientId: ", "clientSecret: ", "clientSecrets: "];
        let values = text
            .lines()
            .filter_map(|line| keys.iter().find_map(|key| line.trim().strip_prefix(key)));
        let private = values.map(str::to_owned);
        private.chain(["PRIVATE KEY".to_owned()]).collect()
    }

    /// All that is made of it.
    fn golden(&self) -> Golden {
        self.cloud()
            .into_iter()
            .chain([("proxy.txt", self.proxy())])
            .collect()
    }

    /// What is wrong with the files, and with Ingresses that are part of no load balancer.
    fn told(&self, synced: Synced<'_>) -> Vec<Problem> {
        let mut problems = self.manifests.problems();
        problems.extend(
            synced
                .refused()
                .flat_map(|(_, problems)| problems.iter().cloned()),
        );
        problems
    }

    /// What a cloud would be asked for, what AWS would be told of it, and what users would see then.
    fn cloud(&self) -> [(&'static str, String); 3] {
        let settings = Settings::for_files(self.controller.clone());
        let index = self.index(&settings, SecretsMode::NotRead);
        let synced = index.synced().unwrap();
        let mut problems = self.told(synced);
        let mut model = String::new();
        let mut translated = Vec::new();
        for id in synced.ids() {
            let snapshot = synced.snapshot(&id);
            let translation = translate(&snapshot, &settings);
            problems.extend(translation.problems.iter().cloned());
            match &translation.balancer {
                Some(balancer) => model.push_str(&model::load_balancer(balancer)),
                None => line(&mut model, 0, format!("load balancer {id}: nothing")),
            }
            translated.push((snapshot, translation));
        }
        let balancers: Vec<_> = translated
            .iter()
            .filter_map(|(_, translation)| translation.balancer.clone())
            .collect();
        let account = portcullis_aws::Settings {
            cluster: "demo".to_owned(),
            ..Default::default()
        };
        let document = plan_offline(&balancers, &account);
        let mut seen = String::new();
        // In a cluster an Ingress of another controller is none of our business.
        let ours = |problems: &[Problem]| problems.iter().any(|problem| problem.code != Code::ClassForeign);
        for (ingress, problems) in synced.refused().filter(|(_, problems)| ours(problems)) {
            seen.push_str(&status::of_refused(ingress, problems));
        }
        for (snapshot, translation) in &translated {
            let preview = document
                .load_balancers
                .iter()
                .find(|preview| preview.id == snapshot.id);
            seen.push_str(&status::of_pass(&outcome(snapshot, translation, preview)));
        }
        if seen.is_empty() {
            line(&mut seen, 0, "nothing is ours");
        }
        [
            ("aws-plan.txt", aws::plan(&document)),
            ("model.txt", model + &problems_of(problems)),
            ("status.txt", seen),
        ]
    }

    /// What the proxy serves of it, all load balancers in one.
    fn proxy(&self) -> String {
        let settings = Settings::for_serving(self.controller.clone());
        let index = self.index(&settings, SecretsMode::Read);
        let synced = index.synced().unwrap();
        let mut problems = self.told(synced);
        let mut out = String::new();
        for id in synced.ids() {
            let snapshot = synced.snapshot(&id);
            let translation = translate(&snapshot, &settings);
            problems.extend(translation.problems);
            let Some(balancer) = translation.balancer else {
                continue;
            };
            let material = Material {
                key_pairs: &of_secrets(&snapshot, key_pair),
                authorities: &of_secrets(&snapshot, |secret| secret.authorities.clone()),
                users: &of_secrets(&snapshot, |secret| secret.users.clone()),
                unknown_names: &UnknownNames::First,
            };
            let (text, more) = proxy::serving(&balancer, material, &self.requests);
            out.push_str(&text);
            problems.extend(more);
        }
        if out.is_empty() {
            line(&mut out, 0, "nothing is served");
        }
        out + &problems_of(problems)
    }
}

/// A pass that made all of the plan.
fn outcome(snapshot: &Snapshot, translation: &Translation, preview: Option<&Preview>) -> Outcome {
    let shown_only = translation.mode == Mode::Plan;
    let unmade = preview.filter(|preview| !preview.resources.iter().any(|one| one.kind == "LoadBalancer"));
    let unmade = unmade.and_then(|preview| preview.problems.first());
    let (ports, end) = match &translation.balancer {
        None => (BTreeMap::new(), End::Held(Hold::NothingToServe)),
        Some(balancer) if shown_only => (ports(balancer), End::Held(Hold::PlanOnly)),
        Some(balancer) => (
            ports(balancer),
            match unmade {
                Some(why) => End::Incomplete(vec![rounds::cannot_be_made(why)]),
                None => End::Settled {
                    fingerprint: "f".to_owned(),
                },
            },
        ),
    };
    let address = matches!(end, End::Settled { .. }).then(|| Address::Hostname("lb.example".to_owned()));
    let mut outcome = Outcome {
        id: snapshot.id.clone(),
        end,
        members: snapshot
            .members
            .iter()
            .map(|member| member.ingress.clone())
            .collect(),
        left: Vec::new(),
        let_go: Vec::new(),
        ports,
        secrets: Default::default(),
        seen: Some(Seen {
            address,
            further: Vec::new(),
            resources: Vec::new(),
        }),
        made: Vec::new(),
        repaired: Vec::new(),
        pending: Vec::new(),
        problems: Vec::new(),
        standing: BTreeMap::new(),
        refused: Vec::new(),
        recorded: Vec::new(),
        admitted: Default::default(),
        own_targets: None,
        left_over: false,
    };
    outcome.add(translation.problems.iter().cloned());
    outcome.add(
        preview
            .into_iter()
            .flat_map(|preview| preview.problems.iter().cloned()),
    );
    outcome
}

fn key_pair(secret: &Secret) -> Option<KeyPairPem> {
    let key = secret.key.as_ref()?.reveal();
    Some(KeyPairPem::new(secret.certificate.clone()?, key))
}

/// What there is of this in each Secret.
fn of_secrets<T>(snapshot: &Snapshot, read: impl Fn(&Secret) -> Option<T>) -> BTreeMap<ObjectName, T> {
    let Secrets::Read(secrets) = &snapshot.secrets else {
        return BTreeMap::new();
    };
    secrets
        .iter()
        .filter_map(|(name, secret)| Some((name.clone(), read(secret)?)))
        .collect()
}

fn problems_of(mut problems: Vec<Problem>) -> String {
    problems.sort();
    problems.dedup();
    let mut out = String::new();
    line(
        &mut out,
        0,
        if problems.is_empty() {
            "no problems"
        } else {
            "problems"
        },
    );
    for problem in problems {
        line(&mut out, 1, problem);
    }
    out
}

#[test]
fn each_case_gives_its_golden_texts() {
    #[expect(clippy::disallowed_methods, reason = "the way to ask for new golden texts")]
    let bless = std::env::var("PORTCULLIS_BLESS").is_ok_and(|value| value == "1");
    let mut wrong = Vec::new();
    for case in cases() {
        let golden = case.golden();
        assert_eq!(
            golden,
            Case::read(case.folder.clone()).golden(),
            "{}: not the same twice",
            case.name()
        );
        let hidden = case.hidden();
        for (file, text) in &golden {
            assert!(
                !hidden.iter().any(|value| text.contains(value)),
                "{}/{file} shows what a Secret holds",
                case.name()
            );
            let doubled = |line: &&str| {
                let of = |code: &&Code| line.matches(&format!("[{code}]")).count() > 1;
                Code::ALL.iter().any(|code| of(&code))
            };
            assert_eq!(
                text.lines().find(doubled),
                None,
                "{}/{file} says a code twice",
                case.name()
            );
            let path = case.folder.join(file);
            if bless {
                fs::write(path, text).unwrap();
            } else if fs::read_to_string(&path).ok().as_ref() != Some(text) {
                let kept = fs::read_to_string(&path).unwrap_or_default();
                wrong.push(format!("{}/{file}\n{}", case.name(), difference(&kept, text)));
            }
        }
        let known = ["cluster.yaml", "requests.txt"];
        let stray = fs::read_dir(&case.folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|file| !known.contains(&file.as_str()) && !golden.contains_key(file.as_str()))
            .map(|file| format!("{}/{file} belongs to no case", case.name()));
        wrong.extend(stray);
    }
    assert!(
        wrong.is_empty(),
        "run with PORTCULLIS_BLESS=1 if this is meant:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn each_case_says_which_rule_it_shows() {
    let cases = cases();
    assert!(cases.len() >= 40, "there are {} cases", cases.len());
    for case in cases {
        let text = fs::read_to_string(case.folder.join("cluster.yaml")).unwrap();
        assert!(
            text.starts_with("# "),
            "{}: the first line says which rule it shows",
            case.name()
        );
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        assert!(case.name().chars().all(plain), "{}", case.name());
    }
}

/// Lines that are in one text only.
fn difference(kept: &str, now: &str) -> String {
    let only = |of: &str, than: &str, mark: char| {
        let other: Vec<&str> = than.lines().collect();
        let lines: Vec<String> = of
            .lines()
            .filter(|line| !other.contains(line))
            .map(|line| format!("  {mark} {line}"))
            .collect();
        join(&lines, "\n")
    };
    format!("{}\n{}", only(kept, now, '-'), only(now, kept, '+'))
}
