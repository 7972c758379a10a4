//! The catalog of annotations in, `docs/annotations.md` out: fails where the file no longer says what the code says.

use std::fmt::Write;
use std::path::Path;

use crate::translate::annotations::catalog::{self, ALL, Reach, Scope, Support};
use crate::translate::annotations::nginx::{self, Fate, Theirs};
use crate::translate::annotations::{ALB, PORTABLE, gke};

const OPENING: &str = "# Annotations

Names and meanings are those of the AWS Load Balancer Controller, so that an Ingress written for it runs unchanged.
*Portable* ones mean the same on every provider, the proxy among them, and may also be written under
`portcullis.dev/`, which wins where both are written. *Ours* are read under `portcullis.dev/` alone, the others under
`alb.ingress.kubernetes.io/` alone.
Under *Backends*, the Service's own value wins over the Ingress's.

The proxy has no Cognito (what asks for it answers 503), and tells backends no `x-amzn-oidc-data`. Health checks
(`healthcheck-…`, both thresholds, `success-codes`) it makes with `active-health-checks` alone: else it asks targets for nothing,
takes them as ready when Kubernetes does, and leaves alone for a while those that take no connection.

Filters are read on an Ingress alone, and are the proxy's: AWS has none of them. There a rule with one answers 503 where without it more would be open than was
asked for, and is told with `ActionUnsupported`; one that only adds comfort is told and left out.

Known, but not built yet: *ignored* ones are reported with `AnnotationUnsupported` and have no effect. *Refused* ones
restrict who may pass: what they constrain answers 503 rather than being served without them. A value that cannot be
read is reported with `AnnotationInvalid`, a name that is not known with `AnnotationUnknown`. One under our prefix that is up to two letters
from one that says who may pass, such as `basic-auth-seret`, closes as that would: what it was to guard answers 503.

Generated from `src/translate/annotations/catalog.rs`, `nginx.rs` and `gke.rs`: `PORTCULLIS_BLESS=1 cargo test --lib annotations`.
";

const OF_NGINX: &str = "
## Of ingress-nginx

Under `nginx.ingress.kubernetes.io/`, for Ingresses under Kubernetes semantics alone. Those that are *read* mean what ours in their place do, which win for what
they say where both are written. Those that are *told* have no effect, and let nobody further than with them. Those that are *closed* restrict who or what gets through, and cannot be
had as they are written: what they constrain answers 503 until ours is written in their place, or they are removed. Told and closed ones are reported with
`AnnotationUnsupported`, others under the prefix with `AnnotationUnknown`. Values that ask for nothing are not. On a canary all
but those of canaries and of its own Service are the Ingress's that it stands beside, as with ingress-nginx. [from-ingress-nginx.md](from-ingress-nginx.md) tells the way.

| annotation | | in its place | asks for nothing | |
|---|---|---|---|---|
";

const OF_GKE: &str = "
## Of GKE

Read on Ingresses under Kubernetes semantics, and on the Services they lead to, as those of ingress-nginx are. Paths that end in `/*` (`ImplementationSpecific`) mean
all below, as on GKE.

| annotation | | in its place | asks for nothing | |
|---|---|---|---|---|
";

fn document() -> String {
    let mut out = OPENING.to_owned();
    for (scope, title) in [
        (Scope::Group, "Group"),
        (Scope::LoadBalancer, "Load balancer"),
        (Scope::Listener, "Listeners"),
        (Scope::Backend, "Backends"),
        (Scope::Rule, "Rules"),
        (Scope::Filter, "Filters"),
    ] {
        write!(
            out,
            "\n## {title}\n\n| annotation | portable | meaning | state |\n|---|---|---|---|\n"
        )
        .unwrap();
        for known in ALL.iter().filter(|known| known.scope == scope) {
            let rest = if known.name.ends_with(['.', '-']) {
                "…"
            } else {
                ""
            };
            let portable = match known.reach {
                Reach::Portable => "yes",
                Reach::Aws => "",
                Reach::Ours => "ours",
            };
            let state = match known.support {
                Support::Built => "built",
                Support::Ignored => "ignored",
                Support::Refused => "refused",
            };
            let means = known.means.replace('|', "\\|");
            writeln!(out, "| `{}{rest}` | {portable} | {means} | {state} |", known.name).unwrap();
        }
    }
    out.push_str(OF_NGINX);
    others(&mut out, nginx::ALL);
    out.push_str(OF_GKE);
    others(&mut out, gke::ALL);
    out
}

fn others(out: &mut String, all: &[Theirs]) {
    for theirs in all {
        let fate = match theirs.fate {
            Fate::Read => "read",
            Fate::Told => "told",
            Fate::Closed => "closed",
        };
        let own = match theirs.own {
            "" => String::new(),
            own => match catalog::find(own) {
                Some(known) if known.is_ours() => format!("`{PORTABLE}{own}`"),
                Some(_) => format!("`{ALB}{own}`"),
                None => format!("`{PORTABLE}{own}…`"),
            },
        };
        let nothing: Vec<String> = theirs
            .nothing
            .iter()
            .take(1)
            .map(|value| format!("`{value}`"))
            .collect();
        let (name, nothing) = (theirs.name(), nothing.join(""));
        let says = theirs.says.replace('|', "\\|");
        writeln!(out, "| `{name}` | {fate} | {own} | {nothing} | {says} |").unwrap();
    }
}

#[test]
fn the_annotations_document_says_what_the_code_says() {
    #[expect(clippy::disallowed_methods, reason = "the way to ask for the file anew")]
    let bless = std::env::var("PORTCULLIS_BLESS").is_ok_and(|value| value == "1");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/annotations.md");
    let want = document();
    if bless {
        std::fs::write(&path, &want).unwrap();
    }
    let got = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        got == want,
        "docs/annotations.md is stale: PORTCULLIS_BLESS=1 cargo test --lib annotations"
    );
}
