//! Guards beside an open `/` in, first with a path that can be read and then with one that cannot, whom that lets past out.

use portcullis::translate::ControllerName;
use portcullis_model::LoadBalancer;

use crate::beside;

/// What its Ingress says of ImplementationSpecific paths, the type and the text.
type Path = (Option<(&'static str, &'static str)>, &'static str, &'static str);

const MEANS: &str = "portcullis.dev/path-match";
const IS_REGEX: &str = "alb.ingress.kubernetes.io/use-regex-path-match";
const SPECIFIC: &str = "ImplementationSpecific";
const REGEX: Option<(&str, &str)> = Some((MEANS, "regex"));
const GLOB: Option<(&str, &str)> = Some((MEANS, "glob"));

/// A path, what was made of it, and which requests it took.
const GUARDS: &[(Path, &[Path], &[&str])] = &[
    (
        (None, "Exact", "/admin"),
        &[
            (None, "Exact", "admin"),
            (None, "exact", "/admin"),
            (None, "Exact", "/admin\n"),
        ],
        &["/admin"],
    ),
    (
        (None, "Prefix", "/admin"),
        &[
            (None, "Prefix", "admin"),
            (None, "prefix", "/admin"),
            (None, "Prefix", "\n/admin"),
        ],
        &["/admin", "/admin/x"],
    ),
    (
        (REGEX, SPECIFIC, "//a%2Fb"),
        &[
            (None, "Exact", "/a%2Fb"),
            (None, "Prefix", "/a%2Fb"),
            (Some((MEANS, "prefix")), SPECIFIC, "/a%2Fb"),
        ],
        &["/a%2Fb"],
    ),
    (
        (REGEX, SPECIFIC, "///.*"),
        &[(None, "Prefix", "//"), (Some((MEANS, "prefix")), SPECIFIC, "//")],
        &["//", "//x"],
    ),
    (
        (REGEX, SPECIFIC, r"//a/\.\./b"),
        &[(None, "Exact", "/a/../b"), (None, "Prefix", "/a/../b")],
        &["/a/../b"],
    ),
    (
        (REGEX, SPECIFIC, "//admin(/.*)?"),
        &[
            (REGEX, SPECIFIC, "//admin(/.*?"),
            (REGEX, SPECIFIC, "//admin(?=/|$).*"),
            (REGEX, SPECIFIC, "//(?i:admin)(/.*)?"),
            (REGEX, SPECIFIC, "//admin(/.*)?\n"),
            (REGEX, SPECIFIC, r"//admin\p{Any}*"),
            (Some((IS_REGEX, "true")), SPECIFIC, "//admin(/.*"),
            (Some((IS_REGEX, "yes")), SPECIFIC, "//admin(/.*)?"),
            (Some((MEANS, "expression")), SPECIFIC, "//admin(/.*)?"),
            (REGEX, SPECIFIC, "//(admin"),
            (REGEX, SPECIFIC, "//((admin).*"),
            (REGEX, SPECIFIC, "//(?P<x>admin)(/.*)?("),
            (REGEX, SPECIFIC, "//(?s)admin(/.*)?"),
            (REGEX, SPECIFIC, "//(?i-s:admin).*"),
            (REGEX, SPECIFIC, "//(?>admin).*"),
            (REGEX, SPECIFIC, r"//\Qadmin\E.*"),
            (REGEX, SPECIFIC, "//(admin){1,5000}/x(?=y)"),
        ],
        &["/admin", "/admin/x"],
    ),
    (
        (REGEX, SPECIFIC, "//(admin|boss)/.*"),
        &[
            (REGEX, SPECIFIC, "//(admin|boss)(?=/).*"),
            (REGEX, SPECIFIC, "//(?:admin|boss)/(.*"),
        ],
        &["/admin/x", "/boss/x"],
    ),
    (
        (REGEX, SPECIFIC, "//[aA]dmin.*"),
        &[
            (REGEX, SPECIFIC, "//[aA]dmin("),
            (REGEX, SPECIFIC, "//[[:alpha:]]dmin("),
            (REGEX, SPECIFIC, "//.dmin("),
        ],
        &["/admin/x", "/Admin"],
    ),
    (
        (None, SPECIFIC, "/admin/*"),
        &[
            (None, "implementationSpecific", "/admin/*"),
            (None, "\"\"", "/admin/*"),
        ],
        &["/admin/x"],
    ),
    (
        (GLOB, SPECIFIC, "/admin*"),
        &[
            (GLOB, "implementationSpecific", "/admin*"),
            (GLOB, SPECIFIC, "/admin*\n"),
            (Some((MEANS, "globs")), SPECIFIC, "/admin*"),
        ],
        &["/admin", "/admins/x"],
    ),
    (
        (Some((MEANS, "prefix")), SPECIFIC, "/admin"),
        &[
            (Some((MEANS, "")), SPECIFIC, "/admin"),
            (Some((IS_REGEX, "no")), SPECIFIC, "/admin"),
        ],
        &["/admin", "/admin/x"],
    ),
];

/// What the incumbent, which hands it to AWS as it is, takes for a path that is.
const OURS_ALONE: &[(Path, &[Path], &[&str])] = &[
    (
        (REGEX, SPECIFIC, "//admin.*"),
        &[(REGEX, SPECIFIC, "/admin.*")],
        &["/admin", "/admin/x"],
    ),
    (
        (GLOB, SPECIFIC, "/admin*"),
        &[(GLOB, SPECIFIC, "admin*")],
        &["/admin", "/admins/x"],
    ),
    (
        (None, SPECIFIC, "/admin/*"),
        &[(None, SPECIFIC, "admin/*")],
        &["/admin/x"],
    ),
];

fn balancer(controller: &str, (means, kind, text): Path) -> LoadBalancer {
    let guard = (means.as_slice(), "a.example", text);
    beside::balancer(controller, (guard, kind), ((&[], "a.example", "/"), "Prefix"))
}

/// Whether the open Ingress answers.
fn is_open(balancer: &LoadBalancer, path: &str) -> bool {
    beside::is_open(balancer, "GET", "a.example", path)
}

#[test]
fn a_guard_whose_path_cannot_be_read_lets_nobody_past() {
    let mut wrong = Vec::new();
    let both = GUARDS
        .iter()
        .flat_map(|row| [(ControllerName::OURS, row), (ControllerName::INCUMBENT, row)]);
    let ours = OURS_ALONE.iter().map(|row| (ControllerName::OURS, row));
    for (controller, (right, bad, requests)) in both.chain(ours) {
        let guarded = balancer(controller, *right);
        for path in *bad {
            let closed = balancer(controller, *path);
            for sent in *requests {
                assert!(!is_open(&guarded, sent), "{controller}: {right:?} takes {sent}");
                if is_open(&closed, sent) {
                    wrong.push(format!("{controller}: {right:?}, then {path:?}: {sent}"));
                }
            }
            for sent in ["/", "/x", "/adm", "/a/b", "/b", "/a"] {
                if !is_open(&closed, sent) {
                    wrong.push(format!("{controller}: {path:?} takes {sent} from its neighbour"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
