"""A certificate and its key in, an OpenID provider over TLS at a free port of loopback out, which it prints.

Everybody can log in at it, by any name; access tokens expire after a few seconds. It ends with its standard input.
"""

import datetime
import os
import sys
import threading

import oidc_provider_mock
from werkzeug.serving import make_server


def end_with_input() -> None:
    sys.stdin.read()
    os._exit(0)


threading.Thread(target=end_with_input, daemon=True).start()
server = make_server(
    "127.0.0.1",
    0,
    oidc_provider_mock.app(
        require_nonce=True,
        access_token_max_age=datetime.timedelta(seconds=8),
    ),
    threaded=True,
    ssl_context=(sys.argv[1], sys.argv[2]),
)
print(server.server_port, flush=True)
server.serve_forever()
