//! A running proxy in, a table of what was asked of the example and who answered out.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::ask::{Answer, Client, Scheme};

/// What should come back.
#[derive(Clone, Debug)]
enum Want {
    Backend(&'static str),
    /// 100 requests; each of these answers some of them, and nobody else any.
    Split(&'static [&'static str]),
    Status(u16),
    /// 301 to this host, at the port served, and path.
    Moved(&'static str, &'static str),
}

const SPLIT_REQUESTS: u32 = 100;

struct Check {
    scheme: Scheme,
    host: &'static str,
    path: &'static str,
    want: Want,
    shows: &'static str,
}

const fn check(host: &'static str, path: &'static str, want: Want, shows: &'static str) -> Check {
    Check {
        scheme: Scheme::Http,
        host,
        path,
        want,
        shows,
    }
}

fn checks() -> Vec<Check> {
    vec![
        check("shop.localhost", "/", Want::Backend("web"), "prefix /"),
        Check {
            scheme: Scheme::Https,
            ..check("shop.localhost", "/", Want::Backend("web"), "TLS by server name")
        },
        check(
            "shop.localhost",
            "/cart/items",
            Want::Backend("cart"),
            "the longest prefix",
        ),
        check(
            "shop.localhost",
            "/cartoon",
            Want::Backend("web"),
            "prefixes take whole elements",
        ),
        check("shop.localhost", "/health", Want::Backend("health"), "exact"),
        check(
            "shop.localhost",
            "/health/x",
            Want::Backend("web"),
            "exact takes no more",
        ),
        check(
            "api.localhost",
            "/v1",
            Want::Split(&["api-next", "api-stable"]),
            "weights 80 and 20",
        ),
        check(
            "one.apps.localhost",
            "/",
            Want::Backend("apps"),
            "a wildcard host",
        ),
        check(
            "a.b.apps.localhost",
            "/",
            Want::Status(404),
            "a wildcard is one label",
        ),
        check(
            "old.localhost",
            "/page",
            Want::Moved("shop.localhost", "/page"),
            "a redirect",
        ),
        check(
            "broken.localhost",
            "/",
            Want::Status(503),
            "its Service does not exist",
        ),
        check(
            "broken.localhost",
            "/fine",
            Want::Backend("fine"),
            "its neighbour is served",
        ),
        check("nobody.localhost", "/", Want::Status(404), "no rule"),
    ]
}

/// How the checks went.
pub(super) struct Outcome {
    pub(super) table: String,
    pub(super) right: bool,
}

pub(super) async fn run(client: &Client, http: SocketAddr, https: SocketAddr) -> Outcome {
    let mut rows = vec![["asked", "shows", "wanted", "answered", ""].map(str::to_owned)];
    let mut right = true;
    for check in checks() {
        let (wanted, answered, is_right) = match ask(client, &check, http).await {
            Ok(seen) => seen,
            Err(error) => (String::new(), format!("{error:#}"), false),
        };
        right &= is_right;
        let (name, port) = match check.scheme {
            Scheme::Http => ("http", http.port()),
            Scheme::Https => ("https", https.port()),
        };
        rows.push([
            format!("{name}://{}:{port}{}", check.host, check.path),
            check.shows.to_owned(),
            wanted,
            answered,
            if is_right { "ok" } else { "WRONG" }.to_owned(),
        ]);
    }
    Outcome {
        table: aligned(&rows),
        right,
    }
}

/// What was wanted, what came, and whether they agree.
async fn ask(client: &Client, check: &Check, http: SocketAddr) -> anyhow::Result<(String, String, bool)> {
    let get = || client.get(check.scheme, check.host, check.path);
    Ok(match &check.want {
        Want::Backend(name) => {
            let answer = get().await?;
            let is_right = answer.status == 200 && answer.backend.as_deref() == Some(*name);
            (format!("200 {name}"), show(&answer), is_right)
        }
        Want::Status(status) => {
            let answer = get().await?;
            (
                status.to_string(),
                show(&answer),
                answer.status == *status && answer.backend.is_none(),
            )
        }
        Want::Moved(host, path) => {
            let port = if http.port() == 80 {
                String::new()
            } else {
                format!(":{}", http.port())
            };
            let location = format!("http://{host}{port}{path}");
            let answer = get().await?;
            let is_right = answer.status == 301 && answer.location.as_deref() == Some(location.as_str());
            (format!("301 {location}"), show(&answer), is_right)
        }
        Want::Split(names) => {
            let mut counts: BTreeMap<String, u32> = BTreeMap::new();
            for _ in 0..SPLIT_REQUESTS {
                let answer = get().await?;
                *counts
                    .entry(answer.backend.clone().unwrap_or_else(|| show(&answer)))
                    .or_default() += 1;
            }
            let is_right = counts.keys().eq(names.iter());
            let counts: Vec<String> = counts
                .iter()
                .map(|(name, count)| format!("{name} ×{count}"))
                .collect();
            (format!("200 {}", names.join(" or ")), counts.join(", "), is_right)
        }
    })
}

fn show(answer: &Answer) -> String {
    let what = answer.backend.as_ref().or(answer.location.as_ref());
    what.map_or_else(
        || answer.status.to_string(),
        |what| format!("{} {what}", answer.status),
    )
}

/// Columns as wide as their longest cell.
fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
