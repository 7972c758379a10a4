//! The address of a backend in, nginx and HAProxy before it out, as their documentation advises for a plain proxy.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

/// How often a port is tried until a program listens there, every 20 ms.
const TRIES: u32 = 500;

/// A proxy of somebody else's, until this is dropped.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) version: String,
    pub(crate) address: SocketAddr,
    child: Child,
    _folder: TempDir,
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Short times: whoever waits for the rest of a message is not to be waited for long.
fn nginx_conf(address: SocketAddr, backend: SocketAddr) -> String {
    format!(
        "daemon off; master_process off; pid nginx.pid; error_log error.log;
events {{ }}
http {{
  access_log off;
  client_body_temp_path body; proxy_temp_path proxied;
  fastcgi_temp_path unused; uwsgi_temp_path unused; scgi_temp_path unused;
  client_header_timeout 1s; client_body_timeout 1s; lingering_timeout 1s;
  upstream one {{ server {backend}; keepalive 8; }}
  server {{
    listen {address};
    proxy_http_version 1.1;
    proxy_request_buffering off;
    proxy_next_upstream off;
    proxy_set_header Connection \"\";
    proxy_set_header Host $http_host;
    location / {{ proxy_pass http://one; }}
  }}
}}
"
    )
}

fn haproxy_cfg(address: SocketAddr, backend: SocketAddr) -> String {
    format!(
        "global
  nbthread 1
defaults
  mode http
  retries 0
  timeout connect 5s
  timeout server 5s
  timeout client 1s
  timeout http-request 1s
  timeout http-keep-alive 1s
  http-reuse always
frontend web
  bind {address}
  default_backend one
backend one
  server a {backend} pool-max-conn 8
"
    )
}

pub(crate) fn start(backend: SocketAddr) -> [Peer; 2] {
    let nginx = peer("nginx", &["-v"], |folder, address| {
        fs::write(folder.join("nginx.conf"), nginx_conf(address, backend)).unwrap();
        vec!["-p", ".", "-c", "nginx.conf"]
    });
    let haproxy = peer("HAProxy", &["-v"], |folder, address| {
        fs::write(folder.join("haproxy.cfg"), haproxy_cfg(address, backend)).unwrap();
        vec!["-db", "-f", "haproxy.cfg"]
    });
    [nginx, haproxy]
}

#[expect(
    clippy::disallowed_methods,
    reason = "nothing but the port says when it listens"
)]
fn peer(
    name: &'static str,
    asks_version: &[&str],
    configure: impl Fn(&Path, SocketAddr) -> Vec<&'static str>,
) -> Peer {
    let program = name.to_ascii_lowercase();
    let said = Command::new(&program).args(asks_version).output();
    let said = said.unwrap_or_else(|error| panic!("{program}: {error}: apt-get install nginx haproxy"));
    // nginx tells it as an error.
    let said = String::from_utf8([said.stdout, said.stderr].concat()).unwrap();
    let is_version = |word: &&str| word.contains(|c: char| c.is_ascii_digit());
    let version = said.split([' ', '/', '\n']).find(is_version).unwrap_or_default();
    let folder = TempDir::new().unwrap();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let arguments = configure(folder.path(), address);
    let child = Command::new(&program)
        .current_dir(folder.path())
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let listens = (0..TRIES).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        TcpStream::connect(address).is_ok()
    });
    assert!(listens, "{name} does not listen");
    Peer {
        name,
        version: format!("{name} {version}"),
        address,
        child,
        _folder: folder,
    }
}
