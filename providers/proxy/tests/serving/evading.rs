//! Paths that are written otherwise than rules write them in, who comes past a guard out: nobody.

use std::sync::Arc;

use hyper::Request;
use portcullis_model::{
    Action, BasicAuth, Filters, FixedResponse, Glob, LoadBalancer, ObjectName, PathMatch, Pattern, Port,
    Redirect, Rewrite, RewritePart, Rule,
};
use portcullis_proxy::ServerConfig;

use crate::balancer::{backend, empty, filtered, origin, rule, serve, serve_as, to, with_certificates};
use crate::client::{Client, Sent};
use crate::echo::Echo;
use crate::mutual::{asking, verify};
use crate::secure::key_pair;

/// Its users are nowhere to be had, so all who are asked get 503.
fn guarded() -> Filters {
    guarded_by("missing")
}

fn guarded_by(secret: &str) -> Filters {
    let secret = ObjectName::new("shop", secret);
    Filters {
        basic_auth: Some(BasicAuth::new(secret, "Shop", origin()).unwrap()),
        ..Filters::default()
    }
}

fn balancer(echo: &Echo) -> LoadBalancer {
    let mut balancer = empty();
    let one = backend("one", &[echo.address]);
    balancer.backends.insert(one.id.clone(), one.into());
    let fixed = |status| Action::Fixed(FixedResponse::new(status, None, None).unwrap());
    let shared = Arc::new(guarded());
    let sharing = |rule| Rule {
        filters: Some(shared.clone()),
        ..rule
    };
    let guarded_at = |path| Rule {
        paths: vec![path],
        ..filtered(rule("j.com", "/", to("one")), guarded())
    };
    // As what becomes of paths that cannot be read.
    let closed_at = |expression| Rule {
        paths: vec![PathMatch::Regex(Pattern::parse(expression).unwrap())],
        ..rule("k.com", "/", fixed(503))
    };
    *balancer.rules = vec![
        filtered(rule("a.com", "/admin", to("one")), guarded()),
        rule(
            "a.com",
            "/safe",
            Action::Redirect(Redirect::to_https(Port::HTTPS)),
        ),
        rule("a.com", "/out", fixed(403)),
        rule("a.com", "/gone", fixed(404)),
        rule("a.com", "/down", fixed(503)),
        rule("a.com", "/well", fixed(200)),
        filtered(rule("a.com", "/u/%7Bid%7D", to("one")), guarded()),
        filtered(rule("a.com", "/a|b", to("one")), guarded()),
        rule("a.com", "/", to("one")),
        rule("b.com", "/a%20b", to("one")),
        rule("b.com", "/%61b", to("one")),
        filtered(rule("b.com", "/", to("one")), guarded()),
        sharing(rule("c.com", "/two", to("one"))),
        sharing(rule("c.com", "/", to("one"))),
        filtered(rule("d.com", "/two", to("one")), guarded()),
        filtered(rule("d.com", "/three", to("one")), guarded_by("other")),
        filtered(rule("d.com", "/", to("one")), guarded()),
        filtered(rule("e.com", "/admin", to("one")), guarded()),
        rule("e.com", "/", fixed(404)),
        rule("f.com", "/.well-known", to("one")),
        filtered(rule("f.com", "/", to("one")), guarded()),
        rule("g.com", "/api", to("one")),
        filtered(rule("h.com", "/a%20b", to("one")), guarded()),
        filtered(rule("h.com", "/%C3%BC", to("one")), guarded()),
        rule("h.com", "/", to("one")),
        Rule {
            paths: vec![PathMatch::Regex(Pattern::parse("/static/[a-z%0-9./]+").unwrap())],
            ..rule("i.com", "/", to("one"))
        },
        filtered(rule("i.com", "/", to("one")), guarded()),
        filtered(rule("j.com", "/x%5B1%5D", to("one")), guarded()),
        filtered(rule("j.com", "/%c3%bc", to("one")), guarded()),
        filtered(rule("j.com", "/a\\b", to("one")), guarded()),
        filtered(rule("j.com", "/a;b", to("one")), guarded()),
        guarded_at(PathMatch::Regex(Pattern::parse("/y%5B1%5D/.*").unwrap())),
        guarded_at(PathMatch::Glob(Glob::parse("/team%2Fsecret*").unwrap())),
        rule("j.com", "/api/public", to("one")),
        filtered(rule("j.com", "/%61pi", to("one")), guarded()),
        rule("j.com", "/", to("one")),
        closed_at("/a%2Fb(/.*)?"),
        closed_at(r"/a/\.\./c"),
        closed_at("//.*"),
        closed_at(r"/\.(/.*)?"),
        rule("k.com", "/%61pi", to("one")),
        rule("k.com", "/", to("one")),
    ];
    balancer
}

#[tokio::test]
async fn no_spelling_of_a_path_comes_past_a_guard() {
    let echo = Echo::http1("one").await;
    let proxy = serve(&balancer(&echo));
    for mut client in [Client::http1(proxy.http).await, Client::http2(proxy.http).await] {
        for (host, path, want) in [
            ("a.com", "/admin", 503),
            ("a.com", "//admin", 400),
            ("a.com", "/%61dmin/x", 400),
            ("a.com", "/%2Fadmin?x=1", 400),
            ("a.com", "/x/../admin", 400),
            ("a.com", "/x/%2e%2e/admin", 400),
            ("a.com", "/./admin", 400),
            ("a.com", "/admin%00", 400),
            ("a.com", "/%61dmin%00.png", 400),
            ("a.com", "/x%2fy/../admin%00", 400),
            ("a.com", "/x%2fy/../other%00", 200),
            ("a.com", "/x%00/admin", 200),
            ("a.com", "/admin%2f", 400),
            ("a.com", "/admin;x", 400),
            ("a.com", "/x/..;/admin", 400),
            ("a.com", "/x/..%5Cadmin", 400),
            // Parameters end at a slash that is decoded later, or are none.
            ("a.com", "/;%2fx/admin", 400),
            ("a.com", "/;%5Cx/admin/users", 400),
            ("a.com", "/%61dmin/..;/users", 400),
            ("a.com", "//admin/..;/users", 400),
            ("a.com", "/admin%2f..;/users", 400),
            ("a.com", "/%61dmin/..%3b/y", 400),
            // Who decodes no slash, or merges none, reads these so.
            ("a.com", "/x%2Fy/../admin", 400),
            ("a.com", "/./admin//../x", 400),
            ("a.com", "/x//../y", 200),
            ("a.com", "/%73afe", 400),
            ("a.com", "//out", 400),
            ("a.com", "//gone", 400),
            ("a.com", "/dow%6e", 400),
            ("a.com", "/u/%7Bid%7D", 503),
            ("a.com", "/u/{id}/x", 400),
            ("a.com", "/a|b", 503),
            ("a.com", "/a%7Cb", 400),
            // Of these nobody is kept out.
            ("a.com", "//well", 200),
            ("a.com", "/x//y/../%61", 200),
            ("a.com", "/admins/../x", 200),
            ("a.com", "/.well-known/x", 200),
            ("a.com", "/go?to=//admin&or=/../admin", 200),
            // In a guarded rule already.
            ("a.com", "/admin//x", 503),
            // A rule that names such a path means it so.
            ("b.com", "/%61b", 200),
            ("b.com", "/a%20b", 200),
            ("b.com", "/a%20c", 503),
            ("b.com", "/a%20b//c/../d", 200),
            ("b.com", "/a%20b/../admin", 400),
            // A dot at its beginning is in everybody's spelling.
            ("f.com", "/.well-known/x//y", 200),
            ("f.com", "/.well-known/../admin", 400),
            // An escape that is needed is in everybody's, too.
            ("h.com", "/a%20%62", 400),
            ("h.com", "/%C3%BC", 503),
            ("h.com", "/ü", 400),
            ("h.com", "/%c3%bc/x", 400),
            ("h.com", "/%c3%bd", 200),
            ("i.com", "/static/a%20b.css", 200),
            ("i.com", "/static/../x", 400),
            // So is a guard that is written otherwise itself.
            ("j.com", "/x%5B1%5D", 503),
            ("j.com", "/x[1]", 400),
            ("j.com", "/x%5b1%5d/x", 400),
            ("j.com", "/x%5B%31%5D", 400),
            ("j.com", "/x[2]", 200),
            ("j.com", "/%c3%bc", 503),
            ("j.com", "/%C3%BC", 400),
            ("j.com", "/a%5Cb", 400),
            ("j.com", "/a/b", 200),
            ("j.com", "/a;b/x", 503),
            ("j.com", "/a%3bb", 400),
            ("j.com", "/y%5B1%5D/x", 503),
            ("j.com", "/y[1]/x", 400),
            ("j.com", "/team%2Fsecret", 503),
            ("j.com", "/team%2fsecrets", 400),
            ("j.com", "/team%2F%73ecret", 400),
            ("j.com", "/team/secret", 200),
            ("j.com", "/%61pi/x", 503),
            ("j.com", "/api/x", 400),
            ("j.com", "/api/public/x", 200),
            // What is closed as it is written closes nothing that is spelled otherwise.
            ("k.com", "/a%2Fb", 503),
            ("k.com", "/a%2Fb/x", 503),
            ("k.com", "/a%2fb", 400),
            ("k.com", "/a%2F%62", 400),
            ("k.com", "/a/b", 200),
            ("k.com", "/a//b", 200),
            ("k.com", "/a%2Fbc", 200),
            ("k.com", "//", 503),
            ("k.com", "//x", 503),
            ("k.com", "/%2Fx", 400),
            ("k.com", "/", 200),
            ("k.com", "/x//y", 200),
            ("k.com", "/./", 503),
            ("k.com", "/a/../c", 503),
            ("k.com", "/x/../c", 200),
            ("k.com", "/c", 200),
            // What is not published stays so.
            ("g.com", "/api/a%2Fb/../c", 200),
            ("g.com", "/api/../internal", 400),
            ("g.com", "/api/..%2finternal", 400),
            ("g.com", "/internal", 404),
            ("b.com", "/a%20%62", 503),
            // One guard for both, and another for one.
            ("c.com", "//two", 503),
            ("d.com", "//two", 503),
            ("d.com", "//three", 400),
            // Nothing goes to a backend.
            ("e.com", "//admin", 404),
        ] {
            let mut request = Request::get(path);
            request = request.header("host", host);
            let answer = client.send(request.body(Sent::default()).unwrap()).await.unwrap();
            assert_eq!(answer.status(), want, "{host}{path}: {}", answer.body);
        }
    }
}

/// Who ends TLS in front has what no rule over HTTPS takes answered by those over HTTP: so read, the path may be that of a
/// guard over HTTPS alone.
#[tokio::test]
async fn nor_past_one_over_https_alone_where_tls_ended_in_front() {
    let echo = Echo::http1("one").await;
    let mut balancer = with_certificates(empty(), &[("web", &["a.com"])]);
    let one = backend("one", &[echo.address]);
    balancer.backends.insert(one.id.clone(), one.into());
    let at = |port, host: &str, path: &str| Rule {
        ports: [port].into(),
        ..rule(host, path, to("one"))
    };
    let (http, https) = (Port::HTTP, Port::HTTPS);
    *balancer.rules = vec![
        filtered(at(https, "a.com", "/admin"), guarded()),
        asking(at(https, "a.com", "/till"), verify(false)),
        filtered(at(https, "a.com", "/x%5B1%5D"), guarded()),
        at(https, "a.com", "/well"),
        at(http, "a.com", "/"),
        // The other way round: what is read so would be taken by a guard over HTTP.
        Rule {
            paths: vec![PathMatch::Glob(Glob::parse("/*/users").unwrap())],
            ..at(https, "b.com", "/")
        },
        filtered(at(http, "b.com", "/users"), guarded()),
        at(http, "b.com", "/open"),
        at(https, "c.com", "/in"),
        // Whoever is redirected to where she is gets what answers there.
        Rule {
            ports: [http].into(),
            ..rule("d.com", "/", Action::Redirect(Redirect::to_https(https)))
        },
        at(https, "d.com", "/in"),
    ];
    let (pair, _) = key_pair("web", &["a.com"]);
    let config = ServerConfig {
        trusted: vec!["127.0.0.0/8".parse().unwrap()],
        ..ServerConfig::default()
    };
    let proxy = serve_as(&balancer, &[pair].into(), config);
    for mut client in [Client::http1(proxy.http).await, Client::http2(proxy.http).await] {
        for (host, path, over_https, over_http) in [
            ("a.com", "/admin", 503, 200),
            ("a.com", "//admin", 400, 200),
            ("a.com", "/%61dmin", 400, 200),
            ("a.com", "/x/../admin/users", 400, 200),
            ("a.com", "/admin;x", 400, 200),
            ("a.com", "/admin%00", 400, 200),
            ("a.com", "/x%2fy/../admin", 400, 200),
            ("a.com", "/till", 503, 200),
            ("a.com", "//till", 400, 200),
            ("a.com", "/x[1]", 400, 200),
            ("a.com", "//x[1]", 400, 200),
            ("a.com", "/x[2]", 200, 200),
            ("a.com", "/", 200, 200),
            ("a.com", "//x", 200, 200),
            ("a.com", "/x/../y", 200, 200),
            ("a.com", "//well", 200, 200),
            // Of a guard already.
            ("a.com", "/admin//x", 503, 200),
            ("b.com", "/users", 503, 503),
            ("b.com", "/x/users", 200, 404),
            ("b.com", "//users", 400, 404),
            ("b.com", "/x//users", 200, 404),
            ("b.com", "/open/../users", 400, 400),
            ("c.com", "/in/../out", 400, 404),
            ("d.com", "/in//x", 200, 301),
            ("d.com", "//out", 404, 301),
        ] {
            for (scheme, want) in [("https", over_https), ("http", over_http)] {
                let request = Request::get(path).header("host", host);
                let request = request.header("x-forwarded-proto", scheme);
                let answer = client.send(request.body(Sent::default()).unwrap()).await.unwrap();
                assert_eq!(answer.status(), want, "{scheme}: {host}{path}: {}", answer.body);
            }
        }
    }
}

/// Who ends TLS in front asks for all at HTTPS. What stands over HTTP alone is not a neighbour's that stands there.
#[tokio::test]
async fn nor_by_a_neighbour_over_https_where_tls_ended_in_front() {
    let (one, two) = (Echo::http1("one").await, Echo::http1("two").await);
    let mut balancer = with_certificates(empty(), &[("web", &["a.com"])]);
    for (name, echo) in [("one", &one), ("two", &two)] {
        let backend = backend(name, &[echo.address]);
        balancer.backends.insert(backend.id.clone(), backend.into());
    }
    let (http, https): (&[Port], &[Port]) = (&[Port::HTTP], &[Port::HTTPS]);
    let both = &[Port::HTTP, Port::HTTPS];
    let at = |ports: &[Port], host: &str, path: &str, name: &str| Rule {
        ports: ports.iter().copied().collect(),
        ..rule(host, path, to(name))
    };
    *balancer.rules = vec![
        filtered(at(http, "a.com", "/admin", "one"), guarded()),
        filtered(at(http, "a.com", "/x%5B1%5D", "one"), guarded()),
        at(both, "a.com", "/", "two"),
        filtered(at(http, "b.com", "/admin", "one"), guarded()),
        at(http, "b.com", "/", "one"),
        filtered(at(http, "c.com", "/admin", "one"), guarded()),
        // Forced to HTTPS.
        Rule {
            action: Action::Redirect(Redirect::to_https(Port::HTTPS)),
            ..at(http, "c.com", "/", "two")
        },
        at(https, "c.com", "/", "two"),
        // Where both ask the same, that over HTTPS.
        at(http, "d.com", "/", "one"),
        at(https, "d.com", "/", "two"),
        // Another's, for every host.
        Rule {
            hosts: Vec::new(),
            ..at(https, "e.com", "/", "two")
        },
    ];
    let (pair, _) = key_pair("web", &["a.com"]);
    let config = ServerConfig {
        trusted: vec!["127.0.0.0/8".parse().unwrap()],
        ..ServerConfig::default()
    };
    let proxy = serve_as(&balancer, &[pair].into(), config);
    let rows: [(&str, &str, Result<&str, u16>); 14] = [
        ("a.com", "/admin", Err(503)),
        ("a.com", "/admin/x", Err(503)),
        ("a.com", "//admin", Err(400)),
        ("a.com", "/x/../admin", Err(400)),
        ("a.com", "/x[1]", Err(400)),
        ("a.com", "/x[2]", Ok("two")),
        ("a.com", "/x", Ok("two")),
        ("b.com", "/admin", Err(503)),
        ("b.com", "//admin", Err(400)),
        ("b.com", "/x", Ok("one")),
        ("c.com", "/admin", Err(503)),
        ("c.com", "/x//y", Ok("two")),
        ("d.com", "/x", Ok("two")),
        ("e.com", "/x", Ok("two")),
    ];
    for mut client in [Client::http1(proxy.http).await, Client::http2(proxy.http).await] {
        for (host, path, want) in rows {
            let request = Request::get(path).header("host", host);
            let request = request.header("x-forwarded-proto", "https");
            let answer = client.send(request.body(Sent::default()).unwrap()).await.unwrap();
            let got = match answer.status() {
                200 => Ok(answer.header("x-backend").unwrap()),
                status => Err(status),
            };
            assert_eq!(got, want, "{host}{path}: {}", answer.body);
        }
    }
}

#[tokio::test]
async fn a_rewrite_leads_nobody_out_of_where_it_leads() {
    let echo = Echo::http1("one").await;
    let mut balancer = empty();
    let one = backend("one", &[echo.address]);
    balancer.backends.insert(one.id.clone(), one.into());
    let pattern = Pattern::parse("/app/?(.*)").unwrap();
    *balancer.rules = vec![
        filtered(rule("a.com", "/admin", to("one")), guarded()),
        Rule {
            paths: vec![PathMatch::Glob(Glob::parse("/app*").unwrap())],
            rewrites: vec![Rewrite {
                part: RewritePart::Url,
                pattern,
                replacement: "/x/$1".to_owned(),
            }],
            ..rule("a.com", "/", to("one"))
        },
    ];
    let proxy = serve(&balancer);
    for mut client in [Client::http1(proxy.http).await, Client::http2(proxy.http).await] {
        for (path, want) in [
            ("/app/y", Ok("/x/y")),
            ("/app", Ok("/x/")),
            ("/apple/a..b", Ok("/x/le/a..b")),
            ("/app/y/../z", Ok("/x/y/../z")),
            ("/app/.well-known", Ok("/x/.well-known")),
            ("/app?x=/../admin", Ok("/x/?x=/../admin")),
            ("/app../admin", Err(400)),
            ("/app../y/../z", Err(400)),
            ("/app.%2e/admin", Err(400)),
            ("/app%2e./admin", Err(400)),
            ("/app..%2fadmin", Err(400)),
            ("/app..%5Cadmin", Err(400)),
            ("/app..;/admin", Err(400)),
            ("/app..", Err(400)),
        ] {
            let uri = format!("http://a.com{path}");
            let request = Request::get(uri).header("host", "a.com").body(Sent::default());
            let answer = client.send(request.unwrap()).await.unwrap();
            let seen = match answer.status() {
                200 => Ok(answer.body.split_whitespace().nth(2).unwrap_or_default()),
                status => Err(status),
            };
            assert_eq!(seen, want, "{path}");
        }
    }
}
